"""Figures as files: what they are made for, that journals take them, and that the CSV beside them is what is drawn."""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import studies
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from ablate.analysis import figure_titles, frames, paired_tests, plots, tables
from ablate.analysis.plots import data, files, style
from ablate.commands import run_of_analysis as main
from ablate.errors import UserError
from ablate.runs.train import train
from ablate.sequences import advantages
from ablate.sequences.exact import moments
from ablate.sequences.problem import TokenProblem
from ablate.store import Cell


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seeds of three variants on CartPole; the return ends lowest at each seed, the other two alike."""
    outputs, rng = tmp_path_factory.mktemp("learnt"), np.random.default_rng(0)
    for phi, height in (("return", 100.0), ("rtg", 400.0), ("advantage", 401.0)):
        made = studies.cell(outputs, f"phi={phi}", "iterations=20")
        for seed in range(10):
            probe = studies.online(5e5 / height * (1 + seed), 0.1, 20, phi=phi)
            studies.run(made, seed, np.linspace(20, height, 20) + 3 * rng.standard_normal(20), probe)
    return outputs


def drawn(learnt: Path, folder: Path, *words: str) -> Path:
    assert main(["learning", "--outputs", str(learnt), "--out", str(folder), *words]) == 0
    plt.close("all")
    return folder


def test_a_journal_takes_the_files(learnt: Path, tmp_path: Path) -> None:
    made = drawn(learnt, tmp_path)
    pdf, svg = (made / "learning.pdf").read_bytes(), (made / "learning.svg").read_text()
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf or b"/CIDFontType2" in pdf, "TrueType letters, inside the file"
    assert re.search(r"<text[^>]*>[^<]*reward-to-go", svg), "text is text"


@pytest.mark.parametrize(
    ("words", "inches", "ratio"),
    [
        (["--width", "column"], 3.5, None),
        (["--width", "page"], 7.2, None),
        (["--width", "8.4"], 8.4 / 2.54, None),
        (["--width", "12cm", "--title", "off"], 12 / 2.54, None),
        (["--width", "slide", "--font", "dejavu serif"], 10.0, 16 / 9),
    ],
)
def test_a_figure_has_the_width_that_was_asked_for(
    learnt: Path, tmp_path: Path, words: list[str], inches: float, ratio: float | None
) -> None:
    made = drawn(learnt, tmp_path, *words, "--formats", "png,svg")
    assert {path.suffix for path in made.iterdir()} == {".csv", ".png", ".svg"}
    height, width = plt.imread(made / "learning.png").shape[:2]
    assert width == pytest.approx(inches * files.DPI, abs=2)
    assert ratio is None or width / height == pytest.approx(ratio, rel=0.01)
    svg = (made / "learning.svg").read_text()
    assert ("DejaVu Serif" in svg) == ("dejavu serif" in words)
    assert ("end above return" in svg) == ("off" not in words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--width", "wide"], "--width 8.5"),
        (["--width", "0.2"], "--width 8.5"),
        (["--width", "nan"], "--width 8.5"),
        (["--font", "Helvetca Nueva"], "is not installed"),
        (["--formats", "pdf,gif"], "png, svg, pdf"),
        (["--formats", ","], "png, svg, pdf"),
        (["--title", "maybe"], "--title"),
    ],
)
def test_what_no_figure_can_be_is_refused(learnt: Path, tmp_path: Path, capsys, words: list[str], told: str) -> None:
    assert main(["learning", "--outputs", str(learnt), "--out", str(tmp_path), *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said) < 300
    assert not list(tmp_path.iterdir())


def test_the_csv_is_what_is_drawn(learnt: Path, tmp_path: Path) -> None:
    """Every line and band of the figure, point by point, and nothing else."""
    read = pd.read_csv(drawn(learnt, tmp_path) / "learning.csv")
    plots.theme()
    figure = plots.draw("learning", frames.load(learnt, "main"))
    (panel,) = figure.axes
    lines = {line.get_label(): line for line in panel.lines if not str(line.get_label()).startswith("_")}
    assert set(read.loc[read["kind"] == "value", "series"]) == set(lines) == {"return", "reward-to-go", "advantage"}
    for name, line in lines.items():
        own = read[(read["series"] == name) & (read["kind"] == "value")]
        np.testing.assert_allclose(own[["x", "y"]].to_numpy().T, np.array(line.get_data()))
        band = read[(read["series"] == name) & (read["kind"] == "interval")]
        assert (band["low"].to_numpy() <= own["y"].to_numpy() + 1e-9).all()
        assert (band["high"].to_numpy() >= own["y"].to_numpy() - 1e-9).all()
    assert set(read.loc[read["kind"] == "rule", "series"]) == {"solved"}
    plt.close(figure)


def test_intervals_bars_and_words_of_an_axis_are_in_the_csv() -> None:
    figure, panel = plt.subplots()
    panel.plot(2.0, 1, "o", label="mean")
    style.limits(panel, [1.0, 4.0], [1, 1], "mean")
    panel.barh(0, 3.0, left=0.5, label="_part of mean")
    panel.set_yticks([0, 1], ["first", "second"])
    rows = data.drawn(figure).to_dict("records")
    assert [(row["kind"], row["series"], row["row"]) for row in rows] == [
        ("value", "mean", "second"), ("interval", "mean", "second"), ("part", "mean", "first")
    ]  # fmt: skip
    assert (rows[0]["x"], rows[1]["low"], rows[1]["high"]) == (2.0, 1.0, 4.0)
    assert (rows[2]["low"], rows[2]["high"], rows[2]["y"]) == (0.5, 3.5, 0.0)
    plt.close(figure)


def test_a_title_says_what_the_paired_tests_decide(learnt: Path) -> None:
    study = frames.load(learnt, "main")
    table = tables.paired_differences(study)
    decided = table[table["final_return_p"] <= paired_tests.ALPHA]
    assert set(decided["against"]) == {"return"}
    assert (
        figure_titles.finding(study, "final_return", figure_titles.ENDS)
        == "reward-to-go and advantage end above return"
    )
    alike = frames.load(learnt, "main")
    cells = alike.cells[alike.cells["variant"] != "return"]
    two = type(alike)(**{**vars(alike), "cells": cells, "curves": alike.curves[alike.curves["cell"].isin(cells.index)]})
    assert figure_titles.finding(two, "final_return", figure_titles.ENDS).startswith("No paired test separates")
    flipped = figure_titles.finding(study, "final_return", ("ends below", "end below"), largest=False)
    assert flipped == "return ends below reward-to-go and advantage"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 0.3))
def test_names_at_the_ends_keep_their_order_and_do_not_overlap(values: list[float], gap: float) -> None:
    places = style.spread(values, gap)
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(places)[order]) >= gap - 1e-9).all()
    assert np.mean(places) == pytest.approx(np.mean(values), abs=1e-9)
    if len(values) == 1 or np.diff(np.sort(values)).min() >= gap:
        np.testing.assert_allclose(places, values, atol=1e-9)


def test_a_width_is_in_centimetres() -> None:
    assert files.made_for("25.4", None, "on").width == pytest.approx(10)
    with pytest.raises(UserError, match="cm"):
        files.made_for("-3", None, "on")


def update_nsr(advantage: Callable, N: int, answers: int) -> float:
    """tr Cov / |E|^2 of the mean over groups of N answers to prompts drawn alike, so many answers in all, exactly: by
    enumeration of a group's answers, prompt by prompt (each has parameters of its own)."""
    right = [(0,), (1, 0), (2, 0), (2, 1, 0)]
    problems = [TokenProblem.exact_match(vocabulary=3, horizon=3, right=[one]) for one in right]
    found = [moments(one, np.zeros((1, len(one.prefixes), 3)), N, advantage) for one in problems]
    square = np.array([np.square(each.mean).sum() for each in found])
    signal = square.sum() / len(found) ** 2
    return (np.mean([each.variance for each in found]) + square.mean() - signal) * N / answers / signal


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs of one iteration: two estimators at two group sizes."""
    outputs = tmp_path_factory.mktemp("grouped")
    for advantage in ("none", "leave_one_out", "group_mean"):
        for N in (2, 8):
            job = compose("study=group_baselines", f"advantage={advantage}", f"env.group={N}")
            made = Cell.at(outputs, job.study, job.overrides, job.config)
            made.prepare()
            train(made, [0], 1e9, lambda *_: None, lambda: False)
    return outputs


def test_the_noise_of_an_update_is_the_exact_one(grouped: Path) -> None:
    study = frames.load(grouped, "group_baselines")
    assert set(study.cells["variant"]) == {"REINFORCE", "RLOO", "Dr. GRPO"}
    assert study.cells.set_index("variant")["unbiased"].to_dict() == {
        "REINFORCE": "always", "RLOO": "always", "Dr. GRPO": "never"
    }  # fmt: skip
    figure = plots.draw("group_size", study)
    rows = data.drawn(figure)
    values = rows[rows["kind"] == "value"].set_index(["series", "x"])["y"]
    bands = rows[rows["kind"] == "interval"].set_index(["series", "x"])
    assert set(values.index.get_level_values(0)) == {"REINFORCE", "Dr. GRPO, RLOO"}, "these differ by a factor alone"
    for name, advantage in (("REINFORCE", advantages.none), ("Dr. GRPO, RLOO", advantages.leave_one_out)):
        for N in (2, 8):
            exact, (low, high) = update_nsr(advantage, N, 64), bands.loc[(name, N), ["low", "high"]]
            assert low < exact < high
            assert low <= values[name, N] <= high
            assert high / low < 4, "an interval that says something"
    plt.close(figure)


def test_no_figure_of_noise_bounds_what_the_table_does_not(tmp_path: Path) -> None:
    """Intervals that are drawn are those of the table; noise that comes from a few episodes has no bound."""
    for phi, informative in (("rtg", 40.0), ("return", 2.0)):
        made = studies.cell(tmp_path, f"phi={phi}", "iterations=20")
        for seed in range(8):
            probe = studies.online(10.0 + seed, 2.0, 20, phi=phi)
            rows = [row | {"informative": informative} for row in probe]
            studies.run(made, seed, np.linspace(0, 100 + seed, 20).tolist(), rows)
    study = frames.load(tmp_path, "main")
    table = tables.side_by_side(study).set_index("label")
    assert np.isfinite(table.loc["reward-to-go", "trace_variance_first_high"])
    assert np.isinf(table.loc["return", "trace_variance_first_high"])
    for name, ends in (("trade", ["y"]), ("noise", ["x"])):
        drawn = data.drawn(plots.draw(name, study))
        found = drawn[(drawn["kind"] == "interval") & drawn[ends].notna().all(axis=1)]
        if name == "noise":
            found = found[(found["x"] == 0) & found["y_label"].str.startswith("trace")]
        else:
            found = found[found["x_label"].str.startswith("trace") & found["x"].isna()]
        assert set(found["series"]) == {"reward-to-go"}, name
        own = table.loc["reward-to-go"]
        assert (found["low"] == own["trace_variance_first_low"]).all()
        assert (found["high"] == own["trace_variance_first_high"]).all()
