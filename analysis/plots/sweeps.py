"""Pictures of a report's first screen where cells or problems are many: the best cells, noise against what is learnt,
each swept setting, and the problems beside each other. A cell has its variant's colour, as everywhere."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import paired_tests, tables
from ..frames import StudyFrames
from ..leading import differences
from ..run_summaries import names_within, part_names
from .style import grow, limits, logarithmic, looks, panels, points, row_name, title

SIZE = 4.0, 2.7  # inches, of each of two side by side
BEST = 10  # cells that are named in a panel
PROBLEMS = 6  # that have a panel each; of more, a map
SETTINGS = 4  # that have a panel each
COLUMNS = 24  # problems of a map, or values of a setting, that are named
KEPT = ("study", "study.name", "outputs", "seed", "phi", "baseline", "algorithm", "env")  # words that no panel is about


def no_returns(study: StudyFrames) -> str:
    """Why no final returns can be ranked; "" where they can."""
    known = tables.side_by_side(study).get("final_return", pd.Series(dtype=float)).notna()
    return "" if known.sum() > 1 else "no two cells have a final return"


def ranked(study: StudyFrames) -> Figure:
    """The best cells of one problem by final return, each with its interval, and all others in the last row. Hollow:
    significantly below the best."""
    table, behind = _returns(study), _behind(study)
    named, rest = table.head(BEST), table.iloc[BEST:]
    figure, (panel,) = panels(1)
    figure.set_size_inches(*SIZE)
    _rows(panel, named, looks(study.cells.loc[table.index]), behind)
    for cell, look in looks(study.cells.loc[rest.index]).items():
        panel.plot(rest["final_return"][cell], len(named), "|", color=look["color"], label=rest["label"][cell])
    words = [*named["label"].map(row_name), *([f"{len(rest)} more"] if len(rest) else [])]
    if any("\n" in word for word in words):
        grow(figure, points(0.1) * len(words))
    panel.set_yticks(range(len(words)), words, fontsize=points(6))
    panel.set_ylim(len(words) - 0.5, -0.5)
    panel.set_xlabel("final return, IQM over seeds")
    hollow = "; hollow: significantly lower" if behind else ""
    title(figure, f"The best {len(named)} of {len(table):,} cells", f"with 95% intervals from 5 seeds on{hollow}")
    return figure


def noise_and_return(study: StudyFrames) -> Figure:
    """Noise of each cell's own estimator at the first policy against its final return, a point a cell."""
    table = _returns(study)
    known = table[np.isfinite(table["trace_variance_first"]) & (table["trace_variance_first"] > 0)]
    behind = _behind(study)
    figure, (panel,) = panels(1)
    figure.set_size_inches(*SIZE)
    for cell, look in looks(study.cells.loc[known.index]).items():
        row, fill = known.loc[cell], "none" if cell in behind else look["color"]
        style: dict[str, Any] = {"markersize": points(4), "markerfacecolor": fill, "linestyle": "none"}
        place = row["trace_variance_first"], row["final_return"]
        panel.plot(*place, label=row["label"], **{**look, **style}, markeredgecolor=look["color"])
    panel.set(xlabel="trace variance at the first policy", ylabel="final return")
    logarithmic(panel, "x")
    hollow = "; hollow: significantly lower" if behind else ""
    title(figure, "Do the cells with less noise end higher?", f"a point a cell, median and IQM over seeds{hollow}")
    return figure


def settings(study: StudyFrames) -> dict[str, pd.Series]:
    """What the cells of one problem differ in and how: "variant", and each setting of the command line; those with most
    values first."""
    cells = study.cells.loc[_returns(study).index]
    words = pd.DataFrame([_settings(command) for command in cells["command"]], index=cells.index, dtype=object)
    columns = {"variant": cells["variant"]} | {str(name): words[name].fillna("default") for name in words}
    varied = {name: column for name, column in columns.items() if 1 < column.nunique() <= COLUMNS}
    return dict(sorted(varied.items(), key=lambda item: (item[0] != "variant", -item[1].nunique()))[:SETTINGS])


def by_setting(study: StudyFrames) -> Figure:
    """Every cell's final return against each setting that is swept, a panel a setting."""
    table, swept = _returns(study), settings(study)
    figure, axes = panels(len(swept), height=2.1, wide=len(swept), sharey=True)
    look = looks(study.cells.loc[table.index])
    for panel, (name, column) in zip(axes, swept.items(), strict=True):
        values = sorted(column.unique(), key=_number) if name != "variant" else list(dict.fromkeys(column))
        for cell, value in column.items():
            style = {"color": look[cell]["color"], "marker": look[cell]["marker"], "linestyle": "none"}
            own = {"label": table["label"][cell], "markersize": points(3.5), "alpha": 0.75, **style}
            panel.plot(values.index(value), table["final_return"][cell], **own)
        tilted = sum(map(len, values)) > 70 / len(swept)
        turn: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if tilted else {}
        panel.set_xticks(range(len(values)), values, fontsize=points(6.5), **turn)
        panel.set(xlabel=name, xlim=(-0.5, len(values) - 0.5))
        panel.grid(visible=False, axis="x")
    axes[0].set_ylabel("final return")
    title(figure, "What each setting does to the final return", "a point a cell, in the colour of its variant")
    return figure


def problems(study: StudyFrames) -> list[str]:
    """The problems by their names, in the order of the study."""
    known = set(_returns(study).index)
    return list(dict.fromkeys(name for cell, name in part_names(study.cells).items() if cell in known))


def problem(study: StudyFrames, name: str) -> Figure:
    """The best cells of one problem of several by final return, each with its interval."""
    cells = study.cells[part_names(study.cells) == name]
    cells = cells.assign(label=names_within(cells), repeated=cells.groupby("variant").cumcount())
    table = _returns(study)
    table = table[table.index.isin(cells.index)].assign(label=cells["label"])
    shown, behind = table.head(BEST), _behind(study)
    figure, (panel,) = panels(1)
    names = shown["label"].map(row_name)
    figure.set_size_inches(SIZE[0], points(0.55 + (0.25 if names.str.contains("\n").any() else 0.17) * len(shown)))
    _rows(panel, shown, looks(cells.loc[shown.index]), behind)
    panel.set_yticks(range(len(shown)), names, fontsize=points(6.5))
    panel.set(ylim=(len(shown) - 0.5, -0.5), xlabel="final return, IQM over seeds")
    below, others = len(behind & set(table.index[1:])), len(table) - 1
    best = shown["label"].iloc[0]
    seen = f"{best} ends above {'every other' if below == others else f'{below} of {others} others'}"
    left = f"the best {len(shown)} of {len(table)}, " if len(shown) < len(table) else ""
    hollow = "; hollow: significantly lower" if below else ""
    title(
        figure,
        f"{name}: {seen if below else 'no test separates the highest from any other'}",
        f"{left}with 95% intervals from 5 seeds on{hollow}",
    )
    return figure


def problem_map(study: StudyFrames) -> Figure:
    """The highest final return of each variant on each of many problems, as shades."""
    table = _returns(study)
    names = part_names(study.cells).loc[table.index]
    cells = study.cells.loc[table.index]
    variants = cells.sort_values(["phi_order", "baseline_order"])["variant"].unique()
    own = pd.DataFrame({"variant": cells["variant"], "problem": names, "final_return": table["final_return"]})
    grid = own.pivot_table("final_return", "variant", "problem", "max", sort=False).loc[variants]
    grid = grid[list(dict.fromkeys(names.reindex([cell for cell in study.cells.index if cell in names.index])))]
    low, high = grid.min(), grid.max()
    scaled = ((grid - low) / (high - low).where(high > low)).to_numpy(float)
    figure, (panel,) = panels(1)
    figure.set_size_inches(2 * SIZE[0], 1.1 + points(0.19) * len(variants))
    shades = panel.pcolormesh(
        np.ma.masked_invalid(scaled), cmap="cividis", vmin=0, vmax=1, linewidth=0, rasterized=False
    )
    panel.set_yticks(np.arange(len(variants)) + 0.5, variants, fontsize=points(6.5))
    panel.invert_yaxis()
    many = grid.shape[1] > COLUMNS
    if many:
        panel.set_xlabel(f"{grid.shape[1]:,} problems, in the order of the study")
        panel.set_xticks([])
    else:
        turn: Mapping[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor", "fontsize": points(6)}
        panel.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns, **turn)
        grow(figure, points(0.035) * max(map(len, grid.columns)))
    panel.grid(visible=False)
    figure.colorbar(shades, ax=panel, label="final return", ticks=[0, 1], pad=0.01).ax.set_yticklabels(
        ["lowest", "best"]
    )
    title(
        figure, "Who ends highest on each problem", "final return, of each problem from its lowest variant to its best"
    )
    return figure


# ------------------------------------------------------------------------------------------------ parts


def _returns(study: StudyFrames) -> pd.DataFrame:
    """The rows whose final return is known, best first."""
    table = tables.side_by_side(study)
    return table[table["final_return"].notna()].sort_values("final_return", ascending=False, kind="stable")


def _behind(study: StudyFrames) -> set[str]:
    """The cells that a test puts behind the best of their problem."""
    pairs = differences(study)
    if "final_return_p" not in pairs:
        return set()
    pairs = pairs[pairs["final_return_p"] <= paired_tests.ALPHA]
    final = tables.side_by_side(study)["final_return"]
    best = set(final.groupby(part_names(study.cells).loc[final.index]).idxmax())
    one, other, d = (
        pairs.index.to_numpy(),
        pairs["against_cell"].to_numpy(),
        pairs["final_return_difference"].to_numpy(),
    )
    behind = {a for a, b, x in zip(one, other, d, strict=True) if b in best and x < 0}
    return behind | {b for a, b, x in zip(one, other, d, strict=True) if a in best and x > 0}


def _rows(panel: Axes, rows: pd.DataFrame, look: Mapping[str, Mapping[str, Any]], behind: set[str]) -> None:
    """A marker with its interval for each row, from above."""
    for y, (cell, row) in enumerate(rows.iterrows()):
        own = look[str(cell)]
        ends = row["final_return_low"], row["final_return_high"]
        if np.isfinite(ends).all():
            limits(panel, ends, (y, y), row["label"], color=own["color"], linewidth=points(1.6))
        fill = "white" if cell in behind else own["color"]
        style: dict[str, Any] = {"color": own["color"], "markerfacecolor": fill, "markeredgecolor": own["color"]}
        style |= {"markeredgewidth": points(1.2), "markersize": points(5), "linestyle": "none"}
        panel.plot(row["final_return"], y, marker=own["marker"], label=row["label"], **style)
    panel.grid(visible=False, axis="y")


def _settings(command: str) -> dict[str, str]:
    """The settings of a command line, by name."""
    words = (word.partition("=") for word in shlex.split(command) if re.match(r"[\w.]+=", word))
    return {key: value for key, _, value in words if key not in KEPT}


def _number(text: str) -> tuple[float, str]:
    """Numbers by their size, before words."""
    try:
        return float(text), ""
    except ValueError:
        return np.inf, text
