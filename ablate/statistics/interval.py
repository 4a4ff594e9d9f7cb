"""An estimate with its 95% limits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and its 95% confidence limits; infinite limits say that the sample sets no bound, NaN that none is
    given."""

    value: Floats
    low: Floats
    high: Floats


def bare(value: ArrayLike) -> Interval:
    """An estimate without limits."""
    return Interval(np.asarray(value, float), np.array(np.nan), np.array(np.nan))


def inverse(ratio: Interval) -> Interval:
    """1 / ratio with its limits; inf wherever the ratio or its lower limit is not positive."""

    def of(x: Floats) -> Floats:
        return np.divide(1.0, x, out=np.full_like(x, np.inf), where=x > 0)

    return Interval(of(ratio.value), of(ratio.high), of(ratio.low))


def interval_columns(name: str, interval: Interval) -> dict[str, float]:
    """NAME, NAME_low and NAME_high of a table."""
    return {name: float(interval.value), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def student_quantile(degrees: float) -> float:
    """The 97.5% point of Student's t."""
    return float(special.stdtrit(degrees, (1 + LEVEL) / 2))
