"""From numbers to a verdict: pure functions, no reading and no drawing.

A claim is judged place by place (an environment, a step size). A place asks one question: does the effect lie in the
open interval `holds`? Less variance: ratio in (0, 1); learns: improvement in (0, inf); "no difference": difference in
(-m, m), which is an equivalence test (two one-sided ones, Schuirmann 1987). A known number answers at once. An estimate
answers "holds" if its confidence interval lies inside, "fails" if it lies outside, and otherwise nothing: failing to
reject is not support. The p-value of an answer is the smallest alpha at which the interval of level 1 - alpha still
gives it, so that intervals and p-values never disagree; on the border, either answer has chance alpha / 2 (of two
one-sided tests, each at alpha / 2).

    SUPPORTED      holds at every place           CONDITIONAL    holds at some, fails at others
    REFUTED        fails at every place           INCONCLUSIVE   else

All sampled places that decide a claim are one family, corrected by Holm's method (`family`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ablate.noise import holm, student_quantile
from analysis.statistics import samples_to_decide, student_p_value

WORDS = ("SUPPORTED", "REFUTED", "CONDITIONAL", "INCONCLUSIVE")
ALPHA = 0.05
SAID = 4  # places that a sentence names; the page has them all


@dataclass(frozen=True)
class Place:
    """One place's answer.

    | field            | meaning                                                                              |
    |------------------|--------------------------------------------------------------------------------------|
    | where            | the place, in words                                                                  |
    | effect, low, high| the effect and its 95% limits, all three the same where it is known exactly          |
    | answer           | True: the claim holds here; False: it fails; None: undecided                         |
    | p_value          | of that answer (None where exact); corrected for the family once `family` has been   |
    | samples          | how many independent values were averaged                                            |
    | needed           | how many would give an answer with 80% power, if the effect is what it seems         |
    | within           | False for a limit shown beside the claim, outside of what the slide says             |
    """

    where: str
    effect: float
    low: float
    high: float
    answer: bool | None
    p_value: float | None = None
    samples: int | None = None
    needed: int | None = None
    within: bool = True


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim: its places, the first of which is the headline; and a remark for people."""

    claim: str
    unit: str
    places: tuple[Place, ...]
    remark: str = ""

    @property
    def word(self) -> str:
        answers = [place.answer for place in self.places if place.within]
        if True in answers and False in answers:
            return "CONDITIONAL"
        if not answers or None in answers:
            return "INCONCLUSIVE"
        return "SUPPORTED" if answers[0] else "REFUTED"

    @property
    def headline(self) -> Place | None:
        """The place whose effect stands for the claim: the first within it."""
        return next((place for place in self.places if place.within), None)

    @property
    def holds(self) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place.answer is True)

    @property
    def fails(self) -> tuple[Place, ...]:
        """Where it fails: the claim's own places first, then the limits shown beside it."""
        failing = [place for place in self.places if place.answer is False]
        return tuple(sorted(failing, key=lambda place: not place.within))

    @property
    def p_value(self) -> float | None:
        """The largest of the places that decide, since all of them must be right; None where exact values decide."""
        values = [place.p_value for place in self.places if place.within and place.p_value is not None]
        return max(values, default=None)

    @property
    def needed(self) -> int | None:
        """The sample size that would decide, where nothing is decided."""
        if self.word != "INCONCLUSIVE":
            return None
        return max((place.needed for place in self.places if place.answer is None and place.needed), default=None)

    @property
    def sentence(self) -> str:
        parts = [f"{self.word}."]
        for verb, places in (("Holds", self.holds), ("Fails", self.fails)):
            if places:
                parts.append(f"{verb}: {_listed(places, self.unit)}.")
        undecided = [place for place in self.places if place.answer is None]
        if undecided:
            parts.append(f"Undecided: {_listed(undecided, self.unit)}.")
        if self.needed:
            parts.append(f"About {self.needed:,} samples a place would decide it.")
        return " ".join([*parts, self.remark]).strip()

    def record(self) -> dict[str, Any]:
        """All of it in plain types for JSON; infinities and NaN become None, which JSON has."""
        head = self.headline
        return {
            "claim": self.claim,
            "verdict": self.word,
            "unit": self.unit,
            "effect": _plain(head.effect) if head else None,
            "low": _plain(head.low) if head else None,
            "high": _plain(head.high) if head else None,
            "p_value": self.p_value,
            "needed": self.needed,
            "sentence": self.sentence,
            "places": [
                {
                    "where": place.where,
                    "answer": {True: "holds", False: "fails", None: "undecided"}[place.answer],
                    "effect": _plain(place.effect),
                    "low": _plain(place.low),
                    "high": _plain(place.high),
                    "p_value": place.p_value,
                    "samples": place.samples,
                    "needed": place.needed,
                    "within_the_claim": place.within,
                }
                for place in self.places
            ],
        }


def number(x: float) -> str:
    if abs(x) < 1e-12:  # what rounding leaves of 0
        return "0"
    return f"{x:.3g}" if np.isfinite(x) else {inf: "unbounded", -inf: "-unbounded"}.get(x, "-")


def interval(place: Place, unit: str = "") -> str:
    """'0.42 [0.40, 0.44]', or the number alone where it is exact."""
    shown = number(place.effect)
    if place.low != place.high:
        shown += f" [{number(place.low)}, {number(place.high)}]"
    return f"{shown} {unit}".strip()


def _listed(places: Sequence[Place], unit: str) -> str:
    """The first few in words, with their effects."""
    shown = [f"{place.where} ({interval(place, unit)})" for place in places[:SAID]]
    left = len(places) - SAID
    return "; ".join([*shown, f"and {left} more"] if left > 0 else shown)


def _plain(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


# ------------------------------------------------------------------------------------------------ answers


def from_exact(where: str, effect: float, holds: tuple[float, float], *, within: bool = True) -> Place:
    """What a known number says: whether a < effect < b; nothing if it is not a number."""
    a, b = holds
    answer = None if np.isnan(effect) else bool(a < effect < b)
    return Place(where, effect, effect, effect, answer, within=within)


def from_estimate(
    where: str, effect: float, error: float, samples: int, holds: tuple[float, float], *, within: bool = True
) -> Place:
    """What an estimate with a standard error from `samples` independent values says, by Student's t.

    The p-value is that of the nearest finite border of `holds`, two-sided. No answer from fewer than 3 values, or where
    effect or error is not a number.
    """
    if samples < 3 or not np.isfinite([effect, error]).all():
        return Place(where, effect, -inf, inf, None, 1.0, samples, None, within)
    reach = student_quantile(samples - 1) * error
    inside = bool(holds[0] < effect < holds[1])
    distance = min(abs(effect - border) for border in holds)
    p = student_p_value(distance, error, samples - 1)
    return Place(
        where,
        float(effect),
        float(effect - reach),
        float(effect + reach),
        inside if p <= ALPHA else None,
        p,
        samples,
        samples_to_decide(distance, error * sqrt(samples), ALPHA),
        within,
    )


def from_sample(where: str, values: ArrayLike, holds: tuple[float, float], *, within: bool = True) -> Place:
    """`from_estimate` of the mean of independent values (one a seed, say); those that are not finite do not count."""
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 3:
        mean = float(x.mean()) if len(x) else float("nan")
        return from_estimate(where, mean, float("nan"), len(x), holds, within=within)
    return from_estimate(where, float(x.mean()), float(x.std(ddof=1)) / sqrt(len(x)), len(x), holds, within=within)


# ------------------------------------------------------------------------------------------------ the family


def family(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts after Holm's correction over every sampled place that decides one of the claims given.

    Limits shown beside a claim decide nothing and are left as they are. A place whose corrected p-value exceeds 5%
    loses its answer; its needed sample size is for the corrected level.
    """
    raw = [place.p_value for verdict in verdicts for place in verdict.places if _decides(place)]
    if not raw:
        return list(verdicts)
    adjusted = iter(holm(np.array(raw, dtype=np.float64)).tolist())
    stretch = _stretch(len(raw))
    return [
        replace(verdict, places=tuple(_corrected(place, adjusted, stretch) for place in verdict.places))
        for verdict in verdicts
    ]


def _decides(place: Place) -> bool:
    return place.within and place.p_value is not None


def tests(verdicts: Sequence[Verdict]) -> int:
    """How many tests the family has."""
    return sum(_decides(place) for verdict in verdicts for place in verdict.places)


def _corrected(place: Place, adjusted: Iterator[float], stretch: float) -> Place:
    if not _decides(place):
        return place
    p = next(adjusted)
    needed = None if place.needed is None else ceil(place.needed * stretch)
    return replace(place, p_value=p, answer=place.answer if p <= ALPHA else None, needed=needed)


def _stretch(tests: int) -> float:
    """How many more samples a test at level alpha / tests needs than one at alpha."""
    one, many = (samples_to_decide(1e-3, 1.0, alpha) or 1 for alpha in (ALPHA, ALPHA / tests))
    return many / one
