"""Any Gymnasium environment with Discrete or Box actions over [S, N], through Gymnasium's vector API."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

from ablate.envs.base import Bools, Continuous, Discrete, Float32, need_count
from ablate.refusal import Refusal


class Gymnasium:
    """`gymnasium.make(id, **kwargs)` S x N times, each episode started from an environment seed of its own.

    At reset each stream draws N environment seeds, so episode i of a seed is the same whatever else runs.
    Observations are flattened (`gymnasium.spaces.flatten`: Discrete becomes one-hot) to float32; Box actions are
    clipped to their bounds. `horizon` replaces Gymnasium's time limit; without one it must be given.

    Raises Refusal for an id that does not exist or cannot be made, other action or observation spaces, no horizon.
    """

    def __init__(self, id: str, kwargs: Mapping[str, Any] | None = None, horizon: int | None = None) -> None:
        self._id, self._kwargs = id, dict(kwargs or {})
        if horizon is not None:
            need_count("horizon", horizon)
        limit = _spec(id).max_episode_steps if horizon is None else horizon
        if limit is None:
            raise Refusal(f"{id} has no time limit; give one: env.horizon=1000")
        self.horizon = limit
        first = self._make()
        self._action_space = first.action_space
        self.actions = _actions(id, self._action_space)
        assert isinstance(first.observation_space, spaces.Box)
        self.observation_size = int(np.prod(first.observation_space.shape))
        self._vector = SyncVectorEnv([lambda: first], autoreset_mode="Disabled", copy=False)

