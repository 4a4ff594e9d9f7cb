"""What is known of one number: exactly, from independent values, or from a count of successes.

An estimate has limits at every level a, of which one interval of level 1 - a lies inside the other; and for a border b
the smallest a at which its upper limit is below b, or its lower limit above b. These are two-sided p-values, so that
limits and p-values never disagree; the chance that the interval misses the truth on one given side is a / 2 at most.
"""

from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ablate.statistics.seeds import share_limits


class Estimate(Protocol):
    """
    | member      | meaning                                                                        |
    |-------------|--------------------------------------------------------------------------------|
    | value       | the point estimate; NaN: there is none                                         |
    | samples     | how many independent values it is made of; None: it is known exactly           |
    | limits(a)   | lower and upper limit at level 1 - a                                           |
    | below(b)    | the smallest a at which the upper limit is below b; 1: at none                 |
    | above(b)    | the smallest a at which the lower limit is above b; 1: at none                 |
    | deviation(b)| standard deviation of one value, were the truth b                              |
    """

    @property
    def value(self) -> float: ...
    @property
    def samples(self) -> int | None: ...
    def limits(self, level: float) -> tuple[float, float]: ...
    def below(self, border: float) -> float: ...
    def above(self, border: float) -> float: ...
    def deviation(self, border: float) -> float: ...


@dataclass(frozen=True)
class Exact:
    """A known number needs no test: its limits are itself. NaN is not known, and says nothing."""

    value: float
    samples: int | None = None

    def limits(self, level: float) -> tuple[float, float]:
        return self.value, self.value

    def below(self, border: float) -> float:
        return 0.0 if self.value < border else 1.0

    def above(self, border: float) -> float:
        return 0.0 if self.value > border else 1.0

    def deviation(self, border: float) -> float:
        return nan


@dataclass(frozen=True)
class Mean:
    """The mean of independent values, by Student's t: m +- t_{n-1}(1 - a/2) s / sqrt n.

    Fewer than 3 values, or one that is not finite, say nothing. Neither do values that are all the same: a zero-width
    interval would say that what was not seen cannot be.
    """

    value: float
    spread: float
    samples: int

    @classmethod
    def of(cls, values: ArrayLike) -> "Mean":
        x = np.asarray(values, dtype=np.float64)
        if len(x) < 2 or not np.isfinite(x).all():
            return cls(float(x.mean()) if len(x) else nan, nan, len(x))
        return cls(float(x.mean()), float(x.std(ddof=1)), len(x))

    @property
    def _error(self) -> float:
        known = self.samples >= 3 and isfinite(self.value) and self.spread > 1e-12 * abs(self.value)
        return self.spread / sqrt(self.samples) if known else inf

    def limits(self, level: float) -> tuple[float, float]:
        if not isfinite(self._error):
            return -inf, inf
        reach = float(stats.t.isf(level / 2, self.samples - 1)) * self._error
        return self.value - reach, self.value + reach

    def below(self, border: float) -> float:
        if not isfinite(self._error):
            return 1.0
        return min(1.0, 2 * float(stats.t.sf((border - self.value) / self._error, self.samples - 1)))

    def above(self, border: float) -> float:
        if not isfinite(self._error):
            return 1.0
        return min(1.0, 2 * float(stats.t.sf((self.value - border) / self._error, self.samples - 1)))

    def deviation(self, border: float) -> float:
        return self.spread


@dataclass(frozen=True)
class AllAlike:
    """The mean of n >= 3 independent values in [low, high], every one of which was v.

    All n are v with probability P(v)^n, which is below a/2 unless P(v) >= q = (a/2)^(1/n). If it is, then the mean lies
    between v - (1 - q)(v - low) and v + (1 - q)(high - v).
    """

    value: float
    samples: int
    low: float
    high: float

    def limits(self, level: float) -> tuple[float, float]:
        rest = 1 - (level / 2) ** (1 / self.samples)
        return self.value - rest * (self.value - self.low), self.value + rest * (self.high - self.value)

    def below(self, border: float) -> float:
        return self._least(border - self.value, self.high - self.value)

    def above(self, border: float) -> float:
        return self._least(self.value - border, self.value - self.low)

    def _least(self, distance: float, reach: float) -> float:
        """The smallest a at which the limit, (1 - q) reach from the value, is nearer than the border."""
        if distance <= 0:
            return 1.0
        return min(1.0, 2 * max(0.0, 1 - distance / reach) ** self.samples) if reach > 0 else 0.0

    def deviation(self, border: float) -> float:
        return nan


def bounded_mean(values: ArrayLike, low: float, high: float) -> Estimate:
    """The mean of independent values that cannot leave [low, high]: by Student's t where they differ."""
    x = np.asarray(values, dtype=np.float64)
    alike = len(x) >= 3 and np.isfinite(x).all() and x.std() <= 1e-12 * abs(x.mean())
    return AllAlike(float(x[0]), len(x), low, high) if alike else Mean.of(x)


@dataclass(frozen=True)
class Share:
    """A probability, from `successes` of `samples` independent draws, with the exact limits of `share_limits`."""

    successes: int
    samples: int

    @property
    def value(self) -> float:
        return self.successes / self.samples if self.samples else nan

    def limits(self, level: float) -> tuple[float, float]:
        return share_limits(self.successes, self.samples, level)

    def below(self, border: float) -> float:
        if border > 1:
            return 0.0
        return min(1.0, 2 * float(stats.binom.cdf(self.successes, self.samples, max(border, 0.0))))

    def above(self, border: float) -> float:
        if border < 0:
            return 0.0
        return min(1.0, 2 * float(stats.binom.sf(self.successes - 1, self.samples, min(border, 1.0))))

    def deviation(self, border: float) -> float:
        p = min(max(border, 0.0), 1.0)
        return sqrt(p * (1 - p))
