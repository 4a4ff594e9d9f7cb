"""Baselines: each by its definition, blind to its own episode where it says so, and the same beside other seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ablate import baselines
from ablate.phi import Signals, reward_to_go

BLIND = [baselines.leave_one_out, baselines.time, baselines.optimal]  # b_i takes nothing of episode i


def batch(seed: int, S: int = 2, N: int = 4, T: int = 6) -> tuple[NDArray, Signals, NDArray]:
    """Phi, signals, and per-step scores z [S,N,T,3] that stand for a policy's."""
    rng = np.random.default_rng(seed)
    mask = np.arange(T) < rng.integers(1, T + 1, (S, N))[..., None]
    signals = Signals(rng.normal(2, 1, (S, N, T)) * mask, mask, 0.9, values=rng.normal(size=(S, N, T)) * mask)
    return reward_to_go(signals), signals, rng.normal(size=(S, N, T, 3)) * mask[..., None]


def products_of(z: NDArray) -> baselines.ScoreProducts:
    def products(u: NDArray, v: NDArray) -> NDArray:
        return ((u[..., None] * z).sum(2) * (v[..., None] * z).sum(2)).sum(-1)

    return products


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_means_of_returns_by_their_definition(seed: int, N: int) -> None:
    phi, signals, z = batch(seed, N=N)
    R = np.array([[sum(0.9**t * r for t, r in enumerate(e)) for e in of_seed] for of_seed in signals.rewards])
    mean = np.broadcast_to(baselines.mean(phi, signals, products_of(z)), phi.shape)
    loo = np.broadcast_to(baselines.leave_one_out(phi, signals, products_of(z)), phi.shape)
    for s, i in np.ndindex(R.shape):
        np.testing.assert_allclose(mean[s, i], R[s].mean())
        np.testing.assert_allclose(loo[s, i], np.delete(R[s], i).mean())
    # R_i - loo_i = N / (N - 1) (R_i - mean): one is the other, scaled
    np.testing.assert_allclose(R - loo[..., 0], N / (N - 1) * (R - mean[..., 0]), atol=1e-12)


def test_the_mean_per_step_is_of_the_others_that_last() -> None:
    """Three episodes of 3, 2 and 1 steps: at step 1 the first two have each other, at step 2 the first has nobody."""
    mask = np.array([[[1, 1, 1], [1, 1, 0], [1, 0, 0]]], bool)
    phi = np.array([[[1.0, 2.0, 3.0], [10.0, 20.0, 0.0], [100.0, 0.0, 0.0]]])
    b = baselines.time(phi, Signals(phi, mask, 1.0), products_of(np.zeros((1, 3, 3, 1))))
    assert (b * mask).tolist() == [[[55.0, 20.0, 0.0], [50.5, 2.0, 0.0], [5.5, 0.0, 0.0]]]


@given(st.integers(0, 2**32 - 1))
def test_the_optimal_constant_leaves_least_variance_among_the_others(seed: int) -> None:
    """sum_{j != i} |X_j - b F_j|^2 is least at b_i: no other b does better."""
    phi, signals, z = batch(seed)
    b = baselines.optimal(phi, signals, products_of(z))
    X, F = (phi[..., None] * z).sum(2), z.sum(2)
    for s, i in np.ndindex(phi.shape[:2]):

        def left(b: float, s: int = s, i: int = i) -> float:
            return float((np.delete(X[s] - b * F[s], i, 0) ** 2).sum())

        at = float(b[s, i, 0])
        assert left(at) <= min(left(at - 0.01), left(at + 0.01)) + 1e-12


@pytest.mark.parametrize("baseline", BLIND, ids=lambda f: f.__name__)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_baseline_of_the_others_does_not_see_its_own_episode(baseline: baselines.ScoreProducts, seed: int) -> None:
    phi, signals, z = batch(seed)
    changed = signals.rewards.copy()
    changed[:, 1] += 7 * signals.mask[:, 1]
    other = Signals(changed, signals.mask, signals.gamma)
    before = np.broadcast_to(baseline(phi, signals, products_of(z)), phi.shape)
    after = np.broadcast_to(baseline(reward_to_go(other), other, products_of(z)), phi.shape)
    np.testing.assert_allclose(after[:, 1], before[:, 1], rtol=1e-9, atol=1e-9)
    lasting = [i for i in (0, 2, 3) if baseline is not baselines.time]  # in time, nobody else may last as long
    assert all((after[:, i] != before[:, i]).any() for i in lasting)


@pytest.mark.parametrize(
    "baseline",
    [baselines.none, baselines.mean, *BLIND, baselines.value],
    ids=lambda f: f.__name__,
)
def test_a_seeds_baseline_is_the_same_bits_alone_and_among_others(baseline: baselines.ScoreProducts) -> None:
    phi, signals, z = batch(0, S=5)
    assert signals.values is not None
    together = np.broadcast_to(baseline(phi, signals, products_of(z)), phi.shape)
    assert np.isfinite(together).all()
    for s in range(5):
        own = slice(s, s + 1)
        alone = Signals(signals.rewards[own], signals.mask[own], 0.9, values=signals.values[own])
        found = np.broadcast_to(baseline(phi[own], alone, products_of(z[own])), phi[own].shape)
        assert np.array_equal(found[0], together[s])


def test_nobody_to_take_a_mean_of_is_no_baseline_and_no_warning() -> None:
    """One episode, or scores that are all 0: b = 0 rather than 0 / 0."""
    phi, signals, z = batch(0, N=1)
    for baseline in BLIND:
        assert not np.any(baseline(phi, signals, products_of(z)))
    phi, signals, z = batch(0)
    assert not baselines.optimal(phi, signals, products_of(0 * z)).any()


def test_no_baseline_is_zero_and_the_value_is_the_critics() -> None:
    phi, signals, z = batch(0)
    assert not baselines.none(phi, signals, products_of(z)).any()
    assert baselines.value(phi, signals, products_of(z)) is signals.values


@pytest.mark.parametrize("constant", [1e5 + 0.1, 1000000000.1, -3e12 / 7, 0.1])
@pytest.mark.parametrize("name", ["mean", "leave_one_out", "time", "optimal"])
@pytest.mark.parametrize("N", [2, 3, 64])
def test_of_equal_numbers_every_baseline_is_that_number(name: str, constant: float, N: int) -> None:
    """Phi - b is 0 to the last bit where all episodes earn the same: rounding is no signal."""
    mask = np.ones((2, N, 1), bool)
    phi = np.full(mask.shape, constant)
    products = products_of(np.random.default_rng(0).normal(size=(*mask.shape, 3)))
    b = getattr(baselines, name)(phi, Signals(phi, mask, 0.9), products)
    assert (phi - b == 0).all()


@given(st.integers(0, 2**32 - 1))
def test_baselines_keep_their_digits_under_an_offset(seed: int) -> None:
    """Of rewards c + r with one step each, b(c + r) - c = b(r), as far as c + r tells r."""
    rng, c = np.random.default_rng(seed), 2.0**30
    mask, z = np.ones((2, 5, 1), bool), rng.normal(size=(2, 5, 1, 3))
    r = rng.integers(-8, 8, mask.shape) / 4.0  # so that c + r is exact
    for baseline in (baselines.mean, *BLIND):
        near, far = (baseline(x, Signals(x, mask, 1.0), products_of(z)) for x in (r, c + r))
        np.testing.assert_allclose(far - c, near, rtol=0, atol=4 * np.spacing(c))
