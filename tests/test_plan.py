"""Plans from a pilot: sample sizes by hand, boundaries as published, and how often they keep what they promise."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from studies import cell, online, run

from ablate.analysis import frames, plan
from ablate.commands import run_of_analysis as main
from ablate.errors import UserError
from ablate.statistics import paired_tests, sequential
from ablate.statistics.power import power

SPENT = ("obrien-fleming", "pocock")


# Group-sequential tests


def test_boundaries_are_those_that_are_published() -> None:
    """Five equal looks at 5%: Jennison & Turnbull (2000), Proschan, Lan & Wittes (2006)."""
    times = (0.2, 0.4, 0.6, 0.8, 1.0)
    found = sequential.boundaries(times, 0.05, sequential.obrien_fleming)
    np.testing.assert_allclose(found, [4.877, 3.357, 2.680, 2.290, 2.031], atol=6e-4)
    found = sequential.boundaries(times, 0.05, sequential.pocock)
    np.testing.assert_allclose(found, [2.438, 2.427, 2.410, 2.397, 2.386], atol=6e-4)


@pytest.mark.parametrize("spending", SPENT)
def test_a_single_look_is_a_single_test(spending: str) -> None:
    made = sequential.design([12], 0.05, sequential.SPENDING[spending])
    assert made.levels == (pytest.approx(0.05, rel=1e-6),)
    assert sequential.inflation(1, 0.05) == pytest.approx(1)


def test_what_is_spent_adds_up_to_alpha_and_drift_is_power() -> None:
    """Against 40,000 random walks: 4 standard errors."""
    times, rng = (0.3, 0.5, 1.0), np.random.default_rng(0)
    bounds = sequential.boundaries(times, 0.1, sequential.pocock)
    assert sequential.crossing(times, bounds).sum() == pytest.approx(0.1, abs=1e-9)
    steps = np.diff(times, prepend=0)
    walk = np.cumsum(1.7 * steps + np.sqrt(steps) * rng.standard_normal((40_000, 3)), axis=1) / np.sqrt(times)
    crossed = np.abs(walk) >= bounds
    first = crossed & (np.cumsum(crossed, axis=1) == 1)
    found = sequential.crossing(times, bounds, 1.7)
    np.testing.assert_allclose(first.mean(0), found, atol=4 * np.sqrt(0.25 / 40_000))


def test_conditional_power_by_simulation() -> None:
    """At half of the way with z = 0.8, for a drift of 2 or -2: the better of the two, of 40,000 ways on."""
    z, t, bound = 0.8, 0.5, 2.0
    rng = np.random.default_rng(1)
    ends = z * np.sqrt(t) + 2 * (1 - t) + np.sqrt(1 - t) * rng.standard_normal(40_000)
    assert sequential.conditional_power(z, t, bound, 2.0) == pytest.approx((np.abs(ends) >= bound).mean(), abs=0.01)
    assert sequential.conditional_power(-z, t, bound, 2.0) == sequential.conditional_power(z, t, bound, 2.0)


def test_looks_must_increase() -> None:
    for looks in ([], [0, 3], [5, 5], [6, 4]):
        with pytest.raises(ValueError, match="increase"):
            sequential.design(looks, 0.05)


# Plans


def pair(d: np.ndarray, alpha: float = 0.05) -> plan.Pair:
    return plan.Pair(("a", "b"), ("a", "b"), "env", alpha, tuple(range(len(d))), d)


def test_the_spread_is_the_upper_end_of_its_interval() -> None:
    """Of 4,000 normal samples of 8 it is above the true one in 80%, but for 4 standard errors of 0.63%."""
    x = np.random.default_rng(2).standard_normal((4000, 8))
    assert np.mean([plan.upper_deviation(d) > 1 for d in x]) == pytest.approx(0.8, abs=0.026)


@pytest.mark.parametrize("n", [5, 10])
def test_a_plan_keeps_its_power(n: int) -> None:
    """600 pilots of n seeds and the fresh seeds that they ask for: 80% or more, less 3 standard errors of 1.6%."""
    rng, aim = np.random.default_rng(3), plan.Aim(1.0)
    found = 0
    for _ in range(600):
        wanted = int(plan.needed(pair(rng.standard_normal(n)), aim))
        found += paired_tests.paired_p_value(1.0 + rng.standard_normal(wanted)) <= 0.05
    assert found / 600 > 0.8 - 0.049


@pytest.mark.parametrize("most", [8, 20])
@pytest.mark.parametrize("spending", SPENT)
def test_looking_often_raises_no_false_alarm(most: int, spending: str) -> None:
    """1,000 nulls looked at four times, normal and failing by chance: at most 5% and 2.5 standard errors of 0.7%."""
    rng = np.random.default_rng(4)
    made = plan._design(most, 4, 0.05, sequential.SPENDING[spending])
    nulls = (
        rng.standard_normal((500, most)),
        rng.choice([-500.0, 0.0, 500.0], (500, most)) + rng.normal(size=(500, most)),
    )
    words = [plan.state(pair(d), made, 1.0).word for null in nulls for d in null]
    assert words.count("decided") / 1000 <= 0.05 + 2.5 * 0.007
    naive = [any(paired_tests.paired_p_value(d[:n]) <= 0.05 for n in made.looks) for d in nulls[0]]
    assert np.mean(naive) > np.mean([word == "decided" for word in words[:500]])


def test_a_sequential_plan_keeps_its_power_and_stops_early() -> None:
    """300 pilots of ten seeds that are part of the test: 80% less 3 standard errors of 2.3% are decided. Without any
    difference most end as futile, before the last look."""
    rng, aim = np.random.default_rng(5), plan.Aim(1.0)
    words = {0.0: [], 1.0: []}
    for effect, told in words.items():
        for _ in range(300):
            d = effect + rng.standard_normal(200)
            (made,) = plan.schedule([pair(d[:10])], aim, None, 4, "obrien-fleming")
            state = plan.state(pair(d[: made.most]), made, aim.effect)
            told.append((state.word, state.seeds < made.most))
    assert np.mean([word == "decided" for word, _ in words[1.0]]) > 0.8 - 0.07
    assert np.mean([word == "decided" for word, _ in words[0.0]]) < 0.05 + 0.038
    assert np.mean([word == "futile" and early for word, early in words[0.0]]) > 0.5


def test_what_was_decided_stays_so_whatever_comes_later() -> None:
    d = np.concatenate([2 + 0.1 * np.arange(12), np.full(20, -50.0)])
    made = plan._design(32, 4, 0.05, sequential.pocock)
    found = [plan.state(pair(d[:n]), made, 1.0) for n in (7, 8, 12, 16, 32)]
    assert [(state.word, state.look) for state in found] == [("go on", 0), *[("decided", 1)] * 4]
    assert {state.ahead for state in found[1:]} == {"a"}


# The command


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seeds of three variants: return and reward-to-go differ by 1 to 10, advantage from return by the same."""
    folder = tmp_path_factory.mktemp("outputs")
    for phi, gain in (("return", 0), ("rtg", 1), ("advantage", 0)):
        made = cell(folder, f"phi={phi}", "iterations=4")
        for seed in range(10):
            run(made, seed, [100.0 + seed % 3 + gain * (seed + 1)] * 4, online(100.0, 0.1, 4, phi=phi))
    return folder


def test_the_seeds_of_every_pair(outputs: Path) -> None:
    study = frames.load(outputs, "main")
    table = plan.of_seeds(study, plan.Aim(4.0)).set_index(["label", "against"])
    row = table.loc[("reward-to-go", "return")]
    deviation = np.arange(1.0, 11).std(ddof=1)
    spread = deviation * np.sqrt(9 / stats.chi2.ppf(0.2, 9))
    assert (row["seeds"], row["difference"]) == (10, 5.5)
    assert (row["deviation"], row["planned_deviation"]) == (pytest.approx(deviation), pytest.approx(spread))
    assert row["power_of_these"] == pytest.approx(power(4.0, spread, 10, 0.05 / 3))
    n = int(row["seeds_needed"])
    assert power(4.0, spread, n, 0.05 / 3) >= 0.8 > power(4.0, spread, n - 1, 0.05 / 3)
    same = table.loc[("advantage", "return")]
    assert (same["deviation"], same["seeds_needed"]) == (0, 7), "2^(1 - 7) is the first below 5% / 3"
    far = plan.of_seeds(study, plan.Aim(8.0)).set_index(["label", "against"]).loc[("reward-to-go", "return")]
    assert (far["difference"], far["deviation"]) == (row["difference"], row["deviation"])
    assert far["seeds_needed"] < n, "the declared effect asks, and not the observed one"


def test_looks_and_the_commands_that_go_on(outputs: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["plan", "--outputs", str(outputs), "--effect", "2", "--sequential", "--most", "40"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "looks at up to 40 seeds" in said
    assert f"python -m ablate iterations=4 phi=rtg study=main outputs={outputs} seed=0-19" in said
    assert f"--effect 2.0 --sequential --most 40 --looks 4 --spending obrien-fleming --outputs {outputs}" in said
    assert main([*words[:-1], "10", "--looks", "1"]) == 0
    said = capsys.readouterr().out
    assert "decided: reward-to-go is ahead" in said
    assert "python -m ablate" not in said


def test_trajectories_of_a_probe_on_the_same_trajectories(tmp_path: Path) -> None:
    """Limits 1.96 * 0.2 about the log ratio at 64 episodes: a trajectory's part has deviation 0.2 * 8 = 1.6."""
    made = cell(tmp_path, "phi=rtg", "iterations=4", "probe=matched")
    half = stats.norm.ppf(0.975) * 0.2
    for seed in range(3):
        rows = [
            {"iteration": 0, "mode": "matched", "phi": phi, "baseline": "none", "critic": "none", "episodes": 64}
            | {"trace_variance": 1.0, "snr": 0.1, "log_ratio": log, "log_ratio_low": log - half}
            | {"log_ratio_high": log + half}
            for phi, log in (("return", 1.0), ("rtg", 0.0))
        ]
        run(made, seed, [1.0] * 4, rows)
    (row,) = plan.of_trajectories(frames.load(tmp_path, "main"), plan.Aim(1.25, "noise")).to_dict("records")
    assert (row["label"], row["against"], row["trajectories"]) == ("return", "reward-to-go", 64)
    n = row["trajectories_needed"]
    assert power(np.log(1.25), 1.6, n, 0.05) >= 0.8 > power(np.log(1.25), 1.6, n - 1, 0.05)


def noisy_pilot(outputs: Path, bounded: int, count: int = 10) -> frames.StudyFrames:
    """Matched probes of so many seeds, of which some bound the ratio."""
    made = cell(outputs, "phi=rtg", "iterations=4", "probe=matched")
    for seed in range(count):
        ends = (0.6, 1.4) if seed < bounded else (-np.inf, np.inf)
        rows = [
            {"iteration": 0, "mode": "matched", "phi": phi, "baseline": "none", "critic": "none", "episodes": 64}
            | {"trace_variance": 1.0, "snr": 0.1, "log_ratio": log, "log_ratio_low": low, "log_ratio_high": high}
            for phi, log, (low, high) in (("return", 1.0, ends), ("rtg", 0.0, (0.0, 0.0)))
        ]
        run(made, seed, [1.0] * 4, rows)
    return frames.load(outputs, "main")


def test_probes_that_missed_the_heavy_episodes_plan_nothing(tmp_path: Path) -> None:
    """Of 10 seeds 1 may set no limits, as of a median (`seeds.enough`); the others would plan for a quiet sample."""
    (row,) = plan.of_trajectories(noisy_pilot(tmp_path / "nine", 9), plan.Aim(1.25, "noise")).to_dict("records")
    assert row["bounded"] == "9 of 10"
    assert row["trajectories_needed"] > 64
    for bounded in (8, 1, 0):
        study = noisy_pilot(tmp_path / f"{bounded}", bounded)
        with pytest.raises(UserError, match=r"probe\.episodes"):
            plan.of_trajectories(study, plan.Aim(1.25, "noise"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--effect", "0"], "declare the smallest one that matters"),
        (["--effect", "nan"], "declare the smallest one that matters"),
        (["--effect", "1", "--measure", "noise"], "ratio of variances"),
        (["--effect", "2", "--measure", "noise"], "probe=matched"),
        (["--effect", "2", "--measure", "noise", "--sequential"], "leave one of them out"),
        (["--effect", "2", "--power", "1"], "between 0 and 1"),
        (["--effect", "2", "--alpha", "-1"], "between 0 and 1"),
        (["--effect", "2", "--sequential", "--looks", "0"], "--looks 0"),
        (["--effect", "2", "--sequential", "--most", "2"], "--most 2"),
        ([], "--effect"),
    ],
)
def test_what_cannot_be_planned_gets_one_line(
    outputs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["plan", "--outputs", str(outputs), *words]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert len(told.err) <= 300
    assert not told.out


def test_a_small_pilot_makes_no_schedule(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for phi, gain in (("rtg", 3), ("return", 0)):
        made = cell(tmp_path, f"phi={phi}", "iterations=4")
        for seed in range(9):
            run(made, seed, [float(gain * seed % 4)] * 4)
    words = ["plan", "--outputs", str(tmp_path), "--effect", "1", "--sequential"]
    assert main(words) == 2
    assert "give --most" in capsys.readouterr().err
    assert main([*words, "--most", "12"]) == 0


def test_a_pilot_of_one_seed_is_no_pilot(tmp_path: Path) -> None:
    for phi in ("rtg", "return"):
        run(cell(tmp_path, f"phi={phi}", "iterations=4"), 0, [1.0] * 4)
    with pytest.raises(UserError, match="run a pilot with seed=0-9"):
        plan.show(frames.load(tmp_path, "main"), plan.Aim(1.0), Console())
