"""Environments of a finite MDP: transitions by its table, ends, and the known problems that are named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2
from test_envs import streams
from test_gymnasium_agreement import TOY, FixedUniform

from ablate.envs import tabular
from ablate.envs.tabular import Tabular, thresholds
from ablate.mdp import MDP

# The tabular family


def random_mdp(rng: np.random.Generator, states: int = 5, actions: int = 3, horizon: int = 50) -> MDP:
    P = rng.dirichlet(np.full(states, 0.7), size=(states, actions)) * (rng.random((states, actions, states)) < 0.7)
    P[..., 0] += 0.05
    P /= P.sum(-1, keepdims=True)
    R = rng.standard_normal((states, actions, states))
    return MDP.from_dense(P, R, rng.dirichlet(np.ones(states)), horizon)


def test_transitions_follow_the_table() -> None:
    """Chi-square of 15 (s, a) and of rho0; a correct sampler fails with probability 1e-6 (for an unlucky seed)."""
    mdp = random_mdp(np.random.default_rng(0))
    env = Tabular(mdp, time_limit=False)
    counts = np.zeros((5, 3, 5))
    env.reset(streams(*range(10)), 200)
    starts = np.bincount(env.states.ravel(), minlength=5)
    rng = np.random.default_rng(1)
    for _ in range(mdp.horizon):
        before, actions = env.states, rng.integers(3, size=(10, 200))
        _, reward, _, _ = env.step(actions)
        np.add.at(counts, (before, actions, env.states), 1)
        chosen = mdp.successors[before, actions] == env.states[..., None]
        np.testing.assert_array_equal(reward, (mdp.rewards[before, actions] * chosen).sum(-1))
    dense = np.zeros((5, 3, 5))
    np.put_along_axis(dense, mdp.successors, mdp.probabilities, -1)
    assert (counts[dense == 0] == 0).all()
    for observed, p in [(starts, mdp.rho0), *zip(counts.reshape(15, 5), dense.reshape(15, 5), strict=True)]:
        possible = p > 0
        expected = observed.sum() * p[possible]
        statistic = ((observed[possible] - expected) ** 2 / expected).sum()
        assert statistic < chi2.isf(1e-6 / 16, max(possible.sum() - 1, 1))


@given(
    arrays(np.float64, st.integers(1, 8), elements=st.sampled_from([0.0, 1e-9, 0.1, 0.3, 1.0])).filter(np.any),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=5),
)
def test_inverse_cdf_gives_each_outcome_its_share_and_never_an_impossible_one(
    weights: np.ndarray, uniforms: list[float]
) -> None:
    p = weights / weights.sum()
    cuts = thresholds(p)
    for u in [0.0, np.nextafter(1, 0), *np.nextafter(cuts, 0), *uniforms]:
        assert p[(u >= cuts).sum()] > 0
    np.testing.assert_allclose(np.diff(cuts, prepend=0), p, atol=1e-15)


def test_uniform_numbers_come_one_block_a_seed() -> None:
    mdp = random_mdp(np.random.default_rng(0), horizon=4)
    env = Tabular(mdp, time_limit=False)
    env.reset(streams(3), 6)
    block = np.random.default_rng(3).random((6, 5))
    np.testing.assert_array_equal(env.states[0], np.searchsorted(mdp.rho0.cumsum(), block[:, 0], side="right"))
    for t in range(1, 5):
        s = env.states[0]
        env.step(np.zeros((1, 6), int))
        cdf = mdp.probabilities[s, 0].cumsum(-1)
        chosen = (block[:, t, None] >= cdf).sum(-1).clip(max=cdf.shape[1] - 1)
        np.testing.assert_array_equal(env.states[0], mdp.successors[s, 0, chosen])


def test_a_uniform_number_on_a_boundary_belongs_to_the_next_outcome() -> None:
    """So that an outcome of probability p has exactly the numbers [c, c + p)."""
    env = Tabular(MDP.from_dense([[[0.5, 0.5]], [[0.5, 0.5]]], np.zeros((2, 1)), [0.5, 0.5], 1), time_limit=False)
    env.reset([FixedUniform(0.5)], 1)
    assert env.states.tolist() == [[1]]
    env.step(np.array([[0]]))
    assert env.states.tolist() == [[1]]


@pytest.mark.parametrize("time_limit", [True, False])
def test_a_horizon_truncates_as_a_time_limit_and_terminates_as_part_of_the_mdp(time_limit: bool) -> None:
    env = Tabular(tabular.chain(horizon=3), time_limit)
    env.reset(streams(0), 2)
    for t in range(3):
        _, _, terminated, truncated = env.step(np.zeros((1, 2), int))
        assert terminated.all() == terminated.any() == (t == 2 and not time_limit)
        assert truncated.all() == truncated.any() == (t == 2 and time_limit)


@pytest.mark.parametrize("time_limit", [True, False])
def test_a_terminal_state_terminates_even_at_the_horizon(time_limit: bool) -> None:
    env = Tabular(tabular.corridor(horizon=3), time_limit)
    env.reset(streams(0), 1)
    for action in (1, 0, 1):  # right, switched, right: the goal at the last step
        _, _, terminated, truncated = env.step(np.array([[action]]))
    assert env.states[0, 0] == 3
    assert terminated[0, 0]
    assert not truncated[0, 0]


def value(mdp: MDP, policy: np.ndarray) -> float:
    """J of the stationary policy [S, A], by dynamic programming."""
    V = np.zeros(mdp.num_states)
    for _ in range(mdp.horizon):
        Q = (mdp.probabilities * (mdp.rewards + mdp.gamma * V[mdp.successors])).sum(-1)
        V = np.where(mdp.terminal, 0, (policy * Q).sum(-1))
    return float(mdp.rho0 @ V)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 0.8))
def test_corridor_has_the_value_of_the_book(p: float) -> None:
    """J(p) = -(4 - 2p) / (p (1 - p)): the closed form of the Bellman equations; 1000 steps are as good as infinity."""
    mdp = tabular.corridor()
    assert value(mdp, np.tile([1 - p, p], (4, 1))) == pytest.approx(-(4 - 2 * p) / (p * (1 - p)), rel=1e-9)


def test_corridor_states_look_the_same_and_its_optimum_is_stochastic() -> None:
    mdp = tabular.corridor()
    assert np.ptp(mdp.features, axis=0).max() == 0
    optimum = 2 - np.sqrt(2)
    at = [value(mdp, np.tile([1 - p, p], (4, 1))) for p in (optimum - 0.01, optimum, optimum + 0.01)]
    assert max(at) == at[1]
    assert at[1] == pytest.approx(-11.657, abs=1e-3)


def test_bandit_pays_its_arms() -> None:
    mdp = tabular.bandit([0.9, 0.25, 1.0], rewards=[1.0, 4.0, -2.0])
    assert mdp.horizon == 1
    means = [value(mdp, np.tile(np.eye(3)[a], (3, 1))) for a in range(3)]
    np.testing.assert_allclose(means, [0.9, 1.0, -2.0])


def test_chain_values() -> None:
    """Without slips: always on earns 10 a step from the end; always back earns 2 a step."""
    mdp = tabular.chain(length=5, slip=0.0, horizon=20)
    assert value(mdp, np.tile([1.0, 0.0], (5, 1))) == 10 * (20 - 4)
    assert value(mdp, np.tile([0.0, 1.0], (5, 1))) == 2 * 20
    slips = tabular.chain(length=5, slip=0.5, horizon=20)
    assert value(slips, np.tile([1.0, 0.0], (5, 1))) == value(slips, np.tile([0.0, 1.0], (5, 1)))


def test_gridworld_shortest_path_and_slips() -> None:
    mdp = tabular.gridworld(rows=3, columns=4, goal=1.0, step_cost=0.1, slip=0.0)
    down_then_right = np.array([np.eye(4)[1 if s // 4 < 2 else 2] for s in range(12)])
    assert value(mdp, down_then_right) == pytest.approx(1.0 - 0.1 * 5)
    slippery = tabular.gridworld(rows=3, columns=3, slip=0.2)
    centre, down = 4, 1
    assert dict(zip(slippery.successors[centre, down].tolist(), slippery.probabilities[centre, down], strict=True)) == (
        pytest.approx({7: 0.8, 3: 0.1, 5: 0.1})
    )
    assert slippery.terminal.tolist() == [False] * 8 + [True]


def test_a_terminal_state_earns_nothing_and_outcomes_merge() -> None:
    for mdp in (tabular.bandit([0.5]), tabular.corridor(), tabular.gridworld(), *(make() for make, _ in TOY.values())):
        at = np.flatnonzero(mdp.terminal)
        assert (mdp.rewards[at] == 0).all()
        assert (mdp.successors[at, :, 0] == at[:, None]).all()
        np.testing.assert_allclose(mdp.probabilities.sum(-1), 1, atol=1e-15)
        for s, a in np.ndindex(mdp.num_states, mdp.num_actions):
            live = mdp.probabilities[s, a] > 0
            pairs = list(zip(mdp.successors[s, a][live], mdp.rewards[s, a][live], strict=True))
            assert len(set(pairs)) == len(pairs)


# Linear-quadratic
