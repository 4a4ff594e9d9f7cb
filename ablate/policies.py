"""pi(a|s): categorical and diagonal Gaussian policies, sampled, scored and measured.

A policy turns a network's outputs [S, R, O] into a distribution. `score` is grad log pi(a|s) with respect to those
outputs, in closed form as on the slides; `gradients` carries it on to the parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import e, log, pi
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.networks import Initializer, Network


class Actor(Protocol):
    """What acts: all that a rollout asks for."""

    @property
    def network(self) -> Network: ...

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        """The randomness of actions, drawn ahead: shape (episodes, steps) -> [episodes, steps, ...]."""
        ...

    def sample(self, outputs: Tensor, draws: NDArray) -> NDArray:
        """a ~ pi(.|s), a function of the outputs [S, R, O] and the draws [S, R, ...]."""
        ...


@runtime_checkable
class Policy(Actor, Protocol):
    """A distribution over actions that can be scored."""

    network: Network

    def mode(self, outputs: Tensor) -> NDArray:
        """The most likely action, [S, R, ...]; the first of equals."""
        ...

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """log pi(a|s), [S, R]."""
        ...

    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """d log pi(a|s) / d outputs, [S, R, O]."""
        ...

    def entropy(self, outputs: Tensor) -> Tensor:
        """H(pi(.|s)) in nats, [S, R]."""
        ...

    def entropy_score(self, outputs: Tensor) -> Tensor:
        """d H(pi(.|s)) / d outputs, [S, R, O]."""
        ...


def _network(sizes: tuple[int, ...], initializer: Initializer, **more: Any) -> Network:
    # A small last layer: the first policy is close to uniform, whatever the observation.
    return Network(sizes, bias=len(sizes) > 2, last_scale=0.01, initializer=initializer, **more)


def _log_softmax(outputs: Tensor) -> Tensor:
    """log softmax over the actions, outputs [S, R, A].

    Along an axis that is not the last torch is several times as fast, with the same bits for few actions and whole
    vectors of rows; what is left of a vector it works out in another way.
    """
    if outputs.shape[2] >= 8 or outputs.shape[1] % 16:
        return torch.log_softmax(outputs, 2)
    return torch.log_softmax(outputs.transpose(1, 2).contiguous(), 1).transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Categorical:
    """pi(a|s) = softmax(f_theta(s))_a over a = 0 .. A-1. Slide "Parameterising the policy".

    ``initial_logits`` [A] are the logits of the first policy in every state (of observations that are one-hot or
    constant; with hidden layers nearly so); None: uniform. ``initializer``: of the weights, `Network.initial`.
    """

    observation_size: int
    action_size: int
    hidden: Sequence[int] = ()
    initial_logits: Sequence[float] | None = None
    initializer: Initializer = "uniform"
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        first = None if self.initial_logits is None else tuple(map(float, self.initial_logits))
        sizes = self.observation_size, *self.hidden, self.action_size
        object.__setattr__(self, "network", _network(sizes, self.initializer, first_outputs=first))

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return stream.random(shape)

    def sample(self, outputs: Tensor, draws: NDArray) -> NDArray:
        """Inverse-CDF: the first a with u * sum_b exp(f_b) < sum_{b <= a} exp(f_b)."""
        cdf = outputs.numpy().transpose(2, 0, 1).copy()  # actions first: NumPy is slow along a short last axis
        cdf -= np.maximum.reduce(cdf)
        np.exp(cdf, cdf)
        for before, weight in pairwise(cdf):
            weight += before
        return np.add.reduce(draws * cdf[-1] >= cdf[:-1], dtype=np.int64)

    def mode(self, outputs: Tensor) -> NDArray:
        return outputs.numpy().argmax(-1)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        return _log_softmax(outputs).gather(-1, actions[..., None])[..., 0]

    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """onehot(a) - pi(.|s)"""
        score = _log_softmax(outputs).exp_().neg_()
        return score.scatter_add_(-1, actions[..., None], torch.ones_like(score[..., :1]))

    def entropy(self, outputs: Tensor) -> Tensor:
        log_probs = _log_softmax(outputs)
        return -(log_probs.exp() * log_probs).sum(-1)

    def entropy_score(self, outputs: Tensor) -> Tensor:
        """-pi(a|s) (log pi(a|s) + H)"""
        log_probs = _log_softmax(outputs)
        weighted = log_probs.exp() * log_probs
        return log_probs.exp() * weighted.sum(-1, keepdim=True) - weighted


@dataclass(frozen=True)
class Gaussian:
    """a = mu_theta(s) + sigma z, z ~ N(0, I), diagonal. Slide "Gaussian log-probability".

    ``sigma`` is the initial standard deviation; it stays (``spread="constant"``), is learned as one number per action
    dimension (``"learned"``), or is a function of the state (``"state"``). Network outputs are [mu] or
    [mu, log(sigma_t / sigma)]. ``initializer``: of the weights, `Network.initial`.
    """

    observation_size: int
    action_size: int
    hidden: Sequence[int] = ()
    sigma: float = 1.0
    spread: Literal["constant", "learned", "state"] = "learned"
    initializer: Initializer = "uniform"
    network: Network = field(init=False)

    def __post_init__(self) -> None:
        size = self.action_size
        outputs, free = {"constant": (size, 0), "learned": (size, size), "state": (2 * size, 0)}[self.spread]
        sizes = self.observation_size, *self.hidden, outputs
        object.__setattr__(self, "network", _network(sizes, self.initializer, free=free))

    def mean_and_log_sigma(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mu = outputs[..., : self.action_size]
        if self.spread == "constant":
            return mu, torch.full_like(mu, log(self.sigma))
        return mu, outputs[..., self.action_size :] + log(self.sigma)

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return stream.standard_normal((*shape, self.action_size))

    def sample(self, outputs: Tensor, draws: NDArray) -> NDArray:
        mu, log_sigma = (x.numpy() for x in self.mean_and_log_sigma(outputs))
        return (mu + np.exp(log_sigma) * draws).astype(np.float32)

    def mode(self, outputs: Tensor) -> NDArray:
        return self.mean_and_log_sigma(outputs)[0].numpy()

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """-1/2 sum_j [log(2 pi sigma_j^2) + (a_j - mu_j)^2 / sigma_j^2]"""
        mu, log_sigma = self.mean_and_log_sigma(outputs)
        z = (actions - mu) * torch.exp(-log_sigma)
        return -0.5 * (log(2 * pi) + 2 * log_sigma + z * z).sum(-1)

    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """(a - mu) / sigma^2 for mu, (a - mu)^2 / sigma^2 - 1 for log sigma"""
        mu, log_sigma = self.mean_and_log_sigma(outputs)
        inverse = torch.exp(-log_sigma)
        z = (actions - mu) * inverse
        return z * inverse if self.spread == "constant" else torch.cat([z * inverse, z * z - 1], -1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """sum_j [log sigma_j + 1/2 log(2 pi e)]"""
        return (self.mean_and_log_sigma(outputs)[1] + 0.5 * log(2 * pi * e)).sum(-1)

    def entropy_score(self, outputs: Tensor) -> Tensor:
        """0 for mu, 1 for log sigma"""
        score = torch.zeros_like(outputs)
        score[..., self.action_size :] = 1
        return score


@dataclass(frozen=True)
class Greedy:
    """The mode of a policy: argmax_a pi(a|s) where actions are discrete, mu(s) of a Gaussian."""

    policy: Policy

    @property
    def network(self) -> Network:
        return self.policy.network

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return np.empty((*shape, 0))

    def sample(self, outputs: Tensor, draws: NDArray) -> NDArray:
        return self.policy.mode(outputs)


@dataclass(frozen=True)
class GreedyValues:
    """argmax_a Q(s, a) of a network with an output an action; the first of equals."""

    network: Network

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return np.empty((*shape, 0))

    def sample(self, outputs: Tensor, draws: NDArray) -> NDArray:
        return outputs.numpy().argmax(-1)
