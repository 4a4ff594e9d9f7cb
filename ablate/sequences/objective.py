"""Of which objective an estimator is the gradient: how prompts and answers count in its mean, by difficulty and length.

The answers to a prompt are right with chance p, whatever their length L, which has chances of its own: kinds of answer
v = (r, L). With sbar_v the mean score of an answer of kind v,

    E g = sum_x sum_v P(v) u_v sbar_v,     u_v = N E[w_i A_i | v_i = v]

so that u is all that the mean is made of. The gradient of the success rate of a prompt has u = r - b for any b; its
multiple has r less b times a constant; and where u depends on L the mean is that of no function of success alone.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ablate.sequences import advantages, pass_rates
from ablate.sequences.exact import OfBatch, batches

Floats = NDArray[np.float64]


def difficulty_weights(p: ArrayLike, size: int, advantage: OfBatch) -> Floats:
    """E g / grad p of a prompt that is solved with chance p, in the shape of p: 1 where unbiased, and alike for all p
    where only the scale is off. Answers of one length; N = `size`."""
    chance = np.asarray(p, np.float64)
    mean, _ = pass_rates.group_moments(chance, size, advantage)
    return mean / (chance * (1 - chance))


def answer_weights(
    p: float,
    lengths: Sequence[int],
    size: int,
    advantage: OfBatch,
    aggregation: OfBatch,
    chances: ArrayLike | None = None,
) -> pd.DataFrame:
    """u of right and wrong answers of each length, one prompt a batch: columns right, wrong, and difference = right -
    wrong, the push from a wrong answer to a right one of the same length; index `lengths`.

    ``chances`` of the lengths are alike where they are None.
    """
    L = np.asarray(lengths, np.float64)
    of_length = np.full(len(L), 1 / len(L)) if chances is None else np.asarray(chances, np.float64)
    kinds = np.concatenate([p * of_length, (1 - p) * of_length])
    rewards, lengths_of = np.repeat([1.0, 0.0], len(L)), np.tile(L, 2)
    u = np.zeros(len(kinds))
    for which, ways in batches(kinds, size):
        r, own = rewards[which][:, None], lengths_of[which][:, None]
        w = aggregation(own)
        A = advantages.of_batch(advantage, r, lengths=own, norms=w**2 * own)
        np.add.at(u, which, ways[:, None] * (w * A)[:, 0])
    right, wrong = (u / kinds).reshape(2, -1)
    return pd.DataFrame({"right": right, "wrong": wrong, "difference": right - wrong}, pd.Index(lengths, name="length"))


def depends_on_the_cut(advantage: OfBatch, aggregation: OfBatch) -> tuple[bool, bool]:
    """Whether the estimate from two prompts of four answers changes where it is taken a prompt at a time: the loss
    alone, with advantages of the whole batch; and advantages and loss."""
    rng = np.random.default_rng(0)
    rewards, lengths = rng.random((2, 4)), np.array([[1.0, 4, 2, 3], [6, 5, 6, 4]])

    def advantage_of(r: Floats, L: Floats) -> Floats:
        return advantages.of_batch(advantage, r, lengths=L, norms=L, values=np.zeros_like(r))

    def a_prompt_at_a_time(A: Floats) -> Floats:
        return np.concatenate([aggregation(lengths[b : b + 1]) * A[b : b + 1] / 2 for b in range(2)])

    A = advantage_of(rewards, lengths)
    apart = np.concatenate([advantage_of(rewards[b : b + 1], lengths[b : b + 1]) for b in range(2)])
    whole = aggregation(lengths) * A
    return not np.allclose(a_prompt_at_a_time(A), whole), not np.allclose(a_prompt_at_a_time(apart), whole)
