"""How everything looks. A variant's colour is the hue of its Phi in the shade of its baseline, in every figure; hues
are seaborn's colour-blind safe ones. Markers and dashes carry what greyscale loses: beside its name a variant has its
baseline's marker, among curves one of Phi and baseline together, and the dashes of its Phi. Other algorithms than the
policy gradient have hues that no Phi of the lecture has."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ..frames import OTHER

WIDTH = 7.2  # inches: two columns of a paper, and readable at one
COLUMN = 3.5  # inches: one column of a paper
MARKERS = "osD^vXP*<>"
HUES = (7, 1, 0, 4, 2, 3, 9, 6)  # of seaborn's "colorblind" palette, by the order of a Phi
OTHERS = (3, 9, 5, 8, 6, None)  # the same for the other algorithms; None is black
SHADES = (0.0, 0.35, -0.25, 0.6, -0.45)  # towards white or black, by the order of a baseline
DASHES = (":", "-", "-.", (0, (3, 1, 1, 1, 1, 1)), "--", (0, (6, 1, 1, 1)))  # by the order of a Phi

CROWD = 12  # cells that can be told apart in one panel
ALIKE = 5  # cells of one variant, in one colour, that can be

Colour = tuple[float, ...]


def colour(phi_order: int, baseline_order: int) -> Colour:
    """One colour a variant, everywhere."""
    order = int(phi_order)
    place = OTHERS[(order - OTHER) % len(OTHERS)] if order >= OTHER else HUES[order % len(HUES)]
    hue = np.array(to_rgb("black" if place is None else sns.color_palette("colorblind")[place]))
    shade = SHADES[int(baseline_order) % len(SHADES)]
    return tuple(float(x) for x in hue + abs(shade) * ((1.0 if shade > 0 else 0.0) - hue))


def style(row: Any) -> dict[str, Any]:
    """Colour, marker and line of a variant; a critic that does not see the time is dashed."""
    return {
        "color": colour(row.phi_order, row.baseline_order),
        "marker": MARKERS[int(row.baseline_order) % len(MARKERS)],
        "linestyle": "--" if row.critic == "clockless" else "-",
    }


def variants(frame: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    """(first row, rows) of each variant, in the configuration's order."""
    order = ["phi_order", "baseline_order", "label"]
    for _, rows in frame.groupby(order, sort=True):
        yield next(rows.itertuples()), rows


def looks(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each cell of one environment; cells of the same variant differ in the marker."""
    repeated = cells.groupby("variant").cumcount()
    places = 3 * cells["phi_order"] + cells["baseline_order"] + repeated
    return {
        cell.Index: {
            "color": colour(cell.phi_order, cell.baseline_order),
            "marker": MARKERS[int(places[cell.Index]) % len(MARKERS)],
            "linestyle": DASHES[int(cell.phi_order) % len(DASHES)],
        }
        for cell in cells.itertuples()
    }


def theme() -> None:
    """The style of all figures; to be called before drawing."""
    sizes = {"font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "legend.fontsize": 7}
    ticks = {"xtick.labelsize": 7, "ytick.labelsize": 7, "lines.markersize": 4.5, "lines.linewidth": 1.2}
    sns.set_theme(style="whitegrid", rc={**sizes, **ticks, "axes.titlelocation": "left", "svg.hashsalt": "ablate"})


def panels(number: int, height: float = 2.5, wide: int = 2, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, as wide as one column of a paper if there is but one, else as two."""
    columns = min(number, wide)
    rows = -(-number // columns)
    size = (COLUMN if columns == 1 else WIDTH, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    for unused in axes.ravel()[number:]:
        unused.set_visible(False)
    return figure, list(axes.ravel()[:number])


def title(figure: Figure, seen: str, detail: str) -> None:
    """What is seen, and below it how to read it, broken into lines that fit; the figure grows by as much."""
    lines = [*_lines(seen, figure.get_figwidth() * 15), *_lines(detail, figure.get_figwidth() * 15)]
    grow(figure, 0.14 * len(lines) + 0.1)
    figure.suptitle("\n".join(lines), fontsize=8, x=0.02, ha="left")


def grow(figure: Figure, inches: float) -> None:
    """Make room for what stands beside the panels."""
    figure.set_figheight(figure.get_figheight() + inches)


def _lines(text: str, letters: float) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > letters:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them; the figure grows by as much."""
    handles = dict[str, Any]()
    for panel in axes:
        found, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    longest = max(map(len, handles), default=1)
    columns = max(1, min(len(handles), int(figure.get_figwidth() * 14 / (longest + 7))))
    grow(figure, 0.16 * -(-len(handles) // columns) + 0.1)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)


def crowded(cells: pd.DataFrame) -> str:
    """Why so many cells cannot be told apart in one panel an environment; "" where they can."""
    if cells.empty:
        return ""
    if cells.groupby("env").size().max() > CROWD:
        return f"shows at most {CROWD} cells of an environment"
    most = cells.groupby(["env", "variant"]).size().max()
    return f"shows at most {ALIKE} cells of one variant, which share its colour" if most > ALIKE else ""


def thousands(axis: Axis) -> None:
    """Numbers as 50k or 2M."""
    axis.set_major_formatter(_short)


def logarithmic(panel: Axes, which: str) -> None:
    """A log axis with few plain ticks: powers of ten over several decades, else 1, 2, 5."""
    getattr(panel, f"set_{which}scale")("log")
    axis = panel.xaxis if which == "x" else panel.yaxis
    low, high = getattr(panel, f"get_{which}lim")()
    if not 0 < low < high:  # nothing is drawn but what has no bound
        low, high = getattr(panel, f"set_{which}lim")(0.1, 10)
    wide = np.log10(high) - np.log10(low) > 2
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_formatter(NullFormatter())
    if max(high, 1 / low) < 1e7:
        axis.set_major_formatter(_short)


def _short(x: float, _: object = None) -> str:
    return f"{x / 1e6:g}M" if abs(x) >= 1e6 else f"{x / 1e3:g}k" if abs(x) >= 1e3 else f"{x:g}"
