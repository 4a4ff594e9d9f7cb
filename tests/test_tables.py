"""Tables from made-up runs whose averages are known by hand, and how they are written."""

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from studies import cell, online, run

from ablate.analysis import escaping, frames, paired_tests, tables
from ablate.analysis.headline import paragraphs
from ablate.analysis.run_summaries import outcomes, parts
from ablate.errors import UserError
from ablate.statistics.power import power

RISE = [0.0] * 5 + [450.0] * 15


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> frames.StudyFrames:
    """CartPole, threshold 400, 20 iterations: reward-to-go solves it with both seeds, the return with none."""
    outputs = tmp_path_factory.mktemp("outputs")
    good, bad = cell(outputs, "phi=rtg", "iterations=20"), cell(outputs, "phi=return", "iterations=20")
    for seed in (0, 1):
        run(good, seed, RISE, online(100.0 * (seed + 1), 0.1, 20))
        run(bad, seed, [100.0 * seed] * 20, online(1000.0, 0.01, 20, phi="return"))
    bad.diverge(2, 3, "not finite", {"iteration": [1]}, [], {"iterations": 20, "env_steps": 1, "wall_time_s": 1.0,
                                                             "started": "2026"})  # fmt: skip
    return frames.load(outputs, "main")


def row(frame: pd.DataFrame, label: str) -> pd.Series:
    (found,) = [line for _, line in frame.iterrows() if line["label"] == label]
    return found


def test_what_a_run_came_to(study: frames.StudyFrames) -> None:
    runs = outcomes(study)
    assert runs["cell"].tolist() == [c for c in study.cells.index for _ in range(2)]
    good = runs[runs["cell"].str.startswith("iterations=20,phi=rtg")].iloc[0]
    # the 5-iteration mean is 360 after four good ones and 450 after five: the tenth iteration
    assert (good["solve_steps"], good["solved"], good["collapse"]) == (100, True, 0)
    # flat 0 to 50 env steps, a line to 450 at 60, flat to 200
    assert good["auc"] == pytest.approx((225 * 10 + 450 * 140) / 200)
    assert (good["final_return"], good["detrended_iqr"], good["drawdown_cvar"]) == (450, 0, 0)
    bad = runs[runs["cell"].str.startswith("iterations=20,phi=return")]
    assert bad["solve_steps"].tolist() == [np.inf, np.inf]
    assert not bad["solved"].any()
    assert bad["collapse"].isna().all()


def test_sample_efficiency(study: frames.StudyFrames) -> None:
    table = tables.sample_efficiency(study)
    assert table["label"].tolist() == ["return", "reward-to-go"]
    good, bad = row(table, "reward-to-go"), row(table, "return")
    assert (good["runs"], good["left_out"], bad["runs"], bad["left_out"]) == (2, 0, 2, 1)
    assert (good["solved"], good["share_solved"], good["env_steps_to_solve"]) == (2, 1, 100)
    assert (bad["solved"], bad["share_solved"], bad["env_steps_to_solve"]) == (0, 0, np.inf)
    assert bad["share_solved_high"] == pytest.approx(1 - 0.025 ** (1 / 3))  # three runs, one of which diverged
    assert (good["final_return"], good["optimality_gap"]) == (450, 0)
    assert (bad["final_return"], bad["final_return_median"], bad["optimality_gap"]) == (50, 50, 350)
    assert bad["worst_quarter"] == 0
    assert np.isnan([bad["final_return_low"], bad["final_return_high"]]).all(), "of two seeds"
    assert (bad["auc"], bad["common_env_steps"]) == (50, 200)


def test_stability(study: frames.StudyFrames) -> None:
    table = tables.stability(study)
    bad = row(table, "return")
    assert (bad["iqr_across_seeds"], bad["worst_quarter"], bad["diverged"]) == (50, 0, 1)
    assert (row(table, "reward-to-go")["collapse"], row(table, "reward-to-go")["diverged"]) == (0, 0)
    assert np.isnan(bad["collapse"])
    assert table["spread_across_lr"].isna().all()


def test_noise_and_the_three_side_by_side(study: frames.StudyFrames) -> None:
    noise = tables.noise(study)
    assert noise["policy"].tolist() == ["first", "last"] * 2
    good = row(noise[noise["policy"] == "first"], "reward-to-go")
    assert (good["runs"], good["trace_variance"], good["nsr"]) == (2, 150, pytest.approx(10))
    assert (good["trace_variance_low"], good["trace_variance_high"]) == (50, 400)  # the widest of the probes' own
    together = row(tables.side_by_side(study), "reward-to-go")
    efficient = row(tables.sample_efficiency(study), "reward-to-go")
    for name in ("final_return", "worst_quarter", "env_steps_to_solve", "share_solved_low", "auc"):
        assert together[name] == efficient[name]
    assert (together["trace_variance_first"], together["nsr_last"]) == (150, pytest.approx(10))


def test_noise_in_other_metrics_is_the_median_over_seeds_where_it_was_measured(tmp_path: Path) -> None:
    made = cell(tmp_path, "env=chain", "phi=rtg")
    for seed, work in enumerate([3.0, 5.0, 40.0]):
        rows = [row | {"work_variance": work, "fisher_trace_variance": np.nan} for row in online(1.0, 0.5, 2)]
        run(made, seed, [1.0, 2.0], rows)
    table = tables.noise(frames.load(tmp_path, "main"))
    assert table["work_variance"].tolist() == [5.0, 5.0]
    assert "fisher_trace_variance" not in table


def test_paired_differences_are_of_shared_seeds(tmp_path: Path) -> None:
    """Reward-to-go less the return on seeds 1 to 3: 2, 30, 58. Mean 30, deviation 28, and p = 2 / 8, since no flip of
    signs but that of all reaches the sum. What three such seeds find does not depend on the 30. Another environment's
    cell meets nobody."""
    earlier, later = cell(tmp_path, "phi=return"), cell(tmp_path, "phi=rtg")
    for seed, height in ((0, 7.0), (1, 10.0), (2, 20.0), (3, 30.0)):
        run(earlier, seed, [height] * 4)
    for seed, height in ((1, 12.0), (2, 50.0), (3, 88.0), (4, 999.0)):
        run(later, seed, [height] * 4)
    run(cell(tmp_path, "phi=rtg", "env=chain"), 1, [0.0] * 4)
    (found,) = [line for _, line in tables.paired_differences(frames.load(tmp_path, "main")).iterrows()]
    assert (found["label"], found["against"], found["seeds"]) == ("reward-to-go", "return", 3)
    for name in ("final_return", "auc"):
        assert found[f"{name}_difference"] == 30
        assert found[f"{name}_difference_high"] - 30 == pytest.approx(4.302653 * 28 / 3**0.5)
        assert found[f"{name}_p"] == 0.25
        assert power(found[f"{name}_detectable"], 28, 3, 0.05) == pytest.approx(0.8)


def test_paired_differences_are_corrected_for_all_pairs_of_a_problem(tmp_path: Path) -> None:
    """Return, reward-to-go the same, and advantage 1 to 8 above them: of the 2^8 choices of signs only two are as far
    from 0, and Student's t is surer still. Times the 3 pairs. Two equal cells have p = 1."""
    for phi, gain in (("return", 0), ("rtg", 0), ("advantage", 1)):
        for seed in range(8):
            run(cell(tmp_path, f"phi={phi}"), seed, [5.0 * seed + gain * (seed + 1)] * 4)
    table = tables.paired_differences(frames.load(tmp_path, "main"))
    pairs = [tuple(pair) for pair in table[["label", "against"]].to_numpy()]
    assert pairs == [("reward-to-go", "return"), ("advantage", "return"), ("advantage", "reward-to-go")]
    assert table["final_return_p"].tolist() == pytest.approx([1, 3 / 128, 3 / 128])
    gains = np.arange(1.0, 9)
    found = table["final_return_detectable"].iloc[1]
    assert power(found, gains.std(ddof=1), 8, 0.05 / 3) == pytest.approx(0.8)


def test_who_solves_sooner_and_whose_noise_is_less(tmp_path: Path) -> None:
    """Reward-to-go solves sooner on seven seeds of eight, on one of them alone; on the last neither does. So the sign
    test has seven of seven: 2 / 128. Its noise is half that of the return on every seed, in the ratio 1/2."""
    for phi, trace in (("return", 200.0), ("rtg", 100.0)):
        made = cell(tmp_path, f"phi={phi}", "iterations=20")
        for seed in range(8):
            late = [0.0] * 10 + [450.0] * 10 if seed else [0.0] * 20
            returns = [0.0] * 20 if seed == 7 else RISE if phi == "rtg" else late
            run(made, seed, returns, online(trace * (seed + 1), 0.1 * trace * (seed + 1), 20, phi=phi))
    (found,) = [line for _, line in tables.paired_differences(frames.load(tmp_path, "main")).iterrows()]
    assert (found["sooner"], found["sooner_p"]) == (pytest.approx(7.5 / 8), pytest.approx(2 / 128))
    assert (found["noise_ratio"], found["noise_p"]) == (pytest.approx(0.5), pytest.approx(2 / 256))
    assert found["snr_difference"] == pytest.approx(-10 * 4.5)
    assert found["snr_p"] == pytest.approx(2 / 256)


def test_noise_that_a_few_episodes_make_is_not_tested(tmp_path: Path) -> None:
    """Two of ten probes with 7 informative episodes leave no test of noise; one does. The same variance with a heavy
    tail looks like less of it: on 20 seeds of lognormal gradients 61% of such tests were significant."""
    for name, few in (("one", 1), ("two", 2)):
        for phi, trace in (("return", 200.0), ("rtg", 100.0)):
            made = cell(tmp_path / name, f"phi={phi}")
            for seed in range(10):
                rows = online(trace * (seed + 1), 0.1 * trace * (seed + 1), 4, phi=phi)
                carried = 7.0 if phi == "rtg" and seed < few else 30.0
                run(made, seed, [1.0] * 4, [row | {"informative": carried} for row in rows])
        study = frames.load(tmp_path / name, "main")
        found = tables.paired_differences(study)
        columns = ["noise_ratio", "noise_p", "snr_difference", "snr_p"]
        assert found[columns].notna().to_numpy().all() == (few == 1)
        assert found["final_return_p"].notna().all()
        assert any(
            "noise that comes from 8 episodes or more" in text for told in paragraphs(study) for text in told
        ) == (few == 2)


def test_one_return_tells_nothing_of_steadiness(tmp_path: Path) -> None:
    """Not that it was steady: no value, where 0 [0, 0] would be the steadiest run there is."""
    made = cell(tmp_path, "phi=rtg", "iterations=1")
    for seed in range(5):
        run(made, seed, [1.0 * seed])
    (found,) = [line for _, line in tables.stability(frames.load(tmp_path, "main")).iterrows()]
    assert found.filter(regex="iqr_along_run|cvar_drawdown").isna().all()


def test_only_what_had_the_same_budget_is_compared(tmp_path: Path) -> None:
    """Cells of one iteration, as of a probe alone, do not cut the others' areas off, nor meet them in pairs."""
    for overrides, length in ((["phi=rtg"], 20), (["phi=return"], 20), (["phi=rtg"], 1), (["phi=q"], 1)):
        made = cell(tmp_path, *overrides, f"iterations={length}")
        for seed in (0, 1):
            run(made, seed, [1.0] * length)
    study = frames.load(tmp_path, "main")
    assert sorted(tables.sample_efficiency(study)["common_env_steps"]) == [10, 10, 200, 200]
    assert len(tables.paired_differences(study)) == 2
    for budget in ("algorithm=a2c", "algorithm=dqn"):
        run(cell(tmp_path, budget, "env_steps=4000"), 0, [1.0] * 20)
    run(cell(tmp_path, "phi=rtg", "env_steps=4000"), 0, [1.0] * 20)
    wide = frames.load(tmp_path, "main")
    own = parts(wide.cells)[["env_steps=4000" in cell for cell in wide.cells.index]]
    assert len(own) == 3
    assert len(set(own)) == 1


def test_a_horizon_that_would_cut_off_most_of_a_run_is_refused(tmp_path: Path) -> None:
    """The bad variant's episodes are short: 60 env steps beside 140, and no area; beside 120 there is one."""
    for seed, length in ((0, 6), (1, 12)):
        run(cell(tmp_path, "phi=rtg", "iterations=20"), seed, [5.0] * length)
    table = tables.sample_efficiency(frames.load(tmp_path, "main"))
    assert (table["auc"].item(), table["common_env_steps"].item()) == (5, 60)
    run(cell(tmp_path, "phi=return", "iterations=20"), 0, [5.0] * 14)
    study = frames.load(tmp_path, "main")
    table = tables.sample_efficiency(study)
    assert table[["auc", "common_env_steps"]].isna().all(axis=None)
    assert "AUC" not in tables.shown(table)
    tables.side_by_side(study)


def test_seeds_that_choose_step_sizes_are_in_no_table(tmp_path: Path) -> None:
    made = cell(tmp_path, "phi=rtg", "iterations=20")
    for seed in (0, 1, 100, 101, 102):
        run(made, seed, [float(seed)] * 20, online(100.0, 0.1, 20))
    study = frames.load(tmp_path, "main")
    assert {name: frame["runs"].max() for name, frame in tables.tables(study).items() if "runs" in frame} == {
        "sample_efficiency": 2,
        "stability": 2,
        "noise": 2,
        "side_by_side": 2,
    }
    assert (study.cells["complete"].item(), study.cells["left_out"].item(), len(study.tuning_runs)) == (2, 0, 3)
    assert frames.left_for_tuning(study).startswith("3 runs of seeds from 100 on are in no number")
    assert frames.tuning(pd.Series([*range(150)])).sum() == 0, "one range"
    assert frames.tuning(pd.Series([100, 120])).sum() == 0, "there is nothing else"


def test_pairs_of_very_many_cells_are_left_out(tmp_path: Path) -> None:
    for rate in range(1, paired_tests.MOST + 2):
        for seed in (0, 1):
            run(cell(tmp_path, f"optimizer.lr={rate}"), seed, [float(rate)] * 4)
    assert tables.paired_differences(frames.load(tmp_path, "main")).empty


def test_the_spread_across_learning_rates_is_of_one_variant(tmp_path: Path) -> None:
    for rate, height in ((0.001, 10), (0.01, 30), (0.1, 20)):
        run(cell(tmp_path, "phi=rtg", f"optimizer.lr={rate}"), 0, [height] * 4)
    run(cell(tmp_path, "phi=return"), 0, [99] * 4)
    table = tables.stability(frames.load(tmp_path, "main"))
    assert table["spread_across_lr"].tolist() == pytest.approx([np.nan, 20, 20, 20], nan_ok=True)
    assert sorted(table["label"])[1:] == [f"reward-to-go (optimizer.lr={rate})" for rate in (0.001, 0.01, 0.1)]


def test_one_seed_has_no_limits_but_the_probe_s(tmp_path: Path) -> None:
    run(cell(tmp_path, "phi=rtg", "iterations=20"), 0, RISE, online(100.0, 0.1, 20))
    made = tables.tables(frames.load(tmp_path, "main"))
    assert list(made) == ["sample_efficiency", "stability", "noise", "side_by_side"]
    assert np.isnan(made["sample_efficiency"]["final_return_low"].item())
    assert made["stability"][["iqr_across_seeds", "worst_quarter"]].isna().all(axis=None)
    assert made["noise"]["trace_variance_low"].tolist() == [50, 50]
    assert made["noise"]["nsr_high"].tolist() == [20, 20]


def test_iterations_without_an_end_of_an_episode_are_passed_over(tmp_path: Path) -> None:
    made = cell(tmp_path, "phi=rtg", "iterations=8")
    run(made, 0, [np.nan, 100, np.nan, 200, np.nan, np.nan, 300, np.nan])
    run(made, 1, [300] * 8)
    run(made, 2, [np.nan] * 8)
    study = frames.load(tmp_path, "main")
    runs = outcomes(study)
    assert runs[["seed", "final_return"]].to_numpy().tolist() == [[0, 300], [1, 300]]
    assert runs["env_steps"].tolist() == [70, 80]
    # 100 to 20 env steps, a line to 200 at 40, a line to 300 at 70, where the shortest run ends
    assert runs["auc"].tolist() == pytest.approx([(100 * 20 + 150 * 20 + 250 * 30) / 70, 300])
    assert tables.sample_efficiency(study)["runs"].item() == 2


def test_evaluations_are_reported_where_there_are_any(tmp_path: Path) -> None:
    made = cell(tmp_path, "phi=rtg", "iterations=4")
    for seed, last in ((0, 7.0), (1, 9.0)):
        run(made, seed, [1.0] * 4, evaluation_return_mean=[np.nan, 5.0, last, np.nan])
    table = tables.sample_efficiency(frames.load(tmp_path, "main"))
    assert table["evaluation_return"].item() == 8


def test_learners_without_a_return_have_no_row(tmp_path: Path) -> None:
    run(cell(tmp_path, "phi=rtg", "iterations=4"), 0, [np.nan] * 4, value_rms_error=[4.0, 3.0, 2.0, 1.0])
    study = frames.load(tmp_path, "main")
    assert tables.tables(study) == {}
    empty = [tables.sample_efficiency(study), tables.stability(study), tables.side_by_side(study)]
    assert [len(tables.markdown(tables.shown(frame)).splitlines()) for frame in empty] == [2, 2, 2]


def test_a_study_without_a_complete_run_is_refused_in_one_line(tmp_path: Path) -> None:
    made = cell(tmp_path, "phi=rtg")
    with pytest.raises(UserError, match="empty"):
        tables.tables(frames.load(tmp_path, "main"))
    made.fail(0, "boom")
    made.fail(1, "boom")
    study = frames.load(tmp_path, "main")
    for make in (*tables.TABLES.values(), tables.tables):
        with pytest.raises(UserError, match=r"2 failed|probed") as error:
            make(study)
        assert "\n" not in str(error.value)


def test_what_is_not_finite_is_written_as_such() -> None:
    frame = pd.DataFrame({"label": ["a", "b"], "x": [np.inf, -2.5], "x_low": [1.0, np.nan], "x_high": [np.inf, np.nan]})
    read = tables.shown(frame.assign(big=[123456.0, 1.234e9], none=np.nan, left_out=[0, 0], env="e"))
    assert read.columns.tolist() == ["label", "x", "big"]
    assert read["x"].tolist() == ["∞ [1, ∞]", "−2.5"]
    assert read["big"].tolist() == ["123,456", "1.23×10⁹"]
    assert tables.shown(pd.DataFrame({"nsr": [np.inf, 2.0]}))["NSR"].tolist() == ["unbounded", "2"]


HOSTILE = r"50%_of $x$ & {a\b} ~^#<script>|−∞"


def test_latex_is_escaped_sign_by_sign(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": [HOSTILE], "return_mean": [1.5]})
    tables.save(frame, tmp_path, "t")
    text = (tmp_path / "t.tex").read_text()
    assert text.splitlines() == [
        r"\begin{tabular}{lr}",
        r"  \toprule",
        r"  label & return mean \\",
        r"  \midrule",
        r"  50\%\_of \$x\$ \& \{a\textbackslash{}b\} \textasciitilde{}\textasciicircum{}\#\textless{}script"
        r"\textgreater{}\textbar{}$-$$\infty$ & 1.5 \\",
        r"  \bottomrule",
        r"\end{tabular}",
    ]
    line = (tmp_path / "t.md").read_text().splitlines()[2]
    assert re.split(r"(?<!\\)\|", line)[1].strip() == r"50%\_of \$x\$ \& \{a\\b\} \~^\#&lt;script>\|−∞"


def test_csv_keeps_every_column_and_digit(study: frames.StudyFrames, tmp_path: Path) -> None:
    frame = tables.side_by_side(study).assign(third=1 / 3)
    paths = tables.save(frame, tmp_path / "new", "side")
    assert [path.name for path in paths] == ["side.csv", "side.md", "side.tex"]
    with paths[0].open() as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["cell", *frame.columns]
    assert float(lines[0]["third"]) == 1 / 3
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        tables.save(frame, tmp_path / "file", "side")


def test_the_screen_shows_markup_as_text_and_says_what_it_leaves_out() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    frame = pd.DataFrame({"label": ["[red]x[/red]"] * 50, "y": range(50)})
    tables.show(frame, "t", console)
    text = console.export_text()
    assert text.count("[red]x[/red]") == tables.SHOWN
    assert "10 more rows" in text


NAMES = (
    HOSTILE,
    "a #1 ~x^2 \\\\ [3] *y* `q' {",
    'say "no" --- 100%',
    "R̄ − γᵗ Φ∇ é ą ½ “x” • ≤ ∞",
    "日本語 и 😀",
    "\\end{tabular}",
)


@pytest.mark.skipif(not (shutil.which("tectonic") or shutil.which("pdflatex")), reason="no TeX here")
def test_latex_compiles_with_booktabs(tmp_path: Path) -> None:
    """Every table of a study whose cells have hostile names."""
    for rate in range(len(NAMES)):
        made = cell(tmp_path, "phi=rtg", "env=chain", f"optimizer.lr=0.{rate + 1}")
        for seed in range(3):
            run(made, seed, [seed, 2.0, 3.0], online(4.0, 0.5, 3))
    loaded = frames.load(tmp_path, "main")
    named = loaded.cells.assign(label=NAMES, variant=NAMES)
    hostile = replace(loaded, cells=named, probe=loaded.probe.assign(label=NAMES[0]))
    found = tables.tables(hostile)
    assert found.keys() == tables.TABLES.keys()
    for name, frame in found.items():
        tables.save(frame, tmp_path, name)
    inputs = "".join(rf"\input{{{name}}}" for name in found)
    text = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}\tiny {inputs}\end{{document}}"
    (tmp_path / "paper.tex").write_text(text)
    engine = ["tectonic"] if shutil.which("tectonic") else ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([*engine, "paper.tex"], cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_says_every_sign_in_commands_that_it_has() -> None:
    assert escaping.latex("é ł R̄ ½ γᵗ") == r"\'{e} \l{} \={R} 1/2 $\gamma$t"
    assert escaping.latex("a--b – ² 日") == r"a-{}-b \textendash{} $^{2}$ U+65E5"
    assert escaping.latex('"x" [1]*') == r"\textquotedblright{}x\textquotedblright{} {[}1{]}{*}"
    assert all(sign.isascii() for sign in escaping.latex("".join(map(chr, range(32, 0x3000)))))
