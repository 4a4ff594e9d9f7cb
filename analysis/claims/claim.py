"""A claim as the package finds it: the module cNN_name.py with the yaml of the same name beside it."""

import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd
import yaml  # type: ignore[import-untyped]

from ablate.refusal import Refusal
from analysis import claims as package
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["quick", "full"]
STUDIES: dict[str, str] = {"quick": "lecture_quick", "full": "lecture"}


class Module(Protocol):
    """What a claim's module offers."""

    def evidence(self, study: Study) -> pd.DataFrame:
        """What is known, as a tidy frame: computed exactly, or read from the study's runs."""
        ...

    def judge(self, evidence: pd.DataFrame) -> Verdict:
        """What the evidence says: pure, and before the family's correction."""
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
    | equation   | in TeX                                                                                      |
    | hypothesis | what must be so for the claim to hold, in words                                             |
    | estimand   | the number that is judged                                                                   |
    | holds_in   | where it should hold;  fails_in: where it is known or suspected to fail                     |
    | decided_by | exact or sampling                                                                           |
    | power      | smallest_effect, deviation, samples for quick and full, and why (None where exact decides)  |
    | size       | numbers that `evidence` reads, for quick and for full                                       |
    | runs       | command lines of the engine, for quick and for full, as after `python -m ablate -m`         |
    | limits     | what the verdict does not say                                                               |
    """

    id: str
    title: str
    slide: str
    equation: str
    hypothesis: str
    estimand: str
    holds_in: Sequence[str]
    fails_in: Sequence[str]
    decided_by: Literal["exact", "sampling"]
    power: Mapping[str, Any] | None
    size: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Sequence[str]]
    limits: str
    module: Module
    name: str

    def commands(self, scale: Scale) -> list[str]:
        """The engine's command lines, without `python -m ablate -m` and the study."""
        return [" ".join(command.split()) for command in self.runs[scale]]


@cache
def claims() -> tuple[Claim, ...]:
    """Every claim of the package, in the order of its modules' names."""
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__) if re.match(r"c\d\d_", found.name))
    return tuple(_load(name) for name in names)


def chosen(only: str | None) -> tuple[Claim, ...]:
    """The claims named `C4,C7`, or all. Raises Refusal for a name that is none."""
    known = {claim.id: claim for claim in claims()}
    if only is None:
        return tuple(known.values())
    wanted = [word.strip().upper() for word in only.split(",") if word.strip()]
    if unknown := [word for word in wanted if word not in known] or ([only] if not wanted else []):
        raise Refusal(f"--only {unknown[0]}: no such claim; choose from {', '.join(known)}")
    return tuple(claim for claim in known.values() if claim.id in wanted)


def _load(name: str) -> Claim:
    module: Any = importlib.import_module(f"{package.__name__}.{name}")
    raw: Any = yaml.safe_load((files(package) / f"{name}.yaml").read_text())
    return Claim(**raw, module=module, name=name)
