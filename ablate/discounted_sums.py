"""Pure maths on a trailing time axis. Arrays are [..., T]; what lies after an episode's end is 0 and stays 0."""

import numpy as np
from jaxtyping import Float, Num
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Series = Float[np.ndarray, "*batch T"]


def ordered_sum(x: Floats, axis: int) -> Floats:
    """sum_i x_i, added in index order.

    `np.sum` picks its order of additions by shape and memory layout, so its last bits can depend on how many seeds
    stand beside one another or on how long the longest episode is; this sum's cannot.
    """
    return np.take(np.cumsum(x, axis=axis), -1, axis=axis)


def first_plus_mean(x: Floats, taken: NDArray[np.bool_]) -> Floats:
    """(1/n) sum_i x_i over the n that are taken, [S,N] -> [S], as x_0 + (1/n) sum_i (x_i - x_0): of equal numbers that
    number, to the last bit. x_0 is always taken."""
    first = x[:, 0]
    return first + ordered_sum((x - first[:, None]) * taken, axis=1) / taken.sum(1)


def discounted_sum(x: Num[np.ndarray, "*batch T"], discount: float) -> Series:
    """y_t = x_t + discount * y_{t+1}, with y_T = 0; shape of x.

    Rewards and gamma give the reward-to-go G_t; TD errors and gamma * lambda give the advantage (GAE).
    """
    y = np.ascontiguousarray(np.moveaxis(x, -1, 0), dtype=np.float64)
    y = y.copy() if y is x or np.shares_memory(y, x) else y
    for t in range(len(y) - 2, -1, -1):
        y[t] += discount * y[t + 1]
    return np.ascontiguousarray(np.moveaxis(y, 0, -1))


def td_errors(rewards: Series, values: Series, next_values: Series, gamma: float) -> Series:
    """delta_t = r_t + gamma V(s_{t+1}) - V(s_t), elementwise.

    ``next_values`` holds 0 where the episode terminated and V of the final state where it was truncated.
    Source: slide "Advantage function"; Sutton & Barto (2018), eq. 6.5.
    """
    return rewards + gamma * next_values - values


def gae(deltas: Series, gamma: float, gae_lambda: float) -> Series:
    """A_t = sum_{k >= 0} (gamma lambda)^k delta_{t+k}.

    lambda = 0 is the TD error; lambda = 1 is G_t - V(s_t) (plus the bootstrap where an episode was truncated).
    Source: Schulman et al. (2016), eq. 16.
    """
    return discounted_sum(deltas, gamma * gae_lambda)


def lambda_returns(rewards: Series, values: Series, next_values: Series, gamma: float, td_lambda: float) -> Series:
    """G^lambda_t = r_t + gamma [(1 - lambda) V(s_{t+1}) + lambda G^lambda_{t+1}] = A^lambda_t + V(s_t).

    ``td_lambda`` is lambda: 0 gives the TD(0) target, 1 the Monte Carlo return. With Q(s_t, a_t) for V(s_t) it is the
    SARSA(lambda) target. Source: Sutton & Barto (2018), eq. 12.2.
    """
    return gae(td_errors(rewards, values, next_values, gamma), gamma, td_lambda) + values
