"""Q actor-critic, Algorithm 1 of the slides: actor and critic learn at every step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate import build
from ablate.critics import Approximator
from ablate.envs.base import Markov
from ablate.episodes.online import Online
from ablate.learners.base import Record, State, part, prefixed
from ablate.policies import Greedy, Policy
from ablate.randomness import streams


def learner(config: Mapping[str, Any]) -> "QActorCritic":
    """The learner of a resolved configuration."""
    env, settings = build.environment(config), config["algorithm"]
    return QActorCritic(
        env=env,  # type: ignore[arg-type]
        policy=build.policy(config, env),
        critic=Approximator.build(env.observation_size, settings["critic_hidden"], env.actions),
        gamma=config["gamma"],
        lr=settings["lr"],
        critic_lr=settings["critic_lr"],
        steps=settings["steps"],
    )


@dataclass(frozen=True)
class QActorCritic:
    """At every step, with a ~ pi_theta(.|s) carried over from the step before:

        take a, see r and s';  a' ~ pi_theta(.|s')
        theta <- theta + lr Q_w(s,a) grad log pi_theta(a|s)
        delta  = r + gamma Q_w(s',a') - Q_w(s,a)
        w     <- w + critic_lr delta grad Q_w(s,a)
        a <- a', s <- s'

    Termination stops the bootstrap, truncation does not; the next episode then begins with an action of its own,
    drawn as a' is, before the update. Q_w is linear in the observation (a table where that is one-hot), or a multilayer
    perceptron; the first Q_w is 0 where it is linear.

    Of a record, grad_norm is the norm of the mean Q_w grad log pi over the iteration's `steps` steps, critic_loss the
    mean delta^2.

    Slide "Q actor-critic", Algorithm 1.
    """

    env: Markov
    policy: Policy
    critic: Approximator
    gamma: float
    lr: float
    critic_lr: float
    steps: int

    def initial(self, seeds: Sequence[int]) -> State:
        theta = self.policy.network.initial(streams(seeds, "policy weights"))
        w = self.critic.network.initial(streams(seeds, "critic Q weights"))
        online = Online(self.env, 1).initial(seeds)
        s = torch.from_numpy(self.env.observe(online["state"].numpy()))
        draws = np.stack([self.policy.draws(source, (1,)) for source in streams(seeds, "actions")])
        a = self.policy.sample(self.policy.network.forward(theta, s)[0], draws)
        return {"theta": theta, "w": w, "action": torch.from_numpy(a)} | prefixed("online", online)

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        theta, w, a = state["theta"], state["w"], state["action"]
        walk = Online(self.env, 1).walk(part("online", state), seeds, iteration, self.steps)
        sources = streams(seeds, "actions", iteration)
        draws = np.stack([self.policy.draws(source, (self.steps, 2)) for source in sources], axis=1)  # [steps, S, 2]
        squares = np.zeros(len(seeds))

        for n in range(self.steps):
            s = torch.from_numpy(walk.observations)
            step = walk.step(a.numpy())
            # s' and, where it ended the episode, the first state of the next; an action for each.
            following = torch.from_numpy(np.concatenate([step.next_observations, walk.observations], axis=1))
            drawn = torch.from_numpy(self.policy.sample(self.policy.network.forward(theta, following)[0], draws[n]))

            q, inputs = self.critic.predict(w, s, a)
            following_q, _ = self.critic.predict(w, following[:, :1], drawn[:, :1])
            bootstrap = following_q * torch.from_numpy(~step.terminated)
            delta = torch.from_numpy(step.rewards).float() + self.gamma * bootstrap - q

            theta = theta + self.lr * self._policy_gradient(theta, s, a, q)
            w = w + self.critic_lr * self.critic.gradient(w, inputs, a, delta)

            begins = torch.from_numpy(step.ended).reshape(-1, *[1] * (drawn.ndim - 1))
            a = torch.where(begins, drawn[:, 1:], drawn[:, :1])
            squares += delta[:, 0].double().square().numpy()

        mean_step = (theta - state["theta"]).double() / (self.lr * self.steps)
        record = walk.summary() | {
            "critic_loss": squares / self.steps,
            "grad_norm": mean_step.square().sum(1).sqrt().numpy(),
        }
        return {"theta": theta, "w": w, "action": a} | prefixed("online", walk.state()), record

    def _policy_gradient(self, theta: Tensor, s: Tensor, a: Tensor, q: Tensor) -> Tensor:
        """Q_w(s,a) grad log pi_theta(a|s), [S, P]."""
        outputs, inputs = self.policy.network.forward(theta, s)
        return self.policy.network.gradient(theta, inputs, self.policy.score(outputs, a) * q[..., None])

    def deterministic(self, state: State) -> tuple[Markov, Greedy, Tensor]:
        """The mode of the policy."""
        return self.env, Greedy(self.policy), state["theta"]
