"""The right functions, and wrong ones by what to tell their authors."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablate.discounted_sums import discounted_sum, td_errors
from ablate.discounted_sums import gae as gae_of_td_errors
from ablate.exercises.check import Function

Floats = NDArray[np.float64]

BATCH = 3  # episodes of a leave-one-out baseline


def to_go(rewards: Floats, gamma: float) -> Floats:
    return discounted_sum(rewards, gamma)


def whole(rewards: Floats, gamma: float) -> Floats:
    return np.full(len(rewards), discounted_sum(rewards, gamma)[0])


REWARD_TO_GO: dict[str, Sequence[Function]] = {
    "You included rewards before t: an action cannot change what came before it. Begin the sum at t.": (
        whole,
        lambda rewards, gamma: whole(rewards, 1.0),
    ),
    "You sum the rewards up to t; reward-to-go is the sum from t on.": (
        lambda rewards, gamma: np.cumsum(rewards),
        lambda rewards, gamma: np.cumsum(rewards * gamma ** np.arange(len(rewards))),
        lambda rewards, gamma: to_go(rewards[::-1], gamma)[::-1],
    ),
    "The right numbers in the wrong order: turn your result round.": (
        lambda rewards, gamma: to_go(rewards, gamma)[::-1],
    ),
    "The discount is missing: the reward of k steps later counts gamma^k.": (
        lambda rewards, gamma: to_go(rewards, 1.0),
    ),
    "You discount from step 0, by gamma^k; reward-to-go discounts from t, by gamma^(k-t).": (
        lambda rewards, gamma: to_go(rewards * gamma ** np.arange(len(rewards)), 1.0),
    ),
    "One discount too many: r_t itself counts fully.": (lambda rewards, gamma: gamma * to_go(rewards, gamma),),
    "Off by one at the start: your sum begins at t + 1 and leaves out r_t.": (
        lambda rewards, gamma: to_go(rewards, gamma) - rewards,
        lambda rewards, gamma: (to_go(rewards, gamma) - rewards) / gamma,
    ),
    "Off by one at the end: the last reward is left out.": (
        lambda rewards, gamma: to_go(np.append(rewards[:-1], 0.0), gamma),
    ),
    "These are the rewards alone: sum what follows, too.": (lambda rewards, gamma: rewards,),
    "You took the mean of the rewards from t on; reward-to-go is their sum.": (
        lambda rewards, gamma: to_go(rewards, gamma) / np.arange(len(rewards), 0, -1),
        lambda rewards, gamma: to_go(rewards, 1.0) / np.arange(len(rewards), 0, -1),
    ),
}


def of_others(returns: Floats) -> Floats:
    return (returns.sum() - returns) / (len(returns) - 1)


LEAVE_ONE_OUT: dict[str, Sequence[Function]] = {
    "Your baseline uses the episode's own return, which scales the gradient by 1 - 1/N. Take the mean of the others.": (
        lambda returns: np.full(len(returns), returns.mean()),
    ),
    "You divide the sum of the others by N; there are N - 1 of them. Unbiased, but more of the noise stays.": (
        lambda returns: (returns.sum() - returns) / len(returns),
    ),
    "This is the sum of the others, not their mean: unbiased, for it does not depend on the episode, but noisy.": (
        lambda returns: returns.sum() - returns,
    ),
    "This is the return less the baseline; return the baseline alone.": (
        lambda returns: returns - of_others(returns),
        lambda returns: returns - returns.mean(),
    ),
    "Your baseline is the episode's own return: nothing is left of the estimate.": (lambda returns: returns,),
    "The sum of all is divided by N - 1: the episode's own return is still in it.": (
        lambda returns: np.full(len(returns), returns.sum() / (len(returns) - 1)),
    ),
    "You leave out another episode than i, so that the episode's own return stays in its baseline.": tuple(
        lambda returns, k=k: np.roll(of_others(returns), k) for k in range(1, BATCH)
    ),
    "Your baseline is 0: unbiased, and nothing is gained.": (np.zeros_like,),
    "The sign is turned round: the baseline is taken off afterwards.": (lambda returns: -of_others(returns),),
}


def advantages(rewards: Floats, values: Floats, gamma: float, lam: float) -> Floats:
    return gae_of_td_errors(_deltas(rewards, values, gamma, lam), gamma, lam)


def with_other(**other: float) -> Function:
    """GAE with other numbers than those given."""
    return lambda rewards, values, gamma, lam: advantages(rewards, values, **({"gamma": gamma, "lam": lam} | other))


def _summed(deltas: Callable[..., Floats], factor: Callable[[float, float], float]) -> Function:
    """Of other TD errors, summed with another factor than gamma lambda."""
    return lambda rewards, values, gamma, lam: discounted_sum(deltas(rewards, values, gamma, lam), factor(gamma, lam))


def _deltas(rewards: Floats, values: Floats, gamma: float, lam: float) -> Floats:
    return td_errors(rewards, values[:-1], values[1:], gamma)


def _both(gamma: float, lam: float) -> float:
    return gamma * lam


GAE: dict[str, Sequence[Function]] = {
    "Lambda and gamma are swapped: the TD error has gamma, and the sum gamma times lambda.": (
        lambda rewards, values, gamma, lam: advantages(rewards, values, lam, gamma),
    ),
    "The discount is missing in the TD error: delta_t = r_t + gamma V(s_{t+1}) - V(s_t).": (
        _summed(lambda r, v, gamma, lam: _deltas(r, v, 1.0, lam), _both),
    ),
    "The discount is missing in the sum: delta_{t+k} counts (gamma lambda)^k, not lambda^k.": (
        _summed(_deltas, lambda gamma, lam: lam),
    ),
    "The discount is missing everywhere: in the TD error and in the sum.": (with_other(gamma=1.0),),
    "Lambda is missing: with gamma alone in the sum this is reward-to-go less V, GAE with lambda = 1.": (
        _summed(_deltas, lambda gamma, lam: gamma),
    ),
    "This is the TD error alone, GAE with lambda = 0: sum those that follow, too.": (with_other(lam=0.0),),
    "Off by one at the end: the last step needs values[T], V of the state after it, which is not 0 where an episode "
    "was cut.": (_summed(lambda r, v, gamma, lam: _deltas(r, np.append(v[:-1], 0.0), gamma, lam), _both),),
    "Off by one at the end: the last step is left out.": (
        lambda rewards, values, gamma, lam: np.append(advantages(rewards[:-1], values[:-1], gamma, lam), 0.0),
    ),
    "V(s_t) is not taken off: each TD error lacks - V(s_t).": (
        _summed(lambda r, v, gamma, lam: r + gamma * v[1:], _both),
    ),
    "V(s_{t+1}) is missing: each TD error lacks + gamma V(s_{t+1}).": (
        _summed(lambda r, v, gamma, lam: r - v[:-1], _both),
    ),
    "V(s_t) stands where V(s_{t+1}) should: shift the values by one.": (
        _summed(lambda r, v, gamma, lam: r + (gamma - 1) * v[:-1], _both),
    ),
    "V(s_t) and V(s_{t+1}) are swapped.": (_summed(lambda r, v, gamma, lam: r + gamma * v[:-1] - v[1:], _both),),
    "These are lambda-returns, A_t + V(s_t): take V(s_t) off again.": (
        lambda rewards, values, gamma, lam: advantages(rewards, values, gamma, lam) + values[:-1],
    ),
    "You sum the TD errors up to t; the advantage sums those from t on.": (
        lambda rewards, values, gamma, lam: discounted_sum(_deltas(rewards, values, gamma, lam)[::-1], gamma * lam)[
            ::-1
        ],
        lambda rewards, values, gamma, lam: np.cumsum(
            _deltas(rewards, values, gamma, lam) * (gamma * lam) ** np.arange(len(rewards))
        ),
    ),
}
