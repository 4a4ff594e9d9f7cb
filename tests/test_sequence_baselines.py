"""Baselines of groups that look at more than rewards: of what they are the gradient, and what variance they leave."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_sequences import ADVANTAGES, AGGREGATIONS, brute_force, listed, random_problem

from ablate.sequences import advantages as adv
from ablate.sequences import aggregations as agg
from ablate.sequences.exact import kinds_of, moments, optimal_constant, running_mean_moments
from ablate.sequences.problem import TokenProblem

numbers = arrays(np.float64, (2, 4), elements=st.floats(-10, 10, width=32))
positive = arrays(np.float64, (2, 4), elements=st.floats(0.5, 50, width=32))


@given(numbers, positive)
def test_the_optimal_baseline_of_the_others_by_hand(r: np.ndarray, q: np.ndarray) -> None:
    found = adv.leave_one_out_optimal(r, q)
    for i in range(4):
        others, weights = np.delete(r, i, 1), np.delete(q, i, 1)
        np.testing.assert_allclose(found[:, i], r[:, i] - (weights * others).sum(1) / weights.sum(1), atol=1e-10)
    np.testing.assert_allclose(adv.leave_one_out_optimal(r, np.ones((2, 4))), adv.leave_one_out(r), atol=1e-12)


@given(numbers, positive)
def test_the_mean_weighted_by_length_by_hand(r: np.ndarray, L: np.ndarray) -> None:
    expected = r - np.average(r, axis=1, weights=L)[:, None]
    np.testing.assert_allclose(adv.length_weighted_mean(r, L), expected, atol=1e-10)
    np.testing.assert_allclose(adv.length_weighted_mean(r, np.full((2, 4), 7.0)), adv.group_mean(r), atol=1e-12)


@given(numbers, arrays(np.int64, (2, 4), elements=st.integers(1, 9)), st.sampled_from([0, 1]))
def test_token_standardised_by_writing_out_the_tokens(r: np.ndarray, L: np.ndarray, ddof: int) -> None:
    tokens = np.repeat(r.ravel(), L.ravel())
    expected = (r - tokens.mean()) / np.sqrt(tokens.var(ddof=ddof) + 0.5)
    np.testing.assert_allclose(adv.token_standardised(r, L, ddof, 0.5), expected, atol=1e-9)
    centred = r - r.mean(1, keepdims=True)
    found = adv.group_mean_token_standardised(r, L, ddof, 0.5)
    tokens = np.repeat(centred.ravel(), L.ravel())
    np.testing.assert_allclose(found, (centred - tokens.mean()) / np.sqrt(tokens.var(ddof=ddof) + 0.5), atol=1e-9)


@given(numbers, st.floats(-5, 5, width=32))
def test_baselines_are_invariant_to_a_shift_of_the_rewards_and_scale_with_them(r: np.ndarray, shift: float) -> None:
    facts = {"lengths": np.arange(1.0, 9).reshape(2, 4), "norms": np.arange(2.0, 10).reshape(2, 4)}
    for function in (adv.leave_one_out_optimal, adv.length_weighted_mean, adv.leave_one_out_max):
        A = adv.of_batch(function, r, **facts)
        np.testing.assert_allclose(adv.of_batch(function, r + shift, **facts), A, atol=1e-4)
        np.testing.assert_allclose(adv.of_batch(function, 3 * r, **facts), 3 * A, atol=1e-9)


def test_where_the_others_have_no_score_their_mean_stands_in() -> None:
    r, q = np.array([[1.0, 0.0, 0.5]]), np.array([[2.0, 0.0, 0.0]])
    assert adv.leave_one_out_optimal(r, q)[0] == pytest.approx([0.75, -1.0, -0.5])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_leave_one_out_max_is_the_gradient_of_the_best_of_n(seed: int, size: int) -> None:
    problem, logits = random_problem(40 + seed, 3, 2, 1)
    theta = torch.tensor(logits[0], requires_grad=True)
    chances = torch.stack(
        [
            sum(torch.log_softmax(theta[problem.prefixes[y[:t]]], -1)[token] for t, token in enumerate(y)).exp()
            for y in problem.answers
        ]
    )
    best = sum(
        max(problem.rewards[0, list(ys)]) * chances[list(ys)].prod()
        for ys in product(range(len(problem.answers)), repeat=size)
    )
    best.backward()
    found = moments(problem, logits, size, adv.leave_one_out_max)
    np.testing.assert_allclose(found.mean[0], theta.grad.numpy().ravel(), atol=1e-12)


def test_the_estimated_optimum_tends_to_the_exact_one_and_leads_only_in_large_groups() -> None:
    """N tr Cov g, over that of the exact constant. In a small group its weights are too noisy to pay."""

    def excess(seed: int, right, size: int, advantage) -> float:
        problem = TokenProblem.of(2, 4, 1, lambda x, y: float(right(y)))
        logits = np.random.default_rng(seed).normal(size=(1, len(problem.prefixes), 2))
        best = partial(adv.constant, baseline=optimal_constant(kinds_of(problem, logits), agg.sequence_sum))
        return moments(problem, logits, size, advantage).variance / moments(problem, logits, size, best).variance - 1

    rare = [excess(1, (1, 0).__eq__, n, adv.leave_one_out_optimal) for n in (4, 8, 16)]
    assert rare[0] > rare[1] > rare[2] > 0
    assert rare[2] < 0.4 < excess(1, (1, 0).__eq__, 16, adv.leave_one_out)
    short = [excess(0, lambda y: len(y) < 3, 4, each) for each in (adv.leave_one_out_optimal, adv.leave_one_out)]
    assert short[0] > short[1] > 0


@pytest.mark.parametrize("aggregation", ["sequence sum", "sequence mean", "token mean"])
def test_the_running_mean_of_the_last_batch_alone_by_listing_both_batches(aggregation: str) -> None:
    problem, logits, log_prob, S = listed(50, 2, 2, 2)
    w = AGGREGATIONS[aggregation]
    found = running_mean_moments(problem, logits, 2, 0.0, w)
    chances, means = [], []
    for batch in product(range(len(problem.answers)), repeat=4):
        ys = np.array(batch).reshape(2, 2)
        chances.append(np.exp(log_prob[[[0], [1]], ys].sum()))
        means.append(problem.rewards[[[0], [1]], ys].mean())
    mean, square = 0.0, 0.0
    for p, b in zip(chances, means, strict=True):
        own, variance = brute_force(problem, log_prob, S, 2, partial(adv.running_mean, values=b), w)
        mean, square = mean + p * own, square + p * (variance + np.square(own).sum())
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.variance == pytest.approx(square - np.square(mean).sum(), rel=1e-10)
    if aggregation == "sequence sum":
        np.testing.assert_allclose(found.mean, found.gradient, atol=1e-12)


def test_a_running_mean_of_long_memory_by_listing_its_past() -> None:
    """One answer of one token a batch, decay .3: twelve batches of the past hold all but 1e-6 of the weight."""
    problem = TokenProblem.exact_match(2, 1, [(0,)])
    logits = np.log([[[0.3, 0.7]]])
    decays = 0.3 ** np.arange(12)
    past = np.array(list(product((0, 1), repeat=12)))
    chances = np.where(past, 0.3, 0.7).prod(1)
    b = past @ decays / decays.sum()
    z = np.array([[0.7, -0.7], [-0.3, 0.3]])
    square = sum(p * (chances @ (r - b) ** 2) * z_y @ z_y for p, r, z_y in zip((0.3, 0.7), (1, 0), z, strict=True))
    found = running_mean_moments(problem, logits, 1, 0.3)
    assert found.variance == pytest.approx(square - np.square(found.gradient).sum(), rel=1e-5)
    assert found.variance > moments(problem, logits, 1, partial(adv.constant, baseline=0.3)).variance


def test_every_advantage_of_the_configuration_has_its_exact_moments_here() -> None:
    from conftest import choices

    known = {getattr(f, "func", f).__name__ for f in ADVANTAGES.values()} | {"running_mean"}
    assert set(choices("advantage")) <= known
