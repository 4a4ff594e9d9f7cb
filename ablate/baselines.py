"""The b of  Phi_t - b:  what is subtracted to lower the variance, and at what price in bias.

Each is a function of Phi [S,N,T], the episodes' `Signals` and a `norms` function, and returns b, broadcastable to
[S,N,T]. To add one: one function here or in a package of your own, one yaml in conf/baseline.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ablate.discounted_sums import first_plus_mean, ordered_sum
from ablate.phi import Signals, Steps

Floats = NDArray[np.float64]

# weights [S,N,T], weights [S,N,T] -> <sum_t w_t z_t, sum_t v_t z_t> per trajectory, [S,N]
ScoreProducts = Callable[[Floats, Floats], Floats]
Baseline = Float[np.ndarray, "_ _ _"]  # broadcastable to [S,N,T]


def none(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b = 0."""
    return np.zeros((1, 1, 1))


def mean(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b = (1/N) sum_i R(tau_i), as on the slide "Baselines".

    R(tau_i) is in its own baseline, so the estimate's mean is (1 - 1/N) times that of `loo` for Phi = R(tau). For a Phi
    that is measured from t, and unbiased, that of step t is scaled by 1 - gamma^t / N.
    """
    return first_plus_mean(signals.returns, signals.played)[:, None, None]


def leave_one_out(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b_i = (1/(N-1)) sum_{j != i} R(tau_j): independent of episode i, hence unbiased. Needs N >= 2.

    Source: Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples, get a baseline for free!".
    """
    return _mean_of_others(signals.returns, signals.played)[..., None]


def time(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b_it = mean of Phi_jt over the other episodes j != i that last to step t (0 if there is none): unbiased."""
    return _mean_of_others(phi, signals.mask)


def value(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b_t = V(s_t), of a critic that has not seen these episodes."""
    assert signals.values is not None
    return signals.values


def optimal(phi: Steps, signals: Signals, score_products: ScoreProducts) -> Baseline:
    """b_i = sum_{j != i} <F_j, X_j> / sum_{j != i} |F_j|^2,  F = sum_t z_t,  X = sum_t z_t Phi_t.

    The constant that minimises the trace variance of the whole estimate, E<F,X> / E|F|^2, estimated from the other
    episodes and so independent of episode i: unbiased. Needs N >= 2. Source: Greensmith, Bartlett & Baxter (2004).
    """
    ones = signals.mask.astype(np.float64)
    first = phi[:, :1, :1]  # b of Phi is b of Phi - c plus c
    products, squares = score_products(ones, (phi - first) * ones), score_products(ones, ones)
    others, weight = _sum_of_others(products), _sum_of_others(squares)
    b = np.divide(others, weight, out=np.zeros_like(others), where=weight > 0)[..., None]
    return np.where(weight[..., None] > 0, first + b, 0.0)


def _sum_of_others(x: Floats) -> Floats:
    return ordered_sum(x, axis=1)[:, None] - x


def _mean_of_others(x: Floats, taken: NDArray[np.bool_]) -> Floats:
    """Measured from the first x that is there, so that of equal numbers it is that number, to the last bit."""
    first = np.take_along_axis(x, taken.argmax(1)[:, None], axis=1)
    counts = _sum_of_others(taken.astype(np.float64)) * taken
    mean = np.divide(_sum_of_others((x - first) * taken), counts, out=np.zeros_like(x), where=counts > 0)
    return np.where(counts > 0, first + mean, 0.0)
