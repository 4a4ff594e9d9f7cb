"""A stream belongs to one seed, one purpose and one iteration, and to nothing else."""

from itertools import product
from zlib import crc32

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ablate.randomness import seed_of, stream, streams

NAMES = ["policy weights", "environment", "actions", "critic V", "critic Q", "critic V weights", "critic Q weights"]


def test_every_seed_name_and_iteration_has_numbers_of_its_own() -> None:
    drawn = [tuple(stream(*of).integers(2**63, size=2)) for of in product([0, 1, 7, 2**40], NAMES, range(20))]
    assert len(set(drawn)) == len(drawn)


@given(st.integers(0, 2**62), st.text(max_size=20), st.integers(0, 10**9))
def test_the_same_stream_twice_gives_the_same_numbers(seed: int, name: str, iteration: int) -> None:
    assert np.array_equal(stream(seed, name, iteration).random(4), stream(seed, name, iteration).random(4))


@given(st.integers(0, 2**33), st.sampled_from(NAMES), st.integers(0, 2**33))
def test_a_stream_is_numpys_of_seed_purpose_and_iteration(seed: int, name: str, iteration: int) -> None:
    wanted = np.random.default_rng([seed, crc32(name.encode()), iteration])
    found = stream(seed, name, iteration)
    assert found.bit_generator.state == wanted.bit_generator.state
    assert seed_of(found) == seed


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True))
def test_a_seeds_stream_is_the_same_whoever_else_runs(seeds: list[int]) -> None:
    for seed, drawn in zip(seeds, streams(seeds, "environment", 3), strict=True):
        assert np.array_equal(drawn.random(4), stream(seed, "environment", 3).random(4))


def test_drawing_from_one_stream_uses_up_no_other() -> None:
    fresh = stream(0, "actions").random(4)
    stream(0, "environment").random(1000)
    assert np.array_equal(stream(0, "actions").random(4), fresh)


def test_streams_of_neighbouring_seeds_and_names_are_not_correlated() -> None:
    """64 streams of 4096 normals: |r| <= 6 / sqrt(4096) for all 2016 pairs; false alarm 2016 * 2e-9 < 1e-5."""
    rows = [stream(*of).standard_normal(4096) for of in product(range(4), NAMES[:4], range(4))]
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 6 / 64
