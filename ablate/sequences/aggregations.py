"""w, from the lengths of a batch's answers: what the sum over the tokens of an answer is multiplied with.

Each function takes lengths [..., B, N], in tokens, and returns weights [..., B, N].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Aggregation = Callable[[Floats], Floats]


def sequence_sum(lengths: ArrayLike) -> Floats:
    """w = 1/(B N): sum over the tokens, mean over the answers. An answer is one action; the gradient of E r."""
    L = np.asarray(lengths, np.float64)
    return np.full(L.shape, 1 / _answers(L))


def constant_divisor(lengths: ArrayLike, divisor: float) -> Floats:
    """w = 1/(B N divisor), a constant such as the maximal length: Dr. GRPO (Liu et al. 2025)."""
    return sequence_sum(lengths) / divisor


def sequence_mean(lengths: ArrayLike) -> Floats:
    """w_i = 1/(B N L_i): mean over the answer's tokens, then over the answers. GRPO (Shao et al. 2024)."""
    L = np.asarray(lengths, np.float64)
    return 1 / (_answers(L) * L)


def token_mean(lengths: ArrayLike) -> Floats:
    """w = 1 / sum_bi L_bi: mean over all tokens of the batch. DAPO (Yu et al. 2025)."""
    L = np.asarray(lengths, np.float64)
    return np.broadcast_to(1 / L.sum((-2, -1), keepdims=True), L.shape)


def micro_batched(lengths: ArrayLike, aggregation: Aggregation, micro_batches: int) -> Floats:
    """The mean over M micro-batches of `aggregation` in each, as where every device or accumulation step divides by its
    own tokens. Answers are dealt in order.

    Raises ValueError where M does not divide B N.
    """
    L = np.asarray(lengths, np.float64)
    if _answers(L) % micro_batches:
        raise ValueError(f"{_answers(L)} answers do not make {micro_batches} micro-batches of equal size")
    parts = L.reshape(*L.shape[:-2], micro_batches, 1, -1)
    return (aggregation(parts) / micro_batches).reshape(L.shape)


COUPLES_ANSWERS = frozenset({token_mean, micro_batched})
"""Whose weights depend on the lengths of other answers, of other prompts too."""


def _answers(lengths: Floats) -> int:
    """B N."""
    return lengths.shape[-2] * lengths.shape[-1]
