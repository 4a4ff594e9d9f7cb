"""Ragged episodes as rows and back, for any lengths."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ablate.episodes.trajectories import ROWS, TOGETHER, Rows, Trajectories


@st.composite
def lengths_of(draw: st.DrawFn, longest: int = 400) -> NDArray:
    """[S, N], some longer than a block of rows all together."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    return draw(arrays(np.int64, shape, elements=st.one_of(st.integers(1, 5), st.integers(1, longest))))


def episodes(lengths: NDArray) -> Trajectories:
    S, N = lengths.shape
    T = int(lengths.max())
    mask = np.arange(T) < lengths[..., None]
    observations = np.random.default_rng(0).normal(size=(S, N, T, 2)).astype(np.float32) * mask[..., None]
    actions = np.arange(1, S * N * T + 1).reshape(S, N, T) * mask
    ends, last = np.ones((S, N), bool), np.zeros((S, N, 2), np.float32)
    return Trajectories(observations, actions, actions / 2, lengths, ends, last, np.zeros((S, N), np.int64))


@given(lengths_of())
def test_the_mask_has_each_episodes_first_steps(lengths: NDArray) -> None:
    mask = episodes(lengths).mask
    assert mask.shape == (*lengths.shape, lengths.max())
    assert np.array_equal(mask.sum(-1), lengths)
    assert not (mask[..., 1:] & ~mask[..., :-1]).any()


@given(lengths_of())
def test_rows_are_the_steps_in_order_of_episode_and_time(lengths: NDArray) -> None:
    batch = episodes(lengths)
    rows = batch.rows
    actions, observations = rows.pack(batch.actions), rows.pack(batch.observations)
    assert np.array_equal(rows.counts, lengths.sum(1))
    for s, own in enumerate(lengths):
        wanted = np.concatenate([batch.actions[s, n, :length] for n, length in enumerate(own)])
        assert np.array_equal(actions[s, : len(wanted)], wanted)
        assert np.array_equal(rows.times[s, : len(wanted)], np.concatenate([np.arange(length) for length in own]))
        seen = np.concatenate([batch.observations[s, n, :length] for n, length in enumerate(own)])
        assert np.array_equal(observations[s, : len(wanted)], seen)
        for padding in (actions[s, len(wanted) :], observations[s, len(wanted) :], rows.times[s, len(wanted) :]):
            assert (padding == 0).all()


@given(lengths_of())
def test_packing_and_unpacking_give_back_what_was_there(lengths: NDArray) -> None:
    batch = episodes(lengths)
    for x in (batch.rewards, batch.actions):
        back = batch.rows.unpack(batch.rows.pack(x))
        assert back.dtype == x.dtype
        assert np.array_equal(back, x)


@given(lengths_of())
def test_padding_with_rubbish_is_not_packed(lengths: NDArray) -> None:
    batch = episodes(lengths)
    spoilt = np.where(batch.mask, batch.rewards, np.nan)
    assert np.array_equal(batch.rows.pack(spoilt), batch.rows.pack(batch.rewards))


@given(lengths_of(longest=3000))
def test_blocks_hold_each_step_once_and_few_others(lengths: NDArray) -> None:
    """A block is as long as its seeds' steps fill it, up to a multiple of ROWS, and all of it stays in cache."""
    rows = Rows(episodes(lengths).mask)
    assert rows.size % ROWS == 0
    assert rows.size - ROWS < max(rows.counts) <= rows.size
    seen = np.zeros(rows.valid.shape, int)
    for block, seeds in rows.blocks():
        length = block.stop - block.start
        assert length % ROWS == 0
        assert len(seeds) * (rows.counts[seeds] - block.start).clip(max=length).max() <= TOGETHER
        assert (rows.counts[seeds] > block.stop - ROWS).all()
        seen[seeds, block] += 1
    assert (seen[rows.valid] == 1).all()
    assert seen.max() == 1


@given(lengths_of(longest=3000), st.data())
def test_a_seeds_blocks_do_not_depend_on_the_others(lengths: NDArray, data: st.DataObject) -> None:
    s = data.draw(st.integers(0, len(lengths) - 1))
    together = [block for block, seeds in Rows(episodes(lengths).mask).blocks() if s in seeds]
    assert together == [block for block, _ in Rows(episodes(lengths[s : s + 1]).mask).blocks()]


@given(lengths_of(), st.data())
def test_a_seeds_rows_do_not_depend_on_the_others(lengths: NDArray, data: st.DataObject) -> None:
    """Their number may, but what is behind a seed's last row is zeros."""
    batch = episodes(lengths)
    s = data.draw(st.integers(0, len(lengths) - 1))
    alone = Rows(batch.mask[s : s + 1, :, : lengths[s].max()])
    together, own = batch.rows.pack(batch.rewards)[s], alone.pack(batch.rewards[s : s + 1, :, : lengths[s].max()])[0]
    assert np.array_equal(together[: len(own)], own)
    assert (together[len(own) :] == 0).all()


@given(lengths_of(longest=30), st.data())
def test_a_part_of_the_batch_is_the_episodes_of_that_part(lengths: NDArray, data: st.DataObject) -> None:
    batch = episodes(lengths)
    s = data.draw(st.integers(0, len(lengths) - 1))
    alone = batch.of(slice(s, s + 1))
    assert alone.rewards.shape == (1, lengths.shape[1], lengths[s].max())
    assert np.array_equal(alone.rewards[0], batch.rewards[s, :, : lengths[s].max()])
    assert np.array_equal(alone.mask[0], batch.mask[s, :, : lengths[s].max()])
    first = batch.between(slice(0, 1))
    assert np.array_equal(first.lengths, lengths[:, :1])
    assert np.array_equal(first.observations, batch.observations[:, :1])
