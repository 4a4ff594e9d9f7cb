"""No label is a formula, a link, markup, or an order to a terminal; numbers stay numbers."""

import csv
import io
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from ablate.analysis import escaping, tables
from ablate.analysis.html_page import Code, Page, Section, render
from ablate.analysis.html_page import Text as Paragraph
from ablate.analysis.reproduction import how_to_run
from ablate.configuration.arguments import arranged
from ablate.configuration.overrides import parsed

HOSTILE = "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", '=HYPERLINK("http://x")'
HOSTILE += "[a](http://x)", "https://x.org", "www.x.org", "a@x.org", "<b>", "`a`", "a|b", "**a**", "$a$"
HOSTILE += "\x1b[31mred", "\x9b31m", "\u202edlrow", "a\0b", "[red]a[/]", "\\\\", "a\nb"


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_cell_of_csv_is_no_formula(text: str) -> None:
    cell = escaping.csv(text)
    plain = escaping.printable(text).replace("\n", " ")
    if escaping._is_number(plain):
        assert float(cell) == float(plain) or plain.strip().lower().lstrip("+-") == "nan"
    else:
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
        assert cell in (plain, f"'{plain}")


@pytest.mark.parametrize("number", [-1.5, 0, 1e-300, float("inf"), True])
def test_a_number_stays_a_number(number: float) -> None:
    assert escaping.csv(number) is number
    assert escaping.csv(str(-1.5)) == "-1.5"


def test_a_whole_table_of_hostile_labels(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": HOSTILE, "final_return": [-1.25] * len(HOSTILE)}, index=[*HOSTILE])
    tables.save(frame.rename_axis("cell"), tmp_path, "table")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [float(row["final_return"]) for row in rows] == [-1.25] * len(HOSTILE)
    assert not any(
        row[name].lstrip().startswith(("=", "+", "-", "@", "＝")) for row in rows for name in ("cell", "label")
    )
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == len(HOSTILE) + 2
    assert "](" not in "".join(lines)
    assert "<b>" not in "".join(lines)
    assert not any(
        sign in (tmp_path / f"table.{end}").read_text() for sign in "\x1b\x9b\0\u202e" for end in ("csv", "md", "tex")
    )


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_terminal_gets_text_and_nothing_else(text: str) -> None:
    shown = Text.from_markup(escaping.terminal(text))
    assert shown.plain == escaping.printable(text)
    assert not shown.spans
    assert all(sign.isprintable() or sign in "\n\u00a0" for sign in shown.plain)


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_page_is_well_formed_whatever_it_says(text: str) -> None:
    html = render(Page(text, [text], [Section(text, "a", [Paragraph(text), Code(text)])], text))
    body = html[html.index("<main") : html.index("</main>") + 7]
    ET.fromstring(body.replace("<br>", "<br/>"))


NAMES = (
    "plain",
    "é",
    "a, b",
    "(1)",
    "a=b",
    "it's",
    "a&b",
    "#1",
    "a b",
    '"',
    "$HOME",
    "日",
    "1e3",
    "true",
    "*",
    "a;b",
    "~",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_cell_can_be_pasted_into_a_shell(tmp_path: Path, name: str) -> None:
    """A shell hands over the words, and Hydra reads of them what was meant."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    words = "env=bandit", 'env.path="é.json"'
    told = how_to_run({}, words, [0, 1, 4], "pilot 2", f"/tmp/{name}/x")
    path = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", told], env=path, capture_output=True, text=True, check=True)
    typed = arranged(done.stdout.rstrip("\0").split("\0")[2:])
    meant = {read.key_or_group: read.value() for word in typed if (read := parsed(word))}
    assert meant["outputs"] == f"/tmp/{name}/x"
    assert (meant["study.name"], meant["seed"], meant["env.path"]) == ("pilot 2", "0-1,4", "é.json")
