"""What the largest values of a sample stand for: a generalised Pareto tail.

A sample of few episodes shows its own largest values and nothing beyond them, so that resamples of it never hold a
heavier one. The tail beyond a high threshold u is that of a generalised Pareto distribution, whatever the population
(Pickands 1975): P(X - u > e) = (1 + k e / s)^(-1/k). Its shape k is heavier than light samples show; the one that is
used lies a standard error above the estimate.
"""

import numpy as np

from ablate.statistics.interval import Floats

PRIOR = 0.5, 10  # of the shape, and how many values it counts as
HEAVIEST = 1.0  # at a shape of 1 or more there is no mean to give limits of


def spread(x: Floats, copies: int) -> Floats:
    """x [n] as n x `copies` equally likely atoms: each value so many times, but the largest as quantiles of their tail.

    The M = min(n / 5, 3 sqrt n) largest, 3 or more, give way to the M x copies quantiles of the generalised Pareto
    distribution fitted to what they exceed the next one by, in the same order. As Pareto smoothed importance sampling
    has it, but untruncated and with copies: Vehtari, Simpson, Gelman, Yao & Gabry (2024). Atoms of a value stand
    together, so that pairs of samples stay pairs. x itself where the largest do not exceed the next: ties have no tail.
    """
    number = len(x)
    atoms = np.repeat(x[:, None], copies, 1)
    largest = max(3, int(min(number / 5, 3 * np.sqrt(number))))
    order = np.argsort(x, kind="stable")[-largest - 1 :]
    threshold, excess = x[order[0]], x[order[1:]] - x[order[0]]
    if not excess[0] > 0:
        return atoms.ravel()
    shape, scale = pareto(excess)
    shape = min(shape + (1 + shape) / np.sqrt(largest + PRIOR[1]), HEAVIEST)
    beyond = 1 - (np.arange(largest * copies) + 0.5) / (largest * copies)
    quantiles = threshold + scale * np.expm1(-shape * np.log(beyond)) / shape
    if np.isfinite(quantiles).all():
        atoms[order[1:]] = quantiles.reshape(largest, copies)
    return atoms.ravel()


def pareto(excess: Floats) -> tuple[float, float]:
    """Shape k and scale s of a generalised Pareto distribution, of ascending excesses e > 0 [M].

    The posterior mean of b = -k / s on a grid of profile likelihoods, k = mean log(1 - b e); k is then drawn towards
    1/2 as if ten more values had told that. Zhang & Stephens (2009); the prior is that of Vehtari et al. (2024).
    """
    number = len(excess)
    grid = 30 + int(np.sqrt(number))
    quartile = excess[int(number / 4 + 0.5) - 1]
    b = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(grid) + 0.5))) / (3 * quartile)
    shapes = np.log1p(-b[:, None] * excess).mean(1)
    likelihood = number * (np.log(-b / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    mean = float((b * weights).sum() / weights.sum())
    shape = float(np.log1p(-mean * excess).mean())
    centre, worth = PRIOR
    return (shape * number + centre * worth) / (number + worth), -shape / mean
