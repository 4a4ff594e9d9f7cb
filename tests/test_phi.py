"""Phi: by hand on one ragged batch, and the identities that tie the variants together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from numpy.typing import NDArray

from ablate.discounted_sums import td_errors
from ablate.phi import Signals, action_value, advantage, reward_to_go, td_error, total_return


def signals_of(seed: int, gamma: float, ends: bool = True) -> Signals:
    """Ragged episodes; after the last step they are over, or cut and worth something."""
    rng = np.random.default_rng(seed)
    S, N, T = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 8)
    lengths = rng.integers(1, T + 1, (S, N))
    mask = np.arange(T) < lengths[..., None]
    rewards, values, action_values = rng.normal(size=(3, S, N, T)) * mask

    def following(x: NDArray) -> NDArray:
        after = np.concatenate([x[..., 1:], np.zeros((S, N, 1))], -1)
        return after if ends else after + rng.normal(size=(S, N, 1)) * (np.arange(T) == lengths[..., None] - 1)

    return Signals(rewards, mask, gamma, values, following(values), action_values, following(action_values))


def test_by_hand() -> None:
    """Rewards 1, 2, 4 at gamma 1/2; and an episode of one step beside it."""
    mask = np.array([[[True, True, True], [True, False, False]]])
    rewards = np.array([[[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]]])
    values = np.array([[[1.0, 1.0, 2.0], [3.0, 0.0, 0.0]]])
    following = np.array([[[1.0, 2.0, 0.0], [6.0, 0.0, 0.0]]])  # the second was cut
    signals = Signals(rewards, mask, 0.5, values, following, 10 * values)
    assert signals.returns.tolist() == [[3.0, 8.0]]
    assert total_return(signals).tolist() == [[[3.0, 3.0, 3.0], [8.0, 0.0, 0.0]]]
    assert reward_to_go(signals).tolist() == [[[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]]
    assert action_value(signals).tolist() == [[[10.0, 10.0, 20.0], [30.0, 0.0, 0.0]]]
    assert td_error(signals).tolist() == [[[0.5, 2.0, 2.0], [8.0, 0.0, 0.0]]]
    assert advantage(signals, 0.5).tolist() == [[[1.125, 2.5, 2.0], [8.0, 0.0, 0.0]]]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1), st.booleans())
def test_lambda_0_is_the_td_error(seed: int, gamma: float, ends: bool) -> None:
    signals = signals_of(seed, gamma, ends)
    assert np.array_equal(advantage(signals, 0.0), td_error(signals))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_lambda_1_is_the_reward_to_go_less_the_value(seed: int, gamma: float) -> None:
    signals = signals_of(seed, gamma)
    assert signals.values is not None
    np.testing.assert_allclose(advantage(signals, 1.0), reward_to_go(signals) - signals.values, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_the_return_is_the_first_reward_to_go_and_adds_what_was_earned_before(seed: int, gamma: float) -> None:
    signals = signals_of(seed, gamma)
    R, G = total_return(signals), reward_to_go(signals)
    assert np.array_equal(R[..., 0], G[..., 0])
    discounts = gamma ** np.arange(R.shape[-1])
    earned = np.cumsum(discounts * signals.rewards, -1) - discounts * signals.rewards
    np.testing.assert_allclose(R, (earned + discounts * G) * signals.mask, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1), st.floats(0, 1), st.booleans())
def test_nothing_is_said_of_steps_that_were_not_taken(seed: int, gamma: float, share: float, ends: bool) -> None:
    signals = signals_of(seed, gamma, ends)
    for phi in (total_return, reward_to_go, action_value, td_error):
        assert not phi(signals)[~signals.mask].any()
    assert not advantage(signals, share)[~signals.mask].any()


def test_signatures_hold_what_is_handed_over_to_its_shape() -> None:
    """While testing only: conftest puts the check in front of the import."""
    ones = np.ones((2, 3, 4))
    with pytest.raises(TypeCheckError):
        td_errors(ones, ones, ones[..., :3], 0.9)
    with pytest.raises(TypeCheckError):
        Signals(ones, ones[:1] > 0, 0.9)
