"""Several gradient steps on one batch against autograd through the surrogate, batch by batch, and against sampling."""

from itertools import product

import numpy as np
import pytest
import torch
from test_sequences import ADVANTAGES, AGGREGATIONS

from ablate.sequences import advantages, aggregations
from ablate.sequences.epochs import epochs
from ablate.sequences.exact import Surrogate, moments
from ablate.sequences.problem import TokenProblem

LR = 3.0


def small() -> tuple[TokenProblem, np.ndarray]:
    """Two prompts of three answers with rewards of their own."""
    rewards = np.array([[1.0, 0.0, 0.3], [0.0, 0.2, 1.0]])
    return TokenProblem(2, 2, rewards), np.random.default_rng(0).normal(size=(2, 2, 2))


def log_probs(problem: TokenProblem, logits: torch.Tensor, x: int, answer: tuple[int, ...]) -> torch.Tensor:
    """Of the answer's tokens, each looked up at its prefix."""
    log_pi = logits.log_softmax(-1)
    return torch.stack([log_pi[x, problem.prefixes[answer[:t]], token] for t, token in enumerate(answer)])


def learnt(problem, start, batch, advantage, aggregation, clip: Surrogate, number: int, mini_batches: int) -> list:
    """(g, theta after the step, tokens that are clipped) of every step on a batch [P, N] of answers, by autograd."""
    P, N = batch.shape
    row = np.arange(P)[:, None]
    lengths, norms = problem.lengths[batch], np.square(problem.token_scores(start).sum(2)).sum(-1)[row, batch]
    A = advantages.of_batch(
        advantage, problem.rewards[row, batch], lengths=lengths, norms=aggregation(lengths[None])[0] ** 2 * norms
    )
    theta, steps = torch.tensor(start), []
    parts = np.array_split(np.arange(P * N), mini_batches)
    for m in list(range(mini_batches)) * number:
        leaf, loss, cut = theta.clone().requires_grad_(), torch.zeros(()), 0
        w = aggregation(lengths.reshape(-1)[parts[m]][None, None])[0, 0]
        for weight, i in zip(w, parts[m], strict=True):
            x, answer, own = i // N, problem.answers[batch.flat[i]], float(A.flat[i])
            log_rho = log_probs(problem, leaf, x, answer) - log_probs(problem, torch.tensor(start), x, answer)
            rho = log_rho.exp()
            if clip.ratio == "sequence":
                rho = log_rho.sum().exp()[None]
            pessimistic = torch.minimum(rho * own, rho.clamp(1 - clip.low, 1 + clip.high) * own)
            cut += int((pessimistic < rho * own).sum()) * len(answer) // len(rho)
            loss = loss + weight * pessimistic.sum()
        (g,) = torch.autograd.grad(loss, leaf)
        theta = theta + LR * g
        steps.append((g.numpy(), theta.numpy(), cut))
    return steps


SETTINGS = [
    ("leave-one-out", "sequence sum", Surrogate(small()[1], 0.2, 0.2), 2, 1),
    ("leave-one-out", "sequence sum", Surrogate(small()[1], 0.1, 0.3, "sequence"), 2, 1),
    ("group standardised", "token mean", Surrogate(small()[1], 0.1, 0.2), 2, 1),
    ("batch standardised", "sequence mean", Surrogate(small()[1], 0.2, 0.2), 2, 2),
    ("group mean", "token mean", Surrogate(small()[1], 0.1, 0.1, "sequence"), 2, 4),
]


@pytest.mark.parametrize(("advantage", "aggregation", "clip", "size", "mini_batches"), SETTINGS)
def test_every_step_is_that_of_all_batches_one_by_one(
    advantage, aggregation, clip, size: int, mini_batches: int
) -> None:
    """3^4 batches in all orders, 3 steps or 2 epochs, each through autograd of the surrogate as it is written."""
    problem, start = small()
    number = 3 if mini_batches == 1 else 2
    A, w = ADVANTAGES[advantage], AGGREGATIONS[aggregation]
    found = epochs(problem, start, size, A, w, clip, LR, number, mini_batches)
    batches = [np.array(own).reshape(2, size) for own in product(range(3), repeat=2 * size)]
    chances = np.array([np.exp(problem.log_probs(start))[np.arange(2)[:, None], own].prod() for own in batches])
    every = [learnt(problem, start, own, A, w, clip, number, mini_batches) for own in batches]
    assert chances.sum() == pytest.approx(1)
    for j, step in enumerate(found):
        g, theta = (np.stack([steps[j][k].reshape(2, -1) for steps in every]) for k in (0, 1))
        before = np.stack([steps[j - 1][1] for steps in every]) if j else np.stack([start] * len(every))
        truth = np.stack([problem.gradient(own) for own in before])
        mean = np.tensordot(chances, g, 1)
        np.testing.assert_allclose(step.mean, mean, atol=1e-12)
        assert step.variance == pytest.approx(chances @ np.square(g - mean).sum((1, 2)), abs=1e-12)
        np.testing.assert_allclose(step.gradient, np.tensordot(chances, truth, 1), atol=1e-12)
        assert step.mean_squared_error == pytest.approx(chances @ np.square(g - truth).sum((1, 2)), abs=1e-12)
        update = theta - start.reshape(2, -1)
        np.testing.assert_allclose(step.update, np.tensordot(chances, update, 1), atol=1e-12)
        spread = chances @ np.square(update - np.tensordot(chances, update, 1)).sum((1, 2))
        assert step.update_variance == pytest.approx(spread, abs=1e-11)
        success = [problem.success(own.reshape(start.shape)).mean() for own in theta]
        assert step.success == pytest.approx(chances @ success, abs=1e-12)
        part = np.array_split(np.arange(2 * size), mini_batches)[j % mini_batches]
        tokens = chances @ [problem.lengths[own.reshape(-1)[part]].sum() for own in batches]
        assert step.clipped == pytest.approx(chances @ [steps[j][2] for steps in every] / tokens, abs=1e-12)
    assert found[-1].clipped > 0.01


def test_the_first_step_is_the_estimator_on_its_own_answers() -> None:
    problem = TokenProblem.exact_match(3, 2, [(0,), (2, 1)])
    start = np.random.default_rng(1).normal(size=(2, len(problem.prefixes), 3))
    for A, w in (("leave-one-out", "sequence sum"), ("group standardised", "token mean")):
        (first,) = epochs(problem, start, 3, ADVANTAGES[A], AGGREGATIONS[w], number=1)
        wanted = moments(problem, start, 3, ADVANTAGES[A], AGGREGATIONS[w])
        np.testing.assert_allclose(first.mean, wanted.mean, atol=1e-12)
        np.testing.assert_allclose(first.gradient, wanted.gradient, atol=1e-12)
        assert first.variance == pytest.approx(wanted.variance, rel=1e-10)
        assert first.clipped == 0


def test_batches_that_are_drawn_agree() -> None:
    problem, start = small()
    clip = Surrogate(start, 0.2, 0.2)
    last = epochs(problem, start, 3, ADVANTAGES["leave-one-out"], surrogate=clip, lr=LR, number=3)[-1]
    rng, chances = np.random.default_rng(2), np.exp(problem.log_probs(start))
    drawn = [np.sort([rng.choice(3, 3, p=own) for own in chances]) for _ in range(400)]
    w, unlike = aggregations.sequence_sum, {own.tobytes(): own for own in drawn}
    last_of = {
        key: learnt(problem, start, own, ADVANTAGES["leave-one-out"], w, clip, 3, 1)[-1] for key, own in unlike.items()
    }
    steps = [last_of[own.tobytes()] for own in drawn]
    g = np.stack([step[0].reshape(2, -1) for step in steps])
    assert (np.abs(g.mean(0) - last.mean) < 4.5 * g.std(0) / 20 + 1e-12).all()
    assert np.square(g - last.mean).sum((1, 2)).mean() == pytest.approx(last.variance, rel=0.25)
    success = np.array([problem.success(step[1]).mean() for step in steps])
    assert abs(success.mean() - last.success) < 4.5 * success.std() / 20


def test_mini_batches_have_equal_size() -> None:
    problem, start = small()
    with pytest.raises(ValueError, match="6 answers do not make 4 mini-batches"):
        epochs(problem, start, 3, advantages.leave_one_out, mini_batches=4)
