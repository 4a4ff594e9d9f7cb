"""How good the deterministic policy is that a learner has come to, at set intervals and on fresh episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.discounted_sums import first_plus_mean, ordered_sum
from ablate.envs.base import GroupedEnvironment
from ablate.episodes.rollout import rollout
from ablate.learners.base import Learner, Record, State
from ablate.randomness import streams

Bools = NDArray[np.bool_]


def evaluation(config: Mapping[str, Any]) -> "GreedyEvaluation | None":
    """The evaluation of a resolved configuration, or None where `evaluate.every` is null."""
    wanted = config["evaluate"]
    if not wanted or wanted["every"] is None:
        return None
    return GreedyEvaluation(wanted["every"], wanted["episodes"])


@dataclass(frozen=True)
class GreedyEvaluation:
    """Mean undiscounted return of the greedy policy (argmax_a pi(a|s) or Q(s,a), the mean of a Gaussian) over N fresh
    episodes.

    After every `every`-th iteration and the last one. Its random streams are its own, so a run learns the same with it
    or without.
    """

    every: int
    episodes: int  # N

    def measure(self, learner: Learner, state: State, seeds: Sequence[int], iteration: int, last: Bools) -> Record:
        """evaluation_return_mean and evaluation_return_std, [S] each; NaN after other iterations. ``last``, [S], says
        which seeds are at their end."""
        due = last | (iteration % self.every == 0)
        record = {f"evaluation_return_{what}": np.full(len(seeds), np.nan) for what in ("mean", "std")}
        if due.any():
            chosen = np.flatnonzero(due)
            at = {name: x[torch.from_numpy(chosen)] for name, x in state.items()}
            for name, values in self._returns(learner, at, [seeds[int(s)] for s in chosen], iteration).items():
                record[name][chosen] = values
        return record

    def _returns(self, learner: Learner, state: State, seeds: Sequence[int], iteration: int) -> Record:
        env, policy, theta = learner.deterministic(state)
        if isinstance(env, GroupedEnvironment):
            env = env.ungrouped()  # episodes that share a first state would be one sample of it
        sources = (streams(seeds, f"evaluation {what}", iteration) for what in ("environment", "actions"))
        played = rollout(policy, theta, env, self.episodes, *sources)
        returns = ordered_sum(played.rewards, axis=2)
        mean = first_plus_mean(returns, played.played)
        spread = ordered_sum((returns - mean[:, None]) ** 2, axis=1) / max(self.episodes - 1, 1)
        return {"evaluation_return_mean": mean, "evaluation_return_std": np.sqrt(spread)}
