"""Group-sequential tests: look at the results several times, and keep the chance of a false alarm at alpha in all.

At look k, with n_k of at most n_K values, t_k = n_k / n_K of the information is in. A statistic Z_k that would be
normal behaves as B(t_k) / sqrt(t_k), B a Brownian motion with drift theta = effect sqrt(n_K) / deviation. The looks
spend alpha by a function of t alone, so that they may be at any n_k (Lan & DeMets 1983); the boundaries |Z_k| >= c_k
follow by recursive numerical integration (Armitage, McPherson & Rowe 1969). Student's t takes the place of Z by its
p-value: look k decides where p <= 2 - 2 Phi(c_k). Ours, since scipy has no sequential tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import ceil, log2, sqrt

import numpy as np
from scipy import special

from ablate.statistics.interval import Floats
from ablate.statistics.power import POWER

NODES, WEIGHTS = np.polynomial.legendre.leggauss(160)
ROOT = sqrt(2 * np.pi)
FUTILE = 0.1  # a chance of deciding below this, were the effect what was declared, is not worth the seeds
FAR = 9.0  # standard deviations that no statistic reaches

Spending = Callable[[float, float], float]


def obrien_fleming(t: float, alpha: float) -> float:
    """alpha spent by t on both sides: 4 - 4 Phi(z_{1 - alpha/4} / sqrt t), little at first."""
    return float(4 * special.ndtr(-special.ndtri(1 - alpha / 4) / sqrt(min(t, 1.0))))


def pocock(t: float, alpha: float) -> float:
    """alpha log(1 + (e - 1) t), about the same at every look."""
    return float(alpha * np.log1p((np.e - 1) * min(t, 1.0)))


SPENDING: dict[str, Spending] = {"obrien-fleming": obrien_fleming, "pocock": pocock}


@dataclass(frozen=True)
class Design:
    """Looks after so many values, and the level of the two-sided p-value that decides at each."""

    looks: tuple[int, ...]
    levels: tuple[float, ...]

    @property
    def most(self) -> int:
        return self.looks[-1]


def design(looks: Sequence[int], alpha: float, spending: Spending = obrien_fleming) -> Design:
    """The levels of tests after so many values each. Raises ValueError unless the looks increase from 1 or more."""
    if not looks or looks[0] < 1 or any(b <= a for a, b in pairwise(looks)):
        raise ValueError(f"looks {looks} do not increase")
    bounds = boundaries(tuple(n / looks[-1] for n in looks), alpha, spending)
    return Design(tuple(looks), tuple(float(2 * special.ndtr(-c)) for c in bounds))


@dataclass(frozen=True)
class _Undecided:
    """B(t) where no look has decided: masses on Gauss-Legendre nodes."""

    t: float
    nodes: Floats
    mass: Floats

    def beyond(self, t: float, c: float, drift: float) -> float:
        """P(|Z| >= c at t, and not decided before)."""
        step, edge = sqrt(t - self.t), c * sqrt(t)
        centre = self.nodes + drift * (t - self.t)
        return float(self.mass @ (special.ndtr((-edge - centre) / step) + special.ndtr((centre - edge) / step)))

    def within(self, t: float, c: float, drift: float) -> "_Undecided":
        """f_k(b) = int f_{k-1}(a) phi((b - a - theta dt) / sqrt dt) / sqrt dt da, for |b| < c_k sqrt t_k."""
        step, edge = sqrt(t - self.t), c * sqrt(t)
        nodes = edge * NODES
        apart = (nodes[:, None] - self.nodes - drift * (t - self.t)) / step
        return _Undecided(t, nodes, edge * WEIGHTS * (np.exp(-0.5 * np.square(apart)) @ self.mass) / (step * ROOT))


START = _Undecided(0.0, np.zeros(1), np.ones(1))


@cache
def boundaries(times: tuple[float, ...], alpha: float, spending: Spending = obrien_fleming) -> tuple[float, ...]:
    """c_k, so that P(first |Z_k| >= c_k at look k) is what is spent between looks, without drift."""
    bounds: list[float] = []
    spent, undecided = 0.0, START
    for t in times:
        share = spending(t, alpha) - spent
        spent += share
        low, high = 0.0, FAR
        for _ in range(60):
            c = (low + high) / 2
            low, high = (c, high) if undecided.beyond(t, c, 0.0) > share else (low, c)
        bounds.append((low + high) / 2)
        undecided = undecided.within(t, bounds[-1], 0.0)
    return tuple(bounds)


def crossing(times: Sequence[float], bounds: Sequence[float], drift: float = 0.0) -> Floats:
    """P(|Z_k| >= c_k, and not before) at each look, for a drift theta."""
    found, undecided = [], START
    for t, c in zip(times, bounds, strict=True):
        found.append(undecided.beyond(t, c, drift))
        undecided = undecided.within(t, c, drift)
    return np.array(found)


@cache
def inflation(looks: int, alpha: float, spending: Spending = obrien_fleming, wanted: float = POWER) -> float:
    """How many times the values of a single test a design of equally spaced looks needs for the same power."""
    times = tuple((k + 1) / looks for k in range(looks))
    bounds = boundaries(times, alpha, spending)
    single = float(special.ndtri(1 - alpha / 2) + special.ndtri(wanted))
    low, high = single, 2 * single
    for _ in range(50):
        drift = (low + high) / 2
        low, high = (low, drift) if crossing(times, bounds, drift).sum() > wanted else (drift, high)
    return (high / single) ** 2


def conditional_power(z: float, t: float, bound: float, drift: float) -> float:
    """P(|Z_K| >= bound at the last look) given Z = z at t < 1, for the better of a drift theta and -theta."""
    rest = sqrt(1 - t)
    chances = []
    for theta in (drift, -drift):
        centre = z * sqrt(t) + theta * (1 - t)
        chances.append(special.ndtr((-bound - centre) / rest) + special.ndtr((centre - bound) / rest))
    return float(max(chances))


def fewest(alpha: float) -> int:
    """Values below which a sign-flip test cannot reach alpha: 2^(1-n) <= alpha."""
    return max(3, ceil(1 - log2(alpha)))
