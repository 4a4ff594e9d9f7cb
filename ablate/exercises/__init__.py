"""Exercises: a function that a student writes is held against exact values, and told in plain words what is wrong.

    exercises.reward_to_go(mine)      mine(rewards [T], gamma) -> G [T]
    exercises.leave_one_out(mine)     mine(returns [N]) -> b [N]
    exercises.gae(mine)               mine(rewards [T], values [T+1], gamma, lam) -> A [T]

Each calls the function on every episode of a small MDP, or on every batch of them, and returns `Feedback`. As each
episode's probability is known, squared bias and trace variance of the gradient estimate are exact. A mistake has its
name where the function equals a known wrong one on all of them.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ablate.exercises.check import Exercise, Feedback, Function
from ablate.exercises.episodes import GAMMA, KnownEpisodes, bias_and_variance, known_mdp
from ablate.exercises.mistakes import (
    BATCH,
    GAE,
    LEAVE_ONE_OUT,
    REWARD_TO_GO,
    advantages,
    of_others,
    to_go,
    whole,
    with_other,
)

__all__ = ["Feedback", "gae", "leave_one_out", "reward_to_go"]

Floats = NDArray[np.float64]
LAMBDA = 0.8


def reward_to_go(function: Function) -> Feedback:
    """G_t = sum_{k >= t} gamma^(k-t) r_k. ``function``: rewards [T], gamma -> [T]."""
    episodes = KnownEpisodes.of(known_mdp(), 3)
    cases = [{"rewards": r, "gamma": GAMMA} for r in _each(episodes.rewards, episodes.lengths)]
    beside = {"With the whole return in its place it": _whole_from_the_start}
    return Exercise(to_go, cases, episodes.moments, REWARD_TO_GO, beside).check(function)


def leave_one_out(function: Function) -> Feedback:
    """b_i = sum_{j != i} R_j / (N - 1), for batches of N = 3. ``function``: returns [N] -> [N]."""
    episodes = KnownEpisodes.of(known_mdp().with_horizon(2), 2)
    returns = np.array([to_go(r, GAMMA)[0] for r in episodes.rewards])
    batches = np.array(list(product(range(len(returns)), repeat=BATCH)))
    chances = episodes.chances[batches].prod(1)
    scores = episodes.scores.sum(1)[batches]  # the return discounts from step 0, and takes no gamma^t

    def moments(answers: Sequence[Floats]) -> tuple[float, float]:
        g = np.einsum("bn,bnd->bd", returns[batches] - np.array(answers), scores) / BATCH
        bias, variance = bias_and_variance(chances, g, episodes.gradient)
        return bias, BATCH * variance

    cases = [{"returns": returns[batch]} for batch in batches]
    beside = {"Without a baseline it": np.zeros_like}
    return Exercise(of_others, cases, moments, LEAVE_ONE_OUT, beside).check(function)


def gae(function: Function) -> Feedback:
    """A_t = sum_{k >= 0} (gamma lambda)^k delta_{t+k}. ``function``: rewards [T], values [T+1], gamma, lam -> [T].

    ``values[T]`` is V of the state after the last step: 0 where the episode is over, not where it was cut.
    Source: Schulman et al. (2016), eq. 16.
    """
    episodes = KnownEpisodes.of(known_mdp().with_horizon(4), 3)
    values = _each(episodes.values, episodes.lengths + 1)
    cases = [
        {"rewards": r, "values": v, "gamma": GAMMA, "lam": LAMBDA}
        for r, v in zip(_each(episodes.rewards, episodes.lengths), values, strict=True)
    ]
    beside = {f"With lambda = {lam} it": with_other(lam=lam) for lam in (0, 1)}
    return Exercise(advantages, cases, episodes.moments, GAE, beside).check(function)


def _each(padded: Floats, lengths: NDArray[np.int64]) -> list[Floats]:
    return [row[:length] for row, length in zip(padded, lengths, strict=True)]


def _whole_from_the_start(rewards: Floats, gamma: float) -> Floats:
    """The return, without the gamma^t that an estimate is weighted with."""
    return np.asarray(whole(rewards, gamma) / gamma ** np.arange(len(rewards)))
