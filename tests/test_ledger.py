"""The ledger: a verdict follows from what was published and what was measured, and a wrong number turns it."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ablate.analysis.ledger.command import as_json, from_json, run, table
from ablate.analysis.ledger.entries import cliff
from ablate.analysis.ledger.entry import Measured, Number, entries, exactly, mean_of, together
from ablate.errors import UserError

KEPT = Path(__file__).parents[1] / "outputs" / "lecture" / "ledger.json"
EXACT = [entry for entry in entries() if not entry.runs]


@pytest.mark.parametrize("entry", EXACT, ids=lambda entry: entry.name)
def test_what_is_computed_is_as_published_and_a_wrong_number_is_found(entry) -> None:
    found = entry.measure("nowhere")
    assert found.keys() == entry.numbers.keys()
    assert entry.verdict(found) == "REPRODUCED"
    for name, number in entry.numbers.items():
        for place, p in enumerate(number.each()):
            wrong = number.each()
            wrong[place] = p + 2 * number.error + 1e-6 * max(1.0, abs(p))
            planted = replace(entry, numbers=entry.numbers | {name: replace(number, published=wrong)})
            assert planted.verdict(found) == "NOT REPRODUCED", f"{name}: {wrong[place]} in place of {p}"


@pytest.mark.parametrize("entry", [entry for entry in entries() if entry.runs], ids=lambda entry: entry.name)
def test_a_wrong_number_turns_a_verdict_on_runs(entry) -> None:
    kept = {name: found for other, found in from_json(KEPT.read_text()) for name in (other.name,)}[entry.name]
    assert entry.verdict(kept) != "NOT REPRODUCED"
    for name, number in entry.numbers.items():
        beyond = kept[name][0].high + number.error + 1.0
        assert replace(number, published=beyond, asks="equal").verdict(kept[name]) == "NOT REPRODUCED"
        assert replace(number, published=beyond, asks="above").verdict(kept[name]) == "NOT REPRODUCED"


@pytest.mark.parametrize(
    ("number", "found", "word"),
    [
        (Number(1.0, "text"), Measured(1 + 5e-9, 1 + 5e-9, 1 + 5e-9), "REPRODUCED"),
        (Number(1.0, "text"), Measured(1 + 2e-8, 1 + 2e-8, 1 + 2e-8), "NOT REPRODUCED"),
        (Number(-12, "text", 0.5), Measured(-11.5, -11.5, -11.5), "REPRODUCED"),
        (Number(5, "plot", 1), Measured(5, 3, 7), "CANNOT TELL"),
        (Number(5, "plot", 1, 2), Measured(5, 3, 7), "REPRODUCED"),
        (Number(5, "plot", 1, 2), Measured(8, 6.5, 9), "NOT REPRODUCED"),
        (Number(0, "text", asks="above"), Measured(1, 0.1, 2), "REPRODUCED"),
        (Number(0, "text", asks="above"), Measured(1, -0.1, 2), "CANNOT TELL"),
        (Number(0, "text", asks="above"), Measured(-1, -2, -0.1), "NOT REPRODUCED"),
        (Number(0, "text", asks="below"), Measured(-1, -2, -0.1), "REPRODUCED"),
        (Number(5, "plot", 1), Measured(float("nan"), float("nan"), float("nan")), "CANNOT TELL"),
        (Number(5, "plot", 1), Measured(5, -np.inf, np.inf), "CANNOT TELL"),
    ],
)
def test_a_verdict_follows_from_limits_and_the_error_of_reading(number: Number, found: Measured, word: str) -> None:
    assert number.verdict([found]) == word


def test_one_number_that_is_not_reproduced_decides_an_entry() -> None:
    assert together(["REPRODUCED", "CANNOT TELL"]) == "CANNOT TELL"
    assert together(["CANNOT TELL", "NOT REPRODUCED", "REPRODUCED"]) == "NOT REPRODUCED"
    with pytest.raises(ValueError, match="1 numbers for 2"):
        Number([1, 2], "text").verdict(exactly(1))


@pytest.mark.parametrize("draw", ["normal", "exponential", "episode lengths"])
def test_limits_of_a_mean_hold_as_often_as_they_say(draw: str) -> None:
    """99% over three intervals of 30 runs: of 3,000 samples at most 1 in 100 misses, within five standard errors, where
    samples are normal; with skewed ones fewer than 1 in 40 do."""
    rng = np.random.default_rng(0)
    samples = {
        "normal": rng.normal(0, 1, (3000, 30)),
        "exponential": rng.exponential(1, (3000, 30)) - 1,
        "episode lengths": rng.geometric(0.1, (3000, 30)) - 10.0,
    }[draw]
    missed = np.mean([not x.low <= 0 <= x.high for row in samples for x in mean_of(row, of=3)])
    assert missed <= (0.01 / 3 + 5 * np.sqrt(0.01 / 3 / 3000) if draw == "normal" else 0.025)


@pytest.mark.parametrize("samples", [[1.0], [2.0, 2.0, 2.0]])
def test_samples_that_show_no_spread_have_no_limits(samples: list[float]) -> None:
    (found,) = mean_of(samples, of=1)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_what_is_kept_is_read_as_it_was_written() -> None:
    rows = from_json(KEPT.read_text())
    assert [entry.name for entry, _ in rows] == [entry.name for entry in entries()]
    assert json.loads(as_json(rows)) == json.loads(KEPT.read_text())
    assert table(rows).row_count == sum(len(entry.numbers) for entry in entries())


def test_the_table_shows_limits_and_that_there_are_none() -> None:
    entry = entries("cliff")[0]
    found = {name: [Measured(1.5, 1.25, 1.75)] for name in entry.numbers} | {"Sarsa": [Measured(-25, -np.inf, np.inf)]}
    console = Console(width=160, record=True, file=StringIO())
    console.print(table([(entry, found)]))
    shown = console.export_text()
    assert "-25 [no limits]" in shown
    assert "1.5 [1.25, 1.75]" in shown


def test_what_is_asked_for_is_written_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(tmp_path), "dead_groups", str(tmp_path / "new" / "[a].json"), str(tmp_path / "a.md"))
    (record,) = json.loads((tmp_path / "new" / "[a].json").read_text())
    assert record["verdict"] == "REPRODUCED"
    assert "## Dead groups: reproduced" in (tmp_path / "a.md").read_text()
    assert "[a].json" in capsys.readouterr().out
    with pytest.raises(UserError, match="a folder is in the way"):
        run(str(tmp_path), "dead_groups", str(tmp_path / "new"), None)


def test_an_unknown_entry_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"'cliffs' is no entry of the ledger; write some of chain, cliff, "):
        entries("cliffs")


def test_a_mean_over_late_episodes_counts_each_once() -> None:
    """Curves count the episodes so far: of the last ten iterations two end 9 and 1 episodes, one none."""

    class Study:
        def curves(self, where: dict) -> pd.DataFrame:
            made = [("iteration", [20, 21, 22, 23]), ("episodes", [90, 99, 99, 100])]
            one = pd.DataFrame(dict(made) | {"return_mean": [-1.0, -20.0, np.nan, -70.0]})
            return pd.concat([one.assign(seed=0), one.assign(seed=1)], ignore_index=True)

    assert cliff.measure(Study())["Sarsa"][0].value == (9 * -20 + -70) / 10  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_an_entry_says_where_its_numbers_stand(entry) -> None:
    assert any(year in entry.source for year in map(str, range(1984, 2027)))
    assert entry.setting.strip()
    assert entry.remarks.strip()
    assert all(number.read for number in entry.numbers.values())
