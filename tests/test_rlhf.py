"""The page on group estimators: its numbers are the ones that are computed, and its sentences follow from them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablate.sequences import advantages, aggregations
from ablate.sequences.exact import moments
from benchmarks import rlhf, rlhf_learning

PAGE = Path(__file__).parents[1] / "docs" / "rlhf.md"


def test_every_table_of_the_page_is_the_computed_one() -> None:
    page = PAGE.read_text()
    assert rlhf.filled(page) == page
    assert all(f"<!-- {name} -->" in page for name in rlhf.TABLES)


def test_the_reference_problem_is_what_the_page_says() -> None:
    problem, logits = rlhf.reference()
    assert problem.success(logits) == pytest.approx([0.6, 0.1])
    assert problem.lengths[problem.rewards.argmax(1)].tolist() == [1, 3]


def test_the_page_says_what_the_numbers_say() -> None:
    problem, logits = rlhf.reference()

    def orthogonal(advantage, aggregation) -> float:
        return moments(problem, logits, 4, advantage, aggregation).orthogonal

    standardised = rlhf.ADVANTAGES["group standardised"]
    assert orthogonal(advantages.leave_one_out, aggregations.sequence_mean) == pytest.approx(0.15, abs=0.01)
    assert orthogonal(standardised, aggregations.sequence_sum) == pytest.approx(0.014, abs=0.001)
    plain = moments(problem, logits, 4, advantages.none)
    assert plain.nsr < moments(problem, logits, 4, advantages.leave_one_out).nsr
    batch = moments(problem, logits, 4, advantages.group_mean_batch_standardised).prompt_weights
    assert batch[1] < batch[0]
    assert rlhf.at_a_budget().count("**") == 10
    assert rlhf.difficulty_weights(0.3, 8, advantages.leave_one_out_max) == pytest.approx(8 * 0.7**7)


def test_the_page_says_what_was_learnt() -> None:
    told = {}
    for line in rlhf_learning.table().splitlines()[2:]:
        group, name, *_, difference, _, verdict = (cell.strip() for cell in line.strip("|").split("|"))
        told[name, int(group)] = difference, verdict
    assert {key for key, (_, verdict) in told.items() if verdict == "better"} == {("best of N", 4), ("best of N", 16)}
    assert {key for key, (_, verdict) in told.items() if verdict == "worse"} == {("GRPO", 16)}
    assert [told["best of N", N][0].split()[0] for N in (4, 16)] == ["+11.8", "+21.3"]
    problem, logits = rlhf.reference()
    pairs = [(advantages.leave_one_out_max, "sequence sum"), (rlhf.ADVANTAGES["group standardised"], "sequence mean")]
    plain = moments(problem, logits, 4, advantages.leave_one_out).nsr
    best, grpo = (moments(problem, logits, 4, A, rlhf.AGGREGATIONS[w]).nsr / plain for A, w in pairs)
    assert best == pytest.approx(2, abs=0.2)
    assert grpo == pytest.approx(0.5, abs=0.1)


def test_the_kept_runs_are_those_of_the_command() -> None:
    """A seed run anew, in other company, has the number in the file."""
    kept = pd.read_csv(rlhf_learning.CURVES)
    row = kept[(kept["estimator"] == "RLOO") & (kept["group"] == 4) & (kept["seed"] == 7)].iloc[0]
    (again,) = rlhf_learning.runs("RLOO", 4, row["step_size"], [7])
    assert again.training == pytest.approx(row["training"], rel=1e-5)
    assert again.end == pytest.approx(row["end"], rel=1e-5)


def test_step_sizes_are_the_best_in_tuning_and_lie_inside_their_grid() -> None:
    kept = pd.read_csv(rlhf_learning.CURVES)
    tuned, reported = (kept[kept["seed"].isin(seeds)] for seeds in (rlhf_learning.TUNING, rlhf_learning.REPORTED))
    for key, own in tuned.groupby(["estimator", "group"]):
        best = own.groupby("step_size")["training"].mean().idxmax()
        chosen = reported.set_index(["estimator", "group"]).loc[key, "step_size"]
        assert set(chosen) == {best}
        assert min(rlhf_learning.STEP_SIZES) < best < max(rlhf_learning.STEP_SIZES)


@pytest.mark.parametrize(
    ("low", "high", "p", "told"),
    [
        (-1.0, 1.5, 0.5, "negligible"),
        (0.1, 1.5, 0.001, "negligible"),
        (-9.0, -3.0, 0.001, "worse"),
        (1.0, 4.0, 0.01, "better"),
        (-3.0, 1.0, 0.3, "undecided"),
        (0.5, 6.0, 0.2, "undecided"),
    ],
)
def test_a_verdict_is_the_paired_test_and_the_effect_that_was_declared(low, high, p, told) -> None:
    assert rlhf_learning.verdict(low, high, p) == told


def test_the_figure_draws_both_weights() -> None:
    left, right = rlhf.figure().axes
    assert len(left.lines) == len(rlhf.BY_DIFFICULTY)
    curve = left.lines[0].get_ydata()
    np.testing.assert_allclose(curve, 1, rtol=1e-9)
    assert "tokens" in right.get_xlabel()
