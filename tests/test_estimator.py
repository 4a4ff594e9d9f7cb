"""The estimator against the slide's pseudocode, and whitening."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from conftest import (
    critic_of,
    episodes_of,
    estimator_of,
    parameters,
    plain_log_prob,
    relative_error,
    space,
    variant,
    variants,
)
from numpy.typing import NDArray
from torch import Tensor

from ablate.configuration import Job
from ablate.episodes.trajectories import Trajectories
from ablate.estimator import Estimator
from ablate.gradients import policy_gradient, score_products
from ablate.phi import Signals
from ablate.policies import Categorical, Gaussian, Policy

POLICIES: dict[str, Callable[[], Policy]] = {
    "categorical linear": lambda: Categorical(3, 3),
    "categorical": lambda: Categorical(3, 3, [8, 5]),
    "gaussian linear": lambda: Gaussian(3, 2, [], 0.7, "learned"),
    "gaussian constant": lambda: Gaussian(3, 2, [8, 5], 0.7, "constant"),
    "gaussian learned": lambda: Gaussian(3, 2, [8, 5], 0.7, "learned"),
    "gaussian state": lambda: Gaussian(3, 2, [8, 5], 0.7, "state"),
    "gaussian state linear": lambda: Gaussian(3, 2, [], 0.7, "state"),
}
LENGTHS = [[5, 1, 9, 4], [2, 2, 1, 3], [12, 7, 1, 1]]  # three seeds, four episodes, 1 to 12 steps
SEEDS = (3, 1, 4)


# The slide's pseudocode


@dataclass
class Episode:
    """One episode as the slide has it: lists over its own time, no padding."""

    observations: NDArray
    actions: NDArray
    r: NDArray
    v: NDArray
    next_v: NDArray
    q: NDArray


def episodes_of_seed(episodes: Trajectories, signals: Signals, s: int) -> list[Episode]:
    def own(x: NDArray | None, i: int) -> NDArray:
        return np.zeros(0) if x is None else x[s, i, : episodes.lengths[s, i]]

    fields = [
        episodes.observations,
        episodes.actions,
        episodes.rewards,
        signals.values,
        signals.next_values,
        signals.action_values,
    ]
    return [Episode(*(own(x, i) for x in fields)) for i in range(episodes.lengths.shape[1])]


def deltas(e: Episode, gamma: float) -> list[float]:
    return [e.r[t] + gamma * e.next_v[t] - e.v[t] for t in range(len(e.r))]


def discounted(x: Any, discount: float, start: int = 0) -> float:
    return sum(discount ** (k - start) * x[k] for k in range(start, len(x)))


# Phi_t of one episode, as on the slide "Many forms". A Phi that is added to conf/phi needs its definition here.
PHIS: dict[str, Callable[[Episode, float], list[float]]] = {
    "return": lambda e, gamma: [discounted(e.r, gamma)] * len(e.r),
    "rtg": lambda e, gamma: [discounted(e.r, gamma, t) for t in range(len(e.r))],
    "q": lambda e, gamma: list(e.q),
    "td": deltas,
    "advantage": lambda e, gamma: [discounted(deltas(e, gamma), 0.95 * gamma, t) for t in range(len(e.r))],
}


def baseline_of(
    name: str, i: int, batch: list[Episode], phis: list[list[float]], scores: "Scores", gamma: float
) -> Any:
    """b_t of episode i, one number a step. A baseline that is added to conf/baseline needs its definition here."""
    steps, others = range(len(batch[i].r)), [j for j in range(len(batch)) if j != i]
    returns = [discounted(e.r, gamma) for e in batch]
    match name:
        case "none":
            return [0.0 for _ in steps]
        case "mean":
            return [sum(returns) / len(batch) for _ in steps]
        case "loo":
            return [sum(returns[j] for j in others) / len(others) for _ in steps]
        case "time":
            lasting = [[phis[j][t] for j in others if t < len(phis[j])] for t in steps]
            return [sum(x) / len(x) if x else 0.0 for x in lasting]
        case "value":
            return list(batch[i].v)
        case "optimal":
            F = [scores(j, [1.0] * len(phis[j])) for j in range(len(batch))]
            X = [scores(j, phis[j]) for j in range(len(batch))]
            b = sum(F[j] @ X[j] for j in others) / sum(F[j] @ F[j] for j in others)
            return [float(b) for _ in steps]
    raise KeyError(name)


Scores = Callable[[int, list[float]], Tensor]


def slide(policy: Policy, theta: Tensor, batch: list[Episode], job: Job, gamma: float) -> Tensor:
    """minus the gradient of (1/N) sum_i -sum_t log pi(a_t|s_t) w_t (Phi_t - b_t), by backward(); theta [P]."""
    config = job.config
    name, discount_scores, whiten = config["phi"]["name"], config["discount_scores"], config["whiten"]
    w = gamma if discount_scores and name != "return" else 1.0
    theta = theta.double().requires_grad_()

    def log_probs(e: Episode) -> Tensor:
        return plain_log_prob(policy, theta, e.observations, e.actions)

    def scores(i: int, x: list[float]) -> Tensor:
        """sum_t w_t x_t z_t of episode i."""
        weights = torch.tensor([w**t * x[t] for t in range(len(x))])
        return torch.autograd.grad((log_probs(batch[i]) * weights).sum(), theta)[0]

    phis = [PHIS[name](e, gamma) for e in batch]
    baselines = [baseline_of(config["baseline"]["name"], i, batch, phis, scores, gamma) for i in range(len(batch))]
    weights = [[p - b for p, b in zip(phi, base, strict=True)] for phi, base in zip(phis, baselines, strict=True)]
    if whiten:
        every = np.concatenate(weights)
        weights = [list((np.array(x) - every.mean()) / (every.std() + 1e-8)) for x in weights]
    for e, x in zip(batch, weights, strict=True):
        Phi = torch.tensor([w**t * x[t] for t in range(len(x))], dtype=torch.float64)
        loss = -(log_probs(e) * Phi).sum() / len(batch)
        loss.backward()
    assert theta.grad is not None
    return -theta.grad


def judged(job: Job, policy: Policy, theta: Tensor, episodes: Trajectories, gamma: float) -> Signals:
    """The signals with what a learned critic says, once it has learnt from other episodes."""
    signals = Signals(episodes.rewards, episodes.mask, gamma)
    if job.config["critic"] is None:
        return signals
    critic = critic_of(job, space(policy), policy)
    assert critic is not None
    state, before = critic.initial(SEEDS), episodes_of(policy, theta, LENGTHS, seed=1)
    said = critic.evaluate(state, policy, theta, before, Signals(before.rewards, before.mask, gamma))
    state = critic.fit(state, before, said, SEEDS, 1)[0]
    return critic.evaluate(state, policy, theta, episodes, signals)


def estimate(job: Job, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals) -> Tensor:
    """As `Learner.iterate` does it."""
    weights = estimator_of(job).weights(signals, score_products(policy, theta, episodes))
    return policy_gradient(policy, theta, episodes, weights).gradient


def assert_equals_slide(job: Job, policy: Policy, theta: Tensor, episodes: Trajectories, gamma: float) -> None:
    signals = judged(job, policy, theta, episodes, gamma)
    wanted = [slide(policy, theta[s], episodes_of_seed(episodes, signals, s), job, gamma) for s in range(len(theta))]
    assert relative_error(estimate(job, policy, theta, episodes, signals), torch.stack(wanted)) < 1e-5


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("phi", "baseline"), variants())
def test_the_estimate_is_the_gradient_of_the_slides_loss(phi: str, baseline: str, name: str) -> None:
    policy = POLICIES[name]()
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, LENGTHS)
    for discount_scores in (True, False) if name == "categorical" else (True,):
        job = variant(phi, baseline, discount_scores=discount_scores)
        assert_equals_slide(job, policy, theta, episodes, 0.9)


@pytest.mark.parametrize(("phi", "baseline"), [("return", "mean"), ("rtg", "value"), ("advantage", "none")])
def test_whitening_is_over_the_steps_that_were_taken(phi: str, baseline: str) -> None:
    policy = Categorical(3, 3, [8])
    theta = parameters(policy.network, SEEDS)
    job = variant(phi, baseline, whiten=True, discount_scores=True)
    assert_equals_slide(job, policy, theta, episodes_of(policy, theta, LENGTHS), 0.9)


@pytest.mark.parametrize(("phi", "baseline"), [("rtg", "none"), ("return", "optimal"), ("rtg", "value")])
def test_the_estimate_over_more_steps_than_a_block_holds(phi: str, baseline: str) -> None:
    policy = Categorical(3, 3, [8])
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, [[300, 500, 3], [20, 90, 9], [4100, 500, 14]])
    blocks = [(block.start, seeds.tolist()) for block, seeds in episodes.rows.blocks()]
    assert blocks == [(0, [1]), (0, [0]), (0, [2]), (4096, [2])]
    assert_equals_slide(variant(phi, baseline), policy, theta, episodes, 0.99)


def test_a_variant_of_ones_own_is_estimated_like_the_others() -> None:
    """The estimator asks nothing of Phi and b but that they are functions of the signals."""
    policy = Categorical(3, 3)
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, LENGTHS)
    signals = Signals(episodes.rewards, episodes.mask, 0.9)
    own = Estimator(lambda s: s.rewards, lambda phi, s, products: np.full((1, 1, 1), 2.0))
    weights = own.weights(signals, score_products(policy, theta, episodes))
    time = np.arange(weights.shape[2])
    np.testing.assert_allclose(weights, 0.9**time * (episodes.rewards - 2) * episodes.mask, rtol=1e-12)


# Whitening: rounding is no signal


@pytest.mark.parametrize("constant", [1e5 + 0.1, 1000000000.1, -3e12 / 7, 0.1])
@pytest.mark.parametrize("baseline", ["none", "mean", "loo", "time", "optimal"])
def test_whitening_of_episodes_that_earn_the_same_is_nothing(baseline: str, constant: float) -> None:
    """Whatever is summed, in whatever order, differs by rounding only, and of that nothing is made."""
    rng = np.random.default_rng(1)
    rewards = np.full((2, 64, 3), constant)
    rewards[:, :, 1:] *= [0.3, -0.7]
    rewards[:, ::2] = rng.permuted(rewards[:, ::2], axis=2)  # the same sum, added in another order
    signals = Signals(rewards, np.ones(rewards.shape, bool), 1.0)
    job = variant("return", baseline, whiten=True)

    def products(u: NDArray, v: NDArray) -> NDArray:
        z = np.random.default_rng(2).normal(size=(*rewards.shape, 3))
        return ((u[..., None] * z).sum(2) * (v[..., None] * z).sum(2)).sum(-1)

    assert (estimator_of(job).weights(signals, products) == 0).all()


@pytest.mark.parametrize("offset", [0.0, 1e5, 2.0**30])
@pytest.mark.parametrize("baseline", ["none", "mean", "loo"])
def test_whitening_sees_a_signal_under_an_offset(baseline: str, offset: float) -> None:
    """(+1, -1, +1, -1) is its own standardisation, wherever it lies."""
    rewards = offset + np.tile([1.0, -1.0], 4).reshape(1, 8, 1)
    signals = Signals(rewards, np.ones(rewards.shape, bool), 1.0)
    weights = estimator_of(variant("rtg", baseline, whiten=True)).weights(signals, lambda u, v: u[..., 0])
    np.testing.assert_allclose(weights, rewards - offset, rtol=1e-7)
