"""Known models: the exact V, Q and grad J of the policy that a run is at, where the environment tells its model."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import exact, lqg
from ablate.envs import base
from ablate.envs.base import Environment, Float32
from ablate.episodes.trajectories import Trajectories
from ablate.errors import UserError
from ablate.mdp import MDP
from ablate.networks import Network
from ablate.phi import Signals
from ablate.policies import Gaussian, Policy

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Model(Protocol):
    """What is known of an environment, with the policy class that acts in it. theta is [S, P]."""

    def evaluate(self, theta: Tensor, episodes: Trajectories, signals: Signals) -> Signals:
        """The signals with the exact V_t and Q_t of each seed's policy, V = 0 at the horizon."""
        ...

    def gradient(self, theta: Tensor, gamma: float) -> Floats | None:
        """The exact grad J [S, P] of each seed's policy; None where not every parameter's is known."""
        ...


def known(env: Environment, policy: Policy) -> Model | None:
    """The model of an environment, or None where it has none, or none that fits the policy."""
    if isinstance(env, base.FiniteModel):
        return TabularModel(env.mdp, policy)
    if not isinstance(env, base.LinearQuadraticEnvironment) or not isinstance(policy, Gaussian):
        return None
    linear = isinstance(policy.network, Network) and not policy.hidden and policy.spread != "state"
    return LinearQuadraticModel(env.lqg, policy) if linear else None


@dataclass(frozen=True)
class TabularModel:
    """A finite MDP and any policy of its features, by dynamic programming (`ablate.exact`)."""

    mdp: MDP
    policy: Policy

    def evaluate(self, theta: Tensor, episodes: Trajectories, signals: Signals) -> Signals:
        if not self.mdp.states_are_seen:
            raise UserError("critic=exact needs to see the state, which this environment hides; write critic=lambda")
        mdp = replace(self.mdp, gamma=signals.gamma)
        V, Q = (np.stack(x) for x in zip(*(exact.values(mdp, pi) for pi in self.policies(theta)), strict=True))
        S, _, T = signals.mask.shape
        seeds, times, states = np.arange(S)[:, None, None], np.arange(T), self._states(episodes)
        values = V[seeds, times, states] * signals.mask
        action_values = Q[seeds, times, states, episodes.actions] * signals.mask
        following = np.zeros_like(values)  # and 0 after the last step: there a terminal state or the horizon is reached
        following[..., :-1] = values[..., 1:]
        return replace(signals, values=values, next_values=following, action_values=action_values)

    def gradient(self, theta: Tensor, gamma: float) -> Floats:
        return exact.gradient(replace(self.mdp, gamma=gamma), self.policies(theta), self._scores(theta))

    def fisher(self, theta: Tensor, discount: float) -> Floats:
        """F = sum_t w^t E[z_t z_t'] of each seed's policy, w the ``discount``: [S, P, P]."""
        weights = discount ** np.arange(self.mdp.horizon)
        found = []
        for pi, z in zip(self.policies(theta), self._scores(theta), strict=True):
            share = (weights @ exact.occupancy(self.mdp, pi))[:, None] * pi
            flat = z.reshape(-1, z.shape[-1])
            found.append((share.reshape(-1, 1) * flat).T @ flat)
        return np.stack(found)

    def ground_truths(self, theta: Tensor, gamma: float, discount_scores: bool) -> list[exact.GroundTruth]:
        """Everything exact about each seed's policy."""
        mdp = replace(self.mdp, gamma=gamma)
        both = zip(self.policies(theta), self._scores(theta), strict=True)
        return [exact.GroundTruth(mdp, pi, z, discount_scores=discount_scores) for pi, z in both]

    def _states(self, episodes: Trajectories) -> Integers:
        """The state of each step taken, [S,N,T]: the one that looks so among those in which one acts."""
        acting = np.flatnonzero(~self.mdp.terminal)
        looks = _as_bytes(self.mdp.features[acting].astype(np.float32))
        order = looks.argsort()
        states = np.zeros(episodes.mask.shape, np.int64)
        seen = np.searchsorted(looks, _as_bytes(episodes.observations[episodes.mask]), sorter=order)
        states[episodes.mask] = acting[order[seen]]
        return states

    def policies(self, theta: Tensor) -> Floats:
        """pi(a|s) of each seed, [S, states, A]."""
        features = torch.from_numpy(self.mdp.features.astype(np.float32)).expand(len(theta), -1, -1)
        logits, _ = self.policy.network.forward(theta, features.contiguous())
        return exact.softmax(logits.numpy().astype(np.float64))

    def _scores(self, theta: Tensor) -> Floats:
        """grad_theta log pi(a|s) of each seed, [S, states, A, P]."""
        pi = self.policies(theta)
        network = self.policy.network
        if isinstance(network, Network) and len(network.sizes) == 2:
            return np.stack([exact.scores(p, self.mdp.features) for p in pi])
        every = np.eye(pi.shape[2]) - pi[:, :, None]  # [S, states, A, A]
        both = zip(theta, every, strict=True)
        return np.stack([_pulled_back(network, row, d, self.mdp.features) for row, d in both])

    def jacobians(self, theta: Tensor) -> Floats | None:
        """d logits / d theta of each seed's states, [S, states, A, P]; None where the policy is a table of logits."""
        network = self.policy.network
        if isinstance(network, Network) and len(network.sizes) == 2 and self.mdp.states_are_seen:
            return None
        shape = self.mdp.num_states, self.mdp.num_actions
        every = np.broadcast_to(np.eye(shape[1]), (*shape, shape[1]))
        return np.stack([_pulled_back(network, row, every, self.mdp.features) for row in theta])


def _as_bytes(rows: Float32) -> NDArray[np.void]:
    """Each row [R,D] as one thing to compare, [R]."""
    return np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}")[:, 0]


ROWS = 256  # gradients that are worked out at a time


def _pulled_back(network: Network, theta: Tensor, d: Floats, features: Floats) -> Floats:
    """Gradients of one seed's network for output scores d [states, A, outputs], [states, A, P]: each by itself."""
    states, actions = d.shape[:2]
    x = torch.from_numpy(np.repeat(features, actions, axis=0).astype(np.float32))[:, None]
    scores = torch.from_numpy(d.reshape(states * actions, 1, -1).astype(np.float32))
    found = []
    for some, own in zip(x.split(ROWS), scores.split(ROWS), strict=True):
        rows = theta.expand(len(some), -1).contiguous()
        _, inputs = network.forward(rows, some)
        found.append(network.gradient(rows, inputs, own))
    return torch.cat(found).numpy().astype(np.float64).reshape(states, actions, -1)


@dataclass(frozen=True)
class LinearQuadraticModel:
    """Linear-quadratic control and a linear Gaussian policy, in closed form (`ablate.lqg`)."""

    problem: lqg.LQG
    policy: Gaussian

    def evaluate(self, theta: Tensor, episodes: Trajectories, signals: Signals) -> Signals:
        evaluation = self._evaluate(theta, signals.gamma)
        final = episodes.final_observations[:, :, None]
        states = np.concatenate([episodes.observations, final], 2).astype(
            np.float64
        )  # all episodes last to the horizon
        values = evaluation.V(states)
        action_values = evaluation.Q(states[:, :, :-1], episodes.actions.astype(np.float64))
        return replace(signals, values=values[..., :-1], next_values=values[..., 1:], action_values=action_values)

    def gradient(self, theta: Tensor, gamma: float) -> Floats | None:
        if self.policy.spread != "constant":  # dJ/d(log sigma) is not known here
            return None
        return np.swapaxes(self._evaluate(theta, gamma).gradient, -1, -2).reshape(len(theta), -1)

    def _evaluate(self, theta: Tensor, gamma: float) -> Any:
        ((weight, _),) = self.policy.network.layers(theta)
        at_zero, _ = self.policy.network.forward(theta, torch.zeros(len(theta), 1, weight.shape[1]))
        sigma = np.exp(self.policy.mean_and_log_sigma(at_zero)[1].numpy().astype(np.float64))[:, 0]
        K = np.swapaxes(weight.numpy().astype(np.float64), -1, -2)
        return lqg.evaluate(
            replace(self.problem, gamma=gamma), K, np.square(sigma)[..., None] * np.eye(sigma.shape[-1])
        )
