"""Tabular Sarsa, worked by hand; it learns the value of the policy that it follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bits import assert_bits, trained
from conftest import compose
from two_states import two_states

from ablate.exact import stationary_values
from ablate.learners.base import State
from ablate.learners.sarsa import Sarsa

GAMMA = 0.5


def starting_with(algorithm: Sarsa, q: list[list[float]], action: int) -> State:
    given = {"q": torch.tensor([q], dtype=torch.float64), "action": torch.tensor([action])}
    return algorithm.initial([0]) | given


def test_updates_are_as_worked_by_hand() -> None:
    """gamma = 0.5, alpha = 0.1, no exploration; Q(0,.) = (2, 1), Q(1,.) = (2, 6) at first; the first action is 1.

    s = 0, a = 1: r = -1, s' = 0, a' = 0. delta = -1 + 0.5 * 2 - 1 = -1,     Q(0,1) = 1 - 0.1 = 0.9
    s = 0, a = 0: r = 3, s' = 1, a' = 1.  delta = 3 + 0.5 * 6 - 2 = 4,       Q(0,0) = 2.4
    s = 1, a = 1: r = 4, the end.         delta = 4 + 0 - 6 = -2,            Q(1,1) = 5.8
    s = 0, a = 0: r = 3, s' = 1, a' = 1.  delta = 3 + 0.5 * 5.8 - 2.4 = 3.5, Q(0,0) = 2.75
    """
    algorithm = Sarsa(two_states(), 2, GAMMA, 1, 10, 0.1, 0.0, (0, 0), 1.0)
    state, found, errors = starting_with(algorithm, [[2, 1], [2, 6], [0, 0]], 1), [], []
    for iteration in (1, 2, 3, 4):
        state, record = algorithm.iterate(state, [0], iteration)
        found.append(state["q"][0, :2].flatten().tolist())
        errors.append(record["grad_norm"][0])
    np.testing.assert_allclose(
        found, [[2, 0.9, 2, 6], [2.4, 0.9, 2, 6], [2.4, 0.9, 2, 5.8], [2.75, 0.9, 2, 5.8]], rtol=1e-14
    )
    assert errors == pytest.approx([1, 4, 2, 3.5])


@pytest.mark.parametrize(("time_limit", "q00"), [(True, 2.4), (False, 2.1)], ids=["cut", "over"])
def test_a_truncation_bootstraps_and_a_termination_does_not(time_limit: bool, q00: float) -> None:
    """Cut: 2 + 0.1 (3 + 0.5 * 6 - 2); over: 2 + 0.1 (3 - 2). The next action is one of the first state."""
    algorithm = Sarsa(two_states(time_limit, horizon=1), 2, GAMMA, 1, 10, 0.1, 0.0, (0, 0), 1.0)
    state, record = algorithm.iterate(starting_with(algorithm, [[2, 1], [2, 6], [0, 0]], 0), [0], 1)
    assert state["q"][0, 0, 0].item() == pytest.approx(q00)
    assert record["episodes"].tolist() == [1]
    assert state["action"].tolist() == [0]


def test_q_is_that_of_the_policy_that_is_followed() -> None:
    """Random actions throughout: Q(s,a) = r + gamma V(s') of the uniform policy, not of the greedy one.

    V = (0.5 (3 + V1/2) + 0.5 (-1 + V0/2), 0.5 (1 + V0/2) + 0.5 * 4), gamma = 1/2.
    """
    env = two_states()
    uniform = np.full((3, 2), 0.5)
    V = stationary_values(replace(env.mdp, gamma=GAMMA), uniform)
    exact = np.array([[3 + V[1] / 2, -1 + V[0] / 2], [1 + V[0] / 2, 4]])
    algorithm = Sarsa(env, 2, GAMMA, 20_000, 1, 1.0, 1.0, (1, 1), 1.0)
    seeds = range(4)
    state, _ = algorithm.iterate(algorithm.initial(seeds), seeds, 1)
    np.testing.assert_allclose(state["q"][:, :2].numpy(), np.broadcast_to(exact, (4, 2, 2)), atol=0.15)
    greedy = np.array([[3 + 4 / 2, -1 + 5 / 2], [1 + 5 / 2, 4]])
    assert np.abs(exact - greedy).max() > 0.6  # a learner of max_a' would be far off


def test_beside_a_cliff_it_learns_the_safer_way() -> None:
    """Exploring with epsilon = 0.1 and a constant step of 0.5, Sarsa earns more than Q-learning while both learn: about
    -25 against -50 in Sutton & Barto (2018), example 6.6."""
    words = "env=cliffwalking", "algorithm.initial_epsilon=0.1", "algorithm.final_epsilon=0.1", "iterations=20"
    earned = {}
    for name in ("sarsa", "q_learning"):
        config = compose(f"algorithm={name}", *words, "algorithm.step_size=0.5", "algorithm.step_power=0").config
        _, records = trained(config, [*range(10)], 20)
        returns, episodes = (np.array([record[x] for record in records[10:]]) for x in ("return_mean", "episodes"))
        earned[name] = np.nansum(returns * episodes) / episodes.sum()
    assert -32 < earned["sarsa"] < -20
    assert earned["q_learning"] < -35


@pytest.mark.parametrize("env", ["gridworld", "corridor"])
def test_a_seed_has_the_same_bits_alone_among_others_and_after_a_stop(env: str) -> None:
    assert_bits(compose("algorithm=sarsa", f"env={env}", "env.horizon=20", "algorithm.steps=40", "iterations=4").config)
