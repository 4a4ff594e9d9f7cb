"""Gaussian rewards: what is sampled, what a file may say, and the exact moments, against closed forms and a listing of
all trajectories on which the noise is integrated by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import compose
from test_envs import streams

import ablate
from ablate import exact
from ablate.envs.tabular import Tabular, bandit
from ablate.errors import UserError
from ablate.mdp import MDP, load

ARMS, DEVIATIONS = [0.5, -1.0, 2.0], [1.5, 0.0, 0.25]
LOGITS = np.array([0.3, -0.2, 0.9])


def arms(reward_std: list[float] | None) -> MDP:
    mdp = bandit([1.0] * 3, ARMS, reward_std)
    return replace(mdp, logits=np.tile(LOGITS, (3, 1)))


def noisy(rng: np.random.Generator, horizon: int = 3, gamma: float = 0.8) -> MDP:
    """Three states, two actions, noise in every reward but one."""
    P = rng.dirichlet(np.ones(3), (3, 2))
    R, deviations = rng.normal(size=(3, 2, 3)), rng.uniform(0.5, 2, (3, 2, 3))
    deviations[0, 1, 2] = 0.0
    logits, terminal = rng.normal(size=(3, 2)), [False, False, True]
    return MDP.from_dense(P, R, [0.6, 0.4, 0], horizon, gamma, terminal=terminal, logits=logits, reward_std=deviations)


@pytest.mark.parametrize("b", ["none", "mean", "value"])
def test_a_gaussian_bandit_in_closed_form(b: str) -> None:
    """g = z(a) (r - b):  E g = sum_a pi_a z_a mu_a,  tr Cov g = sum_a pi_a |z_a|^2 ((mu_a - b)^2 + s_a^2) - |E g|^2."""
    mu, s = np.array(ARMS), np.array(DEVIATIONS)
    pi = np.exp(LOGITS) / np.exp(LOGITS).sum()
    z = np.eye(3) - pi
    baseline = 0.0 if b == "none" else pi @ mu
    mean = (pi * mu) @ z
    variance = pi @ ((z**2).sum(1) * ((mu - baseline) ** 2 + s**2)) - mean @ mean
    mdp = arms(DEVIATIONS)
    policy = exact.softmax(mdp.logits)
    truth = exact.GroundTruth(mdp, policy, exact.scores(policy, mdp.features))
    found = truth.moments("rtg", b, "exact" if b == "value" else "none")
    np.testing.assert_allclose(found.mean, mean, atol=1e-14)
    assert found.trace_variance == pytest.approx(variance, rel=1e-13)
    assert found.v_transition == pytest.approx(pi @ ((z**2).sum(1) * s**2), rel=1e-13)  # of the noise alone
    np.testing.assert_allclose(truth.J, pi @ mu, rtol=1e-14)


@pytest.mark.parametrize("phi", ["return", "rtg", "td"])
@pytest.mark.parametrize("discount_scores", [True, False])
def test_noise_adds_its_own_variance_over_all_trajectories(phi: str, discount_scores: bool) -> None:
    """g is linear in the independent noise e_k of r_k: given a trajectory its variance is sum_k s_k^2 |dg/dr_k|^2, with
    dg/dr_k = gamma^k F_H of the return, sum_{t <= k} w_t gamma^(k-t) z_t of reward-to-go, w_k z_k of the TD error."""
    mdp = noisy(np.random.default_rng(1))
    plain = replace(mdp, reward_std=None)
    pi = exact.softmax(mdp.logits)
    z = exact.scores(pi, mdp.features)
    every = exact.enumerate_trajectories(plain)
    s, a = every.states[:, :-1], every.actions
    w = mdp.gamma ** np.arange(mdp.horizon) if discount_scores and phi != "return" else np.ones(mdp.horizon)
    scores = w[None, :, None] * z[s, a] * every.alive[..., None]
    deviations = mdp.reward_std[s, a, every.outcomes] * every.alive
    added = np.zeros(len(s))
    for k in range(mdp.horizon):
        slopes = {
            "return": mdp.gamma**k * scores.sum(1),
            "rtg": sum(mdp.gamma ** (k - t) * scores[:, t] for t in range(k + 1)),
            "td": scores[:, k],
        }
        added += deviations[:, k] ** 2 * (slopes[phi] ** 2).sum(-1)
    expected = np.exp(every.log_prob(pi)) @ added

    def moments(of: MDP) -> exact.Moments:
        truth = exact.GroundTruth(of, pi, z, discount_scores=discount_scores)
        return truth.moments(phi, "none", "exact" if phi == "td" else "none")

    with_noise, without = moments(mdp), moments(plain)
    np.testing.assert_allclose(with_noise.mean, without.mean, atol=1e-13)
    assert with_noise.trace_variance == pytest.approx(without.trace_variance + expected, rel=1e-12)
    if phi != "return":  # which credits coming actions with the noise of what was earned before
        split = without.v_s0, without.v_action, without.v_transition + expected
        assert (with_noise.v_s0, with_noise.v_action, with_noise.v_transition) == pytest.approx(split, rel=1e-9)


def test_the_trajectories_of_a_listing_have_the_noise() -> None:
    """E R and Var R of the two-point rewards: those of the means, and sum_k gamma^2k E s_k^2 besides."""
    mdp = noisy(np.random.default_rng(2), horizon=2)
    pi = exact.softmax(mdp.logits)
    listed = exact.enumerate_trajectories(mdp)
    plain = exact.enumerate_trajectories(replace(mdp, reward_std=None))
    p, q = np.exp(listed.log_prob(pi)), np.exp(plain.log_prob(pi))
    deviations = mdp.reward_std[plain.states[:, :-1], plain.actions, plain.outcomes] * plain.alive
    noise = q @ (deviations**2 @ mdp.gamma ** (2 * np.arange(2)))
    assert p.sum() == pytest.approx(1, abs=1e-14)
    assert p @ listed.returns == pytest.approx(q @ plain.returns, abs=1e-14)
    assert p @ listed.returns**2 == pytest.approx(q @ plain.returns**2 + noise, rel=1e-13)


@pytest.mark.parametrize("way", ["step", "transition"])
def test_rewards_are_drawn_around_their_means(way: str) -> None:
    """Of 40,000 rewards an arm the mean and the standard deviation, within five standard errors."""
    env, N = Tabular(arms(DEVIATIONS), time_limit=False), 40_000
    for arm in range(3):
        actions = np.full((1, N), arm)
        if way == "step":
            env.reset(streams(3), N)
            rewards = env.step(actions)[1]
        else:
            states = env.starts(streams(4)[0], (1, N))
            rewards = env.transition(states, actions, env.draws(streams(5)[0], (1, N)))[1]
        assert abs(rewards.mean() - ARMS[arm]) <= 5 * DEVIATIONS[arm] / N**0.5
        assert rewards.std() == pytest.approx(DEVIATIONS[arm], rel=5 / (2 * N) ** 0.5)
        assert DEVIATIONS[arm] == 0 or abs((np.abs(rewards - ARMS[arm]) < DEVIATIONS[arm]).mean() - 0.6827) < 0.012


def test_noise_is_of_its_seed_alone_and_changes_no_transition() -> None:
    rng = np.random.default_rng(3)
    mdp, actions = noisy(rng, horizon=6), rng.integers(2, size=(6, 2, 50))
    env, alone, plain = (Tabular(m, False) for m in (mdp, mdp, replace(mdp, reward_std=None)))
    for each, seeds in ((env, (1, 2)), (alone, (2,)), (plain, (1, 2))):
        each.reset(streams(*seeds), 50)
    for a in actions:
        ours, own, same = env.step(a), alone.step(a[1:]), plain.step(a)
        np.testing.assert_array_equal(ours[1][1], own[1][0])
        np.testing.assert_array_equal(env.states, plain.states)
        assert not np.array_equal(ours[1], same[1])


GOOD = {"P": [[[0, 1], [1, 0]], [[0, 1], [0, 1]]], "R": [[1, 2], [3, 4]], "rho0": [1, 0], "horizon": 2}


def test_a_file_may_give_deviations(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(GOOD | {"R_std": [[0.5, 0], [0, 1]]}))
    np.testing.assert_array_equal(load(path).reward_std[..., 0], [[0.5, 0], [0, 1]])
    assert load(path).restricted(np.array([1])).reward_std.shape == (1, 2, 1)
    rows = [[0, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]]
    path.write_text(json.dumps(GOOD | {"P": rows, "R_std": [[0.5, 0], [0, 1]]}))
    np.testing.assert_array_equal(load(path).reward_std[..., 0], [[0.5, 0], [0, 1]])
    table = ablate.exact(**GOOD, R_std=[[0.5, 0], [0, 1]]).set_index(["phi", "baseline", "critic"])
    quiet = ablate.exact(**GOOD).set_index(["phi", "baseline", "critic"])
    added = (table["trace_variance"] - quiet["trace_variance"]).loc[("td", "none", "exact")]
    # |z|^2 = 1/2; E s_0^2 = 0.5 * 0.25, E s_1^2 = 0.5 * 0.5 * 0.25 + 0.5 * 0.5 * 1
    assert added == pytest.approx((0.125 + 0.3125) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("deviations", "said"),
    [
        ([[1, -1], [0, 0]], "R_std has a negative entry"),
        ([1, 2], "R_std has shape 2"),
        ([["a", 0], [0, 0]], "R_std is"),
    ],
)
def test_deviations_that_are_none(deviations: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(GOOD | {"R_std": deviations}))
    with pytest.raises(UserError, match=said):
        load(path)


@pytest.mark.parametrize("wrong", ["[1]", "[1,1,-1]", "[1,1,a]", "2"])
def test_a_bandit_refuses_what_is_no_deviation(wrong: str) -> None:
    with pytest.raises(UserError, match=r"env\.reward_std="):
        compose("env=bandit", f"env.reward_std={wrong}")


def test_a_bandit_without_noise_keeps_its_configuration() -> None:
    assert "reward_std" not in compose("env=bandit").config["env"]
    assert compose("env=bandit", "env.reward_std=[1,1,1]").config["env"]["reward_std"] == [1, 1, 1]
