"""Numbers over seeds: against scipy, by hand, by the definitions, and how often their intervals hold the truth."""

from itertools import pairwise
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as some
from scipy import stats

from ablate.statistics import paired_tests, seeds
from ablate.statistics.paired_tests import holm
from ablate.statistics.power import detectable, power, samples_needed
from ablate.statistics.seeds import bootstrap_interval, interquartile_mean


def test_interquartile_mean_is_the_trimmed_mean() -> None:
    rng = np.random.default_rng(19)
    for n in (1, 3, 4, 10, 17):
        x = rng.normal(size=(5, n))
        np.testing.assert_allclose(interquartile_mean(x), stats.trim_mean(x, 0.25, axis=1), rtol=1e-12)
        np.testing.assert_allclose(interquartile_mean(x, axis=0), stats.trim_mean(x, 0.25, axis=0), rtol=1e-12)
    assert interquartile_mean([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 1000]) == 4.5  # 2 .. 7


def test_cvar_by_hand() -> None:
    assert seeds.cvar([5, 1, 4, 2]) == 1  # the lowest quarter of four
    assert seeds.cvar([5, 1, 4, 2, 9, 7], 0.25) == pytest.approx((1 + 0.5 * 2) / 1.5)
    assert seeds.cvar([5, 1, 4, 2], 1.0) == 3
    assert -seeds.cvar(-np.array([5, 1, 4, 2]), 0.5) == 4.5
    np.testing.assert_array_equal(seeds.cvar([[1, 4], [3, 0]], 0.5, axis=0), [1, 0])


@given(some.lists(some.floats(-100, 100), min_size=1, max_size=20), some.floats(0.05, 1))
def test_cvar_is_the_best_bound_of_rockafellar_and_uryasev(x: list[float], share: float) -> None:
    bounds = [v - np.maximum(v - np.array(x), 0).mean() / share for v in x]
    assert seeds.cvar(x, share) == pytest.approx(max(bounds), abs=1e-9)


def test_a_failure_rate_shows_beside_an_interquartile_mean() -> None:
    """Of ten seeds two fail: the IQM and its limits say 500, the worst quarter (0 + 0 + 500 / 2) / 2.5 = 100."""
    x = [500.0] * 8 + [0.0] * 2
    assert seeds.over_seeds(x).value == 500
    assert seeds.worst_quarter(x).value == 100


@given(some.integers(1, 40), some.data())
def test_the_limits_of_a_share_are_scipy_s(n: int, data: some.DataObject) -> None:
    k = data.draw(some.integers(0, n))
    limits = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose(seeds.share(k, n), (k / n, limits.low, limits.high), atol=1e-12)


def test_bootstrap_of_a_mean_has_the_error_of_a_mean() -> None:
    """40 seeds, 20,000 resamples: the half-width is t_39 s / sqrt(n), s with n - 1, within 5%."""
    x = np.random.default_rng(20).normal(size=40)
    interval = bootstrap_interval(x, np.random.default_rng(0), statistic=np.mean, resamples=20_000)
    assert interval.value == pytest.approx(x.mean(), rel=1e-14)
    reach = stats.t.ppf(0.975, 39) * stats.sem(x)
    assert (interval.high - interval.low) / 2 == pytest.approx(reach, rel=0.05)


def test_bootstrap_is_stratified() -> None:
    """Tasks that differ in level alone have no spread within, and so no interval; pooled they would."""
    x = np.tile([0.0, 10.0, 30.0], (10, 1))
    interval = bootstrap_interval(x, np.random.default_rng(0))
    assert interval.low == interval.value == interval.high
    x = np.arange(10.0)  # columns are drawn apart: resampled together, their errors would cancel
    interval = bootstrap_interval(np.stack([x, -x], 1), np.random.default_rng(0), statistic=np.mean)
    assert interval.high - interval.low > 1


def test_bootstrap_draws_from_its_generator_alone() -> None:
    x = np.random.default_rng(21).normal(size=10)
    first, second, other = (bootstrap_interval(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert seeds.over_seeds(x) == seeds.over_seeds(x)


@pytest.mark.parametrize(("n", "least", "most"), [(5, 0.90, 0.97), (10, 0.93, 0.985)])
def test_the_interval_of_the_iqm_covers(n: int, least: float, most: float) -> None:
    """1,000 normal samples (sd 0.8%): 93.5% at 5 seeds and 95.8% at 10, of 20,000 samples."""
    rng = np.random.default_rng(22)
    hits = 0
    for sample in rng.normal(size=(1000, n)):
        interval = bootstrap_interval(sample, rng, resamples=400)
        hits += interval.low <= 0 <= interval.high
    assert least < hits / 1000 < most


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_seeds_have_no_limits(n: int) -> None:
    x = np.arange(float(n))
    for found in (seeds.over_seeds(x), seeds.median(x), seeds.until_half(x)):
        assert np.isnan([found.low, found.high]).all()
        assert np.isfinite(found.value)


# Medians


@given(some.integers(5, 60))
def test_order_limits_are_the_narrowest_of_their_level(n: int) -> None:
    """P(x_(k) < median < x_(n+1-k)) = 1 - 2 sum_{i<k} C(n, i) / 2^n: 95% or more, and less with the next pair."""
    low, high = seeds.order_limits(np.arange(1, n + 1))
    k = round(low)
    assert high == n + 1 - k
    missed = [2 * sum(comb(n, i) for i in range(below)) / 2**n for below in (k, k + 1)]
    assert missed[0] <= (0.05 if n > 5 else 0.0625)
    assert missed[1] > 0.05


@given(some.lists(some.one_of(some.integers(1, 50), some.just(np.inf)), min_size=1, max_size=12))
def test_half_have_got_there_by_the_median_time_and_fewer_before(times: list[float]) -> None:
    found = float(seeds.until_half(times).value)
    half = len(times) / 2
    assert sum(t <= found for t in times) >= half
    assert sum(t < found for t in times) < half
    assert (found == np.inf) == (sum(np.isinf(times)) > half)


def test_runs_that_never_solve_count_as_never() -> None:
    """Eight bad runs end after 32,000 steps, since their episodes are short; two solve later than that."""
    found = seeds.until_half([np.inf] * 8 + [1e5, 1.1e5])
    assert (found.value, found.low, found.high) == (np.inf, 1.1e5, np.inf)


# A probe's rows


def probed(snr: list[float], mode: str = "online", **limits: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"mode": mode, "snr": snr, "trace_variance": np.abs(snr), **limits})


def test_noise_for_a_signal_that_cannot_be_told_from_0_has_no_bound() -> None:
    """Of ten seeds the limits are the second and the ninth; the second is above 0 or not."""
    told, not_told = [-1.0, *np.arange(1.0, 10)], [-1.0, -0.1, *np.arange(2.0, 10)]
    assert seeds.noise_to_signal(probed(told)) == pytest.approx((1 / 4.5, 1 / 8, 1))
    found = seeds.noise_to_signal(probed(not_told))
    assert (found.value, found.high) == (np.inf, np.inf)
    assert found.low == 1 / 8


def test_few_seeds_have_the_widest_of_the_probes_limits() -> None:
    rows = probed([2.0, 4.0], snr_low=[1.0, 3.0], snr_high=[5.0, 4.5])
    assert seeds.noise_to_signal(rows) == pytest.approx((1 / 3, 1 / 5, 1))
    assert seeds.noise_to_signal(rows.assign(snr_low=[1.0, -1.0])).value == np.inf
    assert seeds.noise_to_signal(rows.assign(snr_low=np.nan)).value == np.inf
    assert seeds.noise_to_signal(probed([2.0])).value == np.inf, "a sample that has no limits sets none"
    assert seeds.noise_to_signal(probed([2.0], "exact")) == (0.5, 0.5, 0.5)


def test_what_a_probe_could_not_tell_widens_the_limits() -> None:
    rows = probed([np.nan, np.nan, *np.arange(1.0, 9)])
    found = seeds.over_probes(rows, "snr")
    assert (found.value, found.low, found.high) == (4.5, -np.inf, np.inf)


def test_seeds_whose_probes_had_too_few_informative_episodes_set_no_bound() -> None:
    """Rare rewards: the noise of two of ten probes comes from fewer than 8 episodes, and their numbers are chance."""
    rows = probed(list(np.arange(1.0, 11)))
    assert seeds.noise_to_signal(rows.assign(informative=20.0)) == seeds.noise_to_signal(rows)
    few = rows.assign(informative=[7.0, 3.0] + [20.0] * 8)
    assert seeds.noise_to_signal(few) == (1 / 5.5, 0, np.inf), "the signal is told from 0, the noise is not"
    assert seeds.trace_variance(few)[1:] == (0, np.inf)
    silent = probed([0.0] * 6).assign(informative=np.nan)
    assert seeds.trace_variance(silent) == (0, 0, np.inf), "no reward came, so nothing varied"
    assert seeds.noise_to_signal(few.assign(mode="exact")) == seeds.noise_to_signal(rows)


# Two samples


def test_a_ratio_that_the_probes_do_not_bound_is_not_bounded_by_more_seeds() -> None:
    """The mean of logarithms of estimates that few episodes make is too low: of 20 seeds 5 may be unbounded, not 6."""
    logs = np.linspace(0.9, 1.1, 20)
    for unbounded, finite in ((0, True), (5, True), (6, False), (20, False)):
        ends = np.where(np.arange(20) < unbounded, np.inf, 0.5)
        rows = pd.DataFrame({"log_ratio": logs, "log_ratio_low": logs - ends, "log_ratio_high": logs + ends})
        found = seeds.variance_ratio(rows)
        assert found.value == pytest.approx(np.e)
        assert bool(np.isfinite(found.high)) is finite
        assert bool(found.low > 0) is finite
    two = seeds.variance_ratio(rows.iloc[:2])
    assert (two.low, two.high) == (0, np.inf)
    exact = seeds.variance_ratio(rows.assign(log_ratio_low=np.nan, log_ratio_high=np.nan))
    assert np.isfinite(exact.high)


def test_a_paired_difference_is_the_t_test() -> None:
    x, y = np.random.default_rng(2).standard_normal((2, 9))
    theirs = stats.ttest_rel(x, y)
    found = paired_tests.mean_difference(x - y)
    np.testing.assert_allclose([found.low, found.high], theirs.confidence_interval(0.95), rtol=1e-9)
    assert found.value == pytest.approx(np.mean(x - y))
    flipped = stats.permutation_test((x - y,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert paired_tests.paired_p_value(x - y) == pytest.approx(max(theirs.pvalue, flipped), rel=1e-9)


@given(some.lists(some.integers(-3, 3), min_size=2, max_size=9))
def test_signs_are_flipped_in_every_way(d: list[int]) -> None:
    assume(any(d))
    flipped = stats.permutation_test((np.array(d),), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    student = stats.ttest_1samp(d, 0).pvalue if np.ptp(d) else 0
    assert paired_tests.paired_p_value(d) == pytest.approx(max(flipped, student))


def test_more_seeds_are_flipped_at_random() -> None:
    """Of 16 seeds against all 65,536 choices: 2^14 random ones are within 5 standard errors."""
    d = np.random.default_rng(3).choice([-1.0, 1.0, 2.0], 16)
    signs = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
    truth = (np.abs(signs @ d) >= abs(d.sum())).mean()
    assert truth > stats.ttest_1samp(d, 0).pvalue
    assert paired_tests.paired_p_value(d) == pytest.approx(truth, abs=5 * np.sqrt(truth / 2**14))


def test_few_values_do_not_make_a_difference_out_of_chance() -> None:
    """Of all samples of 2 to 9 fair coins' differences, +1 or -1, at most 5% are called different at 5%; Student's t
    alone would say so of half the samples of 2, and 12.5% of those of 7."""
    assert [paired_tests.paired_p_value([3.0] * n) for n in (1, 2, 5, 6)] == [1, 0.5, 0.0625, 0.03125]
    assert paired_tests.paired_p_value([0.0, 0.0]) == 1
    for n in range(2, 10):
        signs = 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        assert np.mean([paired_tests.paired_p_value(d) <= 0.05 for d in signs]) <= 0.05
    assert np.isnan(paired_tests.mean_difference([3.0, 3.0])[1:]).all()


@given(some.lists(some.tuples(some.integers(0, 4), some.integers(0, 4)), min_size=1, max_size=15))
def test_the_sign_test_is_scipy_s(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    less, more = sum(x < y), sum(x > y)
    share, p = paired_tests.sign_test(np.where(x == 4, np.inf, x), np.where(y == 4, np.inf, y))
    assert share == pytest.approx((less + 0.5 * sum(x == y)) / len(pairs))
    assert p == pytest.approx(stats.binomtest(int(less), int(less + more)).pvalue if less + more else 1)


def test_probability_of_improvement_is_mann_whitney() -> None:
    rng = np.random.default_rng(23)
    x, y = rng.integers(0, 5, 12), rng.integers(0, 4, 9)  # with ties
    expected = stats.mannwhitneyu(x, y).statistic / (12 * 9)
    assert seeds.probability_of_improvement(x, y) == pytest.approx(expected, rel=1e-12)
    assert seeds.probability_of_improvement(x, x) == 0.5


def test_performance_profile_counts_runs_above() -> None:
    np.testing.assert_array_equal(seeds.performance_profile([1.0, 2.0, 3.0, 4.0], [0, 1, 2.5, 4]), [1, 0.75, 0.5, 0])


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    np.testing.assert_array_equal(holm([0.9, 0.8]), [1, 1])


# Power


@pytest.mark.parametrize(("effect", "n", "alpha"), [(0.5, 34, 0.05), (1.5, 5, 0.05), (2.0, 6, 0.01)])
def test_the_power_is_that_of_simulated_tests(effect: float, n: int, alpha: float) -> None:
    """4,000 t tests: within 4 standard errors of 0.63%."""
    x = np.random.default_rng(8).normal(effect, 1.0, (4000, n))
    found = (stats.ttest_1samp(x, 0, axis=1).pvalue <= alpha).mean()
    assert power(effect, 1.0, n, alpha) == pytest.approx(found, abs=4 * np.sqrt(found * (1 - found) / 4000))


@given(some.floats(0, 200), some.integers(2, 400), some.sampled_from([0.05, 0.01, 0.001]))
def test_power_is_a_number_however_large_the_effect(effect: float, n: int, alpha: float) -> None:
    """It rises with the effect, from alpha to 1; no series of scipy's leaves a hole in it."""
    found = [power(factor * effect, 1.0, n, alpha) for factor in (0, 0.5, 1, 2, 50)]
    assert found[0] == pytest.approx(alpha, rel=1e-6)
    assert all(0 <= one <= other + 1e-9 <= 1 + 1e-9 for one, other in pairwise(found))


@given(some.floats(0.15, 3), some.floats(0.5, 4), some.sampled_from([0.05, 0.01]))
def test_what_is_needed_is_the_first_that_has_the_power(effect: float, deviation: float, alpha: float) -> None:
    n = int(samples_needed(effect, deviation, alpha))
    assert power(effect, deviation, n, alpha) >= 0.8 - 1e-9
    assert n == 3 or power(effect, deviation, n - 1, alpha) < 0.8
    assert power(detectable(deviation, n, alpha), deviation, n, alpha) == pytest.approx(0.8, abs=1e-3)


def test_what_cannot_be_found_needs_no_end_of_samples() -> None:
    assert samples_needed(0.0, 1.0, 0.05) == np.inf
    assert detectable(1.0, 1, 0.05) == np.inf
    assert samples_needed(90.0, 1.0, 0.05) == 3
