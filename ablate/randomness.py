"""Named random streams: every random number belongs to one seed, one purpose and one iteration."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np


def stream(seed: int, name: str, iteration: int = 0) -> np.random.Generator:
    """The generator of one seed for one purpose (``"environment"``, ``"actions"``, ...) in one iteration.

    Nothing is carried from one iteration to the next, so a run resumes without saving generator states, and no
    purpose can use up the numbers of another.
    """
    words = [seed, crc32(name.encode()), iteration]
    small = max(words) < 2**32  # then NumPy need not turn them into words one by one, which takes as long as all else
    return np.random.default_rng(np.array(words, np.uint32) if small else words)


def streams(seeds: Sequence[int], name: str, iteration: int = 0) -> list[np.random.Generator]:
    """One stream per seed, in the order of ``seeds``."""
    return [stream(seed, name, iteration) for seed in seeds]


def seed_of(source: np.random.Generator) -> int:
    """The seed of a `stream`, or of a generator that was made from a seed alone."""
    sequence: Any = source.bit_generator.seed_seq
    return int(np.atleast_1d(sequence.entropy)[0])
