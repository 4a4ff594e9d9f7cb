"""The first words of a report: which variant is best, whether that is settled, and whether noise is the reason."""

from pathlib import Path

import numpy as np
import pytest
from test_report import ROWS, cell, climb, finish

from ablate.analysis import frames, paired_tests, report
from ablate.analysis.answer import answer

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
        ({"rtg": (100, 2.0), "return": (100, 50.0)}, "no difference yet that noise could explain"),
        (
            {"return": (20, 50.0), "rtg": (100, 2.0), "advantage": (100, 1.0)},
            "each end above return in a paired test over 8 seeds; which of the two is best is not settled.",
        ),
    ],
)
def test_it_says_what_the_paired_tests_decide(tmp_path: Path, variants: Variants, said: str) -> None:
    study(tmp_path, "answered", variants)
    assert said in told(tmp_path, "answered")


def test_a_variant_ahead_of_every_other_is_best(tmp_path: Path) -> None:
    study(tmp_path, "three", {"return": (20, 50.0), "rtg": (60, 9.0), "advantage": (100, 1.0)})
    assert told(tmp_path, "three").startswith(
        "Advantage is best, and that is settled: it ends above every other variant"
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


def test_more_cells_than_are_tested_say_why(tmp_path: Path) -> None:
    for rate in range(1, paired_tests.MOST + 3):
        made = cell(tmp_path, "many", f"optimizer.lr={rate / 1000}")
        finish(made, 0, np.linspace(0, 10 + rate, ROWS))
    said = told(tmp_path, "many")
    assert said.startswith(
        "Which of 14 cells is best is not settled: reward-to-go (optimizer.lr=0.014) has the highest"
    )
    assert "all 91 pairs" in said


def test_of_several_problems_it_counts_who_is_best_where(tmp_path: Path) -> None:
    """Reward-to-go is ahead on two of three, with less noise; on the third the two have one return."""
    for horizon, top in ((5, 20), (6, 20), (7, 100)):
        study(tmp_path, "places", {"rtg": (100, 2.0), "return": (top, 50.0)}, 8, f"env.horizon={horizon}")
    said = told(tmp_path, "places")
    assert "Of 3 problems, by paired tests over shared seeds of the final return: best, and settled, is " in said
    assert "reward-to-go on 2; not settled on 1. Noise may be the reason" in said


def test_a_study_that_failed_gives_the_first_reason(tmp_path: Path) -> None:
    made = cell(tmp_path, "failed", "phi=rtg")
    made.fail(0, "ValueError: the pole is broken")
    made.fail(1, "ValueError: so is this one")
    (said,) = report.report(tmp_path, "failed").headline
    assert "(2 failed)" in said
    assert said.endswith("The first reason given: ValueError: the pole is broken.")
