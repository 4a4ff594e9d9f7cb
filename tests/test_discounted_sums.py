"""Returns: each function against its definition as a plain loop, and the identities between them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ablate.discounted_sums import discounted_sum, gae, lambda_returns, ordered_sum, td_errors

numbers = st.floats(-100, 100)
shares = st.floats(0, 1)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12))


@st.composite
def signals(draw: st.DrawFn) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Rewards, V(s_t), V(s_{t+1}) and lengths of ragged episodes [S,N,T]; each is cut or ends, as it may be."""
    shape = draw(shapes)
    lengths = draw(arrays(np.int64, shape[:2], elements=st.integers(1, shape[2])))
    mask = np.arange(shape[2]) < lengths[..., None]
    rewards, values = (draw(arrays(np.float64, shape, elements=numbers)) * mask for _ in range(2))
    after = draw(arrays(np.float64, shape[:2], elements=st.one_of(st.just(0.0), numbers)))
    following = np.zeros(shape)
    following[..., :-1] = values[..., 1:]
    np.put_along_axis(following, lengths[..., None] - 1, after[..., None], axis=-1)
    return rewards, values, following, lengths


def close(found: NDArray, wanted: NDArray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@given(st.tuples(shapes, st.integers(0, 2**32 - 1)), shares)
def test_a_discounted_sum_is_the_sum_of_what_comes_discounted(of: tuple, discount: float) -> None:
    x = np.random.default_rng(of[1]).normal(size=of[0])
    before = x.copy()
    steps = range(x.shape[-1])
    close(
        discounted_sum(x, discount),
        np.stack([sum(discount ** (k - t) * x[..., k] for k in steps if k >= t) for t in steps], axis=-1),
    )
    assert np.array_equal(x, before)


def test_a_discounted_sum_leaves_its_argument_alone_whatever_its_layout() -> None:
    """Moving the time axis first copies an array or does not, as its strides have it."""
    block = np.random.default_rng(0).normal(size=(4, 3, 5))
    layouts = [block, block.transpose(2, 1, 0), block[::2, :, ::-1], np.asfortranarray(block), block[0, 0]]
    for x in layouts:
        before = x.copy()
        y = discounted_sum(x, 0.5)
        assert np.array_equal(x, before)
        assert y.shape == x.shape
        assert not np.shares_memory(x, y)


@given(signals(), shares)
def test_lambda_0_is_the_td_error_and_lambda_1_the_return_less_the_value(of: tuple, gamma: float) -> None:
    rewards, values, following, lengths = of
    deltas = td_errors(rewards, values, following, gamma)
    close(gae(deltas, gamma, 0.0), deltas)
    # What an episode is bootstrapped from counts as one more reward, a step late.
    last, time = lengths[..., None] - 1, np.arange(rewards.shape[-1])
    paid = rewards + gamma * following * (time == last)
    close(gae(deltas, gamma, 1.0), discounted_sum(paid, gamma) - values)


@given(signals(), shares, shares)
def test_lambda_returns_obey_their_recursion(of: tuple, gamma: float, td_lambda: float) -> None:
    rewards, values, following, lengths = of
    found = lambda_returns(rewards, values, following, gamma, td_lambda)
    for s, n in np.ndindex(lengths.shape):
        length = lengths[s, n]
        G = following[s, n, length - 1]  # beyond the end there is nothing but the bootstrap
        for t in reversed(range(length)):
            G = rewards[s, n, t] + gamma * ((1 - td_lambda) * following[s, n, t] + td_lambda * G)
            np.testing.assert_allclose(found[s, n, t], G, rtol=1e-9, atol=1e-9)


@given(signals(), shares)
def test_lambda_0_is_the_one_step_target_and_lambda_1_monte_carlo(of: tuple, gamma: float) -> None:
    rewards, values, following, lengths = of
    close(lambda_returns(rewards, values, following, gamma, 0.0), rewards + gamma * following)
    over = following * (np.arange(rewards.shape[-1]) != lengths[..., None] - 1)  # all episodes end for good
    close(lambda_returns(rewards, values, over, gamma, 1.0), discounted_sum(rewards, gamma))


@given(signals(), shares, shares)
def test_nothing_is_said_of_steps_that_were_not_taken(of: tuple, gamma: float, share: float) -> None:
    rewards, values, following, lengths = of
    after = np.arange(rewards.shape[-1]) >= lengths[..., None]
    deltas = td_errors(rewards, values, following, gamma)
    results = [discounted_sum(rewards, gamma), deltas, gae(deltas, gamma, share)]
    for x in [*results, lambda_returns(rewards, values, following, gamma, share)]:
        assert (x[after] == 0).all()


@given(signals(), shares)
def test_other_episodes_and_padding_leave_every_bit_as_it_was(of: tuple, share: float) -> None:
    rewards, _, _, lengths = of
    together = discounted_sum(rewards, share)
    for s, n in np.ndindex(lengths.shape):
        alone = discounted_sum(rewards[s, n, : lengths[s, n]], share)
        assert np.array_equal(together[s, n, : lengths[s, n]], alone)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 30), st.integers(0, 100))
def test_an_ordered_sum_keeps_its_bits_beside_other_rows_and_before_zeros(S: int, N: int, more: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(S, N))
    padded = np.concatenate([x, np.zeros((S, more))], axis=1)
    plain = [sum(row.tolist(), start=0.0) for row in x]
    assert ordered_sum(padded, axis=1).tolist() == plain
    assert ordered_sum(np.asfortranarray(padded), axis=1).tolist() == plain
    assert ordered_sum(padded.T, axis=0).tolist() == plain
