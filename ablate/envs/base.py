"""What an environment is here: S seeds x N episodes stepped together, with no seed's numbers touching another's."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ablate.errors import UserError
from ablate.lqg import LQG
from ablate.mdp import MDP

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Discrete:
    """Actions 0 .. n-1, as int64 arrays [S, N]."""

    n: int

    def __str__(self) -> str:
        return f"Discrete({self.n})"


@dataclass(frozen=True)
class Continuous:
    """Actions in R^size, as float32 arrays [S, N, size]; an environment clips to its own bounds."""

    size: int

    def __str__(self) -> str:
        return f"Box({self.size})"


class Environment(Protocol):
    """One batch of episodes: `reset` starts S x N of them, `step` advances all, `keep` drops finished ones.

    Batch-invariant: the numbers of seed s depend on `streams[s]` and the actions of seed s alone. All randomness
    of an episode is drawn from its seed's stream, in an order that does not depend on the other seeds.

    An episode that has ended may be stepped on until it is dropped; what is returned for it is ignored.
    """

    observation_size: int
    actions: Discrete | Continuous
    horizon: int  # no episode lasts longer

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        """Start `episodes` fresh episodes per stream; observations [S, N, observation_size], float32."""
        ...

    def step(self, actions: NDArray) -> tuple[Float32, NDArray[np.float64], Bools, Bools]:
        """observations [S,N,D] after the step, rewards [S,N], terminated [S,N] (the MDP ended: no bootstrap),
        truncated [S,N] (a time limit cut the episode: bootstrap). Never both; the observation that comes with either
        is the true last one."""
        ...

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with the episodes `rows` [S', N'] only: indices into the present S*N episodes, row-major.
        An index may stand twice: its first place is the episode, the others are padding, and what is returned for them
        is ignored. The batch has the shape of `rows` from now on."""
        ...


@runtime_checkable
class Markov(Environment, Protocol):
    """An environment whose whole state is an array, moved on by pure functions: what a learner that learns at every
    step carries from one iteration to the next, and a checkpoint keeps. States are [S, N, K], of any numeric type.

    An episode that lasts `horizon` steps is truncated where the horizon is a `time_limit`, and terminated where it
    belongs to the problem; `ablate.episodes.online` counts the steps.
    """

    time_limit: bool

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        """States s_0 ~ rho_0, [*shape, K]."""
        ...

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The randomness of `shape` transitions, [*shape, M]; M may be 0."""
        ...

    def transition(
        self, states: NDArray, actions: NDArray, draws: NDArray[np.float64]
    ) -> tuple[NDArray, NDArray[np.float64], Bools]:
        """s_{t+1} [S,N,K], r_t [S,N] and whether s_{t+1} is terminal [S,N], of s_t, a_t and the draws [S,N,M]."""
        ...

    def observe(self, states: NDArray) -> Float32:
        """What the agent sees of states [..., K]: [..., observation_size], float32."""
        ...


@runtime_checkable
class FiniteModel(Environment, Protocol):
    """An environment that samples a finite MDP, and tells it: exact values can be computed."""

    mdp: MDP


@runtime_checkable
class LinearQuadraticEnvironment(Environment, Protocol):
    """An environment that samples a linear-quadratic-Gaussian problem, and tells it."""

    lqg: LQG


@runtime_checkable
class GroupedEnvironment(Environment, Protocol):
    """An environment in which neighbouring episodes share their first state, and so are one sample of it."""

    def ungrouped(self) -> Environment:
        """The same with a first state for each episode."""
        ...


@runtime_checkable
class Recorded(Environment, Protocol):
    """An environment that has more to record of the episodes that have just been played."""

    def record(self, actions: NDArray) -> dict[str, NDArray[np.float64]]:
        """Columns of the curves, [S] each, by the actions [S, N, T, ...] of all episodes of the last `reset`."""
        ...


def need(holds: bool, name: str, value: object, wanted: str) -> None:
    """Refuse env.`name`=`value` unless `holds`."""
    if not holds:
        raise UserError(f"env.{name}={value!r:.60} cannot be used; give {wanted}")


def need_count(name: str, value: object) -> None:
    need(isinstance(value, int) and not isinstance(value, bool) and value >= 1, name, value, "a whole number from 1 on")


def need_number(name: str, value: object) -> None:
    need(_is_number(value), name, value, "a finite number")


def need_probability(name: str, value: Any) -> None:
    need(_is_number(value) and 0 <= value <= 1, name, value, "a number in [0, 1]")


def need_flag(name: str, value: object) -> None:
    need(isinstance(value, bool), name, value, "true or false")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
