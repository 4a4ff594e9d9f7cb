"""What the claims' pictures share. A title says what is seen, axes carry units, colours are told apart in grey too."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ablate.noise import student_quantile
from analysis.claims import variances
from analysis.claims.verdict import Place
from analysis.plots import theme

WIDTH = 7.2  # inches
HUES = sns.color_palette("colorblind")
LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vXP*"


def figure(columns: int = 1, height: float = 2.8, **options: Any) -> tuple[Figure, list[Axes]]:
    """A row of panels in the project's style."""
    theme()
    drawn, axes = plt.subplots(1, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options)
    return drawn, list(axes[0])


def look(place: int) -> dict[str, Any]:
    """Colour, line and marker of the n-th thing."""
    return {"color": HUES[place % len(HUES)], "linestyle": LINES[place % 4], "marker": MARKERS[place % len(MARKERS)]}


def ratios(evidence: pd.DataFrame, pairs: Sequence[tuple[str, str]], title: str) -> Figure:
    """Ratios of variances: a dot a named place, a strip a survey; left of 1 the claim holds."""
    drawn, panels = figure(len(pairs), sharey=True)
    for panel, (estimator, reference) in zip(panels, pairs, strict=True):
        table = variances.ratios(evidence, estimator, reference)
        floor = table.loc[table["ratio"] > 1e-6, "ratio"].min() / 3  # where a ratio of 0 is drawn
        names = [*table[table["survey"] == ""]["place"], *dict.fromkeys(s for s in table["survey"] if s)]
        for row, name in enumerate(names):
            x = table[(table["place"] == name) | (table["survey"] == name)]["ratio"].clip(lower=floor).to_numpy()
            lone = len(x) == 1
            heights = np.full(len(x), row) if lone else row + np.linspace(-0.3, 0.3, len(x))
            held = x < variances.LOWER[1]
            size = 28 if lone else 5
            panel.scatter(x[held], heights[held], s=size, color=HUES[0], marker="o", linewidths=0)
            panel.scatter(x[~held], heights[~held], s=size, color=HUES[3], marker="X", linewidths=0)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set(xscale="log", xlabel=f"variance of {estimator} / variance of {reference}")
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
    drawn.suptitle(f"{title}: a dot where less, a cross where not", fontsize=9)
    return drawn


def places(shown: Sequence[Place], title: str, axis: str, border: float | None = None) -> Figure:
    """Effects with their 95% limits, a row a place."""
    drawn, (panel,) = figure(height=1.2 + 0.32 * len(shown))
    marks = {True: ("o", HUES[0]), False: ("X", HUES[3]), None: ("s", HUES[7])}
    for row, place in enumerate(shown):
        marker, colour = marks[place.answer]
        if np.isfinite([place.low, place.high]).all():
            panel.plot([place.low, place.high], [row, row], color=colour)
        panel.plot(place.effect, row, marker=marker, color=colour, linestyle="none")
    if border is not None:
        panel.axvline(border, color="black", linewidth=0.8)
    panel.set_yticks(range(len(shown)), [place.where for place in shown])
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
