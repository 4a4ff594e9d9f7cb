"""What C19 to C21b read from runs: greedy policies at one budget, shares of environments, ranks of variants."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.analysis.claims import c19_sample_efficiency as c19
from ablate.analysis.claims import c20_stability as c20
from ablate.analysis.verdicts import along_training, on_off_policy
from ablate.analysis.verdicts.claim import chosen
from ablate.analysis.verdicts.estimates import Mean, Share
from ablate.analysis.verdicts.on_off_policy import OpenShare
from ablate.analysis.verdicts.study import _fits, asked_for

INF = float("inf")
FACTS = {"budget": 50, "random": 10.0, "best": 20.0}


def curves(*returns, rate: float = 0.1) -> pd.DataFrame:
    """Runs of seeds 0, 1, .. whose greedy policies are worth these returns after every env step."""
    rows = [
        {"rate": rate, "seed": seed, "iteration": n, "env_steps": n, "evaluation_return_mean": value}
        for seed, values in enumerate(returns)
        for n, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows)


# Greedy policies at one budget


def test_a_policy_is_held_until_the_next_iteration_ends() -> None:
    """After 100 steps of a budget of 500: nothing yet; the iteration that ends past the budget does not count."""
    grid = on_off_policy.held(np.array([120.0, 300.0, 600.0]), np.array([1.0, 2.0, 9.0]), 500)
    assert len(grid) == on_off_policy.POINTS
    np.testing.assert_array_equal(grid[[0, 10, 11, 28, 29, 49]], [0, 0, 1, 1, 2, 2])


def test_how_often_a_policy_is_evaluated_changes_nothing_between_its_changes() -> None:
    steps = np.arange(1, 501.0)
    values = np.repeat([1.0, 3.0, 2.0, 5.0, 4.0], 100)
    seldom = on_off_policy.held(steps[::100], values[::100], 500)
    np.testing.assert_array_equal(on_off_policy.held(steps, values, 500), seldom)


def test_a_run_by_hand() -> None:
    """0 for 20 steps, then 1 for 20, then 1/2 for 10, in units of best - random; a second run never gets anywhere.

    Five evaluations averaged are at 0.8 after step 24. The loss is 0 at 17 of the 27 points from there on, then 0.1 to
    0.5 in four steps, then 0.5 six times: the worst quarter, 6.75 points, is 0.5 six times and 0.75 of the next, 0.5 or
    0.4."""
    falls = [10.0] * 20 + [20.0] * 20 + [15.0] * 10
    found = on_off_policy.measured(curves(falls, [10.0] * 50), FACTS, 0.8)
    first, never = (found.iloc[k] for k in (0, 1))
    assert first["steps"] == 24
    assert never["steps"] == INF
    assert (first["final"], first["before"]) == (0.5, 0.75)  # steps 46 to 50, and 36 to 45
    losses = np.sort([0.0] * 17 + [0.1, 0.2, 0.3, 0.4] + [0.5] * 6)[::-1]
    assert first["drawdown"] == pytest.approx((losses[:6].sum() + 0.75 * losses[6]) / 6.75)
    assert np.isnan(never["drawdown"])
    assert np.isnan(never["collapse"])
    assert first["collapse"] == 0  # it keeps more than half of what it gained: 0.4


def test_a_collapse_is_that_of_the_statistics() -> None:
    lost = [10.0] * 10 + [20.0] * 20 + [11.0] * 20
    kept = [10.0] * 10 + [20.0] * 20 + [15.0] * 20
    assert on_off_policy.measured(curves(lost, kept), FACTS, 0.8)["collapse"].tolist() == [1.0, 0.0]


def sweep(*areas: float, learner: str = "A2C", family: str = "on-policy") -> pd.DataFrame:
    """Runs at the rates 1, 2, .. of these areas on the tuning seeds, and of 1 on seed 0."""
    rows = [
        {"rate": float(rate), "seed": seed, "area": 1.0 if seed < 100 else area}
        for rate, area in enumerate(areas, 1)
        for seed in (0, 100, 101)
    ]
    return pd.DataFrame(rows).assign(learner=learner, family=family, place="e")


def test_a_best_step_size_on_the_edge_of_its_grid_is_told_from_one_inside() -> None:
    inside, edge = on_off_policy.tuned(sweep(0.5, 0.6, 0)), on_off_policy.tuned(sweep(0.6, 0.5, 0))
    assert set(inside[inside["chosen"]]["rate"]) == {2.0}
    assert inside["inside"].all()
    assert set(edge[edge["chosen"]]["rate"]) == {1.0}
    assert not edge["inside"].any()
    assert on_off_policy.difference(inside[inside["chosen"]], edge[edge["chosen"]], "area").samples == 0


def test_a_plateau_that_runs_over_the_edge_is_no_edge() -> None:
    found = on_off_policy.tuned(sweep(0.605, 0.6, 0.59, 0))
    assert found["inside"].all()
    assert set(found[found["chosen"]]["rate"]) == {2.0}


def test_a_family_is_judged_by_its_best_learner_and_tuning_seeds_alone() -> None:
    both = pd.concat(
        [
            on_off_policy.tuned(sweep(0.5, 0.6, 0.5)),
            on_off_policy.tuned(sweep(0.5, 0.7, 0.5, learner="policy gradient")),
        ]
    )
    other = on_off_policy.tuned(sweep(0.2, 0.3, 0, learner="DQN", family="Q-learning"))
    found = on_off_policy.picked(pd.concat([both, other], ignore_index=True))
    assert set(found[found["picked"]]["learner"]) == {"policy gradient", "DQN"}
    assert set(found[found["picked"]]["rate"]) == {2.0}


def test_what_arrives_first_and_falls_apart_is_not_the_best() -> None:
    """By area, which a return of -1000 cannot lower below 0: of 50 points 5 are at 1, or the last 30."""
    fast, slow = [20.0] * 5 + [-1000.0] * 45, [10.0] * 20 + [20.0] * 30
    found = on_off_policy.measured(curves(fast, slow), FACTS, 0.8)
    np.testing.assert_allclose(found["area"], [0.1, 0.6])
    assert found["steps"][0] < found["steps"][1]


def place(on_policy, off_policy, budget: float = 100.0) -> pd.DataFrame:
    """One environment with these times of the on-policy learner's and the Q-learner's seeds."""
    tables = [
        pd.DataFrame({"seed": range(len(times)), "steps": times, "learner": learner, "family": family})
        for times, learner, family in ((on_policy, "A2C", "on-policy"), (off_policy, "DQN", "Q-learning"))
    ]
    return pd.concat(tables, ignore_index=True).assign(
        place="e", budget=budget, chosen=True, picked=True, inside=True, rate=0.1
    )


def test_never_counts_as_the_budget_and_two_that_never_arrive_say_nothing() -> None:
    ((_, ratio),) = c19.ratios(place([INF, INF, 50.0], [25.0, 50.0, 25.0]))
    assert ratio.value == pytest.approx(np.log([4, 2, 2]).mean())
    ((told, nothing),) = c19.ratios(place([INF] * 4, [INF, INF, 90.0, 80.0]))
    assert "neither arrives" in told
    assert nothing.samples == 0
    ((told, nothing),) = c19.ratios(place([10.0, 20.0, 30.0], [10.0] * 3).assign(inside=False))
    assert "edge" in told
    assert nothing.samples == 0


def test_spread_over_seeds_asks_for_learners_that_no_longer_rise() -> None:
    """Both end at 1, 0.9 and 0.5; the policy gradient's 0.1, 0 and 0.4 from the median."""
    rows = place([10.0] * 3, [10.0] * 3).assign(final=[1.0, 0.9, 0.5] * 2, drawdown=0.0, collapse=0.0)
    rows["learner"] = rows["learner"].replace("A2C", "policy gradient")
    np.testing.assert_allclose(c20.around_median(rows[:3])["apart"], [0.1, 0, 0.4])
    (_, settled, _) = c20.differences(rows.assign(before=rows["final"]))
    assert settled[1:] == ("spread", Mean.of([0.0] * 3))
    (_, rising, _) = c20.differences(rows.assign(before=rows["final"] - np.array([0.2] * 3 + [0.0] * 3)))
    assert rising[0] == "e, spread over seeds (still rising)"
    assert np.isnan(rising[2].value)


# A share of environments


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.floats(0.001, 0.5))
def test_an_open_share_bounds_whatever_the_undecided_are(held: int, undecided: int, against: int, level: float) -> None:
    n = held + undecided + against
    if not n:
        return
    share = OpenShare(held, undecided, n)
    low, high = share.limits(level)
    for count in range(held, held + undecided + 1):
        inner = Share(count, n).limits(level)
        assert low <= inner[0]
        assert inner[1] <= high
    if held + against:
        assert low <= share.value <= high
    assert (share.above(0.5) <= level) == (low > 0.5) or low == pytest.approx(0.5)
    assert (share.below(0.5) <= level) == (high < 0.5) or high == pytest.approx(0.5)


def test_five_environments_cannot_tell_a_share_from_a_half() -> None:
    assert OpenShare(5, 0, 5).above(0.5) > 0.05
    assert OpenShare(6, 0, 6).above(0.5) <= 0.05
    assert OpenShare(6, 2, 8).above(0.5) > 0.05


def test_environments_are_counted_by_their_own_limits() -> None:
    """Clearly more, clearly less, surely within 0.4 of 0, and nothing."""
    more, less, small = (Mean.of([x - 0.01, x, x + 0.01]) for x in (1.0, -1.0, 0.2))
    found = [more, less, small, Mean.of([])]
    assert on_off_policy.share(found, 0.4) == OpenShare(1, 1, 4)
    assert on_off_policy.share(found, 0.4, "less") == OpenShare(1, 1, 4)
    assert on_off_policy.share(found, 0.1) == OpenShare(2, 1, 4)  # 0.2 is no longer too small


@pytest.mark.parametrize(("name", "question", "worth"), [("C19", "ratio", c19.WORTH), ("C20", "drawdown", c20.WORTH)])
def test_a_share_counts_by_the_effect_that_the_yaml_declares(name: str, question: str, worth: float) -> None:
    (claim,) = chosen(name)
    assert claim.questions[question].smallest_effect == pytest.approx(worth, abs=1e-3)


def test_both_claims_about_rivals_read_the_same_runs() -> None:
    one, other = chosen("C19,C20")
    assert one.runs == other.runs
    assert one.size == other.size
    one, other = chosen("C21,C21b")
    assert one.runs == other.runs
    assert one.size == other.size


@pytest.mark.parametrize("name", ["C19", "C21"])
@pytest.mark.parametrize("scale", ["quick", "full"])
def test_every_learner_is_tuned_alike_and_on_ten_seeds(name: str, scale: str) -> None:
    """As many step sizes for every learner (variant) of a place, evenly spaced; tuning seeds are 100 and up."""
    (claim,) = chosen(name)
    for env in {env for command in claim.commands(scale) for env in asked_for(command)[0]["env"]}:
        grids = set()
        for command in claim.commands(scale):
            asked, seeds = asked_for(command)
            if env in asked["env"]:
                (rates,) = (asked[r] for r in ("optimizer.lr", "algorithm.lr", "algorithm.step_size") if r in asked)
                grids.add(len(rates))
                assert len([seed for seed in seeds if seed >= 100]) >= 10
                assert all(one < other for one, other in pairwise(rates))
                assert asked["env_steps"] == [claim_budget(claim, scale, env)]
        assert len(grids) == 1


def claim_budget(claim, scale: str, env: str) -> int:
    (budget,) = {facts["budget"] for facts in claim.size[scale]["places"].values() if facts["where"]["env.name"] == env}
    return budget


def test_a_budget_in_env_steps_fits_the_iterations_that_it_came_to() -> None:
    a2c = {"iterations": 63, "algorithm": {"name": "a2c", "updates": 8, "n_steps": 5, "environments": 8}}
    a2c["algorithm"]["about"] = {"iteration_steps": ["updates", "n_steps", "environments"]}
    asked, _ = asked_for("algorithm=a2c env_steps=20000")
    assert _fits(a2c, asked)
    assert not _fits(a2c | {"iterations": 62}, asked)
    gradient = {"env_steps": 20000, "algorithm": {"name": "policy_gradient", "about": {}}}
    assert _fits(gradient, asked_for("env_steps=20000")[0])
    assert not _fits(gradient, asked_for("env_steps=30000")[0])


# Ranks of variants


def variants(score, noise=None, seeds: int = 12, count: int = 6) -> pd.DataFrame:
    """Runs of variants v0, v1, .. whose area is score(variant, seed), and whose signal is noise(variant, seed)."""
    noise = noise or (lambda variant, seed: 1.0 + variant)
    rows = [
        {"variant": f"v{k}", "seed": s, "variance": 1.0, "signal": noise(k, s), "area": score(k, s), "final": 0.0}
        for k in range(count)
        for s in range(seeds)
    ]
    return pd.DataFrame(rows).assign(place="e", rate=0.1, inside=True, twin="")


def test_tau_is_that_of_the_means_over_seeds() -> None:
    drawn = np.random.default_rng(0).standard_normal((6, 12))
    rows = variants(lambda k, s: k + 2 * drawn[k, s])
    truth = stats.kendalltau(range(6), rows.groupby("variant")["area"].mean()).statistic
    found = along_training.tau(rows, "less noise", "area")
    assert found.value == pytest.approx(truth)
    low, high = found.limits(0.05)
    assert -1 <= low < found.value <= high <= 1


def test_what_coincides_or_lies_on_the_edge_is_not_ranked() -> None:
    rows = variants(lambda k, s: float(k) if k < 5 else -100.0 + s)
    assert along_training.tau(rows, "less noise", "area").value == pytest.approx(1 / 3)
    for column, value in (("inside", False), ("twin", "v0")):
        without = rows.copy()
        without.loc[without["variant"] == "v5", column] = value
        assert along_training.tau(without, "less noise", "area").value == 1
    assert (
        along_training.tau(rows[rows["variant"] < "v4"], "less noise", "area").samples == 0
    )  # four have no ranks to speak of


def test_variants_coincide_where_their_runs_do() -> None:
    rows = [
        {"variant": variant, "rate": rate, "seed": seed, "area": rate * seed + more}
        for variant, more in (("return", 0.0), ("rtg", 0.0), ("td", 0.001))
        for rate in (1.0, 2.0)
        for seed in (0, 100)
    ]
    assert along_training.coincident(pd.DataFrame(rows)) == {"return": "", "rtg": "return", "td": ""}


@settings(max_examples=30)
@given(st.integers(6, 30), st.floats(0.02, 0.2))
def test_resampled_limits_of_a_mean_are_as_wide_as_student_s(n: int, level: float) -> None:
    """Values of mean 0 whose resampled mean is close to normal with deviation s sqrt((n-1)/n^2)."""
    x = stats.norm.ppf((np.arange(n) + 0.5) / n)
    x = x / x.std(ddof=1)
    draws = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000) * np.sqrt((n - 1) / n) / np.sqrt(n)
    found, exact = along_training.Resampled(0.0, draws, n), Mean.of(x)
    np.testing.assert_allclose(found.limits(level), exact.limits(level), rtol=0.05)


@given(st.integers(3, 30), st.integers(0, 2**32 - 1), st.floats(0.002, 0.5), st.floats(-0.99, 0.99))
def test_resampled_limits_and_p_values_agree(n: int, seed: int, level: float, border: float) -> None:
    draws = np.tanh(np.random.default_rng(seed).standard_normal(1999))
    found = along_training.Resampled(0.0, draws, n)
    low, high = found.limits(level)
    assert low <= found.limits(min(2 * level, 1.0))[0]  # nested
    if abs(found.above(border) / level - 1) > 0.02:  # but for one draw
        assert (found.above(border) <= level) == (low > border)
    if abs(found.below(border) / level - 1) > 0.02:
        assert (found.below(border) <= level) == (high < border)


def test_limits_of_tau_cover_the_truth() -> None:
    """Six variants whose true areas rise with their signal but for one swap, tau = 13/15; noise of a seed as large as
    the gaps; 12 seeds. Of 60 samples the 95% limits miss at most 8, with a chance of 0.3% of more at 5%."""
    truth, rng = [1.0, 2.0, 4.0, 3.0, 5.0, 6.0], np.random.default_rng(3)
    missed = 0
    for _ in range(60):
        noise = rng.standard_normal((6, 12))
        low, high = along_training.tau(variants(lambda k, s, z=noise: truth[k] + z[k, s]), "less noise", "area").limits(
            0.05
        )
        missed += not low <= 13 / 15 <= high
    assert missed <= 8
