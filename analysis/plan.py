"""How many seeds, or trajectories, decide between two variants: a pilot study, and the smallest effect that matters.

    python -m ablate plan --study pilot --effect 50                 seeds, for a final return that differs by 50
    python -m ablate plan --study pilot --effect 1.25 --measure noise
                                                                      trajectories, for 1.25 times the variance
    python -m ablate plan --study pilot --effect 50 --sequential    looks, and whether to go on

The effect is declared, never taken from the pilot: what a pilot happens to see is no reason for a sample size. Of the
pilot only the spread is used, at the upper end of its one-sided 80% interval, s sqrt((n - 1) / chi2_{0.2, n-1}), as a
small pilot as often sees too little of it as too much (Browne 1995). Every pair of a part of the study is tested at
alpha over the number of its pairs.

Sequential: the looks lie at equal steps up to `most` seeds. Each takes the first seeds that both variants have
completed, so that what is decided does not depend on when, or how often, anybody looks. A pair is decided at the first
look whose p-value is at most its level (`statistics.sequential`); it is futile once the chance to decide by the last
look, were the difference the smallest effect, is below 10%.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, log, sqrt

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from scipy import stats

from ablate.errors import UserError
from ablate.statistics import paired_tests, seeds, sequential
from ablate.statistics.formatting import number
from ablate.statistics.interval import LEVEL, Floats
from ablate.statistics.power import POWER, power, samples_needed

from . import tables
from .frames import StudyFrames, finished, held
from .reproduction import how_to_run
from .run_summaries import outcomes, parts

ALPHA = 0.05
ASSURANCE = 0.8  # chance that the spread is not larger than what is planned for
PILOT = 3  # seeds that a spread is told from
PLANNED = 10  # seeds of the pilot that a default schedule is made from, so that later seeds do not move it
MEASURES = {"final_return": "final return", "auc": "area under the learning curve", "noise": "trace variance"}


@dataclass(frozen=True)
class Aim:
    """What is to be found: the smallest effect, at what level over the pairs of a part, and with what power."""

    effect: float
    measure: str = "final_return"
    alpha: float = ALPHA
    power: float = POWER

    def __post_init__(self) -> None:
        ratio = self.measure == "noise"
        if not (np.isfinite(self.effect) and self.effect > 0 and not (ratio and self.effect == 1)):
            allowed = (
                "a ratio of variances, such as 1.25" if ratio else "a difference above 0, in the unit of the return"
            )
            raise UserError(f"--effect {self.effect:g} is not {allowed}; declare the smallest one that matters")
        for name in ("alpha", "power"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name):g} is not between 0 and 1; the usual is 0.05, and 0.8")


@dataclass(frozen=True)
class Pair:
    """Two cells of one part and their differences on the seeds that both have, in the order of the seeds; alpha is the
    level of this pair."""

    cells: tuple[str, str]
    labels: tuple[str, str]
    env: str
    alpha: float
    seeds: tuple[int, ...]
    differences: Floats


def pairs(study: StudyFrames, aim: Aim) -> list[Pair]:
    """Any two cells of one part with so many shared seeds. Raises UserError where there are none."""
    runs = outcomes(finished(study)).dropna(subset=[aim.measure])
    found = []
    for _, own in runs.groupby(runs["cell"].map(parts(study.cells)), sort=False):
        by_seed = {
            str(name): rows.set_index("seed")[aim.measure].sort_index()
            for name, rows in own.groupby("cell", sort=False)
        }
        several = list(combinations(by_seed, 2))
        for earlier, later in several:
            shared = by_seed[later].index.intersection(by_seed[earlier].index)
            if len(shared) < PILOT:
                continue
            d = (by_seed[later].loc[shared] - by_seed[earlier].loc[shared]).to_numpy()
            labels, env = study.cells["label"], study.cells["env"][later]
            alpha = aim.alpha / len(several)
            found.append(Pair((later, earlier), (labels[later], labels[earlier]), env, alpha, tuple(shared), d))
    if not found:
        raise UserError(
            f"study {study.name!r} has no two cells of one environment and budget with {PILOT} shared seeds whose "
            f"{MEASURES[aim.measure]} is known; run a pilot with seed=0-9"
        )
    return found


def upper_deviation(d: Floats) -> float:
    """The upper end of the one-sided 80% interval of a normal sample's standard deviation."""
    degrees = len(d) - 1
    return float(d.std(ddof=1) * sqrt(degrees / stats.chi2.ppf(1 - ASSURANCE, degrees)))


def needed(pair: Pair, aim: Aim) -> float:
    """Seeds that find the smallest effect with the wanted power, at the spread that is planned for."""
    found = samples_needed(aim.effect, upper_deviation(pair.differences), pair.alpha, aim.power)
    return max(found, sequential.fewest(pair.alpha))


def of_seeds(study: StudyFrames, aim: Aim) -> pd.DataFrame:
    """A row for each pair: what was run, its power for the smallest effect, and the seeds that have the wanted one."""
    rows = []
    for pair in pairs(study, aim):
        n, spread = len(pair.seeds), upper_deviation(pair.differences)
        enough = n >= sequential.fewest(pair.alpha)
        found = paired_tests.mean_difference(pair.differences)
        rows.append(
            {
                "env": pair.env,
                "label": pair.labels[0],
                "against": pair.labels[1],
                "seeds": n,
                "difference": float(found.value),
                "difference_low": float(found.low),
                "difference_high": float(found.high),
                "deviation": float(pair.differences.std(ddof=1)),
                "planned_deviation": spread,
                "power_of_these": power(aim.effect, spread, n, pair.alpha) if enough else 0.0,
                "seeds_needed": needed(pair, aim),
            }
        )
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------------------ trajectories


def of_trajectories(study: StudyFrames, aim: Aim) -> pd.DataFrame:
    """A row for each variant that probe=matched judged beside its reference at the first policy: the trajectories that
    tell that the two variances differ by the factor `effect`.

    The error of a log ratio falls as 1 / sqrt N: from the limits of each run, error sqrt(N) is the deviation of one
    trajectory's part; the largest over seeds is planned for. Where too many runs set no limits (`seeds.enough`), for
    want of informative episodes, there is no plan, NaN: those that set some are those that missed the heavy episodes.
    """
    columns = ["log_ratio", "log_ratio_low", "log_ratio_high", "episodes"]
    if not set(columns) <= set(study.probe):
        raise UserError(f"study {study.name!r} has no two variants on the same trajectories; run it with probe=matched")
    first = study.probe[study.probe["stage"] == 0]
    rows = []
    for (cell, env), own in first.groupby(["cell", "env"], observed=True, sort=False):
        against = held(study.cells["config"][cell])
        labels = [label for label in dict.fromkeys(own["label"]) if label != against]
        for label in labels:
            every = own[own["label"] == label]
            bounded = np.isfinite(every[columns].astype(float)).all(axis=1).to_numpy()
            row = {"env": env, "label": label, "against": against, "bounded": f"{bounded.sum()} of {len(bounded)}"}
            if not (bounded.any() and seeds.enough(bounded)):
                rows.append(row)
                continue
            one = every[bounded]
            number = one["episodes"].to_numpy(float)
            half = (one["log_ratio_high"] - one["log_ratio_low"]).to_numpy(float) / 2
            part = float((half / stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(number)).max())
            fewest, alpha = int(number.min()), aim.alpha / len(labels)
            row |= {"trajectories": fewest, "ratio": float(np.exp(one["log_ratio"].mean()))}
            row |= {"power_of_these": power(log(aim.effect), part, fewest, alpha)}
            rows.append(row | {"trajectories_needed": samples_needed(log(aim.effect), part, alpha, aim.power)})
    if not any("ratio" in row for row in rows):
        raise UserError(
            f"no ratio of variances of study {study.name!r} has limits: the noise comes from fewer than 8 episodes; "
            "measure more of them, as with probe.episodes=256"
        )
    return pd.DataFrame(rows)


# ------------------------------------------------------------------------------------------------ sequential


@dataclass(frozen=True)
class State:
    """Where a pair stands: "decided", "futile", "undecided" at its last look, or "go on"; at which look, of how many
    seeds; the p-value there and the level that it had to reach."""

    pair: Pair
    design: sequential.Design
    word: str
    look: int
    seeds: int
    p: float
    ahead: str = ""


def schedule(found: Sequence[Pair], aim: Aim, most: int | None, looks: int, spending: str) -> list[sequential.Design]:
    """The looks of each pair, at equal steps up to `most`: by default what the pair that varies most needs."""
    if looks < 1:
        raise UserError(f"--looks {looks} is not 1 or more")
    spend = sequential.SPENDING[spending]
    if most is None:
        if min(len(pair.seeds) for pair in found) < PLANNED:
            raise UserError(
                f"looks that a pilot of fewer than {PLANNED} shared seeds has planned would raise false alarms; give "
                f"--most, or run the pilot with seed=0-{PLANNED - 1}"
            )
        pilots = [replace(pair, differences=pair.differences[:PLANNED]) for pair in found]
        rise = sequential.inflation(looks, found[0].alpha, spend, aim.power)
        most = max(ceil(needed(pilot, aim) * rise) for pilot in pilots)
        while most < sequential.fewest(_design(most, looks, found[0].alpha, spend).levels[-1]):
            most += 1
    if most < PILOT:
        raise UserError(f"--most {most} is fewer than {PILOT} seeds, of which no spread can be told")
    return [_design(most, looks, pair.alpha, spend) for pair in found]


def _design(most: int, looks: int, alpha: float, spend: sequential.Spending) -> sequential.Design:
    steps = tuple(dict.fromkeys(max(PILOT, ceil(most * (k + 1) / looks)) for k in range(looks)))
    return sequential.design(steps, alpha, spend)


def state(pair: Pair, plan: sequential.Design, effect: float) -> State:
    """What the looks that the shared seeds reach have come to, each of the first so many seeds."""
    looked = State(pair, plan, "go on", 0, 0, 1.0)
    last = stats.norm.isf(plan.levels[-1] / 2)
    for k, (n, level) in enumerate(zip(plan.looks, plan.levels, strict=True), 1):
        if n > len(pair.seeds):
            break
        d = pair.differences[:n]
        looked = replace(looked, look=k, seeds=n, p=paired_tests.paired_p_value(d))
        if looked.p <= level:
            return replace(looked, word="decided", ahead=pair.labels[0 if d.mean() > 0 else 1])
        if n == plan.most:
            return replace(looked, word="undecided")
        spread = upper_deviation(d)
        z = float(np.sign(d.mean()) * stats.norm.isf(looked.p / 2))
        drift = effect * sqrt(plan.most) / spread if spread > 0 else np.inf
        if np.isfinite(drift) and sequential.conditional_power(z, n / plan.most, last, drift) < sequential.FUTILE:
            return replace(looked, word="futile")
    return looked


def following(study: StudyFrames, states: Sequence[State]) -> Iterator[str]:
    """What adds the seeds of the next look, a cell each, for the pairs that go on."""
    asked: dict[str, int] = {}
    for own in states:
        if own.word == "go on":
            for cell in own.pair.cells:
                asked[cell] = max(asked.get(cell, 0), next(n for n in own.design.looks if n > own.seeds))
    for cell in study.cells.index:
        if cell in asked:
            config, overrides = study.cells.loc[cell, ["config", "overrides"]]
            yield how_to_run(config, overrides, range(asked[cell]), study.name, study.outputs)


def of_looks(states: Sequence[State]) -> pd.DataFrame:
    """A row for each pair: where it stands."""
    return pd.DataFrame(
        {
            "env": [own.pair.env for own in states],
            "label": [own.pair.labels[0] for own in states],
            "against": [own.pair.labels[1] for own in states],
            "seeds": [len(own.pair.seeds) for own in states],
            "look": [own.look for own in states],
            "p": [own.p for own in states],
            "level": [own.design.levels[max(0, own.look - 1)] for own in states],
            "state": [own.word + (f": {own.ahead} is ahead" if own.ahead else "") for own in states],
        }
    )


def of_design(plan: sequential.Design) -> pd.DataFrame:
    """The looks of one pair's test and the level of each; the bound is that of a normal statistic."""
    bounds = [float(stats.norm.isf(level / 2)) for level in plan.levels]
    return pd.DataFrame({"look": range(1, len(bounds) + 1), "seeds": plan.looks, "bound": bounds, "level": plan.levels})


# ------------------------------------------------------------------------------------------------ on the screen


def show(study: StudyFrames, aim: Aim, console: Console) -> None:
    """The sample sizes of every pair."""
    if aim.measure == "noise":
        tables.show(
            of_trajectories(study, aim), f"trajectories for a variance {number(aim.effect)} times as large", console
        )
    else:
        title = f"seeds for a difference of {number(aim.effect)} in {MEASURES[aim.measure]}"
        tables.show(of_seeds(study, aim), title, console)
    console.print(
        f"power {aim.power:g} at level {aim.alpha:g} over the pairs of a part, at the upper end of the spread's "
        f"one-sided {ASSURANCE:.0%} interval; below {sequential.fewest(aim.alpha)} seeds no paired test decides",
        soft_wrap=True,
    )


def show_sequential(
    study: StudyFrames, aim: Aim, most: int | None, looks: int, spending: str, console: Console
) -> None:
    """The looks, where each pair stands, and the commands that add the seeds of the next look."""
    if aim.measure == "noise":
        raise UserError("--sequential adds seeds, and --measure noise asks for trajectories; leave one of them out")
    found = pairs(study, aim)
    designs = schedule(found, aim, most, looks, spending)
    states = [state(pair, plan, aim.effect) for pair, plan in zip(found, designs, strict=True)]
    for plan in dict.fromkeys(designs):
        tables.show(of_design(plan), f"looks at up to {plan.most} seeds, {spending} spending", console)
    tables.show(of_looks(states), f"where each pair stands, for a difference of {number(aim.effect)}", console)
    commands = list(following(study, states))
    if commands:
        again = [
            "python",
            "-m",
            "ablate",
            "plan",
            "--study",
            study.name,
            "--effect",
            repr(aim.effect),
            "--sequential",
        ]
        again += ["--most", str(max(plan.most for plan in designs)), "--looks", str(looks), "--spending", spending]
        again += [] if aim.measure == "final_return" else ["--measure", aim.measure]
        again += [] if str(study.outputs) == "outputs" else ["--outputs", str(study.outputs)]
        for name, usual in (("alpha", ALPHA), ("power", POWER)):
            again += [] if getattr(aim, name) == usual else [f"--{name}", f"{getattr(aim, name):g}"]
        console.print("go on with the seeds of the next look, and look again:")
        for line in [*commands, shlex.join(again)]:
            console.print(f"    {escape(line)}", soft_wrap=True)
    else:
        console.print("every pair is decided, futile, or at its last look: no more seeds")
