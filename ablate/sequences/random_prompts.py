"""The estimate from G groups whose prompts are drawn at random, exactly, with dynamic sampling or without it.

`exact` has every prompt once in every batch. Here each group has a prompt of its own, x ~ 1/P, as in training on
`env=tokens`. With dynamic sampling (DAPO, Yu et al. 2025) groups are drawn until G of them are accepted: of a group
with chance P(accepted) = a, by prompt and answers together,

    E[g | accepted] = E[g, accepted] / a,     samples drawn for a group = N / a

A dead group has A = 0 in every difference of rewards, so that E[g, accepted] = E g: dynamic sampling scales the mean by
1/a and does not turn it, unless the weights depend on other answers (token mean).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ablate.errors import UserError
from ablate.sequences import advantages, aggregations
from ablate.sequences.exact import Accept, Floats, OfBatch, SequenceMoments, couples_prompts, gradient, kinds_of, sums
from ablate.sequences.problem import TokenProblem

MOST_DRAWS = 4096  # of prompts, one a group, that are summed over


@dataclass(frozen=True)
class Drawn(SequenceMoments):
    """`SequenceMoments` of the estimate from G groups, and the chance `accepted` that a group is accepted."""

    accepted: float


def drawn(
    problem: TokenProblem,
    logits: ArrayLike,
    size: int,
    groups: int,
    advantage: OfBatch,
    aggregation: OfBatch = aggregations.sequence_sum,
    accept: Accept | None = None,
    jacobian: Floats | None = None,
) -> Drawn:
    """Exact moments for G = `groups` groups of N = `size` answers; ``accept=advantages.differ`` is dynamic sampling. A
    ``jacobian`` is that of a policy whose parameters all prompts share, as in `exact.moments`.

    Raises UserError where there are too many batches to sum over, or where no group is ever accepted.
    """
    kinds = kinds_of(problem, logits, by_norm="norms" in advantages.takes(advantage), jacobian=jacobian)
    P = problem.prompts
    together = groups if couples_prompts(advantage, aggregation) else 1
    if P**together > MOST_DRAWS:
        raise UserError(
            f"{P} prompts in {groups} groups are {P**together:.3g} batches of prompts, at most {MOST_DRAWS} are summed "
            "over: take fewer groups, or an estimator that takes groups one at a time"
        )
    accepted, mean, square = 0.0, np.zeros((P if jacobian is None else 1, kinds[0].means.shape[-1])), 0.0
    for prompts in product(range(P), repeat=together):
        own, blocks = np.unique(prompts if jacobian is None else [0] * together, return_inverse=True)
        chosen = [kinds[x] for x in prompts]
        chance, first, second = sums(
            chosen, list(range(together)), size, advantage, aggregation, blocks.tolist(), accept
        )
        accepted += chance / P**together
        mean[own] += first / P**together
        square += second / P**together
    if accepted == 0:
        raise UserError("no group is ever accepted: every answer to a prompt has the same reward")
    mean, square = mean / accepted, square / accepted
    variance = (square - float(np.square(mean).sum())) * together / groups
    return Drawn(mean, variance, gradient(problem, logits, jacobian), accepted ** (1 / together))
