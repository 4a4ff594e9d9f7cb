"""Do two variants differ? Tests and limits of their differences over shared seeds.

    mean_difference   the mean difference with Student's limits
    paired_p_value    of no difference: Student's t and the sign-flip test, whichever is larger
    sign_test         of times to a threshold, infinite ones included
    holm              p-values corrected for a family of tests

The tests of a study, pair by pair and corrected, are in `ablate.analysis.paired_tests`. How well they keep their level
is measured in `docs/coverage_seeds.md`.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablate.statistics.interval import Floats, Interval, bare, student_quantile

EXACT = 14  # seeds up to which all choices of signs are looked at


def mean_difference(differences: ArrayLike) -> Interval:
    """The mean of d_k = x_k - y_k over shared seeds k, with Student's limits.

    No limits (NaN) where all d_k are equal, or of a single one: such a sample shows no spread to tell an error from.
    """
    d = np.asarray(differences, float)
    if len(d) < 2 or np.ptp(d) == 0:
        return bare(d.mean())
    reach = student_quantile(len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return Interval(d.mean(), d.mean() - reach, d.mean() + reach)


def paired_p_value(differences: ArrayLike) -> float:
    """Of no difference, two-sided, from d_k over shared seeds: the larger of Student's t and of the sign-flip test.

    Student's t alone calls differences that take few values, as of runs that solve a task or fail, significant too
    often: 12.5% at 7 seeds of +1 or -1 by a fair coin. The sign-flip test is exact where the two variants may be
    exchanged: the share of all 2^n choices of signs with |sum +-d_k| >= |sum d_k|, of 2^14 random ones beyond 14 seeds.
    Below 6 seeds it is above 5% whatever they show. Fisher (1935), The design of experiments, section 21.
    """
    d = np.asarray(differences, float)
    if not d.any():
        return 1.0
    signs = _signs(len(d))
    extreme = (np.abs(signs @ d) >= np.abs(d.sum()) - 1e-12 * np.abs(d).sum()).sum()
    drawn = len(d) > EXACT
    flipped = float((extreme + drawn) / (len(signs) + drawn))
    return flipped if np.ptp(d) == 0 else max(flipped, student_p_value(d))


def student_p_value(d: Floats) -> float:
    """2 P(T_{n-1} < -|t|), t = mean(d) / (s / sqrt n), of differences that are not all equal."""
    t = d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))
    return float(2 * special.stdtr(len(d) - 1, -abs(t)))


@cache
def _signs(n: int) -> Floats:
    """Choices of n signs, [2^(n-1), n]: all of them up to a common sign; beyond `EXACT` that many at random."""
    if n > EXACT:
        return np.random.default_rng(0).choice([-1.0, 1.0], (2**EXACT, n))
    return np.where(np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1, -1.0, 1.0)


def sign_test(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """(the share of shared seeds with x_k < y_k, ties half; the two-sided p-value of 1/2, ties left out).

    For times to a threshold, infinite ones included: exact whatever their distribution. Dixon & Mood (1946).
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    less, more = int((x < y).sum()), int((x > y).sum())
    p = min(1.0, 2 * float(special.bdtr(min(less, more), less + more, 0.5)))
    return (less + (len(x) - less - more) / 2) / len(x), p


def holm(p_values: ArrayLike) -> Floats:
    """p-values adjusted for a family of tests: sorted, max over j <= i of (n - j + 1) p_(j), at most 1. Holm (1979).

    Ours, since scipy has only false-discovery control.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted
