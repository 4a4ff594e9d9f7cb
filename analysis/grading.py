"""`ablate grading STUDY`: how far the grade of one seed can be trusted, where a run passes if it reaches a line.

passing     a row a cell: the share of its seeds whose mean return of a batch reaches the line once, and of those that
            are at it at the end, with exact limits (`seeds.share`). A seed that diverged has not passed.
rankings    a row a pair of cells of one problem: the chance that a seed of each, drawn apart, ranks the two the other
            way than the means over all seeds do, by the final return; equal returns count half. Without limits where
            no resample of the seeds gives another number
"""

import json
import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate.errors import UserError
from ablate.statistics import seeds
from ablate.statistics.interval import bare, interval_columns

from .frames import StudyFrames, finished, side_by_side
from .plots.style import legend, limits, panels, points, rule, title
from .run_summaries import outcomes, parts
from .statistics import improvement_interval

PAIRS = 15  # in the figure
SHARES = [f"share_{when}{end}" for when in ("once", "at_end") for end in ("", "_low", "_high")]
Lines = Mapping[str, float]  # the pass line of each cell


class Graded(NamedTuple):
    """The two tables of a study."""

    study: str
    passed: pd.DataFrame
    ranked: pd.DataFrame


def lines(study: StudyFrames, line: float | None) -> Lines:
    """The pass line of each cell: the one given, else the study's `threshold`. Raises UserError where there is none."""
    cells = finished(study).cells
    found = cells["threshold"] if line is None else pd.Series(float(line), cells.index)
    if found.isna().any():
        raise UserError(f"study {study.name!r} has no threshold for {found.index[found.isna()][0]}; write --line X")
    return found.to_dict()


def reached(study: StudyFrames, line: Lines) -> dict[str, NDArray[np.bool_]]:
    """Whether the mean return of a batch is at the line or above it, [seeds, iterations] of each cell; those of seeds
    that diverged are nowhere. A run that is shorter than others of its cell stays where it ended."""
    gone = study.runs.loc[study.runs["status"] == "diverged", "cell"].value_counts()
    rows: dict[str, list[Any]] = {}
    for runs in side_by_side(finished(study).curves):
        for cell, values in zip(runs.cells, runs.values, strict=True):
            rows.setdefault(cell, []).append(values >= line[cell])
    found = {}
    for cell in study.cells.index.intersection([*rows]):
        length = max(map(len, rows[cell]))
        own = [np.pad(row, (0, length - len(row)), mode="edge") for row in rows[cell]]
        found[cell] = np.array([*own, *[np.zeros(length, bool)] * int(gone.get(cell, 0))])
    return found


def passing(study: StudyFrames, line: Lines, within: int | None) -> pd.DataFrame:
    """A row a cell; ``within`` counts the iterations in which the line has to be reached once, None is all."""
    rows = {}
    for cell, at in reached(study, line).items():
        once, end = at[:, :within].any(1), at[:, -1]
        row = {"env": study.cells["env"][cell], "label": study.cells["label"][cell], "seeds": at.shape[0]}
        row |= {"pass_line": line[cell], "within": min(within or at.shape[1], at.shape[1])}
        row |= interval_columns("share_once", seeds.share(int(once.sum()), at.shape[0]))
        rows[cell] = row | interval_columns("share_at_end", seeds.share(int(end.sum()), at.shape[0]))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell")


def rankings(study: StudyFrames) -> pd.DataFrame:
    """A row a pair: the better by its mean, the other one, and the chance that a seed of each says the opposite."""
    table, part = outcomes(finished(study)), parts(study.cells)
    finals = {str(cell): own["final_return"].to_numpy() for cell, own in table.groupby("cell", sort=False)}
    rows = []
    for pair in combinations(finals, 2):
        if part[pair[0]] != part[pair[1]]:
            continue
        worse, better = sorted(pair, key=lambda cell: finals[cell].mean())
        wrong = improvement_interval(finals[worse], finals[better], np.random.default_rng(0))
        if wrong.low == wrong.high:  # no resample differs: limits would say that what was not seen cannot be
            wrong = bare(wrong.value)
        row = {"env": study.cells["env"][better], "label": study.cells["label"][better]}
        row |= {"against": study.cells["label"][worse]}
        row |= {"difference": finals[better].mean() - finals[worse].mean()}
        rows.append(row | interval_columns("wrong_ranking", wrong))
    return pd.DataFrame(rows)


def figure(passed: pd.DataFrame, ranked: pd.DataFrame) -> Figure:
    """Both tables as dots with their limits: who passes, a row a cell, and how often one
    seed of each of a pair ranks it wrongly, a row a pair, `PAIRS` at most."""
    pairs = ranked.head(PAIRS)
    picture, axes = panels(2 if len(pairs) else 1, height=0.9 + 0.22 * max(len(passed), len(pairs)))
    several = len(passed["env"].unique()) > 1
    names = [f"{row.env}: {row.label}" if several else row.label for row in passed.itertuples()]
    for name, shift, look in (("once", -0.15, {"color": "0.1"}), ("at_end", 0.15, {"color": "#E08E0B"})):
        _dots(axes[0], passed, f"share_{name}", shift, name.replace("_", " the "), **look)
    axes[0].set_yticks(range(len(names)), names, fontsize=points(6.5))
    axes[0].set(xlabel="share of seeds at the line", xlim=(-0.03, 1.03), ylim=(len(names) - 0.5, -0.5))
    if len(pairs):
        _dots(axes[1], pairs, "wrong_ranking", 0.0, "wrong ranking", color="0.1")
        rule(axes[1], "a coin", x=0.5)
        names = [f"{row.label}\n> {row.against}" for row in pairs.itertuples()]
        axes[1].set_yticks(range(len(names)), names, fontsize=points(5.5))
        axes[1].set(xlabel="chance of a wrong ranking", xlim=(-0.03, 1.03), ylim=(len(names) - 0.5, -0.5))
    legend(picture, axes[:1])
    levels = " or ".join(f"{level:g}" for level in sorted(passed["pass_line"].unique()))
    detail = f"mean return of a batch at {levels} or above, once and in the last iteration; exact 95% limits"
    if len(pairs):
        detail += ". Right: how often one seed of each of two variants ranks them wrongly; ½: a coin"
    title(picture, "Who passes depends on when one looks, and on the seed", detail)
    return picture


def _dots(panel: Axes, table: pd.DataFrame, name: str, shift: float, label: str, **look: Any) -> None:
    """A column with its limits, a row a height."""
    columns = [table[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high")]
    for place, (_, low, high) in enumerate(zip(*columns, strict=True)):
        limits(panel, [low, high], [place + shift] * 2, label, linewidth=points(1.4), **look)
    panel.plot(columns[0], np.arange(len(table)) + shift, linestyle="", marker="o", label=label, **look)


def as_json(study: StudyFrames, passed: pd.DataFrame, ranked: pd.DataFrame) -> str:
    """Both tables, a row an object; what has no value is null."""

    def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
        return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]

    return json.dumps({"study": study.name, "passing": rows(passed), "rankings": rows(ranked)}, indent=2) + "\n"


def from_json(text: str) -> Graded:
    """What `as_json` wrote. Raises KeyError and ValueError for other text."""
    kept = json.loads(text)
    passed = pd.DataFrame(kept["passing"])[["env", "label", "seeds", "pass_line", *SHARES]]
    return Graded(kept["study"], passed, pd.DataFrame(kept["rankings"]))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return (int(value) if isinstance(value, int | np.integer) else float(value)) if math.isfinite(value) else None
