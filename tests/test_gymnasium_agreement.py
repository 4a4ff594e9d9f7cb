"""CartPole, Pendulum and the tables of toy text: equal to scalar Gymnasium, step for step."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from test_envs import streams

from ablate.envs import tabular
from ablate.envs.cartpole import CartPole
from ablate.envs.pendulum import Pendulum
from ablate.envs.tabular import Tabular
from ablate.mdp import MDP


class FixedUniform(np.random.Generator):
    """A generator whose next uniform number is known."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return self.value if size is None else np.full(size, self.value)


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
