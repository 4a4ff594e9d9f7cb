"""Group and sequence estimators: definitions by hand, and exact moments against all batches, one by one."""

from functools import cache, partial
from itertools import product

import estimators
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ablate.errors import UserError
from ablate.sequences import advantages as adv
from ablate.sequences import aggregations as agg
from ablate.sequences.exact import Surrogate, kinds_of, moments, optimal_constant
from ablate.sequences.kl import kl_moments
from ablate.sequences.problem import END, TokenProblem, answers

ADVANTAGES = estimators.ADVANTAGES | {"constant": partial(adv.constant, baseline=0.3)}
AGGREGATIONS = estimators.AGGREGATIONS | {
    "token mean of 2 micro-batches": partial(agg.micro_batched, aggregation=agg.token_mean, micro_batches=2)
}
SIZES = [
    (V, H, P, N)
    for V, H, P, N in product(range(2, 5), range(1, 6), range(1, 4), range(2, 5))
    if len(answers(V, H)) ** (P * N) <= 2500
]


def random_problem(seed: int, V: int, H: int, P: int) -> tuple[TokenProblem, np.ndarray]:
    """Rewards of three values, so that answers share kinds."""
    rng = np.random.default_rng(seed)
    problem = TokenProblem.of(V, H, P, lambda x, y: float(rng.integers(0, 3)) / 2)
    return problem, rng.normal(size=(P, len(problem.prefixes), V))


@cache
def listed(seed: int, V: int, H: int, P: int) -> tuple[TokenProblem, np.ndarray, np.ndarray, np.ndarray]:
    """A random problem, and log pi [P, Y] and S [P, Y, D] of its answers."""
    problem, logits = random_problem(seed, V, H, P)
    Y = len(problem.answers)
    log_prob, S = np.empty((P, Y)), np.empty((P, Y, logits[0].size))
    for x, y in product(range(P), range(Y)):
        log_prob[x, y], S[x, y] = score(problem, logits, x, y)
    return problem, logits, log_prob, S


def score(problem: TokenProblem, logits: np.ndarray, x: int, y: int) -> tuple[float, np.ndarray]:
    """log pi(y|x) and its gradient, by autograd, a token at a time."""
    theta = torch.tensor(logits[x], requires_grad=True)
    answer = problem.answers[y]
    log_prob = torch.zeros((), dtype=torch.float64)
    for t, token in enumerate(answer):
        log_prob = log_prob + torch.log_softmax(theta[problem.prefixes[answer[:t]]], -1)[token]
    log_prob.backward()
    return log_prob.item(), theta.grad.numpy().ravel()


def brute_force(problem, log_prob, S, N: int, advantage, aggregation) -> tuple[np.ndarray, float]:
    """E g and tr Cov g over every batch of answers, each with its own chance."""
    P, Y = problem.rewards.shape
    batches = np.array(list(product(range(Y), repeat=P * N))).reshape(-1, P, N)
    row = np.arange(P)[:, None]
    chances = np.exp(log_prob[row, batches].sum((1, 2)))
    w, lengths = aggregation(problem.lengths[batches]), problem.lengths[batches]
    norms = np.square(w) * np.square(S).sum(-1)[row, batches]
    A = adv.of_batch(advantage, problem.rewards[row, batches], lengths=lengths, norms=norms)
    g = ((w * A)[..., None] * S[row, batches]).sum(2)
    mean = np.tensordot(chances, g, 1)
    return mean, float(chances @ np.square(g - mean).sum((1, 2)))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_moments_are_those_of_all_batches(advantage: str, aggregation: str) -> None:
    """Of 30 random problems and more."""
    assert len(SIZES) >= 30
    for seed, (V, H, P, N) in enumerate(SIZES):
        if aggregation.endswith("micro-batches") and P * N % 2:
            continue
        problem, logits, log_prob, S = listed(seed, V, H, P)
        A, w = ADVANTAGES[advantage], AGGREGATIONS[aggregation]
        found = moments(problem, logits, N, A, w)
        mean, variance = brute_force(problem, log_prob, S, N, A, w)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-10, atol=1e-12)
        assert found.variance == pytest.approx(variance, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("seed", range(30))
def test_which_estimators_are_the_gradient(seed: int) -> None:
    """E g = grad J of none, a constant and leave-one-out with sequence sums; (1 - 1/N) of it with the group mean."""
    V, H, P, N = SIZES[seed % len(SIZES)]
    problem, logits = random_problem(100 + seed, V, H, P)
    for name in ("none", "constant", "leave-one-out", "leave-one-out optimal"):
        found = moments(problem, logits, N, ADVANTAGES[name])
        np.testing.assert_allclose(found.mean, found.gradient, atol=1e-12)
    centred = moments(problem, logits, N, adv.group_mean)
    np.testing.assert_allclose(centred.mean, (1 - 1 / N) * centred.gradient, atol=1e-12)


def test_the_gradient_is_the_derivative_of_the_success_rate() -> None:
    problem, logits = random_problem(7, 3, 3, 2)
    found = problem.gradient(logits).reshape(logits.shape)
    for place in [(0, 0, 0), (1, 2, 1), (0, 5, 2), (1, 6, 0)]:
        up, down = logits.copy(), logits.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        slope = (problem.success(up).mean() - problem.success(down).mean()) / 2e-5
        assert found[place] == pytest.approx(slope, abs=1e-9)


# Off the policy that wrote the answers


def surrogate_gradient(problem, theta, behind, x: int, y: int, A: float, low: float, high: float) -> np.ndarray:
    """Of sum_t min(rho A, clip(rho) A), by autograd."""
    theta = torch.tensor(theta[x], requires_grad=True)
    answer, total = problem.answers[y], torch.zeros((), dtype=torch.float64)
    for t, token in enumerate(answer):
        row = problem.prefixes[answer[:t]]
        new = torch.log_softmax(theta[row], -1)[token]
        ratio = torch.exp(new - torch.log_softmax(torch.tensor(behind[x][row]), -1)[token])
        total = total + torch.minimum(ratio * A, ratio.clamp(1 - low, 1 + high) * A)
    total.backward()
    return theta.grad.numpy().ravel()


def test_the_clipped_surrogate_is_that_of_all_batches() -> None:
    problem, logits = random_problem(3, 3, 2, 1)
    behind = logits + np.random.default_rng(0).normal(scale=0.4, size=logits.shape)
    off = Surrogate(behind, low=0.2, high=0.28)
    found = moments(problem, logits, 2, adv.leave_one_out, agg.sequence_mean, off)
    mean, square = np.zeros(logits[0].size), 0.0
    chances = np.exp(problem.log_probs(behind))[0]
    for first, second in product(range(len(chances)), repeat=2):
        r = problem.rewards[0, [first, second]]
        A = r - r[::-1]
        g = sum(
            surrogate_gradient(problem, logits, behind, 0, y, a, 0.2, 0.28) / (2 * problem.lengths[y])
            for y, a in zip((first, second), A, strict=True)
        )
        mean += chances[first] * chances[second] * g
        square += chances[first] * chances[second] * g @ g
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-12)
    assert found.variance == pytest.approx(square - mean @ mean, rel=1e-9)


def test_the_ratio_of_the_whole_answer_without_clipping_is_unbiased() -> None:
    """E_mu[rho g] = E_pi[g]; token by token it is not."""
    problem, logits = random_problem(5, 3, 3, 2)
    behind = logits + np.random.default_rng(1).normal(scale=0.5, size=logits.shape)
    whole = moments(problem, logits, 2, adv.none, surrogate=Surrogate(behind, np.inf, np.inf, "sequence"))
    np.testing.assert_allclose(whole.mean, whole.gradient, atol=1e-12)
    token = moments(problem, logits, 2, adv.none, surrogate=Surrogate(behind, np.inf, np.inf, "token"))
    assert token.bias_squared > 1e-4
    same = moments(problem, logits, 2, adv.none, surrogate=Surrogate(logits))
    on_policy = moments(problem, logits, 2, adv.none)
    np.testing.assert_allclose(same.mean, on_policy.mean, atol=1e-12)
    assert same.variance == pytest.approx(on_policy.variance)


# Definitions


def test_published_numbers() -> None:
    """k = 8, 3 right; the leave-one-out explosion; see the sources in the docstrings."""
    r = np.array([[1.0] * 3 + [0.0] * 5])
    exact = {
        adv.group_standardised: (1.2076147, -0.7245688),
        partial(adv.group_standardised, ddof=0): (1.2909944, -0.7745967),
        adv.group_mean: (0.625, -0.375),
        adv.leave_one_out: (0.7142857, -0.4285714),
    }
    for function, (right, wrong) in exact.items():
        assert function(r)[0, [0, -1]] == pytest.approx([right, wrong], rel=1e-5)
    assert adv.leave_one_out_standardised([[1.0, 0, 0, 0]])[0, 0] == pytest.approx(1e6)
    assert adv.leave_one_out_standardised([[0.0, 1, 1, 1]])[0, 0] == pytest.approx(-1e6)


rewards = arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(3, 6)), elements=st.floats(-1e3, 1e3, width=32))


@given(rewards)
def test_against_numpys_means_and_deviations(r: np.ndarray) -> None:
    size = np.abs(r).max() + 1
    np.testing.assert_allclose(adv.group_mean(r), r - r.mean(-1, keepdims=True), atol=1e-12 * size)
    spread = r.std(-1, ddof=1, keepdims=True)
    expected = (r - r.mean(-1, keepdims=True)) / (spread + 0.5)
    np.testing.assert_allclose(adv.group_standardised(r, epsilon=0.5), expected, atol=1e-10 * size)
    np.testing.assert_allclose(
        adv.batch_standardised(r, epsilon=0.5), (r - r.mean()) / (r.std(ddof=1) + 0.5), atol=1e-10 * size
    )
    for i in range(r.shape[-1]):
        others = np.delete(r, i, -1)
        centred = r[:, i] - others.mean(-1)
        np.testing.assert_allclose(adv.leave_one_out(r)[:, i], centred, atol=1e-11 * size)
        found = adv.leave_one_out_standardised(r, epsilon=0.5)[:, i]
        np.testing.assert_allclose(found, centred / (others.std(-1) + 0.5), atol=1e-5 * size)


@pytest.mark.parametrize("name", [name for name in ADVANTAGES if name not in ("none", "constant")])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -1 / 3])
def test_a_dead_batch_has_no_advantage_at_all(name: str, value: float) -> None:
    lengths, norms = np.arange(1.0, 11).reshape(2, 5), np.random.default_rng(0).random((2, 5))
    found = adv.of_batch(ADVANTAGES[name], np.full((2, 5), value), lengths=lengths, norms=norms)
    assert np.array_equal(found, np.zeros((2, 5)))


@given(rewards, st.floats(-100, 100, width=32))
def test_all_but_none_and_a_constant_are_invariant_to_a_shift_of_the_rewards(r: np.ndarray, shift: float) -> None:
    standardised = (adv.group_standardised, adv.leave_one_out_standardised, adv.batch_standardised)
    for function in (adv.group_mean, adv.leave_one_out, *(partial(each, epsilon=0.5) for each in standardised)):
        np.testing.assert_allclose(function(r + shift), function(r), atol=1e-4 * (1 + np.abs(r).max()))


lengths = arrays(np.float64, st.just((2, 4)), elements=st.integers(1, 50))


@given(lengths)
def test_weights_by_hand(L: np.ndarray) -> None:
    assert agg.sequence_sum(L) == pytest.approx(np.full((2, 4), 1 / 8))
    assert (agg.sequence_mean(L) * L).sum() == pytest.approx(1)
    assert (agg.token_mean(L) * L).sum() == pytest.approx(1)
    assert agg.constant_divisor(L, 50) == pytest.approx(np.full((2, 4), 1 / 400))
    halves = agg.micro_batched(L, agg.token_mean, 2)
    assert halves[0] == pytest.approx(np.full(4, 0.5 / L[0].sum()))


def test_which_aggregations_depend_on_how_a_batch_is_cut() -> None:
    L = np.array([[1.0, 7.0], [3.0, 2.0]])
    for name, aggregation in AGGREGATIONS.items():
        if isinstance(aggregation, partial) and aggregation.func is agg.micro_batched:
            continue
        same = np.allclose(agg.micro_batched(L, aggregation, 2), aggregation(L))
        assert same == (name != "token mean")


def test_the_optimal_constant_has_the_least_variance() -> None:
    problem, logits = random_problem(11, 3, 2, 2)
    best = optimal_constant(kinds_of(problem, logits), agg.sequence_sum)
    least = moments(problem, logits, 3, partial(adv.constant, baseline=best)).variance
    for change in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        assert moments(problem, logits, 3, partial(adv.constant, baseline=best + change)).variance > least


def test_answers_and_prefixes() -> None:
    assert answers(3, 2) == [(END,), (1, END), (2, END), (1, 1), (1, 2), (2, 1), (2, 2)]
    problem = TokenProblem.exact_match(3, 2, [(1, END), (2, 2)])
    assert problem.rewards.sum(1).tolist() == [1, 1]
    assert list(problem.prefixes) == [(), (1,), (2,)]
    assert np.exp(problem.log_probs(np.zeros((2, 3, 3)))).sum(1) == pytest.approx([1, 1])
    assert problem.success(np.zeros((2, 3, 3))) == pytest.approx([1 / 9, 1 / 9])


def test_what_cannot_be_summed_is_refused_with_the_reason() -> None:
    problem, logits = random_problem(0, 4, 4, 3)
    with pytest.raises(UserError, match="batches are too many to sum over"):
        moments(problem, logits, 8, adv.batch_standardised)
    with pytest.raises(ValueError, match="cannot be written"):
        TokenProblem.exact_match(2, 2, [(5,)])


# KL terms


def divergence(problem: TokenProblem, logits: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """KL(pi || ref) of whole answers, the mean over prompts, by the definition."""
    total = torch.zeros((), dtype=torch.float64)
    for x, answer in product(range(problem.prompts), problem.answers):
        log_pi, log_ref = (
            sum(torch.log_softmax(theta[x, problem.prefixes[answer[:t]]], -1)[a] for t, a in enumerate(answer))
            for theta in (logits, reference)
        )
        total = total + log_pi.exp() * (log_pi - log_ref) / problem.prompts
    return total


def test_kl_estimators_and_what_their_gradients_are() -> None:
    problem, logits = random_problem(21, 3, 2, 2)
    reference = logits + np.random.default_rng(4).normal(scale=0.5, size=logits.shape)
    theta = torch.tensor(logits, requires_grad=True)
    kl = divergence(problem, theta, torch.tensor(reference))
    kl.backward()
    found = {name: kl_moments(problem, logits, reference, name) for name in ("k1", "k2", "k3")}
    for moments_of in found.values():
        assert moments_of.kl == pytest.approx(kl.item(), rel=1e-12)
        np.testing.assert_allclose(moments_of.gradient, theta.grad.numpy().reshape(2, -1), atol=1e-12)
    assert found["k1"].mean == pytest.approx(kl.item(), rel=1e-12)
    assert found["k3"].mean == pytest.approx(kl.item(), rel=1e-12)
    assert abs(found["k2"].mean - kl.item()) > 0.01 * kl.item()
    assert found["k3"].variance < found["k1"].variance
    np.testing.assert_allclose(found["k1"].mean_gradient, 0, atol=1e-12)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_variances_of_kl_gradients_by_listing_the_answers(name: str) -> None:
    problem, logits = random_problem(23, 3, 2, 2)
    reference = logits + np.random.default_rng(6).normal(scale=0.5, size=logits.shape)
    found = kl_moments(problem, logits, reference, name)
    forms = {"k1": lambda x: -x, "k2": lambda x: x**2 / 2, "k3": lambda x: x.exp() - 1 - x}
    chances, loss, reward, values = [], [], [], []
    for x, answer in product(range(2), problem.answers):
        theta = torch.tensor(logits, requires_grad=True)
        pairs = [(problem.prefixes[answer[:t]], a) for t, a in enumerate(answer)]
        log_pi = torch.stack([torch.log_softmax(theta[x, row], -1)[a] for row, a in pairs])
        log_ref = torch.stack([torch.log_softmax(torch.tensor(reference)[x, row], -1)[a] for row, a in pairs])
        k = forms[name](log_ref - log_pi).sum()
        (of_loss,) = torch.autograd.grad(k, theta, retain_graph=True)
        (score,) = torch.autograd.grad(log_pi.sum(), theta)
        chances.append(log_pi.sum().exp().item() / 2)
        values.append(k.item())
        loss.append(of_loss.numpy().ravel())
        reward.append(k.item() * score.numpy().ravel())
    p = np.array(chances)
    assert found.mean == pytest.approx(p @ np.array(values))
    assert found.bias == pytest.approx(found.mean - found.kl)
    for mean, variance, rows in (
        (found.mean_gradient, found.loss_variance, np.array(loss)),
        (found.reward_gradient, found.reward_variance, np.array(reward)),
    ):
        np.testing.assert_allclose(mean.ravel(), p @ rows, atol=1e-12)
        assert variance == pytest.approx(p @ np.square(rows - p @ rows).sum(1), rel=1e-9)
    if name != "k2":
        np.testing.assert_allclose(found.mean_gradient + found.reward_gradient, found.gradient, atol=1e-12)


def test_an_older_behaviour_biases_and_clipping_binds_only_as_ratios_leave_the_range() -> None:
    """At the behaviour policy itself nothing is clipped; k exact steps later token ratios are biased, more with k."""
    problem, old = random_problem(24, 3, 3, 1)
    biases = []
    for steps in (0, 2, 8):
        new = problem.ascended(old, 1.0, steps)
        assert problem.success(new).mean() >= problem.success(old).mean()
        ratio = moments(problem, new, 2, adv.leave_one_out, surrogate=Surrogate(old, np.inf, np.inf))
        clipped = moments(problem, new, 2, adv.leave_one_out, surrogate=Surrogate(old, 0.2, 0.2))
        biases.append(ratio.bias_squared)
        binds = np.exp(np.abs(problem.token_log_probs(new) - problem.token_log_probs(old))).max() > 1.25
        assert binds == (steps == 8)
        assert (clipped.variance < 0.999 * ratio.variance) == binds
    assert biases[0] < 1e-25 < biases[1] < biases[2]


def test_with_one_token_k2_has_the_gradient_of_one_divergence_and_k3_of_the_other() -> None:
    problem, logits = random_problem(22, 4, 1, 1)
    reference = logits + np.random.default_rng(5).normal(scale=0.5, size=logits.shape)
    forward = kl_moments(problem, logits, reference, "k2")
    np.testing.assert_allclose(forward.mean_gradient, forward.gradient, atol=1e-12)
    theta = torch.tensor(logits, requires_grad=True)
    divergence(problem, torch.tensor(reference), theta).backward()
    backward = kl_moments(problem, logits, reference, "k3").mean_gradient
    np.testing.assert_allclose(backward, theta.grad.numpy().reshape(1, -1), atol=1e-12)
