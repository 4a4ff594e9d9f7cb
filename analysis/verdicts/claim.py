"""A claim as the package finds it: cNN_name.yaml, with the module cNN_name.py beside it or the class that it names."""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd
import yaml  # type: ignore[import-untyped]

from ablate.errors import UserError
from ablate.statistics.power import samples_needed

from .. import claims as package
from .question import EITHER, Question
from .study import ClaimStudy
from .verdict import LEVEL, ClaimFinding, Verdict, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["quick", "full"]
STUDIES: dict[str, str] = {"quick": "lecture_quick", "full": "lecture"}
UNDECIDED = "These numbers cannot tell yet."


class ClaimModule(Protocol):
    """What a claim's module offers."""

    def evidence(self, study: ClaimStudy) -> pd.DataFrame:
        """What is known, as a tidy frame: computed exactly, or read from the study's runs."""
        ...

    def measure(self, evidence: pd.DataFrame) -> ClaimFinding:
        """The numbers that answer the claim's questions, place by place: pure, and without any judgement."""
        ...

    def picture(self, evidence: pd.DataFrame) -> "Figure":
        """The claim to look at."""
        ...


@dataclass(frozen=True)
class Claim:
    """The yaml of a claim.

    | key        | meaning                                                                                     |
    |------------|---------------------------------------------------------------------------------------------|
    | id         | C4                                                                                          |
    | title      | the slide's title                                                                           |
    | slide      | the claim in the slide's words                                                              |
    | claim      | the same in plain words                                                                     |
    | why        | the reason, in two lines                                                                    |
    | plainly    | one plain sentence for each verdict that it may get: SUPPORTED, REFUTED, CONDITIONAL        |
    | equation   | in TeX                                                                                      |
    | hypothesis | what must be so for the claim to hold, in words                                             |
    | questions  | by name, the primary one first: see `Question`                                              |
    | holds_in   | where it should hold;  fails_in: where it is known or suspected to fail                     |
    | decided_by | exact or sampling                                                                           |
    | power      | deviation of one value, samples for quick and full, and why (None where exact decides)      |
    | size       | numbers that `evidence` reads, for quick and for full                                       |
    | runs       | command lines of the engine, for quick and for full, as after `python -m ablate -m`         |
    | limits     | what the verdict does not say                                                               |
    | answered_by| the class that answers it, and its arguments, where there is no module of the yaml's name    |
    | explorable | a counterexample to play with, one of the templates, where there is one                     |
    """

    id: str
    title: str
    slide: str
    claim: str
    why: str
    plainly: Mapping[str, str]
    equation: str
    hypothesis: str
    questions: Mapping[str, Question]
    holds_in: Sequence[str]
    fails_in: Sequence[str]
    decided_by: Literal["exact", "sampling"]
    power: Mapping[str, Any] | None
    size: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Sequence[str]]
    limits: str
    module: ClaimModule
    name: str
    explorable: str = ""

    def commands(self, scale: Scale) -> list[str]:
        """The engine's command lines, without `python -m ablate -m` and the study."""
        return [" ".join(command.split()) for command in self.runs[scale]]

    def evaluate(self, evidence: pd.DataFrame) -> Verdict:
        """What the evidence says, before the family's correction."""
        return evaluate(self.id, self.questions, self.module.measure(evidence))

    def plain_words(self, verdict: Verdict) -> str:
        """The plain sentence for its verdict."""
        return self.plainly.get(verdict.word, UNDECIDED)

    @property
    def primary(self) -> Question:
        return next(iter(self.questions.values()))

    @property
    def needed(self) -> int | None:
        """How many values a place the declared effect and deviation ask for, at the strictest level of the family."""
        if self.power is None:
            return None
        level = LEVEL / family_size()
        return int(samples_needed(self.primary.smallest_effect, self.power["deviation"], level, EITHER))


@cache
def claims() -> tuple[Claim, ...]:
    """Every claim of the package, in the order of the names of their yamls."""
    found = (re.fullmatch(r"(c\d\d[a-z]?_\w+)\.yaml", path.name) for path in files(package).iterdir())
    return tuple(_load(name) for name in sorted(match[1] for match in found if match))


def family_size() -> int:
    """How many claims rest on samples: the family of Holm's correction, whichever of them are asked for."""
    return sum(claim.decided_by == "sampling" for claim in claims())


def chosen(only: str | None) -> tuple[Claim, ...]:
    """The claims named `C4,C7`, or all. Raises UserError for a name that is none."""
    known = {claim.id.upper(): claim for claim in claims()}
    if only is None:
        return tuple(known.values())
    wanted = [word.strip().upper() for word in only.split(",") if word.strip()]
    if unknown := [word for word in wanted if word not in known] or ([only] if not wanted else []):
        names = ", ".join(claim.id for claim in known.values())
        raise UserError(f"--only {unknown[0]}: no such claim; choose from {names}")
    return tuple(claim for name, claim in known.items() if name in wanted)


def _load(name: str) -> Claim:
    raw: Any = yaml.safe_load((files(package) / f"{name}.yaml").read_text())
    answered_by = raw.pop("answered_by", None)
    if answered_by is None:
        module: Any = importlib.import_module(f"{package.__name__}.{name}")
    else:
        module = resolve_name(answered_by.pop("by"))(**answered_by)
    questions = {key: Question(**asked) for key, asked in raw.pop("questions").items()}
    return Claim(**raw, questions=questions, module=module, name=name)
