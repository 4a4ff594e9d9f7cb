"""Environments that never stop, for learners that learn as they go: when an episode ends, the next one begins.

Between two iterations all that is carried is an array a seed (`Online.initial`), so a run can be saved there and go on
with the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import nan_checks
from ablate.envs.base import Bools, Float32, Markov
from ablate.randomness import streams

Floats = NDArray[np.float64]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Online:
    """S seeds x N environments side by side, each with an episode under way."""

    env: Markov
    environments: int  # N

    def initial(self, seeds: Sequence[int]) -> State:
        """Every environment at the start of its first episode: `state` [S,N,K], `time` and `earned` (so far) [S,N]."""
        states = np.stack([self.env.starts(s, (self.environments,)) for s in streams(seeds, "environment")])
        shape = states.shape[:2]
        return {
            "state": torch.from_numpy(states),
            "time": torch.zeros(shape, dtype=torch.int64),
            "earned": torch.zeros(shape, dtype=torch.float64),
        }

    def walk(self, state: State, seeds: Sequence[int], iteration: int, steps: int) -> "Walk":
        """The next `steps` steps of every environment. The randomness of an iteration belongs to it alone."""
        sources = streams(seeds, "environment", iteration)
        shape = steps, self.environments
        fresh = np.stack([self.env.starts(source, shape) for source in sources], axis=1)  # [steps, S, N, K]
        draws = np.stack([self.env.draws(source, shape) for source in sources], axis=1)
        states, times, earned = (state[name].numpy().copy() for name in ("state", "time", "earned"))
        return Walk(self.env, states, times, earned, fresh, draws)


@dataclass(frozen=True)
class Step:
    """One step of every environment. Bootstrap from next_observations unless terminated: where an episode ended, they
    are the true last ones, not the first of the next episode.

    next_observations [S,N,D] float32, rewards [S,N], terminated [S,N], truncated [S,N] (never both).
    """

    next_observations: Float32
    rewards: Floats
    terminated: Bools
    truncated: Bools

    @property
    def ended(self) -> Bools:
        return self.terminated | self.truncated


class Walk:
    """One iteration under way: where the environments stand, and which episodes have ended in it.

    `states` [S,N,K], `times` [S,N] (steps into the episode) and `observations` [S,N,D] are those of the next step.
    """

    def __init__(self, env: Markov, states: NDArray, times: NDArray, earned: Floats, fresh: NDArray, draws: Floats):
        self._env, self._fresh, self._draws = env, fresh, draws
        self.states, self.times, self._earned = states, times, earned
        self.observations = env.observe(states)
        self._taken = 0
        self._returns: list[Floats] = []
        self._lengths: list[Floats] = []

    def step(self, actions: NDArray) -> Step:
        """Take actions [S,N] (or [S,N,A]); an episode that ends is followed by the first state of the next."""
        states, rewards, terminated = self._env.transition(self.states, actions, self._draws[self._taken])
        times, earned = self.times + 1, self._earned + rewards
        over = times >= self._env.horizon
        truncated = over & ~terminated if self._env.time_limit else np.zeros_like(terminated)
        terminated = terminated if self._env.time_limit else terminated | over
        ended = terminated | truncated
        following = self._env.observe(states)
        if nan_checks.watched():
            places = "seed environment", f"step {self._taken}"
            nan_checks.check("the action", actions, *places)
            nan_checks.check("the reward", rewards, *places)
            nan_checks.check("the next observation", following, *places)
        self._returns.append(np.where(ended, earned, np.nan))
        self._lengths.append(np.where(ended, times, np.nan))
        if ended.any():
            self.states = np.where(ended[..., None], self._fresh[self._taken], states)
            self.times, self._earned = np.where(ended, 0, times), np.where(ended, 0.0, earned)
            self.observations = np.where(ended[..., None], self._env.observe(self.states), following)
        else:
            self.states, self.times, self._earned, self.observations = states, times, earned, following
        self._taken += 1
        return Step(following, rewards, terminated, truncated)

    def state(self) -> State:
        """What to carry to the next iteration."""
        arrays = {"state": self.states, "time": self.times, "earned": self._earned}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def summary(self) -> dict[str, NDArray]:
        """env_steps and episodes of the walk, and the (undiscounted) returns and lengths of the episodes that ended in
        it, [S] each; their means are NaN where none did."""
        returns = [seed[~np.isnan(seed)] for seed in np.stack(self._returns, axis=1)]
        lengths = [seed[~np.isnan(seed)] for seed in np.stack(self._lengths, axis=1)]
        steps = self._taken * self.states.shape[1]

        return {
            "env_steps": np.full(len(returns), steps),
            "episodes": np.array([len(x) for x in returns]),
            "return_mean": np.array([x.mean() if len(x) else np.nan for x in returns]),
            "return_std": np.array([x.std(ddof=1) if len(x) > 1 else np.nan for x in returns]),
            "episode_length_mean": np.array([x.mean() if len(x) else np.nan for x in lengths]),
        }
