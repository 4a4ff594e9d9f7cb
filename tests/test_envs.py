"""Environments: equal to scalar Gymnasium, sampled from their tables, and no seed touched by another."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from omegaconf import OmegaConf
from scipy.stats import chi2

from ablate.build import environment
from ablate.envs import lqg, tabular
from ablate.envs.base import Continuous, Discrete, Environment
from ablate.envs.cartpole import CartPole
from ablate.envs.gym import Gymnasium
from ablate.envs.pendulum import Pendulum
from ablate.envs.tabular import Tabular
from ablate.errors import UserError
from ablate.mdp import MDP

SYSTEM: dict[str, Any] = {
    "A": [[1.0, 0.3], [-0.2, 0.9]],
    "B": [[0.0], [0.5]],
    "Q": [[1.0, 0.2], [0.2, 0.5]],
    "R": [[0.1]],
    "W": [[0.04, 0.03], [0.03, 0.09]],
    "s0_mean": [1.0, -1.0],
    "s0_cov": [[0.0, 0.0], [0.0, 0.25]],
    "horizon": 7,
}


class FixedUniform(np.random.Generator):
    """A generator whose next uniform number is known."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return self.value if size is None else np.full(size, self.value)


def one_line(refused: pytest.ExceptionInfo[UserError]) -> str:
    message = str(refused.value)
    assert "\n" not in message
    return message


CONF = Path(__file__).parent.parent / "conf" / "env"
GYM_IDS = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Acrobot-v1", "MountainCarContinuous-v0"]
CASES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "gym") + GYM_IDS
TWO_STATES = '{"P": [[[0.5, 0.5]], [[0.1, 0.9]]], "R": [[1], [0]], "rho0": [0.5, 0.5], "horizon": 6}'


def made(case: str, tmp_path: Path) -> Environment:
    """The environment of conf/env/`case`.yaml, or of gym.yaml for a Gymnasium id."""
    config: Any = OmegaConf.load(CONF / f"{'gym' if case in GYM_IDS else case}.yaml")
    if case in GYM_IDS:
        config.env.id = case
    if case == "mdp":
        config.env.path = str(tmp_path / "mdp.json")
        (tmp_path / "mdp.json").write_text(TWO_STATES)
    return environment(config)


def streams(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def random_actions(env: Environment, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    match env.actions:
        case Discrete(n):
            return rng.integers(n, size=shape)
        case Continuous(size):
            return (2 * rng.standard_normal((*shape, size))).astype(np.float32)


# Every yaml


@pytest.mark.parametrize("case", CASES)
def test_every_yaml_makes_an_environment_that_keeps_the_protocol(case: str, tmp_path: Path) -> None:
    lines = (CONF / f"{'gym' if case in GYM_IDS else case}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    env = made(case, tmp_path)
    observation = env.reset(streams(0, 1, 2), 4)
    over = np.zeros((3, 4), bool)
    actions = random_actions(env, np.random.default_rng(0), (env.horizon, 3, 4))
    for t in range(env.horizon):
        assert observation.shape == (3, 4, env.observation_size)
        assert observation.dtype == np.float32
        assert np.isfinite(observation[~over]).all()
        observation, reward, terminated, truncated = env.step(actions[t])
        assert reward.shape == terminated.shape == truncated.shape == (3, 4)
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
        assert not (terminated & truncated).any()
        over |= terminated | truncated
    assert over.all(), "no episode outlasts the horizon"


@pytest.mark.parametrize("case", CASES)
def test_a_seed_has_the_same_numbers_alone_among_others_and_after_keep(case: str, tmp_path: Path) -> None:
    steps, episodes, seeds = 40, 5, [3, 1, 4, 7, 5, 9, 2, 6, 8, 0]
    env = made(case, tmp_path)
    steps = min(steps, env.horizon)
    actions = random_actions(env, np.random.default_rng(0), (steps, len(seeds), episodes))
    me, half = seeds.index(7), steps // 2

    def seven(kept: list[int], others: list[int] | None = None) -> list[tuple[np.ndarray, ...]]:
        """Seed 7 among the seeds `kept`; the seeds `others` stay after half of the steps, in that order."""
        env = made(case, tmp_path)
        alive = np.ones(episodes, bool)
        record: list[tuple[np.ndarray, ...]] = [
            (env.reset(streams(*(seeds[i] for i in kept)), episodes)[kept.index(me)],)
        ]
        for t in range(steps):
            if others is not None and t == half:
                rows = np.array([[kept.index(i) * episodes + n for n in range(episodes)] for i in others])
                env.keep(rows)
                kept = others
            results = env.step(actions[t, kept])
            record.append(tuple(x[kept.index(me)][alive].copy() for x in results))
            alive &= ~(results[2] | results[3])[kept.index(me)]
        return record

    alone = seven([me])
    everyone = list(range(len(seeds)))
    for other in (seven(everyone), seven(everyone, [me]), seven(everyone, [5, me, 2]), seven([2, me], [me])):
        for mine, theirs in zip(alone, other, strict=True):
            for x, y in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("case", CASES)
def test_keep_drops_pads_and_reorders_episodes_of_a_seed(case: str, tmp_path: Path) -> None:
    whole, part = made(case, tmp_path), made(case, tmp_path)
    rows = np.array([[2, 0, 0], [5, 7, 7]])  # of 2 x 4; the second 0 and the second 7 are padding
    real = np.array([[True, True, False], [True, True, False]])
    steps = min(20, whole.horizon)
    actions = random_actions(whole, np.random.default_rng(1), (steps, 2, 4))
    padding = random_actions(whole, np.random.default_rng(2), (steps, 2, 3))
    whole.reset(streams(0, 1), 4)
    part.reset(streams(0, 1), 4)
    alive = np.ones((2, 3), bool)
    for t in range(steps):
        if t == steps // 3:  # in two moves, as an index counts among what is left
            part.keep(np.array([[7, 5], [0, 2]]))
            part.keep(np.array([[3, 2, 2], [1, 0, 0]]))
        expected = [x.reshape(8, *x.shape[2:])[rows] for x in whole.step(actions[t])]
        taken = actions[t].reshape(8, *actions.shape[3:])[rows]
        taken[~real] = padding[t][~real]
        got = part.step(actions[t] if t < steps // 3 else taken)
        if t >= steps // 3:
            for x, y in zip(expected, got, strict=True):
                assert x.shape == y.shape
                np.testing.assert_array_equal(x[alive & real], y[alive & real])
        alive &= ~(expected[2] | expected[3])


@pytest.mark.parametrize("case", CASES)
def test_reset_after_keep_starts_a_whole_new_batch(case: str, tmp_path: Path) -> None:
    env, fresh = made(case, tmp_path), made(case, tmp_path)
    env.reset(streams(5, 6), 4)
    env.step(random_actions(env, np.random.default_rng(1), (2, 4)))
    env.keep(np.array([[1]]))
    actions = random_actions(env, np.random.default_rng(2), (3, 2))
    np.testing.assert_array_equal(env.reset(streams(0, 1, 2), 2), fresh.reset(streams(0, 1, 2), 2))
    for x, y in zip(env.step(actions), fresh.step(actions), strict=True):
        np.testing.assert_array_equal(x, y)


# Gymnasium's dynamics, step for step


def scalar_cartpole(state: np.ndarray) -> CartPoleEnv:
    env = CartPoleEnv()
    env.reset()
    env.state = state
    return env


def assert_cartpole_equals_gymnasium(states: np.ndarray, actions: np.ndarray) -> None:
    """From states [S, N, 4] with actions [T, S, N]: the same bits until each episode is over."""
    env = CartPole(horizon=len(actions) + 1)
    env.reset(streams(*range(states.shape[0])), states.shape[1])
    env.state[:] = np.moveaxis(states, -1, 0)
    scalars = {row: scalar_cartpole(states[row].copy()) for row in np.ndindex(*states.shape[:2])}
    for taken in actions:
        observation, reward, terminated, truncated = env.step(taken)
        assert not truncated.any()
        for row, scalar in list(scalars.items()):
            expected, expected_reward, over, _, _ = scalar.step(int(taken[row]))
            np.testing.assert_array_equal(env.state[(slice(None), *row)], scalar.state)
            np.testing.assert_array_equal(observation[row], expected)
            assert (reward[row], terminated[row]) == (expected_reward, over)
            if over:
                del scalars[row]


def test_cartpole_is_bit_equal_to_gymnasium() -> None:
    rng = np.random.default_rng(0)
    states = CartPole().reset(streams(1, 2, 3), 7).astype(np.float64)
    assert_cartpole_equals_gymnasium(states, rng.integers(2, size=(120, 3, 7)))


STATE = st.tuples(*(st.floats(-bound, bound) for bound in (2.5, 4, 0.22, 4)))


@settings(max_examples=60, deadline=None)
@given(st.lists(STATE, min_size=1, max_size=5), st.lists(st.integers(0, 1), min_size=1, max_size=20))
def test_cartpole_is_bit_equal_to_gymnasium_from_any_state(states: list[tuple[float, ...]], moves: list[int]) -> None:
    actions = np.array(moves)[:, None, None] ^ (np.arange(len(states)) % 2)
    assert_cartpole_equals_gymnasium(np.array([states]), actions)


def test_cartpole_starts_uniformly_within_a_twentieth() -> None:
    env = CartPole()
    first = env.reset(streams(7), 4000)[0].astype(np.float64)
    expected = np.random.default_rng(7).uniform(-0.05, 0.05, size=(4000, 4)).astype(np.float32)
    np.testing.assert_array_equal(first, expected)


def test_cartpole_truncates_at_its_horizon_as_gymnasium_does() -> None:
    env, scalar = CartPole(horizon=12), gymnasium.make("CartPole-v1", max_episode_steps=12)
    env.reset(streams(0), 1)
    scalar.reset(seed=0)
    scalar.unwrapped.state = env.state[:, 0, 0].copy()  # type: ignore[attr-defined]
    for t in range(12):
        _, _, terminated, truncated = env.step(np.array([[t % 2]]))
        assert (terminated[0, 0], truncated[0, 0]) == scalar.step(t % 2)[2:4]
    assert truncated[0, 0]


def test_termination_wins_over_truncation_at_the_horizon() -> None:
    env = CartPole(horizon=1)
    env.reset(streams(0), 2)
    env.state[0, 0, 0] = 3.0  # outside
    _, _, terminated, truncated = env.step(np.array([[1, 1]]))
    np.testing.assert_array_equal(terminated, [[True, False]])
    np.testing.assert_array_equal(truncated, [[False, True]])


@pytest.mark.parametrize("action", [0, 1])
def test_a_fallen_pole_may_be_stepped_to_the_horizon(action: int) -> None:
    """Without a warning: pytest turns RuntimeWarning into an error."""
    env = CartPole()
    env.reset(streams(0), 3)
    for _ in range(500):
        observation, *_ = env.step(np.full((1, 3), action))
    assert np.isfinite(observation).all()


def test_pendulum_equals_gymnasium_step_for_step() -> None:
    """States and observations bit for bit; rewards to 1e-9, because scalar and array squares round apart."""
    rng = np.random.default_rng(0)
    env = Pendulum()
    env.reset(streams(1, 2), 5)
    scalars = {}
    for row in np.ndindex(2, 5):
        scalars[row] = PendulumEnv()
        scalars[row].reset()
        scalars[row].state = env.state[(slice(None), *row)].copy()
    for t in range(200):
        actions = (3 * rng.standard_normal((2, 5, 1))).astype(np.float32)
        observation, reward, terminated, truncated = env.step(actions)
        assert not terminated.any()
        assert truncated.all() == truncated.any() == (t == 199)
        for row, scalar in scalars.items():
            expected, expected_reward, *_ = scalar.step(actions[row])
            np.testing.assert_array_equal(env.state[(slice(None), *row)], scalar.state)
            np.testing.assert_array_equal(observation[row], expected)
            assert reward[row] == pytest.approx(expected_reward, rel=0, abs=1e-9)


def test_pendulum_starts_where_gymnasium_starts() -> None:
    """One episode of a stream begins as PendulumEnv.reset does with the same generator."""
    for seed in range(5):
        scalar = PendulumEnv()
        scalar.np_random = np.random.default_rng(seed)
        np.testing.assert_array_equal(Pendulum().reset(streams(seed), 1)[0, 0], scalar.reset()[0])


TOY: dict[str, tuple[Callable[[], MDP], Callable[[], gymnasium.Env]]] = {
    "lake": (tabular.frozenlake, lambda: gymnasium.make("FrozenLake-v1")),
    "lake 8x8": (lambda: tabular.frozenlake("8x8"), lambda: gymnasium.make("FrozenLake8x8-v1")),
    "dry lake": (
        lambda: tabular.frozenlake(is_slippery=False),
        lambda: gymnasium.make("FrozenLake-v1", is_slippery=False),
    ),
    "cliff": (tabular.cliffwalking, lambda: gymnasium.make("CliffWalking-v1", max_episode_steps=500)),
    "wet cliff": (
        lambda: tabular.cliffwalking(is_slippery=True),
        lambda: gymnasium.make("CliffWalking-v1", is_slippery=True, max_episode_steps=500),
    ),
}


@pytest.mark.parametrize("name", TOY)
def test_toy_text_tables_are_gymnasiums(name: str) -> None:
    mdp, env = TOY[name][0](), TOY[name][1]()
    toy: Any = env.unwrapped
    assert env.spec is not None
    assert mdp.horizon == env.spec.max_episode_steps
    np.testing.assert_array_equal(mdp.rho0, toy.initial_state_distrib)
    for s in range(mdp.num_states):
        for a in range(mdp.num_actions):
            ours: dict[tuple[int, float, bool], float] = {}
            for to, p, r in zip(mdp.successors[s, a], mdp.probabilities[s, a], mdp.rewards[s, a], strict=True):
                if p > 0:
                    ours[int(to), float(r), bool(mdp.terminal[to])] = float(p)
            theirs: dict[tuple[int, float, bool], float] = {}
            for p, to, r, ends in [(1.0, s, 0.0, True)] if mdp.terminal[s] else toy.P[s][a]:
                theirs[int(to), float(r), ends] = theirs.get((int(to), float(r), ends), 0.0) + p
            assert ours == pytest.approx(theirs, abs=1e-15)


@pytest.mark.parametrize("name", ["dry lake", "cliff"])
def test_deterministic_toy_text_equals_gymnasium_step_for_step(name: str) -> None:
    env = Tabular(TOY[name][0](), time_limit=True)
    rng = np.random.default_rng(0)
    env.reset(streams(0), 20)
    scalars = [TOY[name][1]() for _ in range(20)]
    assert [scalar.reset()[0] for scalar in scalars] == env.states[0].tolist()
    playing = set(range(20))
    for _ in range(env.horizon):
        actions = rng.integers(4, size=(1, 20))
        observation, reward, terminated, truncated = env.step(actions)
        for n in sorted(playing):
            state, r, ends, cut, _ = scalars[n].step(int(actions[0, n]))
            assert (env.states[0, n], reward[0, n], terminated[0, n]) == (state, r, ends)
            assert truncated[0, n] == (cut and not ends)
            assert observation[0, n].argmax() == state
            if ends or cut:
                playing.remove(n)
    assert not playing


@pytest.mark.parametrize("name", ["lake", "lake 8x8", "wet cliff"])
def test_slippery_toy_text_takes_the_steps_that_gymnasium_would(name: str) -> None:
    """Given the successor that we drew, Gymnasium's step from the same state gives the same reward and end."""
    env = Tabular(TOY[name][0](), time_limit=True)
    scalar: Any = TOY[name][1]().unwrapped
    scalar.reset()
    rng = np.random.default_rng(0)
    env.reset(streams(0, 1), 10)
    alive = np.ones((2, 10), bool)
    for _ in range(60):
        before, actions = env.states, rng.integers(4, size=(2, 10))
        _, reward, terminated, _ = env.step(actions)
        for row in zip(*np.nonzero(alive), strict=True):
            possible = []
            for u in (0.1, 0.5, 0.9):  # the three directions of a slip, of a third each
                scalar.s = int(before[row])
                scalar.np_random = FixedUniform(u)
                possible.append(scalar.step(int(actions[row]))[:3])
            assert (env.states[row], reward[row], terminated[row]) in possible
        alive &= ~terminated


def test_linear_quadratic_obeys_its_equations() -> None:
    env = lqg.build(**SYSTEM | {"W": np.zeros((2, 2)).tolist()})
    env.reset(streams(0, 1), 3)
    rng = np.random.default_rng(0)
    A, B, Q, R = (np.array(SYSTEM[name]) for name in "ABQR")
    for t in range(7):
        s, a = env.state.copy(), rng.standard_normal((2, 3, 1)).astype(np.float32)
        observation, reward, terminated, truncated = env.step(a)
        for row in np.ndindex(2, 3):
            np.testing.assert_allclose(env.state[row], A @ s[row] + B @ a[row], atol=1e-12)
            assert reward[row] == pytest.approx(-(s[row] @ Q @ s[row] + a[row] @ R @ a[row]), abs=1e-12)
        np.testing.assert_array_equal(observation, env.state.astype(np.float32))
        assert terminated.all() == terminated.any() == (t == 6)
        assert not truncated.any()


def test_linear_quadratic_noise_has_its_covariances() -> None:
    """Whitened samples against N(0, I): a chi-square of the sum of squares, false alarm 1e-6 a test."""
    env = lqg.build(**SYSTEM)
    env.reset(streams(0, 1), 2000)
    start = env.state.reshape(-1, 2) - SYSTEM["s0_mean"]
    assert (start[:, 0] == 0).all()
    residuals = []
    for _ in range(7):
        before = env.state
        env.step(np.zeros((2, 2000, 1), np.float32))
        residuals.append((env.state - before @ np.array(SYSTEM["A"]).T).reshape(-1, 2))
    white = np.concatenate(residuals) @ np.linalg.inv(np.linalg.cholesky(SYSTEM["W"])).T
    for z in (start[:, 1] / 0.5, white[:, 0], white[:, 1], (white[:, 0] + white[:, 1]) / np.sqrt(2)):
        low, high = chi2.ppf([5e-7, 1 - 5e-7], len(z))
        assert low < (z**2).sum() < high
        assert abs(z.mean()) < 5 / np.sqrt(len(z))
    assert abs(np.mean(white[:-4000] * white[4000:])) < 5 / np.sqrt(white[4000:].size)  # and none in time


def test_linear_quadratic_normals_come_one_block_a_seed() -> None:
    env = lqg.build(**SYSTEM)
    env.reset(streams(4), 3)
    block = np.random.default_rng(4).standard_normal((3, 8, 2))
    start = SYSTEM["s0_mean"] + block[:, 0] @ lqg.root(np.array(SYSTEM["s0_cov"]))
    np.testing.assert_allclose(env.state[0], start, atol=1e-12)
    for t in range(7):
        moved = env.state[0] @ np.array(SYSTEM["A"]).T
        env.step(np.zeros((1, 3, 1), np.float32))
        noise = block[:, t + 1] @ lqg.root(np.array(SYSTEM["W"]))
        np.testing.assert_allclose(env.state[0], moved + noise, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 9])
def test_a_matrix_is_applied_to_each_row_as_to_it_alone(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix, x = rng.standard_normal((size, size)), rng.standard_normal((10, 17, size))
    together = lqg.apply(matrix, x)
    np.testing.assert_allclose(together, x @ matrix.T, atol=1e-12)
    for row in np.ndindex(10, 17):
        np.testing.assert_array_equal(together[row], lqg.apply(matrix, x[row][None, None])[0, 0])


@given(arrays(np.float64, (3, 3), elements=st.floats(-3, 3)))
def test_the_root_of_a_covariance_squares_to_it(factor: np.ndarray) -> None:
    covariance = factor @ factor.T
    np.testing.assert_allclose(lqg.root(covariance) @ lqg.root(covariance).T, covariance, atol=1e-9)


# Any Gymnasium id


@pytest.mark.parametrize(
    "make",
    [
        lambda: tabular.chain(length=10**6),
        lambda: tabular.random_walk(length=10**9 + 1),
        lambda: tabular.gridworld(rows=10**5, columns=10**5),
    ],
)
def test_more_states_than_fit_are_refused_before_they_are_made(make: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match="to 10000 states at most"):
        make()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CartPole(horizon=0), "env.horizon=0"),
        (lambda: CartPole(horizon=2.5), "env.horizon=2.5"),  # type: ignore[arg-type]
        (lambda: Pendulum(horizon=-1), "env.horizon=-1"),
        (lambda: tabular.bandit([]), "env.arms"),
        (lambda: tabular.bandit([0.5, 1.5]), "env.arms=1.5"),
        (lambda: tabular.bandit([0.5, float("nan")]), "env.arms=nan"),
        (lambda: tabular.bandit(0.5), "env.arms=0.5"),  # type: ignore[arg-type]
        (lambda: tabular.bandit([0.5], rewards=[1, 2]), "env.rewards"),
        (lambda: tabular.bandit([0.5], rewards=[float("inf")]), "env.rewards=inf"),
        (lambda: tabular.chain(length=0), "env.length=0"),
        (lambda: tabular.chain(slip=-0.1), "env.slip=-0.1"),
        (lambda: tabular.chain(horizon=0), "env.horizon=0"),
        (lambda: tabular.gridworld(rows=1, columns=1), "two cells"),
        (lambda: tabular.gridworld(slip=2), "env.slip=2"),
        (lambda: tabular.gridworld(step_cost="dear"), "env.step_cost='dear'"),  # type: ignore[arg-type]
        (lambda: tabular.frozenlake("9x9"), "4x4 or 8x8"),
        (lambda: tabular.frozenlake(is_slippery="no"), "env.is_slippery='no'"),  # type: ignore[arg-type]
        (lambda: tabular.cliffwalking(horizon=0), "env.horizon=0"),
        (lambda: tabular.build(tabular.chain, time_limit="yes"), "env.time_limit='yes'"),  # type: ignore[arg-type]
        (lambda: Gymnasium("CartPole-v1", horizon=0), "env.horizon=0"),
        (lambda: Gymnasium("CartPole-v1", kwargs=3), "env.kwargs=3"),  # type: ignore[arg-type]
        (lambda: Gymnasium(5), "env.id=5"),  # type: ignore[arg-type]
        (lambda: lqg.build(**SYSTEM | {"R": [[-1.0]]}), "env.R"),
        (lambda: lqg.build(**SYSTEM | {"B": [[0.0, 1.0], [1.0, 0.0]]}), "env.B has shape [2, 2]"),
        (lambda: lqg.build(**SYSTEM | {"Q": [[1.0], [1.0, 2.0]]}), "env.Q is not a regular array"),
        (lambda: lqg.build(**SYSTEM | {"W": [[1.0, 0.5], [0.0, 1.0]]}), "env.W is not symmetric"),
        (lambda: lqg.build(**SYSTEM | {"A": [[float("inf"), 0], [0, 1]]}), "env.A has a NaN"),
        (lambda: lqg.build(**SYSTEM | {"s0_mean": 1.0}), "env.A has shape"),
    ],
)
def test_bad_parameters_are_refused_by_name(build: Callable[[], object], said: str) -> None:
    with pytest.raises(UserError) as refused:
        build()
    assert said in one_line(refused)


def test_environments_do_not_import_torch() -> None:
    modules = ", ".join(f"ablate.envs.{name}" for name in ("cartpole", "gym", "lqg", "pendulum", "tabular"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
