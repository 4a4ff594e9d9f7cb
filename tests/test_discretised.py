"""Actions and observations cut into bins: the environment underneath is the same one."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from ablate import build
from ablate.envs.base import Discrete
from ablate.envs.cartpole import CartPole
from ablate.envs.discretised import LARGEST_GRID, DiscreteActions, GridObservations, one_hot
from ablate.envs.pendulum import Pendulum
from ablate.envs.tabular import Tabular, bandit, chain, corridor
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.networks import Network
from ablate.policies import GreedyValues
from ablate.randomness import stream, streams


def lqg() -> Any:
    return build.environment(compose("env=lqg").config)


@pytest.mark.parametrize("make", [Pendulum, lqg])
def test_actions_are_evenly_spaced_values_of_the_environment_underneath(make) -> None:
    """Five from -2 to 2 are -2, -1, 0, 1, 2: stepped by number or by value, states, rewards and ends are the same."""
    env, plain = DiscreteActions(make(), 5, -2, 2), make()
    assert env.actions == Discrete(5)
    assert (env.observation_size, env.horizon, env.time_limit) == (
        plain.observation_size,
        plain.horizon,
        plain.time_limit,
    )
    states = env.starts(stream(0, "a test"), (2, 5))
    noise = env.draws(stream(1, "a test"), (2, 5))
    choice = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    for found, wanted in zip(
        env.transition(states, choice, noise),
        plain.transition(states, (choice - 2.0)[..., None].astype(np.float32), noise),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(env.observe(states), plain.observe(states))


def test_stepping_and_the_pure_functions_agree() -> None:
    """As an environment that is reset and stepped, and as pure functions of its state."""
    ranges = [-1, -1, -8], [1, 1, 8]
    env = GridObservations(DiscreteActions(Pendulum(horizon=5), 3, -2, 2), [4, 3, 5], *ranges)
    seen = env.reset(streams([0, 1], "a test"), 3)
    states = np.moveaxis(env.env.env.state, 0, -1)
    np.testing.assert_array_equal(seen, env.observe(states))
    for t in range(5):
        actions = np.arange(6).reshape(2, 3) % 3
        seen, rewards, terminated, truncated = env.step(actions)
        states, earned, over = env.transition(states, actions, np.empty((2, 3, 0)))
        np.testing.assert_array_equal(seen, env.observe(states))
        np.testing.assert_array_equal(rewards, earned)
        assert not terminated.any()
        assert not over.any()
        assert truncated.all() == (t == 4)
    env.keep(np.array([[5, 0]]))
    np.testing.assert_array_equal(env.step(np.zeros((1, 2), int))[0].shape, (1, 2, 60))


def test_a_cell_counts_bins_from_the_low_end_with_the_last_number_running_fastest() -> None:
    """CartPole, bins (2, 3, 1, 4) over (-1, 1) each. (0.5, -0.9, 7, 0.1): bins 1 of 2, 0 of 3, 0 of 1 (held in), and
    floor(4 * 1.1 / 2) = 2 of 4. Cell ((1 * 3 + 0) * 1 + 0) * 4 + 2 = 14 of 24."""
    env = GridObservations(CartPole(), [2, 3, 1, 4], [-1.0] * 4, [1.0] * 4)
    (seen,) = env.observe(np.array([[0.5, -0.9, 7.0, 0.1]]))
    assert env.observation_size == 24
    assert seen.dtype == np.float32
    assert seen.tolist() == [float(cell == 14) for cell in range(24)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_every_observation_is_in_one_cell_and_the_middle_of_a_cell_in_the_same(x: list[float]) -> None:
    low, high, bins = np.array([-2.4, -3, -0.2, -3]), np.array([2.4, 3, 0.2, 3]), np.array([6, 5, 7, 4])
    env = GridObservations(CartPole(), bins.tolist(), low.tolist(), high.tolist())
    (seen,) = env.observe(np.array([x]))
    assert sorted(seen)[-2:] == [0, 1]
    place = np.array(np.unravel_index(seen.argmax(), tuple(bins)))
    middle = low + (place + 0.5) * (high - low) / bins
    np.testing.assert_array_equal(env.observe(middle[None])[0], seen)


def test_a_table_acts_in_cells() -> None:
    """A linear function of the observation is a table: a random one, rolled out, takes its best action everywhere."""
    env = GridObservations(CartPole(horizon=30), [3, 3, 3, 3], [-1.0] * 4, [1.0] * 4)
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 81, 2)).astype(np.float32))
    policy = GreedyValues(Network((81, 2), bias=False))
    episodes = rollout(policy, table.flatten(1), env, 3, streams([0, 1], "environment"), streams([0, 1], "actions"))
    best = table.argmax(-1).numpy()
    cells = episodes.observations.argmax(-1)
    for s in range(2):
        np.testing.assert_array_equal(episodes.actions[s][episodes.mask[s]], best[s][cells[s]][episodes.mask[s]])


def test_states_that_look_alike_stay_alike() -> None:
    def alike(mdp) -> list[list[float]]:
        return one_hot(Tabular(mdp, True)).mdp.features.tolist()

    assert alike(corridor()) == [[1.0]] * 4
    assert alike(bandit([0.5, 0.5])) == [[1.0]] * 3
    assert alike(chain()) == np.eye(5).tolist()


REFUSED = [
    (lambda: DiscreteActions(CartPole(), 5, -2, 2), r"not Discrete\(2\)"),
    (lambda: DiscreteActions(Pendulum(), 1, -2, 2), "action_bins=1 .* write"),
    (lambda: DiscreteActions(Pendulum(), 5, 2, -2), "from 2 to -2 .* write"),
    (lambda: GridObservations(Pendulum(), [4, 4], [-1, -1, -8], [1, 1, 8]), "give 3 of each"),
    (lambda: GridObservations(Pendulum(), [4, 4, 4], [-1, -1], [1, 1]), "give 3 of each"),
    (lambda: GridObservations(Pendulum(), [4, 0, 4], [-1, -1, -8], [1, 1, 8]), "at least 1 bin"),
    (lambda: GridObservations(Pendulum(), [4, 4, 4], [-1, 1, -8], [1, 1, 8]), "ranges that rise"),
    (lambda: GridObservations(Pendulum(), [99, 99, 99], [-1, -1, -8], [1, 1, 8]), f"{LARGEST_GRID} cells at most"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(make, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        make()
    assert "\n" not in str(error.value)
