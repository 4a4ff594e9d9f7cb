"""Which advantage and which aggregation a function equals, of those that are known here."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ablate.sequences import advantages, aggregations
from ablate.sequences.exact import OfBatch

Floats = NDArray[np.float64]
Multipliers = Callable[[Floats, NDArray[np.bool_]], Floats]  # rewards [B, N], mask [B, N, L] -> c [B, N, L]
SAME = 2e-5  # relative: single precision, with room
EPSILONS = (0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3)


def _definitions() -> dict[str, OfBatch]:
    standardised: dict[str, OfBatch] = {
        "group standardised": advantages.group_standardised,
        "group standardised, epsilon inside the root": _inside_the_root,
        "leave-one-out standardised": advantages.leave_one_out_standardised,
        "batch standardised": advantages.batch_standardised,
        "group mean, batch standardised": advantages.group_mean_batch_standardised,
        "token standardised": advantages.token_standardised,
        "group mean, token standardised": advantages.group_mean_token_standardised,
        "group mean, deviation of the batch": _over_the_deviation_of_the_batch,
    }
    return {
        "no baseline": advantages.none,
        "group mean": advantages.group_mean,
        "leave-one-out": advantages.leave_one_out,
        "length-weighted mean": advantages.length_weighted_mean,
        "leave-one-out max": advantages.leave_one_out_max,
        **{f"group mean, over the mean reward, epsilon {e:g}": partial(_over_the_mean, epsilon=e) for e in EPSILONS},
        **with_settings(standardised),
    }


def with_settings(functions: Mapping[str, OfBatch]) -> dict[str, OfBatch]:
    """Each function at both ddof and every epsilon in use."""
    return {
        f"{name}, ddof {ddof}, epsilon {epsilon:g}": partial(function, ddof=ddof, epsilon=epsilon)
        for name, function in functions.items()
        for ddof, epsilon in product((0, 1), EPSILONS)
    }


def over(numerator: Floats, deviation: Floats) -> Floats:
    """Their ratio, with 0/0 = 0."""
    top, bottom = np.broadcast_arrays(numerator, deviation)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=top != 0)


def std(rewards: Floats, axis: int | tuple[int, int], ddof: int) -> Floats:
    """sqrt(sum (r - mean)^2 / (n - ddof)) along the axes, kept; of one number 0."""
    n = rewards.size if isinstance(axis, tuple) else rewards.shape[axis]
    return np.asarray(np.std(rewards, axis=axis, ddof=min(ddof, n - 1), keepdims=True))


def _over_the_deviation_of_the_batch(rewards: Floats, ddof: int, epsilon: float) -> Floats:
    """(r_i - mean of the group) / (std of all rewards + epsilon): TRL's scale_rewards="batch"."""
    return over(advantages.group_mean(rewards), std(rewards, (-2, -1), ddof) + epsilon)


def _over_the_mean(rewards: Floats, epsilon: float) -> Floats:
    """(r_i - mean) / (mean + epsilon) of the group: MaxRL (arXiv 2602.02710)."""
    return over(advantages.group_mean(rewards), rewards.mean(-1, keepdims=True) + epsilon)


def _inside_the_root(rewards: Floats, ddof: int, epsilon: float) -> Floats:
    """(r_i - mean) / sqrt(std^2 + epsilon) of the group."""
    return over(advantages.group_mean(rewards), np.sqrt(std(rewards, -1, ddof) ** 2 + epsilon))


ADVANTAGES = _definitions()
AGGREGATIONS: dict[str, OfBatch] = {
    "sequence sum": aggregations.sequence_sum,
    "sequence mean": aggregations.sequence_mean,
    "token mean": aggregations.token_mean,
    "token mean of each prompt": lambda L: aggregations.micro_batched(L, aggregations.token_mean, L.shape[-2]),
}
EXPECTED = {
    "reinforce": ("no baseline", "sequence sum"),
    "rloo": ("leave-one-out", "sequence sum"),
    "dr_grpo": ("group mean", "sequence sum"),
    "grpo": ("group standardised", "sequence mean"),
    "dapo": ("group standardised", "token mean"),
    "reinforce++": ("batch standardised", "token mean"),
    "reinforce++_baseline": ("group mean, batch standardised", "token mean"),
    "reinforce++_tokens": ("token standardised", "token mean"),
    "reinforce++_baseline_tokens": ("group mean, token standardised", "token mean"),
    "opo": ("length-weighted mean", "token mean"),
}
"""Names of estimators -> advantage and aggregation, the latter up to a constant."""


@dataclass(frozen=True)
class Definition:
    """An advantage and an aggregation that the function under audit equals, up to a factor."""

    advantage: str
    aggregation: str
    factor: float

    def __str__(self) -> str:
        told = f"{self.advantage}; {self.aggregation}".strip("; ")
        return told if self.factor == 1 else f"{told}, times {self.factor:.4g}"

    def same(self, other: "Definition") -> bool:
        named = self.advantage == other.advantage and self.aggregation == other.aggregation
        return named and abs(self.factor - other.factor) <= SAME * abs(self.factor)

    def is_of(self, expected: str) -> bool:
        advantage, aggregation = EXPECTED[expected]
        named = re.split(", (?:ddof|epsilon inside)", self.advantage)[0]
        return named == advantage and self.aggregation in ("", aggregation)

    @property
    def names(self) -> list[str]:
        """Those of EXPECTED that it is."""
        return [name for name in EXPECTED if self.is_of(name)]


@np.errstate(divide="ignore", invalid="ignore")  # of an epsilon of 0 where the rewards of a group agree
def definitions(
    multipliers: Multipliers, is_loss: bool, prompts: int, size: int, among: Mapping[str, OfBatch] = ADVANTAGES
) -> list[Definition]:
    """Those of the advantages `among` that it equals with an aggregation, on generic rewards and lengths of B =
    `prompts` and N = `size`: first those that it equals as they stand, then up to a factor, the nearest first."""
    near: list[tuple[bool, float, Definition]] = []
    for advantage, aggregation, found, known in compared(multipliers, is_loss, trials(prompts, size), among):
        free = sum(np.vdot(a, b) for a, b in zip(found, known, strict=True)) / (sum(np.vdot(b, b) for b in known) or 1)
        for factor in (1.0, float(free)):
            off = max(np.abs(a - factor * b).max() / (np.abs(a).max() or 1) for a, b in zip(found, known, strict=True))
            if factor and off < SAME:
                near.append((factor != 1, off, Definition(advantage, aggregation, factor)))
                break
    return [definition for *_, definition in sorted(near, key=lambda each: each[:2])]


def mixed(multipliers: Multipliers, is_loss: bool) -> str:
    """Settings of one definition, such as both ddof, of which each answer has one, and all answers none; else ""."""
    equal: dict[tuple[str, str], dict[str, NDArray[np.bool_]]] = {}
    for advantage, aggregation, found, known in compared(multipliers, is_loss, trials(2, 4)):
        name, _, settings = advantage.partition(", ddof")
        same = [np.abs(a - b) <= SAME * np.abs(a) for a, b in zip(found, known, strict=True)]
        equal.setdefault((name, aggregation), {})[settings] = np.concatenate([each.ravel() for each in same])
    for (name, aggregation), settings_of in equal.items():
        if settings_of and np.any(list(settings_of.values()), axis=0).all():
            left, told = np.ones(len(next(iter(settings_of.values()))), bool), []
            while left.any():
                best = max(settings_of, key=lambda settings: int((settings_of[settings] & left).sum()))
                told.append(f"ddof{best}")
                left &= ~settings_of[best]
            pair = "; ".join(filter(None, (name, aggregation)))
            return f"mixes {pair}, {' for some answers and '.join(told)} for others"
    return ""


Trial = tuple[Floats, NDArray[np.int64]]  # rewards and lengths, [B, N]


def trials(prompts: int, size: int) -> list[Trial]:
    """Rewards far from each other and near, and of either sign; answers of up to 6 tokens."""
    rng = np.random.default_rng(0)
    found = []
    for least, spread in ((0.0, 1.0), (0.0, 0.5), (0.0, 0.01), (-500.0, 1000.0)):
        lengths = rng.integers(1, 7, (prompts, size))
        found.append((least + spread * rng.random((prompts, size)), lengths))
    return found


def aggregated(is_loss: bool) -> dict[str, OfBatch]:
    """The aggregations that may be: an advantage alone has none."""
    return AGGREGATIONS if is_loss else {"": aggregations.sequence_sum}


def compared(
    multipliers: Multipliers, is_loss: bool, on: Sequence[Trial], among: Mapping[str, OfBatch] = ADVANTAGES
) -> Iterator[tuple[str, str, list[Floats], list[Floats]]]:
    """Each advantage and aggregation, what the function gives in the trials, and what they give."""
    masks = [np.arange(6) < lengths[..., None] for _, lengths in on]
    found = [multipliers(rewards, mask) for (rewards, _), mask in zip(on, masks, strict=True)]
    counts = [lengths.astype(np.float64) for _, lengths in on]
    weights = {
        name: [w(L)[..., None] * mask for L, mask in zip(counts, masks, strict=True)]
        for name, w in aggregated(is_loss).items()
    }
    for advantage, of in among.items():
        with suppress(ValueError):  # an advantage that takes larger groups
            A = [advantages.of_batch(of, rewards, lengths=L) for (rewards, _), L in zip(on, counts, strict=True)]
            for aggregation, w in weights.items():
                yield advantage, aggregation, found, [a[..., None] * b for a, b in zip(A, w, strict=True)]
