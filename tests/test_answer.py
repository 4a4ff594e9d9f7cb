"""The first words of a report: which variant is best, whether that is settled, and whether noise is the reason."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_report import ROWS, cell, climb, finish

from ablate.analysis import frames, report, tables
from ablate.analysis.answer import answer
from ablate.analysis.leading import simultaneous_p_value
from ablate.analysis.plots import sweeps
from ablate.analysis.plots.data import drawn
from ablate.analysis.selection import CellFilter, chosen

Variants = dict[str, tuple[float, float | None]]  # Phi: where it ends, the noise at its first policy


def study(outputs: Path, name: str, variants: Variants, seeds: int = 8, *overrides: str) -> None:
    for phi, (top, noise) in variants.items():
        made = cell(outputs, name, f"phi={phi}", *overrides)
        for seed in range(seeds):
            finish(made, seed, climb(top, seed), None if noise is None else noise * (1 + 0.01 * seed))


def told(outputs: Path, name: str) -> str:
    return " ".join(answer(frames.load(outputs, name)))


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"rtg": (100, 2.0), "return": (20, 50.0)}, "it ends above return in a paired test over 8 seeds"),
        ({"rtg": (100, 2.0), "return": (20, 50.0)}, "Noise may be the reason"),
        ({"rtg": (100, 50.0), "return": (20, 2.0)}, "Noise is not the only reason: in 1 of 1 pair"),
        ({"rtg": (100, 2.0), "return": (20, 2.0)}, "no test tells their noise at the first policy apart"),
        ({"rtg": (100, None), "return": (20, None)}, "no run was probed"),
        ({"rtg": (100, 2.0), "return": (100, 50.0)}, "not settled: none ends above another in a paired test"),
        (
            {"return": (20, 50.0), "rtg": (100, 2.0), "advantage": (100, 1.0)},
            "Not settled is which of the two is best: ",
        ),
        ({"rtg": (100, 2.0), "return": (100, 50.0)}, "no difference yet that noise could explain"),
        (
            {"return": (20, 50.0), "rtg": (100, 2.0), "advantage": (100, 1.0)},
            "each end above return in a paired test over 8 seeds.",
        ),
    ],
)
def test_it_says_what_the_paired_tests_decide(tmp_path: Path, variants: Variants, said: str) -> None:
    study(tmp_path, "answered", variants)
    assert said in told(tmp_path, "answered")


def test_a_variant_ahead_of_every_other_is_best(tmp_path: Path) -> None:
    study(tmp_path, "three", {"return": (20, 50.0), "rtg": (60, 9.0), "advantage": (100, 1.0)})
    assert told(tmp_path, "three").startswith(
        "Best is advantage, and that is settled: it ends above every other variant"
    )


def test_one_seed_settles_nothing(tmp_path: Path) -> None:
    study(tmp_path, "single", {"rtg": (100, 2.0), "return": (20, 50.0)}, 1)
    assert "not settled: reward-to-go has the highest final return, 99, and a test takes two seeds" in told(
        tmp_path, "single"
    )


def test_one_cell_is_told_by_itself(tmp_path: Path) -> None:
    study(tmp_path, "alone", {"rtg": (100, 2.0)})
    said = told(tmp_path, "alone")
    assert said.startswith("One cell only, reward-to-go on chain, so there is nothing to compare; it ends at ")
    assert "words" not in [section.id for section in report.report(tmp_path, "alone").sections]  # nothing is said twice


def test_of_many_cells_it_names_the_best_and_those_that_are_not_told_apart(tmp_path: Path) -> None:
    """Two at 100, give or take one, and twelve at 10 to 21; without one of the two, the other is the best."""
    rng = np.random.default_rng(0)
    for rate, top in enumerate([100, *range(10, 22), 100], 1):
        made = cell(tmp_path, "many", f"optimizer.lr={rate / 1000}")
        for seed in range(8):
            finish(made, seed, np.linspace(0, top + rng.normal(), ROWS), 100 / top * (1 + 0.01 * rng.normal()))
    loaded = frames.load(tmp_path, "many")
    said = " ".join(answer(loaded))
    assert re.match(r"Which of 14 cells is best is not settled: reward-to-go \(optimizer.lr=0.0[01][14]\) has", said)
    assert "is not told apart from it; settled is that it ends above 12 others, the first of them" in said
    assert re.search(r"first of them reward-to-go \(optimizer.lr=0.01[23]\), [12]\d\.?\d* \(p = ", said)
    assert "paired tests over 8 seeds, corrected for all 91 pairs. Noise may be the reason" in said
    assert sweeps.settings(loaded)["optimizer.lr"].nunique() == 14
    seen = drawn(sweeps.ranked(loaded))
    final = tables.side_by_side(loaded)["final_return"].sort_values(ascending=False)
    assert np.allclose(seen["x"][seen["kind"] == "value"], final)
    assert seen["row"][seen["kind"] == "value"].eq("4 more").sum() == 4
    said = " ".join(answer(chosen(loaded, CellFilter(drop=("optimizer.lr=0.001",)))))
    assert said.startswith("Best of 13 cells is reward-to-go (optimizer.lr=0.014), and that is settled")


def test_it_is_students_t_of_two_corrected_for_all_pairs() -> None:
    """Ten differences with t = 5.6: the sign-flip test's 2 / 2^10 is far below 91 times Student's."""
    d = np.array([1.0, 2, 3, 1, 2, 3, 1, 2, 3, 4])
    student = stats.ttest_1samp(d, 0).pvalue
    assert simultaneous_p_value(d, 2) == pytest.approx(max(student, 2 / 2**10))
    assert simultaneous_p_value(d, 14) == pytest.approx(91 * student)
    assert simultaneous_p_value(d, 1000) == 1


def test_the_best_of_equal_cells_is_seldom_called_ahead() -> None:
    """14 cells of one distribution: 5% of 300 studies have a standard deviation of 1.3%."""
    studies = np.random.default_rng(0).normal(size=(300, 14, 8))
    wrong = 0
    for returns in studies:
        best = returns.mean(1).argmax()
        others = np.delete(returns, best, axis=0)
        wrong += min(simultaneous_p_value(other - returns[best], 14) for other in others) <= 0.05
    assert wrong / len(studies) < 0.08


def test_differences_without_spread_are_corrected_for_the_pairs() -> None:
    """Eight of eight by the same amount: 2 / 2^8 of one pair, and 91 times that of all pairs of 14."""
    assert simultaneous_p_value(np.full(8, 3.0), 2) == pytest.approx(2 / 2**8)
    assert simultaneous_p_value(np.full(8, 3.0), 14) == pytest.approx(91 * 2 / 2**8)


def test_of_several_problems_it_counts_who_is_best_where(tmp_path: Path) -> None:
    """Reward-to-go is ahead on two of three, with less noise; on the third the two have one return."""
    for horizon, top in ((5, 20), (6, 20), (7, 100)):
        study(tmp_path, "places", {"rtg": (100, 2.0), "return": (top, 50.0)}, 8, f"env.horizon={horizon}")
    said = told(tmp_path, "places")
    assert "Of 3 problems, by paired tests over shared seeds of the final return: best, and settled, is " in said
    assert "reward-to-go on 2; not settled on 1. Noise may be the reason" in said
    (picture,) = report.report(tmp_path, "places").glance
    panels = drawn(picture.figure)
    assert set(panels["panel"]) == {f"chain env.horizon={horizon}" for horizon in (5, 6, 7)}
    assert np.allclose(
        sorted(panels["x"][panels["kind"] == "value"]),
        sorted(tables.side_by_side(frames.load(tmp_path, "places"))["final_return"]),
    )


def test_a_study_that_failed_gives_the_first_reason(tmp_path: Path) -> None:
    made = cell(tmp_path, "failed", "phi=rtg")
    made.fail(0, "ValueError: the pole is broken")
    made.fail(1, "ValueError: so is this one")
    (said,) = report.report(tmp_path, "failed").headline
    assert "(2 failed)" in said
    assert said.endswith("The first reason given: ValueError: the pole is broken.")
