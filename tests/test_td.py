"""TD(0), worked by hand; and it comes to V^pi, or into its neighbourhood."""

import numpy as np
import pytest
import torch
from bits import assert_bits, trained
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from ablate import build, exact
from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular
from ablate.errors import UserError
from ablate.learners.base import State
from ablate.learners.schedules import step_sizes
from ablate.learners.td import TemporalDifference, exact_values
from ablate.mdp import MDP

GAMMA = 0.5
SIXTHS = np.arange(1, 6) / 6


def two_states(horizon: int = 100) -> MDP:
    """One action: from 0 to 1, earning 3; from 1 to the end, earning 4."""
    table = {0: (1, 3.0), 1: (2, 4.0), 2: (2, 0.0)}
    return from_outcomes(lambda s, a: [(1.0, *table[s], s == 1)], 3, 1, start=0, horizon=horizon, gamma=GAMMA)


def learner(mdp: MDP, steps: int, size: float, power: float, time_limit: bool = True) -> TemporalDifference:
    pi = exact.softmax(mdp.logits)
    values, visited = exact_values(mdp, pi, time_limit), exact.occupancy(mdp, pi)
    visited = visited.sum(0, keepdims=True) if time_limit else visited
    return TemporalDifference(Tabular(mdp, time_limit), pi, mdp.gamma, values, visited, steps, size, power)


def starting_with(algorithm: TemporalDifference, values: list[float]) -> State:
    return algorithm.initial([0]) | {"values": torch.tensor([[values]], dtype=torch.float64)}


def test_three_updates_are_as_worked_by_hand() -> None:
    """gamma = 0.5, alpha = 0.1 throughout, V = (1, 2, 0) at first.

    s = 0: delta = 3 + 0.5 * 2 - 1 = 3,   V(0) = 1 + 0.1 * 3 = 1.3
    s = 1: delta = 4 + 0 - 2 = 2,         V(1) = 2 + 0.1 * 2 = 2.2, and the episode ends
    s = 0: delta = 3 + 0.5 * 2.2 - 1.3 = 2.8,  V(0) = 1.3 + 0.28 = 1.58
    """
    algorithm = learner(two_states(), 1, 0.1, 0)
    state, found = starting_with(algorithm, [1.0, 2.0, 0.0]), []
    for iteration in (1, 2, 3):
        state, record = algorithm.iterate(state, [0], iteration)
        found.append(state["values"][0, 0].tolist())
    np.testing.assert_allclose(found, [[1.3, 2, 0], [1.3, 2.2, 0], [1.58, 2.2, 0]], rtol=1e-14)
    assert record["grad_norm"] == pytest.approx([2.8])
    # V^pi = (3 + 0.5 * 4, 4) = (5, 4): sqrt(((5 - 1.58)^2 + (4 - 2.2)^2) / 2)
    assert record["value_rms_error"] == pytest.approx([np.sqrt((3.42**2 + 1.8**2) / 2)])
    # two visits to 0 and one to 1, where as many are expected: (|2/3 - 1/2| + |1/3 - 1/2|) / 2
    assert record["visit_distance"] == pytest.approx([1 / 6])


def test_with_steps_of_one_over_n_a_value_is_the_mean_of_its_targets() -> None:
    """alpha_n = 1/n, V = 0 at first. Targets of 0: 3 + 0.5 * 0 = 3, then 3 + 0.5 * 4 = 5: V(0) is 3, then 4."""
    algorithm = learner(two_states(), 4, 1, 1)
    state, record = algorithm.iterate(algorithm.initial([0]), [0], 1)
    assert state["values"][0, 0].tolist() == [4, 4, 0]
    assert state["visits"][0, 0].tolist() == [2, 2, 0]
    assert record["visit_distance"].tolist() == [0]
    assert record["return_mean"].tolist() == [7]
    assert record["episodes"].tolist() == [2]


def endless(horizon: int) -> MDP:
    """One state, one action, reward 1, cut or over after `horizon` steps."""
    return MDP.from_dense([[[1.0]]], [[1.0]], [1.0], horizon, GAMMA)


def test_an_episode_that_is_cut_bootstraps() -> None:
    """alpha = 1: V <- 1 + 0.5 V at every step, cut or not, towards 2: 1, 1.5, 1.75, 1.875."""
    algorithm = learner(endless(2), 4, 1, 0)
    state, _ = algorithm.iterate(algorithm.initial([0]), [0], 1)
    assert algorithm.values.tolist() == [[2]]
    assert state["values"].tolist() == [[[1.875]]]


def test_a_horizon_of_the_problem_makes_a_table_with_the_time_in_it() -> None:
    """alpha = 1, two steps an episode: V_1 = 1 from the first episode on, V_0 = 1 + 0.5 V_1 = 1.5 from the second."""
    algorithm = learner(endless(2), 4, 1, 0, time_limit=False)
    state, record = algorithm.iterate(algorithm.initial([0]), [0], 1)
    assert algorithm.values.tolist() == state["values"][0].tolist() == [[1.5], [1]]
    assert record["value_rms_error"].tolist() == [0]


@given(st.integers(0, 1000))
def test_with_sure_transitions_and_alpha_1_the_values_are_exact_after_horizon_episodes(index: int) -> None:
    """Each episode carries the end's values one step further back."""
    rng = np.random.default_rng(index)
    to, rewards = rng.integers(0, 4, 4), rng.normal(size=4)
    mdp = from_outcomes(lambda s, a: [(1.0, int(to[s]), float(rewards[s]), False)], 4, 1, start=0, horizon=6, gamma=0.9)
    algorithm = learner(mdp, 36, 1, 0, time_limit=False)
    state, record = algorithm.iterate(algorithm.initial([0, 1]), [0, 1], 1)
    np.testing.assert_allclose(record["value_rms_error"], 0, atol=1e-12)
    V, _ = exact.values(mdp, np.ones((4, 1)))
    reached = exact.occupancy(mdp, np.ones((4, 1))) > 0
    np.testing.assert_allclose(state["values"][1].numpy()[reached], V[:-1][reached], atol=1e-12)


def test_step_sizes_satisfy_robbins_and_monro_where_they_say_so() -> None:
    """n^-p: sum over n in (N, 10 N] of alpha grows with N for p < 1 (is log 10 at p = 1); of alpha^2 it vanishes."""
    n = np.arange(1, 1_000_001)
    for power in (0.55, 0.75, 1.0):
        alpha = step_sizes(n, 1.0, power)
        early, late = slice(1_000, 10_000), slice(100_000, 1_000_000)
        assert alpha[late].sum() > 0.999 * alpha[early].sum() > 2
        assert (alpha[late] ** 2).sum() < 0.7 * (alpha[early] ** 2).sum()
    assert (step_sizes(n, 0.3, 0) == 0.3).all()
    assert step_sizes(np.array([1, 4]), 0.5, 0.5).tolist() == [0.5, 0.25]


def test_robbins_monro_steps_come_to_the_values_of_the_random_walk_and_constant_ones_do_not() -> None:
    """The mean of V(s) over 20 seeds after 20,000 steps is within its t interval of s/6, for all five s.

    At 1 - 0.001/5 each (t_19 = 4.59): a false alarm in 1000 for an unbiased estimate. An interval of a half-width above
    0.02 would say nothing. With alpha = 0.2 the error of a seed stays where it is: over the third and fourth quarter of
    the run its mean (over 20 seeds, standard error about 2%) is the same within 15%, and more than twice the other's.
    """
    seeds, errors = [*range(20)], {}
    for name, settings in {"monro": ("1", "0.6"), "constant": ("0.2", "0")}.items():
        size, power = settings
        config = compose(
            *("algorithm=td", "env=random_walk"), f"algorithm.step_size={size}", f"algorithm.step_power={power}"
        ).config
        state, records = trained(config, seeds, 40)
        errors[name] = np.mean([record["value_rms_error"] for record in records], axis=1)
        if name == "monro":
            V = state["values"][:, 0, 1:6].numpy()
    half_width = 4.59 * V.std(0, ddof=1) / np.sqrt(20)
    assert (np.abs(V.mean(0) - SIXTHS) < half_width).all()
    assert (half_width < 0.02).all()
    third, fourth = errors["constant"][20:30].mean(), errors["constant"][30:].mean()
    assert fourth == pytest.approx(third, rel=0.15)
    assert fourth > 2 * errors["monro"][30:].mean()
    assert errors["monro"][30:].mean() < 0.9 * errors["monro"][20:30].mean()


def test_visits_come_to_the_occupancy() -> None:
    """Likely outcomes weigh more because they are met more: the distance falls like 1/sqrt(n), here below 2%."""
    _, records = trained(compose("algorithm=td", "env=frozenlake").config, [0, 1, 2], 40)
    assert (records[-1]["visit_distance"] < 0.02).all()
    assert (records[-1]["visit_distance"] < records[0]["visit_distance"] / 2).all()


@pytest.mark.parametrize(
    ("overrides", "shape"),
    [(("env=chain",), (20, 5)), (("env=frozenlake",), (1, 16)), (("env=random_mdp", "env.states=4"), (20, 4))],
)
def test_a_seed_has_the_same_bits_alone_among_others_and_after_a_stop(overrides: tuple[str, ...], shape) -> None:
    config = compose("algorithm=td", *overrides, "algorithm.steps=75").config
    assert_bits(config)
    assert build.learner(config).values.shape == shape


def test_the_exact_values_of_a_random_walk_and_of_a_file_s_own_policy(tmp_path) -> None:
    walk = build.learner(compose("algorithm=td", "env=random_walk").config)
    np.testing.assert_allclose(walk.values[0, 1:6], SIXTHS, atol=1e-14)
    path = tmp_path / "mdp.json"
    path.write_text(
        '{"P": [[[1,0],[0,1]],[[0,1],[0,1]]], "R": [[0,2],[0,0]], "rho0": [1,0], "horizon": 2,'
        ' "logits": [[0, 1.0986122886681098], [0, 0]]}'  # log 3: action 1 in three of four cases
    )
    own = build.learner(compose("algorithm=td", "env=mdp", f"env.path={path}").config)
    np.testing.assert_allclose(own.pi[0], [0.25, 0.75])
    # V_1(0) = 0.75 * 2 = 1.5;  V_0(0) = 0.75 * 2 + 0.25 * 1.5 = 1.875
    np.testing.assert_allclose(own.values, [[1.875, 0], [1.5, 0]])


def test_what_has_no_value_is_refused_with_the_gamma_to_type() -> None:
    endless = "algorithm=td", "env=chain", "env.time_limit=true"
    with pytest.raises(UserError, match=r"write gamma=0\.99"):
        compose(*endless)
    assert build.learner(compose(*endless, "gamma=0.9").config).values.shape == (1, 5)


def test_hidden_states_are_refused() -> None:
    with pytest.raises(UserError, match="whose states are seen"):
        build.learner(compose("algorithm=td", "env=corridor").config)


def test_the_policy_stays_uniform() -> None:
    """Half of the walks end on the right: within 5 standard errors of some 2200 (a false alarm in 1.7 million)."""
    _, records = trained(compose("algorithm=td", "env=random_walk").config, [0], 40)
    episodes, means = (np.array([record[name][0] for record in records]) for name in ("episodes", "return_mean"))
    assert episodes.sum() > 2000
    assert episodes @ means / episodes.sum() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(episodes.sum()))
