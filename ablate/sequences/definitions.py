"""Which advantage and which aggregation a function equals, of those that are known here."""

from collections.abc import Callable, Iterator
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
EPSILONS = (0.0, 1e-8, 1e-6, 1e-5, 1e-4)


def _definitions() -> dict[str, OfBatch]:
    standardised: dict[str, OfBatch] = {
        "group standardised": advantages.group_standardised,
        "leave-one-out standardised": advantages.leave_one_out_standardised,
        "batch standardised": advantages.batch_standardised,
        "group mean, batch standardised": advantages.group_mean_batch_standardised,
        "token standardised": advantages.token_standardised,
        "group mean, token standardised": advantages.group_mean_token_standardised,
    }
    return {
        "no baseline": advantages.none,
        "group mean": advantages.group_mean,
        "leave-one-out": advantages.leave_one_out,
        "length-weighted mean": advantages.length_weighted_mean,
        "leave-one-out max": advantages.leave_one_out_max,
        **{
            f"{name}, ddof {ddof}, epsilon {epsilon:g}": partial(function, ddof=ddof, epsilon=epsilon)
            for name, function in standardised.items()
            for ddof, epsilon in product((0, 1), EPSILONS)
        },
    }


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
        return self.advantage.split(", ddof")[0] == advantage and self.aggregation in ("", aggregation)


def definitions(multipliers: Multipliers, is_loss: bool, prompts: int, size: int) -> list[Definition]:
    """Those that it equals on generic rewards and lengths of B = `prompts` and N = `size`, the nearest first: as they
    stand, or else up to a factor."""
    near: dict[bool, list[tuple[float, Definition]]] = {True: [], False: []}
    for advantage, aggregation, found, known in _compared(multipliers, is_loss, prompts, size):
        free = sum(np.vdot(a, b) for a, b in zip(found, known, strict=True)) / sum(np.vdot(b, b) for b in known)
        for factor, exact in ((1.0, True), (float(free), False)):
            off = max(np.abs(a - factor * b).max() / np.abs(a).max() for a, b in zip(found, known, strict=True))
            if off < SAME:
                near[exact].append((off, Definition(advantage, aggregation, factor)))
    return [definition for _, definition in sorted(near[True] or near[False], key=lambda each: each[0])]


def mixed(multipliers: Multipliers, is_loss: bool) -> str:
    """Settings of one definition, such as both ddof, of which each answer has one, and all answers none; else ""."""
    equal: dict[tuple[str, str], dict[str, NDArray[np.bool_]]] = {}
    for advantage, aggregation, found, known in _compared(multipliers, is_loss, 2, 4):
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
            return f"{'; '.join(filter(None, (name, aggregation)))}, {' for some answers and '.join(told)} for others"
    return ""


def _compared(
    multipliers: Multipliers, is_loss: bool, prompts: int, size: int
) -> Iterator[tuple[str, str, list[Floats], list[Floats]]]:
    """Each advantage and aggregation known, what the function gives in three trials, and what they give."""
    rng = np.random.default_rng(0)
    trials = []
    for spread in (1.0, 0.5, 0.01):
        lengths = rng.integers(1, 7, (prompts, size))
        trials.append((spread * rng.random((prompts, size)), lengths, np.arange(6) < lengths[..., None]))
    found = [multipliers(rewards, mask) for rewards, _, mask in trials]
    aggregated = AGGREGATIONS if is_loss else {"": aggregations.sequence_sum}
    for (advantage, A), (aggregation, w) in product(ADVANTAGES.items(), aggregated.items()):
        with suppress(ValueError):  # an advantage that takes larger groups
            yield (
                advantage,
                aggregation,
                found,
                [
                    (advantages.of_batch(A, r, lengths=L.astype(float)) * w(L.astype(float)))[..., None] * mask
                    for r, L, mask in trials
                ],
            )
