"""What a user's Gymnasium environment hands over is taken as it stands, or refused; integer actions are rounded."""

from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.envs.env_checker import fitting
from ablate.envs.gym import Gymnasium
from ablate.errors import UserError
from ablate.randomness import streams

BIT = spaces.Discrete(2)
PAIR = spaces.Box(-1, 1, (2,))
INTEGERS = [np.dtype(kind) for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]]


@settings(max_examples=200)
@given(st.sampled_from(INTEGERS), st.data())
def test_integer_actions_are_the_nearest_in_the_box(dtype: np.dtype, data: st.DataObject) -> None:
    info = np.iinfo(dtype)
    low, high = sorted(data.draw(st.lists(st.integers(info.min, info.max), min_size=2, max_size=2, unique=True)))
    box = spaces.Box(np.array([low], dtype), np.array([high], dtype), dtype=dtype)
    anywhere, near = st.floats(-(2.0**65), 2.0**65, width=32), st.floats(-9, 9, width=32)
    action = data.draw(anywhere | near | st.just(float(high) + 0.25))
    found = fitting(np.array([action], np.float32), box)
    assert found.dtype == dtype
    assert box.contains(found)
    wanted = Fraction(float(np.float32(action)))
    assert abs(int(found[0]) - wanted) <= abs(min(max(round(wanted), low), high) - wanted)


def test_rounded_actions_come_as_often_as_their_neighbourhood() -> None:
    """Truncation gave 0 whatever lay in (-1, 1); rounding gives each integer an interval of length 1."""
    grid = np.arange(-3000, 3000) / 1000 + 0.0005
    found = fitting(grid.astype(np.float32)[:, None], spaces.Box(-3, 3, (1,), np.int64))[:, 0]
    assert np.unique(found, return_counts=True)[1].tolist() == [500, 1000, 1000, 1000, 1000, 1000, 500]


class Says(gymnasium.Env):
    """One step; what it hands over is told by its settings."""

    def __init__(self, space: spaces.Space, first: Any, reward: Any = 1.0, ends: Any = True) -> None:
        self.action_space, self.observation_space = BIT, space
        self.first, self.reward, self.ends = first, reward, ends

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        return self.first, {}

    def step(self, action: Any) -> tuple[Any, Any, Any, bool, dict]:
        return self.first, self.reward, self.ends, False, {}


@pytest.fixture
def says() -> Any:
    spec = "Says-v0"
    gymnasium.register(spec, entry_point=Says, max_episode_steps=10)
    yield spec
    del gymnasium.registry[spec]


def one_line(refused: pytest.ExceptionInfo[UserError]) -> str:
    message = str(refused.value)
    assert "\n" not in message
    return message


def played(id: str, **said: Any) -> tuple[np.ndarray, np.ndarray]:
    env = Gymnasium(id, said)
    first = env.reset(streams([0], "a test"), 2)
    return first, env.step(np.zeros((1, 2), int))[1]


@pytest.mark.parametrize(
    "reward",
    [
        "1.5",
        b"1.5",
        None,
        1j,
        np.complex64(1),
        [1.0, 2.0],
        np.ones((2,)),
        np.array("1"),
        object(),
        {},
    ],
)
def test_a_reward_is_a_number(says: str, reward: Any) -> None:
    with pytest.raises(UserError, match=r"returned the reward .*give one real number") as refused:
        played(says, space=PAIR, first=[0.5, 0.5], reward=reward)
    assert len(one_line(refused)) < 300


@pytest.mark.parametrize("reward", [2, 2.0, np.float32(2), np.int8(2), np.array(2.0), np.array([2.0])])
def test_a_number_of_any_kind_is_a_reward(says: str, reward: Any) -> None:
    assert played(says, space=PAIR, first=[0.5, 0.5], reward=reward)[1].tolist() == [[2, 2]]


@pytest.mark.parametrize("ends", ["False", None, 2, 0.5, b"", [True, False]])
def test_an_end_is_true_or_false(says: str, ends: Any) -> None:
    with pytest.raises(UserError, match="terminated"):
        played(says, space=PAIR, first=[0.5, 0.5], ends=ends)


@pytest.mark.parametrize(
    ("space", "first"),
    [
        (PAIR, np.array([1 + 2j, 0])),
        (PAIR, ["0.5", "1"]),
        (PAIR, [None, 1.0]),
        (PAIR, np.array([1.0, 2.0], object)),
        (PAIR, [0.5]),
        (PAIR, [[0.5, 0.5]]),
        (PAIR, 0.5),
        (PAIR, [[0.5], [0.5, 1]]),
        (spaces.Box(0, 255, (2,), np.uint8), [0.5, 1.0]),
        (spaces.Box(0, 255, (2,), np.uint8), np.array([300, 1])),
        (spaces.Discrete(3), -1),
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), 1.5),
        (spaces.Discrete(3, start=2), 1),
        (spaces.MultiDiscrete([2, 3]), [0, 3]),
        (spaces.MultiDiscrete([2, 3]), [-1, 0]),
        (spaces.MultiBinary(2), [0, 2]),
        (spaces.Dict({"a": BIT, "b": PAIR}), {"a": 1}),
        (spaces.Dict({"a": BIT, "b": PAIR}), {"a": 1, "b": [1j, 0]}),
        (spaces.Tuple((BIT, PAIR)), (1, ["1", "2"])),
        (spaces.Tuple((BIT, PAIR)), None),
    ],
)
def test_an_observation_that_would_lose_a_part_is_refused(says: str, space: spaces.Space, first: Any) -> None:
    with pytest.raises(UserError, match=r"returned the observation .*; give ") as refused:
        played(says, space=space, first=first)
    assert len(one_line(refused)) < 300


@pytest.mark.parametrize(
    ("space", "first", "seen"),
    [
        (PAIR, [7, -1], [7, -1]),  # outside its bounds, with nothing lost
        (PAIR, np.array([True, False]), [1, 0]),
        (spaces.Box(0, 255, (2,), np.uint8), [3, 255], [3, 255]),
        (spaces.Discrete(3, start=2), np.int64(3), [0, 1, 0]),
        (spaces.MultiBinary(2), np.array([1, 0], np.int8), [1, 0]),
        (spaces.Dict({"a": BIT, "b": PAIR}), {"b": [0.5, 0.25], "a": 1}, [0, 1, 0.5, 0.25]),
    ],
)
def test_an_observation_that_fits_is_seen_as_it_is(says: str, space: spaces.Space, first: Any, seen: list) -> None:
    assert played(says, space=space, first=first)[0][0, 0].tolist() == seen
