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

from ablate.configuration.settings import node
from ablate.statistics.interval import student_quantile

from ..frames import OTHER
from ..plots import theme
from ..plots.style import MARKERS as EVERYWHERE
from ..plots.style import colour, grow, limits, paper, points, rule, width
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


LEARNERS = {"A2C": "a2c", "DQN": "dqn", "tabular Q-learning": "q_learning", "Q-learning": "q_learning"}


def learner(name: str) -> dict[str, Any]:
    """Colour and marker of an algorithm, as in every other figure; of the policy gradient those of reward-to-go."""
    algorithm = LEARNERS.get(name)
    group, choice, first = ("algorithm", algorithm, OTHER) if algorithm else ("phi", "rtg", 0)
    order = first + int(node(group, choice)["about"]["order"])
    return {"color": colour(order, 0), "marker": EVERYWHERE[3 * order % len(EVERYWHERE)], "linestyle": "none"}


def heading(drawn: Figure, text: str) -> None:
    """What is seen, above all panels."""
    drawn.suptitle(text, fontsize=points(9), x=0.01, ha="left")


def legend(drawn: Figure, *panels: Axes, columns: int = 4) -> None:
    """One legend of what panels show, below them, where it hides nothing; the figure grows by as much."""
    named: dict[str, Any] = {}
    for panel in panels:
        named |= {label: mark for mark, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    style: dict[str, Any] = {"ncols": min(columns, len(named)), "fontsize": points(7), "frameon": False}
    grow(drawn, points(0.16) * -(-len(named) // columns) + 0.1)
    drawn.legend(list(named.values()), list(named), loc="outside lower center", **style)


def values(shown: pd.Series, title: str, axis: str, good: tuple[float, float], border: float | None = None) -> Figure:
    """Known numbers, a row a name: a dot inside of `good`, a cross outside."""
    drawn, (panel,) = figure(height=1.2 + 0.32 * len(shown))
    for row, (name, x) in enumerate(shown.items()):
        inside = good[0] < x < good[1]
        look: dict[str, Any] = {"marker": "o" if inside else "X", "color": HUES[0 if inside else 3]}
        panel.plot(x, row, linestyle="none", label=f"_value of {name}", **look)
    if border is not None:
        rule(panel, "what is good", x=border, color="black")
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
        shade = {"color": style["color"], "alpha": 0.2, "linewidth": 0, "label": f"_interval of {label}"}
        panel.fill_between(np.asarray(x), mean - half, mean + half, **shade)


def interval(panel: Axes, estimate: Estimate, row: float, name: str, scale: Callable = np.asarray, **look: Any) -> None:
    """An estimate with its 95% limits, at a height; or the words that nothing is known."""
    style = {"color": HUES[0], "marker": "o"} | look
    low, high = estimate.limits(0.05)
    if not np.isfinite([low, estimate.value, high]).all():
        place: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "ha": "right", "va": "center"}
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        panel.text(0.98, row, "not known", color="0.4", fontsize=points(7), bbox=box, **place)
        return
    limits(panel, scale([low, high]), [row, row], name, color=style["color"], linewidth=1.0)
    panel.plot(scale(estimate.value), row, label=f"_value of {name}", **style | {"linestyle": "none"})


def ticked(axis: Axis) -> None:
    """At least two numbers on a logarithmic axis, which has none of its own within a decade."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())
