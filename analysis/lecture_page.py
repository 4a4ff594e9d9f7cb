"""The lecture's study on one page, with what lies in its folder beside its runs: published numbers and the homework.

| file in outputs/lecture | made by                                                                           |
|-------------------------|-----------------------------------------------------------------------------------|
| claims.json, figures/   | ablate claims --full --json outputs/lecture/claims.json --pictures .../figures    |
| ledger.json             | ablate ledger --json outputs/lecture/ledger.json                                  |
| homework/STUDY.json     | ablate grading STUDY --json outputs/lecture/homework/STUDY.json                   |

The verdicts are those of the study's runs; in a folder without runs, as in a fresh clone, those that are kept.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import matplotlib.pyplot as plt
import pandas as pd

from ablate.configuration import CONF
from ablate.configuration.help import description
from ablate.errors import UserError
from ablate.statistics.formatting import counted

from . import grading
from .html_page import Block, Code, Details, Drawing, Group, Page, Section, Table, Text, VerdictBlock
from .inline_svg import drawn
from .ledger import command as ledger
from .ledger.entry import Entry
from .verdicts import page as verdicts
from .verdicts.claim import STUDIES, Claim, Scale, claims
from .verdicts.command import known
from .verdicts.verdict import Verdict, from_record

T = TypeVar("T")
TITLE = "The lecture on policy gradients, put to the test"
WHAT = (
    "Slides on policy gradients say which estimators are less noisy and what learns better. Here each of their claims "
    "is put to exact values and to runs over many seeds, and every number has the command that makes it again."
)
MOST = 5  # numbers of one kind that the table of published ones shows


def page(outputs: str, scale: Scale, from_runs: bool) -> Page | None:
    """The verdicts, from the study's runs or as they are kept, and what lies beside them. None where nothing is kept.
    Raises UserError for a file that says something else."""
    folder = Path(outputs) / STUDIES[scale]
    shown = known(outputs, scale) if from_runs else kept(folder)
    if not shown:
        return None
    (table, each), (words, others) = verdicts.sections(shown, outputs, scale), beside(folder)
    head = [WHAT, *verdicts.headline(shown), *words]
    return Page(
        TITLE, head, [table, *others, each], f"python -m ablate report {folder.name}, from the results that are kept"
    )


def kept(folder: Path) -> verdicts.Shown:
    """The claims whose verdicts lie in a folder, and their pictures as they were drawn."""

    def drawn(claim: Claim) -> bytes | None:
        path = folder / "figures" / f"{claim.id}.svg"
        return path.read_bytes() if path.is_file() else None

    found = _read(folder / "claims.json", records) or {}
    return [(claim, found[claim.id], drawn(claim)) for claim in claims() if claim.id in found]


def records(text: str) -> dict[str, Verdict]:
    return {record["claim"]: from_record(record) for record in json.loads(text)["claims"]}


def beside(folder: Path) -> tuple[list[str], list[Section]]:
    """What the files of the ledger and of the homework say in a sentence each, and in a section each."""
    words: list[str] = []
    found: list[Section] = []
    if rows := _read(folder / "ledger.json", ledger.from_json):
        words.append(published_words(rows))
        found.append(published(rows))
    graded = [one for path in sorted((folder / "homework").glob("*.json")) if (one := _read(path, grading.from_json))]
    if graded:
        words.append(homework_words(graded))
        found.append(homework(graded))
    return words, found


def _read(path: Path, parse: Callable[[str], T]) -> T | None:
    """What a file says; None where there is none."""
    if not path.is_file():
        return None
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what --json writes ({error!r:.100}); write it again, or remove it") from error


# ------------------------------------------------------------------------------------------------ published numbers


def published_words(rows: Sequence[ledger.Row]) -> str:
    """How many entries came to which word."""
    counts = {word: sum(entry.verdict(found) == word for entry, found in rows) for word in ledger.SHAPES}
    summary = ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count)
    return (
        "Beside them, numbers that others published or that their definitions give: of "
        f"{counted(len(rows), 'experiment')}, {summary}. Reproduced: ours, with its limits, is no farther from "
        "the published number than the entry says."
    )


def published(rows: Sequence[ledger.Row]) -> Section:
    """A row a number, and folded an entry each."""
    shown = [
        {
            "entry": _words(entry.name),
            "number": name,
            "published": ledger.published(number, MOST),
            "here": ledger.ours(found[name], MOST),
            "verdict": VerdictBlock(number.verdict(found[name])),
        }
        for entry, found in rows
        for name, number in entry.numbers.items()
    ]
    meanings = {
        "published": "± what it was rounded to, or a plot can be read to; > 0 where a source says only which is more",
        "here": "a mean over seeds with limits of 99% for all of an entry together; without brackets it is exact",
        "verdict": "NOT REPRODUCED: the limits exclude all that the published number can be read as; CANNOT TELL: "
        "neither; more runs would decide, or the source leaves a setting open",
    }
    table = Table(pd.DataFrame(shown), "Published numbers, and the same from this package", meanings=meanings)
    return Section("Published numbers", "published", [table, *(_entry(*row) for row in rows)])


def _entry(entry: Entry, found: ledger.Found) -> Details:
    numbers = [
        {
            "number": name,
            "published": ledger.published(number),
            "read from": number.read,
            "here": ledger.ours(found[name]),
            "verdict": VerdictBlock(number.verdict(found[name])),
        }
        for name, number in entry.numbers.items()
    ]
    typed = "\n".join(map(ledger.typed, entry.runs))
    runs: list[Block] = [Text("The runs behind it:"), Code(typed)] if typed else []
    blocks = [
        Text(entry.setting),
        Table(pd.DataFrame(numbers), _words(entry.name)),
        Text(entry.remarks),
        Code(f"python -m ablate ledger --only {entry.name}"),
        *runs,
    ]
    return Details(f"{_words(entry.name)}, {entry.verdict(found).lower()}: {entry.source}", blocks)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


# ------------------------------------------------------------------------------------------------ the homework


def homework_words(graded: Sequence[grading.Graded]) -> str:
    """How many variants pass with every seed, with none, and with some."""
    shares = pd.concat([one.passed for one in graded])["share_once"]
    every, none = int((shares == 1).sum()), int((shares == 0).sum())
    counts = {
        "with every seed": every,
        "with none": none,
        "with some seeds and not with others": len(shares) - every - none,
    }
    summary = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    variants = counted(len(shares), "variant")
    return f"And a course's homework, graded on many seeds: of {variants}, {summary} reach the line that passes."


def homework(graded: Sequence[grading.Graded]) -> Section:
    """What share of seeds passes, a study a group."""
    text = Text(
        "A homework on policy gradients (Berkeley, CS285) has each variant trained with one seed, and passes the best "
        "one if its mean return reaches a line. Here every variant is trained with many seeds: the share of them that "
        "reaches the line in some iteration, and that is at it in the last one. What a command also runs and no table "
        "shows was not measured."
    )
    return Section("The homework, graded on many seeds", "homework", [text, *map(_study, graded)])


def task(study: str) -> str:
    """What is done in a study of the homework, as its yaml says."""
    return description(CONF / "study" / f"{study}.yaml").partition(": python")[0].removeprefix("a homework on ")


def _study(one: grading.Graded) -> Group:
    columns = ["label", "seeds", "pass_line", *grading.SHARES]
    titles = {
        "label": "variant",
        "pass_line": "line",
        "share_once": "at the line once",
        "share_at_end": "in the last iteration",
    }
    intervals = {name: (f"{name}_low", f"{name}_high") for name in ("share_once", "share_at_end")}
    what = task(one.study)
    caption = f"{what}: the share of seeds at the line, with exact 95% limits"
    passed = Table(one.passed[columns], caption, titles, intervals=intervals)
    figure = grading.figure(one.passed, one.ranked)
    plt.close(figure)
    seen = f"The shares of the table as dots with their limits: {what}."
    blocks: list[Block] = [passed, Drawing(drawn(figure, of_variants=False), seen)]
    blocks.append(Code(f"python -m ablate -m study={one.study}\npython -m ablate grading {one.study}"))
    return Group(what, blocks, one.study)
