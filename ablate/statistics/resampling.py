"""95% limits of what is estimated from blocks of trajectories.

Gradients have heavy tails: much of the noise comes from a few trajectories, and a sample without them looks too quiet.
Four rules, whose coverage `docs/coverage.md` shows:

* The logarithm of a sum of squares gets a bootstrap-t interval, which sees the skewness that makes the jackknife's miss
  on the side that understates noise.
* Its upper limit is from resamples of a population with a tail beyond the largest trajectory that was seen.
* An error counts with as many degrees of freedom as there are trajectories that it comes from, by
  `effective_sample_size`.
* Where the noise itself comes from fewer than `MIN_EFFECTIVE_BLOCKS` trajectories, there is no bound at all.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.statistics import pareto_tail
from ablate.statistics.block_sums import Blocks, once, sum_in_order
from ablate.statistics.interval import LEVEL, Floats, Interval

Bools = NDArray[np.bool_]

MIN_EFFECTIVE_BLOCKS = 8.0
RESAMPLES = 999
ATOMS = 128  # of the population that resamples are drawn from, where there are fewer blocks
TAIL = (1 - LEVEL) / 2


def effective_sample_size(x: Floats) -> Floats:
    """(sum_b x_b)^2 / sum_b x_b^2 of x >= 0, [B, ...] -> [...]: B where all are alike, 1 where one is all, nan of 0."""
    with np.errstate(invalid="ignore"):
        return np.square(sum_in_order(x)) / sum_in_order(np.square(x))


@once
def informative(blocks: Blocks) -> Floats:
    """From how many trajectories the noise comes: `effective_sample_size` of |g_i - m|^2; blocks, where there are more
    than places."""
    return effective_sample_size(blocks.scatter)


def pseudo_values(value: Floats, left_out: Floats, counts: Floats) -> Floats:
    """h_b theta - (h_b - 1) theta_{-b}, h_b = N / n_b, from an estimate [...] without each block b, [B, ...]."""
    h = (counts.sum() / counts).reshape(-1, *[1] * (left_out.ndim - 1))
    return h * value - (h - 1) * left_out


def jackknife(value: Floats, left_out: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Standard error of an estimate from its values with each block left out, and its degrees of freedom.

    With the pseudo-values v_b,

        se^2 = (1/B) sum_b (v_b - theta_J)^2 / (h_b - 1),    theta_J = sum_b v_b / h_b,

    which is the delete-one jackknife for n_b = 1. value [...], left_out [B, ...], counts n_b [B]; not finite where a
    value is not. Busing, Meijer & van der Leeden (1999), Delete-m jackknife for unequal m.
    """
    h = (counts.sum() / counts).reshape(-1, *[1] * (left_out.ndim - 1))
    with np.errstate(invalid="ignore"):
        v = pseudo_values(value, left_out, counts)
        squares = np.square(v - sum_in_order(v / h))
        return np.sqrt(sum_in_order(squares / (h - 1)) / len(counts)), effective_sample_size(squares) - 1


def quantile(degrees: Floats) -> Floats:
    """The 97.5% point of Student's t; inf where there is no degree of freedom."""
    with np.errstate(invalid="ignore"):
        return np.where(degrees > 0, special.stdtrit(np.maximum(degrees, 0.1), 1 - TAIL), np.inf)


def bounded(interval: Interval, known: Bools) -> Interval:
    """The interval where `known`, else one without a bound."""
    value, low, high = interval
    known = known & ~np.isnan(low) & ~np.isnan(high)
    return Interval(value, np.where(known, low, -np.inf), np.where(known, high, np.inf))


def symmetric(value: Floats, error: Floats, degrees: Floats, known: Bools) -> Interval:
    """value +- t error; no bound where the error is not finite, or 0: a sample without any spread tells no error."""
    known = known & np.isfinite(error) & (error > 0)
    with np.errstate(invalid="ignore"):
        reach = quantile(degrees) * error
    return bounded(Interval(value, value - reach, value + reach), known)


def jackknifed(blocks: Blocks, value: Floats, left_out: Floats) -> Interval:
    """`symmetric` with the jackknife's error."""
    return symmetric(value, *jackknife(value, left_out, blocks.counts), informative(blocks) >= MIN_EFFECTIVE_BLOCKS)


def quadratic(blocks: Blocks, value: Floats, left_out: Floats, square: Floats, scale: Floats) -> Interval:
    """Limits of s from U = square - T/N (over `scale`), which is quadratic in the noise where s is near 0.

    They are the s at which U would be as far off as 2.5% of samples are, with the errors that it has at s (a score
    interval, as Wilson's for a rate):

        (U - s)^2 = t^2 se^2 s / square + (q - 1)^2 (T / N)^2,      q a quantile of F(f, 2 / e^2),

    se the jackknife's error of U and e that of log T, f = (tr C)^2 / tr C^2. At s = 0 the lower limit is above 0
    exactly where N |m|^2 / T is beyond F's 97.5% point. The jackknife alone covers 75% to 99% there.
    """
    T, T_left_out = trace_variance(blocks)
    error, degrees = jackknife(value, left_out, blocks.counts)
    with np.errstate(all="ignore"):
        log_error, _ = jackknife(np.log(T), np.log(T_left_out), blocks.counts)
        f, below = np.maximum(np.square(T) / trace_of_square(blocks), 1.0), 2 / np.square(log_error)
        slope = np.square(quantile(degrees) * error) / square
        noise = T / blocks.count / scale
        reach = [
            np.sqrt(
                np.maximum(
                    slope * value + np.square(slope) / 4 + np.square((special.fdtri(f, below, q) - 1) * noise), 0
                )
            )
            for q in (1 - TAIL, TAIL)
        ]
        low, high = value + slope / 2 - reach[0], value + slope / 2 + reach[1]
    return bounded(
        Interval(value, np.minimum(low, value), np.maximum(high, value)), informative(blocks) >= MIN_EFFECTIVE_BLOCKS
    )


def log_mean(x: Floats, counts: Floats) -> Interval:
    """log(sum_b x_b / sum_b n_b), x >= 0 of blocks b of n_b trajectories, [B, ...]: see `_logarithmic`."""
    return _logarithmic(x, counts, -1, known=True)


def log_product(x: Floats, y: Floats) -> Interval:
    """log(sum_b x_b) + log(sum_b y_b), x and y >= 0 of the same blocks, [B, ...]: see `_logarithmic`."""
    return _logarithmic(x, y, 1, known=True)


def log_ratio(x: Floats, y: Floats) -> Interval:
    """log(sum_b x_b) - log(sum_b y_b), x and y >= 0 of the same blocks, [B, ...]: see `_logarithmic`.

    What the sample has not seen may be y's as well as x's: both limits are as the upper one there.
    """
    return _logarithmic(x, y, -1, known=False)


def _logarithmic(x: Floats, y: Floats, power: int, known: bool) -> Interval:
    """log(sum_b x_b) + power log(sum_b y_b), power +-1; a bootstrap-t interval, [B, ...] -> [...].

    With A, B the means of x and y, u_b = x_b / A + power y_b / B less its mean, the error is se^2 = sum_b u_b^2 / B^2.
    Blocks are drawn with replacement; t* = (value* - value) / se* of each resample, and the limits are

        value - t*_{.975} se t_{B-1} / z,    value - s*_{.025} se t_nu / z,    nu = effective_sample_size(u^2) - 1,

    t_f and z the 97.5% points of Student's t and of the normal distribution. s* is the t* of resamples in which the
    largest x_b and y_b are spread over the tail that they stand for (`pareto_tail.spread`): a sample without the heavy
    episodes looks too quiet, and its plain resamples hold none either. Where the lower end is not `known` to be free
    of that, the lower limit is value - s*_{.975} se t_nu / z. The resamples depend on the number of blocks and on
    nothing else. No bound where x or y is carried by fewer than `MIN_EFFECTIVE_BLOCKS` blocks. Hall (1988), Theoretical
    comparison of bootstrap confidence intervals.
    """
    x, y = np.broadcast_arrays(x, y)
    places = x.shape[1:]
    value, low, high = (np.empty(places) for _ in range(3))
    for place in np.ndindex(*places):  # one shape of product whatever the variants: the same bits
        value[place], low[place], high[place] = _bootstrapped(x[:, *place], y[:, *place], power, known)
    with np.errstate(invalid="ignore"):
        told = np.minimum(effective_sample_size(x), effective_sample_size(y)) >= MIN_EFFECTIVE_BLOCKS
    return bounded(Interval(value, low, high), told)


def _bootstrapped(x: Floats, y: Floats, power: int, known: bool) -> tuple[float, float, float]:
    number = len(x)
    with np.errstate(all="ignore"):
        value = np.log(x.sum()) + power * np.log(y.sum())
        a, b = x / x.mean(), y / y.mean()
        squares = np.square(a + power * b - (1 + power))
        if not squares.mean() > SINGLE**2:  # no spread but rounding's: nothing to tell an error from
            return value, -np.inf, np.inf
        degrees = np.array([number, np.square(squares.sum()) / np.square(squares).sum()]) - 1
        plain, heavy = np.sqrt(squares.mean() / number) * quantile(degrees) / special.ndtri(1 - TAIL)
        copies = max(1, ATOMS // number)
        least, most = _studentised(pareto_tail.spread(a, copies), pareto_tail.spread(b, copies), power, copies)
        high, low = value - least * heavy, value - most * heavy
        if known:
            low = value - _studentised(a, b, power, 1)[1] * plain
        return value, low, high


def _studentised(x: Floats, y: Floats, power: int, copies: int) -> tuple[float, float]:
    """The 2.5% and 97.5% points of t* over resamples of pairs of atoms."""
    a, b = x / x.mean(), y / y.mean()
    A, B, aa, bb, ab = (resamples(len(x) // copies, copies) @ np.stack([a, b, a * a, b * b, a * b], 1)).T
    spread = aa / A**2 + bb / B**2 + 2 * power * ab / (A * B) - (1 + power) ** 2
    t = (np.log(A) + power * np.log(B)) / np.sqrt(np.maximum(spread, 0.0) * copies / len(x))
    edge = round((RESAMPLES + 1) * TAIL)
    ends = np.partition(np.where(np.isnan(t), 0.0, t), [edge - 1, RESAMPLES - edge])
    return ends[edge - 1], ends[RESAMPLES - edge]


@lru_cache(maxsize=16)
def resamples(number: int, copies: int) -> Floats:
    """Shares of each of number x copies atoms in every resample of `number`, [RESAMPLES, number x copies]; rows sum to
    1."""
    atoms = number * copies
    rng = np.random.default_rng([number, copies, RESAMPLES])
    return rng.multinomial(number, np.full(atoms, 1 / atoms), size=RESAMPLES) / number


# ------------------------------------------------------------------------------------------------ sums of squares


@once
def trace_variance(blocks: Blocks) -> tuple[Floats, Floats]:
    """T = sum_i |g_i - m|^2 / (N - 1) and, for each block, T without it."""
    value, left_out = sums_of_squares(blocks, blocks.scatter, blocks.lengths)
    return value / (blocks.count - 1), left_out / blocks.per_block(blocks.count - blocks.counts - 1)


def sums_of_squares(blocks: Blocks, scatter: Floats, lengths: Floats) -> tuple[Floats, Floats]:
    """SS = sum_b c_b about the mean, and without b about the mean of the rest: SS - c_b - |D_b|^2 / (N - n_b)."""
    value = sum_in_order(scatter)
    left_out = value - scatter - lengths / blocks.per_block(blocks.count - blocks.counts)
    return value, np.where(left_out > ROUNDING * value, left_out, 0.0)


def trace_of_square(blocks: Blocks) -> Floats:
    """tr C^2 as E <g_i - mu, g_j - mu>^2 over all pairs of different blocks. [..., K]"""
    everything, own = blocks.products
    number = len(blocks.counts)
    return (everything - own) / (number * (number - 1))


SINGLE = 1e-5  # what rounding in single precision may leave of a number, with room: gradients come in it
ROUNDING = 1e-12  # a sum of squares that falls below this share of itself by leaving a block out is 0
