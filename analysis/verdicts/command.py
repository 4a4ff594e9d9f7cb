"""`python -m ablate claims`: run what is missing, evaluate every claim, print the table and write the JSON."""

import ast
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import ablate
from ablate.errors import UserError
from ablate.files import write
from ablate.statistics.formatting import counted

from .. import claims as package
from . import study as disk
from .claim import STUDIES, Claim, Scale, chosen, family_size
from .study import ClaimStudy
from .verdict import Row, Verdict, family, interval, percent

Answer = tuple[Claim, Verdict, pd.DataFrame | None]

FOLDER = ".claims"  # in the study's folder: evidence, and which commands have been run
OTHERS = (
    "page.py",
    "draw.py",
    "command.py",
    "verdict.py",
    "question.py",
    "estimates.py",
    "claim.py",
)  # not these
INTERRUPTED = 130  # the engine's exit code after Ctrl-C
WIDTH = 160  # columns where there is no terminal


def answer(outputs: str, scale: Scale, only: str | None = None, stderr: Console | None = None) -> list[Answer]:
    """The chosen claims with their verdicts, after running what is missing and after Holm's correction over the family.

    Evidence is kept under its sources: what neither code, sizes nor runs have changed is read, not computed again.
    """
    stderr = stderr or Console(stderr=True, highlight=False)
    wanted = chosen(only)
    troubles = _run_missing(outputs, scale, wanted, stderr)
    return _corrected([(claim, *_evaluated(claim, outputs, scale, troubles, stderr)) for claim in wanted])


def known(outputs: str, scale: Scale) -> list[Answer]:
    """The same from the runs on disk alone, for another page; claims without their runs say so."""
    quiet = Console(quiet=True)
    disk.forget()
    return _corrected([(claim, *_evaluated(claim, outputs, scale, {}, quiet)) for claim in chosen(None)])


def _corrected(found: Sequence[Answer]) -> list[Answer]:
    verdicts = family([verdict for _, verdict, _ in found], family_size())
    return [(claim, verdict, evidence) for (claim, _, evidence), verdict in zip(found, verdicts, strict=True)]


def run(
    outputs: str,
    scale: Scale,
    only: str | None = None,
    json_file: str | None = None,
    markdown_file: str | None = None,
    page_file: str | None = None,
    pictures: str | None = None,
    width: str | None = None,
    formats: str = "png,svg",
) -> None:
    """Answer, print the table, write the JSON, the page and the pictures."""
    from ..plots import formats as listed
    from ..plots import made_for

    paper, endings = made_for(width, None, "on"), listed(formats)
    answers = answer(outputs, scale, only)
    verdicts = [verdict for _, verdict, _ in answers]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(table(chosen(only), verdicts))
    console.print(
        f"{counted(len(verdicts), 'claim')}. A number without limits in brackets is exact. The limits are those that "
        f"decided, after Holm's correction over the {family_size()} sampled claims of the lecture."
    )
    contents: dict[str, str] = {}
    if json_file is not None:
        contents[json_file] = to_json(chosen(only), verdicts, scale)
    if markdown_file is not None:
        contents[markdown_file] = to_markdown(chosen(only), verdicts)
    if page_file is not None:
        from ..html_page import render
        from .page import claims_page

        contents[page_file] = render(claims_page(answers, outputs, scale))
    for path, content in contents.items():
        write(Path(path), content.encode())
        console.print(f"written: {escape(path)}", soft_wrap=True)
    if pictures is not None:
        _draw(answers, Path(pictures), paper, endings)
        kinds = " and ".join([", ".join(f".{ending}" for ending in endings), ".csv"])
        console.print(f"written: {escape(pictures)}/<claim>{kinds}", soft_wrap=True)


def _draw(answers: Sequence[Answer], folder: Path, paper: Any, endings: Sequence[str]) -> None:
    """The picture of each claim that has evidence in these formats, and as CSV what it shows."""
    import matplotlib.pyplot as plt

    from ..plots import save, theme

    theme(paper)
    for claim, _, evidence in answers:
        if evidence is not None and len(evidence):
            figure = claim.module.picture(evidence)
            save(figure, folder, claim.id, endings)
            plt.close(figure)


def table(asked: Sequence[Claim], verdicts: Sequence[Verdict]) -> Table:
    """A row a claim: id, the slide's words and ours, the verdict, its effect with limits, its failures."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for title, width in (("", 3), ("the slide says", 44), ("verdict", 12), ("effect [limits]", 40), ("fails", None)):
        result.add_column(title, min_width=width if title != "fails" else None, overflow="fold")
    colours = {"SUPPORTED": "green", "REFUTED": "red", "CONDITIONAL": "yellow", "INCONCLUSIVE": "dim"}
    sentences = [claim.plain_words(verdict) for claim, verdict in zip(asked, verdicts, strict=True)]
    for (name, slide, word, effect, fails), sentence in zip(rows(asked, verdicts), sentences, strict=True):
        words = f"{escape(slide)}\n[dim]{escape(sentence)}[/]"
        result.add_row(name, words, f"[{colours[word]}]{word}[/]", escape(effect), escape(fails))
    return result


def rows(asked: Sequence[Claim], verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, str, str, str]]:
    """id, the slide's words, the verdict, the effect and where, and where it fails or what would decide it."""
    for claim, verdict in zip(asked, verdicts, strict=True):
        head = verdict.headline
        level = f" (limits of {percent(head.level)})" if head and head.level is not None else ""
        effect = f"{interval(head)}: {head.where}{level}" if head else "-"
        fails = "; ".join(f"{row.where} ({interval(row)})" for row in verdict.answered("fails")[:2])
        negligible = "; ".join(f"{row.where} ({interval(row)})" for row in verdict.answered("negligible")[:2])
        undecided = "; ".join(f"{row.where} ({interval(row)})" for row in _open(verdict)[:2])
        parts = [
            fails,
            f"negligible: {negligible}" if negligible else "",
            f"undecided: {undecided}" if undecided else "",
        ]
        parts.append(f"needs about {verdict.needed:,} values a place" if verdict.needed else "")
        yield claim.id, claim.slide, verdict.word, effect, "; ".join(filter(None, parts)) or _nothing(verdict)


def _open(verdict: Verdict) -> list[Row]:
    """The places that keep a claim from being decided, but for the one whose effect is shown."""
    rows = verdict.answered("undecided") if verdict.word == "INCONCLUSIVE" else []
    return [row for row in rows if row.within and row != verdict.headline]


def _nothing(verdict: Verdict) -> str:
    return "-" if verdict.places else verdict.remark


def to_markdown(asked: Sequence[Claim], verdicts: Sequence[Verdict]) -> str:
    """The same as a table of GitHub's Markdown, with the verdict in plain words."""
    lines: list[tuple[str, ...]] = [
        ("claim", "the slide says", "verdict", "in plain words", "effect [limits]: where", "fails"),
        ("---",) * 6,
    ]
    for (name, slide, word, effect, fails), claim, verdict in zip(rows(asked, verdicts), asked, verdicts, strict=True):
        row = (name, slide, word, claim.plain_words(verdict), effect, fails)
        lines.append(tuple(text.replace("|", "\\|").replace("<", "&lt;") for text in row))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_json(asked: Sequence[Claim], verdicts: Sequence[Verdict], scale: Scale) -> str:
    """Deterministic: the same code, sizes and seeds give the same text; it holds no times and no paths."""
    records = [
        {
            "slide": claim.slide,
            "plainly": claim.plain_words(verdict),
            "decided_by": claim.decided_by,
            **verdict.record(),
        }
        for claim, verdict in zip(asked, verdicts, strict=True)
    ]
    return json.dumps({"scale": scale, "study": STUDIES[scale], "claims": records}, indent=1, allow_nan=False) + "\n"


# ------------------------------------------------------------------------------------------------ the engine


def _run_missing(outputs: str, scale: Scale, asked: Iterable[Claim], stderr: Console) -> dict[str, str]:
    """Run the claims' commands that have not ended well; returns what went wrong, by command."""
    kept = _folder(outputs, scale) / "commands.json"
    done: dict[str, list[str]] = _read_json(kept)
    present = set(disk.manifests(outputs, STUDIES[scale]))
    commands = list(dict.fromkeys(command for claim in asked for command in claim.commands(scale)))
    missing = [command for command in commands if not (command in done and present.issuperset(done[command]))]
    troubles: dict[str, str] = {}
    for number, command in enumerate(missing, 1):
        words = engine_words(command, outputs, scale)
        stderr.print(f"\\[{number}/{len(missing)}] python -m ablate {escape(shlex.join(words))}", soft_wrap=True)
        before = present
        exit_code, last = engine(words, stderr)
        present = set(disk.manifests(outputs, STUDIES[scale]))
        if exit_code:
            troubles[command] = last or f"exit code {exit_code}"
            stderr.print(f"  {escape(troubles[command])}", soft_wrap=True)
        else:
            found = present - before or present
            done[command] = sorted(found | (present.intersection(done.get(command, ()))))
            write(kept, json.dumps(done, indent=1, sort_keys=True).encode())
    disk.forget()
    return troubles


def engine(words: Sequence[str], stderr: Console) -> tuple[int, str]:
    """Run the engine; pass on what it says of the time left. Returns its exit code and the last line that it said."""
    command, last = [sys.executable, "-m", "ablate", *words], ""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                last = line.strip() or last
                if last.endswith(" left"):
                    stderr.print(f"  {escape(last)}", soft_wrap=True)
            exit_code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # it was interrupted too, and saves what is under way
            exit_code = INTERRUPTED
    if exit_code == INTERRUPTED:
        raise UserError("interrupted; what is finished is kept, and the same command goes on")
    return exit_code, last


def engine_words(command: str, outputs: str, scale: Scale) -> list[str]:
    """A yaml's command as the engine gets it."""
    return ["-m", f"study.name={STUDIES[scale]}", f"outputs={outputs}", *shlex.split(command)]


# ------------------------------------------------------------------------------------------------ evidence


def _evaluated(
    claim: Claim, outputs: str, scale: Scale, troubles: Mapping[str, str], stderr: Console
) -> tuple[Verdict, pd.DataFrame | None]:
    """The verdict before the family's correction. Where runs are missing: INCONCLUSIVE, saying which and why."""
    wrong = [troubles[command] for command in claim.commands(scale) if command in troubles]
    try:
        evidence = _evidence(claim, outputs, scale, stderr)
    except UserError as error:
        return Verdict(claim.id, remark=f"no data: {wrong[0] if wrong else error}"), None
    verdict, missing = claim.evaluate(evidence), _study(claim, outputs, scale).missing()
    if missing:
        verdict = replace(verdict, remark=f"{missing:,} of its runs are not complete. {verdict.remark}")
    return verdict, evidence


def _study(claim: Claim, outputs: str, scale: Scale) -> ClaimStudy:
    return ClaimStudy(outputs, STUDIES[scale], claim.size[scale], tuple(claim.commands(scale)))


def _evidence(claim: Claim, outputs: str, scale: Scale, stderr: Console) -> pd.DataFrame:
    study = _study(claim, outputs, scale)
    path = _folder(outputs, scale) / f"{claim.id}-{_key(study)}.parquet"
    if path.exists():
        return pd.read_parquet(path)
    stderr.print(f"{claim.id}: {escape(claim.slide)}", soft_wrap=True)
    evidence = claim.module.evidence(study)
    for old in path.parent.glob(f"{claim.id}-*.parquet"):
        old.unlink(missing_ok=True)
    with suppress(UserError):  # what cannot be kept is computed again
        write(path, evidence.to_parquet(index=False))
    return evidence


def _key(study: ClaimStudy) -> str:
    """Of all that the evidence is made of: the code, the sizes, and the runs, where it reads any."""
    digest = hashlib.sha256(repr((study.size, study.commands)).encode())
    for source in _sources():
        digest.update(source)
    for cell, _, seed in study.runs() if study.commands else ():
        digest.update(f"{cell.name} {seed} {cell.manifest(seed)['files']}".encode())
    return digest.hexdigest()[:16]


def _sources() -> list[bytes]:
    """The code that evidence is made by: the claims, and what they import of this project, and what that imports."""
    found: set[Path] = set()
    waiting = list(Path(str(files(package))).glob("*.py"))
    while waiting:
        path = waiting.pop()
        if path not in found and path.name not in OTHERS:
            found.add(path)
            waiting += [file for place in _imported(path) for file in _files_of(place)]
    return [path.read_bytes() for path in sorted(found)]


def _imported(path: Path) -> Iterator[Path]:
    """Where the modules of this project lie, without their ending, that a file of source imports, also inside of
    functions; names within modules among them."""
    root = Path(ablate.__file__).parents[1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (root.joinpath(*x.name.split(".")) for x in node.names if x.name.startswith("ablate."))
        elif isinstance(node, ast.ImportFrom) and (node.level or str(node.module).split(".")[0] == "ablate"):
            place = path.parents[node.level - 1] if node.level else root
            place = place.joinpath(*(node.module or "").split("."))
            yield from (place, *(place / x.name for x in node.names))


def _files_of(place: Path) -> list[Path]:
    """The source of the module or package there, and of the packages that it lies in."""
    packages = [folder / "__init__.py" for folder in (place, *place.parents)]
    return [path for path in (place.with_suffix(".py"), *packages) if path.is_file()]


def _folder(outputs: str, scale: Scale) -> Path:
    return Path(outputs) / STUDIES[scale] / FOLDER


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
