"""Policies against torch.distributions and autograd, and the facts that the lecture states of their scores."""

from math import pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, plain_distribution
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import chi2, kstest
from torch import Tensor

from ablate import build
from ablate.errors import UserError
from ablate.networks import Network
from ablate.policies import Categorical, Gaussian, Policy
from ablate.randomness import stream, streams
from ablate.store import Cell

POLICIES: dict[str, Policy] = {
    "categorical 2": Categorical(3, 2),
    "categorical 5": Categorical(3, 5, [4]),
    "one action": Categorical(3, 1),
    "gaussian constant": Gaussian(3, 2, [], 0.5, "constant"),
    "gaussian learned": Gaussian(3, 2, [4], 0.5, "learned"),
    "gaussian state": Gaussian(3, 1, [4], 2.0, "state"),
}
GAUSSIANS = {name: policy for name, policy in POLICIES.items() if isinstance(policy, Gaussian)}
each = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
each_gaussian = pytest.mark.parametrize("policy", GAUSSIANS.values(), ids=GAUSSIANS)


def outputs_of(policy: Policy, rows: int = 50, scale: float = 1.0) -> Tensor:
    size = policy.network.sizes[-1] + policy.network.free
    return scale * torch.randn(2, rows, size, generator=torch.Generator().manual_seed(0))


def actions_of(policy: Policy, outputs: Tensor) -> Tensor:
    noise = policy.draws(np.random.default_rng(0), tuple(outputs.shape[:2]))
    return torch.from_numpy(policy.sample(outputs, noise))


@each
def test_log_probability_score_and_entropy_are_torchs(policy: Policy) -> None:
    """The score to 1e-6, in double precision, where rounding does not get in the way."""
    outputs = outputs_of(policy).double().requires_grad_()
    actions = actions_of(policy, outputs_of(policy))
    plain = plain_distribution(policy, outputs)
    log_prob = plain.log_prob(actions)
    (slopes,) = torch.autograd.grad(log_prob.sum(), outputs)
    own = outputs.detach()
    torch.testing.assert_close(policy.log_prob(own, actions), log_prob.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(policy.score(own, actions), slopes, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(policy.entropy(own), plain.entropy().detach(), rtol=1e-10, atol=1e-10)


@each
def test_so_they_are_in_single_precision(policy: Policy) -> None:
    outputs = outputs_of(policy)
    actions = actions_of(policy, outputs)
    double = outputs.double().requires_grad_()
    plain = plain_distribution(policy, double)
    (slopes,) = torch.autograd.grad(plain.log_prob(actions.double()).sum(), double)
    score = policy.score(outputs, actions)
    assert score.dtype == torch.float32
    assert score.shape == outputs.shape
    torch.testing.assert_close(score.double(), slopes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(policy.entropy(outputs).double(), plain.entropy().detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", [POLICIES["categorical 2"], POLICIES["categorical 5"]])
def test_a_categorical_score_has_mean_zero_and_sums_to_zero(policy: Policy) -> None:
    outputs = outputs_of(policy, scale=3.0).double()
    every = torch.arange(outputs.shape[-1])
    scores = [policy.score(outputs, torch.full(outputs.shape[:2], int(a))) for a in every]
    probabilities = torch.softmax(outputs, -1)
    mean = sum(probabilities[..., a, None] * scores[a] for a in every)
    assert isinstance(mean, Tensor)
    assert mean.abs().max() < 1e-12
    assert max(float(score.sum(-1).abs().max()) for score in scores) < 1e-12


@each_gaussian
def test_a_gaussian_score_has_mean_zero_and_the_fisher_information_of_the_slides(policy: Gaussian) -> None:
    """diag(1 / sigma^2, 2) for (mu, log sigma), by Gauss-Hermite quadrature: exact for these polynomials."""
    outputs = outputs_of(policy, rows=4).double()
    mu, log_sigma = policy.mean_and_log_sigma(outputs)
    sigma = log_sigma.exp()
    nodes, weights = hermegauss(8)
    mean, information = torch.zeros_like(outputs), torch.zeros(*outputs.shape, outputs.shape[-1]).double()
    for point in np.ndindex(*(len(nodes),) * policy.action_size):
        noise = torch.from_numpy(nodes[list(point)])
        share = float(np.prod(weights[list(point)] / sqrt(2 * pi)))
        z = policy.score(outputs, mu + sigma * noise)
        mean += share * z
        information += share * z[..., :, None] * z[..., None, :]
    assert mean.abs().max() < 1e-9
    of_sigma = [] if policy.spread == "constant" else [torch.full_like(sigma, 2.0)]
    torch.testing.assert_close(
        information, torch.diag_embed(torch.cat([sigma**-2, *of_sigma], -1)), rtol=1e-9, atol=1e-9
    )


@each_gaussian
def test_sigma_is_what_was_asked_for_at_first(policy: Gaussian) -> None:
    """Whichever way it goes on: a network's outputs start at 0, or close to it."""
    outputs = torch.zeros(1, 1, policy.network.sizes[-1] + policy.network.free)
    mu, log_sigma = policy.mean_and_log_sigma(outputs)
    assert not mu.any()
    torch.testing.assert_close(log_sigma.exp(), torch.full_like(mu, policy.sigma))


def test_what_changes_the_spread() -> None:
    """Nothing; a parameter that all states share; the state."""
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    for name, policy in GAUSSIANS.items():
        theta = torch.randn(1, policy.network.num_parameters, generator=torch.Generator().manual_seed(1))
        spreads = [policy.mean_and_log_sigma(policy.network.forward(t, x)[0])[1] for t in (theta, 2 * theta)]
        by_parameters = not torch.equal(spreads[0], spreads[1])
        by_state = not torch.equal(spreads[0], spreads[0][:, :1].expand_as(spreads[0]))
        expected = {"constant": (False, False), "learned": (True, False), "state": (True, True)}
        assert (by_parameters, by_state) == expected[policy.spread], name


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_actions_are_sampled_as_often_as_they_are_likely(scale: float) -> None:
    """Chi-squared over 10^5 draws in each of 5 states; a fair sampler fails one of these 15 tests with 15e-6."""
    policy, draws = POLICIES["categorical 5"], 100_000
    for row in range(5):
        outputs = outputs_of(policy, scale=scale)[:1, row : row + 1].expand(1, draws, 5).contiguous()
        actions = policy.sample(outputs, policy.draws(stream(row, "sampling test"), (1, draws)))
        counts = np.bincount(actions.ravel(), minlength=5)
        expected = draws * torch.softmax(outputs[0, 0].double(), -1).numpy()
        assert ((counts - expected) ** 2 / expected).sum() < chi2(4).isf(1e-6)


@each_gaussian
def test_gaussian_actions_are_normal(policy: Gaussian) -> None:
    """Kolmogorov-Smirnov with 50 000 draws; a fair sampler fails one of these 5 tests with 5e-6."""
    outputs = outputs_of(policy)[:1, :1].expand(1, 50_000, -1)
    actions = policy.sample(outputs, policy.draws(stream(0, "sampling test"), (1, 50_000)))
    assert actions.dtype == np.float32
    mu, log_sigma = (x[0, 0].double().numpy() for x in policy.mean_and_log_sigma(outputs))
    for j in range(policy.action_size):
        z = (actions[0, :, j] - mu[j]) / np.exp(log_sigma[j])
        assert kstest(z, "norm").pvalue > 1e-6


@given(st.lists(st.floats(-80, 80), min_size=2, max_size=6), st.floats(0, 1, exclude_max=True))
def test_an_action_is_the_one_whose_share_of_the_unit_the_noise_falls_into(logits: list[float], u: float) -> None:
    """Up to rounding at its bounds; and it is always an action."""
    policy = Categorical(1, len(logits))
    action = policy.sample(torch.tensor([[logits]]), np.array([[u]])).item()
    assert 0 <= action < len(logits)
    bounds = np.concatenate([[0], np.cumsum(np.exp(np.array(logits) - max(logits)))])
    bounds /= bounds[-1]
    assert bounds[action] - 1e-6 <= u <= bounds[action + 1] + 1e-6


def test_what_has_no_chance_is_not_drawn_and_large_logits_do_no_harm() -> None:
    policy = Categorical(1, 4)
    outputs = torch.tensor([[[-1e30, 1000.0, -1e30, 1000.0]]]).expand(1, 1001, 4).contiguous()
    actions = policy.sample(outputs, np.linspace(0, 1, 1001, endpoint=False)[None])
    assert set(actions.ravel()) == {1, 3}
    assert policy.score(outputs, torch.from_numpy(actions)).isfinite().all()
    assert policy.log_prob(outputs, torch.from_numpy(actions)).isfinite().all()


@each
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 17, 512])
def test_a_seeds_bits_are_the_same_alone_and_among_others(policy: Policy, rows: int) -> None:
    """At the tail of an array torch's kernels may take other code; what is used here must not."""
    generator = torch.Generator().manual_seed(rows)
    outputs = torch.randn(5, rows, policy.network.sizes[-1] + policy.network.free, generator=generator)
    noise = policy.draws(np.random.default_rng(0), (5, rows))
    actions = policy.sample(outputs, noise)
    chosen = torch.from_numpy(actions)
    together = policy.score(outputs, chosen), policy.entropy(outputs), policy.log_prob(outputs, chosen)
    for s in range(5):
        own = outputs[s : s + 1].clone()
        assert np.array_equal(policy.sample(own, noise[s : s + 1])[0], actions[s])
        alone = policy.score(own, chosen[s : s + 1]), policy.entropy(own), policy.log_prob(own, chosen[s : s + 1])
        assert all(torch.equal(a[0], b[s]) for a, b in zip(alone, together, strict=True))
        half = own[:, : (rows + 1) // 2]  # and of fewer rows
        assert np.array_equal(policy.sample(half, noise[s : s + 1, : half.shape[1]])[0], actions[s, : half.shape[1]])


@pytest.mark.parametrize(("hidden", "close"), [((), 0.0), ((8,), 0.02)])
def test_the_first_policy_may_be_given(hidden: tuple[int, ...], close: float) -> None:
    """softmax of (log 19, 0) is (0.95, 0.05), on one-hot observations and on a constant one."""
    for x in (torch.eye(3), torch.ones(4, 1)):
        policy = Categorical(x.shape[1], 2, hidden, [float(np.log(19)), 0.0])
        theta = policy.network.initial(streams([0, 1], "weights"))
        outputs, _ = policy.network.forward(theta, x.expand(2, -1, -1).contiguous())
        np.testing.assert_allclose(torch.softmax(outputs, -1)[..., 1].numpy(), 0.05, rtol=1e-6 + close)


def test_as_many_first_logits_as_actions_are_asked_for() -> None:
    with pytest.raises(UserError, match="3 numbers and env=corridor has 2 actions"):
        compose("env=corridor", "policy.initial_logits=[0,1,2]")


def test_a_cell_without_first_logits_is_named_as_before_there_were_any(tmp_path: Path) -> None:
    plain, told = compose("env=corridor"), compose("env=corridor", "policy.initial_logits=[2.9,0]")
    assert "initial_logits" not in plain.config["policy"]
    names = [Cell.at(tmp_path, "main", (), job.config).path.name for job in (plain, told)]
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("words", "weights", "critics"),
    [
        (("env=pendulum", "critic.initializer=orthogonal"), "theta", "critic.V"),
        (("env=cartpole", "critic=td", "critic.initializer=orthogonal"), "theta", "critic.V"),
        (("env=cartpole", "algorithm=a2c", "algorithm.critic_initializer=orthogonal"), "weights", "weights"),
    ],
)
def test_the_initializer_is_a_setting_of_policy_and_critic(words: tuple[str, ...], weights: str, critics: str) -> None:
    """Each of the seed's own streams, whoever else is there."""
    words += () if "algorithm=a2c" in words else ("phi=advantage",)
    job = compose(*words, "policy.initializer=orthogonal")
    learner = build.learner(job.config)
    state, alone = learner.initial(range(10)), learner.initial([7])
    env = build.environment(job.config)
    actor = build.policy(job.config, env).network
    assert actor.initializer == "orthogonal"
    critic = Network((env.observation_size, 64, 64, 1), initializer="orthogonal")
    theta, w = actor.initial(streams([7], "policy weights")), critic.initial(streams([7], "critic V weights"))
    for found in (state[weights][7], alone[weights][0]):
        assert torch.equal(found[: theta.shape[1]], theta[0])
    for found in (state[critics][7], alone[critics][0]):
        assert torch.equal(found[-w.shape[1] :], w[0])


def test_the_initializer_of_earlier_cells_is_left_out_of_them() -> None:
    for words in (("env=chain", "phi=advantage"), ("env=chain", "algorithm=a2c")):
        own = "algorithm.critic_initializer" if "algorithm=a2c" in words else "critic.initializer"
        plain, said = compose(*words), compose(*words, "policy.initializer=uniform", f"{own}=uniform")
        assert plain.config == said.config
        assert "initializer" not in str(plain.config)
