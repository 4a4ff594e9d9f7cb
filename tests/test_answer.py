"""The first words of a report: which variant is best, whether that is settled, and whether noise is the reason."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reports import ROWS, cell, climb, finish
from scipy import stats

from ablate.analysis import frames, report, tables
from ablate.analysis.answer import answer
from ablate.analysis.headline import paragraphs
from ablate.analysis.leading import simultaneous_p_value
from ablate.analysis.plots import sweeps
from ablate.analysis.plots.data import drawn
from ablate.analysis.run_summaries import names_within
from ablate.analysis.selection import CellFilter, chosen

Variants = dict[str, tuple[float, float | None]]  # Phi: where it ends, the noise at its first policy


def study(outputs: Path, name: str, variants: Variants, seeds: int = 8, *overrides: str) -> None:
    for phi, (top, noise) in variants.items():
        made = cell(outputs, name, f"phi={phi}", *overrides)
        for seed in range(seeds):
            finish(made, seed, climb(top, seed), None if noise is None else noise * (1 + 0.01 * seed))


def opening(outputs: Path, name: str) -> str:
    return " ".join(answer(frames.load(outputs, name)))


@pytest.mark.parametrize(
    ("variants", "sentence"),
    [
        (
            {"rtg": (100, 2.0), "return": (20, 50.0)},
            "The best variant is reward-to-go: it ends above return in a paired test over 8 seeds (p = 0.0078). "
            "Noise may be the reason: the better variant also has less gradient noise at the first policy.",
        ),
        ({"rtg": (100, 50.0), "return": (20, 2.0)}, "Noise is not the reason: the better variant has more gradient"),
        ({"rtg": (100, 2.0), "return": (20, 2.0)}, "no test separates the gradient noise at the first policy."),
        (
            {"rtg": (100, None), "return": (20, None)},
            "Whether noise is the reason is not known: these runs did not measure it.",
        ),
        (
            {"rtg": (100, 2.0), "return": (100, 50.0)},
            "Which variant is best is not settled: return has the highest final return, 99.75, but a paired test over "
            "8 seeds does not separate the two. No difference is settled yet that noise could explain.",
        ),
        (
            {"return": (20, 50.0), "rtg": (100, 2.0), "advantage": (100, 1.0)},
            "It is not settled whether reward-to-go or advantage is best: both end above return, but paired tests over "
            "8 seeds do not separate the two. Noise may be the reason: in every settled pair the better",
        ),
        (
            {"return": (20, 50.0), "rtg": (60, 9.0), "advantage": (100, 1.0)},
            "The best variant is advantage: it ends above every other variant in paired tests over 8 seeds "
            "(p ≤ 0.023).",
        ),
        (
            {"return": (20, 1.0), "rtg": (60, 9.0), "advantage": (100, 5.0)},
            "Noise is not the only reason: in 2 of 3 settled pairs the better variant has more gradient noise",
        ),
        (
            {"return": (20, 50.0), "rtg": (60, 5.0), "advantage": (100, 5.0)},
            "Noise may be part of the reason: in 2 of 3 settled pairs the better variant also has less gradient noise",
        ),
        (
            {"return": (20, 50.0), "rtg": (100, 2.0), "advantage": (100, 1.0), "td": (100, 1.0)},
            "is best: each ends above return, but paired tests over 8 seeds do not separate these three.",
        ),
    ],
)
def test_it_says_what_the_paired_tests_decide(tmp_path: Path, variants: Variants, sentence: str) -> None:
    """Of three pairs, each with p = 2 / 2^8, the largest after Holm's correction is three times that."""
    study(tmp_path, "answered", variants)
    assert sentence in opening(tmp_path, "answered")


def test_noise_of_a_few_episodes_is_not_compared_and_more_are_offered(tmp_path: Path) -> None:
    """Of 64 episodes, which is the default, 7 make the noise; four times 64 are 256."""
    for phi, top in (("rtg", 100), ("return", 20)):
        made = cell(tmp_path, "rare", f"phi={phi}")
        for seed in range(8):
            finish(made, seed, climb(top, seed), 2.0, informative=7.0)
    assert opening(tmp_path, "rare").endswith(
        "Whether noise is the reason is not known: the noise that was measured comes from fewer than 8 episodes, too "
        "few to compare it; probe.episodes=256 measures 256."
    )


def test_too_few_seeds_to_decide_are_counted(tmp_path: Path) -> None:
    """Three pairs of a test whose smallest p-value of n seeds is 2^(1 - n): below 5% from 7 seeds on."""
    study(tmp_path, "few", {"return": (20, 50.0), "rtg": (60, 9.0), "advantage": (100, 1.0)}, 4)
    assert opening(tmp_path, "few").startswith(
        "Which variant is best is not settled: advantage has the highest final return, 99.5, but paired tests over 4 "
        "seeds do not separate any two variants; at least 7 seeds are needed to decide between three variants."
    )


def test_one_seed_settles_nothing(tmp_path: Path) -> None:
    study(tmp_path, "single", {"rtg": (100, 2.0), "return": (20, 50.0)}, 1)
    assert opening(tmp_path, "single").startswith(
        "Which variant is best is not settled: reward-to-go has the highest final return, 99, but a test needs two "
        "seeds that both variants have."
    )


def test_one_cell_is_described_by_itself(tmp_path: Path) -> None:
    study(tmp_path, "alone", {"rtg": (100, 2.0)})
    assert opening(tmp_path, "alone").startswith(
        "This study has one cell, reward-to-go on chain, so there is nothing to compare. Its final return is "
    )
    assert "words" not in [section.id for section in report.report(tmp_path, "alone").sections]  # nothing is said twice


def test_of_many_cells_it_names_the_best_and_those_that_no_test_separates(tmp_path: Path) -> None:
    """Two at 100, give or take one, and twelve at 10 to 21; without one of the two, the other is the best."""
    rng = np.random.default_rng(0)
    for rate, top in enumerate([100, *range(10, 22), 100], 1):
        made = cell(tmp_path, "many", f"optimizer.lr={rate / 1000}")
        for seed in range(8):
            finish(made, seed, np.linspace(0, top + rng.normal(), ROWS), 100 / top * (1 + 0.01 * rng.normal()))
    loaded = frames.load(tmp_path, "many")
    text = " ".join(answer(loaded))
    assert re.match(
        r"Which of the 14 cells is best is not settled: the highest final return, [\d.]+, is that of reward-to-go "
        r"\(optimizer.lr=0.0[01][14]\), which paired tests over 8 seeds, corrected for all 91 pairs, do not separate "
        r"from reward-to-go \(optimizer.lr=0.0[01][14]\). It does end above the other 12, the closest being "
        r"reward-to-go \(optimizer.lr=0.01[23]\), [12]\d\.?\d* \(p [=≤] [\d.]+\). Noise may be the reason",
        text,
    )
    assert paragraphs(loaded)[0][0].startswith(
        "Environment steps by which half"
    )  # nothing of pairs that are not tested
    assert sweeps.settings(loaded)["optimizer.lr"].nunique() == 14
    seen = drawn(sweeps.ranked(loaded))
    final = tables.side_by_side(loaded)["final_return"].sort_values(ascending=False)
    assert np.allclose(seen["x"][seen["kind"] == "value"], final)
    assert seen["row"][seen["kind"] == "value"].eq("4 more").sum() == 4
    text = " ".join(answer(chosen(loaded, CellFilter(drop=("optimizer.lr=0.001",)))))
    assert text.startswith("The best of the 13 cells is reward-to-go (optimizer.lr=0.014): with a final return of ")


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
    assert opening(tmp_path, "places").startswith(
        "The best variant is settled on 2 of 3 problems, by paired tests of the final return over shared seeds: "
        "reward-to-go on 2; on the other it is not settled. Noise may be the reason"
    )
    (pictures,) = report.report(tmp_path, "places").glance
    seen = [picture.figure.get_suptitle().partition("\n")[0] for picture in pictures.blocks]
    ahead = [f"chain env.horizon={horizon}: reward-to-go ends above every other" for horizon in (5, 6)]
    assert seen == [*ahead, "chain env.horizon=7: no test separates the highest from any other"]
    shown = pd.concat([drawn(picture.figure) for picture in pictures.blocks])
    assert set(shown["series"]) == {"return", "reward-to-go"}
    assert np.allclose(
        sorted(shown["x"][shown["kind"] == "value"]),
        sorted(tables.side_by_side(frames.load(tmp_path, "places"))["final_return"]),
    )


def test_where_no_problem_is_settled_it_says_who_is_highest_on_which(tmp_path: Path) -> None:
    """Of three budgets the return is highest in two, and reward-to-go in one, by less than the seeds differ."""
    for episodes, own in ((4, 99), (8, 99), (16, 101)):
        study(tmp_path, "budgets", {"rtg": (own, None), "return": (100, None)}, 3, f"episodes={episodes}")
    assert opening(tmp_path, "budgets").startswith(
        "Which variant is best is not settled on any of 3 budgets: highest is return on 2 and reward-to-go on 1, but "
        "paired tests of the final return over shared seeds put none above every other."
    )
    assert set(names_within(frames.load(tmp_path, "budgets").cells)) == {"return", "reward-to-go"}  # not what all share


def test_where_one_cell_of_several_ran_it_says_so(tmp_path: Path) -> None:
    study(tmp_path, "left", {"rtg": (100, 2.0)})
    cell(tmp_path, "left", "phi=return").fail(0, "ValueError: the pole is broken")
    assert opening(tmp_path, "left").startswith("Of 2 cells one has complete runs, reward-to-go on chain, so there is")


def test_a_study_that_failed_gives_the_first_reason(tmp_path: Path) -> None:
    made = cell(tmp_path, "failed", "phi=rtg")
    made.fail(0, "ValueError: the pole is broken")
    made.fail(1, "ValueError: so is this one")
    (text,) = report.report(tmp_path, "failed").headline
    assert "(2 failed)" in text
    assert text.endswith("The first reason given: ValueError: the pole is broken.")
