"""Tabular Q-learning, online and epsilon-greedy; continuous actions and observations are cut into bins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import build
from ablate.envs.base import Discrete, Markov
from ablate.envs.discretised import DiscreteActions, GridObservations, one_hot
from ablate.envs.tabular import Tabular
from ablate.episodes.online import Online
from ablate.errors import UserError
from ablate.learners.base import Record, State, part, prefixed
from ablate.learners.schedules import linear, step_sizes
from ablate.networks import Network
from ablate.policies import GreedyValues
from ablate.randomness import streams

Floats = NDArray[np.float64]


def learner(config: Mapping[str, Any]) -> "QLearning":
    """The learner of a resolved configuration. Refuses an environment of real numbers with no grid for them."""
    return QLearning(**table_settings(config))


def table_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What an epsilon-greedy learner of a table Q(s,a) is made of, by a resolved configuration."""
    settings = config["algorithm"]
    env = tabulated(build.environment(config), settings)
    assert isinstance(env.actions, Discrete)
    return dict(
        env=env,
        num_actions=env.actions.n,
        gamma=config["gamma"],
        steps=settings["steps"],
        iterations=config["iterations"],
        step_size=settings["step_size"],
        step_power=settings["step_power"],
        epsilon=(settings["initial_epsilon"], settings["final_epsilon"]),
        exploration_fraction=settings["exploration_fraction"],
    )


def tabulated(env: Any, settings: Mapping[str, Any]) -> Markov:
    """The environment with discrete actions and one-hot observations: those of a finite MDP (states that look alike
    stay alike), or the cells of a grid."""
    if isinstance(env, Tabular):
        return one_hot(env)
    size, ranges, bins = env.observation_size, settings["state_range"], settings["state_bins"]
    if ranges is None:
        example = ",".join(["[-1,1]"] * size)
        raise UserError(
            f"algorithm={settings['name']} keeps a table, and observations here are {size} real numbers; say between "
            f"which limits to cut them into bins, as algorithm.state_range=[{example}] (a speed may need more than a "
            "sine)"
        )
    if not isinstance(env.actions, Discrete):
        env = DiscreteActions(env, settings["action_bins"], *settings["action_range"])
    low, high = zip(*ranges, strict=True)
    return GridObservations(env, bins if isinstance(bins, list) else [bins] * size, low, high)


@dataclass(frozen=True)
class QLearning:
    """Q(s,a) <- Q(s,a) + alpha (r + gamma max_a' Q(s',a') - Q(s,a)), a step at a time, Q = 0 at first.

    Actions are epsilon-greedy, ties broken at random; epsilon falls linearly from epsilon[0] to epsilon[1] over the
    first `exploration_fraction` of the run. alpha = step_size n^-step_power at the n-th visit of (s, a), as in
    `schedules.step_sizes`. Termination stops the bootstrap, truncation does not. s is what is observed: states that
    look alike share a row.

    Of a record, grad_norm is the root mean square TD error of the iteration's `steps` steps.

    Slide "Learn Q-values"; Watkins (1989); Sutton & Barto (2018), section 6.5.
    """

    env: Markov
    num_actions: int
    gamma: float
    steps: int
    iterations: int
    step_size: float
    step_power: float
    epsilon: tuple[float, float]
    exploration_fraction: float

    def initial(self, seeds: Sequence[int]) -> State:
        shape = len(seeds), self.env.observation_size, self.num_actions
        tables = {"q": torch.zeros(shape, dtype=torch.float64), "visits": torch.zeros(shape, dtype=torch.int64)}
        return tables | prefixed("online", Online(self.env, 1).initial(seeds))

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        q, visits = state["q"].numpy().copy(), state["visits"].numpy().copy()
        walk = Online(self.env, 1).walk(part("online", state), seeds, iteration, self.steps)
        draws = np.stack([source.random((self.steps, 2)) for source in streams(seeds, "actions", iteration)], axis=1)
        seed, squares = np.arange(len(seeds)), np.zeros(len(seeds))

        for n in range(self.steps):
            s = walk.observations[:, 0].argmax(-1)
            epsilon = self.exploration((iteration - 1) * self.steps + n)
            a = epsilon_greedy(q[seed, s], epsilon, draws[n])
            step = walk.step(a[:, None])
            following = q[seed, step.next_observations[:, 0].argmax(-1)].max(-1)

            delta = step.rewards[:, 0] + self.gamma * following * ~step.terminated[:, 0] - q[seed, s, a]
            visits[seed, s, a] += 1
            q[seed, s, a] += step_sizes(visits[seed, s, a], self.step_size, self.step_power) * delta
            squares += delta**2

        record = walk.summary() | {
            "epsilon": np.full(len(seeds), epsilon),
            "grad_norm": np.sqrt(squares / self.steps),
        }
        tables = {"q": torch.from_numpy(q), "visits": torch.from_numpy(visits)}
        return tables | prefixed("online", walk.state()), record

    def exploration(self, steps_taken: int) -> float:
        """epsilon at a step of the run."""
        start, end = self.epsilon
        return linear(start, end, steps_taken / (self.exploration_fraction * self.iterations * self.steps))

    def deterministic(self, state: State) -> tuple[Markov, GreedyValues, Tensor]:
        """argmax_a Q(s,a), the first of equals."""
        network = Network((self.env.observation_size, self.num_actions), bias=False)
        return self.env, GreedyValues(network), (state["q"] - state["q"].amax(-1, keepdim=True)).flatten(1).float()


def epsilon_greedy(values: Floats, epsilon: float, draws: Floats) -> NDArray[np.int64]:
    """With probability epsilon any action, else one of those of the highest value, all alike likely.

    values [S,A], draws [S,2] uniform in [0, 1) -> [S]. Source: Sutton & Barto (2018), section 2.2.
    """
    allowed = (values == values.max(-1, keepdims=True)) | (draws[:, :1] < epsilon)
    place = np.floor(draws[:, 1] * allowed.sum(-1))  # take the allowed action number `place`, counted from 0
    return np.minimum((allowed.cumsum(-1) <= place[:, None]).sum(-1), values.shape[1] - 1)  # NaN allows none
