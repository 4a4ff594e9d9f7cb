"""C16: the average of score arrows, each times its mark, moves the mean of the Gaussian uphill."""

from collections.abc import Callable
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate.randomness import stream

from ..score_function import HalfPlane
from ..verdicts import draw
from ..verdicts.estimates import Exact
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

Floats = NDArray[np.float64]
SIGMA = 1.0
MU = np.array([0.3, -0.2])
PLANE = HalfPlane((0.6, 0.8), 0.5)  # of good samples
CENTRE, WIDTH = np.array([1.5, 1.0]), 0.8  # of a smooth hill
STEP = 1e-3
LONG = 3.0  # times the two arrows that are compared are drawn
QUIVER: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006}


def hill(x: Floats) -> Floats:
    """exp(-|x - c|^2 / (2 w^2))."""
    return np.exp(-np.square(x - CENTRE).sum(-1) / (2 * WIDTH**2))


def expected_hill(mu: Floats) -> float:
    """E f = w^2 / (w^2 + sigma^2) exp(-|mu - c|^2 / (2 (w^2 + sigma^2)))."""
    wide = WIDTH**2 + SIGMA**2
    return WIDTH**2 / wide * exp(-float(np.square(mu - CENTRE).sum()) / (2 * wide))


def gradient_hill(mu: Floats) -> Floats:
    return expected_hill(mu) * (CENTRE - mu) / (WIDTH**2 + SIGMA**2)


Task = tuple[Callable[[Floats], Floats], Callable[[Floats], float], Callable[[Floats], Floats]]
TASKS: dict[str, Task] = {
    "marks +1 and -1 on a half-plane": (
        PLANE.marks,
        lambda mu: PLANE.expected(mu, SIGMA),
        lambda mu: PLANE.gradient(mu, SIGMA),
    ),
    "a smooth hill": (hill, expected_hill, gradient_hill),
}


def _arrow(f: Callable[[Floats], Floats]) -> Floats:
    """E[f(x) (x - mu) / sigma^2] by quadrature, in axes turned so that the half-plane's edge is on one coordinate."""
    normal = np.array(PLANE.direction)
    along = np.array([-normal[1], normal[0]])
    x, wx = _legendre(-9.0, (PLANE.level - float(normal @ MU)) / SIGMA, 9.0)
    y, wy = _legendre(-9.0, 0.0, 9.0)
    e = x[:, None, None] * normal + y[None, :, None] * along
    density = np.exp(-np.square(e).sum(-1) / 2) / (2 * np.pi)
    weights = wx[:, None] * wy[None, :] * density * f(MU + SIGMA * e)
    return np.tensordot(weights, e, 2) / SIGMA


def _legendre(*edges: float) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss-Legendre on each interval between the edges."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    halves = [(b - a) / 2 for a, b in pairwise(edges)]
    middles = [(b + a) / 2 for a, b in pairwise(edges)]
    points = np.concatenate([m + h * nodes for m, h in zip(middles, halves, strict=True)])
    return points, np.concatenate([h * weights for h in halves])


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """task; projection of the mean arrow on the gradient of E f, across it (both over |gradient|); rise of E f after a
    step of 1e-3 along the mean arrow, over step x |gradient|^2; and, for batches of N dots, uphill = the share whose
    arrow points uphill."""
    rows = []
    for task, (f, expected, gradient) in TASKS.items():
        slope = gradient(MU)
        arrow = _arrow(f)
        projection = float(arrow @ slope / (slope @ slope))
        across = float(np.sqrt(np.square(arrow - projection * slope).sum() / (slope @ slope)))
        rise = (expected(MU + STEP * arrow) - expected(MU)) / (STEP * float(slope @ slope))
        e = stream(0, f"claim C16, {task}").standard_normal((study.size["batches"], max(study.size["dots"]), 2))
        arrows = f(MU + SIGMA * e)[..., None] * e / SIGMA
        for N in study.size["dots"]:
            up = float((arrows[:, :N].mean(1) @ slope > 0).mean())
            rows.append({"task": task, "projection": projection, "across": across, "rise": rise, "N": N, "uphill": up})
    return pd.DataFrame(rows)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The mean arrow is the gradient (projection 1, nothing across), and a small step along it goes up."""
    places = [
        Condition(row.task, {"arrow": Exact(row.projection), "across": Exact(row.across), "rise": Exact(row.rise)})
        for row in evidence.drop_duplicates("task").itertuples()
    ]
    remark = " ".join(
        f"{row.task}: an average of {row.N} dots points uphill in {row.uphill:.0%} of draws."
        for row in evidence[evidence["N"] == evidence["N"].min()].itertuples()
    )
    return ClaimFinding(places, remark)


def picture(evidence: pd.DataFrame) -> Figure:
    """Dots, their marks and arrows, and the averaged arrow beside the gradient; and how often an average points up."""
    figure, (left, right) = draw.figure(2, height=3.2)
    e = stream(0, "picture of claim C16").standard_normal((24, 2))
    x, marks = MU + SIGMA * e, PLANE.marks(MU + SIGMA * e)
    for mark, marker, hue in ((1.0, "P", 0), (-1.0, "X", 3)):
        chosen = marks == mark
        left.scatter(*x[chosen].T, marker=marker, color=draw.HUES[hue], label=f"{mark:+g}", zorder=3)
        left.quiver(*x[chosen].T, *(0.3 * mark * e[chosen]).T, color=draw.HUES[hue], alpha=0.5, **QUIVER)
    slope = PLANE.gradient(MU, SIGMA)
    average = LONG * (marks[:, None] * e).mean(0)
    wide, thin = QUIVER | {"width": 0.022}, QUIVER | {"width": 0.007}
    left.quiver(*MU, *(LONG * slope), color=draw.HUES[2], label=f"gradient of E f, × {LONG:g}", zorder=4, **wide)
    left.quiver(*MU, *average, color="black", label=f"average of the arrows, × {LONG:g}", zorder=5, **thin)
    left.set(title="24 samples, their marks and scored arrows", xlabel="x", ylabel="y", aspect="equal")
    left.set(xlim=(-2.6, 3.0), ylim=(-2.6, 2.2))
    for place, (task, rows) in enumerate(evidence.groupby("task", sort=False)):
        right.plot(rows["N"], rows["uphill"], label=task, **draw.look(place))
    right.set(xscale="log", xlabel="dots averaged, N", ylabel="share of averages that point uphill")
    right.set_xticks(sorted(set(evidence["N"])), [f"{N}" for N in sorted(set(evidence["N"]))])
    right.minorticks_off()
    right.set_title("The more dots, the surer the direction")
    draw.legend(figure, left, right, columns=3)
    return figure
