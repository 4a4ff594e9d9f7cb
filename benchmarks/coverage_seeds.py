"""How often the 95% intervals over seeds hold the truth, and how often the tests cry wolf: `docs/coverage_seeds.md`.

    python -m benchmarks.coverage_seeds > docs/coverage_seeds.md

Every interval and test that is shown of results over seeds, at 5, 10 and 20 seeds, by simulation: a light-tailed
population, a heavy-tailed one, a skewed one with a ceiling, and tasks that some seeds fail. Some minutes on one core.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy import stats

from ablate.analysis import plan
from ablate.analysis import statistics as st
from ablate.statistics import paired_tests, seeds, sequential
from ablate.statistics.interval import Floats, Interval
from benchmarks.coverage_probes import FILES, REPEATS, SIZES, groups, noise, ratios

SEEDS = tuple(f"{n} seeds" for n in SIZES)
PROMPTS = tuple(f"{n} prompts" for n in FILES)
LARGE = 1_000_000
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def failing(share: float) -> Draw:
    """500 where a seed solves the task, about 50 where it fails."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.where(rng.random(shape) < share, rng.normal(50, 10, shape), 500.0)

    return draw


POPULATIONS: dict[str, Draw] = {
    "light (normal)": lambda rng, shape: rng.standard_normal(shape),
    "heavy (Student, 3 degrees)": lambda rng, shape: rng.standard_t(3, shape),
    "skewed (lognormal)": lambda rng, shape: rng.lognormal(size=shape),
    "ceiling (normal, cut at 500)": lambda rng, shape: np.minimum(500, rng.normal(480, 60, shape)),
    "15% of seeds fail": failing(0.15),
    "30% of seeds fail": failing(0.30),
    "degenerate (one value)": lambda rng, shape: np.full(shape, 7.0),
}


def main() -> None:
    print(HEAD)
    sections: list[tuple[str, list, tuple[str, ...]]] = [
        ("Intervals of one variant", intervals(), SEEDS),
        ("Noise by probes of 64 episodes, over seeds; in brackets how often unbounded", [*noise(), *ratios()], SEEDS),
        ("Shares", shares(), SEEDS),
        ("Intervals between variants", between(), SEEDS),
        ("Tests of no difference: false alarms at 5%", alarms(), SEEDS),
        ("Group-sequential tests: false alarms at 5%, at most so many seeds", sequential_alarms(), SEEDS),
        ("Plans: how often the smallest effect is found, 80% wanted, pilots of so many seeds", plans(), SEEDS),
        ("Group sizes: limits of the noise-to-signal ratio by `ablate groups --rates`", groups(), PROMPTS),
    ]
    for title, rows, columns in sections:
        print(f"\n## {title}\n\n| | |" + "".join(f" {name} |" for name in columns))
        print("|---|---|" + "---:|" * len(columns))
        for what, where, found in rows:
            print(f"| {what} | {where} | " + " | ".join(map(written, found)) + " |")
    print(TAIL)


# ------------------------------------------------------------------------------------------------ one variant


def intervals() -> list:
    statistics: list[tuple[str, Callable[[Floats], Interval], Callable[[Floats], float], int]] = [
        ("interquartile mean", seeds.over_seeds, lambda x: float(stats.trim_mean(x, 0.25)), 5),
        ("median", seeds.median, lambda x: float(np.median(x)), 5),
        ("interquartile range", _range, lambda x: float(st.interquartile_range(x)), 10),
        ("*worst quarter, by a bootstrap: not shown*", _worst, lambda x: float(seeds.cvar(x)), 5),
    ]
    rows = []
    for what, interval, of, fewest in statistics:
        for name, draw in POPULATIONS.items():
            rng = np.random.default_rng(1)
            truth = of(draw(rng, (LARGE,)))
            rows.append((what, name, [covered(draw, interval, truth, n, rng) if n >= fewest else None for n in SIZES]))
    for never in (0.2, 0.4):
        rng = np.random.default_rng(2)
        draw = times(never)
        truth = float(seeds.until_half(draw(rng, (LARGE,))).value)
        found = [covered(draw, seeds.until_half, truth, n, rng) for n in SIZES]
        rows.append(("env steps to solve", f"lognormal times, {never:.0%} never", found))
    return rows


def written(found: float | tuple[float, float] | None) -> str:
    if isinstance(found, tuple):
        return f"{found[0]:.3f} ({found[1]:.2f})"
    return "–" if found is None else f"{found:.3f}"


def times(never: float) -> Draw:
    return lambda rng, shape: np.where(rng.random(shape) < never, np.inf, rng.lognormal(size=shape))


def _range(x: Floats) -> Interval:
    return seeds.over_seeds(x, st.interquartile_range)


def _worst(x: Floats) -> Interval:
    return seeds.over_seeds(x, seeds.cvar)


def covered(
    draw: Draw, interval: Callable[[Floats], Interval], truth: float, n: int, rng: np.random.Generator
) -> float:
    near = 1e-9 * max(1.0, abs(truth))
    hits = 0
    for sample in draw(rng, (REPEATS, n)):
        _, low, high = interval(sample)
        hits += bool(low - near <= truth <= high + near)
    return hits / REPEATS


def shares() -> list:
    """Computed, not simulated: over the binomial counts."""
    rows = []
    for what, limits in (
        ("solved, collapse (Clopper & Pearson)", lambda k, n: seeds.share(k, n)[1:]),
        ("share of problems (Wilson)", st.wilson),
    ):
        for p in (0.02, 0.1, 0.3, 0.5):
            found = []
            for n in SIZES:
                ends = [limits(k, n) for k in range(n + 1)]
                chance = stats.binom.pmf(range(n + 1), n, p)
                found.append(float(sum(c for c, (low, high) in zip(chance, ends, strict=True) if low <= p <= high)))
            rows.append((what, f"true share {p:g}", found))
    return rows


# ------------------------------------------------------------------------------------------------ between variants


def between() -> list:
    rows = []
    for name, draw in POPULATIONS.items():
        if name.startswith("degenerate"):
            continue
        rng = np.random.default_rng(3)
        found = []
        for n in SIZES:
            pairs = draw(rng, (REPEATS, 2, n))
            ends = [paired_tests.mean_difference(x - y) for x, y in pairs]
            found.append(float(np.mean([not (low > 0 or high < 0) for _, low, high in ends])))
        rows.append(("mean paired difference (Student)", f"{name}, none", found))
    truth = float(stats.norm.cdf(1 / np.sqrt(2)))
    rng = np.random.default_rng(4)
    found = []
    for n in SIZES:
        samples = rng.standard_normal((REPEATS, 2, n)) + np.array([[1.0], [0.0]])
        ends = [st.improvement_interval(x, y, np.random.default_rng(0)) for x, y in samples]
        found.append(float(np.mean([low <= truth <= high for _, low, high in ends])))
    rows.append(("probability of improvement", "normal, one standard deviation apart", found))
    found = []
    order = np.array([0, 2, 1, 3, 5, 4])
    truth = float(st.kendall_tau(np.arange(6), order))
    for n in SIZES:
        hits = 0
        for _ in range(REPEATS // 2):
            x, y = (m[:, None] + rng.standard_normal((6, n)) for m in (np.arange(6.0), order.astype(float)))
            _, low, high = st.kendall_interval(x, y, rng, resamples=500)
            hits += bool(low - 1e-9 <= truth <= high + 1e-9)
        found.append(hits / (REPEATS // 2))
    rows.append(("Kendall's tau of these variants", "6 variants one standard deviation apart, tau 0.73", found))
    found = []
    for n in SIZES:
        ends = [st.kendall_over_variants(*pair) for pair in rng.standard_normal((REPEATS, 2, n))]
        found.append(float(np.mean([low <= 0 <= high for _, low, high in ends])))
    rows.append(("Kendall's tau over variants (so many variants)", "independent", found))
    return rows


# ------------------------------------------------------------------------------------------------ tests


def alarms() -> list:
    rows = []
    nulls: dict[str, Draw] = {
        f"{name}, exchangeable": draw for name, draw in POPULATIONS.items() if not name.startswith("degenerate")
    } | {"one value, equal": POPULATIONS["degenerate (one value)"]}
    for name, draw in nulls.items():
        rng = np.random.default_rng(5)
        differences = [draw(rng, (REPEATS, 2, n)) for n in SIZES]
        found = [rate([paired_tests.paired_p_value(x - y) for x, y in pairs]) for pairs in differences]
        rows.append(("paired test", name, found))
    rng = np.random.default_rng(6)
    skewed = [rng.lognormal(size=(REPEATS, n)) - np.exp(0.5) for n in SIZES]
    rows.append(("paired test", "mean 0, but lognormal", [rate(map(paired_tests.paired_p_value, d)) for d in skewed]))
    coin = [rng.choice([-1.0, 1.0], (REPEATS, n)) for n in SIZES]
    rows.append(("paired test", "+1 or -1", [rate(map(paired_tests.paired_p_value, d)) for d in coin]))
    student = [rate(stats.ttest_1samp(d + 1e-9 * rng.standard_normal(d.shape), 0, axis=1).pvalue) for d in coin]
    rows.append(("*Student's t alone: not used*", "+1 or -1", student))
    never = times(0.4)
    pairs = [never(rng, (REPEATS, 2, n)) for n in SIZES]
    found = [rate([paired_tests.sign_test(x, y)[1] for x, y in two]) for two in pairs]
    rows.append(("who solves sooner (sign test)", "lognormal times, 40% never", found))
    for name in ("light (normal)", "15% of seeds fail"):
        trios = [POPULATIONS[name](rng, (REPEATS, 3, n)) for n in SIZES]
        found = [float(np.mean([any(p <= 0.05 for p in of_three(trio)) for trio in own])) for own in trios]
        rows.append(("any of three pairs, after Holm", name, found))
    return rows


def decided(draw: Draw, n: int, looks: int, spending: str, rng: np.random.Generator, shift: float = 0.0) -> float:
    """How often two variants, one shifted, are told apart by the last of so many looks at up to n seeds."""
    steps = tuple(dict.fromkeys(max(plan.PILOT, -(-n * (k + 1) // looks)) for k in range(looks)))
    made = sequential.design(steps, 0.05, sequential.SPENDING[spending])
    pairs = draw(rng, (REPEATS, 2, n))
    return float(np.mean([plan.state(pair(x - y + shift), made, 1.0).word == "decided" for x, y in pairs]))


def pair(d: Floats) -> plan.Pair:
    return plan.Pair(("a", "b"), ("a", "b"), "", 0.05, tuple(range(len(d))), d)


def sequential_alarms() -> list:
    rows = []
    rng = np.random.default_rng(7)
    for name in ("light (normal)", "heavy (Student, 3 degrees)", "skewed (lognormal)", "30% of seeds fail"):
        for looks, spending in ((3, "obrien-fleming"), (5, "obrien-fleming"), (3, "pocock")):
            found = [decided(POPULATIONS[name], n, looks, spending, rng) for n in SIZES]
            rows.append((f"{looks} looks, {spending}", f"{name}, exchangeable", found))
    return rows


def plans() -> list:
    """A pilot plans for a shift of 0.8 standard deviations of the difference; fresh seeds, or in turns with the pilot's
    among them, are then tested."""
    rng = np.random.default_rng(8)
    aim = plan.Aim(0.8)
    single: list[float | None] = []
    looked: list[float | None] = []
    for n in SIZES:
        found, further = 0, 0
        for _ in range(REPEATS):
            d = 0.8 + rng.standard_normal(400)
            pilot = pair(d[:n])
            wanted = int(plan.needed(pilot, aim))
            found += paired_tests.paired_p_value(d[n : n + wanted]) <= 0.05
            if n < plan.PLANNED:
                continue
            (made,) = plan.schedule([pilot], aim, None, 4, "obrien-fleming")
            further += plan.state(pair(d[: made.most]), made, aim.effect).word == "decided"
        single.append(found / REPEATS)
        looked.append(further / REPEATS if n >= plan.PLANNED else None)
    name = "normal, 0.8 standard deviations apart"
    return [
        ("one test", name, single),
        ("4 looks, obrien-fleming", name, looked),
        ("*the same: false alarms*", "normal, the pilot among the seeds", pilot_alarms("light (normal)")),
        ("*the same: false alarms*", "Student, 3 degrees", pilot_alarms("heavy (Student, 3 degrees)")),
    ]


def pilot_alarms(name: str) -> list[float | None]:
    """Looks that a pilot of 10 or 20 seeds has planned, and is part of; of fewer none are planned."""
    rng, aim = np.random.default_rng(9), plan.Aim(1.0)
    found: list[float | None] = []
    for n in SIZES:
        told = []
        for d in POPULATIONS[name](rng, (REPEATS if n >= plan.PLANNED else 0, 200)):
            (made,) = plan.schedule([pair(d[:n])], aim, None, 4, "obrien-fleming")
            told.append(plan.state(pair(d[: made.most]), made, aim.effect).word == "decided")
        found.append(float(np.mean(told)) if told else None)
    return found


def rate(p_values) -> float:
    return float(np.mean([p <= 0.05 for p in p_values]))


def of_three(trio: Floats) -> Floats:
    return paired_tests.holm([paired_tests.paired_p_value(x - y) for x, y in combinations(trio, 2)])


HEAD = f"""# How the intervals and tests over seeds hold

Made by `python -m benchmarks.coverage_seeds`: {REPEATS:,} simulated samples a number (standard error 0.7% at 95%; the
shares are computed). Intervals should hold the truth in 95% of samples, tests reject a true null in at most 5%. The
functions are those that the table of a sweep, `python -m analysis` and the report use (`ablate.statistics.seeds`,
`analysis.statistics`)."""

TAIL = """
## What to read from it

* Limits of the interquartile mean are expanded percentile ones (Hesterberg 2015). At 5 seeds, of a task that 30% of
  the seeds fail, no interval can do better than 1 - 0.7^5 - 0.3^5 = 0.83: so often are all five alike.
* An interquartile range has limits from 10 seeds on, and they are a little short on tasks with a ceiling or failures.
  The probability of improvement holds 90% at 5 seeds. Limits of Kendall's tau of these variants are wide.
* Medians, env steps to solve and shares have exact limits: they hold 95% or more for every distribution, but for the
  median of 5 seeds, whose widest limits hold 93.75%.
* The trace variance over seeds is unbounded where in too many seeds it comes from fewer than 8 of the probe's
  episodes: a median of estimates that a few episodes make is too low. No sample sees a reward that never came.
* The worst quarter is shown without limits: those of a bootstrap do not hold.
* Student's limits of a mean difference are short where differences are skewed or take few values; the test beside them,
  the larger of Student's t and the sign-flip test, keeps its level wherever the variants may be exchanged. Where they
  may not, and differences of mean 0 are strongly skewed, it rejects too often, as every test of a mean does at such
  sizes. Below 6 seeds it never rejects.
* Group-sequential tests keep their level at any number of looks. A plan takes the upper end of the pilot's spread, so
  that it finds the smallest effect at least as often as wanted.
* Ratios of variances and group sizes are of fewer samples: 200, and 40 for `k of 8` (standard errors 1.5% and 3.5%).
  Where episodes are heavy-tailed a ratio is mostly unbounded. Limits of group sizes fall a little short where most
  prompts are never solved.
* Wilson's limits fall below 95% at shares near 0 or 1."""


if __name__ == "__main__":
    main()
