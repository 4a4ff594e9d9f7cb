"""Tabular Sarsa: Q of the epsilon-greedy policy that is followed, where Q-learning learns that of the greedy one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ablate.episodes.online import Online
from ablate.learners.base import Record, State, part, prefixed
from ablate.learners.q_learning import QLearning, epsilon_greedy, table_settings
from ablate.learners.schedules import step_sizes
from ablate.randomness import streams


def learner(config: Mapping[str, Any]) -> "Sarsa":
    """The learner of a resolved configuration. Refuses an environment of real numbers with no grid for them."""
    return Sarsa(**table_settings(config))


@dataclass(frozen=True)
class Sarsa(QLearning):
    """Q(s,a) <- Q(s,a) + alpha (r + gamma Q(s',a') - Q(s,a)), a step at a time, Q = 0 at first.

    a' is the action that is taken in s', chosen before the update. Exploration, step sizes and the ends of episodes are
    those of `QLearning`; where a time limit cuts an episode, a' is what would have been taken there.

    Source: Rummery & Niranjan (1994); Sutton & Barto (2018), section 6.4.
    """

    def initial(self, seeds: Sequence[int]) -> State:
        first = np.stack([source.random(2) for source in streams(seeds, "actions")])
        q = np.zeros((len(seeds), self.num_actions))
        return super().initial(seeds) | {"action": torch.from_numpy(epsilon_greedy(q, self.exploration(0), first))}

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        q, visits, a = (state[name].numpy().copy() for name in ("q", "visits", "action"))
        walk = Online(self.env, 1).walk(part("online", state), seeds, iteration, self.steps)
        # Two actions a step: in s', and in the first state of the next episode where one begins.
        draws = np.stack([source.random((self.steps, 2, 2)) for source in streams(seeds, "actions", iteration)], axis=1)
        seed, squares = np.arange(len(seeds)), np.zeros(len(seeds))

        for n in range(self.steps):
            s = walk.observations[:, 0].argmax(-1)
            step = walk.step(a[:, None])
            epsilon = self.exploration((iteration - 1) * self.steps + n + 1)
            s_next, s_now = step.next_observations[:, 0].argmax(-1), walk.observations[:, 0].argmax(-1)
            a_next = epsilon_greedy(q[seed, s_next], epsilon, draws[n, :, 0])
            a_first = epsilon_greedy(q[seed, s_now], epsilon, draws[n, :, 1])

            delta = step.rewards[:, 0] + self.gamma * q[seed, s_next, a_next] * ~step.terminated[:, 0] - q[seed, s, a]
            visits[seed, s, a] += 1
            q[seed, s, a] += step_sizes(visits[seed, s, a], self.step_size, self.step_power) * delta
            squares += delta**2
            a = np.where(step.ended[:, 0], a_first, a_next)

        record = walk.summary() | {
            "epsilon": np.full(len(seeds), epsilon),
            "grad_norm": np.sqrt(squares / self.steps),
        }
        tables = {name: torch.from_numpy(x) for name, x in (("q", q), ("visits", visits), ("action", a))}
        return tables | prefixed("online", walk.state()), record
