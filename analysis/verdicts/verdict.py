"""From estimates to a verdict: the rule, in pure functions.

**A question** asks whether a number theta is more than, less than or equal to a value c, and declares the smallest
effect d that matters. From limits l, u at level 1 - a, the answer is

    | asks  | holds             | fails                  | negligible           |
    |-------|-------------------|------------------------|----------------------|
    | more  | c < l             | u < c                  | c - d < l, u < c + d |
    | less  | u < c             | c < l                  | c - d < l, u < c + d |
    | equal | c - d < l, u < c + d | u < c - d or c + d < l | -                 |

negligible before the others, and undecided where none is true: failing to reject is not support. The last column, and
`equal`, are equivalence tests (Schuirmann 1987). A known number is its own limits.

**A place** (an environment, a step size) may ask several questions of which all must be answered by yes. It holds at
level a where every part holds at a (intersection-union: no correction), and speaks against the claim at level a where
one of its J parts fails or is negligible at a / J (Bonferroni).

**A claim** has k places with sampled numbers, and exact ones. At its level a, the first of these that is true:

    REFUTED        every place speaks against it, each at level a        (intersection-union)
    CONDITIONAL    one place holds and another speaks against it, each at level a / k
    SUPPORTED      every place holds, each at level a                    (intersection-union)
    INCONCLUSIVE   else

The p-value of a claim is the smallest a at which it is decided. The limits shown at a place are those that decided: of
level 1 - a under SUPPORTED and REFUTED, of level 1 - a / k otherwise. Places beside the claim (`within` false) decide
nothing; their limits are of 95% each, whatever the claim's own level.

What is guaranteed. A wrong "holds", or a wrong "fails" or "negligible" of `more` or `less`, needs an interval that
misses the truth on one given side: chance a / 2. Where all places hold, a wrong word therefore has chance a / 2
(REFUTED) + k (a / k) / 2 (CONDITIONAL) = a at most; where none does, a / 2 (SUPPORTED) + a / 2; where some do,
a / 2 + a / 2. So the word of a claim is wrong with chance a at most, however its places depend on one another. (`equal`
adds to "fails" the chance of a miss by more than 2 d on the far side, nothing at any sample that could find d.) Between
0 and d "holds" and "negligible" are both true, and neither is an error.

**The family** of a lecture's claims is corrected by Holm's method (1979): the claim of the i-th smallest p-value is
judged at a = 5% / (m - i + 1) if all before it were decided, m the number of sampled claims of the whole family, asked
for or not. Every claim can be wrong in more than one direction; for these, Holm's method is proved to hold the chance
of any wrong word at 5% where the claims are independent (Shaffer 1980; Finner 1999). Claims that share runs are not.
Measured, in 1000 families of 8 claims from 10 values a place: where one place of three is on its border and the others
are clear, the worst case of an intersection, a word is wrong in 2.3%, 1.6% and 0.8% of families whose values are
correlated by 0, 0.5 and 0.95 over all claims; with claims of one place on the border 2.3%, 2.3% and 0.9%. Exact claims
need no correction. All of this is worth what the limits are: Clopper and Pearson's always cover; Student's do where
means of so many values are about normal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, nan
from typing import Any, Literal

import numpy as np

from .estimates import Estimate
from .question import Question, number

Answer = Literal["holds", "fails", "negligible", "undecided"]
AGAINST: frozenset[Answer] = frozenset({"fails", "negligible"})
WORDS = ("SUPPORTED", "REFUTED", "CONDITIONAL", "INCONCLUSIVE")
LEVEL = 0.05
MAX_PLACES_IN_SENTENCE = 4  # places that a sentence names; the page has them all


@dataclass(frozen=True)
class Condition:
    """An environment or setting, and what was found there: an estimate for each question by its name (the first is
    shown as the effect).

    within: False for a limit shown beside the claim, outside of what the slide says.
    """

    where: str
    found: Mapping[str, Estimate]
    within: bool = True


@dataclass(frozen=True)
class ClaimFinding:
    """What a claim's module makes of its evidence: its places, the first of which is the headline, and a remark."""

    places: Sequence[Condition]
    remark: str = ""


@dataclass(frozen=True)
class ConditionResult:
    """A condition with its questions: p-values, answers and limits at any level."""

    condition: Condition
    questions: Mapping[str, Question]

    @cached_property
    def parts(self) -> list[tuple[Question, Estimate]]:
        return [(self.questions[name], estimate) for name, estimate in self.condition.found.items()]

    @property
    def sampled(self) -> int:
        """How many of its numbers come from samples."""
        return sum(estimate.samples is not None for _, estimate in self.parts)

    @cached_property
    def holds(self) -> float:
        """The smallest level at which all parts hold; 1 where it speaks against the claim sooner."""
        all_hold = max(question.holds(estimate) for question, estimate in self.parts)
        return all_hold if all_hold < self.against else 1.0

    @cached_property
    def against(self) -> float:
        """The smallest level at which one part fails or is negligible, corrected for their number."""
        return min(1.0, max(1, self.sampled) * min(_against(*part) for part in self.parts))

    def answer(self, level: float) -> Answer:
        if self.against <= level < 1:
            strict = level / max(1, self.sampled)
            fails = (q.fails(e) <= strict < q.negligible(e) for q, e in self.parts)
            return "fails" if any(fails) else "negligible"
        return "holds" if self.holds <= level < 1 else "undecided"

    def shown(self, answer: Answer) -> int:
        """Which part stands for the place: the first where all hold, else the one that decided or is in the way."""
        if answer == "holds":
            return 0
        values = [-q.holds(e) if answer == "undecided" else _against(q, e) for q, e in self.parts]
        return values.index(min(values))

    def row(self, answer: Answer, level: float) -> "Row":
        """As it is shown with its answer at a level."""
        against = answer in AGAINST
        own = level / max(1, self.sampled) if against else level
        p = self.against if against else self.holds if answer == "holds" else min(self.holds, self.against)
        needed = (asked.needed(found, own) for asked, found in self.parts)
        shown = self.shown(answer)
        others = tuple(self._part(i, *_alone(*part, own), own) for i, part in enumerate(self.parts) if i != shown)
        return replace(
            self._part(shown, answer, p, own), needed=max((n for n in needed if n), default=None), others=others
        )

    def _part(self, part: int, answer: Answer, p: float, level: float) -> "Row":
        question, estimate = self.parts[part]
        low, high = estimate.limits(level)
        known = estimate.samples is None
        named = f"{self.condition.where}: {list(self.condition.found)[part]}"
        return Row(
            where=named if len(self.parts) > 1 else self.condition.where,
            answer=answer,
            effect=estimate.value,
            low=low,
            high=high,
            level=None if known else level,
            p_value=None if known else p,
            samples=estimate.samples,
            needed=None,
            within=self.condition.within,
            unit=question.unit,
            asked=question.words,
        )


def _alone(question: Question, estimate: Estimate, level: float) -> tuple[Answer, float]:
    """The answer of one part at a level, and the smallest level at which it has one."""
    found: list[tuple[Answer, float]] = [
        ("negligible", question.negligible(estimate)),
        ("holds", question.holds(estimate)),
        ("fails", question.fails(estimate)),
    ]
    undecided: tuple[Answer, float] = ("undecided", min(p for _, p in found))
    return next(((answer, p) for answer, p in found if p <= level < 1), undecided)


def _against(question: Question, estimate: Estimate) -> float:
    return min(question.fails(estimate), question.negligible(estimate))


@dataclass(frozen=True)
class Row:
    """A place as it is shown: its answer, the effect and the limits that decided, at `level` (None: exact).

    others: what else was asked there, each part with the answer that it has by itself.
    """

    where: str
    answer: Answer
    effect: float
    low: float
    high: float
    level: float | None
    p_value: float | None
    samples: int | None
    needed: int | None
    within: bool
    unit: str
    asked: str
    others: tuple["Row", ...] = ()

    def record(self) -> dict[str, Any]:
        """In plain types for JSON; `others` where there are any."""
        others = {"others": [other.record() for other in self.others]} if self.others else {}
        return {
            "where": self.where,
            "answer": self.answer,
            "asked": self.asked,
            "unit": self.unit,
            "effect": _plain(self.effect),
            "low": _plain(self.low),
            "high": _plain(self.high),
            "level": self.level,
            "p_value": self.p_value,
            "samples": self.samples,
            "needed": self.needed,
            "within_the_claim": self.within,
        } | others


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim at its level; see the module's text for the rule."""

    claim: str
    questions: Mapping[str, Question] = field(default_factory=dict)
    places: tuple[Condition, ...] = ()
    remark: str = ""
    level: float = LEVEL

    @cached_property
    def _all(self) -> list[ConditionResult]:
        return [ConditionResult(condition, self.questions) for condition in self.places]

    @property
    def _within(self) -> list[ConditionResult]:
        return [one for one in self._all if one.condition.within]

    @cached_property
    def sampled(self) -> int:
        """How many of the places that decide rest on samples."""
        return sum(one.sampled > 0 for one in self._within)

    @cached_property
    def word(self) -> str:
        every = {one.answer(self.level) for one in self._within}
        mixed = {one.answer(self.level / max(1, self.sampled)) for one in self._within}
        if every and every <= AGAINST:
            return "REFUTED"
        if "holds" in mixed and mixed & AGAINST:
            return "CONDITIONAL"
        return "SUPPORTED" if every == {"holds"} else "INCONCLUSIVE"

    @cached_property
    def p_value(self) -> float | None:
        """The smallest level at which it is decided; None where no place rests on samples."""
        if not self.sampled:
            return None
        holds, against = np.array([(one.holds, one.against) for one in self._within]).T
        pairs = np.maximum.outer(holds, against)
        np.fill_diagonal(pairs, inf)
        return float(min(holds.max(), against.max(), self.sampled * pairs.min(), 1.0))

    @property
    def place_level(self) -> float:
        """The level at which a place is judged and its limits are shown."""
        return self.level if self.word in ("SUPPORTED", "REFUTED") else self.level / max(1, self.sampled)

    @cached_property
    def rows(self) -> list[Row]:
        """Its places as they are shown."""
        return [self._row(one) for one in self._all]

    def _row(self, one: ConditionResult) -> Row:
        level = self.place_level if one.condition.within else LEVEL
        return one.row(one.answer(level), level)

    @property
    def headline(self) -> Row | None:
        """The place whose effect stands for the claim: the first within it."""
        return next((row for row in self.rows if row.within), None)

    def answered(self, *answers: Answer) -> list[Row]:
        """The places with one of these answers: the claim's own first, then those beside it."""
        found = [row for row in self.rows if row.answer in answers]
        return sorted(found, key=lambda row: not row.within)

    @property
    def needed(self) -> int | None:
        """The sample size that would decide, where nothing is decided."""
        if self.word != "INCONCLUSIVE":
            return None
        open_ = (row.needed for row in self.rows if row.within and row.answer == "undecided" and row.needed)
        return max(open_, default=None)

    @property
    def sentence(self) -> str:
        parts = [f"{self.word}."]
        for verb, answer in VERBS.items():
            if found := self.answered(answer):
                parts.append(f"{verb}: {_listed(found)}.")
        if self.needed:
            parts.append(f"About {self.needed:,} values a place would decide it.")
        return " ".join([*parts, self.remark]).strip()

    def record(self) -> dict[str, Any]:
        """All of it in plain types for JSON; infinities and NaN become None, which JSON has."""
        rows, head = self.rows, self.headline
        return {
            "claim": self.claim,
            "verdict": self.word,
            "unit": head.unit if head else "",
            "effect": _plain(head.effect) if head else None,
            "low": _plain(head.low) if head else None,
            "high": _plain(head.high) if head else None,
            "p_value": self.p_value,
            "level": self.level if self.sampled else None,
            "needed": self.needed,
            "sentence": self.sentence,
            "places": [row.record() for row in rows],
        }


def from_record(record: Mapping[str, Any]) -> Verdict:
    """The verdict that `Verdict.record` wrote, to be shown and not judged anew: its word and rows are as they were."""

    def row(place: Mapping[str, Any]) -> Row:
        unknown = nan if place["answer"] == "undecided" else inf  # JSON has no infinity: of a crossover that is nowhere
        absent = {"effect": unknown, "low": -inf, "high": inf}
        own: dict[str, Any] = {key: absent[key] if x is None and key in absent else x for key, x in place.items()}
        others = tuple(row(other) for other in own.pop("others", ()))
        return Row(within=own.pop("within_the_claim"), others=others, **own)

    kept = Verdict(record["claim"], level=LEVEL if record["level"] is None else record["level"])
    rows = [row(place) for place in record["places"]]
    sampled = sum(row.within and row.level is not None for row in rows)
    vars(kept).update(word=record["verdict"], rows=rows, p_value=record["p_value"], sampled=sampled)
    vars(kept)["remark"] = record["sentence"].removeprefix(kept.sentence).strip()
    return kept


VERBS: dict[str, Answer] = {
    "Holds": "holds",
    "Fails": "fails",
    "Negligible": "negligible",
    "Undecided": "undecided",
}


def evaluate(claim: str, questions: Mapping[str, Question], finding: ClaimFinding) -> Verdict:
    """The verdict on a finding, before the family's correction. Raises KeyError for a question that is not declared."""
    asked = {name for place in finding.places for name in place.found}
    if unknown := asked - set(questions):
        raise KeyError(f"{claim} answers questions that its yaml does not ask: {sorted(unknown)}")
    return Verdict(claim, questions, tuple(finding.places), finding.remark)


def family(verdicts: Sequence[Verdict], size: int | None = None) -> list[Verdict]:
    """The verdicts at the levels of Holm's method; `size`: how many sampled claims the family has, asked for or not."""
    sampled = [verdict for verdict in verdicts if verdict.p_value is not None]
    m = max(len(sampled), size or 0)
    levels: dict[str, float] = {}
    level, going = LEVEL, True
    for step, verdict in enumerate(sorted(sampled, key=lambda verdict: verdict.p_value or 0.0)):
        if going:
            level = LEVEL / (m - step)
        levels[verdict.claim] = level
        going = going and (verdict.p_value or 0.0) <= level
    return [replace(verdict, level=levels.get(verdict.claim, LEVEL)) for verdict in verdicts]


# ------------------------------------------------------------------------------------------------ in words


def percent(level: float) -> str:
    """'95%' for 0.05, '99.64%' for 0.05 / 14."""
    return f"{100 * (1 - level):.4g}%"


def interval(row: Row) -> str:
    """'0.42 [0.40, 0.44]', or the number alone where it is exact."""
    shown = number(row.effect)
    if row.level is not None:
        shown += f" [{number(row.low)}, {number(row.high)}]"
    return f"{shown} {row.unit}".strip()


def _listed(rows: Sequence[Row]) -> str:
    """The first few in words, with their effects."""
    shown = [f"{row.where} ({interval(row)})" for row in rows[:MAX_PLACES_IN_SENTENCE]]
    left = len(rows) - MAX_PLACES_IN_SENTENCE
    return "; ".join([*shown, f"and {left} more"] if left > 0 else shown)


def _plain(x: float) -> float | None:
    return float(x) if isfinite(x) else None
