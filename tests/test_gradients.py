"""The policy gradient of a batch and of each trajectory: one definition, the same bits whoever else is there."""

import numpy as np
import pytest
import torch
from conftest import episodes_of, parameters, plain_log_prob, relative_error
from numpy.typing import NDArray

from ablate.episodes.trajectories import ROWS
from ablate.gradients import per_trajectory_gradients, policy_gradient
from ablate.policies import Categorical, Gaussian, Policy

POLICIES: dict[str, Policy] = {
    "categorical": Categorical(3, 2, [16]),
    "categorical table": Categorical(5, 3),
    "gaussian learned": Gaussian(3, 2, [8, 8]),
    "gaussian state": Gaussian(2, 1, [], 0.5, "state"),
}
each = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
SEEDS = (5, 0, 2)
LENGTHS = [[3, 40, 1], [700, 2, 17], [16, 15, 64]]


def phi_of(lengths: list[list[int]], seed: int = 0) -> NDArray:
    """Any weights [S,N,T], 0 after the end."""
    mask = np.arange(np.max(lengths)) < np.array(lengths)[..., None]
    return np.random.default_rng(seed).normal(1, 2, mask.shape) * mask


@each
def test_each_trajectorys_gradient_is_autograds(policy: Policy) -> None:
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, LENGTHS)
    phis = np.stack([phi_of(LENGTHS, seed=k) for k in range(3)])
    found = per_trajectory_gradients(policy, theta, episodes, phis)
    assert found.shape == (3, 3, 3, policy.network.num_parameters)  # [K,S,N,P]
    for s, i in np.ndindex(3, 3):
        own, steps = theta[s].double().requires_grad_(), slice(LENGTHS[s][i])
        log_prob = plain_log_prob(policy, own, episodes.observations[s, i, steps], episodes.actions[s, i, steps])
        for k in range(3):
            weighted = (log_prob * torch.from_numpy(phis[k, s, i, steps])).sum()
            (wanted,) = torch.autograd.grad(weighted, own, retain_graph=True)
            assert relative_error(found[k, s, i][None], wanted[None]) < 1e-5


@each
@pytest.mark.parametrize("lengths", [[[1], [1], [1]], LENGTHS, [[17, 16], [1, 1], [5, 2]]])
def test_rows_without_a_step_are_left_out_to_the_last_bit(policy: Policy, lengths: list[list[int]]) -> None:
    """The same as with every row of every block."""
    theta, phi = parameters(policy.network, SEEDS), phi_of(lengths)
    episodes = episodes_of(policy, theta, lengths)
    rows, (x, _, a) = episodes.rows, (torch.from_numpy(y) for y in episodes.steps)
    shares = torch.from_numpy(rows.pack(phi).astype(np.float32) / np.float32(phi.shape[1]))
    gradient, entropy = torch.zeros_like(theta), torch.zeros(len(theta))
    for block, seeds in rows.blocks():
        outputs, inputs = policy.network.forward(theta[seeds], x[seeds, block])
        scores = policy.score(outputs, a[seeds, block]) * shares[seeds, block, None]
        gradient[seeds] += policy.network.gradient(theta[seeds], inputs, scores)
        entropy[seeds] += (policy.entropy(outputs) * torch.from_numpy(rows.valid[seeds, block])).sum(1)
    found = policy_gradient(policy, theta, episodes, phi)
    assert torch.equal(found.gradient, gradient)
    assert np.array_equal(found.entropy, entropy.numpy().astype(np.float64) / rows.counts)


@each
def test_the_mean_over_trajectories_is_the_policy_gradient(policy: Policy) -> None:
    """Sum over time, mean over episodes: what the probe measures is what trains."""
    theta = parameters(policy.network, SEEDS)
    episodes, phi = episodes_of(policy, theta, LENGTHS), phi_of(LENGTHS)
    each_of = per_trajectory_gradients(policy, theta, episodes, phi[None])
    assert relative_error(policy_gradient(policy, theta, episodes, phi).gradient, each_of[0].mean(1)) < 1e-5


@each
def test_entropy_is_the_mean_over_the_steps_taken(policy: Policy) -> None:
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, LENGTHS)
    found = policy_gradient(policy, theta, episodes, phi_of(LENGTHS)).entropy
    for s in range(3):
        observations = torch.from_numpy(episodes.observations[s][episodes.mask[s]])[None]
        wanted = policy.entropy(policy.network.forward(theta[s : s + 1], observations)[0]).double().mean()
        assert found[s] == pytest.approx(float(wanted), rel=1e-5)


@each
def test_what_is_behind_an_episodes_end_does_not_matter(policy: Policy) -> None:
    theta = parameters(policy.network, SEEDS)
    episodes, phi = episodes_of(policy, theta, LENGTHS), phi_of(LENGTHS)
    spoilt = np.where(episodes.mask, phi, 1e9)
    for of in (policy_gradient(policy, theta, episodes, phi), policy_gradient(policy, theta, episodes, spoilt)):
        assert torch.equal(of.gradient, policy_gradient(policy, theta, episodes, phi).gradient)
    single = [per_trajectory_gradients(policy, theta, episodes, x[None]) for x in (phi, spoilt)]
    assert torch.equal(*single)


@pytest.mark.parametrize("hidden", [[], [8, 8], [33, 17], [64, 64], [256]])
@pytest.mark.parametrize("most", [40, 200])
def test_a_seed_with_few_steps_has_the_same_bits_among_seeds_with_more(most: int, hidden: list[int]) -> None:
    """Of a block of rows only those are worked through that the longest of its seeds fills; sums are over all."""
    policy, lengths = Categorical(4, 2, hidden), [[130, 104], [most, most // 2], [2, 1]]
    theta = parameters(policy.network, SEEDS)
    episodes, phi = episodes_of(policy, theta, lengths), phi_of(lengths)
    together = policy_gradient(policy, theta, episodes, phi)
    for s, own in enumerate(lengths):
        part = slice(s, s + 1)
        alone = policy_gradient(policy, theta[part], episodes.of(part), phi[part, :, : max(own)])
        assert torch.equal(alone.gradient[0], together.gradient[s])
        assert alone.entropy[0] == together.entropy[s]


@each
def test_a_seeds_gradients_are_the_same_bits_alone_and_among_others(policy: Policy) -> None:
    """Among seeds with fewer blocks of steps, with more, and with longer episodes than its own."""
    theta = parameters(policy.network, SEEDS)
    episodes, phi = episodes_of(policy, theta, LENGTHS), phi_of(LENGTHS)
    together = policy_gradient(policy, theta, episodes, phi)
    each_of = per_trajectory_gradients(policy, theta, episodes, np.stack([phi, -2 * phi]))
    assert episodes.rows.size > ROWS
    for s in range(3):
        own, T = slice(s, s + 1), max(LENGTHS[s])
        alone = policy_gradient(policy, theta[own], episodes.of(slice(s, s + 1)), phi[own, :, :T])
        assert torch.equal(alone.gradient[0], together.gradient[s])
        assert alone.entropy[0] == together.entropy[s]
        singles = per_trajectory_gradients(
            policy, theta[own], episodes.of(slice(s, s + 1)), np.stack([phi, -2 * phi])[:, own, :, :T]
        )
        assert torch.equal(singles[:, 0], each_of[:, s])
