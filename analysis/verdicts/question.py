"""What a claim asks of a number, and the smallest level at which an estimate answers: `verdict` has the rule."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from ablate.statistics.power import samples_needed

from .estimates import Estimate

EITHER = 0.9  # power on each side of an equivalence test whose power is 80%


@dataclass(frozen=True)
class Question:
    """What is asked of a number, as the yaml of a claim declares it.

    | field           | meaning                                                        |
    |-----------------|----------------------------------------------------------------|
    | estimand        | the number, in words                                           |
    | asks            | more, less or equal                                            |
    | than            | than, or to, what                                              |
    | smallest_effect | the smallest difference from that which matters                |
    | why             | why that is the smallest that matters                          |
    | unit            | of the number                                                  |
    """

    estimand: str
    asks: Literal["more", "less", "equal"]
    than: float
    smallest_effect: float
    why: str
    unit: str = ""

    @property
    def borders(self) -> tuple[float, float]:
        """c - d and c + d."""
        return self.than - self.smallest_effect, self.than + self.smallest_effect

    @property
    def words(self) -> str:
        """'less than 1; within 0.05 of it negligible'."""
        than, effect = f"{self.than:.7g}", f"{self.smallest_effect:.7g}"
        if self.asks == "equal":
            return f"equal to {than} within {effect}"
        return f"{self.asks} than {than}; within {effect} of it negligible"

    def holds(self, estimate: Estimate) -> float:
        """The smallest level at which the answer is yes."""
        if self.asks == "equal":
            return self._between(estimate)
        return estimate.above(self.than) if self.asks == "more" else estimate.below(self.than)

    def fails(self, estimate: Estimate) -> float:
        """The smallest level at which it is no."""
        low, high = self.borders
        if self.asks == "equal":
            return min(estimate.below(low), estimate.above(high))
        return estimate.below(self.than) if self.asks == "more" else estimate.above(self.than)

    def negligible(self, estimate: Estimate) -> float:
        """The smallest level at which the difference is too small to matter."""
        return 1.0 if self.asks == "equal" else self._between(estimate)

    def _between(self, estimate: Estimate) -> float:
        low, high = self.borders
        return max(estimate.above(low), estimate.below(high))

    def needed(self, estimate: Estimate, level: float) -> int | None:
        """How many values decide at this level with 80% power, both where the effect is the smallest that matters and
        where there is none: from the declared effect and the spread of the values, never from the effect observed."""
        spread = estimate.deviation(self.borders[0] if self.asks == "equal" else self.than)
        return int(samples_needed(self.smallest_effect, spread, level, EITHER)) if isfinite(spread) else None


def number(x: float) -> str:
    if abs(x) < 1e-12:  # what rounding leaves of 0
        return "0"
    return f"{x:.3g}" if isfinite(x) else {inf: "unbounded", -inf: "-unbounded"}.get(x, "-")
