"""What the pages of the site say of the code, read from the code as the site is built, as Markdown.

A page asks for a piece by its name, and `filled` writes it in the place of the block:

    ```{generated} settings
    ```
"""

import ast
import importlib
import inspect
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from ablate import commands, store
from ablate.analysis.html_page import Explorable
from ablate.analysis.ledger.command import from_json, section
from ablate.analysis.verdicts.claim import STUDIES, Claim, claims
from ablate.analysis.verdicts.question import number
from ablate.configuration import CONF
from ablate.configuration.help import ORDER, description
from ablate.configuration.ranges import RANGES, range_of
from ablate.configuration.settings import choices, node, settings

ROOT = Path(__file__).parents[1]
LECTURE = ROOT / "outputs" / STUDIES["full"]
WIDTH = 88
BLOCK = re.compile(r"^```\{generated\} ([\w.-]+)\n```$", re.MULTILINE)
MODULES = (
    "ablate",
    "ablate.phi",
    "ablate.baselines",
    "ablate.critics",
    "ablate.policies",
    "ablate.optimizers",
    "ablate.estimator",
    "ablate.gradients",
    "ablate.discounted_sums",
    "ablate.mdp",
    "ablate.envs.base",
    "ablate.learners.base",
    "ablate.study",
    "ablate.exact",
    "ablate.exact.estimators",
    "ablate.exact.batch_covariance",
    "ablate.exact.groups",
    "ablate.lqg",
    "ablate.probes.module",
    "ablate.sequences",
    "ablate.sequences.advantages",
    "ablate.sequences.aggregations",
    "ablate.sequences.exact",
    "ablate.sequences.problem",
    "ablate.sequences.kl",
    "ablate.statistics.noise",
    "ablate.statistics.resampling",
    "ablate.statistics.bias",
    "ablate.statistics.seeds",
    "ablate.statistics.sequential",
    "ablate.store",
    "ablate.analysis.frames",
    "ablate.analysis.tables",
    "ablate.analysis.plots",
)


def filled(text: str) -> str:
    """A page with its `{generated}` blocks written out."""
    return BLOCK.sub(lambda match: generate(match[1]), text)


def generate(name: str) -> str:
    """One piece. `settings.phi` is the piece `settings` of `phi`."""
    piece, _, argument = name.partition(".")
    return PIECES[piece](argument) if argument else PIECES[piece]()


# Settings


def comments(path: Path) -> dict[str, str]:
    """The remark behind each setting of a yaml: `lr` of conf/optimizer/adam.yaml, `env.slip` of conf/env/chain.yaml."""
    found, parent = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"( *)(\w+):([^#]*)(?:# (.*))?$", line)
        if match and not match[1]:
            parent = match[2] if not match[3].strip() else ""
        if match and match[4]:
            found[f"{parent}.{match[2]}" if match[1] and parent else match[2]] = match[4]
    return found


@cache
def meaning(name: str) -> str:
    """What a setting means: the remark behind it in conf/, in whichever choice of its group has one."""
    group, _, key = name.rpartition(".")
    folder = CONF / group
    if not group or not folder.is_dir():
        return comments(CONF / "config.yaml").get(name, "")
    remarks = (comments(path) for path in sorted(folder.glob("*.yaml")))
    return next((found for each in remarks if (found := each.get(key) or each.get(name))), "")


def general_settings() -> str:
    """The settings that belong to no choice."""
    config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    config["study"] = node("study", "main")
    rows = []
    for name, owners in settings().items():
        value: Any = config
        for key in () if owners else name.split("."):
            value = value[key]
        rows += [] if owners or isinstance(value, dict) else [row(name, value, meaning(name))]
    return table(("setting and default", "meaning"), rows)


def about(group: str, choice: str) -> dict[str, Any]:
    """What a yaml says of its choice."""
    return yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")).get("about", {})


def row(name: str, default: object, text: str, ranges: dict[str, Any] | None = None) -> tuple[str, str]:
    """A setting as one types its default, what it means and what it may be."""
    key = name.rpartition(".")[2]
    allowed = RANGES[name][1] if name in RANGES else range_of(ranges[key])[1] if ranges and key in ranges else ""
    return f"`{name}={written(default)}`", escaped(text) + (f"; *{allowed}*" if allowed and allowed not in text else "")


def written(value: object) -> str:
    """A default as one types it."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return re.sub(r"[\s\"]", "", json.dumps(value)) if isinstance(value, list | dict) else str(value)


def settings_of(group: str) -> str:
    """The choices of a group, each with its settings."""
    parts = []
    for choice in choices(group):
        path = CONF / group / f"{choice}.yaml"
        parts.append(f"`{group}={choice}`\n: {sentence(description(path))}\n")
        remarks = comments(path)
        rows = []
        for name, default in node(group, choice).items():
            setting = f"{group}.{name}"
            if choice in settings().get(setting, ()) and not (isinstance(default, dict) and "_target_" in default):
                remark = remarks.get(name) or remarks.get(setting) or meaning(setting)
                rows.append(row(setting, default, remark, about(group, choice).get("ranges")))
        if rows:
            parts.append(table(("setting and default", "meaning"), rows) + "\n")
    return "\n".join(parts)


def built() -> list[str]:
    """What a yaml builds an object of, which is no value to type."""
    return [
        name
        for name, owners in settings().items()
        for value in [node(name.partition(".")[0], owner).get(name.partition(".")[2]) for owner in owners[:1]]
        if isinstance(value, dict) and "_target_" in value
    ]


def groups() -> str:
    """Every group of conf/, with its choices and their settings."""
    found = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    ordered = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return "\n".join(f"## {group}\n\n{settings_of(group)}" for group in ordered)


# Columns


def layout() -> str:
    """The files of a study, as the store says it."""
    return literal(inspect.getdoc(store.layout) or "")


def columns(name: str) -> str:
    """The columns of curves.parquet or of probe.parquet."""
    documented = {"curves": store.CURVES, "probe": store.PROBE}[name]
    return table(("column", "meaning"), ((f"`{column}`", escaped(text)) for column, text in documented.items()))


def algorithm_columns() -> str:
    """What each algorithm adds to curves.parquet, or means by a column, as its yaml says."""
    rows = []
    for choice in choices("algorithm"):
        for column, text in about("algorithm", choice).get("columns", {}).items():
            rows.append((f"`{choice}`", f"`{column}`", escaped(text)))
    return table(("`algorithm=`", "column", "meaning"), rows)


def table_columns() -> str:
    """The columns of the tables of a study."""
    from ablate.analysis.columns import MEANINGS

    return table(("column", "meaning"), ((f"`{name}`", escaped(text)) for name, text in MEANINGS.items()))


# The command line


def help_of(main: Callable[[list[str]], object], *words: str) -> str:
    """What a command prints for --help."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return f"```text\n{printed.getvalue().strip()}\n```"


def command_line() -> str:
    """The help of every command but the figures, whose options are those of `figures`."""
    from ablate.analysis.figures import HELP
    from ablate.configuration import help

    parts = ["## python -m ablate", f"```text\n{help.text(CONF).strip()}\n```"]
    for name in sorted(set(commands.names()) - set(HELP)):
        parts += [f"## ablate {name}", help_of(lambda words, name=name: commands.run(name, words))]
    figures = table(("figure", "what it shows"), ((f"`ablate {name}`", text) for name, text in HELP.items()))
    return "\n\n".join([*parts, "## The figures by their names", figures])


# Python


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module lends: those of __all__, or else its own."""
    names = getattr(module, "__all__", None)
    for name in names if names is not None else vars(module):
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if names is not None or value.__module__ == module.__name__:
            yield name, value


def python(name: str) -> str:
    """A module: what it says of itself, and each of its functions and classes."""
    module = importlib.import_module(name)
    parts = [f"## {name}", prose(inspect.getdoc(module) or "")]
    for own, value in public(module):
        parts += [f"### {name}.{own}", f"```python\n{signature(own, value)}\n```", prose(own_doc(value))]
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            function = function.fget if isinstance(function, property) else getattr(function, "__func__", function)
            if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                parts.append(f"```python\n{signature(f'{own}.{method}', function)}\n```")
                parts.append(prose(inspect.getdoc(function) or ""))
    return "\n\n".join(part for part in parts if part)


def prose(text: str) -> str:
    """A docstring as Markdown: tables and lists as they are, indented lines as they stand, the rest as text."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if not paragraph.strip():
            continue
        if all(line.startswith("    ") for line in lines):
            parts.append(literal(inspect.cleandoc("\n" + paragraph)))
        elif all(line.lstrip().startswith("|") for line in lines):
            heads, rows = cells(lines[0]), [cells(line) for line in lines[2:]]
            parts.append(table(tuple(map(spans, heads)), ([*map(spans, row)] for row in rows)))
        elif any(line.startswith("    ") for line in lines):
            parts.append(literal(paragraph))
        else:
            parts.append("\n".join(spans(line) if line[:2] != "* " else f"* {spans(line[2:])}" for line in lines))
    return "\n\n".join(parts)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\|) \| |^\||\|$", line.strip())[1:-1]]


def spans(line: str) -> str:
    """A line whose `code` stays code and whose other signs are no Markdown."""
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(part if k % 2 else escaped(part, keep_spaces=True) for k, part in enumerate(parts))


def own_doc(value: Any) -> str:
    """The docstring, but not what dataclasses, protocols and enumerations write by themselves."""
    text = inspect.getdoc(value) if value.__doc__ and "__doc__" in dir(value) else ""
    made = inspect.isclass(value) and (value.__doc__ or "").startswith(f"{value.__name__}(")
    return "" if made or not text else text


def signature(name: str, value: Any) -> str:
    """`def name(...)` or `class Name(...)`, with types as short as in the sources, in lines that fit."""
    try:
        found = str(inspect.signature(value))
    except (ValueError, TypeError):
        found = "(...)"
    found = re.sub(r"<(?:function|class) '?([\w.]+)'?[^>]*>", r"\1", found)
    found = re.sub(r"(?:[a-z_]+[.])+(?=[A-Za-z_])", "", found)
    found = re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"array[\1]", found)
    line = f"{'class' if inspect.isclass(value) else 'def'} {name}{found}"
    if len(line) <= WIDTH:
        return line
    head, _, rest = line.partition("(")
    inside, _, end = rest.rpartition(")")
    return f"{head}(\n    " + ",\n    ".join(apart(inside)) + f",\n){end}"


def apart(parameters: str) -> Iterator[str]:
    """Parameters, cut at the commas that are in no bracket."""
    depth, start = 0, 0
    for k, sign in enumerate(parameters):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            yield parameters[start:k].strip()
            start = k + 1
    yield parameters[start:].strip()


def literal(text: str) -> str:
    return f"```text\n{text}\n```" if text else ""


def api() -> str:
    return "\n\n".join(python(name) for name in MODULES)


def signals() -> str:
    """The fields of `ablate.phi.Signals`."""
    from ablate.phi import Signals

    rows = re.findall(r"^ *\| *(\w+) *\| *(.+?) *\|$", Signals.__doc__ or "", re.MULTILINE)
    return table(("field", "meaning"), ((f"`{name}`", f"{text}") for name, text in rows if name != "field"))


def tree() -> str:
    """The rooms of the two packages, each with the first sentence that it says of itself."""
    lines = []
    for package in ("ablate", "analysis"):
        lines.append(f"{package}/")
        for path in sorted((ROOT / package).iterdir()):
            source = path / "__init__.py" if path.is_dir() else path
            if source.suffix == ".py" and source.is_file() and path.name != "__init__.py":
                text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
                first = re.split(r"(?<=[.])\s|\n\n", text.strip() + " ")[0]
                name = f"{path.name}/" if path.is_dir() else path.name
                lines.append(f"  {name:<22}  {' '.join(first.split()).rstrip('.:')}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```"


# Claims


def answers() -> dict[str, dict[str, Any]]:
    """The verdicts that are kept, by claim."""
    kept = json.loads((LECTURE / "claims.json").read_text(encoding="utf-8"))
    return {record["claim"]: record for record in kept["claims"]}


def verdicts() -> str:
    """Every claim with its word."""
    known = answers()
    rows = []
    for claim in claims():
        word = known[claim.id]["verdict"] if claim.id in known else "not in the kept results"
        rows.append((f"[{claim.id}](#{claim.id.lower()})", claim.slide, word))
    return table(("claim", "the slide says", "verdict"), rows)


def ledger() -> str:
    """Published numbers beside those kept of ours, an entry a section."""
    kept = (LECTURE / "ledger.json").read_text(encoding="utf-8")
    return "\n\n".join(section(entry, found) for entry, found in from_json(kept))


def all_claims() -> str:
    return "\n\n".join(one_claim(claim, answers().get(claim.id)) for claim in claims())


def one_claim(claim: Claim, answer: dict[str, Any] | None) -> str:
    """A claim: equation, verdict, places, picture, command."""
    parts = [f"({claim.id.lower()})=\n## {claim.id}. {claim.slide}", f"Slide: {claim.title}."]
    parts += [f"$$\n{claim.equation}\n$$", sentence(escaped(claim.hypothesis))]
    for name, question in claim.questions.items():
        parts.append(f"*{name.capitalize()}*: {escaped(question.estimand.rstrip('.'))}. Asked: is it {question.words}?")
    if answer:
        parts.append(f"**{answer['verdict']}.** {escaped(answer['plainly'])}")
        parts.append(table(("place", "answer", "effect", "unit"), map(place, answer["places"])))
    else:
        parts.append("Not in the kept results: its runs are made again. The command below judges it.")
    picture = LECTURE / "figures" / f"{claim.id}.png"
    if picture.is_file():
        parts.append(f"![Picture for {claim.id}: {claim.slide}](../{picture.relative_to(ROOT)})")
    parts.append(f"Limits: {sentence(escaped(claim.limits))}")
    parts.append(f"```console\n$ ablate claims --full --only {claim.id}\n```")
    return "\n\n".join(parts)


def place(found: dict[str, Any]) -> tuple[str, str, str, str]:
    """A place as a row; what counts for nothing in the verdict says so."""
    effect = "" if found["effect"] is None else number(found["effect"])
    if found["level"] is not None and found["low"] is not None and found["high"] is not None:
        effect += f" [{number(found['low'])}, {number(found['high'])}]"
    where = found["where"] if found["within_the_claim"] else f"{found['where']} (beside the claim)"
    return escaped(where), found["answer"], effect, escaped(found["unit"])


# Words


def sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "?", ")")) else f"{text}."


def escaped(text: str, keep_spaces: bool = False) -> str:
    """Text that Markdown takes as it stands."""
    return re.sub(r"([\\`*_$<|\[\]{}^#~])", r"\\\1", text if keep_spaces else " ".join(text.split()))


def table(heads: tuple[str, ...], rows: Any) -> str:
    """A Markdown table; a bar inside code is written so that it is no border."""

    def line(cells: Any) -> str:
        return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", str(cell)) for cell in cells) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def explorable(name: str) -> str:
    """What is played with on the page of claims, with the same script."""
    block = Explorable(name)
    return f"```{{raw}} html\n<style>{block.style}</style>\n{block.content}\n<script>{block.script}</script>\n```"


PIECES: dict[str, Callable[..., str]] = {
    "general-settings": general_settings,
    "groups": groups,
    "choices": settings_of,
    "layout": layout,
    "columns": columns,
    "algorithm-columns": algorithm_columns,
    "tree": tree,
    "table-columns": table_columns,
    "command-line": command_line,
    "api": api,
    "signals": signals,
    "verdicts": verdicts,
    "claims": all_claims,
    "explorable": explorable,
    "ledger": ledger,
}
