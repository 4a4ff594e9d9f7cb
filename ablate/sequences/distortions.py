"""What a function makes of rewards and lengths besides a known advantage: other rewards of them, and weights by length
that no aggregation has."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ablate.sequences import advantages
from ablate.sequences.definitions import ADVANTAGES, SAME, Multipliers, definitions
from ablate.sequences.exact import OfBatch

Floats = NDArray[np.float64]
Change = Callable[[Floats], Floats]
FAR = 1e4  # rewards further out than this are taken for as far as can be
LONGEST = 6  # tokens


def of_other_rewards(multipliers: Multipliers, is_loss: bool, prompts: int, size: int) -> str:
    """The definition that it equals, of rewards that are cut off or made whole numbers, and how; else ""."""
    low, high = (_end(multipliers, sign) for sign in (-1, 1))
    ends = [f"below {low:.4g}"] * bool(np.isfinite(low)) + [f"above {high:.4g}"] * bool(np.isfinite(high))
    changes: dict[str, Change] = {"truncated to whole numbers": np.trunc, "rounded to whole numbers": np.round}
    if ends:
        changes = {f"cut off {' and '.join(ends)}": partial(np.clip, a_min=low, a_max=high)}
    for told, change in changes.items():
        among = {name: partial(_after, of, change) for name, of in ADVANTAGES.items() if not advantages.takes(of)}
        if found := definitions(multipliers, is_loss, prompts, size, among):
            return f"{found[0]}, of rewards {told}"
    return ""


def _after(advantage: OfBatch, change: Change, rewards: Floats) -> Floats:
    return advantage(change(rewards))


def _end(multipliers: Multipliers, sign: int) -> float:
    """Where a reward that moves up (`sign` 1) or down stops to change anything; infinite where it never does."""
    rewards = np.random.default_rng(4).random((2, 4))

    def at(x: float) -> Floats:
        moved = rewards.copy()
        moved[0, 0] = sign * x
        return multipliers(moved, np.ones((2, 4, 1), bool))

    last = at(100 * FAR)
    if not np.array_equal(at(FAR), last):
        return sign * np.inf
    inside, outside = -FAR, FAR
    while outside - inside > 1e-9 * FAR:
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if np.array_equal(at(middle), last) else (middle, outside)
    return sign * round(outside, 4) + 0.0


def weighted_by_length(multipliers: Multipliers, is_loss: bool) -> tuple[str, bool]:
    """A known advantage, and how a token counts by the length of its answer, where no aggregation weighs so; and
    whether it is a mistake: a longer answer counts less than by its mean, or a token of it more than one of a shorter
    answer. Else ""."""
    near = [each for each in _weights(multipliers) if each[0] < SAME] if is_loss else []
    if not near:
        return "", False
    _, name, by_tokens, w = min(near, key=lambda each: (each[2], each[0]))
    told, wrong = _in_words(w)
    twice = by_tokens and bool(abs(w[-1] - 1) > SAME)
    return f"{name}; {told}{', and by the tokens of the batch' * by_tokens}", wrong or twice


def _weights(multipliers: Multipliers) -> Iterator[tuple[float, str, bool, Floats]]:
    """Of each known advantage how far c is from w(L) A, relative, in two batches, the second of more tokens; its name;
    whether w is over the tokens of the batch besides; and w(1) = 1 .. w(6)."""
    rng = np.random.default_rng(5)
    lengths = [rng.permuted(np.tile([*range(1, LONGEST + 1), *more], (2, 1)), axis=1) for more in ([1] * 3, [6] * 3)]
    rewards = [spread * rng.uniform(-1, 1, L.shape) for spread, L in zip((1.0, 0.01), lengths, strict=True)]
    masks = [np.arange(LONGEST) < L[..., None] for L in lengths]
    c = [multipliers(r, mask) for r, mask in zip(rewards, masks, strict=True)]
    for name, of in ADVANTAGES.items():
        off, found = 0.0, []
        for r, L, mask, own in zip(rewards, lengths, masks, c, strict=True):
            A = advantages.of_batch(of, r, lengths=L.astype(np.float64))
            if not all(A[n == L].any() for n in range(1, LONGEST + 1)):
                off = np.inf
                break
            w = np.array([own[n == L, 0] @ A[n == L] / np.square(A[n == L]).sum() for n in range(1, LONGEST + 1)])
            off = max(off, float(np.abs(own - (w[L - 1] * A)[..., None] * mask).max() / np.abs(own).max()))
            found.append(w)
        if np.isfinite(off) and all(w[0] for w in found):
            one, other = (w / w[0] for w in found)
            scale, tokens = found[1][0] / found[0][0], lengths[0].sum() / lengths[1].sum()
            by_tokens = bool(abs(scale - 1) > abs(scale - tokens))
            off = max(off, float(np.abs(one - other).max()), float(abs(scale - (tokens if by_tokens else 1))))
            yield off, name, by_tokens, one


def _in_words(w: Floats) -> tuple[str, bool]:
    """Of w(1) = 1 .. w(6)."""
    L = np.arange(1, LONGEST + 1)
    wrong = bool((np.diff(w) > SAME).any() or (np.diff(L * w) < -SAME).any())
    if np.allclose(w, 1, rtol=SAME):
        return "a token counts alike in answers of all lengths", False
    more = (LONGEST * w[-1] - 1) / (1 - w[-1])
    if abs(more) > SAME and np.allclose(w, (1 + more) / (L + more), rtol=SAME):
        return f"over the length of the answer plus {more:.3g}, as where tokens of its prompt are counted", True
    power = -np.log(np.abs(w[-1])) / np.log(LONGEST)
    if np.allclose(w, L**-power, rtol=SAME):
        return f"over the length of the answer to the power {power:.3g}", wrong
    return f"a token of an answer of 1 .. 6 tokens weighs {' '.join(f'{x:.3g}' for x in w)}", wrong
