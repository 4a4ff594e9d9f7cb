"""`ablate.exact` against a slow oracle: every trajectory of a tiny MDP, with its probability and its estimate."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import cut_short
from exact_oracle import LAMBDA, Tree, assert_moments, estimates, ground_truth
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ablate.envs import tabular
from ablate.exact import (
    VARIANTS,
    GroundTruth,
    J,
    Moments,
    Variant,
    crossover,
    gradient,
    mse_curve,
    occupancy,
    scores,
    softmax,
    values,
)
from ablate.mdp import MDP


@st.composite
def problems(
    draw: st.DrawFn, horizon: int = 4, states: int = 3, actions: int = 3
) -> tuple[MDP, np.ndarray, np.ndarray]:
    """A small MDP, a policy and a score table: one logit a cell, shared features, or another basis of these."""
    S, A = draw(st.integers(1, states)), draw(st.integers(1, actions))
    H = draw(st.integers(1, horizon))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    P = rng.random((S, A, S)) ** 3 + 1e-3
    P *= rng.random(P.shape) < draw(st.sampled_from([1.0, 0.6]))
    P[..., 0] += P.sum(-1) == 0
    terminal = np.zeros(S, bool)
    terminal[1:] = draw(st.booleans()) and rng.random(S - 1) < 0.5
    rho0 = rng.random(S) * ~terminal
    R = draw(st.sampled_from([0.0, 10.0])) + rng.normal(size=(S, A, S) if draw(st.booleans()) else (S, A))
    gamma = draw(st.sampled_from([1.0, 0.9, 0.5]))
    mdp = MDP.from_dense(P / P.sum(-1, keepdims=True), R, rho0 / rho0.sum(), H, gamma, terminal=terminal)
    features = np.eye(S)
    kind = draw(st.sampled_from(["cells", "shared", "reduced"]))
    if kind == "shared":
        features = rng.normal(size=(S, draw(st.integers(1, 2))))
    pi = softmax(features @ rng.normal(size=(features.shape[1], A)))
    z = scores(pi, features)
    if kind == "reduced":
        z = z @ rng.normal(size=(z.shape[-1], draw(st.integers(1, 3))))
    return mdp, pi, z


@settings(max_examples=60, deadline=None)
@given(problems(), st.booleans())
def test_every_variant_and_every_part_of_its_variance_against_enumeration(problem, discount_scores):
    mdp, pi, z = problem
    tree, oracle = estimates(mdp, pi, z, discount_scores)
    truth = GroundTruth(mdp, pi, z, discount_scores=discount_scores)
    assert set(VARIANTS) <= set(oracle)
    for variant, g in oracle.items():
        scale = tree.probability @ (g**2).sum(-1) + 1e-3 * tree.probability @ (oracle[Variant("rtg")] ** 2).sum(-1)
        found = truth.moments(*variant, gae_lambda=LAMBDA)
        assert_moments(found, tree.moments(g), scale, variant)


@settings(max_examples=25, deadline=None)
@given(problems(horizon=3), st.booleans())
def test_the_whole_covariance_against_enumeration(problem, discount_scores):
    mdp, pi, z = problem
    tree, oracle = estimates(mdp, pi, z, discount_scores)
    truth = GroundTruth(mdp, pi, z, discount_scores=discount_scores)
    for variant in VARIANTS:
        expected = tree.moments(oracle[variant])
        found = truth.moments(*variant, gae_lambda=LAMBDA, covariance=True)
        scale = tree.probability @ (oracle[Variant("rtg")] ** 2).sum(-1) + np.trace(expected.covariance)
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-10, atol=1e-12 * scale)
        assert_moments(found, expected, scale, variant)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_values_occupancies_and_the_gradient_three_ways(problem):
    mdp, pi, z = problem
    tree = Tree(mdp, pi)
    H, p = mdp.horizon, tree.probability
    V, Q = values(mdp, pi)
    occupied = occupancy(mdp, pi)
    G = np.stack([(mdp.gamma ** np.arange(H - k) * tree.rewards[:, k:]).sum(1) for k in range(H)], 1)
    s, a, t = tree.states[:, :-1], tree.actions, np.arange(H)
    expected_V = tree.conditional_mean(G, tree.alive, t, s)
    expected_Q = tree.conditional_mean(G, tree.alive, t, s, a)
    np.testing.assert_allclose(V[t, s] * tree.alive, expected_V, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(Q[t, s, a] * tree.alive, expected_Q, rtol=1e-10, atol=1e-12)
    assert not V[H].any()
    for state in range(mdp.num_states):
        np.testing.assert_allclose(occupied[:, state], p @ (tree.alive & (s == state)), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(J(mdp, pi), p @ G[:, 0], rtol=1e-10, atol=1e-12)
    zs = z[s, a] * tree.alive[..., None]
    np.testing.assert_allclose(gradient(mdp, pi, z), (p * G[:, 0]) @ zs.sum(1), rtol=1e-10, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_the_gradient_is_the_complex_step_derivative_of_J(problem, seed):
    mdp, pi, _ = problem
    features = np.random.default_rng(seed).normal(size=(mdp.num_states, 2))
    z = scores(pi, features)
    P = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states))
    states, arms = np.ogrid[: mdp.num_states, : mdp.num_actions]
    np.add.at(P, (states[..., None], arms[..., None], mdp.successors), mdp.probabilities)
    earned = (mdp.probabilities * mdp.rewards).sum(-1)

    def return_of(logits: np.ndarray) -> complex:
        weights = np.exp(logits)
        policy = weights / weights.sum(-1, keepdims=True)
        V = np.zeros(mdp.num_states, complex)
        for _ in range(mdp.horizon):
            V = (policy * (earned + mdp.gamma * P @ V)).sum(-1) * ~mdp.terminal
        return mdp.rho0 @ V

    step = 1e-30
    derivative = [
        return_of(np.log(pi) + 1j * step * np.outer(x, np.eye(mdp.num_actions)[j])).imag / step
        for x in features.T
        for j in range(mdp.num_actions)
    ]
    np.testing.assert_allclose(gradient(mdp, pi, z), derivative, rtol=1e-10, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(problems(), st.booleans())
def test_no_baseline_changes_what_initial_states_and_transitions_contribute(problem, discount_scores):
    truth = GroundTruth(*problem, discount_scores=discount_scores)
    for phi, critic in (("return", "none"), ("rtg", "none"), ("q", "exact")):
        plain = truth.moments(phi, "none", critic, covariance=True)  # the recursion itself, not its expansion in b
        for baseline in ("mean", "time", "textbook", "optimal constant", "optimal time-state"):
            other = truth.moments(phi, baseline, critic, covariance=True)
            size = plain.trace_variance + plain.mean @ plain.mean
            assert other.v_s0 == pytest.approx(plain.v_s0, rel=1e-10, abs=1e-12 * size)
            assert other.v_transition == pytest.approx(plain.v_transition, rel=1e-10, abs=1e-12 * size)


@settings(max_examples=30, deadline=None)
@given(problems(), st.booleans())
def test_identities_between_variants(problem, discount_scores):
    """GAE(0) is the TD error, GAE(1) reward-to-go - V; td has the action part of Q - V, all-action the other."""
    truth = GroundTruth(*problem, discount_scores=discount_scores)
    scale = truth.moments("rtg").trace_variance + truth.gradient @ truth.gradient + 1e-300

    def same(x: Moments, y: Moments) -> None:
        assert_moments(x, y, scale, "identity")

    for critic in ("exact", "clockless"):
        same(truth.moments("advantage", critic=critic, gae_lambda=0.0), truth.moments("td", critic=critic))
        same(truth.moments("advantage", critic=critic, gae_lambda=1.0), truth.moments("rtg", "value", critic))
    td, q = truth.moments("td", critic="exact"), truth.moments("q", "value", "exact")
    assert td.v_action == pytest.approx(q.v_action, rel=1e-10, abs=1e-12 * scale)
    all_action = truth.moments("all-action", critic="exact")
    assert all_action.v_transition == pytest.approx(q.v_transition, rel=1e-10, abs=1e-12 * scale)
    variances = [truth.moments("rtg", f"optimal {cell}").trace_variance for cell in ("time-state", "state", "constant")]
    assert variances[0] <= truth.moments("rtg", "value", "exact").trace_variance + 1e-12 * scale
    assert np.diff(variances).min() >= -1e-12 * scale
    assert variances[2] <= truth.moments("rtg", "mean").trace_variance + 1e-12 * scale
    assert variances[2] <= truth.moments("rtg").trace_variance + 1e-12 * scale


def ragged() -> tuple[MDP, np.ndarray, np.ndarray]:
    """Episodes that end early or come back to where they were."""
    mdp = cut_short()
    pi = softmax(mdp.logits)
    return mdp, pi, scores(pi, mdp.features)


@settings(max_examples=15, deadline=None)
@given(problems(horizon=2, states=2, actions=2), st.sampled_from([2, 3]), st.booleans())
@example(ragged(), 3, True)
@example(ragged(), 2, False)
def test_baselines_from_the_batch_against_all_batches(problem, episodes, discount_scores):
    """Every N-tuple of trajectories: the mean return of all and of the others, and the others' mean at each step."""
    mdp, pi, z = problem
    tree, oracle = estimates(mdp, pi, z, discount_scores)
    if len(tree.probability) ** episodes > 20_000:
        episodes = 2
    batches = np.array(list(product(range(len(tree.probability)), repeat=episodes)))
    chance = tree.probability[batches].prod(1)
    R = (mdp.gamma ** np.arange(mdp.horizon) * tree.rewards).sum(1)
    truth = GroundTruth(mdp, pi, z, discount_scores=discount_scores)
    weights = mdp.gamma ** np.arange(mdp.horizon) if discount_scores else np.ones(mdp.horizon)
    zs = z[tree.states[:, :-1], tree.actions] * tree.alive[..., None]
    t, s, a = np.arange(mdp.horizon), tree.states[:, :-1], tree.actions
    G = np.stack([(mdp.gamma ** np.arange(mdp.horizon - k) * tree.rewards[:, k:]).sum(1) for k in t], 1) * tree.alive
    Q = tree.conditional_mean(G, tree.alive, t, s, a)
    clockless_Q = tree.conditional_mean(G, tree.alive, 0 * t, s, a)
    mean_R = R[batches].mean(1, keepdims=True)
    others = (episodes * mean_R - R[batches]) / (episodes - 1)
    for variant, of_step, w in (
        (Variant("return"), R[:, None] * tree.alive, np.ones(mdp.horizon)),
        (Variant("rtg"), G, weights),
        (Variant("q", "none", "exact"), Q, weights),
        (Variant("q", "none", "clockless"), clockless_Q, weights),
    ):
        phi, _, critic = variant
        zw = zs * w[:, None]
        last = tree.alive[batches]  # [B,N,H]
        number = (last.sum(1, keepdims=True) - last) * last
        sums = (of_step[batches].sum(1, keepdims=True) - of_step[batches]) * last
        per_step = np.divide(sums, number, out=0 * sums, where=number > 0)
        baselines = {
            "mean": np.broadcast_to(mean_R[..., None], per_step.shape),
            "loo": np.broadcast_to(others[..., None], per_step.shape),
            "time": per_step,
        }
        for name, b in baselines.items():
            if (phi, name) == ("q", "mean"):
                continue
            g = (oracle[variant][batches] - np.einsum("bnt,bntd->bnd", b, zw[batches])).mean(1)
            mean = chance @ g
            covariance = episodes * ((chance[:, None] * (g - mean)).T @ (g - mean))
            found = truth.moments(phi, name, critic, episodes=episodes, covariance=True)
            scale = np.trace(covariance) + chance @ (oracle[variant][batches] ** 2).sum((1, 2))
            np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=1e-12 * math.sqrt(scale))
            np.testing.assert_allclose(found.covariance, covariance, rtol=1e-10, atol=1e-12 * scale)
            assert found.trace_variance == pytest.approx(np.trace(covariance), rel=1e-10, abs=1e-12 * scale)
            traced = truth.moments(phi, name, critic, episodes=episodes)
            assert traced.trace_variance == pytest.approx(found.trace_variance, rel=1e-10, abs=1e-12 * scale)
            distance = chance @ ((g - tree.gradient) ** 2).sum(1)
            assert found.mse(episodes) == pytest.approx(distance, rel=1e-10, abs=1e-12 * scale)


def test_the_batch_mean_return_scales_the_gradient_and_leaving_one_out_does_not():
    truth = ground_truth(tabular.chain(horizon=6, gamma=0.9))
    for episodes in (2, 5, 100):
        mean = truth.moments("return", "mean", episodes=episodes).mean
        np.testing.assert_allclose(mean, (1 - 1 / episodes) * truth.gradient, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(truth.moments("return", "loo", episodes=episodes).mean, truth.gradient, rtol=1e-12)
    # At small N the bias pays: leave-one-out is further off (methodology.md, pitfalls).
    noisy = ground_truth(tabular.bandit([0.5, 0.6]))
    assert noisy.moments("return", "mean", episodes=2).mse(2) < noisy.moments("return", "loo", episodes=2).mse(2)
    # Reward-to-go of step t is scaled by 1 - gamma^t / N.
    visits = truth.occupancy[..., None] * truth.pi * truth.critics["exact"].advantage
    steps = 0.9 ** np.arange(6) * np.tensordot(visits, truth.z, 2).T
    np.testing.assert_allclose(steps.sum(1), truth.gradient, rtol=1e-12)
    mean = truth.moments("rtg", "mean", episodes=2).mean
    np.testing.assert_allclose(mean, (steps * (1 - 0.9 ** np.arange(6) / 2)).sum(1), rtol=1e-12)
    limit = truth.moments("rtg", "mean").trace_variance
    assert truth.moments("rtg", "mean", episodes=10**9).trace_variance == pytest.approx(limit, rel=1e-7)


@settings(max_examples=25, deadline=None)
@given(problems(horizon=3), st.sampled_from([1e7, -1e8, 1e10]), st.booleans())
def test_rewards_that_are_all_larger_add_what_algebra_says_and_lose_no_digit(problem, offset, discount_scores):
    """Every trace variance is a quadratic in a number c added to all rewards: three small c tell its value at a large
    one. Rewards are multiples of 1/64, so that adding c rounds nothing."""
    mdp, pi, z = problem
    on_grid = np.round(mdp.rewards * 64) / 64 * ~mdp.terminal[:, None, None]

    def truth(c: float) -> GroundTruth:
        return GroundTruth(replace(mdp, rewards=on_grid + c), pi, z, discount_scores=discount_scores)

    small, large = [truth(c) for c in (-16.0, 0.0, 16.0)], truth(offset)
    unit = small[0].moments("return").trace_variance + 1e-9
    finite = [(phi, baseline) for phi in ("return", "rtg") for baseline in ("mean", "loo", "time")]
    for variant, episodes in [(v, math.inf) for v in VARIANTS] + [(Variant(*v), 3) for v in finite]:
        less, plain, more = (t.moments(*variant, episodes=episodes) for t in small)
        found = large.moments(*variant, episodes=episodes)
        square = (less.trace_variance + more.trace_variance - 2 * plain.trace_variance) / 512
        slope = (more.trace_variance - less.trace_variance) / 32
        square, slope = (x * (abs(x) > 1e-13 * unit) for x in (square, slope))
        expected = plain.trace_variance + slope * offset + square * offset**2
        assert found.trace_variance == pytest.approx(expected, rel=1e-8, abs=1e-14 * unit), (variant, episodes)
    if not mdp.terminal.any():  # then these do not depend on c at all
        built_in = [Variant(phi, "none", "exact") for phi in ("td", "advantage", "all-action")]
        cells = ("value", "time", "textbook", "optimal time", "optimal time-state")
        of_time = [v for v in VARIANTS if v.phi in ("rtg", "q") and v.baseline in cells and v.critic != "clockless"]
        of_return = [Variant("return", b) for b in ("mean", "time", "optimal constant", "optimal state")]
        for variant in (*built_in, *of_time, *of_return):
            expected, found = small[1].moments(*variant), large.moments(*variant)
            np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-9, atol=1e-12, err_msg=str(variant))
            for part in ("v_s0", "v_action", "v_transition"):
                assert getattr(found, part) == pytest.approx(getattr(expected, part), rel=1e-9, abs=1e-14)


@settings(max_examples=20, deadline=None)
@given(problems(horizon=3, actions=2), st.integers(0, 2**32 - 1))
def test_the_fisher_metric_does_not_see_the_parameters_and_the_direction_is_that_of_the_gradient(problem, seed):
    mdp, pi, z = problem
    truth, d = GroundTruth(mdp, pi, z), z.shape[-1]
    M = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0] * np.linspace(0.5, 2, d)
    other = GroundTruth(mdp, pi, z @ M)
    for variant, N in [(v, math.inf) for v in VARIANTS[:10]] + [
        (Variant("rtg", "time"), 3),
        (Variant("rtg", "mean"), 3),
    ]:
        if "optimal" in variant.baseline:  # is the best in one metric only
            continue
        C = truth.moments(*variant, episodes=N, covariance=True).covariance
        found = truth.in_fisher_metric.moments(*variant, episodes=N).trace_variance
        scale = np.trace(truth.in_fisher_metric.moments("rtg", covariance=True).covariance)
        assert found == pytest.approx(
            other.in_fisher_metric.moments(*variant, episodes=N).trace_variance, rel=1e-6, abs=1e-9 * scale
        )
        if truth.gradient @ truth.gradient > 1e-12:
            unit = truth.gradient / np.linalg.norm(truth.gradient)
            along = truth.along_gradient.moments(*variant, episodes=N)
            assert along.trace_variance == pytest.approx(unit @ C @ unit, rel=1e-8, abs=1e-12 * np.trace(C))


def test_the_noise_of_a_bandit_in_the_fisher_metric():
    """One step, F = E[z z']: with Phi = 1, C = F and tr(F^+ C) is the number of free directions, A - 1."""
    mdp = replace(tabular.bandit([1.0, 1.0, 1.0]), horizon=1)
    truth = ground_truth(mdp, np.array([[0.3, -0.4, 1.0]] * 3))
    assert truth.in_fisher_metric.moments("return").trace_variance == pytest.approx(2, rel=1e-12)


def test_the_crossover_is_where_the_errors_are_equal():
    """The TD error of a critic that does not see the time is biased and quiet, reward-to-go unbiased and noisy."""
    truth = ground_truth(tabular.chain(horizon=6))
    td, rtg = truth.moments("td", "none", "clockless"), truth.moments("rtg")
    N = crossover(td, rtg)
    assert 1 < N < math.inf
    assert td.mse(N) == pytest.approx(rtg.mse(N), rel=1e-12)
    assert td.mse(N / 2) < rtg.mse(N / 2)
    assert td.mse(2 * N) > rtg.mse(2 * N)
    assert crossover(rtg, td) == math.inf
    assert crossover(rtg, truth.moments("rtg", "value", "exact")) == 0
    assert crossover(truth.moments("rtg", "value", "exact"), rtg) == math.inf
    curve = mse_curve(truth, Variant("td", "none", "clockless"), [1, 10])
    assert curve.tolist() == pytest.approx([td.mse(1), td.mse(10)])
    mean = [truth.moments("return", "mean", episodes=N).mse(N) for N in (2, 10)]
    assert mse_curve(truth, Variant("return", "mean"), [2, 10]).tolist() == pytest.approx(mean)
