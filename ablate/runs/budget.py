"""When a run ends: after a number of iterations, or with the first iteration past a number of environment steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST = 2**62  # so that it can be counted; no run comes to its end


@dataclass(frozen=True)
class Budget:
    """What a seed may use, counted in one unit: env steps where `env_steps` is set, else iterations.

    Equal budgets in env steps compare sample efficiency: at equal iterations a policy whose episodes are short gets
    less data because it is bad.
    """

    size: int
    in_env_steps: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Budget":
        """The budget of a resolved configuration."""
        env_steps = config.get("env_steps")
        size = config["iterations"] if env_steps is None else env_steps
        return cls(min(size, LARGEST), env_steps is not None)

    def used(self, iteration: int, env_steps: ArrayLike) -> NDArray[np.int64]:
        """How much of it each seed has used after an iteration, [S], given its env steps so far, [S]."""
        counted = np.asarray(env_steps, np.int64)
        return np.minimum(counted, self.size) if self.in_env_steps else np.full_like(counted, iteration)

    def spent(self, iteration: int, env_steps: ArrayLike) -> NDArray[np.bool_]:
        """Whether each seed has come to its end, [S]. Depends on nothing but the seed's own run."""
        return self.used(iteration, env_steps) >= self.size
