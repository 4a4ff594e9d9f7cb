"""The rule that turns estimates into verdicts: answers, words, levels, and how often it is wrong."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.analysis.verdicts.estimates import AllAlike, Estimate, Exact, Mean, Share, bounded_mean
from ablate.analysis.verdicts.question import Question
from ablate.analysis.verdicts.verdict import (
    LEVEL,
    WORDS,
    ClaimFinding,
    Condition,
    ConditionResult,
    Verdict,
    evaluate,
    family,
    from_record,
)

NAN, INF = float("nan"), float("inf")
MORE = Question("a number", "more", 0.0, 0.2, "so it is declared")
LESS = Question("a number", "less", 0.0, 0.2, "so it is declared")
EQUAL = Question("a number", "equal", 1.0, 0.2, "so it is declared")


def verdict(question: Question, *estimates: Estimate, beside: Sequence[Estimate] = ()) -> Verdict:
    places = [Condition(f"place {k}", {"q": estimate}) for k, estimate in enumerate(estimates)]
    places += [Condition(f"beside {k}", {"q": estimate}, within=False) for k, estimate in enumerate(beside)]
    return evaluate("C0", {"q": question}, ClaimFinding(places))


def answer(question: Question, estimate: Estimate, level: float = LEVEL) -> str:
    return ConditionResult(Condition("here", {"q": estimate}), {"q": question}).answer(level)


def around(centre: float, spread: float, count: int) -> np.ndarray:
    """`count` numbers with this mean and standard deviation, exactly."""
    x = np.linspace(-1, 1, count)
    return centre + spread * x / x.std(ddof=1)


ESTIMATES = st.one_of(
    st.builds(Exact, st.floats(-2, 3)),
    st.builds(Mean, st.floats(-2, 3), st.floats(0.01, 2), st.integers(3, 50)),
    st.integers(1, 60).flatmap(lambda n: st.builds(Share, st.integers(0, n), st.just(n))),
    st.builds(AllAlike, st.floats(-2, 3), st.integers(3, 50), st.floats(-5, -2), st.floats(3, 5)),
)


# Estimates


@given(ESTIMATES, st.floats(-1, 2), st.floats(1e-6, 0.9))
def test_limits_and_p_values_never_disagree(estimate: Estimate, border: float, level: float) -> None:
    low, high = estimate.limits(level)
    if abs(high - border) > 1e-9:
        assert (high < border) == (estimate.below(border) <= level)
    if abs(low - border) > 1e-9:
        assert (low > border) == (estimate.above(border) <= level)


@given(ESTIMATES, st.floats(1e-4, 0.4))
def test_a_stricter_interval_holds_the_other(estimate: Estimate, level: float) -> None:
    (low, high), (wide_low, wide_high) = estimate.limits(level), estimate.limits(level / 2)
    assert wide_low <= low <= high <= wide_high


def test_limits_of_a_mean_and_of_a_share_are_the_textbooks() -> None:
    x = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    assert Mean.of(x).limits(0.1) == pytest.approx(stats.t.interval(0.9, 4, x.mean(), stats.sem(x)))
    for k in (0, 3, 20):
        known = stats.binomtest(k, 20).proportion_ci(0.99, "exact")
        assert Share(k, 20).limits(0.01) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [NAN, 1.0, 2.0, 3.0], [INF, 1.0, 2.0, 3.0], [7.0] * 9])
def test_what_has_no_spread_or_no_number_says_nothing(values: list[float]) -> None:
    """Too few values; one that is not a number; and values that are all the same, which show no spread."""
    estimate = Mean.of(values)
    assert answer(MORE, estimate) == answer(EQUAL, estimate) == "undecided"
    assert estimate.limits(0.05) == (-INF, INF)


def test_values_that_are_all_the_same_tell_what_their_range_lets_them() -> None:
    """24 of 24 at the top of [0, 1]: P(top) is 0.05^(1/24) = 0.883 at least, at level 0.1, and so is the mean."""
    top = bounded_mean([1.0] * 24, 0.0, 1.0)
    assert top.limits(0.1) == pytest.approx((0.05 ** (1 / 24), 1.0))
    assert answer(MORE, top) == "holds"
    assert answer(MORE, bounded_mean([1.0] * 24, -9.0, 1.0)) == "undecided", "a single one at -9 would undo it"
    assert bounded_mean([1.0, 1.0], 0.0, 1.0).limits(0.1) == (-INF, INF)
    assert bounded_mean([0.5, 0.25, 1.0], 0.0, 1.0) == Mean.of([0.5, 0.25, 1.0])


@pytest.mark.parametrize("often", [0.5, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("samples", [3, 10, 24])
def test_limits_of_values_that_are_all_the_same_miss_as_seldom_as_they_say(often: float, samples: int) -> None:
    """Values of 1, but for one in 1/(1 - often) at 0: of all samples, those that are all 1 with limits that leave out
    the mean are 2.5% at most, by the binomial."""
    alike = bounded_mean([1.0] * samples, 0.0, 1.0)
    missed = alike.limits(0.05)[0] > often
    assert often**samples * missed <= 0.025


# Answers at a place


@pytest.mark.parametrize(
    ("question", "effect", "spread", "said"),
    [
        (MORE, 1.0, 0.1, "holds"),
        (MORE, -1.0, 0.1, "fails"),
        (MORE, 0.1, 0.05, "negligible"),  # surely above 0, and surely less than what matters
        (MORE, -0.1, 0.05, "negligible"),
        (MORE, 0.1, 0.5, "undecided"),
        (MORE, 0.3, 0.15, "holds"),
        (LESS, -1.0, 0.1, "holds"),
        (LESS, 1.0, 0.1, "fails"),
        (LESS, 0.0, 0.1, "negligible"),
        (EQUAL, 1.0, 0.1, "holds"),
        (EQUAL, 1.5, 0.1, "fails"),
        (EQUAL, 0.5, 0.1, "fails"),
        (EQUAL, 1.2, 0.1, "undecided"),
    ],
)
def test_the_answers(question: Question, effect: float, spread: float, said: str) -> None:
    assert answer(question, Mean.of(around(effect, spread, 9))) == said
    (row,) = verdict(question, Mean.of(around(effect, spread, 9))).rows
    assert row.answer == said


def test_a_known_number_is_its_own_limits() -> None:
    said = {x: answer(LESS, Exact(x)) for x in (-0.3, -0.1, 0.0, 0.1, 0.3, NAN)}
    assert list(said.values()) == ["holds", "negligible", "negligible", "negligible", "fails", "undecided"]
    assert answer(EQUAL, Exact(1.19)) == "holds"
    assert answer(EQUAL, Exact(1.21)) == "fails"


def test_failing_to_reject_is_not_support() -> None:
    """A difference that is not significant, in too small a sample for equivalence: no answer, and how many would do."""
    noisy = np.array([-1.0, 1.5, -0.8, 0.9, 0.1, -0.6]) + 1
    assert stats.ttest_1samp(noisy, 1).pvalue > 0.5
    found = verdict(EQUAL, Mean.of(noisy))
    assert found.word == "INCONCLUSIVE"
    assert found.needed is not None
    assert found.needed > 200
    assert verdict(EQUAL, Mean.of(1 + (noisy - 1) / 100)).word == "SUPPORTED"


def test_the_sample_that_is_needed_comes_from_the_declared_effect() -> None:
    """Whatever was observed: a few above ((z_{1 - a/2} + z_{.9}) s / d)^2, and with it either truth is decided in 80%:
    no effect (negligible), and the smallest that matters (holds). 2000 samples: sd of the share 0.9%."""
    means = [Mean(effect, 1.0, 8) for effect in (-0.5, 0.0, 0.01, 0.19, 0.5)]
    needed = {MORE.needed(mean, LEVEL) for mean in means}
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.9)
    (n,) = needed
    assert 0 < n - (z / 0.2) ** 2 < 4
    rng = np.random.default_rng(0)
    for truth, said in ((0.0, "negligible"), (0.2, "holds")):
        x = truth + rng.standard_normal((2000, n))
        answers = [answer(MORE, Mean(m, s, n)) for m, s in zip(x.mean(1), x.std(1, ddof=1), strict=True)]
        assert answers.count(said) / 2000 > 0.77


def test_a_conjunction_fails_where_one_part_fails() -> None:
    good, bad, small, open_ = (Mean.of(around(x, s, 9)) for x, s in ((1, 0.1), (-1, 0.1), (0, 0.05), (0.2, 1)))

    def both(one: Estimate, other: Estimate) -> Verdict:
        return evaluate("C0", {"a": MORE, "b": MORE}, ClaimFinding([Condition("here", {"a": one, "b": other})]))

    assert both(good, good).word == "SUPPORTED"
    assert [row.answer for row in both(good, bad).rows] == ["fails"]
    assert both(good, bad).rows[0].where == "here: b"
    assert both(bad, open_).word == "REFUTED"
    (row,) = both(bad, open_).rows
    assert [(other.where, other.answer, other.effect) for other in row.others] == [
        ("here: b", "undecided", pytest.approx(0.2))
    ]
    (row,) = both(good, bad).rows
    assert [(other.where, other.answer) for other in row.others] == [("here: a", "holds")]
    assert row.others[0].low < 1 < row.others[0].high
    assert row.others[0].level == row.level == 0.025  # one of two that may speak against it
    assert [other.answer for other in both(bad, small).rows[0].others] == ["negligible"]
    kept = both(good, bad)
    assert from_record(json.loads(json.dumps(kept.record()))).rows == kept.rows
    assert [row.answer for row in both(good, small).rows] == ["negligible"]
    assert [row.answer for row in both(small, bad).rows] == ["fails"]
    assert both(good, open_).word == "INCONCLUSIVE"


def test_a_conjunction_is_corrected_where_it_fails_and_not_where_it_holds() -> None:
    """Two parts, each surely above 0 at p = 0.03: it holds. One of two below 0 at p = 0.03 = 0.06 / 2: undecided at 5%,
    where that part alone would fail."""
    good = Mean(float(stats.t.isf(0.015, 19)) / np.sqrt(20), 1.0, 20)
    bad = Mean(-good.value, 1.0, 20)
    questions = {"a": MORE, "b": MORE}
    assert ConditionResult(Condition("here", {"a": good, "b": good}), questions).answer(LEVEL) == "holds"
    assert (
        ConditionResult(Condition("here", {"a": Mean(5.0, 1.0, 20), "b": bad}), questions).answer(LEVEL) == "undecided"
    )
    assert ConditionResult(Condition("here", {"a": Mean(5.0, 1.0, 20), "b": bad}), questions).answer(0.061) == "fails"
    assert answer(MORE, bad) == "fails"


def test_a_question_that_is_not_declared_is_a_bug() -> None:
    with pytest.raises(KeyError, match="does not ask"):
        evaluate("C0", {"a": MORE}, ClaimFinding([Condition("here", {"b": Exact(1.0)})]))


# Words


def test_the_words() -> None:
    good, bad, small, open_ = (Exact(x) for x in (1.0, -1.0, 0.1, NAN))
    assert verdict(MORE, good, good, beside=[bad]).word == "SUPPORTED"
    assert verdict(MORE, bad, bad).word == verdict(MORE, bad, small).word == verdict(MORE, small).word == "REFUTED"
    assert verdict(MORE, good, bad, open_).word == verdict(MORE, good, small).word == "CONDITIONAL"
    for places in ([good, open_], [open_], [], [bad, open_]):
        assert verdict(MORE, *places).word == "INCONCLUSIVE"
    assert verdict(MORE, beside=[good]).word == "INCONCLUSIVE"
    assert [row.where for row in verdict(MORE, good, beside=[bad]).answered("fails")] == ["beside 0"]
    sampled = Mean.of([1.0, 1.1, 1.2])
    strict = replace(verdict(MORE, sampled, beside=[sampled]), level=0.001)  # 95% beside it, whatever its own level
    assert [row.level for row in strict.rows] == [0.001, 0.05]


def test_every_word_and_every_answer_is_reached_by_samples() -> None:
    good, bad, small, open_ = (Mean.of(around(x, s, 12)) for x, s in ((1, 0.1), (-1, 0.1), (0, 0.05), (0.1, 1)))
    words = [
        verdict(MORE, *places).word
        for places in ([good, good], [bad, small], [good, bad], [good, small], [good, open_])
    ]
    assert words == ["SUPPORTED", "REFUTED", "CONDITIONAL", "CONDITIONAL", "INCONCLUSIVE"]
    assert set(words) == set(WORDS)


@given(st.lists(ESTIMATES, min_size=1, max_size=4), st.sampled_from([MORE, LESS, EQUAL]), st.floats(1e-4, 0.2))
def test_what_is_shown_is_what_decided(estimates: list[Estimate], question: Question, level: float) -> None:
    """The limits of each place, read against the borders, give its answer again; and the answers give the word."""
    found = Verdict("C0", {"q": question}, verdict(question, *estimates).places, level=level)
    low_border, high_border = question.borders
    for row in found.rows:
        inside = low_border < row.low <= row.high < high_border
        above, below = row.low > question.than, row.high < question.than
        if question.asks == "equal":
            above, below = inside, row.high < low_border or row.low > high_border
        elif question.asks == "less":
            above, below = below, above
        allowed = {"negligible"} if inside and question.asks != "equal" else set()
        allowed |= {"holds"} if above and not allowed else set()
        allowed |= {"fails"} if below and not allowed else set()
        near = any(abs(x - b) < 1e-9 for x in (row.low, row.high) for b in (*question.borders, question.than))
        assert near or row.answer in (allowed or {"undecided"})
    answers = {row.answer for row in found.rows}
    if found.word in ("SUPPORTED", "REFUTED"):
        assert answers <= ({"holds"} if found.word == "SUPPORTED" else {"fails", "negligible"})
    elif found.word == "CONDITIONAL":
        assert "holds" in answers
        assert answers & {"fails", "negligible"}
    if found.p_value is not None and found.word != "INCONCLUSIVE":
        assert found.p_value <= level * (1 + 1e-9)


def test_an_intersection_is_not_corrected_for_its_places_and_a_mixture_is() -> None:
    """Ten places each with p = 0.02: all ten together are SUPPORTED at 5%; one that speaks against at p = 0.02 among
    nine sure ones does not make the claim CONDITIONAL."""
    good = Mean(float(stats.t.isf(0.01, 19)) / np.sqrt(20), 1.0, 20)
    assert good.above(0) == pytest.approx(0.02)
    assert verdict(MORE, *[good] * 10).word == "SUPPORTED"
    against = Mean(-good.value, 1.0, 20)
    sure = Mean(5.0, 1.0, 20)
    assert verdict(MORE, *[sure] * 9, against).word == "INCONCLUSIVE"
    assert verdict(MORE, sure, Mean(-5.0, 1.0, 20)).word == "CONDITIONAL"


# The family


def test_holms_levels() -> None:
    """p = .001, .02, .03 of a family of four: judged at 5%/4; at 5%/3 = 1.67%, which .02 misses; and so the third too,
    which at 5%/2 = 2.5% would not have been decided either. An exact claim has none."""

    def claim(name: str, p: float) -> Verdict:
        mean = Mean(float(stats.t.isf(p / 2, 19)) / np.sqrt(20), 1.0, 20)
        return evaluate(name, {"q": MORE}, ClaimFinding([Condition("here", {"q": mean})]))

    exact = evaluate("C9", {"q": MORE}, ClaimFinding([Condition("here", {"q": Exact(1.0)})]))
    found = family([claim("C1", 0.02), claim("C2", 0.001), exact, claim("C3", 0.03)], 4)
    assert [v.level for v in found] == pytest.approx([LEVEL / 3, LEVEL / 4, LEVEL, LEVEL / 3])
    assert [v.word for v in found] == ["INCONCLUSIVE", "SUPPORTED", "SUPPORTED", "INCONCLUSIVE"]
    assert found[2].p_value is None


@given(st.lists(ESTIMATES, min_size=1, max_size=6))
def test_the_correction_only_takes_answers_away(estimates: list[Estimate]) -> None:
    before = [evaluate(f"C{k}", {"q": MORE}, ClaimFinding([Condition("x", {"q": e})])) for k, e in enumerate(estimates)]
    for one, other in zip(before, family(before, 9), strict=True):
        assert other.word in (one.word, "INCONCLUSIVE") or (one.word == "REFUTED" and other.word == "SUPPORTED")
        assert other.p_value == one.p_value


def wrong_words(truths: np.ndarray, rng: np.random.Generator, shared: float, repetitions: int) -> int:
    """How many families [claims, places] of these true effects have a claim whose word is wrong. Values of a seed are
    correlated by `shared` over all places of all claims."""
    count, n = 0, 10
    claims, k = truths.shape
    for _ in range(repetitions):
        common = rng.standard_normal(n)
        own = rng.standard_normal((claims, k, n))
        x = truths[..., None] + np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        found = [verdict(MORE, *map(Mean.of, row)) for row in x]
        named = [Verdict(f"C{c}", v.questions, v.places) for c, v in enumerate(found)]
        for one, effects in zip(family(named), truths, strict=True):
            right = {"INCONCLUSIVE"}
            right |= {"SUPPORTED"} if (effects > 0).all() else set()
            right |= {"REFUTED"} if (effects < MORE.smallest_effect).all() else set()
            if one.word not in right and not (
                one.word == "CONDITIONAL"
                and any(a > 0 and b < MORE.smallest_effect for a, b in combinations([*effects, *effects[::-1]], 2))
            ):
                count += 1
                break
    return count


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_the_family_is_rarely_wrong(shared: float) -> None:
    """Eight claims of three places from 10 values each: one of three on the border and the others clear, the worst case
    of an intersection; and effects at either end of negligible. Independent and correlated. At 5% of 120 families at
    most 14 have a wrong word, with a chance of 0.1% of more for a right program."""
    rng = np.random.default_rng(int(100 * shared))
    worst = np.array([[0.0, 5.0, 5.0]] * 8)
    mixed = np.array([[0.0, 0.0, 3.0], [0.0, 0.2, 5.0], [0.2, 0.2, 0.2], [1.5, 1.5, 1.5]] * 2)
    assert wrong_words(worst, rng, shared, 120) <= 14
    assert wrong_words(mixed, rng, shared, 120) <= 14


def test_without_the_correction_it_would_be_wrong_often() -> None:
    """The same effects, each claim at 5%: the simulation can see an error."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(100):
        found = [verdict(MORE, Mean.of(rng.standard_normal(10))) for _ in range(10)]
        wrong += any(one.word == "SUPPORTED" for one in found)
    assert wrong > 12
