"""Any environment of Gymnasium: its episodes, spaces and ends, and what cannot be taken is refused."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import compose
from gymnasium import spaces
from test_envs import GYM_IDS, one_line, random_actions, streams

from ablate import build
from ablate.envs.base import Discrete
from ablate.envs.gym import Gymnasium, unflattenable
from ablate.errors import UserError


@pytest.mark.parametrize("id", GYM_IDS)
def test_gymnasium_episodes_equal_scalar_ones_from_the_seeds_of_the_stream(id: str) -> None:
    """Observation by observation to the last one, with dead rows stepped on beside the living."""
    env = Gymnasium(id, horizon=60)
    actions = random_actions(env, np.random.default_rng(0), (60, 2, 4))
    record = [env.reset(streams(5, 6), 4)]
    steps = []
    for t in range(60):
        steps.append(env.step(actions[t]))
        record.append(steps[-1][0])
    for s, stream in enumerate(streams(5, 6)):
        for n, seed in enumerate(stream.integers(2**31, size=4).tolist()):
            scalar = gymnasium.make(id, max_episode_steps=60)
            space, box = scalar.observation_space, scalar.action_space
            observation, _ = scalar.reset(seed=seed)
            np.testing.assert_array_equal(record[0][s, n], spaces.flatten(space, observation).astype(np.float32))
            for t in range(60):
                action = actions[t, s, n]
                if isinstance(box, spaces.Box):
                    action = np.clip(action, box.low, box.high)
                observation, reward, ends, cut, _ = scalar.step(action)
                np.testing.assert_array_equal(steps[t][0][s, n], spaces.flatten(space, observation).astype(np.float32))
                assert [x[s, n] for x in steps[t][1:]] == [reward, ends, cut and not ends]
                if ends or cut:
                    break


class Strict(gymnasium.Env):
    """Counts its steps to `length`; refuses what Gymnasium forbids: actions outside its space, a step after the end."""

    def __init__(self, action_space: spaces.Space, observation_space: spaces.Space, length: int = 3) -> None:
        self.action_space, self.observation_space, self.length = action_space, observation_space, length
        self.time: int | None = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.time = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        assert self.time is not None, "stepped after its end"
        self.time += 1
        over = self.time == self.length
        if over:
            self.time = None
        return self.observation_space.sample(), float(np.sum(action)), over, False, {}


@pytest.fixture
def strict() -> Any:
    spec = "Strict-v0"
    gymnasium.register(spec, entry_point=Strict, max_episode_steps=10)
    yield spec
    del gymnasium.registry[spec]


BIT = spaces.Discrete(2)


@pytest.mark.parametrize(
    ("actions", "given", "seen"),
    [
        (spaces.Discrete(3, start=5), [[0, 2]], [5, 7]),
        (spaces.Discrete(3, start=-1), [[0, 2]], [-1, 1]),
        (spaces.Box(-1, 1, (2,)), [[[0.5, -0.25], [3, -9]]], [0.25, 0]),
        (spaces.Box(np.array([0.0, -2.0]), np.array([np.inf, 2.0]), dtype=np.float64), [[[5, 5], [-5, -5]]], [7, -2]),
        (spaces.Box(-1, 1, (2, 2)), [[[1, 1, 1, 0], [2, 2, 2, 2]]], [3, 4]),
        (spaces.Box(-3, 3, (1,), np.int64), [[[-0.9], [2.6]]], [-1, 3]),
        (spaces.Box(-3, 3, (1,), np.int64), [[[9.0], [-7.7]]], [3, -3]),
        (spaces.Box(0, 255, (2,), np.uint8), [[[254.6, -3.0], [0.4, 300.0]]], [255, 255]),
        (spaces.Box(-128, 5, (1,), np.int8), [[[-500.0], [5.4]]], [-128, 5]),
    ],
)
def test_actions_reach_gymnasium_within_its_spaces(strict: str, actions: Any, given: Any, seen: list[float]) -> None:
    env = Gymnasium(strict, {"action_space": actions, "observation_space": BIT})
    env.reset(streams(0), 2)
    dtype = int if isinstance(env.actions, Discrete) else np.float32
    _, reward, _, _ = env.step(np.array(given, dtype))
    np.testing.assert_allclose(reward[0], seen)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (spaces.Discrete(4, start=2), 4),
        (spaces.MultiBinary(3), 3),
        (spaces.MultiDiscrete([2, 3]), 5),
        (spaces.Box(0, 255, (2, 2), np.uint8), 4),
        (spaces.Dict({"a": BIT, "b": spaces.Box(-1, 1, (3,))}), 5),
        (spaces.Tuple((BIT, BIT)), 4),
    ],
)
def test_observations_are_flattened(strict: str, space: spaces.Space, size: int) -> None:
    env = Gymnasium(strict, {"action_space": BIT, "observation_space": space})
    assert env.observation_size == size
    observation = env.reset(streams(3), 2)
    for n, seed in enumerate(streams(3)[0].integers(2**31, size=2).tolist()):
        space.seed(seed)
        np.testing.assert_array_equal(observation[0, n], spaces.flatten(space, space.sample()).astype(np.float32))


def test_an_ended_episode_is_held_at_its_last_observation(strict: str) -> None:
    env = Gymnasium(strict, {"action_space": BIT, "observation_space": spaces.Box(0, 1, (4,)), "length": 2})
    env.reset(streams(0), 3)
    env.step(np.zeros((1, 3), int))
    last, _, terminated, _ = env.step(np.zeros((1, 3), int))
    assert terminated.all()
    for _ in range(4):  # `Strict` itself refuses such steps
        np.testing.assert_array_equal(env.step(np.zeros((1, 3), int))[0], last)


def test_an_end_at_the_time_limit_is_a_termination(strict: str) -> None:
    env = Gymnasium(strict, {"action_space": BIT, "observation_space": BIT, "length": 2}, horizon=2)
    env.reset(streams(0), 3)
    env.step(np.zeros((1, 3), int))
    _, _, terminated, truncated = env.step(np.zeros((1, 3), int))
    assert terminated.all()
    assert not truncated.any()


def test_a_dropped_episode_gets_valid_actions(strict: str) -> None:
    env = Gymnasium(strict, {"action_space": spaces.Discrete(2, start=5), "observation_space": BIT})
    env.reset(streams(0), 3)
    env.keep(np.array([[2]]))
    _, reward, _, _ = env.step(np.array([[1]]))
    assert reward.tolist() == [[6]]


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("Nope-v0", "python -c"),
        ("cartpole-v1", "CartPole-v1"),
        ("CartPole", "CartPole-v1"),
        ("Acrobat-v1", "did you mean Acrobot-v1"),
        ("ALE/Pong-v5", "env.id=package:Name-v0"),
        ("no_such_package:Foo-v0", "install the package no_such_package"),
        ("..:Foo-v0", "correct its name"),
        ("a b", "not a Gymnasium id"),
        ("", "not a Gymnasium id"),
    ],
)
def test_an_unknown_id_is_refused_with_what_to_type(id: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        Gymnasium(id)
    assert said in one_line(refused)


def test_a_missing_dependency_is_named() -> None:
    def needs_more(**_: Any) -> gymnasium.Env:
        raise gymnasium.error.DependencyNotInstalled('Box2D is not installed,\nrun `pip install "gymnasium[box2d]"`')

    gymnasium.register("Needy-v0", entry_point=needs_more, max_episode_steps=5)
    with pytest.raises(UserError) as refused:
        Gymnasium("Needy-v0")
    assert 'Needy-v0 cannot be made: Box2D is not installed, run `pip install "gymnasium[box2d]"`' in one_line(refused)
    del gymnasium.registry["Needy-v0"]


EXTRAS = [("mujoco", "HalfCheetah-v5", "policy=gaussian"), ("box2d", "LunarLander-v3", "policy=categorical")]


@pytest.mark.parametrize(("extra", "id", "policy"), EXTRAS)
def test_an_environment_of_an_extra_trains_or_names_the_extra(extra: str, id: str, policy: str) -> None:
    words = "env=gym", f"env.id={id}", "env.horizon=20", policy, "episodes=2", "phi=advantage"
    if find_spec({"mujoco": "mujoco", "box2d": "Box2D"}[extra]) is None:
        with pytest.raises(UserError) as refused:
            compose(*words)
        assert one_line(refused).endswith(f'needs {extra}; type pip install -c constraints.txt -e ".[{extra}]"')
        return
    learner = build.learner(compose(*words).config)
    state = learner.initial([0, 1])
    for iteration in (1, 2, 3):
        state, record = learner.iterate(state, [0, 1], iteration)
    assert np.isfinite(record["return_mean"]).all()
    assert (record["grad_norm"] > 0).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action_space": spaces.MultiDiscrete([2, 2])}, "MultiDiscrete actions; choose"),
        ({"observation_space": spaces.Sequence(BIT)}, "Sequence observations"),
        ({"colour": "red"}, "env.kwargs"),
    ],
)
def test_spaces_and_arguments_that_do_not_fit_are_refused(strict: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        Gymnasium(strict, {"action_space": BIT, "observation_space": BIT} | changes)
    assert said in one_line(refused)


def test_an_id_without_a_time_limit_needs_a_horizon() -> None:
    with pytest.raises(UserError) as refused:
        Gymnasium("CliffWalking-v1")
    assert "env.horizon" in one_line(refused)
    assert Gymnasium("CliffWalking-v1", horizon=30).horizon == 30


# Bad parameters, and what may be imported


class OwnSpace(gymnasium.Space):
    """A space of a package's own, which says nothing of its size."""


@pytest.mark.parametrize("space", [OwnSpace(dtype=str)])
@pytest.mark.parametrize(
    "around",
    [
        lambda space: space,
        lambda space: gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 1, (2,)), "mission": space}),
        lambda space: gymnasium.spaces.Tuple([gymnasium.spaces.Tuple([space])]),
    ],
)
def test_a_space_of_no_fixed_size_is_named_wherever_it_is(space: gymnasium.Space, around: Callable) -> None:
    assert unflattenable(around(space)) == type(space).__name__


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(3), "b": gymnasium.spaces.MultiBinary(2)}),
        gymnasium.spaces.Tuple([gymnasium.spaces.MultiDiscrete([2, 3]), gymnasium.spaces.Box(0, 1, (2, 2))]),
    ],
)
def test_spaces_of_a_fixed_size_are_flattened(space: gymnasium.Space) -> None:
    assert unflattenable(space) == ""


@pytest.mark.parametrize("kind", ["Graph", "Sequence"])
def test_graphs_and_sequences_have_no_fixed_size(kind: str) -> None:
    box = gymnasium.spaces.Box(0, 1, (2,))
    space = gymnasium.spaces.Graph(box, None) if kind == "Graph" else gymnasium.spaces.Sequence(box)
    assert unflattenable(space) == kind
