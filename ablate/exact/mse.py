"""Bias against variance: which of two estimators is nearer to grad J, at how many episodes."""

from collections.abc import Sequence
from math import inf

import numpy as np

from ablate.exact.estimators import IN_BATCH, GroundTruth, Variant
from ablate.exact.evaluation import Floats
from ablate.exact.variance import Moments

ROUNDING = 1e-20  # a squared bias below this share of |grad J|^2 is what rounding leaves of 0


def mse_curve(truth: GroundTruth, variant: Variant, episodes: Sequence[int], gae_lambda: float = 0.95) -> Floats:
    """E|estimate of N episodes - grad J|^2 = bias^2 + T / N at each N, with bias and T at N where a baseline is of the
    batch."""
    if variant.baseline in IN_BATCH:
        found = [truth.moments(*variant, gae_lambda=gae_lambda, episodes=N) for N in episodes]
    else:
        found = [truth.moments(*variant, gae_lambda=gae_lambda)] * len(episodes)
    return np.array([of_N.mse(N) for of_N, N in zip(found, episodes, strict=True)])


def crossover(first: Moments, second: Moments) -> float:
    """The N from which on `second` is nearer to grad J than `first`: bias^2 + T / N is less for every larger N.

        N = (T_second - T_first) / (bias_first^2 - bias_second^2)

    0 where it always is, infinite where it never is for good. Both are of one gradient, in episodes that are apart (no
    baseline of a finite batch, whose T depends on N).
    """
    least = ROUNDING * float(first.gradient @ first.gradient)
    biases = [moments.bias_squared if moments.bias_squared > least else 0.0 for moments in (first, second)]
    gain, cost = biases[0] - biases[1], second.trace_variance - first.trace_variance
    if gain > 0:
        return max(0.0, cost / gain)
    return 0.0 if gain == 0 and cost < 0 else inf
