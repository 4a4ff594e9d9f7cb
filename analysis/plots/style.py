"""How everything looks. A variant's colour is the hue of its Phi in the shade of its baseline, in every figure; hues
are seaborn's colour-blind safe ones. Markers and dashes carry what greyscale loses: beside its name a variant has its
baseline's marker, among curves one of Phi and baseline together, and the dashes of its Phi. Other algorithms than the
policy gradient have hues that no Phi of the lecture has."""

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
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
SIZE = 8.0  # points, of text
MARKERS = "osD^vXP*<>"
HUES = ("#808080", "#de8f05", "#0173b2", "#cc78bc", "#029e73", "#d55e00", "#1c9bbf", "#a0522d")  # by the order of a Phi
OTHERS = (
    "#b2182b",
    "#4393c3",
    "#7b3294",
    "#5d6b00",
    "#ca9161",
    "black",
    "#e377c2",
    "#1b7837",
)  # the same for the other algorithms
TINTS = ((0, 0), (-0.45, 0), (0.4, 0), (-0.1, 40), (-0.3, -35), (0.15, -40), (-0.6, 30), (0.3, 60), (-0.65, -60))
"""By the order of a baseline: how far towards white (above 0) or black, and by how many degrees the hue turns."""
DASHES = (":", "-", "-.", (0, (3, 1, 1, 1, 1, 1)), "--", (0, (6, 1, 1, 1)))  # by the order of a Phi

CROWD = 12  # cells that can be told apart in one panel
ALIKE = 5  # cells of one variant, in one colour, that can be
NARROW = 1.5  # inches of a panel, in which three numbers a decade would lie on one another
NAME = 50  # letters of a line of a name beside a row
NAMED = 0.55  # of the width of a panel, which names at the ends of its lines may take

Colour = tuple[float, ...]


@dataclass(frozen=True)
class Paper:
    """What figures are made for: `width` in inches (None: as wide as the figure asks), height over width where it is
    given, as on slides; the family of letters ("" for the usual) and their size in points; and whether there is a title
    above, which a caption may take the place of."""

    width: float | None = None
    ratio: float | None = None
    font: str = ""
    size: float = SIZE
    titled: bool = True


_paper = [Paper()]  # of the figures that are drawn now, as matplotlib's own settings are


def theme(made_for: Paper | None = None) -> None:
    """The style of all figures; to be called before drawing."""
    _paper[0] = made_for or Paper()
    scale = points(1)
    sizes: dict[str, float] = {"font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7}
    sizes |= {"xtick.labelsize": 7, "ytick.labelsize": 7, "lines.markersize": 4.5, "lines.linewidth": 1.2}
    sizes |= {"grid.linewidth": 0.5, "axes.linewidth": 0.6, "lines.markeredgewidth": 0.5}
    rules: dict[str, Any] = {
        "axes.titlelocation": "left",
        "svg.hashsalt": "ablate",
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
    }
    rules |= {"grid.color": "0.9", "axes.edgecolor": "0.6", "axes.spines.top": False, "axes.spines.right": False}
    sns.set_theme(style="whitegrid", rc={name: scale * value for name, value in sizes.items()} | rules)
    if paper().font:
        plt.rcParams["font.family"] = [paper().font]


def paper() -> Paper:
    """What figures are drawn for now."""
    return _paper[0]


def width(asked: float) -> float:
    """Inches of a figure that would be as wide as asked."""
    return paper().width or asked


def points(asked: float) -> float:
    """The size of letters that would be so many points in a figure of the usual size."""
    return asked * paper().size / SIZE


def colour(phi_order: int, baseline_order: int) -> Colour:
    """One colour a variant, everywhere."""
    order = int(phi_order)
    hue = OTHERS[(order - OTHER) % len(OTHERS)] if order >= OTHER else HUES[order % len(HUES)]
    light, turn = TINTS[int(baseline_order) % len(TINTS)]
    h, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(hue))
    end = 1.0 if light > 0 else 0.0
    return colorsys.hls_to_rgb(
        (h + turn / 360) % 1, lightness + abs(light) * (end - lightness), 0.7 * saturation if turn else saturation
    )


def ink(line: Colour) -> Colour:
    """A line's colour, dark enough for letters on white: a contrast of 4.5."""
    shade = np.array(line[:3])
    while _luminance(shade) > 1.05 / 4.5 - 0.05:
        shade = 0.95 * shade
    return tuple(float(x) for x in shade)


def _luminance(rgb: Any) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    linear = np.where(np.asarray(rgb) <= 0.04045, np.asarray(rgb) / 12.92, ((np.asarray(rgb) + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


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
    places = 3 * cells["phi_order"] + cells["baseline_order"] + cells["repeated"]
    return {
        cell.Index: {
            "color": colour(cell.phi_order, cell.baseline_order),
            "marker": MARKERS[int(places[cell.Index]) % len(MARKERS)],
            "linestyle": DASHES[int(cell.phi_order) % len(DASHES)],
        }
        for cell in cells.itertuples()
    }


def panels(number: int, height: float = 2.5, wide: int = 2, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, as wide as one column of a paper if there is but one, else as two; in one column they
    stand below each other."""
    total = width(COLUMN if min(number, wide) == 1 else WIDTH)
    columns = min(number, wide if total / points(1) > 1.4 * COLUMN else 1)
    rows = -(-number // columns)
    size = (total, points(height) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    for unused in axes.ravel()[number:]:
        unused.set_visible(False)
    return figure, list(axes.ravel()[:number])


def title(figure: Figure, seen: str, detail: str) -> None:
    """What is seen, and below it how to read it, broken into lines that fit; the figure grows by as much. Where titles
    are left out, a slide or a paper has its own."""
    if not paper().titled:
        return
    letters = figure.get_figwidth() * 16.5 / points(1)
    bold, plain = _lines(seen, letters), _lines(detail, letters) if detail else []
    grow(figure, points(0.14) * (len(bold) + len(plain)) + 0.1)
    figure.suptitle(
        "\n".join([*bold, *plain]), fontsize=points(8), x=0.01, ha="left", fontweight="normal", linespacing=1.25
    )


def grow(figure: Figure, inches: float) -> None:
    """Make room for what stands beside the panels."""
    figure.set_figheight(figure.get_figheight() + inches)


def _lines(text: str, letters: float) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) > letters:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def row_name(text: str) -> str:
    """A name beside a row: in two lines where it is long, and cut where it is very long."""
    return "\n".join(wrap(text, NAME, max_lines=2, placeholder=" …", break_on_hyphens=False))


def named(figure: Figure, axes: Sequence[Axes]) -> None:
    """The names of lines: at their ends in the last panel of each row where there are few, else in a legend below."""
    columns = len({round(panel.get_position().x0, 3) for panel in axes}) if axes else 1
    lasts = [panel for place, panel in enumerate(axes) if (place + 1) % columns == 0 or place == len(axes) - 1]
    rows = -(-len(axes) // columns)
    each, tall = figure.get_figwidth() / columns, 0.6 * figure.get_figheight() / rows
    for panel in axes:
        here = set(panel.get_legend_handles_labels()[1])
        last = min((x for x in lasts if axes.index(x) >= axes.index(panel)), key=axes.index)
        names = set(last.get_legend_handles_labels()[1])
        fits = max(map(len, names), default=0) * points(0.055) < NAMED * each and len(names) * points(0.13) < tall
        if not (here <= names and fits):
            legend(figure, axes)
            return
    for panel in lasts:
        name_ends(panel, points(0.13) / tall)


def name_ends(panel: Axes, gap: float) -> None:
    """Write the name of each line beside its end, in its colour; names that would overlap move apart, by `gap` of the
    panel's height at least."""
    lines = [line for line in panel.lines if not str(line.get_label()).startswith("_")]
    names = [str(line.get_label()) for line in lines]
    to_axes = panel.transData + panel.transAxes.inverted()
    ends = []
    for line in lines:
        x, y = np.array(line.get_data(), dtype=np.float64)
        x, y = (data[np.isfinite(y)][-1] for data in (x, y))
        ends.append(to_axes.transform((x, y)))
    places = spread([float(np.clip(y, 0, 1)) for _, y in ends], gap)
    for line, name, (x, y), place in zip(lines, names, ends, places, strict=True):
        shade = ink(to_rgb(line.get_color()))
        panel.text(1.03, place, name, transform=panel.transAxes, color=shade, va="center", fontsize=points(7))
        if abs(place - y) > gap / 2 or x < 0.97:
            style: dict[str, Any] = {
                "color": line.get_color(),
                "linewidth": 0.5,
                "clip_on": False,
                "label": "_to its name",
            }
            panel.plot([x, 1.02], [y, place], transform=panel.transAxes, **style)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The nearest places to the values, in their order, that are `gap` apart at least: least squares, by pooling those
    that would overlap around their mean."""
    order = np.argsort(values, kind="stable")
    blocks: list[list[float]] = []  # of places less what the gaps before them take
    for rank, place in enumerate(order):
        blocks.append([values[place] - gap * rank])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    flat = [float(np.mean(block)) for block in blocks for _ in block]
    found = [0.0] * len(values)
    for rank, place in enumerate(order):
        found[place] = flat[rank] + gap * rank
    return found


def curve(panel: Axes, x: Any, value: Any, low: Any, high: Any, label: str, **look: Any) -> None:
    """A line and the band of its interval, none where the limits are not known."""
    panel.plot(x, value, label=label, **look)
    if np.isfinite(np.asarray(low, float)).any():
        panel.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0, label=f"_interval of {label}")


def limits(panel: Axes, x: Any, y: Any, label: str, **look: Any) -> None:
    """The line of an interval, from end to end."""
    panel.plot(x, y, label=f"_interval of {label}", **look)


def rule(panel: Axes, what: str, x: float | None = None, y: float | None = None, **look: Any) -> None:
    """A line across the panel that values are held against, with what it is."""
    style: dict[str, Any] = {
        "color": "0.25",
        "linewidth": points(0.8),
        "zorder": 1.5,
        "label": f"_rule of {what}",
    } | look
    if x is not None:
        panel.axvline(x, **style)
    if y is not None:
        panel.axhline(y, **style)


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, below them; the figure grows by as much."""
    handles = dict[str, Any]()
    for panel in axes:
        found, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    longest = max(map(len, handles), default=1)
    columns = max(1, min(len(handles), int(figure.get_figwidth() / points(1) * 14 / (longest + 7))))
    grow(figure, points(0.16) * -(-len(handles) // columns) + 0.1)
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
    inches = panel.get_window_extent().width / panel.figure.dpi / points(1)
    wide = np.log10(high) - np.log10(low) > (2 if which == "y" or inches > NARROW else 1)
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_formatter(NullFormatter())
    if max(high, 1 / low) < 1e7:
        axis.set_major_formatter(_short)


def _short(x: float, _: object = None) -> str:
    return f"{x / 1e6:g}M" if abs(x) >= 1e6 else f"{x / 1e3:g}k" if abs(x) >= 1e3 else f"{x:g}"
