"""The statistics against scipy, hand-worked numbers, slow oracles and simulation."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from ablate.analysis import statistics as st
from ablate.statistics.learning_curves import smoothed, steps_to_threshold
from ablate.statistics.power import samples_needed
from ablate.statistics.seeds import (
    bootstrap_interval,
    expanded,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

VALUES = some.lists(some.integers(-5, 5), min_size=2, max_size=12)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Learning curves


def test_a_curve_on_a_grid() -> None:
    found = st.on_grid([10, 20, 40], [1, 3, 5], [0, 10, 15, 30, 40, 41])
    np.testing.assert_array_equal(found, [1, 1, 2, 4, 5, np.nan])


def test_the_area_under_a_curve_by_hand() -> None:
    # constant 1 to 10, a line to 3 at 20, and half of the line to 5 at 40: 10 + 20 + 35 over 30
    assert st.area_under_curve([10, 20, 40], [1, 3, 5], 30) == pytest.approx(65 / 30)
    assert st.area_under_curve([10, 20, 40], [1, 3, 5], 10) == 1
    assert st.area_under_curve([10, 20, 40], [1, 3, 5], 5) == 1
    for past in (41, 0):
        with pytest.raises(ValueError, match="no area"):
            st.area_under_curve([10, 20, 40], [1, 3, 5], past)


@given(some.lists(some.floats(-10, 10), min_size=1, max_size=20), some.floats(0.05, 1))
def test_the_area_is_the_integral_of_the_curve(values: list[float], share: float) -> None:
    steps = 7.0 * np.arange(1, len(values) + 1)
    until = share * steps[-1]
    knots = np.union1d(np.linspace(0, until, 301), np.minimum(steps, until))
    fine = np.trapezoid(st.on_grid(steps, values, knots), knots) / until
    assert st.area_under_curve(steps, values, until) == pytest.approx(fine, abs=1e-9)


def test_smoothing_averages_what_there_is() -> None:
    np.testing.assert_allclose(smoothed(np.array([2.0, 4, 6, 8, 0, 12]), 3), [2, 3, 4, 6, 14 / 3, 20 / 3])
    np.testing.assert_array_equal(smoothed(np.array([[2.0], [5.0]])), [[2], [5]])


def test_the_threshold_is_reached_or_never() -> None:
    steps = np.tile(10.0 * np.arange(1, 9), (3, 1))
    curves = np.array([[0, 0, 9, 9, 9, 9, 9, 9.0], [0, 0, 0, 0, 0, 0, 0, 9.0], [9] * 8])
    times = steps_to_threshold(steps, curves, np.array([5.0, 5.0, 9.0]))
    assert times.tolist() == [50, np.inf, 10]  # (0 + 0 + 9 + 9 + 9) / 5 = 5.4 at the fifth; never; at once
    assert np.isinf(steps_to_threshold(steps, curves, np.full(3, np.nan))).all()


# Over seeds


def test_a_band_is_the_bootstrap_at_every_point() -> None:
    """The same seeds drawn: to the last bit. Wide tables are cut into parts, which changes nothing."""
    x = rng(3).standard_normal((9, 40))
    found = st.band(x, rng(), resamples=200)
    rows = rng().integers(9, size=(200, 9))
    slow = np.array([interquartile_mean(x[row], axis=0) for row in rows])
    np.testing.assert_allclose([found.low, found.high], np.quantile(slow, expanded(9), axis=0), atol=1e-12)
    np.testing.assert_allclose(found.value, stats.trim_mean(x, 0.25, axis=0))


def test_wide_bands_are_cut_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng(3).standard_normal((9, 40))
    whole = st.band(x, rng(), resamples=200)
    monkeypatch.setattr(st, "BLOCK", 5000)
    np.testing.assert_array_equal(st.band(x, rng(), resamples=200), whole)


def test_the_bands_of_a_normal_sample_cover() -> None:
    """600 samples of 20 at 4 points: the interval of the IQM covers about 95.5% at this size. The count at each
    point is binomial; the bounds are 4 standard deviations away or more: false alarms below 0.1%."""
    x = rng(1).standard_normal((600, 20, 4))
    draws = rng(2)
    hits = np.zeros(4)
    for sample in x:
        _, low, high = st.band(sample, draws, resamples=400)
        hits += (low < 0) & (high > 0)
    assert (hits / 600 > 0.92).all()
    assert (hits / 600 < 0.985).all()


def test_the_interval_of_improvement_covers() -> None:
    """P(X > Y) = Phi(1 / sqrt 2) for unit normals one apart: 400 pairs of samples of 15, bounds 3.5 standard deviations
    about the 93% that a bootstrap has here: false alarms below 0.1%."""
    truth = stats.norm.cdf(1 / np.sqrt(2))
    draws, hits = rng(5), 0
    for _ in range(400):
        x, y = draws.standard_normal((2, 15)) + np.array([[1], [0]])
        _, low, high = st.improvement_interval(x, y, draws, resamples=300)
        hits += low < truth < high
    assert 0.885 < hits / 400 < 0.975


@given(VALUES, VALUES)
def test_improvement_is_the_share_of_pairs(x: list[int], y: list[int]) -> None:
    shares = [(a > b) + (a == b) / 2 for a, b in product(x, y)]
    found = st.improvement_interval(x, y, rng(), resamples=50)
    assert found.value == pytest.approx(np.mean(shares))
    assert (0 <= found.low <= found.high <= 1) == (min(len(x), len(y)) >= 5), "none below five runs"
    u = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert found.value == pytest.approx(u)


def test_the_optimality_gap_by_hand() -> None:
    assert st.optimality_gap([100, 300, 500], 400) == pytest.approx((300 + 100 + 0) / 3)
    assert st.optimality_gap([[0.5, 2.0]], 1.0, axis=1).tolist() == [0.25]


def test_point_estimates_are_those_of_rliable() -> None:
    """Frozen from rliable 1.2.0 (with pandas 2.3.3, arch 8.0.0, NumPy 2.2.6) for 5 runs of 2 tasks."""
    x = np.array([[0.1, 1.2], [0.4, 0.9], [0.35, 1.5], [0.8, 0.2], [0.6, 1.1]])
    y = np.array([[0.3, 0.7], [0.5, 1.0], [0.1, 0.4], [0.8, 0.3], [0.2, 0.6]])
    assert interquartile_mean(x.ravel()) == pytest.approx(0.6916666666666668)
    assert x.mean() == pytest.approx(0.7150000000000001)
    assert np.median(x.mean(0)) == pytest.approx(0.7150000000000001)
    assert st.optimality_gap(x.ravel(), 1.0) == pytest.approx(0.365)
    tasks = [probability_of_improvement(a, b) for a, b in zip(x.T, y.T, strict=True)]
    assert np.mean(tasks) == pytest.approx(0.6799999999999999)
    assert performance_profile(x, [0.0, 0.3, 0.6, 0.9, 1.2]).tolist() == [1.0, 0.8, 0.5, 0.3, 0.1]


# Stability


@given(some.lists(some.floats(-100, 100), min_size=1, max_size=30))
def test_the_interquartile_range_is_scipy_s(x: list[float]) -> None:
    assert st.interquartile_range(x) == pytest.approx(stats.iqr(x))


def test_stability_along_a_run_by_hand() -> None:
    curve = np.array([0.0, 10, 4, 12, 12, 3])
    # differences 10, -6, 8, 0, -9: quartiles -6 and 8
    assert st.detrended_iqr(curve) == 14
    assert st.detrended_iqr(curve + 5 * np.arange(6)) == 14  # a trend changes nothing
    # drawdowns 0, 0, 6, 0, 0, 9; the largest half of six: (9 + 6 + 0) / 3
    assert st.drawdown_cvar(curve, 0.5) == 5
    assert st.drawdown_cvar(np.sort(curve)) == 0
    assert np.isnan(st.detrended_iqr(np.array([[3.0]])))


def test_a_run_collapses_when_half_of_its_gain_is_lost() -> None:
    held = [0] * 5 + [100] * 15
    fell = [0] * 5 + [100] * 10 + [40] * 10
    dipped = [0] * 5 + [100] * 10 + [60] * 10
    never = [0] * 25
    began = [100] * 10 + [0] * 15
    curves = [(held + [100] * 5, 0), (fell, 1), (dipped, 0), (never, np.nan), (began, np.nan)]
    values, fates = (np.array(x, float) for x in zip(*curves, strict=True))
    np.testing.assert_array_equal(st.collapses(values, np.full(5, 90.0)), fates)
    np.testing.assert_array_equal(st.collapses(values - 1000, np.full(5, -910.0)), fates)  # returns may be negative


# Decisions


@given(some.floats(-10, 10), some.integers(1, 200))
def test_the_p_value_is_scipy_s(t: float, degrees: int) -> None:
    assert st.student_p_value(t, 1.0, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-6, abs=1e-14)
    assert st.student_p_value(2 * t, 2.0, degrees) == st.student_p_value(t, 1.0, degrees)


def test_without_any_error_every_difference_is_certain() -> None:
    assert (st.student_p_value(0.1, 0, 5), st.student_p_value(0, 0, 5)) == (0, 1)


def test_the_samples_asked_for_are_those_of_the_t_test() -> None:
    """Cohen (1988), table 2.4.1, halved: 34 for half a deviation at 5% and power 80%; at 1% 51. The normal
    approximation, (1.96 + 0.84)^2 / 0.25 = 31.4, is a few short."""
    assert samples_needed(-0.5, 1.0, 0.05) == 34
    assert samples_needed(0.5, 1.0, 0.01) == 51
    assert samples_needed(0, 1, 0.05) == np.inf


def test_wilson_by_hand() -> None:
    """For 3 of 10, (0.3 + z^2/20 +- z sqrt(0.021 + z^2/400)) / (1 + z^2/10)."""
    assert st.wilson(3, 10) == pytest.approx((0.1078, 0.6032), abs=1e-4)


# Ranks


@given(some.lists(some.tuples(some.integers(0, 4), some.integers(0, 4)), min_size=2, max_size=10))
def test_kendall_s_tau_is_scipy_s(pairs: list[tuple[int, int]]) -> None:
    x, y = zip(*pairs, strict=True)
    np.testing.assert_allclose(st.kendall_tau(x, y), stats.kendalltau(x, y).statistic, atol=1e-12)


def test_tau_of_many_samples_at_once() -> None:
    x, y = rng().integers(0, 5, (2, 30, 6))
    np.testing.assert_array_equal(st.kendall_tau(x, y), [st.kendall_tau(a, b) for a, b in zip(x, y, strict=True)])


def test_the_interval_of_tau_is_as_sure_as_the_ranks() -> None:
    places = np.arange(5.0)[:, None]
    clear = places + 0.01 * rng(1).standard_normal((5, 10))
    assert st.kendall_interval(clear, -clear, rng()) == (-1, -1, -1)
    assert np.isnan(st.kendall_interval(clear, np.ones((5, 10)), rng())).all()
    blurred = st.kendall_interval(places + 5 * rng(2).standard_normal((5, 10)), clear, rng())
    assert blurred.low < blurred.high
    assert -1 <= blurred.low <= blurred.high <= 1


def test_tau_over_variants_widens_with_fewer() -> None:
    x = np.arange(12.0)
    y = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 11.0])
    found = st.kendall_over_variants(x, y)
    half = st.Z * np.sqrt(0.437 / 8)
    np.testing.assert_allclose(
        np.arctanh([found.low, found.high]), np.arctanh(float(found.value)) + np.array([-half, half])
    )
    assert st.kendall_over_variants(x[:4], y[:4])[1:] == (-1, 1)


def test_the_interval_over_variants_covers() -> None:
    """1,000 samples of 12 pairs of independent ranks: Fieller's interval holds 0 in 95.6% (100,000 samples), and the
    count may be 3.5 standard deviations away from 95% and 1% more (0.1%)."""
    draws = rng(9).standard_normal((2, 1000, 12))
    found = st.kendall_tau(*draws)
    inside = np.abs(np.arctanh(found)) < st.Z * np.sqrt(0.437 / 8)
    assert abs(inside.mean() - 0.95) < 0.01 + 3.5 * np.sqrt(0.05 * 0.95 / 1000)


def test_intervals_are_the_same_at_every_call_and_leave_the_global_generator_alone() -> None:
    x, y = rng(1).standard_normal((2, 6, 8))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for work in (
        lambda: st.band(x, rng()),
        lambda: st.kendall_interval(x, y, rng()),
        lambda: st.improvement_interval(x[0], y[0], rng()),
        lambda: bootstrap_interval(x[0], rng()),
    ):
        np.testing.assert_array_equal(work(), work())
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
