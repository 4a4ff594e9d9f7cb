"""How noisy a gradient estimate is: statistics of per-trajectory gradients.

g_i, i = 1 .. N, are gradients of one trajectory each at one frozen theta, independent of one another; mu = E g,
C = Cov g, m their mean. Several estimators ("variants") may be judged on the same trajectories: arrays are
[N, ..., K, P], and whatever stands between trajectories and parameters is carried through. Sums are in float64 and in
index order: no number depends on how trajectories were cut into chunks, nor on the variants or seeds beside it.
(Hence np.square throughout: x**2 of a lone number rounds otherwise than of an array.)

    accumulator = Accumulator()
    for chunk in chunks:                        # [n, ..., K, P]
        accumulator.add(chunk)
    blocks = accumulator.blocks()
    trace_variance(blocks)                      # Interval(value, low, high), each [..., K]
    paired_log_ratio(blocks, reference=0)

All intervals are at 95%. A batch baseline couples the g_i (`mean`, `loo`, whitening): give replicate estimates from
independent batches instead of the g_i, and trace_variance is the variance of that estimate.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, compress, islice, pairwise
from math import atan, inf, lgamma, log, nan, pi, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablate.statistics.interval import LEVEL, Floats, Interval, inverse

NEIGHBOURS = 4  # blocks that each is paired with where pairs are needed and all of them would cost too much
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
SINGLE = 1e-5  # what rounding in single precision may leave of a number, with room
ROUNDING = 1e-12  # a sum of squares that falls below this share of itself by leaving a block out is 0


@dataclass(frozen=True)
class Blocks:
    """What is kept of N trajectories: B blocks of consecutive ones, each with its sums.

    | field   | shape           | meaning                                                          |
    |---------|-----------------|------------------------------------------------------------------|
    | counts  | [B]             | n_b, trajectories in the block; all equal but perhaps the last   |
    | mean    | [..., K, P]     | m                                                                |
    | sums    | B x [..., K, P] | S_b = sum_{i in b} (g_i - origin)                                |
    | centre  | [..., K, P]     | m - origin, the origin being the first trajectory                |
    | scatter | [B, ..., K]     | c_b = sum_{i in b} |g_i - m|^2                                   |
    | lengths | [B, ..., K]     | |D_b|^2, D_b = sum_{i in b} (g_i - m)                            |
    """

    counts: Floats
    mean: Floats
    sums: Sequence[Floats]
    centre: Floats
    scatter: Floats
    lengths: Floats

    @property
    def count(self) -> float:
        """N."""
        return float(self.counts.sum())

    def centred(self) -> Iterator[Floats]:
        """D_b, [..., K, P], one block at a time: a copy of all of them would cost more than the arithmetic."""
        for n, S in zip(self.counts, self.sums, strict=True):
            yield S - n * self.centre

    def along(self, vector: Floats) -> Floats:
        """<D_b, vector>, [B, ..., K]."""
        return np.stack([(D * vector).sum(-1) for D in self.centred()])

    def per_block(self, x: Floats) -> Floats:
        """x [B] made to broadcast against [B, ..., K]."""
        return x.reshape(-1, *[1] * (self.scatter.ndim - 1))


class Accumulator:
    """Takes trajectories in chunks; keeps sums of blocks, in memory that does not grow with their number.

    A block is one trajectory as long as there are at most `blocks` of them (8 bytes a parameter, variant and block).
    When the places are full, neighbouring blocks merge and the block size doubles. Mean, trace variance and all point
    estimates made of these two are those of the N trajectories at every block size. The error of an interval comes
    from leaving out one block at a time: with one trajectory a block it is the delete-one jackknife, with more the
    delete-a-block one, with blocks / 2 degrees of freedom or more. Directional variance and effective rank are of block
    sums: unbiased for the same quantity, with the precision of B observations rather than N.
    """

    def __init__(self, blocks: int = 512) -> None:
        if blocks < 16 or blocks % 2:
            raise ValueError(f"{blocks} blocks; give an even number of at least 16")
        self._limit = blocks
        self._size = 1  # trajectories in a full block
        self._counts: list[int] = []
        self._sums: list[Floats] = []
        self._squares: list[Floats] = []

    def add(self, gradients: ArrayLike) -> None:
        """Take gradients [n, ..., K, P] of the next n trajectories; any floating type."""
        for gradient in np.asarray(gradients):
            if not self._counts:  # all sums are of differences from the first: no cancellation under a large mean
                self._origin = np.array(gradient, dtype=np.float64, order="C")
            row = np.subtract(gradient, self._origin, order="C")  # sums over parameters would round by their layout
            square = np.square(row).sum(-1)
            if self._counts and self._counts[-1] < self._size:
                self._counts[-1] += 1
                self._sums[-1] = self._sums[-1] + row
                self._squares[-1] = self._squares[-1] + square
                continue
            if len(self._counts) == self._limit:
                self._merge()
            self._counts.append(1)
            self._sums.append(row)
            self._squares.append(square)

    def _merge(self) -> None:
        self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
        self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
        self._squares = [a + b for a, b in zip(self._squares[::2], self._squares[1::2], strict=True)]
        self._size *= 2

    def blocks(self) -> Blocks:
        """The sums so far. Raises ValueError below 8 trajectories: no error can be told from fewer."""
        if len(self._counts) < 8:
            raise ValueError(f"{sum(self._counts)} trajectories are too few to tell noise from; give at least 8")
        centre = _sum(self._sums) / sum(self._counts)
        scatter, lengths = [], []
        for n, S, square in zip(self._counts, self._sums, self._squares, strict=True):
            D = S - n * centre
            lengths.append(np.square(D).sum(-1))
            scatter.append(lengths[-1] if n == 1 else square - ((S + D) * centre).sum(-1))
        counts = np.array(self._counts, dtype=np.float64)
        return Blocks(counts, self._origin + centre, tuple(self._sums), centre, np.stack(scatter), np.stack(lengths))


def blocks_of(gradients: ArrayLike) -> Blocks:
    """The blocks of gradients [N, ..., K, P] that are all at hand: one trajectory each, whatever N."""
    rows = np.asarray(gradients)
    accumulator = Accumulator(max(16, len(rows) + len(rows) % 2))
    accumulator.add(rows)
    return accumulator.blocks()


def gradients_of_gram(gram: ArrayLike) -> Floats:
    """N vectors of N coordinates with G_ij = <g_i, g_j>, from G [..., N, N]: [N, ..., N].

    The gradients themselves up to a rotation, which no measure sees. To keep a known g* in the picture, add it to the
    Gram matrix as one more row and column, and take it out of the result again.
    """
    values, vectors = np.linalg.eigh(np.asarray(gram, dtype=np.float64))
    return np.moveaxis(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :], -2, 0)


# ------------------------------------------------------------------------------------------------ the jackknife


def jackknife_error(value: Floats, left_out: Floats, counts: Floats) -> Floats:
    """Standard error of an estimate from its values with each block b left out.

    With h_b = N / n_b and pseudo-values v_b = h_b theta - (h_b - 1) theta_{-b},

        se^2 = (1/B) sum_b (v_b - theta_J)^2 / (h_b - 1),    theta_J = sum_b v_b / h_b,

    which is the delete-one jackknife for n_b = 1. value [...], left_out [B, ...], counts n_b [B]; not finite where a
    value is not. Busing, Meijer & van der Leeden (1999), Delete-m jackknife for unequal m.
    """
    h = (counts.sum() / counts).reshape(-1, *[1] * (left_out.ndim - 1))
    with np.errstate(invalid="ignore"):
        pseudo = h * value - (h - 1) * left_out
        centre = _sum(pseudo / h)
        return np.sqrt(_sum(np.square(pseudo - centre) / (h - 1)) / len(counts))


def _interval(value: Floats, error: Floats, observations: int) -> Interval:
    """value +- t error; no bound where the error is not finite, or 0: a sample without any spread tells no error."""
    reach = student_quantile(observations - 1) * np.where(np.isfinite(error) & (error > 0), error, np.inf)
    with np.errstate(invalid="ignore"):
        low, high = value - reach, value + reach
    return Interval(value, np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))


def _jackknifed(blocks: Blocks, value: Floats, left_out: Floats) -> Interval:
    return _interval(value, jackknife_error(value, left_out, blocks.counts), len(blocks.counts))


def _log_jackknifed(blocks: Blocks, value: Floats, left_out: Floats) -> Interval:
    """For what is positive: the interval of its logarithm, raised again."""
    _, low, high = _jackknifed(blocks, _log(value), _log(left_out))
    with np.errstate(over="ignore"):
        return Interval(value, np.exp(low), np.exp(high))


def _score_interval(blocks: Blocks, square: Floats, value: Floats, left_out: Floats, floor: Floats) -> Interval:
    """The s with (value - s)^2 <= t^2 (se^2 s / square + floor), a quadratic inequality; see `bias_squared`."""
    variance = np.square(jackknife_error(value, left_out, blocks.counts))
    t2 = student_quantile(len(blocks.counts) - 1) ** 2
    with np.errstate(invalid="ignore"):
        slope = t2 * np.divide(variance, square, out=np.zeros_like(square), where=square > 0)
        reach = np.sqrt(np.maximum(slope * value + np.square(slope) / 4 + t2 * floor, 0.0))
        low, high = value + slope / 2 - reach, value + slope / 2 + reach
    known = np.isfinite(low) & np.isfinite(high) & (variance + floor > 0)
    return Interval(
        value, np.where(known, np.minimum(low, value), -np.inf), np.where(known, np.maximum(high, value), np.inf)
    )


def student_quantile(degrees: float) -> float:
    """The 97.5% point of Student's t, to 1e-3: Cornish-Fisher expansion in 1 / degrees, Abramowitz & Stegun (1964),
    26.7.5; below 4 degrees of freedom, where that is not close, from a table.
    """
    if degrees in FEW_DEGREES:
        return FEW_DEGREES[degrees]
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms))


FEW_DEGREES: dict[float, float] = {1: 12.706205, 2: 4.302653, 3: 3.182446}


def f_survival(f: float, above: float, below: float) -> float:
    """P(F > f) of Fisher's F with (above, below) degrees of freedom; f = t^2 with above = 1: two-sided Student's t.

    With x = sin^2 u = above f / (above f + below) it is the integral of the density of Beta(above/2, below/2),

        2 / B(above/2, below/2) int_u^{pi/2} sin^{above-1} cos^{below-1},

    by Gauss-Legendre on the part where the integrand is not negligible: relative error below 1e-8 for p above 1e-30.
    Degrees below are cut at 1e5, where F is its limit to 5 digits.
    """
    below = min(below, 1e5)
    if not f < inf:
        return 0.0 if f == inf else nan
    start = atan(sqrt(above * f / below))
    log_scale = log(2) + lgamma((above + below) / 2) - lgamma(above / 2) - lgamma(below / 2)
    mode = atan(sqrt((above - 1) / (below - 1))) if below > 1 else start
    reach = max(start, mode) + 12 / sqrt(above + below) if below > 1 else pi / 2
    edges = np.linspace(start, min(reach, pi / 2), 9)
    total = 0.0
    for a, b in pairwise(edges.tolist()):
        u = (a + b) / 2 + (b - a) / 2 * NODES
        logs = log_scale + (above - 1) * _log(np.sin(u)) * (above > 1) + (below - 1) * _log(np.cos(u))
        total += float((b - a) / 2 * (WEIGHTS * np.exp(logs)).sum())
    return min(total, 1.0)


# ------------------------------------------------------------------------------------------------ measures


def trace_variance(blocks: Blocks) -> Interval:
    """T = sum_i |g_i - m|^2 / (N - 1), the noise of one trajectory: E T = tr C. [..., K], interval from log T.

    T / N is the variance of the mean of N. With replicate estimates in place of the g_i, T itself is the variance of
    one of them. The limits are (0, inf) where T, or T without some block, is 0: such a sample sets no bound.
    """
    return _log_jackknifed(blocks, *_trace_variance(blocks))


def squared_signal(blocks: Blocks) -> Interval:
    """U = |m|^2 - T/N: E U = |mu|^2, so it can be negative. [..., K]. For the limits see `bias_squared`."""
    return bias_squared(blocks, np.zeros(blocks.mean.shape[-1]))


def bias_squared(blocks: Blocks, exact: ArrayLike) -> Interval:
    """U = |m - g*|^2 - T/N: E U = |mu - g*|^2 = s, so it can be negative. exact g* [P] or [..., K, P]; result [..., K].

    The jackknife alone fails near s = 0, where U is quadratic in the noise: it covers 75% to 99%. The limits are the s
    at which U is t errors away from s, with the error that it has at s (a score interval, as Wilson's for a rate):

        (U - s)^2 = t^2 (se^2 s / |m - g*|^2 + 2 tr C^2 / N^2),      se the jackknife's error of U.
    """
    square, value, left_out = _distance(blocks, np.asarray(exact))
    return _score_interval(blocks, square, value, left_out, 2 * _trace_of_square(blocks) / blocks.count**2)


def mean_squared_error(blocks: Blocks, exact: ArrayLike, episodes: int) -> Interval:
    """E |estimate - g*|^2 of the mean of n = `episodes` trajectories: bias^2 + T / n. [..., K].

    Each limit is as far off as the limits of the two terms added in squares. Zou & Donner (2008).
    """
    bias, noise = bias_squared(blocks, exact), trace_variance(blocks)
    value = bias.value + noise.value / episodes
    low = value - np.hypot(bias.value - bias.low, (noise.value - noise.low) / episodes)
    high = value + np.hypot(bias.high - bias.value, (noise.high - noise.value) / episodes)
    return Interval(value, low, high)


def snr(blocks: Blocks) -> Interval:
    """Signal-to-noise ratio of one trajectory, |mu|^2 / tr C, as U / T. [..., K]; it can be negative.

    Limits as in `bias_squared`, with every term divided by T.
    """
    square, U, U_left_out = _distance(blocks, np.zeros(blocks.mean.shape[-1]))
    T, T_left_out = _trace_variance(blocks)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = 2 * _trace_of_square(blocks) / np.square(blocks.count * T)
        return _score_interval(blocks, square / T, U / T, U_left_out / T_left_out, floor)


def nsr(blocks: Blocks) -> Interval:
    """Noise-to-signal ratio tr C / |mu|^2, the inverse of `snr` with its limits. [..., K].

    The number of trajectories whose mean has as much noise as signal: the simple gradient noise scale of McCandlish et
    al. (2018). inf, "unbounded", wherever the SNR or its lower limit is not positive.
    """
    return inverse(snr(blocks))


def cosine(blocks: Blocks, exact: ArrayLike, batches: int) -> Interval:
    """Mean over K batches of <u_k, g*> / |g*|, u_k the batch mean of N / K trajectories made a unit vector. [..., K].

    A batch is a run of neighbouring blocks, all as long as the blocks allow. A batch mean of 0 counts as cosine 0.
    The limits are Student's over batches: with 16 they cover 93% to 96% for low cosines, but 80% to 90% for cosines
    above 0.7 in few dimensions, whose distribution is skewed.
    """
    direction = _unit(np.asarray(exact))
    cosines = np.stack([(u * direction).sum(-1) for u in _batch_directions(blocks, batches)])
    mean = _sum(cosines) / batches
    error = np.sqrt(_sum(np.square(cosines - mean)) / (batches * (batches - 1)))
    return _interval(mean, error, batches)


def pairwise_cosine(blocks: Blocks, batches: int) -> Interval:
    """Mean cosine between two batch means of N / K trajectories, (|sum_k u_k|^2 - K) / (K (K - 1)). [..., K].

    Batches as in `cosine`. It is the squared signal of the u_k, and so are its limits.
    """
    return squared_signal(blocks_of(np.stack(list(_batch_directions(blocks, batches)))))


def projection(blocks: Blocks, exact: ArrayLike) -> Interval:
    """<m, g*> / |g*|^2, whose mean is 1 for an unbiased estimator; g* = 0 gives nan. exact [P] or [..., K, P].

    Limits by Student's t over blocks: <D_b, g*> is linear, so the jackknife is the usual standard error.
    """
    target = np.asarray(exact)
    square = np.square(target).sum(-1)
    unit = np.divide(target, square[..., None], out=np.full_like(target, np.nan), where=square[..., None] > 0)
    value = (blocks.mean * unit).sum(-1)
    return _jackknifed(blocks, value, value - blocks.along(unit) / blocks.per_block(blocks.count - blocks.counts))


def wald(blocks: Blocks, exact: ArrayLike, scores: ArrayLike) -> Floats:
    """p-value of E g = g*. exact [P] or [..., K, P]; scores [n, P], sum_t z_t of each trajectory; result [..., K].

        N |m - g*|^2 / T ~ F(f, 2 / se^2),      f = T^2 / tr S^2,

    S the covariance of the B blocks' D_b / sqrt(n_b), T its trace, se the jackknife's error of log T. This is Wald's
    statistic with the identity in place of S^+, the ANOVA-type statistic of Brunner, Dette & Munk (1997). Hotelling's
    T^2 divides by the variances of directions in which a handful of trajectories move: on the chain it rejects unbiased
    estimators in 9% (first policy) to 90% (a trained one) of samples of 64, this one in 1% to 7%.

    nan where the sample says too little: noise is possible in every direction of the scores' span, whatever the
    weights, and there is no p-value unless the weighted gradients have moved in all of them and the scores' span is
    known (it has fewer directions than there are trajectories) and holds g*.
    """
    d = blocks.mean - np.asarray(exact)
    p = np.full(d.shape[:-1], np.nan)
    span = _row_space(np.asarray(scores, dtype=np.float64))
    if not 0 < len(span) < min(len(np.asarray(scores)), len(blocks.counts)):
        return p
    rows = [D / sqrt(n) for n, D in zip(blocks.counts, blocks.centred(), strict=True)]
    X = np.moveaxis(np.stack(rows), 0, -2)  # [..., K, B, P]
    targets = np.broadcast_to(np.asarray(exact, dtype=np.float64), d.shape)
    T, T_left_out = _trace_variance(blocks)
    error = jackknife_error(_log(T), _log(T_left_out), blocks.counts)
    for place in np.ndindex(*p.shape):
        outside = targets[place] - targets[place] @ span.T @ span
        lost = np.sqrt(np.square(outside).sum()) > SINGLE * np.sqrt(np.square(targets[place]).sum())
        if lost or len(_row_space(X[place])) < len(span) or not 0 < error[place] < np.inf:
            continue
        gram = X[place] @ X[place].T
        f = np.square(np.trace(gram)) / np.square(gram).sum()
        ratio = blocks.count * np.square(d[place]).sum() / T[place]
        p[place] = special.fdtrc(f, 2 / np.square(error[place]), ratio)
    return p


def _row_space(rows: Floats) -> Floats:
    """An orthonormal basis [r, P] of what rows [n, P] span, up to the rounding of single precision."""
    _, lengths, axes = np.linalg.svd(rows, full_matrices=False)
    return axes[lengths > SINGLE * lengths.max(initial=0.0)]


def directional_variance(blocks: Blocks, direction: ArrayLike) -> Interval:
    """v' C v along v = direction / |direction|, [P] or [..., K, P]: the noise that ascent along it feels. [..., K].

    From block sums, sum_b <D_b, v>^2 / n_b / (B - 1). The direction must come from elsewhere (g*, or another sample's
    mean): the mean of these very gradients leans towards their noise.
    """
    squares = np.square(blocks.along(_unit(np.asarray(direction))))
    number = len(blocks.counts)
    scatter = squares / blocks.per_block(blocks.counts)
    value, left_out = _sums_of_squares(blocks, scatter, squares)
    return _log_jackknifed(blocks, value / (number - 1), left_out / (number - 2))


def effective_rank(blocks: Blocks) -> Floats:
    """(tr C)^2 / tr C^2, between 1 and P: how many directions share the noise. [..., K]; nan where C = 0.

    Both from unbiased estimates by the Gram matrix of the B block sums, their covariance S and Q = sum |D_b|^4 / (B-1):

        tr C^2   ~ f ((B-1)(B-2) tr S^2 + (tr S)^2 - B Q),      f = (B-1) / (B (B-2) (B-3))
        (tr C)^2 ~ f (2 tr S^2 + (B^2 - 3B + 1) (tr S)^2 - B Q)

    inf where the first is not positive: B observations are too few for that many directions. Himeno & Yamada (2014).
    """
    full = blocks.counts == blocks.counts[0]
    B, X = int(full.sum()), np.stack(list(compress(blocks.centred(), full)))
    X = np.ascontiguousarray(np.moveaxis(X - _sum(X) / B, 0, -2))  # [..., K, B, P]
    gram = X @ np.swapaxes(X, -1, -2)
    lengths = np.diagonal(gram, axis1=-2, axis2=-1).copy()
    trace_square = np.square(gram).sum(-1).sum(-1) / (B - 1) ** 2
    square_trace = np.square(lengths.sum(-1) / (B - 1))
    Q = np.square(lengths).sum(-1) / (B - 1)
    below = (B - 1) * (B - 2) * trace_square + square_trace - B * Q
    above = 2 * trace_square + (B**2 - 3 * B + 1) * square_trace - B * Q
    return np.where(
        square_trace == 0, np.nan, np.divide(above, below, out=np.full_like(above, np.inf), where=below > 0)
    )


# ------------------------------------------------------------------------------------------------ comparisons


def paired_log_ratio(blocks: Blocks, reference: int) -> Interval:
    """log T_X - log T_Y of each variant X against variant Y = `reference` on the same trajectories. [..., K].

    The jackknife of the difference: what the variants share cancels. Where a T is 0 there is no bound. Variants with
    the same gradients on every trajectory are one function, and differ by 0 exactly.
    """
    T, T_left_out = _trace_variance(blocks)
    with np.errstate(invalid="ignore"):
        log, log_left_out = _log(T), _log(T_left_out)
        value, left_out = log - log[..., [reference]], log_left_out - log_left_out[..., [reference]]
    same = (value == 0) & (left_out == 0).all(0)
    found = _jackknifed(blocks, value, left_out)
    return Interval(value, np.where(same, 0.0, found.low), np.where(same, 0.0, found.high))


def unpaired_log_ratio(blocks: Blocks, reference: int) -> Interval:
    """The same difference with the error that independent samples of N trajectories each would have. [..., K].

    se^2 = se_X^2 + se_Y^2. Wider than the paired one where variants vary together, narrower where they vary in
    opposite ways; on shared trajectories only the paired one has its level.
    """
    T, T_left_out = _trace_variance(blocks)
    log = _log(T)
    error = jackknife_error(log, _log(T_left_out), blocks.counts)
    with np.errstate(invalid="ignore"):
        difference = log - log[..., [reference]]
    return _interval(difference, np.hypot(error, error[..., [reference]]), len(blocks.counts))


# ------------------------------------------------------------------------------------------------ parts


def _trace_variance(blocks: Blocks) -> tuple[Floats, Floats]:
    """T and, for each block, T without it: sum of squares over N - n_b - 1."""
    value, left_out = _sums_of_squares(blocks, blocks.scatter, blocks.lengths)
    return value / (blocks.count - 1), left_out / blocks.per_block(blocks.count - blocks.counts - 1)


def _sums_of_squares(blocks: Blocks, scatter: Floats, lengths: Floats) -> tuple[Floats, Floats]:
    """SS = sum_b c_b about the mean, and without b about the mean of the rest: SS - c_b - |D_b|^2 / (N - n_b)."""
    value = _sum(scatter)
    left_out = value - scatter - lengths / blocks.per_block(blocks.count - blocks.counts)
    return value, np.where(left_out > ROUNDING * value, left_out, 0.0)


def _distance(blocks: Blocks, target: Floats) -> tuple[Floats, Floats, Floats]:
    """|m - g*|^2; it less T/N; and that without each block: m_{-b} = m - D_b / (N - n_b)."""
    T, T_left_out = _trace_variance(blocks)
    rest = blocks.per_block(blocks.count - blocks.counts)
    away = blocks.mean - target
    square = np.square(away).sum(-1)
    square_left_out = square - 2 * blocks.along(away) / rest + blocks.lengths / rest**2
    return square, square - T / blocks.count, square_left_out - T_left_out / rest


def _trace_of_square(blocks: Blocks) -> Floats:
    """tr C^2 as E <g_i - mu, g_j - mu>^2 over i != j, plus E |g_i - mu|^4 / B; from each block with its next 4.

    The second term errs on the wide side. It is small unless few trajectories carry the noise, and then pairs miss it.
    """
    number = len(blocks.counts)
    total = _sum(np.square(blocks.lengths / blocks.per_block(blocks.counts))) / number**2
    window: deque[Floats] = deque(maxlen=NEIGHBOURS + 1)
    rows = []  # <D_b, D_{b + 1}>, ..., <D_b, D_{b + 4}>
    for D in chain(blocks.centred(), islice(blocks.centred(), NEIGHBOURS)):  # the last blocks are next to the first
        window.append(D)
        if len(window) > NEIGHBOURS:
            rows.append(np.stack([(window[0] * window[shift]).sum(-1) for shift in range(1, NEIGHBOURS + 1)]))
    products = np.stack(rows, 1)  # [4, B, ..., K]
    for shift in range(1, NEIGHBOURS + 1):
        weights = blocks.per_block(blocks.counts * np.roll(blocks.counts, -shift))
        total = total + _sum(np.square(products[shift - 1]) / weights) / (number * NEIGHBOURS)
    return total


def _batch_directions(blocks: Blocks, batches: int) -> Iterable[Floats]:
    """The means of `batches` runs of neighbouring blocks as unit vectors, [..., K, P] each."""
    number = len(blocks.counts)
    if not 8 <= batches <= number:
        raise ValueError(f"{batches} batches of {number} blocks; give 8 to {number}")
    edges = [k * number // batches for k in range(batches + 1)]
    centred = blocks.centred()
    for start, stop in pairwise(edges):
        yield _unit(blocks.mean + _sum(islice(centred, stop - start)) / blocks.counts[start:stop].sum())


def _unit(x: Floats) -> Floats:
    """x / |x| over the last axis, 0 for 0."""
    length = np.sqrt(np.square(x).sum(-1, keepdims=True))
    return np.divide(x, length, out=np.zeros_like(x, dtype=np.float64), where=length > 0)


def _log(x: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(x)


def _sum(parts: Iterable[Floats]) -> Floats:
    """In index order over the leading axis: the order that np.sum chooses depends on the shape."""
    return reduce(np.add, parts)
