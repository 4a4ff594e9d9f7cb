"""Variants of the policy gradient along their own training: the noise of the estimator that trains, and what is learnt.

The runs of C21 and C21b: each variant at its best step size, chosen on seeds of its own, with the probe on the run's
own estimator (`probe=online`) at several of its policies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ablate.configuration.settings import choices, node
from ablate.randomness import stream
from ablate.statistics.formatting import counted
from ablate.statistics.learning_curves import FINAL, Floats

from ..plots import style
from ..statistics import area_under_curve, kendall_tau
from . import draw, learning
from .estimates import Estimate, Mean
from .study import ClaimStudy
from .verdict import LEVEL, number

DRAWS = 20_000  # resamples of the seeds
MIN_VARIANTS = 5  # variants that are enough for ranks
SETTINGS = {"optimizer.lr": "rate", "phi.name": "phi", "baseline.name": "baseline"}
RUN = ["phi", "baseline", "rate", "seed"]
MEASURED = ["variance", "signal", "area", "final"]
ALIKE = 1e-9  # a difference of two mean returns that is no difference


def runs(study: ClaimStudy) -> pd.DataFrame:
    """A row a run of each variant at its best step size: place, variant, seed, rate, and

    | column        | meaning                                                                                       |
    |---------------|-----------------------------------------------------------------------------------------------|
    | variance      | tr C of an episode's gradient in the optimiser's metric, mean over the run's probed policies  |
    | signal        | |E g|^2, the same (unbiased, so that it may be below 0)                                       |
    | area, final   | mean return over the budget of env steps, and over its last tenth                             |
    | inside        | whether the best step size lies inside the variant's grid                                     |
    | twin          | the earlier variant that it coincides with here: the same runs at every step size; "" if none |
    """
    tables = []
    for place, facts in study.size["places"].items():
        learnt = _learnt(study.curves(facts["where"], list(SETTINGS)), facts["budget"])
        noise = _noise(study.probes(facts["where"] | {"probe.name": "online"}, ["optimizer.lr"]))
        twins = coincident(learnt)
        for variant, rows in learnt.groupby("variant", sort=False):
            best, rates = learning.best_rate(rows, "area"), sorted(set(rows["rate"]))
            own = rows[(rows["rate"] == best) & (rows["seed"] < learning.TUNING)].merge(noise, on=RUN)
            facts_of = {"place": place, "inside": rates[0] < best < rates[-1], "twin": twins[variant]}
            tables.append(own.assign(**facts_of).drop(columns=["phi", "baseline"]))
    return pd.concat(tables, ignore_index=True)


def _learnt(curves: pd.DataFrame, budget: float) -> pd.DataFrame:
    """phi, baseline, rate, seed, variant, area and final of every run."""
    rows = []
    for key, curve in curves.rename(columns=SETTINGS).groupby(RUN, sort=False):
        points = curve.dropna(subset=["return_mean"]).sort_values("env_steps")
        x, v = (points[name].to_numpy(float) for name in ("env_steps", "return_mean"))
        area, before = (area_under_curve(x, v, until) for until in (budget, (1 - FINAL) * budget))
        rows.append([*key, area, (area - (1 - FINAL) * before) / FINAL])
    table = pd.DataFrame(rows, columns=[*RUN, "area", "final"])
    bare = table["baseline"] == "none"
    return table.assign(variant=np.where(bare, table["phi"], table["phi"] + " - " + table["baseline"]))


def _noise(probes: pd.DataFrame) -> pd.DataFrame:
    """variance and signal of every run: means over what the probe measured along it, in the optimiser's metric where
    that has been recorded; SGD's is the Euclidean one, and Adam has none before its first step."""
    variance, signal = probes["trace_variance"], probes["squared_signal"]
    if "optimizer_trace_variance" in probes:
        variance = probes["optimizer_trace_variance"]
        signal = probes["optimizer_snr"] * variance
    renamed = probes.rename(columns=SETTINGS).assign(variance=variance, signal=signal)
    return renamed.groupby(RUN)[["variance", "signal"]].mean().reset_index()


def coincident(learnt: pd.DataFrame) -> dict[str, str]:
    """Of each variant the first one before it whose runs it repeats, seed by seed at every step size, or ""."""
    areas = learnt.pivot_table("area", ["rate", "seed"], "variant", sort=False)
    twins: dict[str, str] = {}
    for variant in areas:
        earlier = (name for name in twins if not twins[name])
        both = (name for name in earlier if areas[[name, variant]].notna().all(axis=1).any())
        twins[variant] = next((n for n in both if (areas[n] - areas[variant]).abs().max() <= ALIKE), "")
    return twins


# ------------------------------------------------------------------------------------------------ ranks


@dataclass(frozen=True)
class Resampled:
    """A statistic between -1 and 1 of independent seeds, with percentile limits from resampling them.

    The limits of level 1 - a are the percentiles of level 1 - a', Phi^-1(1 - a'/2) = t_{n-1}(1 - a/2) sqrt(n / (n-1)):
    as wide as Student's are for a mean, where plain percentiles of few seeds are too narrow. Hesterberg (2015).
    """

    value: float
    draws: Floats
    samples: int

    @property
    def _known(self) -> bool:
        return self.samples >= 3 and np.isfinite(self.value)

    def limits(self, level: float) -> tuple[float, float]:
        if not self._known:
            return -np.inf, np.inf
        n = self.samples
        tail = float(stats.norm.sf(stats.t.isf(level / 2, n - 1) * sqrt(n / (n - 1))))
        if tail * (len(self.draws) + 1) < 1:  # so far out there are no draws
            return -1.0, 1.0
        low, high = np.quantile(self.draws, [tail, 1 - tail], method="closest_observation")
        return float(low), float(high)

    def below(self, border: float) -> float:
        return self._level(int((self.draws >= border).sum()))

    def above(self, border: float) -> float:
        return self._level(int((self.draws <= border).sum()))

    def deviation(self, border: float) -> float:
        return float(self.draws.std()) * sqrt(self.samples)

    def _level(self, beyond: int) -> float:
        """The level whose percentile has `beyond` draws outside of it, and one more."""
        if not self._known:
            return 1.0
        n, tail = self.samples, min((beyond + 1) / (len(self.draws) + 1), 0.5)
        return min(1.0, 2 * float(stats.t.sf(stats.norm.isf(tail) * sqrt((n - 1) / n), n - 1)))


Means = Mapping[str, Floats]  # of variance, signal, area and final over seeds
SCORES: dict[str, Callable[[Means], Floats]] = {
    "less variance": lambda mean: -mean["variance"],
    "less noise": lambda mean: mean["signal"] / mean["variance"],  # the signal-to-noise ratio
    "area": lambda mean: mean["area"],
    "final": lambda mean: mean["final"],
}
"""What variants are ranked by, of the means over seeds."""


def tau(rows: pd.DataFrame, one: str, other: str) -> Estimate:
    """Kendall's tau-b over the variants of one place between two scores, with limits from resampling the seeds: whole
    seeds, the same for every variant. Nothing is said of fewer than MIN_VARIANTS variants; see `ranked`."""
    tables = {name: ranked(rows).pivot_table(name, "seed", "variant").dropna() for name in MEASURED}
    seeds, variants = tables["area"].shape
    if variants < MIN_VARIANTS or seeds < 3:
        return Mean.of([])
    drawn = stream(0, "resampled seeds").multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    found = []
    for counts in (np.ones((1, seeds)), drawn):
        means = {name: counts @ table.to_numpy() / seeds for name, table in tables.items()}
        found.append(kendall_tau(SCORES[one](means), SCORES[other](means)))
    return Resampled(float(found[0][0]), np.nan_to_num(found[1]), seeds)


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the variants that coincide with an earlier one, and those whose best step size is on the edge of its
    grid, so that a better one may lie outside."""
    return rows[rows["inside"] & (rows["twin"] == "")]


def left_out(rows: pd.DataFrame) -> str:
    """Which variants of one place are not ranked, and why."""
    first = rows.drop_duplicates("variant")
    twins = [f"{row.variant} is {row.twin}" for row in first.itertuples() if row.twin]
    edges = [f"{row.variant} at {row.rate:g}" for row in first.itertuples() if not row.inside and not row.twin]
    parts = ["coincident: " + ", ".join(twins)] if twins else []
    return "; ".join([*parts, *(["best step size on the edge of its grid: " + ", ".join(edges)] if edges else [])])


# ------------------------------------------------------------------------------------------------ words and pictures


def named(where: str, rows: pd.DataFrame) -> str:
    """'chain, 9 variants'."""
    return f"{where}, {counted(ranked(rows)['variant'].nunique(), 'variant')}"


def remark(evidence: pd.DataFrame) -> str:
    """What is left out of the ranks, place by place."""
    found = ((where, left_out(rows)) for where, rows in evidence.groupby("place", sort=False))
    return " ".join(f"{where} leaves out {what}." for where, what in found if what)


AXES = {
    "less variance": "tr C of one episode\nalong training",
    "less noise": "signal to noise of one\nepisode along training",
    "area": "mean return\nover the budget",
    "final": "mean return\nof its last tenth",
}


LOGARITHMIC = ("less variance", "less noise")


def picture(evidence: pd.DataFrame, pairs: Sequence[tuple[str, str]], title: str) -> Figure:
    """A row of panels for each pair of scores, a panel a place: a mark a variant, with 95% limits from the seeds."""
    places = list(evidence["place"].unique())
    draw.theme(draw.paper())
    size = draw.width(draw.WIDTH), draw.points(1.0 + 2.2 * len(pairs))
    figure, panels = plt.subplots(len(pairs), len(places), figsize=size, layout="constrained", squeeze=False)
    for row, (one, other) in zip(panels, pairs, strict=True):
        for panel, place in zip(row, places, strict=True):
            rows = evidence[evidence["place"] == place]
            middles: dict[str, list[float]] = {"x": [], "y": []}
            for variant, runs in ranked(rows).groupby("variant", sort=False):
                (x, across), (y, along) = (_around(runs, score) for score in (one, other))
                middles = {"x": [*middles["x"], x], "y": [*middles["y"], y]}
                look, name = look_of(str(variant)), str(variant)
                line = {"color": look["color"], "linewidth": draw.points(0.6)}
                style.limits(panel, [x - across[0], x + across[1]], [y, y], name, **line)
                style.limits(panel, [x, x], [y - along[0], y + along[1]], name, **line)
                panel.plot(x, y, linestyle="none", markersize=draw.points(4), label=name, **look)
            found = tau(rows, one, other)
            low, high = found.limits(LEVEL)
            panel.set_xlabel(AXES[one], fontsize=draw.points(7))
            panel.tick_params(labelsize=draw.points(6))
            panel.set_title(
                f"{place}\ntau {number(found.value)} [{number(low)}, {number(high)}]", fontsize=draw.points(7)
            )
            for (axis, values), score in zip(middles.items(), (one, other), strict=True):
                if score in LOGARITHMIC:
                    _logarithmic(panel, axis, np.array(values))
        row[0].set_ylabel(AXES[other], fontsize=draw.points(7))
    draw.heading(figure, title)
    draw.legend(figure, *figure.axes, columns=5)
    return figure


def _logarithmic(panel: Axes, axis: str, values: Floats) -> None:
    """A log axis, whose limits down to 0 and below run out of the picture; around 0 linear, where values are there."""
    positive = values[values > 0]
    if not len(positive):
        return
    if len(positive) == len(values):
        panel.set(**{f"{axis}scale": "log", f"{axis}lim": (values.min() / 2, None)})
        style.logarithmic(panel, axis)
        return
    linear = 10.0 ** np.ceil(np.log10(positive.min()))
    getattr(panel, f"set_{axis}scale")("symlog", linthresh=linear)
    ticks = [0.0, *10.0 ** np.arange(np.log10(linear), np.log10(positive.max()) + 1e-9)]
    getattr(panel, f"set_{axis}ticks")(ticks, [f"{tick:g}" for tick in ticks])


def look_of(variant: str) -> dict[str, Any]:
    """Colour and marker of "rtg - loo", as in every other figure; black of one that conf/ does not have."""
    phi, _, baseline = variant.partition(" - ")
    chosen = {"phi": phi, "baseline": baseline or "none"}
    if any(choice not in choices(group) for group, choice in chosen.items()):
        return {"color": "black", "marker": style.MARKERS[len(variant) % len(style.MARKERS)]}
    orders = [int(node(group, choice)["about"]["order"]) for group, choice in chosen.items()]
    return {"color": style.colour(*orders), "marker": style.MARKERS[(3 * orders[0] + orders[1]) % len(style.MARKERS)]}


def _around(runs: pd.DataFrame, score: str) -> tuple[float, tuple[float, float]]:
    """A score of one variant, and how far its 95% limits lie from it, below and above."""
    seeds, sign = len(runs), -1 if score == "less variance" else 1
    drawn = stream(0, "resampled seeds").multinomial(seeds, np.full(seeds, 1 / seeds), size=1000)
    means = ({name: counts @ runs[name].to_numpy() / seeds for name in MEASURED} for counts in (np.ones(seeds), drawn))
    middle, values = (sign * SCORES[score](mean) for mean in means)
    low, high = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2])
    return float(middle), (max(float(middle - low), 0.0), max(float(high - middle), 0.0))
