"""What the claims' pictures share. A title says what is seen, axes carry units, colours are told apart in grey too."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from ablate.statistics.interval import student_quantile

from ..plots import theme
from ..plots.style import paper, points, width
from .estimates import Estimate

WIDTH = 7.2  # inches
HUES = sns.color_palette("colorblind")
LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vXP*"


def figure(columns: int = 1, height: float = 2.8, **options: Any) -> tuple[Figure, list[Axes]]:
    """A row of panels in the project's style, on the paper that figures are drawn for now."""
    theme(paper())
    size = width(WIDTH), points(height)
    drawn, axes = plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False, **options)
    return drawn, list(axes[0])


def look(place: int) -> dict[str, Any]:
    """Colour, line and marker of the n-th thing."""
    return {"color": HUES[place % len(HUES)], "linestyle": LINES[place % 4], "marker": MARKERS[place % len(MARKERS)]}


def values(shown: pd.Series, title: str, axis: str, good: tuple[float, float], border: float | None = None) -> Figure:
    """Known numbers, a row a name: a dot inside of `good`, a cross outside."""
    drawn, (panel,) = figure(height=1.2 + 0.32 * len(shown))
    for row, x in enumerate(shown):
        inside = good[0] < x < good[1]
        panel.plot(x, row, marker="o" if inside else "X", color=HUES[0 if inside else 3], linestyle="none")
    if border is not None:
        panel.axvline(border, color="black", linewidth=0.8)
    panel.set_yticks(range(len(shown)), list(shown.index))
    panel.set_ylim(len(shown) - 0.5, -0.5)
    panel.set(xlabel=axis, title=title)
    return drawn


def band(panel: Axes, x: ArrayLike, rows: ArrayLike, label: str, place: int, scale: Callable = np.asarray) -> None:
    """Mean of rows [seeds, points] and its 95% limits by Student's t, against x [points]."""
    table = np.asarray(scale(rows), dtype=np.float64)
    mean = table.mean(0)
    style = look(place) | {"marker": ""}
    panel.plot(np.asarray(x), mean, label=label, **style)
    if len(table) > 1:
        half = student_quantile(len(table) - 1) * table.std(0, ddof=1) / np.sqrt(len(table))
        panel.fill_between(np.asarray(x), mean - half, mean + half, color=style["color"], alpha=0.2, linewidth=0)


def interval(panel: Axes, estimate: Estimate, row: float, scale: Callable = np.asarray, **look: Any) -> None:
    """An estimate with its 95% limits, at a height; or the words that nothing is known."""
    style = {"color": HUES[0], "marker": "o"} | look
    low, high = estimate.limits(0.05)
    if not np.isfinite([low, estimate.value, high]).all():
        panel.text(0.5, row, "not known", transform=panel.get_yaxis_transform(), ha="center", va="center", color="0.5")
        return
    panel.plot(scale([low, high]), [row, row], color=style["color"], linewidth=1.0)
    panel.plot(scale(estimate.value), row, **style | {"linestyle": "none"})


def ticked(axis: Axis) -> None:
    """At least two numbers on a logarithmic axis, which has none of its own within a decade."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())
