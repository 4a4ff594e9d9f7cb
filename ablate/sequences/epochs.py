"""Several gradient steps on the answers of one batch, as PPO and GRPO take them, exactly: no answer is sampled.

    theta_j = theta_{j-1} + lr g_j
    g_j = grad sum_i w_i sum_t min(rho_t A_i, clip(rho_t, 1 - low, 1 + high) A_i)   at theta_{j-1}

over the answers i of the batch, or of one mini-batch after the other; rho_t is the ratio of the policy at theta_{j-1}
to that at theta_0, which wrote the answers, and A is of the whole batch, once. From the second step on theta depends on
the batch, so that answers of one kind are no longer independent draws and the sums of `exact` do not apply. Here every
batch is listed by its answers, as multisets, and its own steps are taken. Schulman et al. (2017); Shao et al. (2024).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.sequences import aggregations
from ablate.sequences.exact import Kinds, OfBatch, SequenceMoments, Surrogate, advantages_of, couples_prompts, listed
from ablate.sequences.problem import TokenProblem

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GradientStep(SequenceMoments):
    """Of g_j, over all batches; `gradient` is E grad J(theta_{j-1}), each batch at the policy that it has led to.

    | field              | shape | meaning                                                                      |
    |--------------------|-------|------------------------------------------------------------------------------|
    | mean_squared_error | -     | E |g_j - grad J(theta_{j-1})|^2                                              |
    | clipped            | -     | the share of tokens that clipping leaves without a gradient                  |
    | update             | [P,D] | E[theta_j - theta_0]                                                         |
    | update_variance    | -     | tr Cov theta_j                                                               |
    | success            | -     | E J(theta_j)                                                                 |
    """

    mean_squared_error: float
    clipped: float
    update: Floats
    update_variance: float
    success: float


def epochs(
    problem: TokenProblem,
    logits: ArrayLike,
    size: int,
    advantage: OfBatch,
    aggregation: OfBatch = aggregations.sequence_sum,
    surrogate: Surrogate | None = None,
    lr: float = 1.0,
    number: int = 4,
    mini_batches: int = 1,
) -> list[GradientStep]:
    """Each of the ``number`` x M gradient steps on one batch of N = `size` answers a prompt, which the policy at
    theta_0, `logits` [P, prefixes, V], writes; the clipping is that of a ``surrogate`` with this behaviour, or none.

    M = ``mini_batches`` of equal size are dealt in order and taken in order, each with the aggregation's weights of its
    own answers.

    Raises ValueError where M does not divide P N, and UserError where there are too many batches to list.
    """
    theta = np.asarray(logits, np.float64)
    clip = surrogate or Surrogate(theta, np.inf, np.inf)
    if problem.prompts * size % mini_batches:
        raise ValueError(f"{problem.prompts * size} answers do not make {mini_batches} mini-batches of equal size")
    everyone = list(range(problem.prompts))
    joint = mini_batches > 1 or couples_prompts(advantage, aggregation)
    parts = []
    for prompts in [everyone] if joint else [[x] for x in everyone]:
        learn = partial(_steps, problem, theta, clip, prompts, lr, number, mini_batches)
        parts.append(_expectations(problem, theta, prompts, size, advantage, aggregation, mini_batches, learn))
    return [_together(own) for own in zip(*parts, strict=True)]


Values = dict[str, Floats]  # [C, ...] of C batches, or their expectations [...]


def _expectations(
    problem: TokenProblem,
    theta: Floats,
    prompts: list[int],
    size: int,
    advantage: OfBatch,
    aggregation: OfBatch,
    mini_batches: int,
    learn: Callable[[Floats], Iterable[Values]],
) -> list[Values]:
    """Of what `learn` makes of every batch of some prompts, given the multipliers of its answers."""
    chances = np.exp(problem.log_probs(theta))
    norms = np.square(problem.token_scores(theta).sum(2)).sum(-1)
    held = np.empty((2, 0, len(problem.prefixes) * problem.vocabulary * len(prompts)))
    kinds = [
        Kinds(chances[x], problem.rewards[x], problem.lengths, held, np.empty((2, 0)), norms[x])
        for x in range(problem.prompts)
    ]
    found: list[Values] = []
    for which, ways in listed(kinds, prompts, size, mini_batches):
        _, lengths, A = advantages_of(kinds, prompts, which, advantage, aggregation)
        w = aggregation(lengths.reshape(len(which), mini_batches, 1, -1)).reshape(A.shape)
        answer = np.eye(len(problem.answers))[which]  # [C, prompts, N, Y]
        signed = np.stack([np.maximum(w * A, 0), np.minimum(w * A, 0), A > 0, A < 0, np.ones_like(A)])[:, :, prompts]
        number = (np.arange(A[0].size) * mini_batches // A[0].size).reshape(A.shape[1:])[prompts]
        own = np.stack(
            [np.einsum("scxn,xn,cxny->scxy", signed, number == m, answer, optimize=True) for m in range(mini_batches)]
        )
        steps = [{name: np.tensordot(ways, x, 1) for name, x in values.items()} for values in learn(own)]
        found = [{name: a[name] + b[name] for name in a} for a, b in zip(found, steps, strict=True)] if found else steps
    return found


def _steps(
    problem: TokenProblem,
    start: Floats,
    clip: Surrogate,
    prompts: list[int],
    lr: float,
    number: int,
    mini_batches: int,
    own: Floats,
) -> Iterator[Values]:
    """Each gradient step of C batches. `own` [M, 5, C, prompts, Y] is, of each mini-batch and answer, the sum of w A
    where A > 0, that where A < 0, and how often it comes with A > 0, with A < 0 and at all."""
    theta = np.repeat(start[prompts][None], own.shape[2], 0)
    behind, rewards = problem.token_log_probs(start)[prompts], problem.rewards[prompts]
    taken = np.arange(problem.horizon) < problem.lengths[:, None]
    log_pi = np.broadcast_to(behind, (len(theta), *behind.shape))

    def success(log_pi: Floats) -> Floats:
        """Of each prompt, [C, prompts]."""
        return (np.exp(log_pi.sum(-1)) * rewards).sum(-1)

    for j in range(number * mini_batches):
        positive, negative, above, below, all_of_it = own[j % mini_batches][..., None]
        kept = clip.multipliers(log_pi, behind)
        g = problem.weighted_scores(theta, positive * kept[0] + negative * kept[1])
        centred = rewards - success(log_pi)[..., None]
        exact = (np.exp(log_pi.sum(-1)) * centred / problem.prompts)[..., None] * taken
        gradient = problem.weighted_scores(theta, exact)
        cut = ((above * (kept[0] == 0) + below * (kept[1] == 0)) * taken).sum((1, 2, 3))
        theta = theta + lr * g
        log_pi = problem.token_log_probs(theta)
        update = theta - start[prompts]
        yield {
            "g": g,
            "g squared": _squares(g),
            "gradient": gradient,
            "error": _squares(g - gradient),
            "cut": cut,
            "tokens": (all_of_it * taken).sum((1, 2, 3)),
            "update": update,
            "update squared": _squares(update),
            "success": success(log_pi).sum(1) / problem.prompts,
        }


def _squares(x: Floats) -> Floats:
    return np.square(x).sum(tuple(range(1, x.ndim)))


def _together(parts: Sequence[Values]) -> GradientStep:
    """Of prompts one after the other, which learn by themselves."""

    def placed(name: str) -> Floats:
        return np.concatenate([x[name].reshape(len(x[name]), -1) for x in parts])

    def variance(name: str) -> float:
        return float(sum(x[f"{name} squared"] - np.square(x[name]).sum() for x in parts))

    def total(name: str) -> float:
        return float(sum(x[name] for x in parts))

    return GradientStep(
        mean=placed("g"),
        variance=variance("g"),
        gradient=placed("gradient"),
        mean_squared_error=total("error"),
        clipped=total("cut") / total("tokens"),
        update=placed("update"),
        update_variance=variance("update"),
        success=total("success"),
    )
