"""Monte Carlo prediction with a constant step: the value of a fixed policy from whole returns, beside TD(0)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ablate.envs.tabular import thresholds
from ablate.episodes.online import Online
from ablate.learners.base import Record, State, part, prefixed
from ablate.learners.schedules import step_sizes
from ablate.learners.td import TemporalDifference, prediction_settings
from ablate.randomness import streams


def learner(config: Mapping[str, Any]) -> "MonteCarlo":
    """The learner of a resolved configuration. Refuses where no finite V exists, and where states are hidden."""
    return MonteCarlo(**prediction_settings(config))


@dataclass(frozen=True)
class MonteCarlo(TemporalDifference):
    """V(s_t) <- V(s_t) + alpha (G_t - V(s_t)) for every step t of an episode, once it has ended.

    G_t = sum_{k >= t} gamma^(k-t) r_k. Policy, tables, step sizes and records are those of `TemporalDifference`. A time
    limit cuts G_t, and V is biased by what is cut. grad_norm is the root mean square of G_t - V(s_t) over the steps of
    the episodes that ended in the iteration, 0 where none did.

    Source: Sutton & Barto (2018), equation 6.1.
    """

    def initial(self, seeds: Sequence[int]) -> State:
        room = len(seeds), self.env.horizon
        path = {
            "path.state": torch.zeros(room, dtype=torch.int64),
            "path.reward": torch.zeros(room, dtype=torch.float64),
        }
        return super().initial(seeds) | path

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        named = "values", "visits", "path.state", "path.reward"
        V, visits, visited, rewards = (state[name].numpy().copy() for name in named)
        walk = Online(self.env, 1).walk(part("online", state), seeds, iteration, self.steps)
        draws = np.stack([source.random(self.steps) for source in streams(seeds, "actions", iteration)], axis=1)
        cdf, last = thresholds(self.pi), len(self.values) - 1
        seed, squares, count = np.arange(len(seeds)), np.zeros(len(seeds)), np.zeros(len(seeds))

        for n in range(self.steps):
            s, t = walk.states[:, 0, 0], walk.times[:, 0]
            step = walk.step((draws[n, :, None] >= cdf[s]).sum(-1)[:, None])
            visited[seed, t], rewards[seed, t] = s, step.rewards[:, 0]
            for k in np.flatnonzero(step.ended[:, 0]):
                G = 0.0
                for u in range(t[k], -1, -1):
                    at = k, min(u, last), visited[k, u]
                    G = rewards[k, u] + self.gamma * G
                    visits[at] += 1
                    error = G - V[at]
                    V[at] += step_sizes(visits[at], self.step_size, self.step_power) * error
                    squares[k], count[k] = squares[k] + error**2, count[k] + 1

        record = walk.summary() | self._distances(V, visits) | {"grad_norm": np.sqrt(squares / np.maximum(count, 1))}
        tables = {name: torch.from_numpy(x) for name, x in zip(named, (V, visits, visited, rewards), strict=True)}
        return tables | prefixed("online", walk.state()), record
