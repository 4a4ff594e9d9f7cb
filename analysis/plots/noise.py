"""Figures of measured noise: along training, and of every variant on the same trajectories."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablate.statistics.interval import Interval
from ablate.statistics.seeds import noise_to_signal, trace_variance, variance_ratio

from ..figure_titles import QUIETER, finding
from ..frames import StudyFrames
from .style import (
    WIDTH,
    crowded,
    legend,
    limits,
    logarithmic,
    looks,
    panels,
    points,
    rule,
    style,
    title,
    variants,
    width,
)

NOTHING = 1e-12  # a ratio of variances below this is rounding: the variant had no noise


def no_matched_noise(study: StudyFrames) -> str:
    if (study.probe["mode"] == "matched").any():
        return ""
    return "figure variance needs rows of probe=matched; run python -m ablate -m study=variance"


def variance(study: StudyFrames) -> Figure:
    """Matched noise against the reference: rows are environments, columns the first, a middle and the last policy."""
    rows = study.probe[study.probe["mode"] == "matched"].copy()
    exact = _exact_twins(study, rows)
    stages = sorted(rows["stage"].unique())
    stages = sorted({stages[0], stages[len(stages) // 2], stages[-1]})
    envs, names = list(rows["env"].unique()), [variant for variant, _ in variants(rows)]
    figure, axes = plt.subplots(
        len(envs),
        len(stages),
        figsize=(width(WIDTH), points(0.6 + len(envs) * (0.5 + 0.16 * len(names)))),
        sharex="row",
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for line, env in zip(axes, envs, strict=True):
        for panel, stage in zip(line, stages, strict=True):
            here = rows[(rows["env"] == env) & (rows["stage"] == stage)]
            for place, variant in enumerate(names):
                _matched(panel, place, variant, here[here["label"] == variant.label])
                known = exact[exact["place"].isin(here[here["label"] == variant.label]["place"])]["log_ratio"]
                if len(known) and np.isfinite(known).all():
                    cross: dict[str, Any] = {"color": "black", "markersize": points(5), "zorder": 5}
                    panel.plot(np.exp(known.mean()), place, "x", label=f"_exact of {variant.label}", **cross)
            rule(panel, "no difference", x=1.0)
            when = {0.0: "first policy", 1.0: "last policy"}.get(stage, f"at {stage:.0%}")
            panel.set(title=f"{env}, {when}")
            panel.set_ylim(len(names) - 0.5, -0.5)
            logarithmic(panel, "x")
        line[0].set_yticks(range(len(names)), [variant.label for variant in names])
    for panel in axes[-1]:
        panel.set_xlabel("trace variance,\nratio to the reference")
    seeds = rows["seed"].nunique()
    title(
        figure,
        "Noise of each estimator on the same trajectories of the same policy",
        f"{f'mean of {seeds} seeds, grey: each seed' if seeds > 1 else 'one seed'}; 95% interval; 0: no noise at a "
        f"seed, as where all returns are equal{'; cross: the exact value' if len(exact) else ''}",
    )
    return figure


def _exact_twins(study: StudyFrames, matched: pd.DataFrame) -> pd.DataFrame:
    """The exact rows of the policies that the matched rows are about: a study may run both probes on the same training.

    `place` of either frame is where a row was measured, and of what; one estimator has one critic, or needs none.
    """
    exact = study.probe[study.probe["mode"] == "exact"].copy()
    for frame in (matched, exact):
        trained = frame["cell"].astype(str).map(study.cells["variant"])
        keys = [frame["env"], trained, frame["seed"], frame["iteration"], frame["label"], frame["critic"]]
        frame.insert(0, "place", list(zip(*keys, strict=True)))
    return exact


def _matched(panel: Axes, place: int, variant: Any, rows: pd.DataFrame) -> None:
    look = style(variant) | {"linestyle": "none"}
    logs = rows["log_ratio"].to_numpy()
    if (logs < np.log(NOTHING)).any():
        across = panel.get_yaxis_transform()  # at the left edge, whatever the scale
        zero: dict[str, Any] = {
            "marker": "$0$",
            "color": look["color"],
            "transform": across,
            "linestyle": "none",
            "clip_on": False,
        }
        panel.plot(0.02, place, label=f"_no_noise of {variant.label}", **zero)
    rows = rows[np.isfinite(logs) & (logs >= np.log(NOTHING))]
    if not len(rows):
        return
    value, low, high = variance_ratio(rows)
    if len(rows) > 1:
        each: dict[str, Any] = {"color": "0.6", "markersize": points(5), "label": f"_seeds of {variant.label}"}
        panel.plot(np.exp(rows["log_ratio"]), [place] * len(rows), "|", **each)
    limits(panel, [low, high], [place] * 2, variant.label, color=look["color"], linewidth=points(1.6))
    panel.plot(value, place, label=variant.label, **look)


def no_training_noise(study: StudyFrames) -> str:
    if study.probe.empty or study.own_noise()["iteration"].nunique() < 2:
        return "figure noise needs the probe of a run's own estimator at several policies; run with probe=online"
    crowd = crowded(study.cells[study.cells.index.isin(set(study.own_noise()["cell"]))])
    return f"figure noise {crowd}; choose some with --only or --drop" if crowd else ""


def training_noise(study: StudyFrames) -> Figure:
    """The noise of each run's own estimator along its training: trace variance above, noise-to-signal ratio below."""
    own = study.own_noise()
    envs = [env for env in dict.fromkeys(study.cells["env"]) if (own["env"] == env).any()]
    figure, axes = panels(2 * len(envs), height=2.2, wide=2)
    for env, (above, below) in zip(envs, zip(axes[::2], axes[1::2], strict=True), strict=True):
        cells = study.cells[study.cells["env"] == env]
        for cell, look in looks(cells).items():
            rows = own[own["cell"] == cell]
            for panel, column, statistic in (
                (above, "trace_variance", trace_variance),
                (below, "snr", noise_to_signal),
            ):
                over = dict[int, Interval]()
                for iteration, at in rows.groupby("iteration"):
                    if len(at) == rows["seed"].nunique() and at[column].notna().all():
                        over[iteration] = statistic(at)
                if not over:
                    continue
                found, (value, low, high) = np.array(list(over)), np.array(list(over.values())).T
                known, label = np.isfinite(value), cells["label"][cell]
                if known.any():
                    panel.plot(found[known], value[known], label=label, **look)
                bounded = known & (low > 0) & np.isfinite(high) & (len(set(rows["seed"])) > 1)
                for x, *ends in zip(found[bounded], low[bounded], high[bounded], strict=True):
                    limits(panel, [x, x], ends, label, color=look["color"], linewidth=points(1))
                lost = found[~known]
                hollow = {**look, "linestyle": "none", "markerfacecolor": "white", "clip_on": False}
                hollow |= {"transform": panel.get_xaxis_transform(), "label": f"_unbounded of {label}"}
                for mark in panel.plot(lost, np.ones(len(lost)), **hollow) if len(lost) else ():
                    mark.set_in_layout(False)
        last = own[own["env"] == env]["iteration"].max()
        for panel, text in ((above, "trace variance, tr Cov g"), (below, "NSR, tr Cov g / |E g|²")):
            panel.set(xlim=(-0.04 * last, 1.04 * last), xlabel="iteration", ylabel=text, title=env)
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            logarithmic(panel, "y")
    legend(figure, axes)
    seen = finding(study, "noise", QUIETER, largest=False)
    title(
        figure,
        seen or "How noisy each run's own estimator is along its training",
        "one episode's gradient, each run's own estimator at its own policy; median over seeds with its 95% interval "
        "where it is bounded; NSR hollow at the top: no signal can be told from 0",
    )
    return figure
