"""The Gaussian intuition: sample, score, average. Slide "Intuition"; after A. Karpathy, "Pong from pixels" (2016).

    grad_mu E[f(x)] = E[ f(x) grad_mu log p(x) ],   grad_mu log p(x) = (x - mu) / sigma^2,   x ~ N(mu, sigma^2 I)

Every sample pulls the mean towards itself where f(x) = +1 and pushes it away where f(x) = -1.
"""

from dataclasses import dataclass
from math import erf, exp, hypot, pi, sqrt

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from .plots.style import points, width

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HalfPlane:
    """f(x) = +1 where direction . x > level, else -1; direction is a unit vector.

    E[f(x)] = erf(u / sqrt 2) and its gradient 2 phi(u) direction / sigma, with u = (direction . mu - level) / sigma.
    """

    direction: tuple[float, float] = (0.8, 0.6)
    level: float = 0.7

    def marks(self, x: Floats) -> Floats:
        """f(x) [...] of samples [..., 2]."""
        return np.where(x @ np.array(self.direction) > self.level, 1.0, -1.0)

    def expected(self, mu: Floats, sigma: float) -> float:
        return erf(self._units(mu, sigma) / sqrt(2))

    def gradient(self, mu: Floats, sigma: float) -> Floats:
        """grad_mu E[f(x)], [2]."""
        density = exp(-(self._units(mu, sigma) ** 2) / 2) / sqrt(2 * pi)
        return 2 * density / sigma * np.array(self.direction)

    def _units(self, mu: Floats, sigma: float) -> float:
        return (float(mu @ np.array(self.direction)) - self.level) / sigma


def sample(mu: Floats, sigma: float, number: int, rng: np.random.Generator) -> Floats:
    """x = mu + sigma z, [N, 2]."""
    return mu + sigma * rng.standard_normal((number, 2))


def score(x: Floats, mu: Floats, sigma: float) -> Floats:
    """(x - mu) / sigma^2, [N, 2]."""
    return (x - mu) / sigma**2


def average(marks: Floats, scores: Floats) -> Floats:
    """The estimate of the gradient, (1/N) sum_i f(x_i) score_i, [2]."""
    return (marks[:, None] * scores).mean(0)


def figure(number: int = 60, sigma: float = 1.0, step: float = 1.6, seed: int = 0) -> Figure:
    """The slide's three panels: the samples, their scores as arrows with the sign of f, and the averaged step."""
    plane, mu = HalfPlane(), np.zeros(2)
    x = sample(mu, sigma, number, np.random.default_rng(seed))
    marks, scores = plane.marks(x), score(x, mu, sigma)
    estimate, exact = average(marks, scores), plane.gradient(mu, sigma)
    moved = mu + step * estimate
    good, bad, ink = sns.color_palette("colorblind")[0], sns.color_palette("colorblind")[1], "0.25"

    panels: list[Axes]
    drawing, panels = plt.subplots(
        1, 3, figsize=(width(7.2), points(3.1)), sharex=True, sharey=True, layout="constrained"
    )
    for panel in panels:
        _ground(panel, plane)
        for radius in (1, 2):
            panel.add_patch(Circle((mu[0], mu[1]), radius * sigma, fill=False, color=ink, linewidth=0.7, alpha=0.6))
        panel.plot(*mu, "+", color="black", markersize=8, markeredgewidth=1.4)
        panel.set(aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xlabel="$x_1$")
    panels[0].set_ylabel("$x_2$")

    panels[0].plot(*x.T, "o", color=ink, markersize=3)
    panels[0].set_title(f"1. Sample {number} actions", fontsize=points(7))

    for value, colour, marker, name in ((1, good, "o", "f = +1"), (-1, bad, "x", "f = −1")):
        own = marks == value
        ends = 0.45 * value * scores[own]
        panels[1].quiver(
            *x[own].T, *ends.T, color=colour, angles="xy", scale_units="xy", scale=1, width=0.007, alpha=0.75
        )
        panels[1].plot(*x[own].T, marker, color=colour, markersize=3.5, linestyle="none", label=name)
    panels[1].set_title("2. Score them, signed by f", fontsize=points(7))
    panels[1].legend(loc="lower left", handletextpad=0.2)

    panels[2].add_patch(Circle((moved[0], moved[1]), sigma, fill=False, color=good, linewidth=1, linestyle="--"))
    for arrow, colour, thick, name in ((exact, "0.6", 0.022, "exact"), (estimate, good, 0.012, "average")):
        panels[2].quiver(
            *mu, *(step * arrow), color=colour, angles="xy", scale_units="xy", scale=1, width=thick, label=name
        )
    panels[2].set_title("3. Step along the average", fontsize=points(7))
    panels[2].legend(loc="lower left", handletextpad=0.4)
    off = np.degrees(np.arccos(estimate @ exact / (hypot(*estimate) * hypot(*exact))))
    drawing.suptitle(
        f"The average of {number} signed scores points uphill: {off:.0f}° off the exact gradient; "
        f"E f goes from {plane.expected(mu, sigma):.2f} to {plane.expected(moved, sigma):.2f}",
        fontsize=points(7),
    )
    return drawing


def _ground(panel: Axes, plane: HalfPlane) -> None:
    """Shade the half plane where f = +1, and draw its edge, which is straight: two points a side suffice."""
    grid = np.linspace(-3.2, 3.2, 2)
    a, b = plane.direction
    height = a * grid[None, :] + b * grid[:, None] - plane.level
    panel.contourf(grid, grid, height, levels=[0, height.max()], colors=["0.92"])
    panel.contour(grid, grid, height, levels=[0], colors=["0.5"], linewidths=0.8)
    panel.grid(visible=False)
