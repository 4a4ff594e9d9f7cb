"""Continuous actions and observations as finite sets, for learners that have a number an action, or a table.

Both wrap an environment that has the pure functions of `base.Markov`, and have them themselves.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from ablate.envs.base import Bools, Continuous, Discrete, Float32, Markov
from ablate.envs.tabular import Tabular
from ablate.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Wrapper:
    """An environment as another one is: what a subclass does not say anew is `env`'s own."""

    def __init__(self, env: Markov) -> None:
        self.env = env
        self.observation_size = env.observation_size
        self.actions: Discrete | Continuous = env.actions
        self.horizon, self.time_limit = env.horizon, env.time_limit

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        return self.seen(self.env.reset(streams, episodes))

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        observations, rewards, terminated, truncated = self.env.step(self.taken(actions))
        return self.seen(observations), rewards, terminated, truncated

    def keep(self, rows: Integers) -> None:
        self.env.keep(rows)

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return self.env.starts(stream, shape)

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return self.env.draws(stream, shape)

    def transition(self, states: NDArray, actions: NDArray, draws: Floats) -> tuple[NDArray, Floats, Bools]:
        return self.env.transition(states, self.taken(actions), draws)

    def observe(self, states: NDArray) -> Float32:
        return self.seen(self.env.observe(states))

    def taken(self, actions: NDArray) -> NDArray:
        """The action that `env` is given."""
        return actions

    def seen(self, observations: Float32) -> Float32:
        """What is observed, of what `env` shows."""
        return observations


class DiscreteActions(Wrapper):
    """A continuous action in one dimension as a choice of `bins` values: action k is

        low + k (high - low) / (bins - 1),  k = 0 .. bins - 1.

    Observations are `env`'s own. Raises UserError unless `env` has one continuous action, bins >= 2 and low < high.
    """

    def __init__(self, env: Markov, bins: int, low: float, high: float) -> None:
        if env.actions != Continuous(1):
            raise UserError(f"only one continuous action can be cut into bins, not {env.actions}; write env=pendulum")
        if bins < 2 or not low < high:
            raise UserError(
                f"algorithm.action_bins={bins} from {low:g} to {high:g} cannot be; write for example "
                "algorithm.action_bins=9 algorithm.action_range=[-2,2]"
            )
        super().__init__(env)
        self.actions = Discrete(bins)
        self._values = np.linspace(low, high, bins, dtype=np.float32)[:, None]

    def taken(self, actions: NDArray) -> NDArray:
        return self._values[actions]


class GridObservations(Wrapper):
    """The cell of a grid that the observation lies in, one-hot, so that a linear function of it is a table:

        i_j = floor(bins_j (x_j - low_j) / (high_j - low_j)), held in 0 .. bins_j - 1

    What lies beyond low or high is in the outermost bin. Observation size: bins_1 bins_2 ... cells, the last index
    running fastest. Raises UserError unless there is a number of bins, a low and a high > low for every dimension, and
    LARGEST_GRID cells at most.
    """

    def __init__(self, env: Markov, bins: Sequence[int], low: Sequence[float], high: Sequence[float]) -> None:
        size = env.observation_size
        if not len(bins) == len(low) == len(high) == size:
            raise UserError(
                f"algorithm.state_bins and state_range are for {len(bins)} and {len(low)} numbers, and an observation "
                f"here has {size}; give {size} of each"
            )
        if min(bins) < 1 or prod(bins) > LARGEST_GRID or not all(a < b for a, b in zip(low, high, strict=True)):
            raise UserError(
                f"algorithm.state_bins={list(bins)} from {list(low)} to {list(high)} cannot be; "
                f"give at least 1 bin a dimension, {LARGEST_GRID} cells at most, and ranges that rise"
            )
        super().__init__(env)
        self._bins, self._low, self._high = (np.array(x) for x in (bins, low, high))
        self._cells = np.append(np.cumprod(self._bins[:0:-1])[::-1], 1)  # from one bin of a dimension to the next
        self.observation_size = prod(bins)

    def seen(self, observations: Float32) -> Float32:
        share = (observations.astype(np.float64) - self._low) / (self._high - self._low)
        index = np.fmin(np.fmax(np.floor(share * self._bins), 0), self._bins - 1)  # NaN is in the first bin
        cells = (index.astype(np.int64) * self._cells).sum(-1)
        one_hot = np.zeros((*cells.shape, self.observation_size), np.float32)
        one_hot.reshape(cells.size, -1)[np.arange(cells.size), cells.ravel()] = 1
        return one_hot


LARGEST_GRID = 2**16  # cells; every observation has as many numbers


def one_hot(env: Tabular) -> Tabular:
    """The same MDP with a one-hot observation for each distinct one of its own, in the order of the states: states that
    look alike stay alike."""
    _, first, alike = np.unique(env.mdp.features, axis=0, return_index=True, return_inverse=True)
    cells = first.argsort().argsort()[alike.ravel()]
    return Tabular(replace(env.mdp, features=np.eye(len(first))[cells]), env.time_limit)
