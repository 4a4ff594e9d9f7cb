"""Figures from a small study: what is read, what is left out, what is said, and that no engine is needed."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import choices, compose
from matplotlib import pyplot as plt
from scipy.stats import binomtest

from ablate.refusal import Refusal
from ablate.store import Cell
from ablate.train import train
from analysis import frames, plots, statistics
from analysis.__main__ import FIGURES, main

MDP = ("study=survey", "env.states=3", "iterations=2", "probe.every=2")
CHAIN = ("study=horizon", "env=chain")
LAKE = ("study=variance", "env=frozenlake", "iterations=2", "probe.every=1", "probe.episodes=64", "episodes=4")


def trained(outputs: Path, *overrides: str, seeds: tuple[int, ...] = (0,)) -> Cell:
    job = compose(*overrides)
    cell = Cell.at(outputs, job.study, job.overrides, job.config)
    cell.prepare()
    train(cell, seeds, 1e9, lambda *_: None, lambda: False)
    return cell


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    for index, offset in product((0, 1, 2), (0, 10)):
        trained(folder, *MDP, f"env.index={index}", f"env.offset={offset}")
    for horizon in (2, 4):
        trained(folder, *CHAIN, f"env.horizon={horizon}")
    trained(folder, *LAKE, seeds=(0, 1))
    return folder


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn_as_png_and_svg(
    figure: str, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([figure, "--outputs", str(outputs), "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "new" / f"{figure}.{ending}") for ending in ("png", "svg")]
    assert said.err == ""
    picture = plt.imread(tmp_path / "new" / f"{figure}.png")
    assert picture.shape[1] > 1000
    assert picture.std() > 0.05
    plt.close("all")


def test_the_figures_of_the_command_line_are_those_that_exist() -> None:
    assert tuple(plots.FIGURES) == FIGURES


def test_labels_and_order_come_from_the_configuration(tmp_path: Path) -> None:
    own = "probe.variants.q_value.phi.about."
    for horizon in (2, 3):
        trained(tmp_path, *CHAIN, f"env.horizon={horizon}", f"{own}label=Quality", f"{own}order=-1")
    table, _ = frames.probed(str(tmp_path), "horizon")
    assert table["label"].iloc[0] == "Quality − V"
    assert table["reference"].iloc[0] == "Quality"
    figure = plots.horizon(table)
    legends = [legend for panel in figure.axes if (legend := panel.get_legend())]
    with_critic = [text.get_text() for text in legends[1].get_texts()]
    assert with_critic[:2] == ["Quality − V", "Quality − V (no clock)"]
    assert len(legends[0].get_texts()) + len(with_critic) == table["label"].nunique()
    plt.close(figure)


def test_the_table_is_what_the_probes_wrote(outputs: Path) -> None:
    table, unfinished = frames.probed(str(outputs), "survey")
    assert unfinished == []
    assert table["cell"].nunique() == 6
    assert sorted(table["env.index"].unique()) == [0, 1, 2]
    assert sorted(table["env.offset"].unique()) == [0, 10]
    assert sorted(table["stage"].unique()) == [0, 1]
    assert not table["label"].isna().any()
    cell = Cell(outputs / "survey" / table["cell"].iloc[0])
    own = table[table["cell"] == cell.name]
    np.testing.assert_array_equal(
        np.sort(own["trace_variance"].to_numpy()), np.sort(cell.probe(0)["trace_variance"].to_numpy())
    )


def test_a_variant_is_held_against_its_phi_without_baseline_or_the_probe_s_reference(outputs: Path) -> None:
    table, _ = frames.probed(str(outputs), "survey")
    ratios = statistics.against_reference(table)
    pairs = dict(zip(ratios["label"], ratios["reference"], strict=True))
    assert pairs["reward-to-go − V"] == "reward-to-go"
    assert pairs["return − batch mean"] == "return"
    assert pairs["Q − V"] == "Q"
    assert pairs["Q"] == pairs["return"] == pairs["TD error"] == "reward-to-go"
    assert "reward-to-go" not in pairs
    bare = ratios[(ratios["label"] == "Q")]
    np.testing.assert_allclose(np.log(bare["ratio"]), bare["log_ratio"])


def test_runs_that_are_not_complete_are_listed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cell = trained(tmp_path, *CHAIN, "env.horizon=2")
    trained(tmp_path, *CHAIN, "env.horizon=3")
    cell.save_checkpoint(5, 1, {"x": np.zeros(1)}, {"iteration": [1]}, [])
    (cell.path / "seed=0" / "probe.parquet").rename(cell.path / "seed=0" / "gone")
    table, unfinished = frames.probed(str(tmp_path), "horizon")
    assert set(table["env.horizon"]) == {3}
    assert unfinished == [(cell.name, 0, "damaged"), (cell.name, 5, "unfinished")]
    main(["variance", "--study", "horizon", "--outputs", str(tmp_path), "--out", str(tmp_path)])
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [f"left out: {cell.name} seed=0 is damaged", f"left out: {cell.name} seed=5 is unfinished"]


def test_what_cannot_be_drawn_is_refused_in_one_line(outputs: Path, capsys: pytest.CaptureFixture) -> None:
    (outputs / "empty").mkdir(exist_ok=True)
    (outputs / "a file").write_text("in the way")
    at = ["--outputs", str(outputs), "--out", str(outputs / "pictures")]
    for arguments, said in (
        (["survey", "--study", "nowhere", *at], "nowhere"),
        (["survey", "--study", "empty", *at], "nothing to show"),
        (["survey", "--study", "horizon", *at], "env.index"),
        (["horizon", "--study", "variance", *at], "env.horizon"),
        (["variance", "--study", "survey", *at], "probe=matched"),
        (["group_baselines", "--study", "survey", *at], "leave out --study"),
        (["group_baselines", "--out", str(outputs / "a file")], "--out"),
        (["pie", *at], "pie"),
        ([], "FIGURE"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.startswith("analysis: ")
        assert error.count("\n") == 1
        plt.close("all")


def test_every_variant_has_a_look_of_its_own() -> None:
    looks = set()
    table = [(phi, baseline) for phi in range(6) for baseline in range(9)]
    for phi, baseline in table:
        looks.add((plots.colour(phi, baseline), plots.MARKERS[baseline]))
    assert len(looks) == len(table)
    assert len({plots.colour(phi, 0) for phi in range(8)}) == 8
    assert plots.colour(1, 2) == plots._group_colour(2)
    assert len(choices("phi")) <= len(plots.HUES)
    with pytest.raises(Refusal):
        plots.horizon(pd.DataFrame({"stage": [0.0], "nsr": [1.0]}))


def test_shares_have_wilson_s_limits() -> None:
    for won, trials in ((0, 7), (3, 10), (99, 100), (100, 100)):
        limits = binomtest(won, trials).proportion_ci(method="wilson")
        np.testing.assert_allclose(statistics.wilson(won, trials), limits, atol=1e-12)


def test_the_interval_of_a_mean_over_seeds_covers() -> None:
    """95% of 4,000 intervals of known width: the count is binomial, and 4.5 standard deviations are allowed."""
    rng = np.random.default_rng(0)
    sigma = np.array([0.5, 1.0, 2.0])
    x = rng.standard_normal((4000, 3)) * sigma
    half = statistics.Z * sigma
    hits = sum(low < 0 < high for _, low, high in (statistics.pooled(row, row - half, row + half) for row in x))
    assert abs(hits - 3800) < 4.5 * np.sqrt(4000 * 0.95 * 0.05)


def test_group_curves_are_scaled_as_known() -> None:
    curves = statistics.group_curves([2, 8], [0.3]).set_index(["estimator", "N"])["scale"]
    for N in (2, 8):
        assert curves["mean", N] == pytest.approx(1 - 1 / N)
        assert curves["none", N] == curves["loo", N] == pytest.approx(1)
    assert curves["whitened", 2] == pytest.approx(1)  # half the pair differs: 2 p (1 - p) chances of (1, -1)


def test_analysis_needs_no_engine() -> None:
    code = (
        "import sys, analysis.__main__, analysis.frames, analysis.plots\n"
        "allowed = {'ablate', 'ablate.store', 'ablate.noise', 'ablate.groups', 'ablate.refusal'}\n"
        "found = {name for name in sys.modules if name.split('.')[0] == 'ablate'}\n"
        "assert found <= allowed, found\n"
        "assert 'torch' not in sys.modules and 'hydra' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
