"""Pictures that hold variants against one another: profiles, improvement, and noise against what is learnt."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.statistics.interval import Interval
from ablate.statistics.seeds import MIN_SEEDS, interquartile_mean, over_seeds, trace_variance

from ..figure_titles import ENDS, finding
from ..frames import StudyFrames
from ..run_summaries import outcomes, part_names
from ..statistics import Floats, band, improvement_interval, kendall_interval, kendall_tau
from .style import CROWD, curve, legend, limits, logarithmic, looks, panels, points, rule, title

NOISE = ("trace_variance", "informative", "mode")  # columns of the probe that `trace_variance` reads
PAIRS = 15  # of variants in one panel


def no_profiles(study: StudyFrames) -> str:
    return _no_comparison(study, "profiles", 1)


def profiles(study: StudyFrames) -> Figure:
    """The share of seeds whose final return is above tau, a panel an environment."""
    figure, axes, parts = _by_env(study, 1)
    for panel, (env, cells, finals) in zip(axes, parts, strict=True):
        values = np.concatenate(list(finals.values()))
        margin = 0.04 * max(np.ptp(values), 1e-9)
        thresholds = np.linspace(values.min() - margin, values.max() + margin, 200)
        for cell, look in looks(cells).items():
            above = (finals[cell][:, None] > thresholds).astype(float)
            value, low, high = band(above, np.random.default_rng(0), np.mean)
            curve(panel, thresholds, value, low, high, cells["label"][cell], markevery=(0.1, 0.2), **look)
        panel.set(title=env, xlabel="final return τ", ylabel="share of seeds above τ", ylim=(-0.03, 1.03))
    legend(figure, axes)
    seen = finding(study, "final_return", ENDS)
    detail = "performance profiles: higher is better at every τ; pointwise 95% intervals from resampling seeds"
    title(figure, seen or "How many seeds end above each return", detail)
    return figure


def no_improvement(study: StudyFrames) -> str:
    return _no_comparison(study, "improvement", 2)


def improvement(study: StudyFrames) -> Figure:
    """P(a seed of X ends above a seed of Y) for pairs of variants, a panel an environment."""
    most = max(len(_pairs(list(finals))) for _, _, finals in _parts(study, 2))
    figure, axes, parts = _by_env(study, 2, height=0.9 + 0.2 * most, wide=1)
    for panel, (env, cells, finals) in zip(axes, parts, strict=True):
        pairs = _pairs(list(finals))
        drawn = looks(cells)
        for place, (x, y) in enumerate(pairs):
            value, low, high = improvement_interval(finals[x], finals[y], np.random.default_rng(0))
            look, pair = drawn[x], f"{cells['label'][x]} > {cells['label'][y]}"
            limits(panel, [low, high], [place] * 2, pair, color=look["color"], linewidth=points(1.6))
            panel.plot(value, place, color=look["color"], marker=look["marker"], label=pair)
        rule(panel, "no difference", x=0.5)
        names = [f"{cells['label'][x]}\n> {cells['label'][y]}" for x, y in pairs]
        panel.set_yticks(range(len(pairs)), names, fontsize=points(6))
        panel.set(title=env, xlabel="P(X > Y) of the final return", xlim=(-0.03, 1.03), ylim=(len(pairs) - 0.5, -0.5))
    seen = finding(study, "final_return", ENDS) or "How likely a seed of X ends above a seed of Y"
    title(figure, seen, "chance that a seed of X ends above one of Y; 95% intervals from resampling seeds; ½: neither")
    return figure


def _pairs(cells: list[str]) -> list[tuple[str, str]]:
    """Every later variant against every earlier one; of many, against the first alone."""
    pairs = [(later, earlier) for earlier, later in combinations(cells, 2)]
    return pairs if len(pairs) <= PAIRS else [(cell, cells[0]) for cell in cells[1 : PAIRS + 1]]


def no_trade(study: StudyFrames) -> str:
    if study.probe.empty:
        return "figure trade needs the noise of each run's own estimator; run with probe=online"
    return _no_comparison(study, "trade", 2) or (
        "" if _traded(study) else "figure trade needs two variants of one environment probed at their first policy"
    )


def trade(study: StudyFrames) -> Figure:
    """Noise of the estimator at the shared first policy against what is learnt, and against how steadily."""
    traded = _traded(study)
    figure, axes = panels(2 * len(traded), height=2.4)
    for (left, right), (env, cells, rows) in zip(zip(axes[::2], axes[1::2], strict=True), traded, strict=True):
        for panel, name, text in (
            (left, *_learnt(rows)),
            (right, "drawdown_cvar", "worst quarter of drawdowns\nalong a run (return)"),
        ):
            for cell, look in looks(cells).items():
                own = rows[rows["cell"] == cell]
                _point(panel, trace_variance(own), own[name].to_numpy(), look, cells["label"][cell])
            panel.set(xlabel="trace variance at the first policy", ylabel=text)
            logarithmic(panel, "x")
            panel.set_title(f"{env}: {_rank(rows, name)}", fontsize=points(7.5))
    legend(figure, axes)
    title(
        figure,
        "Does less noise mean faster (left) or steadier (right) learning? A point a variant",
        "median noise and IQM of what is learnt over seeds, with 95% intervals where they are bounded; "
        "τ: Kendall's rank correlation, limits from resampling seeds",
    )
    return figure


def _traded(study: StudyFrames) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """(env, cells, a row a run with its noise at the first policy) where two cells of an environment have it."""
    own = study.own_noise()
    first = own[own["iteration"] == 0].astype({"cell": str})
    first = first[["cell", "seed", *(name for name in first if name.startswith(NOISE))]]
    rows = outcomes(study).merge(first[first["trace_variance"] > 0], on=["cell", "seed"])
    found = []
    for env, group in rows.groupby(rows["cell"].map(part_names(study.cells)), sort=False):
        cells = study.cells[study.cells.index.isin(set(group["cell"]))]
        if len(cells) > 1:
            found.append((str(env), cells, group))
    return found


def _learnt(rows: pd.DataFrame) -> tuple[str, str]:
    """The column that says what is learnt, and its name: areas where there is a common horizon, else final returns."""
    if rows["auc"].notna().all():
        return "auc", f"mean return over the first\n{rows['common_env_steps'].iloc[0]:,.0f} env steps"
    return "final_return", "final return"


def _point(panel: Axes, across: Interval, y: Floats, look: dict[str, Any], label: str) -> None:
    where = float(across.value), float(interquartile_mean(y))
    if across.low > 0 and np.isfinite(across.high):  # as the tables have it
        limits(panel, [across.low, across.high], [where[1]] * 2, label, color=look["color"], linewidth=points(1))
    if len(y) > 1:
        up = over_seeds(y)
        limits(panel, [where[0]] * 2, [up.low, up.high], label, color=look["color"], linewidth=points(1))
    panel.plot(*where, label=label, **{**look, "linestyle": "none"})


def _rank(rows: pd.DataFrame, name: str) -> str:
    """Kendall's tau over the seeds that all variants share."""
    noise, outcome = (
        rows.pivot_table(x, "cell", "seed", dropna=False).dropna(axis="columns") for x in ("trace_variance", name)
    )
    if len(noise) < 3:
        return "too few variants to rank"
    if noise.shape[1] < 2:
        return "one seed, ranks not sure"
    if len(noise) < 5 or noise.shape[1] < MIN_SEEDS:  # few are in perfect order by chance once in 3 to 12 times
        alone = float(kendall_tau(noise.mean(axis=1).to_numpy(), outcome.mean(axis=1).to_numpy()))
        return f"τ = {alone:.2f} of {len(noise)} variants alone".replace("-", "−")
    tau, low, high = kendall_interval(noise.to_numpy(), outcome.to_numpy(), np.random.default_rng(0))
    if not np.isfinite(tau):
        return "no ranks, all equal"
    return f"τ = {tau:.2f} [{low:.2f}, {high:.2f}], {len(noise)} variants".replace("-", "−")


def _parts(study: StudyFrames, cells: int) -> list[tuple[str, pd.DataFrame, dict[str, Floats]]]:
    """(name, cells, final returns of each) of the parts of a study where at least so many cells have two seeds."""
    runs = outcomes(study)
    finals = {str(cell): own.to_numpy() for cell, own in runs.groupby("cell")["final_return"] if len(own) > 1}
    several = study.cells[study.cells.index.isin(finals)]
    return [
        (str(env), group, {cell: finals[cell] for cell in group.index})
        for env, group in several.groupby(part_names(study.cells).loc[several.index], sort=False)
        if cells <= len(group) <= CROWD
    ]


def _no_comparison(study: StudyFrames, figure: str, cells: int) -> str:
    if not study.curves.empty and study.curves["iteration"].max() < 2:
        return f"figure {figure} needs runs of more than one iteration"
    if not study.curves.empty and _parts(study, cells):
        return ""
    several = f"{cells} cells of one environment" if cells > 1 else "a cell"
    return f"figure {figure} needs at least 2 complete seeds in {several}, and at most {CROWD} cells of it"


def _by_env(study: StudyFrames, cells: int, **layout: Any) -> tuple[Figure, list[Axes], list]:
    parts = _parts(study, cells)
    figure, axes = panels(len(parts), **layout)
    return figure, axes, parts
