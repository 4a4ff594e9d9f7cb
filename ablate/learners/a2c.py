"""Advantage actor-critic, online: N environments a seed, an update every n steps of each. Slide "A2C"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import build
from ablate.critics import quality
from ablate.envs.base import Bools, Environment, Markov
from ablate.episodes.online import Online, Walk
from ablate.learners.base import Record, State, mean_of_updates, part, prefixed
from ablate.networks import Initializer, Network
from ablate.optimizers import RMSProp, norm
from ablate.policies import Actor, Greedy, Policy
from ablate.randomness import streams

Floats = NDArray[np.float64]


def learner(config: Mapping[str, Any]) -> "A2C":
    """The learner of a resolved configuration."""
    env: Any = build.environment(config)
    settings = config["algorithm"]
    return A2C(
        env=env,
        policy=build.policy(config, env),
        optimizer=RMSProp(settings["lr"], max_grad_norm=settings["max_grad_norm"]),
        gamma=config["gamma"],
        **{name: settings[name] for name in SETTINGS},
        critic_initializer=settings.get("critic_initializer", "uniform"),
    )


SETTINGS = (
    "environments", "n_steps", "updates", "critic_hidden", "clock", "value_coefficient", "entropy_coefficient"
)  # fmt: skip


@dataclass(frozen=True)
class A2C:
    """theta ascends mean [ log pi(a_t|s_t) A_t + c_H H(pi(.|s_t)) ],  w descends c_V mean [ (G_t - V_w(s_t))^2 ],

        A_t = G_t - V_w(s_t),   G_t = r_t + gamma r_{t+1} + ... + gamma^k V_w(s_{t+k}),

    where t+k is the end of the n steps, or that of the episode: a termination is worth 0, a truncation V_w of its last
    state. n = 1 is the slide: A_t is the TD error r + gamma V_w(s') - V_w(s). Means are over the n N steps of an
    update; one RMSProp steps theta and w, and its gradient is clipped as a whole.

    | field               | meaning                                                                       |
    |---------------------|-------------------------------------------------------------------------------|
    | environments        | N of a seed, each with an episode under way                                   |
    | n_steps, updates    | n; updates an iteration: it takes updates n N steps                           |
    | critic_hidden       | hidden layers of V_w; [] is linear                                            |
    | critic_initializer  | of the weights of V_w, `Network.initial`                                      |
    | clock               | "append" shows V_w the time t / H, which a horizon of the problem asks for    |
    | value_coefficient   | c_V                                                                           |
    | entropy_coefficient | c_H                                                                           |

    Source: Mnih et al. (2016); the settings are those of Stable-Baselines3's A2C.
    """

    env: Markov
    policy: Policy
    optimizer: RMSProp
    gamma: float
    environments: int
    n_steps: int
    updates: int
    critic_hidden: Sequence[int]
    clock: Literal["none", "append"]
    value_coefficient: float
    entropy_coefficient: float
    critic_initializer: Initializer = "uniform"
    critic: Network = field(init=False)
    online: Online = field(init=False)

    def __post_init__(self) -> None:
        features = self.env.observation_size + (self.clock == "append")
        sizes = features, *self.critic_hidden, 1
        critic = Network(sizes, bias=bool(self.critic_hidden), initializer=self.critic_initializer)
        object.__setattr__(self, "critic", critic)
        object.__setattr__(self, "online", Online(self.env, self.environments))

    def initial(self, seeds: Sequence[int]) -> State:
        theta = self.policy.network.initial(streams(seeds, "policy weights"))
        w = self.critic.initial(streams(seeds, "critic V weights"))
        weights = torch.cat([theta, w], 1)  # what the optimiser steps and clips as one
        parts = prefixed("optimizer", self.optimizer.initial(weights)) | prefixed("online", self.online.initial(seeds))
        return {"weights": weights} | parts

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        weights, moments = state["weights"], part("optimizer", state)
        walk = self.online.walk(part("online", state), seeds, iteration, self.updates * self.n_steps)
        shape = self.updates * self.n_steps, self.environments
        draws = np.stack([self.policy.draws(source, shape) for source in streams(seeds, "actions", iteration)], axis=1)
        estimates = []
        for update in range(self.updates):
            first = update * self.n_steps
            steps = self.collect(weights, walk, draws[first : first + self.n_steps])
            estimates.append(self.estimate(weights, steps))
            step = (iteration - 1) * self.updates + update + 1
            weights, moments = self.optimizer.ascend(weights, estimates[-1].gradient, moments, step)

        values, targets = (np.concatenate([getattr(e, name) for e in estimates], 1) for name in ("values", "targets"))
        record = walk.summary() | {
            "entropy": mean_of_updates([e.entropy for e in estimates]),
            "grad_norm": mean_of_updates([norm(e.gradient) for e in estimates]),
        }
        record |= quality(values, targets, np.full(len(seeds), values.shape[1]))
        return {"weights": weights} | prefixed("optimizer", moments) | prefixed("online", walk.state()), record

    def collect(self, weights: Tensor, walk: Walk, draws: NDArray) -> "Steps":
        """The next n steps of every environment, with the draws of their actions [n, S, N, ...]."""
        act = self.policy.network.at(self.actor_and_critic(weights)[0])
        rows = []
        for z in draws:
            observations, times = walk.observations, walk.times
            actions = self.policy.sample(act(torch.from_numpy(observations))[0], z)
            step = walk.step(actions)
            rows.append(
                (observations, times, actions, step.rewards, step.next_observations, step.terminated, step.truncated)
            )
        return Steps(*(np.stack(column, axis=2) for column in zip(*rows, strict=True)))

    def estimate(self, weights: Tensor, steps: "Steps") -> "ActorCriticGradient":
        """The gradient [S, P] of both objectives, from the n N steps of each seed."""
        theta, w = self.actor_and_critic(weights)
        S, N, n = steps.rewards.shape
        rows = n * N

        # A_t = G_t - V_w(s_t)
        x = self.seen(steps.observations, steps.times)
        following = self.seen(steps.next_observations, steps.times + 1)
        predicted, inputs = self.critic.forward(w, torch.cat([x, following], 1))
        values, next_values = predicted[..., 0].numpy().astype(np.float64).reshape(S, 2, N, n).swapaxes(0, 1)
        targets = n_step_returns(steps.rewards, next_values, steps.terminated, steps.truncated, self.gamma)
        A = torch.from_numpy((targets - values).astype(np.float32)).view(S, rows, 1)

        for_w = self.critic.gradient(w, [h[:, :rows] for h in inputs], 2 * self.value_coefficient / rows * A)
        outputs, inputs = self.policy.network.forward(theta, _rows(steps.observations))
        d = A * self.policy.score(outputs, _rows(steps.actions))
        if self.entropy_coefficient:
            d += self.entropy_coefficient * self.policy.entropy_score(outputs)
        for_theta = self.policy.network.gradient(theta, inputs, d / rows)
        entropy = self.policy.entropy(outputs).mean(1)
        return ActorCriticGradient(
            torch.cat([for_theta, for_w], 1), values.reshape(S, rows), targets.reshape(S, rows), entropy
        )

    def seen(self, observations: NDArray, times: NDArray) -> Tensor:
        """What the critic sees of each step, [S, n N, D]."""
        x = _rows(observations)
        if self.clock == "none":
            return x
        return torch.cat([x, _rows((times / self.env.horizon).astype(np.float32))[..., None]], -1)

    def actor_and_critic(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Views of theta and w in weights [S, P]."""
        size = self.policy.network.num_parameters
        return weights[:, :size], weights[:, size:]

    def deterministic(self, state: State) -> tuple[Environment, Actor, Tensor]:
        return self.env, Greedy(self.policy), self.actor_and_critic(state["weights"])[0]


@dataclass(frozen=True)
class Steps:
    """n steps of every environment: [S,N,n] each, observations with a trailing axis, and actions where continuous."""

    observations: NDArray[np.float32]
    times: NDArray[np.int64]
    actions: NDArray
    rewards: Floats
    next_observations: NDArray[np.float32]
    terminated: Bools
    truncated: Bools


@dataclass(frozen=True)
class ActorCriticGradient:
    """The gradient [S,P] to ascend, and what it was made of: V_w and its targets [S, n N], mean entropy [S]."""

    gradient: Tensor
    values: Floats
    targets: Floats
    entropy: Tensor


def n_step_returns(rewards: Floats, next_values: Floats, terminated: Bools, truncated: Bools, gamma: float) -> Floats:
    """G_t = r_t + gamma * { 0 if s_{t+1} is terminal; V(s_{t+1}) if truncated there, or t is last; G_{t+1} else }.

    Arrays are [..., n], time last; next_values hold V of the true next observations, also where an episode ended.
    Source: Sutton & Barto (2018), eq. 7.1.
    """
    bootstrap = np.where(terminated, 0.0, next_values)
    ended = terminated | truncated
    returns = np.empty_like(rewards)
    following = bootstrap[..., -1]
    for t in range(rewards.shape[-1] - 1, -1, -1):
        following = rewards[..., t] + gamma * np.where(ended[..., t], bootstrap[..., t], following)
        returns[..., t] = following
    return returns


def _rows(x: NDArray) -> Tensor:
    """[S, N, n, ...] -> [S, N n, ...]"""
    return torch.from_numpy(x).flatten(1, 2)
