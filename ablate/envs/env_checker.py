"""What a user's Gymnasium environment hands over, held against what it may: numbers as they stand, or an error line.

NumPy would read "1.5" as 1.5, drop the imaginary part of a complex number, cut 0.7 to 0 where integers are announced,
and let state -1 count from the end.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ablate.errors import UserError, one_line

TAKEN = {"f": "biuf", "i": "biu", "u": "biu", "b": "b"}  # kind of dtype announced -> kinds that lose nothing in it


class ValidatedEnv(gymnasium.Wrapper):
    """Raises UserError for an observation outside its space, for a reward or an end that is no number or flag.

    An observation within the right type and shape may leave the bounds of a Box: many do, and nothing is lost.
    """

    def __init__(self, env: gymnasium.Env, id: str) -> None:
        super().__init__(env)
        self._id = id

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return self._observation(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if (number := real(reward)) is None:
            raise self._refusal("reward", reward, "give one real number, as float(reward)")
        flags = [flag(x) for x in (terminated, truncated)]
        for name, given, taken in zip(("terminated", "truncated"), (terminated, truncated), flags, strict=True):
            if taken is None:
                raise self._refusal(name, given, "give True or False")
        return self._observation(observation), number, *flags, info

    def _observation(self, observation: Any) -> Any:
        space = self.env.observation_space
        if (wrong := misfit(space, observation)) is not None:
            raise self._refusal("observation", *wrong)
        return observation

    def _refusal(self, what: str, given: Any, wanted: str) -> UserError:
        shape = getattr(given, "shape", ())
        dtype = getattr(given, "dtype", "")
        kind = type(given).__name__ + (f" of {dtype}" if dtype != "" else "") + (f" {shape}" if shape else "")
        return UserError(f"env.id={self._id} returned the {what} {one_line(repr(given), 60)} ({kind}); {wanted}")


def real(value: Any) -> float | None:
    """The one real number that value is, or None."""
    array = _array(value)
    return float(array.reshape(())) if array is not None and array.size == 1 and array.dtype.kind in "biuf" else None


def flag(value: Any) -> bool | None:
    """The truth that value is (True, False, 0, 1), or None."""
    array = _array(value)
    fits = array is not None and array.size == 1 and array.dtype.kind in "biu" and int(array.reshape(())) in (0, 1)
    return bool(array) if fits else None


def misfit(space: spaces.Space, value: Any) -> tuple[Any, str] | None:
    """The part of an observation that does not fit, and what would; None where all of it does."""
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            return value, f"give its parts {', '.join(map(str, space.spaces))}"
        return next((wrong for key, part in space.spaces.items() if (wrong := misfit(part, value[key]))), None)
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            return value, f"give {len(space.spaces)} parts"
        return next((wrong for part, x in zip(space.spaces, value, strict=True) if (wrong := misfit(part, x))), None)
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return None
    array, shape, dtype = _array(value), tuple(space.shape or ()), np.dtype(space.dtype or np.int64)
    if array is None or array.dtype.kind not in TAKEN.get(dtype.kind, "") or array.shape != shape:
        return value, f"give numbers of {dtype}" + (f" in the shape {shape}" if shape else "")
    if isinstance(space, spaces.Box):
        lost = dtype.kind in "iu" and (array.astype(dtype) != array).any()
        return (value, f"give numbers that {dtype} holds") if lost else None
    low, count = _counts(space)
    inside = ((array >= low) & (array - low < count)).all()
    return None if inside else (value, f"give one of {space}")


def _counts(space: Any) -> tuple[Any, Any]:
    """The least number of a space of categories, and how many there are."""
    if isinstance(space, spaces.MultiBinary):
        return 0, 2
    return space.start, space.n if isinstance(space, spaces.Discrete) else space.nvec


def _array(value: Any) -> NDArray | None:
    try:
        return np.asarray(value)
    except Exception:  # whatever an object's own conversion raises: it is no array of numbers
        return None


def fitting(actions: NDArray, box: spaces.Box) -> NDArray:
    """Actions [..., *box.shape] clipped to the box; of integers the nearest one in it, halves to the even one."""
    if np.dtype(box.dtype).kind == "f":
        return np.clip(actions, box.low, box.high)
    nearest, low, high = np.rint(actions.astype(np.float64)), box.low.astype(np.float64), box.high.astype(np.float64)
    inside = (nearest > low) & (nearest < high)  # float64 has not all bounds of int64: they are taken as they are
    return np.where(
        inside, np.where(inside, nearest, 0).astype(box.dtype), np.where(nearest >= high, box.high, box.low)
    )
