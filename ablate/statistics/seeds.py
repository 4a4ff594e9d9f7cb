"""Results over seeds: each number that the table of a sweep, an analysis and a report show, from one function each.

A bootstrap's random stream is part of its function, so that the same seeds give the same limits wherever they are
shown. How well the intervals cover is measured in `docs/coverage_seeds.md`. Tests of two variants are in
`ablate.statistics.paired_tests`.
Distributions are those of scipy.special: scipy.stats takes half a second to import, at the start of every sweep.

    interquartile_mean, worst_quarter, share, share_limits
                                                 what a sample comes to
    over_seeds                                   the interquartile mean with limits
    median, until_half                           medians with distribution-free limits
    trace_variance, noise_to_signal, variance_ratio
                                                 of a probe's rows, one a seed
    probability_of_improvement, performance_profile
                                                 Agarwal et al. (2021), Deep RL at the edge of the statistical precipice
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ablate.statistics import resampling
from ablate.statistics.interval import LEVEL, Floats, Interval, bare, inverse, student_quantile
from ablate.statistics.paired_tests import mean_difference

if TYPE_CHECKING:
    import pandas as pd

MIN_SEEDS = 5  # seeds that limits are given of: below, no distribution-free interval covers 90%
QUARTER = 0.25  # the worst share that is averaged: with 10 seeds 5% would be the worst seed alone
RESAMPLES = 2000


# ------------------------------------------------------------------------------------------------ one sample


def interquartile_mean(x: ArrayLike, axis: int = -1) -> Floats:
    """The mean of what remains when the floor(n / 4) smallest and largest are left out. Agarwal et al. (2021), IQM."""
    ordered = np.sort(np.asarray(x, dtype=np.float64), axis=axis)
    number = ordered.shape[axis]
    return np.take(ordered, range(number // 4, number - number // 4), axis=axis).mean(axis)


def cvar(x: ArrayLike, share: float = QUARTER, axis: int = -1) -> Floats:
    """The mean of the lowest share of a sample: (1 / a n) (sum of the floor(a n) lowest + the fraction of the next).

    For the highest, -cvar(-x). Rockafellar & Uryasev (2000).
    """
    ordered = np.sort(np.moveaxis(np.asarray(x, float), axis, -1), axis=-1)
    mass = share * ordered.shape[-1]
    weights = np.clip(mass - np.arange(ordered.shape[-1]), 0.0, 1.0)
    return (ordered * weights).sum(-1) / mass


def worst_quarter(x: ArrayLike) -> Interval:
    """The mean of the lowest quarter of the seeds, to stand beside an interquartile mean, which does not see them.

    It has no limits: with 20 seeds or fewer those of a bootstrap cover the population's between 35% and 90%.
    """
    return bare(cvar(x))


def share(successes: int, trials: int) -> Interval:
    """successes / trials with `share_limits` of 95%, which stay informative at n of n: 10 of 10 is 1 [0.69, 1]."""
    return Interval(np.asarray(successes / trials), *map(np.asarray, share_limits(successes, trials, 1 - LEVEL)))


def share_limits(successes: int, trials: int, miss: float) -> tuple[float, float]:
    """The p with P(X >= k) and P(X <= k) above ``miss`` / 2, X ~ Bin(n, p): their ends miss the true p with that chance
    together at most, whatever p and n. Clopper & Pearson (1934)."""
    k, n = successes, trials
    low = float(special.betaincinv(k, n - k + 1, miss / 2)) if k else 0.0
    high = float(special.betainccinv(k + 1, n - k, miss / 2)) if k < n else 1.0
    return low, high


def expanded(seeds: int) -> tuple[float, float]:
    """The quantiles of a bootstrap distribution that serve as 95% limits, Phi(+-sqrt(n / (n - 1)) t_{n-1}).

    A resample of n values has a variance too small by (n - 1) / n, and normal tails in place of Student's: the plain
    2.5% and 97.5% are too narrow for few seeds. Hesterberg (2015), What teachers should know about the bootstrap.
    """
    tail = float(special.ndtr(-np.sqrt(seeds / (seeds - 1)) * student_quantile(seeds - 1)))
    return tail, 1 - tail


def bootstrap_interval(
    x: ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[..., Floats] = interquartile_mean,
    resamples: int = RESAMPLES,
) -> Interval:
    """statistic(all of x) with `expanded` percentile limits from resampling seeds, x [seeds] or [seeds, strata].

    Stratified: in each column (a task, a checkpoint) seeds are drawn with replacement on their own, and the statistic
    is of the whole. It is called as statistic(samples, axis=-1). Average within a (seed, checkpoint) before, and note
    that a seed's checkpoints are taken as independent. No limits (NaN) of fewer than 5 seeds. Agarwal et al. (2021).
    """
    table = np.asarray(x, dtype=np.float64)
    table = table.reshape(len(table), -1)
    value = statistic(table.ravel(), axis=-1)
    if len(table) < MIN_SEEDS:
        return bare(value)
    rows = rng.integers(len(table), size=(resamples, *table.shape))
    samples = table[rows, np.arange(table.shape[1])].reshape(resamples, -1)
    low, high = np.quantile(statistic(samples, axis=-1), expanded(len(table)))
    return Interval(value, low, high)


def over_seeds(x: ArrayLike, statistic: Callable[..., Floats] = interquartile_mean) -> Interval:
    """A statistic over seeds, by default the interquartile mean, with its bootstrap limits: the same at every call."""
    return bootstrap_interval(x, np.random.default_rng(0), statistic)


# ------------------------------------------------------------------------------------------------ medians


def order_limits(x: ArrayLike) -> tuple[float, float]:
    """(x_(k), x_(n+1-k)) with the largest k for which P(Bin(n, 1/2) < k) <= 2.5%: they hold the population's median.

    For every distribution, infinite values and ties included, and without any random numbers. For 5 seeds the smallest
    and the largest, which cover 93.75%; NaN for fewer. Thompson (1936).
    """
    ordered = np.sort(np.asarray(x, float))
    if len(ordered) < MIN_SEEDS:
        return np.nan, np.nan
    k = _rank(len(ordered))
    return float(ordered[k - 1]), float(ordered[-k])


def _rank(n: int) -> int:
    """The k of `order_limits`."""
    below = special.bdtr(np.arange(n), n, 0.5)  # P(X <= k) for k = 0, 1, ...
    return max(1, int((below <= (1 - LEVEL) / 2).sum()))


def median(x: ArrayLike) -> Interval:
    """The median over seeds, limits by `order_limits`."""
    return Interval(np.asarray(np.median(np.asarray(x, float))), *map(np.asarray, order_limits(x)))


def until_half(times: ArrayLike) -> Interval:
    """The smallest time by which half of the runs have got there; a run that ended without getting there has time inf.

    "Never" is an answer, and no censoring: a bad run's short episodes end it after few env steps because it is bad.
    inf where fewer than half get there. Limits by `order_limits`.
    """
    ordered = np.sort(np.asarray(times, float))
    return Interval(ordered[(len(ordered) + 1) // 2 - 1], *map(np.asarray, order_limits(times)))


# ------------------------------------------------------------------------------------------------ a probe's rows


def trace_variance(rows: "pd.DataFrame") -> Interval:
    """tr C over seeds of one estimator at one policy, a row of probe.parquet a seed: see `over_probes`."""
    found = over_probes(rows, "trace_variance")
    return found._replace(low=np.maximum(found.low, 0.0))


def noise_to_signal(rows: "pd.DataFrame") -> Interval:
    """NSR over seeds, the inverse of the SNR of `over_probes`.

    inf, "unbounded", where the seeds do not tell the signal from 0: where the lower limit of their SNRs is not above 0.
    Where they do, but the noise comes from too few episodes, the ratio is an estimate with the limits (0, inf).
    """
    ratio = over_probes(rows, "snr")
    low, values = ratio.low, rows["snr"].to_numpy(float)
    if len(values) >= MIN_SEEDS:
        low = np.asarray(order_limits(np.where(np.isnan(values), -np.inf, values))[0])
    found = inverse(ratio)
    return found if low > 0 else found._replace(value=np.asarray(np.inf))


def over_probes(rows: "pd.DataFrame", name: str) -> Interval:
    """The median over seeds with `order_limits`; of fewer than 5 seeds the widest of the probes' own limits.

    What a probe could not tell, for want of a value or of informative episodes (`resampling`), counts as -inf for
    the lower limit and as inf for the upper one. An exact probe's limits are its value.
    """
    values, exact = rows[name].to_numpy(float), (rows["mode"] == "exact").to_numpy()
    known = ~np.isnan(values)
    value = np.asarray(np.median(values[known]) if known.any() else np.nan)
    if len(values) >= MIN_SEEDS:
        known &= informative(rows)
        low, high = (order_limits(np.where(known, values, far))[end] for end, far in ((0, -np.inf), (1, np.inf)))
        return Interval(value, np.asarray(low), np.asarray(high))
    lows, highs = (
        np.where(exact, values, rows[column].to_numpy(float) if (column := f"{name}_{end}") in rows else np.nan)
        for end in ("low", "high")
    )
    lowest, highest = np.where(np.isnan(lows), -np.inf, lows).min(), np.where(np.isnan(highs), np.inf, highs).max()
    return Interval(value, np.asarray(lowest), np.asarray(highest))


def variance_ratio(rows: "pd.DataFrame") -> Interval:
    """exp of the mean over seeds of `log_ratio`, the log trace variance over the reference's, with Student's limits of
    that mean; of one seed the probe's own. NaN where one of the two has no noise at all.

    The limits are (0, inf) where `enough` probes do not bound the ratio: the mean of logarithms of estimates that a few
    episodes make is too low, and more seeds make it no better.
    """
    logs = rows["log_ratio"].to_numpy(float)
    if not np.isfinite(logs).all():
        return bare(np.nan)
    found = mean_difference(logs)
    if {"log_ratio_low", "log_ratio_high"} <= set(rows):
        ends = rows[["log_ratio_low", "log_ratio_high"]].to_numpy(float)
        if len(logs) == 1:
            found = Interval(found.value, *map(np.asarray, ends[0]))
        elif not enough(~np.isinf(ends).any(1)):
            found = Interval(found.value, np.asarray(-np.inf), np.asarray(np.inf))
    return Interval(*map(np.exp, found))


def enough(told: ArrayLike) -> bool:
    """Whether so many seeds' probes had enough informative episodes that a median over the seeds is bounded, where the
    others count as infinite: all but k - 1, k of `order_limits`; all, of fewer than 5 seeds. told [seeds], bool."""
    known = np.asarray(told, bool)
    return int((~known).sum()) < (_rank(len(known)) if len(known) >= MIN_SEEDS else 1)


def informative(rows: "pd.DataFrame") -> NDArray[np.bool_]:
    """Which probes had enough informative episodes, one a row; all that do not say, and exact ones."""
    if "informative" not in rows:
        return np.ones(len(rows), bool)
    known: NDArray[np.bool_] = (
        rows["informative"].to_numpy(float) >= resampling.MIN_EFFECTIVE_BLOCKS
    )  # NaN where nothing varied
    return known | (rows["mode"] == "exact").to_numpy()


# ------------------------------------------------------------------------------------------------ two samples


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> Floats:
    """P(X > Y) + P(X = Y) / 2 over all pairs of a run of X [n] and a run of Y [k]. Agarwal et al. (2021)."""
    difference = np.subtract.outer(np.asarray(x), np.asarray(y))
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def performance_profile(x: ArrayLike, thresholds: ArrayLike) -> Floats:
    """The share of runs above each threshold, [thresholds]. Agarwal et al. (2021)."""
    return (np.ravel(x)[:, None] > np.asarray(thresholds)).mean(0)
