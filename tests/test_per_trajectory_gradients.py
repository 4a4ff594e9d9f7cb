"""Gradients of single trajectories against a loop of backward(), and the same bits whoever else is there."""

import numpy as np
import pytest
import torch
from conftest import episodes_of, parameters, plain_log_prob, relative_error
from numpy.typing import NDArray
from torch import Tensor

from ablate import gradients
from ablate.episodes.trajectories import Trajectories
from ablate.gradients import gradient_chunks, per_trajectory_gradients, policy_gradient, score_products, signals_of
from ablate.phi import Signals, reward_to_go
from ablate.policies import Categorical, Gaussian, Policy

POLICIES: dict[str, Policy] = {
    "categorical linear": Categorical(3, 3),
    "categorical": Categorical(4, 2, [64, 64]),
    "categorical odd": Categorical(5, 7, [17, 1, 9]),
    "gaussian linear": Gaussian(3, 2, [], 0.7, "learned"),
    "gaussian constant": Gaussian(3, 2, [8, 5], 0.7, "constant"),
    "gaussian learned": Gaussian(3, 2, [8, 5], 0.7, "learned"),
    "gaussian state": Gaussian(3, 2, [8, 5], 0.7, "state"),
    "gaussian state linear": Gaussian(1, 1, [], 0.7, "state"),
    "gaussian one action": Gaussian(3, 1, [33], 0.7, "learned"),
}
LENGTHS = [[5, 1, 40, 16], [2, 17, 1, 3], [12, 33, 1, 1]]  # three seeds, four episodes
SEEDS = (3, 1, 4)

each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def setting(policy: Policy, lengths: list[list[int]], K: int = 3) -> tuple[Tensor, Trajectories, NDArray[np.float64]]:
    theta = parameters(policy.network, SEEDS[: len(lengths)]) / 2  # 1 - pi(a|s) is rounding where pi(a|s) is almost 1
    episodes = episodes_of(policy, theta, lengths)
    phis = np.random.default_rng(5).normal(1, 3, (K, *episodes.mask.shape)) * episodes.mask
    return theta, episodes, phis


@each_policy
def test_a_loop_of_backward_gives_the_same(policy: Policy) -> None:
    theta, episodes, phis = setting(policy, LENGTHS)
    found = per_trajectory_gradients(policy, theta, episodes, phis)
    assert found.shape == (*phis.shape[:3], theta.shape[1])
    for k, s, i in np.ndindex(phis.shape[:3]):
        own = s, i, slice(episodes.lengths[s, i])
        leaf = theta[s].double().requires_grad_()
        log_probs = plain_log_prob(policy, leaf, episodes.observations[own], episodes.actions[own])
        (log_probs * torch.from_numpy(phis[k][own])).sum().backward()
        assert leaf.grad is not None
        assert relative_error(found[k, s, i][None], leaf.grad[None]) < 1e-5


@each_policy
def test_their_mean_over_episodes_is_the_policy_gradient(policy: Policy) -> None:
    theta, episodes, phis = setting(policy, LENGTHS)
    found = per_trajectory_gradients(policy, theta, episodes, phis).double().mean(2)
    for k, phi in enumerate(phis):
        assert relative_error(policy_gradient(policy, theta, episodes, phi).gradient, found[k]) < 1e-5


@each_policy
@pytest.mark.parametrize("K", [1, 2, 8])
def test_a_seed_alone_has_the_same_bits(policy: Policy, K: int) -> None:
    """Also where the episodes of others are longer, which pads its own with more zeros."""
    for N in (1, 2, 3, 5):
        lengths = np.random.default_rng(N).integers(1, [[5], [40], [131]], (3, N))
        theta, episodes, phis = setting(policy, lengths.tolist(), K)
        together = per_trajectory_gradients(policy, theta, episodes, phis)
        products = score_products(policy, theta, episodes)(phis[0], phis[-1])
        for s, own in enumerate(lengths):
            here, alone, phi = theta[s : s + 1], episodes.of(slice(s, s + 1)), phis[:, s : s + 1, :, : own.max()]
            assert per_trajectory_gradients(policy, here, alone, phi)[:, 0].equal(together[:, s])
            assert np.array_equal(score_products(policy, here, alone)(phi[0], phi[-1])[0], products[s])


@pytest.mark.parametrize("name", ["categorical", "gaussian learned", "categorical odd"])
def test_an_episode_alone_has_the_same_bits_at_every_length(name: str) -> None:
    policy = POLICIES[name]
    theta, episodes, phis = setting(policy, [list(range(1, 131))], K=2)
    together = per_trajectory_gradients(policy, theta, episodes, phis)
    for i, T in enumerate(episodes.lengths[0]):
        one = slice(i, i + 1)
        alone = episodes.between(one).of(slice(0, 1))
        assert per_trajectory_gradients(policy, theta, alone, phis[:, :, one, :T]).equal(together[:, :, one])


@pytest.mark.parametrize(("name", "value"), [("CHUNK", 1), ("CHUNK", 5000), ("TOGETHER", 1), ("TOGETHER", 64)])
def test_how_the_work_is_cut_changes_no_bit(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    policy = POLICIES["gaussian learned"]
    theta, episodes, phis = setting(policy, LENGTHS)
    whole = per_trajectory_gradients(policy, theta, episodes, phis)
    monkeypatch.setattr(gradients, name, value)
    assert per_trajectory_gradients(policy, theta, episodes, phis).equal(whole)


def test_chunks_are_runs_of_episodes_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = POLICIES["categorical linear"]
    theta, episodes, phis = setting(policy, LENGTHS)
    monkeypatch.setattr(gradients, "CHUNK", 2 * phis.shape[0] * theta.numel())
    chunks = list(gradient_chunks(policy, theta, episodes, phis))
    assert [chunk.shape for chunk in chunks] == [(2, *phis.shape[1::-1], theta.shape[1])] * 2
    assert torch.cat(chunks).permute(2, 1, 0, 3).equal(per_trajectory_gradients(policy, theta, episodes, phis))


def test_what_phi_is_after_the_end_does_not_matter() -> None:
    policy = POLICIES["categorical"]
    theta, episodes, phis = setting(policy, LENGTHS)
    beyond = np.where(episodes.mask, phis, np.nan)
    found = per_trajectory_gradients(policy, theta, episodes, beyond)
    assert found.equal(per_trajectory_gradients(policy, theta, episodes, phis))


@each_policy
def test_signals_tell_what_was_seen_and_done_and_how_likely_it_was(policy) -> None:
    """log pi(a_t|s_t) of each step by the distribution of its own outputs, whichever way the signals are cut."""
    theta, episodes, _ = setting(policy, LENGTHS)
    signals = signals_of(policy, theta, episodes, 0.9)
    for s, i in np.ndindex(episodes.lengths.shape):
        own = s, i, slice(episodes.lengths[s, i])
        outputs, _ = policy.network.forward(theta[s : s + 1], torch.from_numpy(episodes.observations[own])[None])
        wanted = policy.log_prob(outputs, torch.from_numpy(episodes.actions[own])[None])[0].numpy()
        np.testing.assert_allclose(signals.log_probs[own], wanted, rtol=1e-5, atol=1e-6)
        assert not signals.log_probs[s, i, episodes.lengths[s, i] :].any()
    pairs = signals.in_batches_of(2)
    assert pairs.observations.shape == (len(theta) * 2, 2, *episodes.observations.shape[2:])
    np.testing.assert_array_equal(pairs.log_probs.reshape(signals.log_probs.shape), signals.log_probs)
    np.testing.assert_array_equal(pairs.actions.reshape(episodes.actions.shape), episodes.actions)
    for s in range(len(theta)):
        alone = signals_of(policy, theta[s : s + 1], episodes.of(slice(s, s + 1)), 0.9).log_probs
        np.testing.assert_array_equal(signals.log_probs[s, :, : alone.shape[2]], alone[0])


def test_nothing_is_computed_that_nobody_asks_for() -> None:
    def refuse() -> np.ndarray:
        raise AssertionError

    one = np.ones((1, 2, 3))
    signals = Signals(one, one > 0, 0.9, log_prob=refuse)
    reward_to_go(signals.in_batches_of(1))
    with pytest.raises(AssertionError):
        _ = signals.log_probs
