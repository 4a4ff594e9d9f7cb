"""Named random streams: every random number belongs to one seed, one purpose and one iteration."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np


def stream(seed: int, name: str, iteration: int = 0) -> np.random.Generator:
    """The generator of one seed for one purpose (``"environment"``, ``"actions"``, ...) in one iteration.

    Nothing is carried from one iteration to the next, so a run resumes without saving generator states, and no
    purpose can use up the numbers of another.
    """
    return np.random.default_rng([seed, crc32(name.encode()), iteration])


def streams(seeds: Sequence[int], name: str, iteration: int = 0) -> list[np.random.Generator]:
    """One stream per seed, in the order of ``seeds``."""
    return [stream(seed, name, iteration) for seed in seeds]
