"""The Gaussian intuition: scores, their average, and the gradient that it estimates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from ablate.analysis.score_function import HalfPlane, average, figure, sample, score

coordinate = st.floats(-2, 2)


@given(coordinate, coordinate, st.floats(0.3, 2), st.floats(0, 6.3), st.floats(-1, 1))
def test_the_expected_mark_is_that_of_the_normal_distribution(
    a: float, b: float, sigma: float, angle: float, level: float
) -> None:
    plane = HalfPlane((np.cos(angle), np.sin(angle)), level)
    mu = np.array([a, b])
    above = stats.norm.sf(level, loc=mu @ plane.direction, scale=sigma)
    assert plane.expected(mu, sigma) == pytest.approx(2 * above - 1, abs=1e-12)
    for k, unit in enumerate(np.eye(2)):
        slope = (plane.expected(mu + 1e-5 * unit, sigma) - plane.expected(mu - 1e-5 * unit, sigma)) / 2e-5
        assert plane.gradient(mu, sigma)[k] == pytest.approx(slope, abs=1e-6)


def test_the_score_is_the_gradient_of_the_log_density() -> None:
    mu, sigma, x = np.array([0.3, -0.2]), 0.7, np.array([[1.0, 0.5]])

    def log_density(m: np.ndarray) -> float:
        return float(stats.norm.logpdf(x[0], m, sigma).sum())

    slopes = [(log_density(mu + 1e-5 * unit) - log_density(mu - 1e-5 * unit)) / 2e-5 for unit in np.eye(2)]
    np.testing.assert_allclose(score(x, mu, sigma)[0], slopes, rtol=1e-8)


def test_the_average_by_hand() -> None:
    """mu = 0, sigma = 2: scores (2, 0)/4 and (0, -4)/4, marks +1 and -1: ((0.5, 0) - (0, -1)) / 2 = (0.25, 0.5)."""
    scores = score(np.array([[2.0, 0.0], [0.0, -4.0]]), np.zeros(2), 2.0)
    assert average(np.array([1.0, -1.0]), scores).tolist() == [0.25, 0.5]


def test_the_expectation_of_a_signed_score_is_the_gradient() -> None:
    """By quadrature along the direction, where all the signal is."""
    plane, mu, sigma = HalfPlane((1.0, 0.0), 0.4), np.array([0.1, 0.0]), 0.8

    def integrand(x: float) -> float:
        return np.sign(x - 0.4) * (x - 0.1) / sigma**2 * stats.norm.pdf(x, 0.1, sigma)

    halves = integrate.quad(integrand, -8, 0.4)[0] + integrate.quad(integrand, 0.4, 8)[0]
    np.testing.assert_allclose(plane.gradient(mu, sigma), [halves, 0.0], atol=1e-9)


def test_the_average_of_many_is_near_the_gradient() -> None:
    """200,000 samples; each component within 5 standard errors (false-alarm rate 1e-6)."""
    plane, mu, sigma = HalfPlane(), np.array([0.2, 0.1]), 1.0
    x = sample(mu, sigma, 200_000, np.random.default_rng(1))
    pulls = plane.marks(x)[:, None] * score(x, mu, sigma)
    error = average(plane.marks(x), score(x, mu, sigma)) - plane.gradient(mu, sigma)
    assert (np.abs(error) < 5 * pulls.std(0) / np.sqrt(len(x))).all()


def test_the_figure_has_the_slides_three_panels() -> None:
    titles = [axes.get_title() or axes.get_title("left") for axes in figure().axes]
    assert [title[0] for title in titles] == ["1", "2", "3"]
