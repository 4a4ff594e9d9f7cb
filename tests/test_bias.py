"""Whether an estimate is unbiased: Wald's test, and samples that bound nothing."""

import numpy as np
import pytest
from scipy import stats

from ablate.statistics import bias, noise
from ablate.statistics.block_sums import blocks_of
from ablate.statistics.noise import snr, trace_variance


def in_a_plane(rng, count, replicates=1):
    """Skewed vectors of 6 numbers that span 3 directions, their mean, and the scores that span the same."""
    basis, mean = np.random.default_rng(25).normal(size=(3, 6)), np.array([1.0, -2.0, 0.5])
    x = (mean + rng.exponential(size=(count, replicates, 3)) - 1) @ basis
    return x, mean @ basis, rng.normal(size=(count, 3)) @ basis


def test_wald_as_it_is_written_down():
    x, mean, scores = in_a_plane(np.random.default_rng(26), 50)
    S = np.cov(x[:, 0], rowvar=False)
    T = np.trace(S)
    logs = np.array([np.log(np.trace(np.cov(np.delete(x[:, 0], i, axis=0), rowvar=False))) for i in range(50)])
    ratio = 50 * np.square(x[:, 0].mean(0) - mean).sum() / T
    expected = stats.f.sf(ratio, T**2 / (S**2).sum(), 2 / (49 * logs.var()))
    assert bias.wald(blocks_of(x), mean, scores)[0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("count", [64, 256])
def test_wald_keeps_its_level_and_has_power(count):
    """1,000 samples: at most 6.5% of true nulls are rejected (5% is two standard errors below), half of biases."""
    x, mean, scores = in_a_plane(np.random.default_rng(27), count, 1000)
    p = bias.wald(blocks_of(x), mean, scores)
    assert (p < 0.05).mean() <= 0.065
    away = mean * (1 + 12 / np.sqrt(count) / np.linalg.norm(mean))
    assert (bias.wald(blocks_of(x), away, scores) < 0.05).mean() > 0.5


def test_wald_is_silent_where_the_sample_does_not_fill_the_span_of_the_scores():
    x, mean, scores = in_a_plane(np.random.default_rng(28), 60)
    basis = np.linalg.svd(x[:, 0], full_matrices=False)[2][:3]
    assert np.isfinite(bias.wald(blocks_of(x), mean, scores))
    flat = x @ basis[:2].T @ basis[:2]
    silent = {
        "the gradients have not moved in one direction": (flat, mean, scores),
        "g* is not in the span": (x, mean + 0.01 * np.linalg.svd(x[:, 0])[2][-1], scores),
        "no fewer directions than scores": (x, mean, scores[:3]),
        "no reward": (np.zeros_like(x), mean, scores),
        "no scores": (x, mean, np.zeros_like(scores)),
    }
    for why, sample in silent.items():
        assert np.isnan(bias.wald(blocks_of(sample[0]), *sample[1:])).all(), why


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_sample_of_one_value_bounds_nothing(value):
    """All gradients alike, as where no reward came: every interval is unbounded, none has width 0."""
    blocks = blocks_of(np.full((64, 2, 3), value))
    target = np.array([0.3, 0.1, -0.2])
    found = {
        "squared_signal": noise.squared_signal(blocks),
        "bias_squared": bias.bias_squared(blocks, target),
        "mean_squared_error": bias.mean_squared_error(blocks, target, 16),
        "snr": snr(blocks),
        "cosine": bias.cosine(blocks, target, 16),
        "pairwise_cosine": noise.pairwise_cosine(blocks, 16),
        "projection": bias.projection(blocks, target),
    }
    for name, interval in found.items():
        assert np.isneginf(interval.low).all(), name
        assert np.isposinf(interval.high).all(), name
    for interval in (trace_variance(blocks), noise.directional_variance(blocks, target), noise.nsr(blocks)):
        assert (interval.low == 0).all()
        assert np.isposinf(interval.high).all()
