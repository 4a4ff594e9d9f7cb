"""`ablate ledger`: published numbers beside ours, each with limits and a verdict."""

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.errors import UserError
from ablate.files import write

from ..verdicts import study
from ..verdicts.command import engine
from .entry import STUDY, Entry, Measured, Number, Word, entries

Found = Mapping[str, list[Measured]]
Row = tuple[Entry, Found]
SHAPES: dict[Word, str] = {"REPRODUCED": "=", "NOT REPRODUCED": "!", "CANNOT TELL": "?"}


def run(outputs: str, only: str | None, json_file: str | None, markdown_file: str | None) -> None:
    """Run what is missing, compare, print, and write what is asked for. Runs that are there are not run again."""
    stderr = Console(stderr=True, highlight=False)
    rows = [(entry, _measured(entry, outputs, stderr)) for entry in entries(only)]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table(rows))
    counts = [(word, sum(entry.verdict(found) == word for entry, found in rows)) for word in SHAPES]
    console.print(", ".join(f"{count} {word}" for word, count in counts if count))
    for path, text in ((json_file, as_json(rows)), (markdown_file, as_markdown(rows))):
        if path is not None:
            write(Path(path), text)
            console.print(f"written: {escape(path)}", soft_wrap=True)


def _measured(entry: Entry, outputs: str, stderr: Console) -> Found:
    for number, command in enumerate(entry.runs, 1):
        line = f"{entry.name}, {number} of {len(entry.runs)}: {typed(command)}"
        stderr.print(escape(line), soft_wrap=True)
        code, last = engine(["-m", f"study.name={STUDY}", f"outputs={outputs}", *shlex.split(command)], stderr)
        if code:
            raise UserError(f"{entry.name}: its runs did not end well: {last}")
    study.forget()
    return entry.measure(outputs)


def typed(command: str) -> str:
    """An entry's run as one types it."""
    return f"python -m ablate -m {' '.join(command.split())}"


def table(rows: Sequence[Row]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("entry", "number", "published", "here", "verdict"):
        shown.add_column(name, overflow="fold")
    for entry, found in rows:
        for place, (name, number) in enumerate(entry.numbers.items()):
            word = number.verdict(found[name])
            cells = entry.name if not place else "", name, published(number), ours(found[name])
            shown.add_row(*map(escape, cells), f"{SHAPES[word]} {word}")
    return shown


def as_json(rows: Sequence[Row]) -> str:
    """Every number with its limits; what has none is null."""

    def finite(x: float) -> float | None:
        return x if math.isfinite(x) else None

    return json.dumps(
        [
            {
                "entry": entry.name,
                "source": entry.source,
                "verdict": entry.verdict(found),
                "numbers": {
                    name: {
                        "published": number.each(),
                        "asks": number.asks,
                        "verdict": number.verdict(found[name]),
                        "here": [[finite(x.value), finite(x.low), finite(x.high)] for x in found[name]],
                    }
                    for name, number in entry.numbers.items()
                },
            }
            for entry, found in rows
        ],
        indent=1,
    )


def from_json(text: str) -> list[Row]:
    """What `as_json` wrote, beside the entries as they are now. Raises KeyError where one is not in it."""

    def measured(value: float | None, low: float | None, high: float | None) -> Measured:
        given = (math.nan if value is None else value, -math.inf if low is None else low)
        return Measured(*given, math.inf if high is None else high)

    kept = {record["entry"]: record["numbers"] for record in json.loads(text)}
    return [
        (entry, {name: [measured(*x) for x in kept[entry.name][name]["here"]] for name in entry.numbers})
        for entry in entries()
    ]


def as_markdown(rows: Sequence[Row]) -> str:
    """A section an entry: source, setting, the table, remarks, the command."""
    return "\n\n".join(section(entry, found) for entry, found in rows) + "\n"


def section(entry: Entry, found: Found) -> str:
    lines = [f"## {entry.name.replace('_', ' ').capitalize()}: {entry.verdict(found).lower()}", "", entry.source + "."]
    lines += ["", entry.setting, "", "| number | published | read from | here | verdict |", "|---|---|---|---|---|"]
    for name, number in entry.numbers.items():
        cells = name, published(number), number.read, ours(found[name]), number.verdict(found[name]).lower()
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", entry.remarks, "", f"```console\n$ ablate ledger --only {entry.name}\n```"]
    return "\n".join(lines)


def published(number: Number, most: int | None = None) -> str:
    """The number, or several, of which the first ``most`` are shown."""
    sign = {"equal": "", "above": "> ", "below": "< "}[number.asks]
    error = f" ± {number.error:g}" if number.error else ""
    return sign + _several([f"{p:.6g}" for p in number.each()], most) + error


def ours(found: Sequence[Measured], most: int | None = None) -> str:
    """The same of what was measured."""
    return _several([one(x) for x in found], most)


def one(x: Measured) -> str:
    if x.low == x.high:
        return f"{x.value:.6g}"
    limits = f"{x.low:.4g}, {x.high:.4g}" if math.isfinite(x.low) else "no limits"
    return f"{x.value:.4g} [{limits}]"


def _several(texts: Sequence[str], most: int | None) -> str:
    left = len(texts) - most if most else 0
    return ", ".join([*texts[:most], f"and {left} more"] if left > 0 else texts)
