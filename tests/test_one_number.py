"""A small real study: the table of the sweep, the tables of the analysis and the report say the same of each number."""

import re
from pathlib import Path

import pandas as pd
import pytest
from commands import ablate
from test_page import Element, Reader

from ablate.analysis import frames, report, tables
from ablate.analysis.columns import MEANINGS
from ablate.analysis.html_page import render

STUDY = "-m", "env=chain", "phi=return,rtg", "seed=0-5", "iterations=60", "episodes=4", "threshold=50"
SAME = {
    "95% interval": "final_return",
    "worst quarter": "worst_quarter",
    "steps to solve": "env_steps_to_solve",
    "noise": "trace_variance_first",
    "NSR at start": "nsr_first",
    "NSR at end": "nsr_last",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """The folder, and the rows that the command printed."""
    folder = tmp_path_factory.mktemp("study")
    lines = ablate(*STUDY, "workers=1", cwd=folder).stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("variant "))
    assert max(map(len, lines)) <= 160
    heads = re.split(r"  +", lines[start].strip())
    rows = [re.split(r"  +", line.strip()) for line in lines[start + 1 :]]  # a long name of a cell goes on below
    rows = [row for row in rows if len(row) == len(heads)]
    return folder / "outputs", [dict(zip(heads, row, strict=True)) for row in rows]


def value(shown: str) -> str:
    return shown.partition(" [")[0]


def test_the_tables_say_what_the_sweep_printed(told: tuple) -> None:
    folder, printed = told
    study = frames.load(folder, "main")
    frame = tables.side_by_side(study)
    assert len({row["95% interval"] for row in printed}) > 1, "a study whose numbers differ"
    assert frame["label"].tolist() == ["return", "reward-to-go"]
    for row, cell in zip(printed, frame.index, strict=True):
        shown = tables.shown(frame.loc[[cell]].assign(none=0)).iloc[0]
        heads = dict(zip(names(frame.loc[[cell]]), shown, strict=False))
        assert heads["final_return"] == f"{row['return']} {row['95% interval']}"
        for printed_name, column in SAME.items():
            if printed_name != "95% interval":
                assert value(heads[column]) == row[printed_name], (cell, column)
        solved, of = map(int, row["solved"].split("/"))
        assert frame.loc[cell, "share_solved"] == pytest.approx(solved / of)


def names(frame: pd.DataFrame) -> list[str]:
    """The columns that `shown` keeps, in its order."""
    return [
        name
        for name in frame.columns[frame.notna().any()]
        if not name.endswith(("_low", "_high"))
        and not (name == "env" and frame[name].nunique() < 2)
        and not (name in tables.QUIET and not frame[name].any())
    ]


def test_every_table_that_has_a_number_has_the_same(told: tuple) -> None:
    """A number that several tables hold, limits included, is one number."""
    made = tables.tables(frames.load(told[0], "main"))
    noise = made["noise"][made["noise"]["own"]]
    made["first"] = noise[noise["policy"] == "first"].filter(regex="^(trace_variance|nsr)")
    made["last"] = noise[noise["policy"] == "last"].filter(regex="^(trace_variance|nsr)")
    for policy in ("first", "last"):
        made[policy].columns = [tables._when(policy, name) for name in made[policy]]
    together = made["side_by_side"]
    for name in ("sample_efficiency", "stability", "first", "last"):
        for column in set(made[name].columns) & set(together.columns):
            assert made[name].loc[together.index, column].equals(together[column]), (name, column)


def test_the_report_says_what_the_tables_say(told: tuple) -> None:
    """Its table side by side, and each value of its sentences."""
    folder, printed = told
    tree = Reader(render(report.report(folder, "main"))).open[0]
    (section,) = [part for part in tree.find("section") if has(part, "side_by_side")]
    text = " ".join(section.text().split())
    sentence = next(p.text() for p in tree.find("p") if p.text().startswith("Final return: "))
    for row in printed:
        assert f"{row['return']} {row['95% interval']}" in text
        for name in ("worst quarter", "steps to solve", "noise", "NSR at start", "NSR at end"):
            assert row[name] in text, (row["variant"], name)
        said = f"{row['return']} {row['95% interval']} (worst quarter {row['worst quarter']})"
        assert said in sentence or "more in the table" in sentence
    frame = tables.paired_differences(frames.load(folder, "main"))
    for p in re.findall(r"p = ([\d.]+)\)", sentence):
        assert p in {f"{found:.2g}" for found in frame["final_return_p"]}


def has(part: Element, name: str) -> bool:
    return any(h.attributes.get("id") == name for h in part.find("h2"))


def test_every_column_of_a_table_is_explained(told: tuple) -> None:
    for name, frame in tables.tables(frames.load(told[0], "main")).items():
        plain = {re.sub("_(low|high)$", "", column) for column in frame} - {"env", "against_cell"}
        assert plain <= MEANINGS.keys(), name
