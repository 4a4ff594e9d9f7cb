"""A learner, probe and evaluation whose user code may draw from the global generators of Python, NumPy and PyTorch.

All processes start with the same state of these, and the seeds of a block draw in turn. What is drawn would be the same
in every process and depend on the other seeds of the block. Here it depends on the seed, the purpose and the iteration
alone: seeds are dealt with together until a call is seen to draw; that call is repeated, and the next are made, seed
by seed, each from a state of its own. Calls may be repeated because they are pure but for the global generators.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ablate import global_generators
from ablate.envs.base import Bools, Environment
from ablate.learners.base import Learner, Record, State
from ablate.policies import Actor
from ablate.probes.exact import ExactProbe
from ablate.probes.greedy import GreedyEvaluation
from ablate.probes.sampled import Row, SampledProbe
from ablate.probes.sequences import SequenceProbe

T = TypeVar("T")


class _Isolated:
    """Calls on behalf of a block's seeds."""

    def __init__(self) -> None:
        self.drawn = False  # whether a call was seen to draw

    def call(self, rows_of: Callable[[slice], T], seeds: Sequence[int], purpose: str, iteration: int) -> list[T]:
        """What ``rows_of`` gives for slices that make up all rows of the block."""
        before = global_generators.states()
        try:
            if not self.drawn and len(seeds) > 1:
                together = rows_of(slice(0, len(seeds)))
                if global_generators.states() == before:
                    return [together]
                self.drawn = True
            single = []
            for s, seed in enumerate(seeds):
                global_generators.start(seed, purpose, iteration)
                single.append(rows_of(slice(s, s + 1)))
            return single
        finally:
            global_generators.restore(before)


class IsolatedLearner(_Isolated):
    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner

    def initial(self, seeds: Sequence[int]) -> State:
        return _states(self.call(lambda rows: self._learner.initial(seeds[rows]), seeds, "initial", 0))

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        def rows_of(rows: slice) -> tuple[State, Record]:
            return self._learner.iterate(_cut(state, rows), seeds[rows], iteration)

        states, records = zip(*self.call(rows_of, seeds, "training", iteration), strict=True)
        return _states(states), _records(records)

    def probed(self, state: State) -> tuple[Tensor, State, State]:
        return self._learner.probed(state)

    def deterministic(self, state: State) -> tuple[Environment, Actor, Tensor]:
        return self._learner.deterministic(state)


class IsolatedProbe(_Isolated):
    def __init__(self, probe: SampledProbe | ExactProbe | SequenceProbe) -> None:
        super().__init__()
        self._probe = probe

    def due(self, iteration: int) -> bool:
        return self._probe.due(iteration)

    def measure(
        self, theta: Tensor, critic: State, seeds: Sequence[int], iteration: int, moments: State
    ) -> list[list[Row]]:
        def rows_of(rows: slice) -> list[list[Row]]:
            return self._probe.measure(theta[rows], _cut(critic, rows), seeds[rows], iteration, _cut(moments, rows))

        return [row for part in self.call(rows_of, seeds, "probe", iteration) for row in part]


class IsolatedEvaluation(_Isolated):
    def __init__(self, evaluation: GreedyEvaluation) -> None:
        super().__init__()
        self._evaluation = evaluation

    def measure(self, learner: Learner, state: State, seeds: Sequence[int], iteration: int, last: Bools) -> Record:
        def rows_of(rows: slice) -> Record:
            return self._evaluation.measure(learner, _cut(state, rows), seeds[rows], iteration, last[rows])

        return _records(self.call(rows_of, seeds, "evaluation", iteration))


def _cut(state: State, rows: slice) -> State:
    return {name: x[rows] for name, x in state.items()}


def _states(parts: Sequence[State]) -> State:
    return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _records(parts: Sequence[Record]) -> Record:
    return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def isolated(
    learner: Learner, probe: SampledProbe | ExactProbe | SequenceProbe | None, evaluation: GreedyEvaluation | None
) -> tuple[IsolatedLearner, IsolatedProbe | None, IsolatedEvaluation | None]:
    """The three of a run, with the seeds apart."""
    return (
        IsolatedLearner(learner),
        None if probe is None else IsolatedProbe(probe),
        None if evaluation is None else IsolatedEvaluation(evaluation),
    )
