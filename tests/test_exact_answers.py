"""`ablate.exact` on problems whose answers are known, to the printed digits."""

import math
from dataclasses import replace

import numpy as np
import pytest
from exact_oracle import assert_moments, ground_truth

from ablate.envs import tabular
from ablate.errors import UserError
from ablate.exact import (
    VARIANTS,
    J,
    clockless,
    exact_critic,
    gradient,
    occupancy,
    scores,
    softmax,
    values,
)
from ablate.mdp import MDP


def test_cost_then_prize_makes_reward_to_go_the_noisier():
    """Claim C4's counterexample: r_0 = -10 or -10.5, r_1 = +10 or +11 by action; one logit vector (0.5, 0) for both."""
    P = [[[0, 1, 0]] * 2, [[0, 0, 1]] * 2, [[0, 0, 1]] * 2]
    R = [[-10, -10.5], [10, 11], [0, 0]]
    mdp = MDP.from_dense(P, R, [1, 0, 0], 2, terminal=[False, False, True], features=np.ones((3, 1)))
    truth = ground_truth(mdp, np.array([[0.5, 0.0]] * 3))
    assert f"{truth.moments('return').trace_variance:.3f}" == "0.118"
    assert f"{truth.moments('rtg').trace_variance:.1f}" == "53.1"


def test_the_value_is_a_bad_baseline_for_a_sure_two_armed_bandit():
    """Claim C7's counterexample: p_1 = 0.9, Q = (1, 0); the optimal b is p_2 Q_1 + p_1 Q_2."""
    truth = ground_truth(tabular.bandit([1.0, 1.0], rewards=[1.0, 0.0]), np.log([[0.9, 0.1]] * 3))
    assert f"{truth.moments('rtg').trace_variance:.4f}" == "0.0018"
    assert f"{truth.moments('rtg', 'value', 'exact').trace_variance:.4f}" == "0.1152"
    assert truth.moments("rtg", "optimal constant").trace_variance == pytest.approx(0, abs=1e-16)
    assert truth.moments("rtg", "optimal constant").snr > 1e12
    shifted = truth.moments("rtg", "loo").bias_squared + truth.moments("rtg", "mean").bias_squared
    assert shifted == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("p", [0.3, 0.5, 2 - math.sqrt(2), 0.8])
def test_the_short_corridor(p):
    """J(p) = -(4 - 2p) / (p (1 - p)) and its derivative; at p* = 2 - sqrt 2 it is the best, -11.657."""
    mdp = tabular.corridor(horizon=1500)
    pi = np.array([[1 - p, p]] * 4)
    assert J(mdp, pi) == pytest.approx(-(4 - 2 * p) / (p * (1 - p)), rel=1e-10)
    slope = 2 / (p * (1 - p)) + (4 - 2 * p) * (1 - 2 * p) / (p * (1 - p)) ** 2  # dJ/dp; dp/dlogit = +-p (1 - p)
    expected = slope * p * (1 - p) * np.array([-1, 1])
    np.testing.assert_allclose(gradient(mdp, pi, scores(pi, mdp.features)), expected, rtol=1e-9, atol=1e-9)
    if p == 2 - math.sqrt(2):
        assert f"{J(mdp, pi):.3f}" == "-11.657"


def test_nothing_is_left_of_all_action_noise_where_the_states_are_sure():
    steps = np.zeros((3, 2, 3))
    steps[[0, 1, 2], :, [1, 2, 0]] = 1
    mdp = MDP.from_dense(steps, np.arange(6.0).reshape(3, 2), [1, 0, 0], 7, 0.9)
    found = ground_truth(mdp).moments("all-action", critic="exact")
    assert found.trace_variance == 0
    assert found.snr == math.inf
    assert found.bias_squared == pytest.approx(0, abs=1e-26)


def test_leaving_out_the_discount_of_the_scores_is_a_bias_that_the_return_does_not_have():
    mdp = tabular.chain(horizon=4, gamma=0.8)
    truth = ground_truth(mdp, discount_scores=False)
    bias = truth.moments("rtg").bias_squared
    assert bias > 0.01 * truth.gradient @ truth.gradient
    assert truth.moments("q", "value", "exact").bias_squared == pytest.approx(bias, rel=1e-10)
    assert truth.moments("return").bias_squared < 1e-24


def test_the_clockless_critic_weighs_times_by_how_often_a_state_is_visited():
    mdp = tabular.chain(horizon=5)
    pi = softmax(mdp.logits)
    V, _ = values(mdp, pi)
    occupied = occupancy(mdp, pi)
    fitted = clockless(exact_critic(mdp, pi), occupied)
    fitted_V, fitted_Q = fitted.V, fitted.Q
    for s in range(mdp.num_states):
        if occupied[:, s].any():
            np.testing.assert_allclose(fitted_V[:-1, s], np.average(V[:-1, s], weights=occupied[:, s]), rtol=1e-12)
    np.testing.assert_allclose(fitted_V[:-1], (fitted_Q * pi).sum(-1), rtol=1e-12)
    assert not fitted_V[-1].any()


def test_sparse_and_dense_successors_and_split_outcomes_give_the_same_numbers():
    """A large sparse MDP takes the gathering path; padding it to many successors, the matrix one."""
    mdp = tabular.gridworld(rows=4, columns=5, horizon=12, gamma=0.9)
    spare = 20
    pad = [(0, 0), (0, 0), (0, spare)]
    padded = replace(
        mdp,
        successors=np.pad(mdp.successors, pad),
        probabilities=np.pad(mdp.probabilities, pad),
        rewards=np.pad(mdp.rewards, pad, constant_values=7.0),
    )
    halved = replace(
        mdp,
        successors=np.tile(mdp.successors, 2),
        probabilities=np.tile(mdp.probabilities / 2, 2),
        rewards=np.tile(mdp.rewards, 2),
    )
    logits = np.random.default_rng(0).normal(size=(20, 4))
    plain = ground_truth(mdp, logits)
    for other in (ground_truth(padded, logits), ground_truth(halved, logits)):
        for variant in VARIANTS:
            expected = plain.moments(*variant)
            assert_moments(other.moments(*variant), expected, plain.moments("rtg").trace_variance, variant)


def test_variants_that_do_not_exist_are_refused():
    truth = ground_truth(tabular.bandit([0.5, 0.6]))
    for bad in (("g",), ("rtg", "best"), ("td", "value", "exact"), ("q",), ("rtg", "none", "exact"), ("rtg", "value")):
        with pytest.raises(UserError):
            truth.moments(*bad)
    with pytest.raises(UserError):
        truth.moments("rtg", "loo", episodes=1)
    with pytest.raises(UserError):
        truth.moments("q", "mean", "exact", episodes=5)
