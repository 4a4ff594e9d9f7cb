"""What a function does that equals no definition: a known advantage with one mistake in it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ablate.sequences import advantages
from ablate.sequences.definitions import (
    ADVANTAGES,
    SAME,
    Multipliers,
    aggregated,
    definitions,
    over,
    std,
    with_settings,
)
from ablate.sequences.exact import OfBatch

Floats = NDArray[np.float64]
SHAPE = 3, 5  # prompts and answers at which no two of these are alike
SUBSTANTIAL = 0.05  # of the largest advantage: what is cut off is more, rounding or another epsilon less


def _over_prompts(advantage: OfBatch, rewards: Floats, **settings: float) -> Floats:
    return np.swapaxes(advantage(np.swapaxes(rewards, -1, -2), **settings), -1, -2)


def _quotient(centre: Callable[[Floats], Floats], axis: int | tuple[int, int], power: int) -> OfBatch:
    def of(rewards: Floats, ddof: int, epsilon: float) -> Floats:
        return over(centre(rewards), std(rewards, axis, ddof) ** power + epsilon)

    return of


def _less_batch_mean(rewards: Floats) -> Floats:
    return rewards - rewards.mean((-2, -1), keepdims=True)


def _less_others(rewards: Floats, times: Callable[[int], float]) -> Floats:
    """r_i - c_N sum_{j != i} r_j."""
    return rewards - times(rewards.shape[-1]) * (rewards.sum(-1, keepdims=True) - rewards)


def _standardised_twice(rewards: Floats, ddof: int, epsilon: float) -> Floats:
    return advantages.batch_standardised(advantages.group_standardised(rewards, ddof, epsilon), ddof, epsilon)


MISTAKES: dict[str, OfBatch] = {
    "mean of the group added, not subtracted": lambda r: r + r.mean(-1, keepdims=True),
    "mean of the others added, not subtracted": partial(_less_others, times=lambda N: -1 / (N - 1)),
    "sum of the others over N, not N - 1": partial(_less_others, times=lambda N: 1 / N),
    "sum of the whole group over N - 1": lambda r: r - r.sum(-1, keepdims=True) / (r.shape[-1] - 1),
    "group mean along the wrong axis, over prompts": partial(_over_prompts, advantages.group_mean),
    "leave-one-out along the wrong axis, over prompts": partial(_over_prompts, advantages.leave_one_out),
    **with_settings(
        {
            "group standardised along the wrong axis, over prompts": partial(
                _over_prompts, advantages.group_standardised
            ),
            "group mean, deviation along the wrong axis, over prompts": _quotient(advantages.group_mean, -2, 1),
            "standardised twice, by the group and then by the batch": _standardised_twice,
            "group mean over the variance, not the deviation": _quotient(advantages.group_mean, -1, 2),
            "group mean over the variance of the batch, not the deviation": _quotient(
                advantages.group_mean, (-2, -1), 2
            ),
            "batch mean over the variance of the batch, not the deviation": _quotient(_less_batch_mean, (-2, -1), 2),
            "mean of the batch, deviation of the group": _quotient(_less_batch_mean, -1, 1),
            "no mean subtracted, over the deviation of the group": _quotient(advantages.none, -1, 1),
        }
    ),
}


def mistaken(multipliers: Multipliers, is_loss: bool) -> str:
    """The mistake of MISTAKES that it makes, and with which aggregation; else ""."""
    found = definitions(multipliers, is_loss, *SHAPE, among=MISTAKES)
    return str(found[0]) if found else ""


def cut_off(multipliers: Multipliers, is_loss: bool) -> str:
    """The definition that it equals but for answers whose advantage it cuts off, and where; else ""."""
    rewards = _with_outliers()
    counts = [np.random.default_rng(1).integers(1, 7, r.shape) for r in rewards]
    firsts = [multipliers(r, np.arange(6) < L[..., None])[..., 0] for r, L in zip(rewards, counts, strict=True)]
    lengths = [L.astype(np.float64) for L in counts]
    near: list[tuple[float, str]] = []
    for (advantage, of), (aggregation, w) in product(ADVANTAGES.items(), aggregated(is_loss).items()):
        with suppress(ValueError):  # an advantage that takes larger groups
            known = [advantages.of_batch(of, r, lengths=L) for r, L in zip(rewards, lengths, strict=True)]
            A = [c / w(L) for c, L in zip(firsts, lengths, strict=True)]
            off, told = _bounds(A, known)
            near.append((off, told and f"{'; '.join(filter(None, (advantage, aggregation)))}, {told}"))
    close = [told for off, told in sorted(near) if off < SAME]
    return close[0] if all(close) and close else ""


def _bounds(A: Sequence[Floats], known: Sequence[Floats]) -> tuple[float, str]:
    """How far A is from min(max(f K, low), high) of the known K, with f the largest A / K, and the bounds in words.

    None where A = f K; infinitely far where they would leave less than a quarter of the answers, or cut off so little
    that it may be rounding.
    """
    a, k = (np.concatenate([each.ravel() for each in parts]) for parts in (A, known))
    if not (np.isfinite(a).all() and np.isfinite(k).all() and a.any() and k.any()):
        return np.inf, ""
    scale = np.concatenate([np.full(each.size, max(np.abs(each).max(), 1e-300)) for each in A])
    full = float(np.max(a[k != 0] / k[k != 0])) * k
    if (exact := float((np.abs(a - full) / scale).max())) < SAME:
        return exact, ""
    low, high = float(a.min()), float(a.max())
    below, above = full < low - SAME * scale, full > high + SAME * scale
    off = float((np.abs(a - full.clip(low, high)) / scale).max())
    if np.mean(below | above) > 0.75 or np.abs(full - a).max() < SUBSTANTIAL * np.abs(full).max():
        return np.inf, ""
    if not above.any() and abs(low) <= SAME:
        return off, "of which only positive advantages are kept"
    if not below.any() and abs(high) <= SAME:
        return off, "of which only negative advantages are kept"
    ends = [f"below {low:.4g}"] * bool(below.any()) + [f"above {high:.4g}"] * bool(above.any())
    return off, f"cut off {' and '.join(ends)}"


def _with_outliers() -> list[Floats]:
    """Rewards of which some stand out by 11 deviations, and some by hundreds."""
    rng = np.random.default_rng(0)
    crowd = 0.01 * rng.random((2, 128))
    crowd[:, 0] = 1.0, -1.0
    return [rng.random(SHAPE), crowd, 1000 * rng.random(SHAPE)]
