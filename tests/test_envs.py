"""Environments: equal to scalar Gymnasium, sampled from their tables, and no seed touched by another."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
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
from ablate.errors import UserError

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
