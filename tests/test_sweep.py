"""The table at the end of a sweep and its exit code, on stores made by hand."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from ablate.configuration.overrides import ranges
from ablate.runs.run import Summary
from ablate.runs.sweep import conclude, ending, merge, solving, table
from ablate.store import Cell

MANIFEST = {"iterations": 20, "env_steps": 2000, "wall_time_s": 1.0, "started": "2026-01-01T00:00:00+00:00"}
CONFIG = {"threshold": 2.5, "phi": {"name": "rtg"}, "baseline": {"name": "none"}, "probe": {"name": "online"}}


def curve(returns: list[float] | np.ndarray) -> pd.DataFrame:
    n = len(returns)
    return pd.DataFrame({"iteration": range(1, n + 1), "env_steps": np.arange(1, n + 1) * 100, "return_mean": returns})


def probe(level: float) -> list[dict]:
    """Rows of the cell's own estimator, out of order, and of another one."""
    rows = [("rtg", 20, 7.0, 1 - level), ("return", 0, 100.0, 100.0), ("rtg", 0, 10 * level, level)]
    names = "phi", "iteration", "trace_variance", "snr"
    rest = {"baseline": "none", "critic": "none", "mode": "online"}
    return [dict(zip(names, row, strict=True)) | limits(row[-1]) | rest for row in rows]


def limits(snr: float) -> dict[str, float]:
    return {"snr_low": snr - 0.5, "snr_high": snr + 0.5}


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """A cell with two complete seeds, of constant return 1 and 3."""
    cell = Cell.at(tmp_path / "outputs", "pilot", ["phi=rtg"], CONFIG)
    cell.prepare()
    for seed, level in [(0, 1.0), (1, 3.0)]:
        cell.finish(seed, curve([level] * 20).to_dict("list"), probe(level), MANIFEST)
    outputs = str(tmp_path / "outputs")
    return Summary("phi=rtg", cell.name, outputs, "pilot", complete=[0], skipped=[1], env_steps=600, seconds=2.0)


def concluded(tmp_path: Path, *summaries: Summary) -> int:
    """The exit code of a sweep whose jobs came to this."""
    for number, summary in enumerate(summaries):
        job = tmp_path / ".sweeps" / "now" / str(number)
        job.mkdir(parents=True)
        (job / "summary.json").write_text(json.dumps(asdict(summary)))
    return conclude(tmp_path / ".sweeps" / "now")


def shown(made: Table) -> dict[str, list[str]]:
    return {str(column.header): list(map(str, column.cells)) for column in made.columns}


def test_table_has_a_row_a_cell(summary: Summary) -> None:
    failed = replace(summary, label="phi=rtg critic=mc", failed={2: "no"}, diverged={3: "inf", 4: "inf"})
    made, shared = table([failed, summary])
    assert shared == ["phi=rtg"]
    assert shown(made) == {
        "variant": ["critic=mc", "default"],
        "runs": ["2/5 (1 new)", "2/2 (1 new)"],
        "return": ["2", "2"],
        "worst quarter": ["1", "1"],
        "steps to solve": ["∞", "100"],
        "solved": ["1/4", "1/2"],
        "noise": ["20", "20"],
        "NSR at start": ["0.5", "0.5"],
        "NSR at end": ["unbounded", "unbounded"],
        "steps/s": ["300", "300"],
    }, "two seeds have no interval; the worst quarter is half of one; those that diverged have not solved it"


def test_table_of_a_cell_that_has_nothing(summary: Summary) -> None:
    empty = replace(summary, complete=[], skipped=[], failed={0: "no"}, env_steps=0)
    made, _ = table([empty])
    assert [column[0] for column in shown(made).values()] == ["phi=rtg", "0/1 (0 new)", *["-"] * 4]


def test_of_many_cells_the_best_and_the_worst_are_shown(summary: Summary, tmp_path: Path) -> None:
    """A cell that returns k - 3 for each k up to 39, in no order, and one that has not returned anything."""
    made = [replace(summary, label="k=none", complete=[], skipped=[], failed={0: "no"})]
    for k in sorted(range(40), key=lambda k: k * 7 % 40):
        cell = Cell.at(tmp_path / "outputs", "pilot", [f"k={k}"], CONFIG | {"k": k})
        cell.prepare()
        cell.finish(0, curve([1000 * (k - 3.0)] * 20).to_dict("list"), probe(1.0), MANIFEST)
        made.append(replace(summary, label=f"k={k}", cell=cell.name, complete=[0], skipped=[]))
    told = shown(table(made)[0])
    best, worst = [f"k={k}" for k in range(39, 29, -1)], ["k=3", "k=2", "k=1", "k=0", "k=none"]
    assert told["variant"] == [*best, "26 more: ablate tables", *worst]
    assert told["return"][-5:] == ["0", "−1,000", "−2,000", "−3,000", "-"]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers(30, 160), st.integers(1, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_the_table_fits_and_cuts_no_number(summary: Summary, keys: list[str], width: int, length: int) -> None:
    rows = [replace(summary, label=f"phi=rtg {key}={number * length * 7}") for number, key in enumerate(keys, 1)]
    made, _ = table(rows, width)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(made)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in console.file.getvalue()
    for cells in list(shown(made).values())[1:]:
        for cell in cells:
            assert any(cell in line for line in lines), "a number is whole, on one line"
    columns = shown(made).keys()
    assert {"return", "steps to solve", "solved", "noise"} <= columns or width < 72
    assert columns >= {"runs"} or width < 88


def test_merge_adds_up_the_jobs_of_a_cell(summary: Summary) -> None:
    one = replace(summary, label="seed by seed", complete=[0], skipped=[], failed={5: "no"})
    two = replace(summary, label="seed by seed", complete=[1], skipped=[7], diverged={6: "inf"})
    other = replace(summary, cell="other-00000000")
    whole, rest = merge([one, other, two])
    assert (whole.label, whole.complete, whole.skipped) == ("seed by seed", [0, 1], [7])
    assert (whole.failed, whole.diverged) == ({5: "no"}, {6: "inf"})
    assert (whole.env_steps, whole.seconds) == (1200, 4.0)
    assert rest == other
    assert one.complete == [0], "what was merged is left alone"


@pytest.mark.parametrize(
    ("returns", "threshold", "expected"),
    [
        ([[0.0] * 10], None, ("-", "-")),
        ([], 1.0, ("-", "-")),
        ([[0.0] * 10], 1.0, ("∞", "0/1")),
        ([[0.0] * 5 + [1.0] * 5], 1.0, ("1,000", "1/1")),  # the mean of five iterations is there at the tenth
        ([[0.0, 0, 0, 0, 5, 0, 0, 0]], 1.0, ("500", "1/1")),
        ([[3.0] * 10, [0.0] * 5 + [3.0] * 5, [0.0] * 10], 3.0, ("1,000", "2/3")),  # a third, then another are there
        ([[3.0] * 10, [0.0] * 10, [0.0] * 10], 3.0, ("∞", "1/3")),
    ],
)
def test_solving(returns: list, threshold: float | None, expected: tuple[str, str]) -> None:
    assert solving([curve(r) for r in returns], threshold) == expected


def test_ending() -> None:
    assert ending([]) == ("-", "-", "-")
    assert ending([curve([0.0] * 9 + [7.0])]) == ("7", "-", "7"), "the last tenth; one seed has no interval"
    assert ending([curve([5.0])]) == ("5", "-", "5")
    value, interval, worst = ending([curve(np.full(20, level)) for level in (0.0, 1.0, 2.0, 3.0, 100.0)])
    assert value == "2", "the mean of the middle three"
    low, high = map(float, interval.strip("[]").split(","))
    assert 0 <= low <= 2 <= high <= 100
    assert worst == "0.2", "0 and a quarter of the next seed, over 1.25"


def test_exit_codes(tmp_path: Path, summary: Summary, capsys: pytest.CaptureFixture) -> None:
    impossible = Summary("phi=td", refused="cannot be", impossible=True)
    wrong = Summary("gamma=2", refused="gamma=2 is not in (0, 1]")
    bad = replace(summary, failed={2: "no", 3: "no", 5: "no"})
    gone = replace(summary, diverged={4: "inf"})
    cases = [
        ([summary], 0),
        ([summary, impossible], 0),
        ([summary, wrong], 2),
        ([impossible], 2),
        ([wrong], 2),
        ([bad], 1),
        ([summary, gone], 1),
        ([bad, wrong], 1),
    ]
    for k, (summaries, expected) in enumerate(cases):
        assert concluded(tmp_path / str(k), *summaries) == expected, summaries
    said = capsys.readouterr().err
    assert "skipped phi=td: cannot be\n" in said
    assert "phi=rtg seed=2-3,5: no" in said
    assert "phi=rtg seed=4: inf" in said


def test_nothing_is_left_of_a_sweep_that_was_refused(tmp_path: Path) -> None:
    assert concluded(tmp_path, Summary("a", refused="no"), Summary("b", refused="no")) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_among_the_records_stays(tmp_path: Path) -> None:
    (tmp_path / ".sweeps" / "now").mkdir(parents=True)
    (tmp_path / ".sweeps" / "now" / "notes.txt").write_text("mine")
    assert concluded(tmp_path, Summary("a", refused="no")) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes.txt"]


def test_ranges() -> None:
    assert ranges([3]) == "3"
    assert ranges([0, 1, 2, 3, 4, 7, 9, 10]) == "0-4,7,9-10"
