"""What is typed reaches the terminal as text."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from ablate.runs.progress import ProgressReporter, plain


@given(st.text() | st.sampled_from(["\x1b[31mred", "[red]a[/]", "\u202edlrow", "a\0b", "\x9b31m", "\\\\"]))
def test_no_text_is_markup_or_an_order_to_the_terminal(text: str) -> None:
    shown = Text.from_markup(plain(text))
    assert shown.plain.isprintable()
    assert not shown.spans
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    assert shown.plain.split() == words


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize(
    ("name", "jobs"), [("phi=rtg", 1), ("phi=rtg " + "optimizer.lr=0.001 " * 12, 1), ("30 jobs", 30)]
)
def test_the_live_line_is_one_line_with_whole_numbers(width: int, name: str, jobs: int) -> None:
    reporter = ProgressReporter(True)
    file = io.StringIO()
    reporter.console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False)
    with reporter.sweep(name, jobs, 1000, 100) as line:
        line.update(0, 100, 0, float("nan"))
        line.update(7, 550, 1_000_000, 123.456)
    last = [part for part in file.getvalue().replace("\r", "\n").splitlines() if "%" in part][-1]
    said = Text.from_ansi(last).plain
    assert "nan" not in file.getvalue()
    assert len(said.rstrip()) <= width
    assert said.startswith(("phi=", "7 of 30 jobs done"))
    assert "55%" in said
    assert "0:00 left" in said
    assert ("123.5" in said) == (jobs == 1)


def test_lines_of_a_log_have_no_nan() -> None:
    reporter = ProgressReporter(False)
    reporter.console = Console(file=io.StringIO(), width=80)
    with reporter.sweep("phi=td", 1, 10, 0) as line:
        line.update(0, 10, 100, float("nan"))
    first, last = reporter.console.file.getvalue().splitlines()
    assert first == "phi=td: training"
    assert last.startswith("phi=td: 100%, ")
    assert "nan" not in last
