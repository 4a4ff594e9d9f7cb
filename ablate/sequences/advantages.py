"""A, from the rewards of a batch: B prompts of N samples each. One definition for exact values, audits and training.

Each function takes rewards [..., B, N] and returns advantages [..., B, N]. Means are taken by way of differences, so
that a group whose rewards agree, rounding aside ("dead"), has A = 0 exactly. 0/0 is 0. Two conventions of the standard
deviation are in use, ddof = 0 and 1, and several epsilon: they are settings, because the results differ (by
sqrt((N-1)/N), 0.707 at N = 2).

A function that takes one of these by name is given it, [..., B, N] as well: `lengths` in tokens, `norms` |w S|^2 of the
weighted scores, `values` what a critic says of the prompt.
"""

import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
FACTS = "lengths", "norms", "values"


def none(rewards: ArrayLike) -> Floats:
    """A_i = r_i. REINFORCE; unbiased."""
    return np.asarray(rewards, np.float64)


def constant(rewards: ArrayLike, baseline: ArrayLike) -> Floats:
    """A_i = r_i - b, a constant of the prompt, b [...] or [B]: unbiased. The greedy answer's reward makes it ReMax (Li
    et al. 2023); `exact.optimal_constant` the one of least variance."""
    b = np.asarray(baseline, np.float64)
    return np.asarray(rewards, np.float64) - (b[..., None] if b.ndim else b)


def group_mean(rewards: ArrayLike) -> Floats:
    """A_i = r_i - (1/N) sum_j r_j. With a constant divisor it is Dr. GRPO (Liu et al. 2025). E g = (1 - 1/N) grad J."""
    r = np.asarray(rewards, np.float64)
    return _sum_of_differences(r) / r.shape[-1]


def leave_one_out(rewards: ArrayLike) -> Floats:
    """A_i = r_i - (1/(N-1)) sum_{j != i} r_j. RLOO (Kool et al. 2019; Ahmadian et al. 2024); unbiased.

    Raises ValueError where N < 2.
    """
    r = np.asarray(rewards, np.float64)
    return _sum_of_differences(r) / _others(r)


def group_standardised(rewards: ArrayLike, ddof: int = 1, epsilon: float = 1e-6) -> Floats:
    """A_i = (r_i - mean) / (std + epsilon) of the group, std^2 = sum_j (r_j - mean)^2 / (N - ddof). GRPO (Shao et al.
    2024); not the gradient of E r at any scale."""
    r = np.asarray(rewards, np.float64)
    return _ratio(group_mean(r), _std(r, ddof) + epsilon)


def leave_one_out_standardised(rewards: ArrayLike, ddof: int = 0, epsilon: float = 1e-6) -> Floats:
    """A_i = (r_i - mean_{-i}) / (std_{-i} + epsilon), mean and std of the others j != i.

    Of the order 1 / epsilon where the others agree and i differs. Raises ValueError where N < 2 + ddof.
    """
    r = np.asarray(rewards, np.float64)
    return _ratio(leave_one_out(r), _std_of_others(r, ddof) + epsilon)


def batch_standardised(rewards: ArrayLike, ddof: int = 1, epsilon: float = 1e-8) -> Floats:
    """A_i = (r_i - mean) / (std + epsilon) over all B N samples. REINFORCE++ (Hu 2025)."""
    r = np.asarray(rewards, np.float64)
    flat = r.reshape(*r.shape[:-2], 1, -1)
    return group_standardised(flat, ddof, epsilon).reshape(r.shape)


def group_mean_batch_standardised(rewards: ArrayLike, ddof: int = 1, epsilon: float = 1e-8) -> Floats:
    """A_i = (r_i - mean of the group) / (std of these over the batch + epsilon). REINFORCE++ with a group baseline (Hu
    2025)."""
    centred = group_mean(rewards)
    spread = _std(centred.reshape(*centred.shape[:-2], 1, -1), ddof)
    return _ratio(centred, spread + epsilon)


def token_standardised(rewards: ArrayLike, lengths: ArrayLike, ddof: int = 1, epsilon: float = 1e-8) -> Floats:
    """A_i = (r_i - m) / sqrt(v + epsilon) over the tokens of the batch, each with its answer's reward: m = sum L r /
    sum L, v = sum L (r - m)^2 / (sum L - ddof). REINFORCE++ as trainers have it, who whiten token by token."""
    r, L = np.asarray(rewards, np.float64), np.asarray(lengths, np.float64)
    flat, counts = r.reshape(*r.shape[:-2], 1, -1), L.reshape(*L.shape[:-2], 1, -1)
    centred = length_weighted_mean(flat, counts)
    square = (counts * centred**2).sum(-1, keepdims=True) / np.maximum(counts.sum(-1, keepdims=True) - ddof, 1)
    return _ratio(centred, np.sqrt(square + epsilon)).reshape(r.shape)


def group_mean_token_standardised(
    rewards: ArrayLike, lengths: ArrayLike, ddof: int = 1, epsilon: float = 1e-8
) -> Floats:
    """The same of r_i - mean of the group: REINFORCE++ with a group baseline as trainers have it."""
    return token_standardised(group_mean(rewards), lengths, ddof, epsilon)


def leave_one_out_optimal(rewards: ArrayLike, norms: ArrayLike) -> Floats:
    """A_i = r_i - sum_{j != i} q_j r_j / sum_{j != i} q_j, q = norms: the constant of least variance, E[q r] / E[q]
    (Greensmith, Bartlett & Baxter 2004), estimated from the others; unbiased. The mean of the others where their q are
    0.

    Raises ValueError where N < 2.
    """
    r, q = np.asarray(rewards, np.float64), np.asarray(norms, np.float64)
    _others(r)
    d = _differences(r)
    weighted, weight = _sum_of_others(q * d), _sum_of_others(q)
    lean = weight <= 8 * np.finfo(np.float64).eps * q.sum(-1, keepdims=True)
    baseline = np.divide(weighted, weight, out=np.zeros(r.shape), where=~lean)
    return np.where(lean, leave_one_out(r), d - baseline)


def length_weighted_mean(rewards: ArrayLike, lengths: ArrayLike) -> Floats:
    """A_i = r_i - sum_j L_j r_j / sum_j L_j: the optimal constant where |S|^2 is in proportion to the length. OPO (Hao
    et al. 2025); E g is not grad J, since r_i is in its own baseline."""
    d, L = _differences(np.asarray(rewards, np.float64)), np.asarray(lengths, np.float64)
    return d - (L * d).sum(-1, keepdims=True) / L.sum(-1, keepdims=True)


def leave_one_out_max(rewards: ArrayLike) -> Floats:
    """A_i = N (max_j r_j - max_{j != i} r_j): what i adds to the best of the group. With sequence sums E g is the
    gradient of E max_j r_j, pass@N for right and wrong answers (Tang et al. 2025), and not of E r.

    Raises ValueError where N < 2.
    """
    r = np.asarray(rewards, np.float64)
    ordered = np.sort(r, axis=-1)
    gain = ordered[..., -1:] - ordered[..., -2:-1]
    return (_others(r) + 1) * np.where(r == ordered[..., -1:], gain, 0.0)


def running_mean(rewards: ArrayLike, values: ArrayLike) -> Floats:
    """A_i = r_i - b, b the mean reward of earlier batches, a moving average (`values`; in training that of
    critic=running_mean): unbiased, as b is known before the answers are drawn."""
    return np.asarray(rewards, np.float64) - np.asarray(values, np.float64)


def differ(rewards: ArrayLike) -> NDArray[np.bool_]:
    """Whether the rewards of a group differ, [..., B]: else it is dead, and no difference of rewards says anything."""
    return (_differences(np.asarray(rewards, np.float64)) != 0).any(-1)


def takes(advantage: Callable[..., Floats]) -> list[str]:
    """Which of FACTS an advantage must be given besides the rewards."""
    parameters = inspect.signature(advantage).parameters
    return [name for name in FACTS if name in parameters and parameters[name].default is inspect.Parameter.empty]


def of_batch(advantage: Callable[..., Floats], rewards: Floats, **facts: Floats) -> Floats:
    """A of the rewards and of those of `facts` that it takes."""
    return advantage(rewards, **{name: facts[name] for name in takes(advantage)})


COUPLES_PROMPTS = frozenset(
    {batch_standardised, group_mean_batch_standardised, token_standardised, group_mean_token_standardised}
)
"""Whose advantages depend on the rewards of other prompts."""


def _differences(r: Floats) -> Floats:
    """r_i less the first of its group, [..., N]: 0 in a group whose rewards differ by rounding only, a few ulps."""
    ordered = r - r[..., :1]
    spread = r.max(-1, keepdims=True) - r.min(-1, keepdims=True)
    rounding = 8 * np.finfo(np.float64).eps * np.abs(r).max(-1, keepdims=True)
    return np.where(spread > rounding, ordered, 0.0)


def _sum_of_differences(r: Floats) -> Floats:
    """sum_j (r_i - r_j), [..., N]."""
    d = _differences(r)
    return r.shape[-1] * d - d.sum(-1, keepdims=True)


def _sum_of_others(x: Floats) -> Floats:
    """sum_{j != i} x_j, [..., N]."""
    return x.sum(-1, keepdims=True) - x


def _squares(r: Floats) -> Floats:
    """(r_i - mean)^2, [..., N]."""
    return np.square(_sum_of_differences(r) / r.shape[-1])


def _std(r: Floats, ddof: int) -> Floats:
    """Of the last axis, kept. A group of one has none: 0."""
    return np.sqrt(_squares(r).sum(-1, keepdims=True) / max(r.shape[-1] - ddof, 1))


def _std_of_others(r: Floats, ddof: int) -> Floats:
    """[..., N]: sum_{j != i} (r_j - mean_{-i})^2 = sum_j (r_j - mean)^2 - (r_i - mean)^2 N / (N - 1)."""
    n = _others(r, ddof)
    squares = _squares(r)
    left = squares.sum(-1, keepdims=True) - squares * (n + 1) / n
    return np.where(_others_agree(r), 0.0, np.sqrt(np.maximum(left, 0.0) / (n - ddof)))


def _others(r: Floats, ddof: int = 0) -> int:
    """N - 1."""
    if r.shape[-1] < 2 + ddof:
        raise ValueError(f"leaving one out needs a group of at least {2 + ddof}")
    return r.shape[-1] - 1


def _others_agree(r: Floats) -> NDArray[np.bool_]:
    """Whether the rewards of the others are all equal, [..., N]: those less one lowest, one highest, or any other."""
    ordered = np.sort(r, axis=-1)
    low, high = ordered[..., :1], ordered[..., -1:]
    return np.where(r == low, ordered[..., 1:2] == high, np.where(r == high, low == ordered[..., -2:-1], False))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator with 0/0 = 0 and x/0 infinite."""
    top, bottom = np.broadcast_arrays(numerator, denominator)
    with np.errstate(divide="ignore"):
        return np.divide(top, bottom, out=np.zeros(top.shape), where=top != 0)
