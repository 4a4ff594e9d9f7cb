"""How far the mean of gradient estimates is from the exact gradient g*, where that is known."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ablate.statistics import resampling
from ablate.statistics.block_sums import Blocks, sum_in_order
from ablate.statistics.interval import Floats, Interval
from ablate.statistics.noise import batch_directions, distance, trace_variance, unit
from ablate.statistics.resampling import Bools


def bias_squared(blocks: Blocks, exact: ArrayLike) -> Interval:
    """U = |m - g*|^2 - T/N: E U = |mu - g*|^2, so it can be negative. exact g* [P] or [..., K, P]; result [..., K].

    Limits by `resampling.quadratic`.
    """
    square, value, left_out = distance(blocks, np.asarray(exact))
    return resampling.quadratic(blocks, value, left_out, square, np.ones_like(value))


def mean_squared_error(blocks: Blocks, exact: ArrayLike, episodes: int) -> Interval:
    """E |estimate - g*|^2 of the mean of n = `episodes` trajectories: bias^2 + T / n. [..., K].

    Each limit is as far off as the limits of the two terms added in squares. Zou & Donner (2008).
    """
    bias, noise = bias_squared(blocks, exact), trace_variance(blocks)
    value = bias.value + noise.value / episodes
    low = value - np.hypot(bias.value - bias.low, (noise.value - noise.low) / episodes)
    high = value + np.hypot(bias.high - bias.value, (noise.high - noise.value) / episodes)
    return Interval(value, low, high)


def cosine(blocks: Blocks, exact: ArrayLike, batches: int) -> Interval:
    """Mean over K batches of <u_k, g*> / |g*|, u_k the batch mean of N / K trajectories made a unit vector. [..., K].

    Batches as in `noise.pairwise_cosine`. A batch mean of 0 counts as cosine 0. The limits are Student's over batches.
    """
    direction = unit(np.asarray(exact))
    cosines = np.stack([(u * direction).sum(-1) for u in batch_directions(blocks, batches)])
    mean = sum_in_order(cosines) / batches
    squares = np.square(cosines - mean)
    error = np.sqrt(sum_in_order(squares) / (batches * (batches - 1)))
    return resampling.symmetric(
        mean,
        error,
        resampling.effective_sample_size(squares) - 1,
        resampling.informative(blocks) >= resampling.MIN_EFFECTIVE_BLOCKS,
    )


def projection(blocks: Blocks, exact: ArrayLike) -> Interval:
    """<m, g*> / |g*|^2, whose mean is 1 for an unbiased estimator; g* = 0 gives nan. exact [P] or [..., K, P].

    Limits by Student's t over blocks: <D_b, g*> is linear, so the jackknife is the usual standard error.
    """
    target = np.asarray(exact)
    square = np.square(target).sum(-1)
    along = np.divide(target, square[..., None], out=np.full_like(target, np.nan), where=square[..., None] > 0)
    value = (blocks.mean * along).sum(-1)
    left_out = value - blocks.along(along) / blocks.per_block(blocks.count - blocks.counts)
    return resampling.jackknifed(blocks, value, left_out)


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
    T, T_left_out = resampling.trace_variance(blocks)
    with np.errstate(divide="ignore"):
        error, _ = resampling.jackknife(np.log(T), np.log(T_left_out), blocks.counts)
    for place in np.ndindex(*p.shape):
        outside = targets[place] - targets[place] @ span.T @ span
        lost = np.sqrt(np.square(outside).sum()) > resampling.SINGLE * np.sqrt(np.square(targets[place]).sum())
        if lost or _rank(X[place]) < len(span) or not 0 < error[place] < np.inf:
            continue
        gram = X[place] @ X[place].T
        f = np.square(np.trace(gram)) / np.square(gram).sum()
        ratio = blocks.count * np.square(d[place]).sum() / T[place]
        p[place] = special.fdtrc(f, 2 / np.square(error[place]), ratio)
    return p


def _row_space(rows: Floats) -> Floats:
    """An orthonormal basis [r, P] of what rows [n, P] span, up to the rounding of single precision."""
    _, lengths, axes = np.linalg.svd(rows, full_matrices=False)
    return axes[_large(lengths)]


def _rank(rows: Floats) -> int:
    """How many directions rows [n, P] span, up to the rounding of single precision."""
    return int(_large(np.linalg.svd(rows, compute_uv=False)).sum())


def _large(lengths: NDArray[np.floating]) -> Bools:
    return lengths > resampling.SINGLE * lengths.max(initial=0.0)
