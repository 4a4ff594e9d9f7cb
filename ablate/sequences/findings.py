"""What an audit found, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.statistics.formatting import counted


@dataclass(frozen=True)
class Finding:
    """One check: what was found, and whether it is a fault."""

    check: str
    found: str
    fault: bool = False


def summary(findings: Sequence[Finding]) -> str:
    """Which estimator it is, or what it does instead, and what is wrong with it."""
    faults = [finding.check for finding in findings if finding.fault]
    wrong = f"{counted(len(faults), 'fault')}: {', '.join(faults)}" if faults else "no fault found"
    return f"{next(f.found for f in findings if f.check == 'estimator')}; {wrong}"


def as_markdown(name: str, findings: Sequence[Finding]) -> str:
    """The page: a table with a row a check."""
    rows = [f"| {f.check} | {f.found} | {'fault' if f.fault else ''} |" for f in findings]
    return "\n".join(
        [f"# Audit of `{name}`", "", summary(findings) + ".", "", "| check | found | |", "|---|---|---|", *rows, ""]
    )
