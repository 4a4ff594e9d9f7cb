"""`ablate grading` on studies whose curves are made up: shares, lines and rankings that can be counted by hand."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from studies import cell, run

from ablate.analysis import frames, grading
from ablate.analysis.commands import main
from ablate.analysis.plots import theme
from ablate.errors import UserError
from ablate.statistics.seeds import share

GOOD = [[0, 5, 5, 9], [0, 1, 6, 6], [0, 2, 3, 4], [9, 0, 0, 0], [0, 6, 2, 5], [1, 1, 1, 1]]
BAD = [[0, 0, 0, 1], [0, 5, 0, 2], [0, 0, 0, 9], [0, 0, 0, 0], [0, 0, 0, 3], [0, 0, 0, 4]]


@pytest.fixture
def study(tmp_path: Path) -> frames.StudyFrames:
    for phi, curves in (("return", BAD), ("rtg", GOOD)):
        made = cell(tmp_path, f"phi={phi}", "iterations=4", "threshold=5", "probe=off")
        for seed, returns in enumerate(curves):
            run(made, seed, returns)
    return frames.load(tmp_path, "main")


def of(frame, phi: str):
    return frame[frame.index.str.contains(f"phi={phi}")].iloc[0]


def test_shares_are_counted_at_the_line_or_above_it(study) -> None:
    line = grading.lines(study, None)
    assert set(line.values()) == {5.0}
    table = grading.passing(study, line, None)
    good, bad = of(table, "rtg"), of(table, "return")
    assert (good["seeds"], good["share_once"], good["share_at_end"]) == (6, 4 / 6, 3 / 6)
    assert (bad["share_once"], bad["share_at_end"]) == (2 / 6, 1 / 6)
    limits = share(4, 6)
    assert (good["share_once_low"], good["share_once_high"]) == (limits.low, limits.high)


def test_the_line_is_to_be_reached_within_so_many_iterations(study) -> None:
    line = grading.lines(study, None)
    assert of(grading.passing(study, line, 2), "rtg")["share_once"] == 3 / 6
    assert of(grading.passing(study, line, 2), "rtg")["share_at_end"] == 3 / 6
    assert of(grading.passing(study, line, 1), "rtg")["share_once"] == 1 / 6
    assert of(grading.passing(study, grading.lines(study, 9.0), None), "rtg")["share_once"] == 2 / 6


def test_a_seed_that_diverged_has_not_passed(tmp_path: Path) -> None:
    made = cell(tmp_path, "phi=rtg", "iterations=4", "threshold=5", "probe=off")
    run(made, 0, GOOD[0])
    columns = {"iteration": [1], "env_steps": [10], "episodes": [1], "return_mean": [9.0], "grad_norm": [np.inf]}
    manifest = {"iterations": 1, "env_steps": 10, "wall_time_s": 1.0, "started": "2026"}
    made.diverge(1, 1, "grad_norm", columns | {"wall_time": [0.1]}, [], manifest)
    found = frames.load(tmp_path, "main")
    table = grading.passing(found, grading.lines(found, None), None)
    assert (table["seeds"].iloc[0], table["share_once"].iloc[0]) == (2, 0.5)


def test_the_chance_of_a_wrong_ranking_is_that_of_all_pairs_of_seeds(study) -> None:
    (row,) = grading.rankings(study).to_dict("records")
    good, bad = ([returns[-1] for returns in curves] for curves in (GOOD, BAD))  # a tenth of 4 iterations is the last
    assert row["difference"] == pytest.approx(np.mean(good) - np.mean(bad))
    wrong = [(b > a) + 0.5 * (b == a) for a, b in product(good, bad)]
    assert row["wrong_ranking"] == pytest.approx(np.mean(wrong))
    assert row["wrong_ranking_low"] <= row["wrong_ranking"] <= row["wrong_ranking_high"]


def test_a_ranking_that_no_resample_changes_has_no_limits(tmp_path: Path) -> None:
    for phi, start in (("return", 0.0), ("rtg", 100.0)):
        made = cell(tmp_path, f"phi={phi}", "iterations=4", "threshold=5", "probe=off")
        for seed in range(5):
            run(made, seed, [start + seed] * 4)
    (row,) = grading.rankings(frames.load(tmp_path, "main")).to_dict("records")
    assert row["wrong_ranking"] == 0
    assert np.isnan([row["wrong_ranking_low"], row["wrong_ranking_high"]]).all()


def test_the_figure_shows_the_numbers_of_the_tables(study) -> None:
    theme()
    passed, ranked = grading.passing(study, grading.lines(study, None), None), grading.rankings(study)
    left, right = grading.figure(passed, ranked).axes
    dots = {line.get_label(): line.get_xdata() for panel in (left, right) for line in panel.lines}
    np.testing.assert_array_equal(dots["once"], passed["share_once"])
    np.testing.assert_array_equal(dots["at the end"], passed["share_at_end"])
    np.testing.assert_array_equal(dots["wrong ranking"], ranked["wrong_ranking"])


def test_the_command_writes_what_it_shows(study, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["grading", "main", "--outputs", str(tmp_path), "--json", str(tmp_path / "grades.json")]
    assert main([*words, "--formats", "svg", "--line", "6"]) == 0
    said = json.loads((tmp_path / "grades.json").read_text())
    assert [row["pass_line"] for row in said["passing"]] == [6, 6]
    assert said["rankings"][0]["wrong_ranking"] == grading.rankings(study)["wrong_ranking"][0]
    assert (tmp_path / "main/figures/grading.svg").is_file()
    assert "wrong ranking" in capsys.readouterr().out


def test_without_a_line_and_with_a_bad_number_it_is_refused(tmp_path: Path) -> None:
    run(cell(tmp_path, "env=chain", "threshold=null", "iterations=4", "probe=off"), 0, GOOD[0])
    with pytest.raises(UserError, match="write --line X"):
        main(["grading", "main", "--outputs", str(tmp_path)])
    with pytest.raises(UserError, match="--within 0 is no number"):
        main(["grading", "main", "--outputs", str(tmp_path), "--within", "0", "--line", "1"])
