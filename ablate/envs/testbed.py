"""The k-armed testbed: every seed has a bandit of its own, so that a mean over seeds is one over problems."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ablate.envs.base import Bools, Continuous, Discrete, Float32, need, need_count, need_number
from ablate.randomness import seed_of, stream

Floats = NDArray[np.float64]


class BanditTestbed:
    """One step: q(a) ~ N(mean, spread^2) of each seed, the same in all its episodes, and r ~ N(q(a), reward_std^2).

    Nothing is observed (a constant 1). A state is the q of its seed, [arms]; `values` [S, arms] are those of the seeds
    that were last reset.

    Source: Sutton & Barto (2018), section 2.3.
    """

    horizon = 1
    time_limit = False
    observation_size = 1

    def __init__(self, arms: int, mean: float, spread: float, reward_std: float) -> None:
        need_count("arms", arms)
        need_number("mean", mean)
        for name, deviation in (("spread", spread), ("reward_std", reward_std)):
            need_number(name, deviation)
            need(deviation >= 0, name, deviation, "a standard deviation of at least 0")
        self.arms, self.mean, self.spread, self.reward_std = arms, mean, spread, reward_std
        self.actions: Discrete | Continuous = Discrete(arms)

    def starts(self, source: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        q = self.mean + self.spread * _standard(seed_of(source), self.arms)
        return np.broadcast_to(q, (*shape, self.arms)).copy()

    def draws(self, source: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return source.standard_normal((*shape, 1))

    def transition(self, states: NDArray, actions: NDArray, draws: Floats) -> tuple[NDArray, Floats, Bools]:
        worth = np.take_along_axis(states, actions[..., None], -1)[..., 0]
        return states, worth + self.reward_std * draws[..., 0], np.ones(worth.shape, bool)

    def observe(self, states: NDArray) -> Float32:
        return np.ones((*states.shape[:-1], 1), np.float32)

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        self._states = np.stack([self.starts(source, (episodes,)) for source in streams])
        self._noise = np.stack([self.draws(source, (episodes,)) for source in streams])
        self.values: Floats = self._states[:, 0]
        return self.observe(self._states)

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        states, rewards, ended = self.transition(self._states, actions, self._noise)
        return self.observe(states), rewards, ended, ~ended

    def keep(self, rows: NDArray[np.int64]) -> None:
        self._states = self._states.reshape(-1, self.arms)[rows]
        self._noise = self._noise.reshape(-1, 1)[rows]

    def record(self, actions: NDArray) -> dict[str, Floats]:
        """The share of the episodes that took the arm of the largest q, by their actions [S, N, 1]: [S]."""
        best = self.values.argmax(1)[:, None, None]
        return {"optimal_action_share": (actions == best).mean((1, 2))}


@cache
def _standard(seed: int, arms: int) -> Floats:
    """z(a) ~ N(0, 1) of a seed's bandit, [arms]."""
    return stream(seed, "testbed").standard_normal(arms)
