"""A page of text, tables and figures as one HTML file that needs nothing else: no network, no font, no other file.

    Page(title, headline, sections)   what is rendered; `render(page)` gives the HTML
    Section(title, id, blocks)        a heading of the table of contents

Blocks, in any order inside a section, `Group`, `Columns` or `Details`:

    Text(text)                        a paragraph
    Note(text)                        a paragraph set apart: what to beware of
    Code(text)                        a command to copy
    Equation(tex)                     mathtext (the LaTeX subset of matplotlib), without dollar signs
    Definitions(items)                term -> meaning
    Table(frame, caption, ...)        a sortable table; cells are numbers, text, `VerdictBlock`s, `Link`s or `Equation`s
    Picture(figure, alternative)      a matplotlib figure as inline SVG
    Drawing(svg, alternative)         an SVG that was drawn before
    Views(pictures)                   by name, one of which is seen at a time; on paper and without scripts the first
    VerdictBlock(word)                a verdict: SUPPORTED, or another of `TONES`
    Group(title, blocks)              a heading below the section's
    Columns(blocks)                   side by side where there is room
    Details(summary, blocks)          folded until it is asked for; on paper as on the screen
    Explorable(name)                  something to play with: the page of that name among the templates, which stands
                                      alone too

All strings are plain text and are escaped; the SVG that this module makes itself is the only markup. The same page
gives the same bytes.
"""

import base64
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ablate.statistics.formatting import number

from . import escaping
from .inline_svg import drawn, inline, typeset
from .plots.readings import readings

TEMPLATES = Path(__file__).parent / "templates"
Format = Callable[[Any], str]
TONES = {"SUPPORTED": "good", "REPRODUCED": "good", "REFUTED": "bad", "NOT REPRODUCED": "bad", "CONDITIONAL": "mixed"}
HYPHENATED = re.compile(r"\b(?=[\w-]{1,24}(?![\w-]))\w+(?:-\w+)+")  # what is longer may have to break


class Block:
    @property
    def kind(self) -> str:
        """Which macro of the template shows it."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Text(Block):
    text: str


@dataclass(frozen=True)
class Note(Block):
    text: str


@dataclass(frozen=True)
class Code(Block):
    text: str


@dataclass(frozen=True)
class Equation(Block):
    tex: str

    def __str__(self) -> str:
        return self.tex


@dataclass(frozen=True)
class Definitions(Block):
    items: Mapping[str, str]


@dataclass(frozen=True)
class VerdictBlock(Block):
    word: str

    @property
    def tone(self) -> str:
        return TONES.get(self.word, "open")

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True)
class Link:
    """Text in a table that leads to a section or group of the page, by its id."""

    text: str
    id: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Picture(Block):
    """A figure; `alternative` says in words what it shows, to those who cannot see it."""

    figure: Figure
    alternative: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.alternative.strip():
            raise ValueError("a picture needs an alternative text")

    @property
    def readings(self) -> str:
        return readings(self.figure)

    @property
    def svg(self) -> bytes:
        return drawn(self.figure)


@dataclass(frozen=True)
class Drawing(Block):
    """A figure of which the SVG is left."""

    svg: bytes
    alternative: str
    caption: str = ""
    kind = "picture"
    readings = "[]"


@dataclass(frozen=True)
class Views(Block):
    pictures: Mapping[str, Picture]


@dataclass(frozen=True)
class Table(Block):
    """A table, a row for each of the frame's; its first column names the row.

    titles:    column -> heading, the column's own name by default
    meanings:  column -> what it means, for a list under the table
    formats:   column -> text of a value, `number` by default
    intervals: column -> the two columns of its limits, shown beside it as [low, high] and not by themselves
    lesser:    columns that a button shows and that are not printed
    printed:   places of the rows that are printed, all where there are none; `excerpt` says on paper which they are
    groups:    by what the rows of a long table can be gathered -> the value of each row
    """

    frame: pd.DataFrame
    caption: str
    titles: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, Format] = field(default_factory=dict)
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lesser: Sequence[str] = ()
    printed: Sequence[int] = ()
    excerpt: str = ""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        limits = {name for pair in self.intervals.values() for name in pair}
        return [name for name in self.frame.columns if name not in limits]

    @property
    def head(self) -> list[tuple[str, str]]:
        """(heading, classes) of each column."""
        return [(self.titles.get(name, name), self._classes(name)) for name in self.columns]

    @property
    def legend(self) -> dict[str, str]:
        return {self.titles.get(name, name): self.meanings[name] for name in self.columns if name in self.meanings}

    @property
    def rows(self) -> Iterator[tuple[bool, str, list[dict[str, Any]]]]:
        """(whether it is printed, the groups that it is in as JSON, its cells) of each row."""
        classes = {name: self._classes(name) for name in self.columns}
        printed = set(self.printed) or range(len(self.frame))
        for place, row in enumerate(self.frame.to_dict("records")):
            own = json.dumps([values[place] for values in self.groups.values()], ensure_ascii=False)
            yield place in printed, own, [self._cell(name, row, classes[name]) for name in self.columns]

    @property
    def groupings(self) -> str:
        return json.dumps(list(self.groups), ensure_ascii=False)

    def _classes(self, name: str) -> str:
        return " ".join(["number"] * self._is_number(name) + ["lesser"] * (name in self.lesser))

    def _is_number(self, name: str) -> bool:
        column = self.frame[name]
        return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)

    def _cell(self, name: str, row: Mapping[Any, Any], classes: str) -> dict[str, Any]:
        value, show = row[name], self.formats.get(name, number)
        limits = [row[limit] for limit in self.intervals.get(name, ())]
        known = any(not pd.isna(limit) and limit != math.inf for limit in limits)
        return {
            "text": value if isinstance(value, Equation) else show(value),
            "interval": f"[{', '.join(show(limit) for limit in limits)}]" if known else "",
            "sort": _sort_key(value) if "number" in classes.split() else str(value),
            "classes": classes,
            "verdict": value if isinstance(value, VerdictBlock) else None,
            "link": value.id if isinstance(value, Link) else None,
        }


def _sort_key(value: Any) -> str:
    """What JavaScript's Number() reads; nothing where there is no value."""
    if pd.isna(value):
        return ""
    return repr(float(value)).replace("inf", "Infinity")


@dataclass(frozen=True)
class Group(Block):
    title: str
    blocks: Sequence[Block]
    id: str = ""


@dataclass(frozen=True)
class Columns(Block):
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Details(Block):
    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Explorable(Block):
    name: str

    def _between(self, start: str, end: str) -> Markup:
        whole = (TEMPLATES / f"{self.name}.html").read_text(encoding="utf-8")
        return Markup(whole.partition(start)[2].partition(end)[0])

    @property
    def style(self) -> Markup:
        return self._between("<style>", "</style>")

    @property
    def content(self) -> Markup:
        return self._between("</h1>", "</main>")

    @property
    def script(self) -> Markup:
        return self._between("<script>", "</script>")


@dataclass(frozen=True)
class Section:
    title: str
    id: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """`headline` says what was found, a string a paragraph; `byline` says in a line of what; `glance` is what is seen
    before anything is read on, and `numbers` the few that matter: value, limits, what it is."""

    title: str
    headline: Sequence[str]
    sections: Sequence[Section]
    byline: str = ""
    glance: Sequence[Block] = ()
    numbers: Sequence[tuple[str, str, str]] = ()


def render(page: Page) -> str:
    """The page as HTML. Raises ValueError where two parts have one id."""
    ids = [section.id for section in page.sections]
    ids += [block.id for section in page.sections for block in section.blocks if isinstance(block, Group) and block.id]
    if len(set(ids)) < len(ids):
        raise ValueError(f"ids of sections and groups must differ: {sorted(ids)}")
    prefixes = (f"s{index}-" for index in itertools.count())

    def svg(block: Picture | Drawing | Equation) -> Markup:
        return Markup(_svg(block, next(prefixes)))

    def in_line(value: Any) -> Any:
        """An equation in a cell of a table is drawn, its middle on that of the row's text."""
        if isinstance(value, Equation):
            return IN_LINE.format(svg(value))
        return escaping.page(value) if type(value) is str else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=in_line,
    )
    environment.filters["svg"] = svg
    environment.filters["unbroken"] = _unbroken
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "figures.js"))
    # Only these scripts may run, and nothing may be fetched, even if an escape were forgotten somewhere.
    explorables = {block.name: block for block in _explorables(page.sections)}.values()
    scripts = [script, *(block.script for block in explorables)]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    return environment.get_template("page.html").render(
        page=page, script=Markup(script), digests=digests, explorables=list(explorables)
    )


def _explorables(parts: Sequence[Any]) -> Iterator[Explorable]:
    for part in parts:
        if isinstance(part, Explorable):
            yield part
        yield from _explorables(getattr(part, "blocks", ()))


def _unbroken(text: str) -> Markup:
    """A title whose short names with a hyphen, such as CartPole-v1, stay in one line."""
    return Markup(HYPHENATED.sub(r'<span class="unbroken">\g<0></span>', str(escape(escaping.page(text)))))


def _svg(block: Picture | Drawing | Equation, prefix: str) -> str:
    """A figure or an equation as an `<svg>` element that follows the colours of the page around it."""
    if isinstance(block, Picture | Drawing):
        return inline(block.svg, prefix, escaping.printable(block.alternative))
    return inline(typeset(block.tex), prefix, escaping.printable(block.tex))


IN_LINE = Markup('<span class="equation">{}</span>')


def equation(tex: str) -> Equation | str:
    """An equation where matplotlib can read it, else the text as it is."""
    try:
        typeset(tex)
    except ValueError:
        return tex
    return Equation(tex)
