"""Bellman iteration, and the optimum that it is held against: by brute force over policies, and by long iteration."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from bits import assert_bits, trained
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from ablate import build
from ablate.envs import tabular
from ablate.envs.outcomes import from_outcomes
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.exact import J, backup, optimal_values, softmax, stationary_values, values
from ablate.mdp import MDP
from ablate.randomness import streams


def garnet(index: int, gamma: float, states: int = 4, actions: int = 2) -> MDP:
    return tabular.random_mdp(index, states, actions, successors=2, gamma=gamma)


def dense(mdp: MDP) -> tuple[np.ndarray, np.ndarray]:
    """P [S,A,S] and r [S,A] entry by entry, 0 in terminal states."""
    P, r = np.zeros((mdp.num_states, mdp.num_actions, mdp.num_states)), np.zeros((mdp.num_states, mdp.num_actions))
    for s, a, k in np.ndindex(mdp.successors.shape):
        if not mdp.terminal[s]:
            P[s, a, mdp.successors[s, a, k]] += mdp.probabilities[s, a, k]
            r[s, a] += mdp.probabilities[s, a, k] * mdp.rewards[s, a, k]
    return P, r


def brute_force(mdp: MDP) -> np.ndarray:
    """Q* from the best, state by state, of all deterministic policies; each evaluated by a dense solve."""
    P, r = dense(mdp)
    every, S = np.arange(mdp.num_states), mdp.num_states
    policies = product(range(mdp.num_actions), repeat=S)
    V = np.max([np.linalg.solve(np.eye(S) - mdp.gamma * P[every, a], r[every, a]) for a in map(list, policies)], axis=0)
    return r + mdp.gamma * P @ V


def iterated(mdp: MDP, sweeps: int) -> np.ndarray:
    P, r = dense(mdp)
    Q = np.zeros_like(r)
    for _ in range(sweeps):
        Q = r + mdp.gamma * P @ Q.max(-1)
    return Q


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.6, 0.9, 0.99]))
def test_the_optimum_is_the_best_of_all_policies(index: int, gamma: float) -> None:
    mdp = garnet(index, gamma)
    Q = optimal_values(mdp)
    np.testing.assert_allclose(Q, brute_force(mdp), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(backup(mdp, Q.max(-1)), Q, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 10_000))
def test_with_gamma_1_and_an_end_that_every_policy_reaches_it_is_too(index: int) -> None:
    """Every (s, a) of a random MDP may also end: 30% of the time."""
    mdp = garnet(index, 1.0)
    P, r = dense(mdp)
    end = np.zeros((5, 2, 5))
    end[:4, :, :4], end[:4, :, 4], end[4, :, 4] = 0.7 * P, 0.3, 1
    ending = MDP.from_dense(end, np.vstack([r, [9, 9]]), [1, 0, 0, 0, 0], 20, 1.0, terminal=[False] * 4 + [True])
    np.testing.assert_allclose(optimal_values(ending)[:4], iterated(ending, 200)[:4], atol=1e-11)


@pytest.mark.parametrize(
    ("mdp", "sweeps"),
    [
        (tabular.gridworld(), 1000),
        (tabular.cliffwalking(), 100),
        (tabular.frozenlake(), 10_000),  # here one may go round for ever, for nothing
        (tabular.frozenlake(is_slippery=False), 100),
        (tabular.bandit([0.2, 0.9], [5.0, 1.0]), 2),
        (tabular.random_walk(), 10),
        (tabular.corridor(), 10),
    ],
    ids=["gridworld", "cliffwalking", "frozenlake", "sure ice", "bandit", "random walk", "corridor"],
)
def test_with_gamma_1_it_is_what_bellman_iteration_comes_to(mdp: MDP, sweeps: int) -> None:
    np.testing.assert_allclose(optimal_values(mdp), iterated(mdp, sweeps), atol=1e-11)


def loop(reward: float, exit_reward: float) -> MDP:
    """One state: stay (a = 0) for `reward`, or end (a = 1) for `exit_reward`."""
    return from_outcomes(
        lambda s, a: [(1.0, 1, exit_reward, True)] if a else [(1.0, 0, reward, False)], 2, 2, start=0, horizon=9
    )


@pytest.mark.parametrize(
    ("mdp", "best"),
    [
        (loop(-1.0, -5.0), [-6.0, -5.0]),  # to stay costs: one ends in the end
        (loop(0.0, -5.0), [0.0, -5.0]),  # to stay is free: better than to end
        (loop(0.0, 5.0), [5.0, 5.0]),
    ],
)
def test_with_gamma_1_staying_for_ever_is_worth_what_it_earns(mdp: MDP, best: list[float]) -> None:
    np.testing.assert_allclose(optimal_values(mdp)[0], best, atol=1e-12)
    np.testing.assert_allclose(iterated(mdp, 50)[0], best, atol=1e-12)


def endless(reward: float) -> MDP:
    return MDP.from_dense([[[1.0]]], [[reward]], [1.0], 5)


@pytest.mark.parametrize("mdp", [loop(1.0, 100.0), endless(1.0), endless(-1.0), tabular.chain()])
def test_with_gamma_1_sums_that_never_end_are_refused(mdp: MDP) -> None:
    with pytest.raises(UserError, match=r"gamma=1 .* write gamma=0\.99"):
        optimal_values(mdp)


def test_a_place_where_nothing_is_earned_is_an_end() -> None:
    """README's prize: a cost of 10 or 10.5, then for ever nothing; with gamma = 1 no state need be marked terminal."""
    mdp = MDP.from_dense([[[0, 1], [0, 1]], [[0, 1], [0, 1]]], [[-10, -10.5], [0, 0]], [1, 0], 2)
    assert optimal_values(mdp).tolist() == [[-10, -10.5], [0, 0]]
    assert stationary_values(mdp, np.full((2, 2), 0.5)).tolist() == [-10.25, 0]


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.9]))
def test_stationary_values_are_those_of_a_long_horizon(index: int, gamma: float) -> None:
    """gamma^400 < 1e-18: the horizon is out of sight."""
    mdp = garnet(index, gamma).with_horizon(400)
    pi = softmax(np.random.default_rng(index).normal(size=(4, 2)))
    np.testing.assert_allclose(stationary_values(mdp, pi), values(mdp, pi)[0][0], atol=1e-11)


def test_stationary_values_of_the_random_walk_are_sixths() -> None:
    V = stationary_values(tabular.random_walk(), np.full((7, 2), 0.5))
    np.testing.assert_allclose(V, [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 0], atol=1e-14)


@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.9, 0.99]))
def test_a_sweep_contracts_the_error_by_gamma(index: int, gamma: float) -> None:
    """|Q_{k+1} - Q*| <= gamma |Q_k - Q*| in the sup norm, from any Q_0, to rounding."""
    mdp = garnet(index, gamma, states=6, actions=3)
    optimum, Q = optimal_values(mdp), np.random.default_rng(index).normal(0, 10, (6, 3))
    for _ in range(20):
        before, Q = np.abs(Q - optimum).max(), backup(mdp, Q.max(-1))
        assert np.abs(Q - optimum).max() <= gamma * before + 1e-11


def test_the_learner_contracts_to_the_optimum_and_says_so() -> None:
    """random_mdp, gamma 0.9: every q_error at most 0.9 times the last, from |Q*| on; 1e-9 of it left after 200."""
    config = compose("algorithm=q_iteration", "env=random_mdp", "gamma=0.9").config
    state, records = trained(config, [0, 5], 200)
    optimum = optimal_values(replace(build.environment(config).mdp, gamma=0.9))
    errors = np.array([np.abs(optimum).max(), *(record["q_error"][0] for record in records)])
    assert (errors[1:] <= 0.9 * errors[:-1] + 1e-13).all()
    assert errors[-1] < 1e-8 * errors[0]
    np.testing.assert_allclose(state["q"][1].numpy(), optimum, rtol=1e-8)
    first, second = (np.abs(iterated(replace(build.environment(config).mdp, gamma=0.9), k)) for k in (1, 2))
    assert records[0]["grad_norm"][0] == pytest.approx(first.max())  # |Q_1 - Q_0|, Q_0 = 0
    assert records[0]["env_steps"].tolist() == records[0]["episodes"].tolist() == [0, 0]
    assert all((record[name] == record[name][0]).all() for record in records for name in record)
    assert second.max() != first.max()


def test_two_sweeps_by_hand() -> None:
    """Two states and the end; gamma 0.5. From 0: a=0 to 1 for 3, a=1 stays for -1; from 1: a=0 to 0 for 1, a=1 ends
    for 4. Q_1 = R: (3, -1), (1, 4). Q_2: 3 + 0.5 * 4 = 5, -1 + 0.5 * 3 = 0.5; 1 + 0.5 * 3 = 2.5, 4.
    Q* = Q_3 has 1 + 0.5 * 5 = 3.5 and -1 + 0.5 * 5 = 1.5 in their places."""
    table = {0: [(1, 3.0), (0, -1.0)], 1: [(0, 1.0), (2, 4.0)], 2: [(2, 0.0), (2, 0.0)]}
    mdp = from_outcomes(lambda s, a: [(1.0, *table[s][a], table[s][a][0] == 2)], 3, 2, start=0, horizon=9, gamma=0.5)
    Q1 = backup(mdp, np.zeros(3))
    Q2 = backup(mdp, Q1.max(-1))
    assert Q1.tolist() == [[3, -1], [1, 4], [0, 0]]
    assert Q2.tolist() == [[5, 0.5], [2.5, 4], [0, 0]]
    assert optimal_values(mdp).tolist() == [[5, 1.5], [3.5, 4], [0, 0]]


@pytest.mark.parametrize(
    ("overrides", "best"),
    [
        (("env=cliffwalking",), -13.0),  # along the edge: 13 steps
        (("env=gridworld",), None),
        (("env=frozenlake", "gamma=0.99"), None),
        (("env=chain", "gamma=0.9"), None),
    ],
)
def test_the_return_recorded_is_that_of_the_greedy_policy(overrides: tuple[str, ...], best: float | None) -> None:
    """Exactly computed, and as its rollouts have it: within 5 standard errors of 400 episodes (a false alarm in 1.7
    million); undiscounted, to the horizon."""
    config = compose("algorithm=q_iteration", *overrides).config
    learner = build.learner(config)
    state, records = trained(config, [0], 60)
    if best is not None:
        assert records[-1]["return_mean"].tolist() == [best]
    env, policy, theta = learner.deterministic(state)
    episodes = rollout(policy, theta, env, 400, streams([0], "environment"), streams([0], "actions"))
    returns = episodes.rewards.sum(-1)[0]
    margin = 5 * returns.std() / 20 + 1e-9
    assert returns.mean() == pytest.approx(records[-1]["return_mean"][0], abs=margin)
    greedy = np.eye(env.mdp.num_actions)[state["q"][0].numpy().argmax(-1)]
    assert records[-1]["return_mean"][0] == J(replace(env.mdp, gamma=1.0), greedy)


def test_a_seed_has_the_same_bits_alone_among_others_and_after_a_stop() -> None:
    assert_bits(compose("algorithm=q_iteration", "env=gridworld").config)


def test_what_has_no_optimum_is_refused_with_the_gamma_to_type() -> None:
    with pytest.raises(UserError, match=r"write gamma=0\.99"):
        build.learner(compose("algorithm=q_iteration", "env=chain").config)


def test_hidden_states_are_refused() -> None:
    with pytest.raises(UserError, match="whose states are seen"):
        build.learner(compose("algorithm=q_iteration", "env=corridor").config)
    build.learner(compose("algorithm=q_iteration", "env=bandit").config)  # one state to act in: nothing is hidden
