"""What a learner is: a run as a pure function of its seed, many seeds at a time."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.discounted_sums import ordered_sum
from ablate.envs.base import Environment
from ablate.policies import Actor

State = dict[str, Tensor]  # all that is carried from iteration to iteration, each [S, ...]
Record = dict[str, NDArray[np.float64]]  # what an iteration recorded, each [S]


class Learner(Protocol):
    """Batch-invariant: row s of every state and record depends on seeds[s] and the iteration alone."""

    def initial(self, seeds: Sequence[int]) -> State:
        """The state before iteration 1."""
        ...

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        """Iteration number 1, 2, ...; a record has at least env_steps, episodes, return_mean, grad_norm. What it writes
        to in the state that it is given, it writes to before it looks at it: it can be repeated from there."""
        ...

    def probed(self, state: State) -> tuple[Tensor, State, State]:
        """What a probe looks at: the policy's parameters [S, P], and the states of its critic and its optimizer; of
        learners whose yaml says that they use `probe`."""
        ...

    def deterministic(self, state: State) -> tuple[Environment, Actor, Tensor]:
        """The environment, the greedy policy that the learner has come to, and that policy's parameters [S, P]; of
        learners whose yaml says that they use `evaluate`."""
        ...


def prefixed(name: str, parts: State) -> State:
    """A part's state, named as the part's in the whole."""
    return {f"{name}.{key}": value for key, value in parts.items()}


def part(name: str, state: State) -> State:
    """The state of one part of the whole."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def mean_of_updates(each: Sequence[Tensor]) -> NDArray[np.float64]:
    """The mean [S] over an iteration's updates of what each of them recorded, [S]; at least one."""
    return ordered_sum(torch.stack(list(each), 1).double().numpy(), axis=1) / len(each)
