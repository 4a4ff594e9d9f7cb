"""An entry of the ledger: what was published, what is measured here, and what follows from both."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, Protocol

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import ArrayLike
from scipy import stats

from ablate.errors import UserError
from ablate.statistics.seeds import share_limits

from ..verdicts.study import ClaimStudy
from . import entries as package

Word = Literal["REPRODUCED", "NOT REPRODUCED", "CANNOT TELL"]
STUDY = "ledger"
ROUNDING = 1e-8  # of what is computed, not sampled
CONFIDENCE = 0.99  # of all intervals of an entry together


@dataclass(frozen=True)
class Measured:
    """A number of ours with its limits; both are the number where it is exact. NaN where nothing was measured."""

    value: float
    low: float
    high: float


def exactly(values: ArrayLike) -> list[Measured]:
    """Numbers that were computed."""
    return [Measured(float(x), float(x), float(x)) for x in np.ravel(np.asarray(values, dtype=np.float64))]


def mean_of(samples: ArrayLike, of: int) -> list[Measured]:
    """The mean of independent samples with its t interval, at a confidence that `of` such intervals share. Without
    limits where the samples are too few, or all alike, to show their spread."""
    x = np.asarray(samples, dtype=np.float64)
    mean, n = float(x.mean()), len(x)
    if n < 2 or not (deviation := float(x.std(ddof=1))) > 0:
        return [Measured(mean, -np.inf, np.inf)]
    half_width = float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * of), n - 1)) * deviation / n**0.5
    return [Measured(mean, mean - half_width, mean + half_width)]


def share_of(happened: ArrayLike, of: int) -> list[Measured]:
    """The share of samples that are true, with Clopper and Pearson's limits, whose confidence `of` of them share."""
    x = np.asarray(happened, dtype=bool)
    low, high = share_limits(int(x.sum()), len(x), (1 - CONFIDENCE) / of)
    return [Measured(float(x.mean()), low, high)]


class Module(Protocol):
    """What an entry's module offers."""

    def measure(self, study: ClaimStudy) -> Mapping[str, list[Measured]]:
        """Our numbers by the name of the published ones. Raises UserError where runs are missing."""
        ...


@dataclass(frozen=True)
class Number:
    """A published number, or several of one kind.

    | key       | meaning                                                                                  |
    |-----------|------------------------------------------------------------------------------------------|
    | published | the number, or a list                                                                    |
    | asks      | equal (the default), above or below: what ours should be                                 |
    | error     | of the published number: half of its last digit, or what a plot can be read to           |
    | within    | how far ours may be, with its limits, to count as the same; the error, if not given       |
    | read      | how it was read: text, table, plot, closed form                                          |
    """

    published: float | Sequence[float]
    read: str
    error: float = 0.0
    within: float | None = None
    asks: Literal["equal", "above", "below"] = "equal"

    def each(self) -> list[float]:
        return list(map(float, np.ravel(self.published)))

    def verdict(self, found: Sequence[Measured]) -> Word:
        """Of all numbers of the kind: NOT REPRODUCED if one is not, REPRODUCED if all are."""
        if len(found) != len(self.each()):
            raise ValueError(f"{len(found)} numbers for {len(self.each())} published ones")
        return together([self._one(p, x) for p, x in zip(self.each(), found, strict=True)])

    def _one(self, p: float, x: Measured) -> Word:
        error = self.error + ROUNDING * max(1.0, abs(p))
        within = max(error, self.within or 0.0)
        if np.isnan(x.value):
            return "CANNOT TELL"
        if self.asks == "equal":
            apart, inside = x.high < p - error or x.low > p + error, p - within <= x.low and x.high <= p + within
        elif self.asks == "above":
            apart, inside = x.high <= p, x.low > p
        else:
            apart, inside = x.low >= p, x.high < p
        return "NOT REPRODUCED" if apart else "REPRODUCED" if inside else "CANNOT TELL"


def together(words: Sequence[Word]) -> Word:
    """The verdict on an entry by those on its numbers."""
    for word in ("NOT REPRODUCED", "CANNOT TELL"):
        if word in words:
            return word
    return "REPRODUCED"


@dataclass(frozen=True)
class Entry:
    """The yaml of an entry.

    | key     | meaning                                                                          |
    |---------|----------------------------------------------------------------------------------|
    | source  | paper or book, figure or table, page                                             |
    | setting | what was measured there                                                          |
    | numbers | by name: see `Number`                                                            |
    | runs    | command lines of the engine, as after `python -m ablate -m`; none where exact    |
    | remarks | what the source leaves open, and where this setting differs                      |
    """

    name: str
    source: str
    setting: str
    numbers: Mapping[str, Number]
    runs: tuple[str, ...]
    remarks: str

    def measure(self, outputs: str) -> Mapping[str, list[Measured]]:
        module: Module = importlib.import_module(f"{package.__name__}.{self.name}")
        return module.measure(ClaimStudy(outputs, STUDY, {}, self.runs))

    def verdict(self, found: Mapping[str, list[Measured]]) -> Word:
        return together([number.verdict(found[name]) for name, number in self.numbers.items()])


def read(name: str, text: str) -> Entry:
    """The entry of a yaml."""
    raw: dict[str, Any] = yaml.safe_load(text)
    numbers = {kind: Number(**number) for kind, number in raw["numbers"].items()}
    return Entry(name, raw["source"], raw["setting"], numbers, tuple(raw.get("runs", ())), raw["remarks"])


def entries(only: str | None = None) -> list[Entry]:
    """All entries, or those named `a,b`. Raises UserError for a name that is none."""
    paths = sorted(
        (path for path in files(package).iterdir() if path.name.endswith(".yaml")), key=lambda path: path.name
    )
    every = {path.name.removesuffix(".yaml"): path for path in paths}
    names = list(every) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in names if name not in every]:
        raise UserError(f"{unknown[0]!r} is no entry of the ledger; write some of {', '.join(every)}")
    return [read(name, every[name].read_text(encoding="utf-8")) for name in names]
