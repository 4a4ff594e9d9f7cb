"""Frames and figures from small studies: what is read, what is left out, what is said, and that no engine is needed."""

import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import studies
from commands import PATIENCE
from conftest import choices, compose, composed
from matplotlib import pyplot as plt
from scipy import stats
from scipy.stats import binomtest

from ablate.analysis import frames, plots, report, statistics
from ablate.analysis.figures import COMPUTED, FIGURES, HELP, function
from ablate.analysis.plots import data, groups, metrics, style
from ablate.commands import run_of_analysis as main
from ablate.configuration import CONF, parse_seeds
from ablate.runs.train import train
from ablate.store import Cell, config_hash

MDP = ("study=survey", "env.states=3", "iterations=2", "probe.every=2")
ENDINGS = ("csv", "png", "svg", "pdf")
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


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up runs: study main on CartPole, corridor, and lessons with the errors that value learners record."""
    outputs, rng = tmp_path_factory.mktemp("learnt"), np.random.default_rng(0)
    for phi, height in (("return", 200), ("rtg", 400), ("advantage", 500)):
        made = studies.cell(outputs, f"phi={phi}", "iterations=20")
        hall = studies.cell(outputs, f"phi={phi}", "env=corridor", "iterations=20", study="corridor")
        for seed in range(3):
            probe = studies.online(5e5 / height * (1 + seed), 0.1, 20, phi=phi)
            studies.run(made, seed, np.linspace(20, height, 20) + rng.standard_normal(20), probe)
            studies.run(hall, seed, -12 - np.abs(rng.standard_normal(20)))
    for column in ("value_rms_error", "q_error"):
        made = studies.cell(outputs, "phi=rtg", "env=chain", study="lessons")
        studies.run(made, len(column), [np.nan] * 20, **{column: 0.5 ** np.arange(20)})
    return outputs


def test_every_figure_is_drawn_by_its_name(outputs: Path, learnt: Path, tmp_path: Path, capsys) -> None:
    studied = {"split": "survey", "corridor": "corridor", "td": "lessons", "bellman": "lessons"}
    for figure in [name for name in HELP if name != "group_size"]:  # of a study of its own: see test_figures.py
        root = learnt if figure in ("learning", "trade", "noise", "profiles", "improvement") else outputs
        root = learnt if studied.get(figure) in ("corridor", "lessons") else root
        study = ["--study", studied[figure]] if figure in studied else []
        endings = ENDINGS if figure == "learning" else ("csv", "png")
        words = [*study, "--outputs", str(root), "--out", str(tmp_path / "new"), "--formats", ",".join(endings[1:])]
        assert main([figure, *words]) == 0, figure
        said = capsys.readouterr()
        assert said.out.split() == [str(tmp_path / "new" / f"{figure}.{ending}") for ending in endings]
        assert said.err == ""
        picture = plt.imread(tmp_path / "new" / f"{figure}.png")
        assert picture.shape[1] >= 3.4 * 200
        assert picture[..., :3].std() > 0.05
        plt.close("all")
    assert (tmp_path / "new" / "learning.pdf").read_bytes().startswith(b"%PDF")


def test_all_that_a_study_can_show_is_drawn_with_words_for_it(learnt: Path, tmp_path: Path, capsys) -> None:
    assert main(["figures", "--outputs", str(learnt), "--out", str(tmp_path)]) == 0
    study = frames.load(learnt, "main")
    drawn = plots.figures(study)
    assert list(drawn) == ["learning", "trade", "noise", "profiles", "improvement"]
    assert {path.stem for path in tmp_path.iterdir()} == set(drawn)
    for _, alternative in drawn.values():
        assert "Study main: return, reward-to-go, advantage." in alternative
    for name, (draw, _) in drawn.items():
        figure = draw()
        assert figure.get_suptitle(), name
        for panel in figure.axes:
            assert panel.get_xlabel(), name
        plt.close(figure)
    assert list(plots.figures(frames.load(learnt, "lessons"))) == ["td", "bellman"]


def test_the_same_study_gives_the_same_picture(learnt: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        assert main(["learning", "--outputs", str(learnt), "--out", str(tmp_path / place)]) == 0
        plt.close("all")
    for ending in ENDINGS:
        one, other = ((tmp_path / place / f"learning.{ending}").read_bytes() for place in ("a", "b"))
        assert one == other


def test_curves_and_bands_show_the_interquartile_mean_of_all_seeds(learnt: Path) -> None:
    study = frames.load(learnt, "main")
    figure = plots.draw("learning", study)
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "advantage")
    cell = study.cells.index[study.cells["variant"] == "advantage"].item()
    ends = study.curves[(study.curves["cell"] == cell) & (study.curves["env_steps"] == 200)]["return_mean"]
    assert line.get_xdata()[-1] == 200
    assert line.get_ydata()[-1] == pytest.approx(ends.mean())  # of three seeds no quarter is left out
    plt.close(figure)


def test_tables_are_shown_and_written(learnt: Path, tmp_path: Path, capsys) -> None:
    assert main(["tables", "--outputs", str(learnt), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("sample_efficiency", "stability", "noise", "side_by_side"):
        for ending in ("csv", "md", "tex"):
            assert str(tmp_path / f"{name}.{ending}") in said
            assert (tmp_path / f"{name}.{ending}").stat().st_size > 100
    assert "reward-to-go" in said


def test_a_figure_is_declared_with_functions_a_section_and_a_study_that_exist() -> None:
    for name, declared in FIGURES.items():
        assert callable(function(declared.draw)), name
        assert callable(function(declared.lacks)), name
        assert declared.section in ("", *report.CAPTIONS), name
        assert (CONF / "study" / f"{declared.study}.yaml").is_file(), name
    assert all(callable(function(declared.draw)) for declared in COMPUTED.values())


def test_the_help_of_figures_loads_nothing_that_draws() -> None:
    code = "import sys, ablate.analysis.commands as c; c.parser(); print(*{'matplotlib', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_labels_and_order_come_from_the_configuration(tmp_path: Path) -> None:
    own = "probe.variants.q_value.phi.about."
    for horizon in (2, 3):
        trained(tmp_path, *CHAIN, f"env.horizon={horizon}", f"{own}label=Quality", f"{own}order=-1")
    study = frames.load(tmp_path, "horizon")
    assert study.probe["label"].iloc[0] == "Quality − V"
    assert study.probe["reference"].iloc[0] == "Quality"
    figure = plots.draw("horizon", study)
    assert "Quality − V" in set(data.drawn(figure)["series"])
    plt.close(figure)


def test_other_algorithms_come_after_every_phi_in_the_order_that_they_give(tmp_path: Path) -> None:
    for choice in ("algorithm=dqn", "phi=advantage", "algorithm=a2c"):
        studies.cell(tmp_path, choice)
    cells = frames.load(tmp_path, "main").cells
    assert cells["variant"].tolist() == ["advantage", "A2C", "DQN"]
    orders = [frames.OTHER + composed(f"algorithm={name}").algorithm.about.order for name in ("a2c", "dqn")]
    assert cells["phi_order"].tolist()[1:] == orders


def test_the_frames_are_what_the_runs_wrote(outputs: Path) -> None:
    study = frames.load(outputs, "survey")
    assert study.left_out.empty
    table = study.probe
    assert len(study.cells) == table["cell"].nunique() == 6
    assert sorted(table["env.index"].unique()) == [0, 1, 2]
    assert sorted(table["env.offset"].unique()) == [0, 10]
    assert sorted(table["stage"].unique()) == [0, 1]
    assert not table["label"].isna().any()
    cell = Cell(outputs / "survey" / table["cell"].iloc[0])
    own = table[table["cell"] == cell.name]
    np.testing.assert_array_equal(
        np.sort(own["trace_variance"].to_numpy()), np.sort(cell.probe(0)["trace_variance"].to_numpy())
    )
    trained_with = study.own_noise()
    assert set(trained_with["label"]) == {"reward-to-go − V"}
    assert len(trained_with) == 6 * 2
    curves = study.curves[study.curves["cell"] == cell.name].drop(columns=["cell", "seed"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(curves, cell.curves(0))


@pytest.mark.parametrize("study", ["survey", "horizon", "variance"])
def test_the_command_of_a_cell_makes_that_cell(outputs: Path, study: str) -> None:
    for name, cell in frames.load(outputs, study).cells.iterrows():
        words = shlex.split(cell["command"])
        assert words[:3] == ["python", "-m", "ablate"]
        job = compose(*words[3:])
        assert Cell.at(job.outputs, job.study, job.overrides, job.config).path == (outputs / study / name)
        assert job.seeds == tuple(parse_seeds("0-1" if study == "variance" else "0"))
        assert name.endswith(config_hash(cell["config"]))


def test_labels_tell_cells_of_an_environment_apart(outputs: Path) -> None:
    labels = frames.load(outputs, "survey").cells["label"]
    assert labels.is_unique
    assert labels.iloc[0] == "reward-to-go − V (env.index=0 env.offset=0)"
    horizons = frames.load(outputs, "horizon").cells["label"]
    assert horizons.tolist() == [f"reward-to-go (env.horizon={horizon})" for horizon in (2, 4)]


def test_a_variant_is_held_against_its_phi_without_baseline_or_the_probe_s_reference(outputs: Path) -> None:
    ratios = statistics.against_reference(frames.load(outputs, "survey").probe)
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
    study = frames.load(tmp_path, "horizon")
    assert set(study.probe["env.horizon"]) == {3}
    assert len(study.curves) == 1
    left = study.left_out[["cell", "seed", "status"]].to_numpy().tolist()
    assert left == [[cell.name, 0, "damaged"], [cell.name, 5, "unfinished"]]
    assert study.cells[["complete", "left_out"]].to_numpy().tolist() == [[0, 2], [1, 0]]
    main(["split", "--study", "horizon", "--outputs", str(tmp_path), "--out", str(tmp_path)])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"left out: {cell.name} seed=0 is damaged: ")
    assert said[1:] == [f"left out: {cell.name} seed=5 is unfinished"]
    plt.close("all")


def test_what_cannot_be_drawn_is_refused_in_one_line(outputs: Path, learnt: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("in the way")
    studies.cell(tmp_path, "phi=rtg", study="failed").fail(0, "boom")
    mixed = studies.cell(tmp_path, "phi=rtg", study="mixed")
    studies.run(mixed, 0, [1.0] * 3)
    mixed.finish(1, {"iteration": [1]}, [], {"schema": 99, "iterations": 1, "env_steps": 1, "wall_time_s": 1.0,
                                             "started": "2026"})  # fmt: skip
    at, here = ["--outputs", str(outputs), "--out", str(tmp_path)], ["--outputs", str(tmp_path), "--out", str(tmp_path)]
    lessons = ["--outputs", str(learnt), "--study", "lessons", "--out", str(tmp_path)]
    for arguments, said in (
        (["survey", "--study", "nowhere", *at], "nowhere"),
        (["survey", "--study", "empty", *here], "nothing to show"),
        (["tables", "--study", "empty", *here], "nothing to show"),
        (["figures", "--study", "empty", *here], "nothing to show"),
        (["tables", "--study", "failed", *here], "1 failed"),
        (["figures", "--study", "failed", *here], "1 failed"),
        (["profiles", "--study", "mixed", *here], "at least 2 complete seeds"),
        (["noise", "--study", "mixed", *here], "probe=online"),
        (["trade", "--study", "mixed", *here], "probe=online"),
        (["split", "--study", "mixed", *here], "probe=exact"),
        (["tables", *lessons], "no return"),
        (["learning", *lessons], "whose return is known"),
        (["survey", "--study", "horizon", *at], "env.index"),
        (["horizon", "--study", "variance", *at], "env.horizon"),
        (["variance", "--study", "survey", *at], "probe=matched"),
        (["td", "--study", "survey", *at], "algorithm=td"),
        (["bellman", "--study", "survey", *at], "algorithm=q_iteration"),
        (["corridor", "--study", "survey", *at], "env=corridor"),
        (["group_baselines", "--study", "survey", *at], "leave out --study"),
        (["group_baselines", "--out", str(tmp_path / "a file")], "--out"),
        (["tables", "--outputs", str(learnt), "--out", str(tmp_path / "a file")], "--out"),
        (["pie", *at], "pie"),
        (["tables", "--colour", *at], "--colour"),
        ([], "COMMAND"),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err.splitlines()
        assert said in error[-1], arguments
        assert error[-1].startswith("ablate: ")
        assert all(line.startswith("left out: ") for line in error[:-1])
        plt.close("all")
    assert main(["learning", "--study", "mixed", *here]) == 0
    assert "seed=1 is other schema: its files are of schema 99" in capsys.readouterr().err
    plt.close("all")


def test_more_cells_than_can_be_told_apart_are_not_drawn(tmp_path: Path) -> None:
    for rate in range(1, 7):
        studies.run(studies.cell(tmp_path, "phi=rtg", f"optimizer.lr={rate}"), 0, [1.0] * 4)
    study = frames.load(tmp_path, "main")
    assert "5 cells of one variant" in plots.lacks("learning", study)
    assert plots.figures(study) == {}


def test_exact_values_are_marked_where_both_probes_saw_the_same_policy(tmp_path: Path) -> None:
    small = ("env=chain", "env.horizon=3", "iterations=1", "probe.every=1")
    trained(tmp_path, *small, "probe=matched", "probe.episodes=64", "episodes=4", "study.name=both")
    exact = trained(tmp_path, *small, "probe=exact", "episodes=4", "study.name=both")
    study = frames.load(tmp_path, "both")
    figure = plots.draw("variance", study)
    panel = figure.axes[0]
    crosses = {line.get_ydata()[0]: line.get_xdata()[0] for line in panel.get_lines() if line.get_marker() == "x"}
    names = [text.get_text() for text in panel.get_yticklabels()]
    known = exact.probe(0)
    known = known[(known["iteration"] == 0) & (known["phi"] == "return") & (known["baseline"] == "none")]
    assert crosses[names.index("return")] == pytest.approx(np.exp(known["log_ratio"].item()))
    assert names.index("Q") not in crosses  # the critics differ
    plt.close(figure)


def test_every_variant_has_a_look_of_its_own() -> None:
    looks = set()
    table = [(phi, baseline) for phi in range(6) for baseline in range(9)]
    for phi, baseline in table:
        looks.add((style.colour(phi, baseline), style.MARKERS[baseline]))
    assert len(looks) == len(table)
    assert len({style.colour(phi, 0) for phi in range(8)}) == 8
    assert style.colour(1, 2) == groups._group_colour(2)
    for phi, baseline in [(phi, 0) for phi in (*range(8), *range(frames.OTHER, frames.OTHER + 6))]:
        bare = style.colour(phi, baseline)
        assert 1.05 / (style._luminance(bare) + 0.05) > 2.2, "seen on white"
        assert 1.05 / (style._luminance(style.ink(bare)) + 0.05) >= 4.5, "read on white"
    assert len(choices("phi")) <= len(style.HUES)
    taught = {style.colour(phi, 0) for phi in range(5)}
    algorithms = [name for name in choices("algorithm") if name != "policy_gradient"]  # which has its Phi's colour
    orders = [composed(f"algorithm={name}").algorithm.about.order for name in algorithms]
    others = {style.colour(frames.OTHER + order, 0) for order in orders}
    assert len(others) == len(algorithms)
    assert not taught & others


def test_three_variants_differ_without_their_colour(learnt: Path) -> None:
    drawn = style.looks(frames.load(learnt, "main").cells).values()
    assert len({(look["marker"], str(look["linestyle"])) for look in drawn}) == 3


def test_shares_have_wilson_s_limits() -> None:
    for won, trials in ((0, 7), (3, 10), (99, 100), (100, 100)):
        limits = binomtest(won, trials).proportion_ci(method="wilson")
        np.testing.assert_allclose(statistics.wilson(won, trials), limits, atol=1e-12)


def test_group_curves_are_scaled_as_known() -> None:
    curves = statistics.group_curves([2, 8], [0.3]).set_index(["estimator", "N"])["scale"]
    for N in (2, 8):
        assert curves["mean", N] == pytest.approx(1 - 1 / N)
        assert [curves["none", N], curves["loo", N]] == pytest.approx([1, 1])
    assert curves["whitened", 2] == pytest.approx(1)  # half the pair differs: 2 p (1 - p) chances of (1, -1)


def test_analysis_needs_no_engine() -> None:
    code = (
        "import sys, ablate.analysis.commands\n"
        "from ablate.analysis import frames, plots, tables\n"
        "engine = {'build', 'episodes', 'learners', 'probes', 'runs'}\n"
        "found = {name.split('.')[1] for name in sys.modules if name.startswith('ablate.')} & engine\n"
        "assert not found, found\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)


def test_noise_in_other_units_is_over_the_reference_s_in_the_same_run(tmp_path: Path) -> None:
    """By hand: 2 and 8 times the reference's noise of a step, so 4, with Student's limits of logarithms; a layer has
    its share of the trace variance; of six seeds two without informative episodes leave no limits."""
    made = studies.cell(tmp_path, "phi=rtg", "iterations=4", "probe=matched")
    for seed in range(6):
        rows = [
            {"iteration": 4, "mode": "matched", "phi": phi, "baseline": "none", "critic": "none", "episodes": 64}
            | {"trace_variance": 2.0 * noise, "work_variance": noise, "share_policy_0": share}
            | {"informative": 20.0, "snr": 0.1, "log_ratio": np.log(noise)}
            for phi, noise, share in (("return", (2.0, 8.0)[seed % 2], 0.75), ("rtg", 1.0, 0.25))
        ]
        studies.run(made, seed, [1.0] * 4, rows)
    rows = frames.load(tmp_path, "main").probe.copy()
    found = metrics.relative(rows, "return", "work_variance")
    assert found is not None
    reach = stats.t.ppf(0.975, 5) * np.log(2) * np.sqrt(6 / 5) / np.sqrt(6)
    np.testing.assert_allclose(np.log(found), [np.log(4), np.log(4) - reach, np.log(4) + reach], rtol=1e-9)
    layer = metrics.relative(rows, "return", "share_policy_0")
    assert layer is not None
    assert layer.value == pytest.approx(12)
    few = (rows["label"] == "return") & (rows["seed"] < 2)
    rows = rows.assign(informative=rows["informative"].where(~few, 3.0))
    unknown = metrics.relative(rows, "return", "work_variance")
    assert unknown is not None
    assert (unknown.low, unknown.high) == (0, np.inf)
    assert set(metrics.measured(rows)) == {"trace_variance", "work_variance", "share_policy_0"}
