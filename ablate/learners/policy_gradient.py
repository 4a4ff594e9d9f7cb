"""The policy gradient of the lecture, any Phi_t and any baseline, for many seeds side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ablate import build
from ablate.critics import Critic
from ablate.discounted_sums import first_plus_mean, ordered_sum
from ablate.envs.base import Environment, Recorded
from ablate.episodes.by_steps import rollout_steps
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.estimator import Estimator
from ablate.gradients import policy_gradient, score_products, signals_of
from ablate.learners.base import Record, State, part, prefixed
from ablate.optimizers import Optimizer
from ablate.policies import Actor, Greedy, Policy
from ablate.randomness import streams


def learner(config: Mapping[str, Any]) -> "PolicyGradient":
    """The learner of a resolved configuration."""
    env = build.environment(config)
    policy = build.policy(config, env)
    return PolicyGradient(
        env=env,
        policy=policy,
        estimator=build.estimator(config, config),
        critic=build.critic(config["critic"], build.needs(config), env, policy),
        optimizer=build.optimizer(config, env, policy),
        episodes=config["episodes"],
        batch_steps=config.get("batch_steps"),
        gamma=config["gamma"],
    )


@dataclass(frozen=True)
class PolicyGradient:
    """grad J = E[ sum_t grad log pi(a_t|s_t) (Phi_t - b_t) ], ascended. Slide "How would you implement this?"."""

    env: Environment
    policy: Policy
    estimator: Estimator
    critic: Critic | None
    optimizer: Optimizer
    episodes: int | None  # of a batch, N; None where it is by steps
    batch_steps: int | None
    gamma: float

    def initial(self, seeds: Sequence[int]) -> State:
        # 1. Initialise the policy (and its critic, if Phi or the baseline asks for one).
        theta = self.policy.network.initial(streams(seeds, "policy weights"))
        critic = self.critic.initial(seeds) if self.critic else {}
        return {"theta": theta} | prefixed("optimizer", self.optimizer.initial(theta)) | prefixed("critic", critic)

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        theta, critic, moments = state["theta"], part("critic", state), part("optimizer", state)

        # 2. Collect N episodes with the current policy.
        episodes = self._collect(theta, seeds, iteration)

        # 3. Estimate the gradient.
        signals = signals_of(self.policy, theta, episodes, self.gamma)
        if self.critic:
            signals = self.critic.evaluate(critic, self.policy, theta, episodes, signals)
        weights = self.estimator.weights(signals, score_products(self.policy, theta, episodes))  # w_t (Phi_t - b_t)
        gradient, entropy = policy_gradient(self.policy, theta, episodes, weights)

        # 4. Ascend.
        theta, moments = self.optimizer.ascend(theta, gradient, moments, iteration)

        # The critic learns from these episodes after they were judged: what it learns is independent of their scores.
        learnt: Record = {}
        if self.critic:
            critic, learnt = self.critic.fit(critic, episodes, signals, seeds, iteration)

        # 5. Repeat.
        norm = gradient.double().square().sum(1).sqrt().numpy()
        more = self.env.record(episodes.actions) if isinstance(self.env, Recorded) else {}
        record = summary(episodes) | {"entropy": entropy, "grad_norm": norm} | learnt | more
        return {"theta": theta} | prefixed("optimizer", moments) | prefixed("critic", critic), record

    def _collect(self, theta: Tensor, seeds: Sequence[int], iteration: int) -> Trajectories:
        sources = streams(seeds, "environment", iteration), streams(seeds, "actions", iteration)
        if self.batch_steps is not None:
            return rollout_steps(self.policy, theta, self.env, self.batch_steps, *sources)
        assert self.episodes is not None
        return rollout(self.policy, theta, self.env, self.episodes, *sources)

    def probed(self, state: State) -> tuple[Tensor, State, State]:
        return state["theta"], part("critic", state), part("optimizer", state)

    def deterministic(self, state: State) -> tuple[Environment, Actor, Tensor]:
        return self.env, Greedy(self.policy), state["theta"]


def summary(episodes: Trajectories) -> Record:
    """The returns (undiscounted) and lengths of a batch of episodes, [S] each."""
    returns, played = ordered_sum(episodes.rewards, axis=2), episodes.played
    mean, N = first_plus_mean(returns, played), played.sum(1)
    spread = ordered_sum((returns - mean[:, None]) ** 2 * played, axis=1) / np.maximum(N - 1, 1)
    steps = episodes.lengths.sum(1)
    return {
        "env_steps": steps,
        "episodes": N,
        "return_mean": mean,
        "return_std": np.sqrt(spread),
        "episode_length_mean": steps / N,
    }
