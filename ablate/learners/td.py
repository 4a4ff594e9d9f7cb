"""Temporal difference learning, TD(0): the value of a fixed policy, held against the exact one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate import build, exact
from ablate.envs.tabular import Tabular, thresholds
from ablate.episodes.online import Online
from ablate.learners.base import Record, State, part, prefixed
from ablate.learners.q_iteration import with_states_seen
from ablate.learners.schedules import step_sizes
from ablate.mdp import MDP
from ablate.randomness import streams

Floats = NDArray[np.float64]


def learner(config: Mapping[str, Any]) -> "TemporalDifference":
    """The learner of a resolved configuration. Refuses where no finite V exists, and where states are hidden."""
    return TemporalDifference(**prediction_settings(config))


def prediction_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a learner of V^pi is made of, by a resolved configuration."""
    env = with_states_seen(build.environment(config), config)
    mdp = replace(env.mdp, gamma=config["gamma"])
    pi, settings = exact.softmax(mdp.logits), config["algorithm"]
    visited = exact.occupancy(mdp, pi)
    return dict(
        env=env,
        pi=pi,
        gamma=mdp.gamma,
        values=exact_values(mdp, pi, env.time_limit),
        visited=visited.sum(0, keepdims=True) if env.time_limit else visited,
        steps=settings["steps"],
        step_size=settings["step_size"],
        step_power=settings["step_power"],
        initial_value=settings.get("initial_value", 0.0),
    )


def exact_values(mdp: MDP, pi: Floats, time_limit: bool) -> Floats:
    """V(s) [1,states] of the task that a time limit cuts, or V_t(s) [H,states] where the horizon belongs to it."""
    return exact.stationary_values(mdp, pi)[None] if time_limit else exact.values(mdp, pi)[0][:-1]


@dataclass(frozen=True)
class TemporalDifference:
    """V(s) <- V(s) + alpha (r + gamma V(s') - V(s)), a step at a time; the policy stays as it is.

    The policy is the softmax of the MDP's own logits: uniform, or that of an MDP's file. Where the horizon belongs to
    the problem V depends on the time, and the table is V_t(s); where it is a time limit, episodes that it cuts
    bootstrap, and the table is V(s). alpha = step_size n^-step_power at the n-th visit of an entry, as in
    `schedules.step_sizes`. At first V(s) = initial_value.

    Of a record, over the entries that the policy can reach (terminal states are none):

        value_rms_error  sqrt(mean (V - V^pi)^2), every entry alike, however rarely it is visited
        visit_distance   1/2 sum |share of all visits so far - expected share|, the total variation distance
        grad_norm        root mean square TD error of the iteration's `steps` steps

    Slide "Temporal difference learning"; Sutton & Barto (2018), section 6.1.
    """

    env: Tabular
    pi: Floats  # [states, A]
    gamma: float
    values: Floats  # V^pi, [T, states]: T = 1, or the horizon
    visited: Floats  # expected visits an episode, [T, states]
    steps: int
    step_size: float
    step_power: float
    initial_value: float = 0.0

    def initial(self, seeds: Sequence[int]) -> State:
        shape = len(seeds), *self.values.shape
        values = torch.full(shape, float(self.initial_value), dtype=torch.float64)
        tables = {"values": values, "visits": torch.zeros(shape, dtype=torch.int64)}
        return tables | prefixed("online", Online(self.env, 1).initial(seeds))

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        V, visits = state["values"].numpy().copy(), state["visits"].numpy().copy()
        walk = Online(self.env, 1).walk(part("online", state), seeds, iteration, self.steps)
        draws = np.stack([source.random(self.steps) for source in streams(seeds, "actions", iteration)], axis=1)
        cdf, last = thresholds(self.pi), len(self.values) - 1
        seed, squares = np.arange(len(seeds)), np.zeros(len(seeds))

        for n in range(self.steps):
            s, t = walk.states[:, 0, 0], np.minimum(walk.times[:, 0], last)
            a = (draws[n, :, None] >= cdf[s]).sum(-1)
            step = walk.step(a[:, None])
            following = V[seed, np.minimum(t + 1, last), step.next_observations[:, 0].argmax(-1)]

            delta = step.rewards[:, 0] + self.gamma * following * ~step.terminated[:, 0] - V[seed, t, s]
            visits[seed, t, s] += 1
            V[seed, t, s] += step_sizes(visits[seed, t, s], self.step_size, self.step_power) * delta
            squares += delta**2

        record = walk.summary() | self._distances(V, visits) | {"grad_norm": np.sqrt(squares / self.steps)}
        tables = {"values": torch.from_numpy(V), "visits": torch.from_numpy(visits)}
        return tables | prefixed("online", walk.state()), record

    def _distances(self, V: Floats, visits: NDArray[np.int64]) -> Record:
        """How far the values and the visits [S,T,states] are from what they should be, [S] each."""
        reached = self.visited > 0
        expected = self.visited[reached] / self.visited.sum()
        errors = np.stack([np.sqrt(((table - self.values)[reached] ** 2).mean()) for table in V])
        shares = np.stack([count[reached] / max(count.sum(), 1) for count in visits])
        return {"value_rms_error": errors, "visit_distance": np.abs(shares - expected).sum(-1) / 2}
