"""Facts 1 to 4 of the lecture, true to the last digit on MDPs small enough to write every trajectory down."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import cut_short, three_steps
from hypothesis import given
from hypothesis import strategies as st

from ablate.envs import tabular
from ablate.envs.outcomes import Outcome, from_outcomes
from ablate.exact import J, enumerate_trajectories, gradient, scores, softmax
from ablate.mdp import MDP

STEP = 1e-30  # of complex-step derivatives, which have no rounding to balance it against


def two_ways() -> MDP:
    """A pair (s, a) that leads to the same s' with two rewards: two trajectories, not one."""

    def outcomes(s: int, a: int) -> list[Outcome]:
        return [(0.25, 1, 1.0, False), (0.75, 1, 5.0, False)] if a else [(1.0, 0, 0.5, False)]

    return from_outcomes(outcomes, 2, 2, start=0, horizon=3, gamma=0.7)


def random(index: int) -> MDP:
    mdp = tabular.random_mdp(index, states=3, actions=2, successors=2, horizon=3, gamma=0.9)
    return replace(mdp, logits=np.random.default_rng(index).normal(size=(3, 2)))


MDPS = {"cut_short": cut_short(), "three_steps": three_steps(), "two_ways": two_ways(), "random": random(0)}
every_mdp = pytest.mark.parametrize("mdp", MDPS.values(), ids=MDPS)


def score_table(mdp: MDP) -> np.ndarray:
    return scores(softmax(mdp.logits), mdp.features)


def along(mdp: MDP, f) -> np.ndarray:
    """d f(logits) / d logits[s, a] by complex step, on a last axis [.., S*A] in the order of `score_table`."""
    derivatives = []
    for cell in range(mdp.logits.size):
        logits = mdp.logits.astype(complex)
        logits.flat[cell] += STEP * 1j
        derivatives.append(np.imag(f(softmax(logits))) / STEP)
    return np.stack(derivatives, axis=-1)


@pytest.mark.parametrize(
    ("mdp", "count"),
    [
        (three_steps(), 2**3),  # two actions a step, no chance
        # From state 0: a=0 leads on to 1 or ends, a=1 ends; a second step from 1: a=0 in two ways, a=1 in one.
        # So 3 + 2 = 5 from state 0. From state 1: a=0 leads to 0 (then 3 ways) or 1 (then 3), a=1 to 1 (then 3): 9.
        (cut_short(), 5 + 9),
        # Three actions lead to as many next states as they like: ((a=0: 1) + (a=1: 2))^3 = 27.
        (two_ways(), 27),
    ],
)
def test_every_possible_trajectory_is_there_once(mdp: MDP, count: int) -> None:
    found = enumerate_trajectories(mdp)
    rows = np.concatenate([found.states, found.actions, found.outcomes], axis=1)
    assert len(rows) == len(np.unique(rows, axis=0)) == count


@every_mdp
def test_fact_1_the_probability_of_a_trajectory_is_a_product_and_all_sum_to_one(mdp: MDP) -> None:
    """P(tau) = rho_0(s_0) prod_t pi(a_t|s_t) P(s_{t+1}|s_t, a_t)."""
    pi, found = softmax(mdp.logits), enumerate_trajectories(mdp)
    probability = np.exp(found.log_prob(pi))
    assert probability.sum() == pytest.approx(1, abs=1e-14)
    for i, p in enumerate(probability):
        product = mdp.rho0[found.states[i, 0]]
        for t in range(mdp.horizon):
            s, a, k = found.states[i, t], found.actions[i, t], found.outcomes[i, t]
            if mdp.terminal[s]:
                assert not found.alive[i, t]
                continue
            assert mdp.successors[s, a, k] == found.states[i, t + 1]
            product *= pi[s, a] * mdp.probabilities[s, a, k]
        assert p == pytest.approx(product, rel=1e-13)


def test_a_trajectory_that_the_policy_never_takes_has_probability_0() -> None:
    mdp, always_left = three_steps(), np.array([[1.0, 0.0], [1.0, 0.0]])
    probability = np.exp(enumerate_trajectories(mdp).log_prob(always_left))
    assert sorted(probability) == [0.0] * 7 + [1.0]


@every_mdp
def test_fact_2_the_log_derivative_trick(mdp: MDP) -> None:
    """grad P(tau) = P(tau) grad log P(tau), both sides differentiated by themselves."""
    found = enumerate_trajectories(mdp)
    of_probability = along(mdp, lambda pi: np.exp(found.log_prob(pi)))
    of_logarithm = along(mdp, found.log_prob)
    np.testing.assert_allclose(
        of_probability, np.exp(found.log_prob(softmax(mdp.logits)))[:, None] * of_logarithm, atol=1e-15
    )


@every_mdp
def test_fact_3_the_gradient_of_log_p_has_no_terms_of_the_dynamics(mdp: MDP) -> None:
    """grad log P(tau) = sum_t z_t: for each tau, and the same where the same tau have other probabilities and rewards.

    The other dynamics have the same possible successors; that log P itself changes shows that they are others.
    """
    found = enumerate_trajectories(mdp)
    z_sums = found.scores(score_table(mdp))
    np.testing.assert_allclose(along(mdp, found.log_prob), z_sums, atol=1e-14)

    weights = np.random.default_rng(1).uniform(0.5, 2, mdp.probabilities.shape) * mdp.probabilities
    elsewhere = replace(mdp, probabilities=weights / weights.sum(-1, keepdims=True), rho0=mdp.rho0[::-1] + mdp.rho0)
    same = replace(found, mdp=elsewhere)
    np.testing.assert_allclose(along(mdp, same.log_prob), z_sums, atol=1e-14)
    if (mdp.probabilities < 1).any():
        pi = softmax(mdp.logits)
        assert np.abs(same.log_prob(pi) - found.log_prob(pi)).max() > 0.01


@every_mdp
def test_fact_4_the_gradient_of_j_is_an_expectation_over_trajectories(mdp: MDP) -> None:
    """J = sum P(tau) R(tau); grad J = sum P(tau) sum_t z_t R(tau): as by dynamic programming, and by complex step."""
    pi, z, found = softmax(mdp.logits), score_table(mdp), enumerate_trajectories(mdp)
    assert found.J(pi) == pytest.approx(J(mdp, pi), abs=1e-13)
    np.testing.assert_allclose(found.gradient(pi, z), gradient(mdp, pi, z), atol=1e-13)
    np.testing.assert_allclose(found.gradient(pi, z), along(mdp, found.J), atol=1e-13)


@every_mdp
def test_the_expected_score_is_zero(mdp: MDP) -> None:
    """E[sum_t z_t] = grad sum_tau P(tau) = grad 1: what lets a constant baseline leave the mean alone."""
    pi, found = softmax(mdp.logits), enumerate_trajectories(mdp)
    np.testing.assert_allclose(np.exp(found.log_prob(pi)) @ found.scores(score_table(mdp)), 0, atol=1e-14)


@given(st.integers(0, 10_000))
def test_facts_hold_on_random_mdps(index: int) -> None:
    mdp = random(index)
    pi, z, found = softmax(mdp.logits), score_table(mdp), enumerate_trajectories(mdp)
    assert np.exp(found.log_prob(pi)).sum() == pytest.approx(1, abs=1e-13)
    np.testing.assert_allclose(found.gradient(pi, z), gradient(mdp, pi, z), atol=1e-12)


def test_a_return_is_discounted_from_the_start() -> None:
    """three_steps, gamma 0.8, always action 1: rewards -0.5 in state 0, then 0.3 in state 1: -0.5 + 0.24 + 0.192."""
    mdp = three_steps()
    found = enumerate_trajectories(mdp)
    always = (found.actions == 1).all(1)
    assert found.returns[always] == pytest.approx([-0.5 + 0.8 * 0.3 + 0.64 * 0.3])
