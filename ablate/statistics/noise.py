"""How noisy a gradient estimate is: measures from per-trajectory gradients.

g_i, i = 1 .. N, are gradients of one trajectory each at one frozen theta, independent of one another; mu = E g,
C = Cov g, m their mean. Several estimators ("variants") may be judged on the same trajectories:

    accumulator = Accumulator()
    for chunk in chunks:                        # [n, ..., K, P]
        accumulator.add(chunk)
    blocks = accumulator.blocks()
    trace_variance(blocks)                      # Interval(value, low, high), each [..., K]
    paired_log_ratio(blocks, reference=0)

All intervals are at 95%, made as `resampling` says; `docs/coverage.md` has how often they hold. Where the noise
comes from fewer than 8 trajectories they are unbounded. No sample sees a reward that never came: where a rare one is
in none of the trajectories, the others may agree with one another, and the limits know nothing of it.

A batch baseline couples the g_i (`mean`, `loo`, whitening): give replicate estimates from independent batches instead
of the g_i, and trace_variance is the variance of that estimate.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np

from ablate.statistics import resampling
from ablate.statistics.block_sums import Blocks, blocks_of, observations, once, sum_in_order
from ablate.statistics.interval import Floats, Interval, inverse
from ablate.statistics.resampling import Bools


def trace_variance(blocks: Blocks) -> Interval:
    """T = sum_i |g_i - m|^2 / (N - 1), the noise of one trajectory: E T = tr C. [..., K], by bootstrap-t of log T.

    T / N is the variance of the mean of N. With replicate estimates in place of the g_i, T itself is the variance of
    one of them. The limits are (0, inf) where the noise comes from too few trajectories.
    """
    return _exponential(resampling.trace_variance(blocks)[0], _log_trace(blocks))


def squared_signal(blocks: Blocks) -> Interval:
    """U = |m|^2 - T/N: E U = |mu|^2, so it can be negative. [..., K]. Limits by `resampling.quadratic`."""
    square, value, left_out = _squared_mean(blocks)
    return resampling.quadratic(blocks, value, left_out, square, np.ones_like(value))


def snr(blocks: Blocks) -> Interval:
    """Signal-to-noise ratio of one trajectory, |mu|^2 / tr C, as U / T. [..., K]; it can be negative.

    Limits as of `squared_signal`, with every term divided by T; the lower one is no nearer than U over the upper limit
    of tr C: without the heavy episodes a sample looks too quiet, and its signal too clear.
    """
    square, U, U_left_out = _squared_mean(blocks)
    T, T_left_out = resampling.trace_variance(blocks)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = resampling.quadratic(blocks, U / T, U_left_out / T_left_out, square / T, T)
        return found._replace(low=np.fmin(found.low, U / trace_variance(blocks).high))


def nsr(blocks: Blocks) -> Interval:
    """Noise-to-signal ratio tr C / |mu|^2, the inverse of `snr` with its limits. [..., K].

    The number of trajectories whose mean has as much noise as signal: the simple gradient noise scale of McCandlish et
    al. (2018). inf, "unbounded", wherever the SNR or its lower limit is not positive.
    """
    return inverse(snr(blocks))


def pairwise_cosine(blocks: Blocks, batches: int) -> Interval:
    """Mean cosine between two batch means of N / K trajectories, (|sum_k u_k|^2 - K) / (K (K - 1)). [..., K].

    A batch is a run of neighbouring blocks, all as long as the blocks allow. It is the squared signal of the u_k, and
    so are its limits.
    """
    found = squared_signal(blocks_of(np.stack(list(batch_directions(blocks, batches)))))
    return resampling.bounded(found, resampling.informative(blocks) >= resampling.MIN_EFFECTIVE_BLOCKS)


def effective_rank(blocks: Blocks) -> Floats:
    """(tr C)^2 / tr C^2, between 1 and P: how many directions share the noise. [..., K]; nan where C = 0.

    Both from unbiased estimates by the Gram matrix of the B block sums, their covariance S and Q = sum |D_b|^4 / (B-1):

        tr C^2   ~ f ((B-1)(B-2) tr S^2 + (tr S)^2 - B Q),      f = (B-1) / (B (B-2) (B-3))
        (tr C)^2 ~ f (2 tr S^2 + (B^2 - 3B + 1) (tr S)^2 - B Q)

    inf where the first is not positive: B observations are too few for that many directions. Himeno & Yamada (2014).
    """
    B = len(blocks.counts)
    everything, own = blocks.products
    trace_square, Q = everything / (B - 1) ** 2, own / (B - 1)
    square_trace = np.square(sum_in_order(blocks.lengths / blocks.per_block(blocks.counts)) / (B - 1))
    below = (B - 1) * (B - 2) * trace_square + square_trace - B * Q
    above = 2 * trace_square + (B**2 - 3 * B + 1) * square_trace - B * Q
    return np.where(
        square_trace == 0, np.nan, np.divide(above, below, out=np.full_like(above, np.inf), where=below > 0)
    )


def directional_variance(blocks: Blocks, direction: Floats) -> Interval:
    """v' C v along v = direction / |direction|, [P] or [..., K, P]: the noise that ascent along it feels. [..., K].

    From block sums, sum_b <D_b, v>^2 / n_b / (B - 1). The direction must come from elsewhere (g*, or another sample's
    mean): the mean of these very gradients leans towards their noise. nan along 0.
    """
    v = unit(np.asarray(direction))
    squares = np.square(blocks.along(v)) / blocks.per_block(blocks.counts)
    value = np.where(np.square(v).sum(-1) > 0, sum_in_order(squares) / (len(squares) - 1), np.nan)
    ones = np.ones_like(squares)
    return _exponential(value, _shifted(resampling.log_mean(squares, ones), len(squares) / (len(squares) - 1)))


def split_directional_variance(blocks: Blocks) -> Interval:
    """(v_2' C v_2 + v_1' C v_1) / 2, where grad J is not known: v_h is the direction of the mean of half h of the
    blocks, and the variance along it that of the other half. [..., K]; nan where a half has mean 0.

    The noise along the ascent direction as N / 2 trajectories tell it, which is what a batch of that size moves along;
    where the signal is weak, v_h is itself mostly noise. The limits take v_1 and v_2 as given.
    """
    number = len(blocks.counts)
    halves = [list(range(number // 2)), list(range(number // 2, number))]
    D, n = list(blocks.centred()), blocks.counts
    sums = [sum_in_order(D[b] for b in half) for half in halves]
    counts = [n[half].sum() for half in halves]
    squares = []
    for this, other in ((0, 1), (1, 0)):
        v = unit(blocks.mean + sums[other] / counts[other])
        scale = len(halves[this]) / (len(halves[this]) - 1)
        inside = [(D[b] - n[b] / counts[this] * sums[this]) for b in halves[this]]
        squares += [
            np.where(v.any(-1), np.square((d * v).sum(-1)) / n[b] * scale, np.nan)
            for d, b in zip(inside, halves[this], strict=True)
        ]
    stacked = np.stack(squares)
    return _exponential(sum_in_order(stacked) / number, resampling.log_mean(stacked, np.ones_like(stacked)))


def shares(blocks: Blocks, parts: Sequence[slice]) -> Floats:
    """The share of the trace variance in each part of the parameters, [parts, ..., K]; together 1 if they cover it.

    From block sums: tr C_l / tr C with tr C_l = sum_b |D_bl|^2 / n_b / (B - 1). nan where there is no noise.
    """
    each = sum_in_order(
        np.stack([np.square(D[..., part]).sum(-1) for part in parts]) / n
        for n, D in zip(blocks.counts, blocks.centred(), strict=True)
    )
    total = sum_in_order(blocks.lengths / blocks.per_block(blocks.counts))
    return np.divide(each, total, out=np.full((len(parts), *total.shape), np.nan), where=total > 0)


def in_metric(blocks: Blocks, factor: Floats) -> tuple[Blocks, float]:
    """The blocks of L' g for a metric M = L L', and the number n of trajectories in one observation.

    `factor` is L, [P, r]. Of the result, n times `trace_variance` is tr M C, the expected (g - mu)' M (g - mu), and
    `snr` over n is mu' M mu / tr M C. An observation is a block: a trajectory as long as there are no more of them than
    places.
    """
    rows, n = observations(blocks)
    return blocks_of(rows @ factor), n


def in_diagonal_metric(blocks: Blocks, factor: Floats) -> tuple[Blocks, float]:
    """`in_metric` for a diagonal L, of which `factor` is the diagonal: [P], or [..., 1, P]."""
    rows, n = observations(blocks)
    return blocks_of(rows * factor), n


def fisher(scores: Floats) -> Floats | None:
    """L with L L' = F^+, [P, r], F = E Z Z' the Fisher matrix of a trajectory, from the scores Z = sum_t z_t [N, P].

    E Z Z' = E sum_t z_t z_t', as scores are martingale differences. tr F^+ C is the noise in the metric of the natural
    gradient, which does not depend on how the policy is parametrised. None where there are not `PER_DIRECTION`
    trajectories for each of the r directions that the scores span: the inverse of so small a sample is not F's. What is
    measured with it has no limits: those that take F as known cover 13% to 100%, as some directions are hardly seen.
    """
    if len(scores) < PER_DIRECTION:
        return None
    values, vectors = np.linalg.eigh(scores.T @ scores / len(scores))
    kept = values > resampling.SINGLE**2 * values.max(initial=0.0)
    if not 0 < PER_DIRECTION * kept.sum() <= len(scores):
        return None
    return vectors[:, kept] / np.sqrt(values[kept])


PER_DIRECTION = 8


def work(blocks: Blocks, steps: Floats) -> Interval:
    """tr C times the mean env steps of a trajectory, [..., K]: variance x steps, which is what a budget of steps buys.

    The mean of N trajectories has variance tr C / N and takes N E[steps]. steps [B, ...]: env steps of each block.
    """
    T, _ = resampling.trace_variance(blocks)
    found = resampling.log_product(blocks.scatter, steps[..., None])
    N = blocks.count
    total = np.ascontiguousarray(np.moveaxis(steps, 0, -1)).sum(-1)[..., None]
    return _exponential(T * total / N, _shifted(found, 1 / (N * (N - 1))))


# ------------------------------------------------------------------------------------------------ comparisons


def paired_log_ratio(blocks: Blocks, reference: int) -> Interval:
    """log T_X - log T_Y of each variant X against variant Y = `reference` on the same trajectories. [..., K].

    The bootstrap-t of the difference: what the variants share cancels. Where a T is 0 there is no bound; variants with
    noise in one proportion on every trajectory, as multiples of each other have, differ by that, exactly.
    """
    c = blocks.scatter
    value, low, high = resampling.log_ratio(c, c[..., [reference]])
    with np.errstate(invalid="ignore"):
        share = c / sum_in_order(c)
        apart = np.sqrt(sum_in_order(np.square(share - share[..., [reference]])) * len(c))
    enough = (
        resampling.informative(blocks) >= resampling.MIN_EFFECTIVE_BLOCKS
    )  # one lone episode carries all of any two variants
    same = (apart < resampling.SINGLE) & enough | _is(reference, value)
    known = same & ~np.isnan(value)
    return Interval(value, np.where(known, value, low), np.where(known, value, high))


def unpaired_log_ratio(blocks: Blocks, reference: int) -> Interval:
    """The same difference with the error that independent samples of N trajectories each would have. [..., K].

    Each limit is as far off as those of the two logarithms added in squares (Zou & Donner, 2008). Wider than the paired
    one where variants vary together, narrower where they vary in opposite ways; on shared trajectories only the paired
    one has its level.
    """
    value, low, high = _log_trace(blocks)
    with np.errstate(invalid="ignore"):
        difference = value - value[..., [reference]]
        down = np.hypot(value - low, (high - value)[..., [reference]])
        up = np.hypot(high - value, (value - low)[..., [reference]])
        found = Interval(difference, difference - down, difference + up)
    return resampling.bounded(found, np.isfinite(down) & np.isfinite(up))


def distance_squared(blocks: Blocks, reference: int) -> Interval:
    """|mu_X - mu_Y|^2, Y = `reference`, on the same trajectories; at times negative: the bias^2 of X where Y has none.

    The squared signal of g_X - g_Y, from block means. Exactly 0 where the two are the same function. [..., K].
    """
    rows, _ = observations(blocks)
    apart = rows - rows[..., [reference], :]
    found = squared_signal(blocks_of(apart))
    enough = resampling.informative(blocks) >= resampling.MIN_EFFECTIVE_BLOCKS
    same = ~apart.any((0, -1)) & enough | _is(reference, found.value)
    return Interval(*(np.where(same, 0.0, x) for x in found))


def crossover(bias_squared: Floats, trace_variance: Floats, other_bias_squared: Floats, other: Floats) -> Floats:
    """The N up to which the first estimator has the smaller mean squared error, if it is the more biased one.

        bias_X^2 + T_X / N = bias_Y^2 + T_Y / N    at    N = (T_Y - T_X) / (bias_X^2 - bias_Y^2)

    inf where X is no more biased and no noisier, 0 where it is no less biased and no less noisy; where it is less
    biased and noisier, the N from which it is the better. nan for equals.
    """
    noise, bias = np.subtract(other, trace_variance), np.subtract(bias_squared, other_bias_squared)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = noise / bias
    return np.where(
        np.sign(noise) * np.sign(bias) > 0,
        at,
        np.where(
            (noise >= 0) & (bias <= 0),
            np.where((noise == 0) & (bias == 0), np.nan, np.inf),
            np.where(np.isnan(at), np.nan, 0.0),
        ),
    )


# ------------------------------------------------------------------------------------------------ parts


def distance(blocks: Blocks, target: Floats) -> tuple[Floats, Floats, Floats]:
    """|m - g*|^2; it less T/N; and that without each block: m_{-b} = m - D_b / (N - n_b)."""
    T, T_left_out = resampling.trace_variance(blocks)
    rest = blocks.per_block(blocks.count - blocks.counts)
    away = blocks.mean - target
    square = np.square(away).sum(-1)
    square_left_out = square - 2 * blocks.along(away) / rest + blocks.lengths / rest**2
    return square, square - T / blocks.count, square_left_out - T_left_out / rest


@once
def _squared_mean(blocks: Blocks) -> tuple[Floats, Floats, Floats]:
    """`distance` from 0."""
    return distance(blocks, np.zeros(blocks.mean.shape[-1]))


def batch_directions(blocks: Blocks, batches: int) -> Iterator[Floats]:
    """The means of `batches` runs of neighbouring blocks as unit vectors, [..., K, P] each."""
    number = len(blocks.counts)
    if not 8 <= batches <= number:
        raise ValueError(f"{batches} batches of {number} blocks; give 8 to {number}")
    edges = [k * number // batches for k in range(batches + 1)]
    centred = blocks.centred()
    for start, stop in pairwise(edges):
        yield unit(blocks.mean + sum_in_order(islice(centred, stop - start)) / blocks.counts[start:stop].sum())


def unit(x: Floats) -> Floats:
    """x / |x| over the last axis, 0 for 0."""
    length = np.sqrt(np.square(x).sum(-1, keepdims=True))
    return np.divide(x, length, out=np.zeros_like(x, dtype=np.float64), where=length > 0)


def _is(variant: int, x: Floats) -> Bools:
    """Whether it is this one, for [..., K]."""
    return np.broadcast_to(np.arange(x.shape[-1]) == variant, x.shape)


@once
def _log_trace(blocks: Blocks) -> Interval:
    """log T with its limits: that of the mean of |g_i - m|^2, times N / (N - 1)."""
    counts = np.broadcast_to(blocks.per_block(blocks.counts), blocks.scatter.shape)
    return _shifted(resampling.log_mean(blocks.scatter, counts), blocks.count / (blocks.count - 1))


def _shifted(logarithm: Interval, factor: Floats | float) -> Interval:
    """The logarithm of `factor` times as much."""
    return Interval(*(x + np.log(factor) for x in logarithm))


def _exponential(value: Floats, logarithm: Interval) -> Interval:
    """An estimate with the limits of its logarithm, raised again."""
    with np.errstate(over="ignore"):
        return Interval(value, np.exp(logarithm.low), np.exp(logarithm.high))
