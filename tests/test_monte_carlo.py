"""Constant-alpha Monte Carlo prediction, worked by hand and held against TD(0)."""

from pathlib import Path

import numpy as np
import pytest
from bits import assert_bits, trained
from conftest import compose

from ablate import build, exact
from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular
from ablate.learners.monte_carlo import MonteCarlo
from ablate.learners.td import exact_values
from ablate.mdp import MDP
from ablate.store import Cell

GAMMA = 0.5


def round_trip() -> MDP:
    """One action: from 0 to 1, earning 3; from 1 back to 0 earning 1, once; in two states more, to the end."""
    table = {0: (1, 3.0), 1: (2, 1.0), 2: (3, 4.0), 3: (3, 0.0)}
    return from_outcomes(lambda s, a: [(1.0, *table[s], s == 2)], 4, 1, start=0, horizon=9, gamma=GAMMA)


def learner(mdp: MDP, steps: int, size: float, power: float, time_limit: bool = True, first: float = 0.0) -> MonteCarlo:
    pi = exact.softmax(mdp.logits)
    values, visited = exact_values(mdp, pi, time_limit), exact.occupancy(mdp, pi)
    visited = visited.sum(0, keepdims=True) if time_limit else visited
    return MonteCarlo(Tabular(mdp, time_limit), pi, mdp.gamma, values, visited, steps, size, power, first)


def test_an_episode_is_learnt_from_when_it_ends() -> None:
    """gamma = 0.5, alpha = 0.1, V = 2 at first. G_2 = 4, G_1 = 1 + 0.5 * 4 = 3, G_0 = 3 + 0.5 * 3 = 4.5.

    V = 2 + 0.1 * (4.5 - 2, 3 - 2, 4 - 2) = (2.25, 2.1, 2.2), and nothing before the third step.
    """
    algorithm, found, errors = learner(round_trip(), 1, 0.1, 0, first=2.0), [], []
    state = algorithm.initial([0])
    for iteration in (1, 2, 3):
        state, record = algorithm.iterate(state, [0], iteration)
        found.append(state["values"][0, 0, :3].tolist())
        errors.append(record["grad_norm"][0])
    np.testing.assert_allclose(found, [[2, 2, 2], [2, 2, 2], [2.25, 2.1, 2.2]], rtol=1e-14)
    assert errors == pytest.approx([0, 0, np.sqrt((2.5**2 + 1 + 2**2) / 3)])
    assert record["return_mean"].tolist() == [8]


def test_a_state_that_is_visited_twice_is_updated_twice() -> None:
    """One state, reward 1, cut after 2 steps, alpha_n = 1/n: V is the mean of G_1 = 1 and G_0 = 1.5."""
    endless = MDP.from_dense([[[1.0]]], [[1.0]], [1.0], 2, GAMMA)
    algorithm = learner(endless, 4, 1, 1)
    state, _ = algorithm.iterate(algorithm.initial([0]), [0], 1)
    assert state["values"].tolist() == [[[1.25]]]
    assert state["visits"].tolist() == [[[4]]]


def test_with_the_time_in_the_table_there_are_two_values() -> None:
    endless = MDP.from_dense([[[1.0]]], [[1.0]], [1.0], 2, GAMMA)
    algorithm = learner(endless, 2, 1, 1, time_limit=False)
    state, record = algorithm.iterate(algorithm.initial([0]), [0], 1)
    assert state["values"].tolist() == [[[1.5], [1.0]]]
    assert record["value_rms_error"].tolist() == [0]


def test_values_of_the_random_walk_are_unbiased() -> None:
    """With alpha_n = 1/n V is the mean of all returns: over 20 seeds within its t interval of s/6, t_19 = 4.59."""
    settings = "algorithm.step_size=1", "algorithm.step_power=1"
    state, _ = trained(compose("algorithm=monte_carlo", "env=random_walk", *settings).config, [*range(20)], 20)
    V = state["values"][:, 0, 1:6].numpy()
    half_width = 4.59 * V.std(0, ddof=1) / np.sqrt(20)
    assert (np.abs(V.mean(0) - np.arange(1, 6) / 6) < half_width).all()
    assert (half_width < 0.03).all()


def test_td_learns_the_random_walk_faster() -> None:
    """V = 0.5 at first and best steps of both: over the first 100 walks the error of TD is the smaller one for 18 of 20
    seeds at least. Source: Sutton & Barto (2018), example 6.2."""
    errors = {}
    for name, alpha in (("td", 0.1), ("monte_carlo", 0.03)):
        settings = f"algorithm.step_size={alpha}", "algorithm.step_power=0", "algorithm.initial_value=0.5"
        _, records = trained(compose(f"algorithm={name}", "env=random_walk", *settings).config, [*range(20)], 2)
        errors[name] = np.mean([record["value_rms_error"] for record in records], axis=0)
    assert (errors["td"] < errors["monte_carlo"]).sum() >= 18


@pytest.mark.parametrize("env", ["chain", "frozenlake", "random_walk"])
def test_a_seed_has_the_same_bits_alone_among_others_and_after_a_stop(env: str) -> None:
    assert_bits(compose("algorithm=monte_carlo", f"env={env}", "algorithm.steps=75").config)


def test_the_value_at_first_is_a_setting_that_old_cells_do_without(tmp_path: Path) -> None:
    """A cell whose values begin at 0 is named as before there was a choice."""
    words = "algorithm=td", "env=random_walk"
    plain, told, other = (
        compose(*words, *more) for more in ((), ("algorithm.initial_value=0",), ("algorithm.initial_value=0.5",))
    )
    cells = [Cell.at(tmp_path, "main", job.overrides, job.config).path.name[-16:] for job in (plain, told, other)]
    assert "initial_value" not in plain.config["algorithm"]
    assert cells[0] == cells[1] != cells[2]
    assert (build.learner(other.config).initial([0])["values"] == 0.5).all()
