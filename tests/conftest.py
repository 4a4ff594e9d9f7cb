"""What the engine's tests share: composed jobs, small MDPs, made-up episodes, networks and policies by autograd, and a
browser."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any

from jaxtyping import install_import_hook

SHAPED = "ablate.discounted_sums", "ablate.phi", "ablate.baselines", "ablate.gradients"
install_import_hook(SHAPED, "shapes.check")  # before they are imported

import numpy as np
import pytest
import torch
from chromium import Chromium, executable
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import settings
from numpy.typing import ArrayLike, NDArray
from omegaconf import DictConfig
from torch import Tensor, distributions

from ablate import build
from ablate.configuration import CONF, IncompatibleSettings, Job, resolve
from ablate.critics import Critic
from ablate.envs.base import Continuous, Discrete
from ablate.episodes.trajectories import Trajectories
from ablate.estimator import Estimator
from ablate.mdp import MDP
from ablate.networks import Network
from ablate.policies import Categorical, Gaussian, Policy
from ablate.randomness import streams

torch.set_num_threads(1)  # as the engine's processes do: bits are promised for one thread

# The same examples at every run: a failure is a change of the code, never of the dice.
settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("deterministic")


@cache
def composed(*overrides: str) -> DictConfig:
    """What Hydra makes of a command line. Shared between tests, as is the next: leave it as it is."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("config", list(overrides))


@cache
def compose(*overrides: str) -> Job:
    """The job that `python -m ablate OVERRIDES` runs."""
    return resolve(composed(*overrides), overrides)


def choices(group: str) -> list[str]:
    """The yaml files of a group, as one writes them on the command line."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def variants() -> tuple[tuple[str, str], ...]:
    """Every (phi, baseline) that the configuration does not refuse."""
    allowed = []
    for phi, baseline in product(choices("phi"), choices("baseline")):
        try:
            compose(f"phi={phi}", f"baseline={baseline}")
        except IncompatibleSettings:
            continue
        allowed.append((phi, baseline))
    return tuple(allowed)


def variant(phi: str, baseline: str, **settings: Any) -> Job:
    """phi=... baseline=... and other settings at the top of the configuration."""
    job = compose(f"phi={phi}", f"baseline={baseline}")
    return replace(job, config=job.config | settings)


def estimator_of(job: Job) -> Estimator:
    return build.estimator(job.config, job.config)


def critic_of(job: Job, env: Any, policy: Policy) -> Critic | None:
    return build.critic(job.config["critic"], build.needs(job.config), env, policy)


# Small MDPs


def cut_short(gamma: float = 0.9) -> MDP:
    """Two steps, two states and a terminal one, so that episodes are ragged; random rewards. 20 trajectories."""
    P = [
        [[0.0, 0.75, 0.25], [0.0, 0.0, 1.0]],
        [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
    ]
    R = [
        [[0.0, 1.5, -1.0], [0.0, 0.0, 0.7]],
        [[2.0, -0.5, 0.0], [0.0, 0.4, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
    logits = [[0.4, -0.3], [-0.2, 0.5], [0.0, 0.0]]
    return MDP.from_dense(P, R, [0.6, 0.4, 0.0], 2, gamma, terminal=[False, False, True], logits=logits)


def three_steps(gamma: float = 0.8) -> MDP:
    """Three steps, two states, sure transitions: the action is where one goes. 8 trajectories."""
    P = [[[1.0, 0.0], [0.0, 1.0]]] * 2
    return MDP.from_dense(P, [[1.0, -0.5], [2.0, 0.3]], [1.0, 0.0], 3, gamma, logits=[[0.3, -0.2], [-0.6, 0.1]])


# Made-up episodes


def space(policy: Policy) -> Any:
    """An environment as far as a critic looks at one."""
    assert isinstance(policy, Categorical | Gaussian)
    actions = (Continuous if isinstance(policy, Gaussian) else Discrete)(policy.action_size)
    return SimpleNamespace(observation_size=policy.network.sizes[0], actions=actions, horizon=40)


def parameters(network: Network, seeds: Sequence[int]) -> Tensor:
    """theta [S, P] away from the start, where a policy is close to uniform and a linear network 0."""
    drawn = [stream.normal(0, 0.4, network.num_parameters) for stream in streams(seeds, "a test's parameters")]
    return torch.from_numpy(np.stack(drawn).astype(np.float32))


def episodes_of(policy: Policy, theta: Tensor, lengths: ArrayLike, seed: int = 0) -> Trajectories:
    """Episodes of the given lengths [S, N] with random observations and rewards, and actions a ~ pi_theta.

    Every other one was cut by a time limit.
    """
    rng = np.random.default_rng(seed)
    steps = np.asarray(lengths)
    S, N, T = *steps.shape, int(steps.max())
    mask = np.arange(T) < steps[..., None]
    observations = rng.normal(size=(S, N, T + 1, policy.network.sizes[0])).astype(np.float32)
    noise = policy.draws(rng, (S * N, T + 1))
    outputs = policy.network.forward(theta, torch.from_numpy(observations.reshape(S, N * (T + 1), -1)))[0]
    actions = policy.sample(outputs, noise.reshape(S, N * (T + 1), *noise.shape[2:]))
    actions = actions.reshape(S, N, T + 1, *actions.shape[2:])
    taken = [x[:, :, :T] * mask.reshape(S, N, T, *(1,) * (x.ndim - 3)) for x in (observations, actions)]
    rewards = rng.normal(1, 2, (S, N, T)) * mask
    terminated = np.arange(S * N).reshape(S, N) % 2 == 0
    return Trajectories(*taken, rewards, steps, terminated, observations[:, :, T], actions[:, :, T])


# The same in plain torch, one seed at a time: theta [P], rows [R, ...]


def plain_network(network: Network, theta: Tensor, x: Tensor) -> Tensor:
    start = 0
    for k, (i, o) in enumerate(pairwise(network.sizes)):
        x = (getattr(torch, network.activation)(x) if k else x) @ theta[start : start + i * o].reshape(i, o)
        start += i * o
        if network.bias:
            x = x + theta[start : start + o]
            start += o
    assert len(theta) == start + network.free
    return torch.cat([x, theta[start:].expand(len(x), -1)], -1)


def plain_distribution(policy: Policy, outputs: Tensor) -> distributions.Distribution:
    """torch's own pi(.|s) for network outputs [..., O]."""
    if isinstance(policy, Categorical):
        return distributions.Categorical(logits=outputs)
    assert isinstance(policy, Gaussian)
    mu, free = outputs[..., : policy.action_size], outputs[..., policy.action_size :]
    sigma = policy.sigma * (torch.ones_like(mu) if policy.spread == "constant" else free.exp())
    return distributions.Independent(distributions.Normal(mu, sigma), 1)


def plain_log_prob(policy: Policy, theta: Tensor, observations: NDArray, actions: NDArray) -> Tensor:
    """log pi_theta(a|s) of each row, in double precision."""
    outputs = plain_network(policy.network, theta, torch.from_numpy(observations).double())
    chosen = torch.from_numpy(actions)
    return plain_distribution(policy, outputs).log_prob(chosen if chosen.dtype == torch.int64 else chosen.double())


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """|found - wanted| / |wanted|, the largest over seeds [S, P]."""
    difference = (found.double() - wanted.double()).norm(dim=1)
    return float((difference / wanted.double().norm(dim=1)).max())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = executable()
    assert program
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
