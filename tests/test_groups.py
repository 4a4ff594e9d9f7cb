"""Group estimators: exact moments against enumeration of all N-tuples, and what is known of each in closed form."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from ablate.exact.groups import ADVANTAGES, EPSILON, Bandit, group_moments
from ablate.sequences.advantages import group_mean as mean
from ablate.sequences.advantages import group_standardised, leave_one_out, leave_one_out_standardised, none

whitened = ADVANTAGES["whitened"]
whitened_leave_one_out = ADVANTAGES["whitened_loo"]
unsoftened = partial(group_standardised, ddof=0, epsilon=0.0)

LOGITS = np.array([0.3, -0.5, 0.1])


def advantages_of(name, r, epsilon=EPSILON):
    """The definitions, sample by sample, from the list of rewards."""
    out = []
    for i in range(len(r)):
        others = np.delete(r, i)
        if name == "none":
            out.append(r[i])
        elif name == "mean":
            out.append(r[i] - np.mean(r))
        elif name == "loo":
            out.append(r[i] - np.mean(others))
        elif name == "whitened":
            out.append(0.0 if np.ptp(r) == 0 else (r[i] - np.mean(r)) / (np.std(r) + epsilon))
        else:
            spread = 0.0 if np.ptp(others) == 0 else np.std(others)
            out.append(0.0 if np.ptp(r) == 0 else (r[i] - np.mean(others)) / (spread + epsilon))
    return np.array(out)


def enumerated(name, rewards, logits, N):
    """E g and tr Cov g over all A^N groups of a one-context bandit with deterministic rewards."""
    policy = np.exp(logits) / np.exp(logits).sum()
    scores = np.eye(len(policy)) - policy
    chances, estimates = [], []
    for arms in product(range(len(policy)), repeat=N):
        arms = list(arms)
        chances.append(np.prod(policy[arms]))
        estimates.append(advantages_of(name, rewards[arms]) @ scores[arms] / N)
    chances, estimates = np.array(chances), np.array(estimates)
    expected = chances @ estimates
    return expected, chances @ ((estimates - expected) ** 2).sum(-1)


SIZES = [(name, N) for name in ADVANTAGES for N in range(1, 6) if N > 1 or not name.endswith("loo")]


@pytest.mark.parametrize(("name", "N"), SIZES)
@pytest.mark.parametrize("rewards", [[1.0, -0.3, 2.2], [0.0, 1.0, 0.0], [0.7, 0.7, 0.7]])
def test_moments_against_all_tuples(rewards, name, N):
    rewards = np.array(rewards)
    expected, variance = enumerated(name, rewards, LOGITS, N)
    exact = group_moments(Bandit.deterministic([rewards], [LOGITS]), N, ADVANTAGES[name])
    scale = max(1.0, np.abs(expected).max(), variance)
    np.testing.assert_allclose(exact.context_mean[0], expected, rtol=1e-10, atol=1e-13 * scale)
    np.testing.assert_allclose(exact.context_variance[0], variance, rtol=1e-10, atol=1e-13 * scale)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_random_rewards_are_arms_split_in_two(name):
    """Bernoulli rewards: an arm that succeeds with p is two arms of chances pi p and pi (1 - p) with the same score."""
    success, N = np.array([0.2, 0.9, 0.5]), 3
    policy = np.exp(LOGITS) / np.exp(LOGITS).sum()
    scores = np.eye(3) - policy
    chances, estimates = [], []
    for group in product(product(range(3), (0.0, 1.0)), repeat=N):
        arms, r = [arm for arm, _ in group], np.array([reward for _, reward in group])
        chances.append(np.prod(policy[arms] * np.where(r == 1, success[arms], 1 - success[arms])))
        estimates.append(advantages_of(name, r) @ scores[arms] / N)
    chances, estimates = np.array(chances), np.array(estimates)
    exact = group_moments(Bandit.bernoulli([success], [LOGITS]), N, ADVANTAGES[name])
    expected = chances @ estimates
    np.testing.assert_allclose(exact.context_mean[0], expected, rtol=1e-10)
    variance = chances @ ((estimates - expected) ** 2).sum(-1)
    np.testing.assert_allclose(exact.context_variance[0], variance, rtol=1e-10)


def test_several_contexts_by_enumeration():
    """Parameters of all contexts side by side: g is 0 outside the context that was drawn."""
    rng = np.random.default_rng(0)
    rewards, logits, rho = rng.integers(0, 3, (2, 3)).astype(float), rng.normal(size=(2, 3)), np.array([0.3, 0.7])
    exact = group_moments(Bandit.deterministic(rewards, logits, rho), 3, whitened)
    each = [enumerated("whitened", rewards[x], logits[x], 3) for x in range(2)]
    expected = np.stack([rho[x] * each[x][0] for x in range(2)])
    second = sum(rho[x] * (each[x][1] + (each[x][0] ** 2).sum()) for x in range(2))
    np.testing.assert_allclose(exact.mean, expected, rtol=1e-10, atol=1e-14)
    assert exact.variance == pytest.approx(second - (expected**2).sum(), rel=1e-10)


@pytest.fixture
def bandit():
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(4), (5, 6))
    return Bandit(rng.dirichlet(np.ones(5)), rng.normal(size=(5, 6)), np.array([-1.0, 0.0, 0.5, 3.0]), chances)


def test_gradient_by_complex_step(bandit):
    expected = bandit.reward_probabilities @ bandit.values

    def J(logits):
        weights = np.exp(logits)
        return (bandit.contexts * (weights / weights.sum(-1, keepdims=True) * expected).sum(-1)).sum()

    for index in np.ndindex(5, 6):
        nudge = np.zeros((5, 6), complex)
        nudge[index] = 1e-30j
        assert bandit.gradient[index] == pytest.approx(J(bandit.logits + nudge).imag / 1e-30, rel=1e-12)


@pytest.mark.parametrize("N", [1, 2, 7, 20])
def test_the_batch_mean_shrinks_by_one_minus_one_over_N(bandit, N):
    exact = group_moments(bandit, N, mean)
    np.testing.assert_allclose(exact.mean, (1 - 1 / N) * bandit.gradient, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(exact.bias, -bandit.gradient / N, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(exact.context_weight, 1 - 1 / N, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("N", [2, 7, 20])
def test_none_and_leave_one_out_are_unbiased(bandit, N):
    for advantage in (none, leave_one_out):
        exact = group_moments(bandit, N, advantage)
        np.testing.assert_allclose(exact.bias, 0, atol=1e-13)
        np.testing.assert_allclose(exact.context_weight, 1, rtol=1e-11)


@pytest.mark.parametrize("N", [2, 7, 20])
def test_leave_one_out_is_the_mean_form_rescaled(bandit, N):
    """Adv_loo = N/(N-1) Adv_mean, so the variance is (N/(N-1))^2 times larger: unbiased at a price."""
    rescale = N / (N - 1)
    loo, centred = group_moments(bandit, N, leave_one_out), group_moments(bandit, N, mean)
    np.testing.assert_allclose(loo.context_variance, rescale**2 * centred.context_variance, rtol=1e-12)


def test_leave_one_out_can_lose_on_mean_squared_error_at_small_N():
    bandit = Bandit.bernoulli([[0.1, 0.2]], [[0.0, 0.0]])
    error = {}
    for advantage in (mean, leave_one_out):
        exact = group_moments(bandit, 4, advantage)
        error[advantage] = (exact.bias**2).sum() + exact.variance
    assert error[mean] < error[leave_one_out]


def test_no_baseline_by_hand():
    """Two equal arms, rewards 1 and 0: z = +-(1/2, -1/2), so g = z r has mean (1/4, -1/4), variance (1/4 - 1/8) / N."""
    exact = group_moments(Bandit.deterministic([[1.0, 0.0]], [[0.0, 0.0]]), 8, none)
    np.testing.assert_allclose(exact.mean, [[0.25, -0.25]], rtol=1e-12)
    assert exact.variance == pytest.approx(1 / 64, rel=1e-12)


def test_two_samples_whitened_by_hand():
    """N = 2 and right-or-wrong: advantages are +-1 where the two differ, which happens with chance 2 p (1 - p)."""
    p = 0.2
    bandit = Bandit.deterministic([[1.0, 0.0]], [[np.log(p), np.log(1 - p)]])
    exact = group_moments(bandit, 2, unsoftened)
    np.testing.assert_allclose(exact.mean, 2 * p * (1 - p) / 2 * np.array([[1.0, -1.0]]), rtol=1e-12)


def test_whitening_reweights_prompts_by_difficulty():
    """A prompt solved with chance p weighs w_N(p) = E sqrt(k (N - k)) / (N p (1 - p)), k ~ Binomial(N, p).

    w_2 = 1: pairs do not reweight. For large N it tends to 1 / sqrt(p (1 - p)). Leave-one-out weighs every prompt 1.
    """
    p = np.array([0.05, 0.2, 0.5, 0.8, 0.95])
    bandit = Bandit.deterministic(np.tile([1.0, 0.0], (5, 1)), np.stack([np.log(p), np.log(1 - p)], -1))
    for N in (2, 4, 16, 500):
        k = np.arange(N + 1)[:, None]
        expected = (binom.pmf(k, N, p) * np.sqrt(k * (N - k))).sum(0) / (N * p * (1 - p))
        np.testing.assert_allclose(group_moments(bandit, N, unsoftened).context_weight, expected, rtol=1e-10)
        np.testing.assert_allclose(group_moments(bandit, N, leave_one_out).context_weight, 1, rtol=1e-10)
    np.testing.assert_allclose(group_moments(bandit, 2, unsoftened).context_weight, 1, rtol=1e-12)
    limit = 1 / np.sqrt(p * (1 - p))
    np.testing.assert_allclose(group_moments(bandit, 500, unsoftened).context_weight, limit, rtol=0.02)
    assert limit.max() / limit.min() > 2  # hard and easy prompts count more than twice as much as middling ones


def test_whitening_is_the_gradient_of_another_objective():
    """Many hard prompts and a few middling ones: E g is not parallel to the gradient, and no step size mends that."""
    logits = np.log([[0.02, 0.98], [0.5, 0.5]])
    bandit = Bandit.deterministic([[1.0, 0.0], [1.0, 0.0]], logits, contexts=[0.9, 0.1])

    def cosine(advantage):
        g = group_moments(bandit, 64, advantage).mean
        return (g * bandit.gradient).sum() / np.sqrt((g**2).sum() * (bandit.gradient**2).sum())

    assert cosine(whitened) < 0.9
    assert cosine(mean) == pytest.approx(1, rel=1e-12)


def test_equal_rewards_give_exactly_nothing_where_centred():
    """std = 0 with every epsilon, 0 included: the advantage is 0, not 0/0 and not rounding over epsilon."""
    bandit = Bandit.deterministic([[0.1, 0.1, 0.1]], [LOGITS])
    for epsilon in (0.0, 1e-12, 1e-6):
        for advantage in (whitened, whitened_leave_one_out):
            exact = group_moments(bandit, 5, partial(advantage, epsilon=epsilon))
            np.testing.assert_array_equal(exact.mean, 0)
            assert exact.variance == 0
            assert np.isnan(exact.context_weight).all()  # no gradient to weigh


def test_leave_one_out_with_normalisation_explodes_when_the_others_agree():
    """One right answer among N: its advantage is 1 / epsilon, so the standard deviation of g grows as 1 / epsilon."""
    rewards = np.array([[1.0] + [0.0] * 7])
    assert leave_one_out_standardised(rewards, epsilon=1e-6)[0, 0] == pytest.approx(1e6, rel=1e-12)
    assert leave_one_out_standardised(rewards, epsilon=0.0)[0, 0] == np.inf
    bandit = Bandit.bernoulli([[0.3, 0.6]], [[0.0, 0.0]])
    coarse, fine = (group_moments(bandit, 8, partial(whitened_leave_one_out, epsilon=e)).variance for e in (1e-4, 1e-6))
    assert fine / coarse == pytest.approx(1e4, rel=0.01)
    assert group_moments(bandit, 8, whitened).variance < 1


def test_right_or_wrong_at_language_model_sizes():
    """1,000 answers, groups of 256: N + 1 outcome counts, no enumeration of answers."""
    rng = np.random.default_rng(2)
    bandit = Bandit.bernoulli(rng.random((1, 1000)), rng.normal(size=(1, 1000)))
    exact = group_moments(bandit, 256, leave_one_out)
    np.testing.assert_allclose(exact.bias, 0, atol=1e-14)
    single = group_moments(bandit, 1, none)  # about what a perfect baseline leaves: less than no baseline at all
    assert exact.variance < single.variance / 256


@pytest.mark.parametrize("advantage", [leave_one_out, whitened_leave_one_out])
def test_leaving_one_out_of_one_is_refused(advantage):
    with pytest.raises(ValueError, match="at least 2"):
        group_moments(Bandit.deterministic([[1.0, 0.0]], [[0.0, 0.0]]), 1, advantage)


@pytest.mark.parametrize("name", ["mean", "loo", "whitened", "whitened_loo"])
@pytest.mark.parametrize("size", [2, 5])
def test_values_that_differ_by_rounding_are_one_value(name: str, size: int) -> None:
    """1e9 + 0.1 and its neighbour are an ulp of 1.2e-7 apart, ten times what whitening adds to the deviation."""
    reward = 1e9 + 0.1
    logits = np.zeros((1, 2))
    moments = group_moments(Bandit.deterministic([[reward, np.nextafter(reward, 2e9)]], logits), size, ADVANTAGES[name])
    assert moments.variance == 0
    assert (moments.mean == 0).all()
    apart = group_moments(Bandit.deterministic([[reward, reward + 1]], logits), size, ADVANTAGES[name])
    assert apart.variance > 0
