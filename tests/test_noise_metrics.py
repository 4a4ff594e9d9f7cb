"""Noise by its cost, in other metrics, along directions and in parts of the parameters."""

import numpy as np
import pytest
from noise_oracle import naive, three_variants

from ablate.statistics import noise, resampling
from ablate.statistics.block_sums import blocks_of
from ablate.statistics.noise import paired_log_ratio, snr, trace_variance


@pytest.fixture
def g():
    return three_variants()


def test_noise_in_a_metric_is_that_of_the_mapped_gradients(g):
    """tr M C and mu' M mu / tr M C of L' g, for M = L L' and for a diagonal one."""
    L = np.random.default_rng(30).normal(size=(5, 4))
    scale = np.arange(1.0, 6)
    for metric, factor, mapped in (
        (noise.in_metric, L, g @ L),
        (noise.in_diagonal_metric, scale, g * scale),
    ):
        inside, n = metric(blocks_of(g), factor)
        assert n == 1
        for k in range(3):
            T, m = mapped[:, k].var(0, ddof=1).sum(), mapped[:, k].mean(0)
            assert trace_variance(inside).value[k] == pytest.approx(T, rel=1e-10)
            assert snr(inside).value[k] == pytest.approx((m @ m - T / 20) / T, rel=1e-9)


def test_noise_in_the_fisher_metric_does_not_depend_on_the_parameters():
    """theta = A phi: gradients and scores become A' g and A' Z; the noise stays, also with one more number."""
    rng = np.random.default_rng(31)
    scores, A = rng.normal(size=(80, 3)), rng.normal(size=(3, 3)) + 2 * np.eye(3)
    x = scores[:, None] * rng.exponential(size=(80, 1, 1))
    found = []
    for change in (np.eye(3), A, np.concatenate([A, A[:, :1]], 1)):
        L = noise.fisher(scores @ change)
        found.append(trace_variance(noise.in_metric(blocks_of(x @ change), L)[0]))
    F = scores.T @ scores / 80
    assert found[0].value[0] == pytest.approx(np.trace(np.linalg.solve(F, np.cov(x[:, 0], rowvar=False))), rel=1e-10)
    for other in found[1:]:
        np.testing.assert_allclose(np.array(other), np.array(found[0]), rtol=1e-8)
    assert noise.fisher(scores[:23]) is None
    assert noise.fisher(np.zeros((80, 3))) is None


def test_shares_of_the_parameters_add_up(g):
    parts = [slice(0, 2), slice(2, 5)]
    found = noise.shares(blocks_of(g), parts)
    for k in range(3):
        variances = g[:, k].var(0, ddof=1)
        expected = [variances[part].sum() / variances.sum() for part in parts]
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-10)
    assert np.isnan(noise.shares(blocks_of(np.ones((20, 1, 5))), parts)).all()


def test_work_is_variance_times_steps():
    """With steps that are all alike the limits are those of the variance, times the steps."""
    x = np.random.default_rng(32).normal(size=(100, 2, 3))
    blocks, steps = blocks_of(x), np.random.default_rng(33).integers(1, 9, 100).astype(float)
    T = trace_variance(blocks)
    np.testing.assert_allclose(noise.work(blocks, steps).value, T.value * steps.mean(), rtol=1e-12)
    for found, expected in zip(noise.work(blocks, np.full(100, 7.0)), T, strict=True):
        np.testing.assert_allclose(found, 7 * expected, rtol=1e-9)


def test_directional_variance_of_a_split_sample_as_it_is_written_down(g):
    """Each half along the direction of the other's mean; 11 and 10 of 21, too."""
    for rows in (g, np.concatenate([g, g[:1] + 1])):
        found = noise.split_directional_variance(blocks_of(rows)).value
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        for k in range(3):
            v = [half[:, k].mean(0) / np.linalg.norm(half[:, k].mean(0)) for half in halves]
            along = [(halves[0][:, k] @ v[1]).var(ddof=1), (halves[1][:, k] @ v[0]).var(ddof=1)]
            weights = np.array([len(half) for half in halves]) / len(rows)
            assert found[k] == pytest.approx(weights @ along, rel=1e-10)


def test_distance_to_the_reference_is_the_signal_of_the_difference(g):
    found = noise.distance_squared(blocks_of(g), 1)
    for k in (0, 2):
        assert found.value[k] == pytest.approx(naive("squared_signal", g[:, k] - g[:, 1]), rel=1e-9)
    assert found.value[1] == found.low[1] == found.high[1] == 0
    nothing = noise.distance_squared(blocks_of(np.zeros_like(g)), 1)
    assert np.isneginf(nothing.low[0])
    assert np.isposinf(nothing.high[0])


def test_a_biased_estimator_is_better_up_to_the_crossover():
    bias_squared, quiet, loud = 0.5, 3.0, 10.0
    N = noise.crossover(bias_squared, quiet, 0.0, loud)
    assert pytest.approx((loud - quiet) / bias_squared) == N
    assert bias_squared + quiet / N == pytest.approx(loud / N)
    assert noise.crossover(0.0, quiet, 0.0, loud) == np.inf
    assert noise.crossover(bias_squared, loud, 0.0, quiet) == 0
    assert np.isnan(noise.crossover(0.0, loud, 0.0, loud))


def test_one_episode_makes_no_two_variants_the_same():
    """Of one episode that carries all noise every ratio is exact by chance; it says nothing."""
    x = np.zeros((64, 2, 3))
    x[5] = [[1.0, 0, 0], [3.0, 1, 0]]
    ratio = paired_log_ratio(blocks_of(x), 0)
    assert np.isneginf(ratio.low[1])
    assert np.isposinf(ratio.high[1])
    assert resampling.informative(blocks_of(x))[1] == pytest.approx(1, abs=0.1)


def test_no_finite_interval_below_the_truth_where_rewards_are_rare():
    """A prize of 100 with probability 0.01 in each of 3 steps, 64 episodes: 400 samples, at most 7% such (5% is two
    standard errors below)."""
    rng, count = np.random.default_rng(34), 400
    z = np.where(rng.random((64, count, 3)) < 0.5, 0.5, -0.5)
    r = 100.0 * (rng.random((64, count, 3)) < 0.01)
    G = r[..., ::-1].cumsum(-1)[..., ::-1]
    x = np.stack([(z * G[..., :1]).sum(-1), (z * G).sum(-1)], -1)[..., None]
    e, e2 = 1.0, 100.0  # E r, E r^2; E G_t^2 = n e2 + n (n - 1) e^2 of the n steps to go
    truth = np.array([3 * (3 * e2 + 6 * e * e), sum(n * e2 + n * (n - 1) * e * e for n in (1, 2, 3))]) / 4
    blocks = blocks_of(x)
    nsr = noise.nsr(blocks)
    for interval in (trace_variance(blocks), noise.directional_variance(blocks, np.ones(1))):
        assert ((interval.high < truth).mean(0) <= 0.07).all()
    assert (np.isfinite(nsr.high).mean(0) <= 0.07).all()
