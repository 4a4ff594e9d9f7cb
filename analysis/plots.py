"""The figures. A variant's colour is the hue of its Phi in the shade of its baseline, and its marker is its baseline's,
in every figure; hues are seaborn's colour-blind safe ones, and markers carry what greyscale loses."""

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ablate.refusal import Refusal
from analysis.statistics import against_reference, group_curves, pooled, wilson

WIDTH = 7.2  # inches: two columns of a paper, and readable at one
MARKERS = "osD^vXP*<>"
NOTHING = 1e-12  # a ratio of variances below this is rounding: the variant had no noise
HUES = (7, 1, 0, 4, 2, 3, 9, 6)  # of seaborn's "colorblind" palette, by the order of a Phi
SHADES = (0.0, 0.35, -0.25, 0.6, -0.45)  # towards white or black, by the order of a baseline

Colour = tuple[float, ...]


def colour(phi_order: int, baseline_order: int) -> Colour:
    """One colour a variant, everywhere."""
    hue = np.array(to_rgb(sns.color_palette("colorblind")[HUES[int(phi_order) % len(HUES)]]))
    shade = SHADES[int(baseline_order) % len(SHADES)]
    return tuple(float(x) for x in hue + abs(shade) * ((1.0 if shade > 0 else 0.0) - hue))


def style(row: Any) -> dict[str, Any]:
    """Colour, marker and line of a variant; a critic that does not see the time is dashed."""
    return {
        "color": colour(row.phi_order, row.baseline_order),
        "marker": MARKERS[int(row.baseline_order) % len(MARKERS)],
        "linestyle": "--" if row.critic == "clockless" else "-",
    }


def variants(frame: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    """(first row, rows) of each variant, in the configuration's order."""
    order = ["phi_order", "baseline_order", "label"]
    for _, rows in frame.groupby(order, sort=True):
        yield next(rows.itertuples()), rows


def theme() -> None:
    sizes = {"font.size": 8, "axes.titlesize": 9, "axes.labelsize": 8, "legend.fontsize": 7}
    ticks = {"xtick.labelsize": 7, "ytick.labelsize": 7, "lines.markersize": 4.5, "lines.linewidth": 1.2}
    sns.set_theme(style="whitegrid", rc={**sizes, **ticks, "axes.titlelocation": "left", "svg.hashsalt": "ablate"})


def horizon(frame: pd.DataFrame) -> Figure:
    """NSR against the horizon at the first policy: columns are environments, rows what the variants look at."""
    first = frame[(frame["stage"] == 0) & np.isfinite(frame["nsr"])]
    if "env.horizon" not in first or first["env.horizon"].nunique() < 2:
        raise Refusal("figure horizon needs a study over env.horizon; run python -m ablate -m study=horizon")
    envs = list(first["env"].unique())
    rows = {"rewards alone": first["needs"] == "", "with a critic": first["needs"] != ""}
    figure, axes = plt.subplots(
        len(rows), len(envs), figsize=(WIDTH, 5.6), sharex=True, sharey="col", layout="constrained", squeeze=False
    )
    for line, (what, chosen) in zip(axes, rows.items(), strict=True):
        for panel, env in zip(line, envs, strict=True):
            for variant, points in variants(first[chosen & (first["env"] == env)]):
                curve = points.groupby("env.horizon")["nsr"].mean()
                panel.plot(curve.index, curve, label=variant.label, **style(variant))
            panel.set(xscale="log", yscale="log", title=f"{env}: {what}")
            _horizons(panel, first["env.horizon"])
        line[0].set_ylabel("noise-to-signal ratio of one episode\ntr Cov g / |E g|²")
        handles: dict[str, Any] = {}
        for panel in line:
            found, labels = panel.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        line[-1].legend(handles.values(), handles.keys(), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    for panel in axes[-1]:
        panel.set_xlabel("horizon H (steps)")
    figure.suptitle("Exact noise of one episode's gradient against the horizon, first (uniform) policy", fontsize=10)
    return figure


def _horizons(panel: Axes, values: pd.Series) -> None:
    ticks = sorted(values.unique())
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()


def survey(frame: pd.DataFrame) -> Figure:
    """Over many MDPs: how often a variant has less noise than its reference, and by how much."""
    ratios = against_reference(frame)
    if "env.index" not in ratios or ratios["env.index"].nunique() < 2:
        raise Refusal("figure survey needs a study over env.index; run python -m ablate -m study=survey")
    split = _varying(ratios, but="env.index")
    parts = [(f"{split} = {value:g}", rows) for value, rows in ratios.groupby(split)] if split else []
    parts = parts or [("", ratios)]
    names = [(variant, f"{variant.label}  vs  {variant.reference}") for variant, _ in variants(ratios)]
    figure, axes = plt.subplots(
        1, 2 * len(parts), figsize=(WIDTH, 1.3 + 0.24 * len(names)), sharey=True, layout="constrained", squeeze=False
    )
    for (title, rows), (share, spread) in zip(parts, axes[0].reshape(-1, 2), strict=True):
        for place, (variant, _) in enumerate(names):
            own = rows[rows["label"] == variant.label]
            _share(share, place, variant, own)
            _spread(spread, place, variant, own[own["stage"] == 1]["ratio"].to_numpy())
        share.axvline(0.5, color="black", linewidth=0.8)
        spread.axvline(1, color="black", linewidth=0.8)
        share.set(xlim=(-0.04, 1.04), xlabel="share of MDPs\nwith less noise", title=title)
        share.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        spread.set(xscale="log", xlabel="trace variance,\nratio to reference")
    axes[0][0].set_yticks(range(len(names)), [name for _, name in names])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    number = ratios["env.index"].nunique()
    figure.suptitle(
        f"How often a variant has less noise than its reference, over {number} random MDPs (exact)\n"
        "share: filled last policy, hollow first, 95% interval; ratio: last policy, median, 50% and 90% of MDPs",
        fontsize=9,
    )
    return figure


def _varying(frame: pd.DataFrame, but: str) -> str | None:
    """The one setting of the environment, besides `but`, that the study sweeps over."""
    swept = [key for key in frame if key.startswith("env.") and key != but and len(frame[key].unique()) > 1]
    if len(swept) > 1:
        raise Refusal(f"the study sweeps over {', '.join(swept)} at once; show one sweep a figure")
    return swept[0] if swept else None


def _share(panel: Axes, place: int, variant: Any, rows: pd.DataFrame) -> None:
    look = style(variant) | {"linestyle": "none"}
    for stage, lift in ((0, -0.16), (1, 0.16)):
        ratio = rows[rows["stage"] == stage]["ratio"].to_numpy()
        if not len(ratio):
            continue
        won = int((ratio < 1).sum())
        panel.plot(wilson(won, len(ratio)), [place + lift] * 2, color=look["color"], linewidth=1)
        panel.plot(won / len(ratio), place + lift, **look, markerfacecolor=None if stage else "white")


def _spread(panel: Axes, place: int, variant: Any, ratio: np.ndarray) -> None:
    """Quantiles 5, 25, 50, 75, 95% as line, bar, tick."""
    if not len(ratio):
        return
    far_low, low, middle, high, far_high = np.quantile(ratio, [0.05, 0.25, 0.5, 0.75, 0.95])
    look = style(variant)
    panel.plot([far_low, far_high], [place] * 2, color=look["color"], linewidth=1)
    panel.plot([low, high], [place] * 2, color=look["color"], linewidth=5, solid_capstyle="butt")
    panel.plot([middle], [place], marker="|", color="black", markersize=7)


def variance(frame: pd.DataFrame) -> Figure:
    """Matched noise against the reference: rows are environments, columns the first, a middle and the last policy."""
    rows = frame[frame["mode"] == "matched"]
    if rows.empty:
        raise Refusal("figure variance needs rows of probe=matched; run python -m ablate -m study=variance")
    stages = sorted(rows["stage"].unique())
    stages = sorted({stages[0], stages[len(stages) // 2], stages[-1]})
    envs, names = list(rows["env"].unique()), [variant for variant, _ in variants(rows)]
    figure, axes = plt.subplots(
        len(envs),
        len(stages),
        figsize=(WIDTH, 0.6 + len(envs) * (0.5 + 0.16 * len(names))),
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
            panel.axvline(1, color="black", linewidth=0.8)
            when = {0.0: "first policy", 1.0: "last policy"}.get(stage, f"at {stage:.0%}")
            panel.set(xscale="log", title=f"{env}, {when}")
            panel.set_ylim(len(names) - 0.5, -0.5)
        line[0].set_yticks(range(len(names)), [variant.label for variant in names])
    for panel in axes[-1]:
        panel.set_xlabel("trace variance,\nratio to the reference")
    seeds = rows["seed"].nunique()
    figure.suptitle(
        f"Noise on the same trajectories of the same policy: mean of {seeds} seeds, 95% interval\n"
        "grey: each seed; 0: no noise at a seed, as where all returns are equal",
        fontsize=9,
    )
    return figure


def _matched(panel: Axes, place: int, variant: Any, rows: pd.DataFrame) -> None:
    look = style(variant) | {"linestyle": "none"}
    estimates = rows[["log_ratio", "log_ratio_low", "log_ratio_high"]].to_numpy()
    if (estimates[:, 0] < np.log(NOTHING)).any():
        across = panel.get_yaxis_transform()  # at the left edge, whatever the scale
        panel.plot(0.02, place, marker="$0$", color=look["color"], transform=across, linestyle="none", clip_on=False)
    estimates = estimates[np.isfinite(estimates).all(1) & (estimates[:, 0] >= np.log(NOTHING))]
    if not len(estimates):
        return
    value, low, high = np.exp(pooled(*estimates.T))
    if len(estimates) > 1:
        panel.plot(np.exp(estimates[:, 0]), [place] * len(estimates), "|", color="0.6", markersize=5)
    panel.plot([low, high], [place] * 2, color=look["color"], linewidth=1.6)
    panel.plot(value, place, **look)


def group_baselines() -> Figure:
    """Mean and noise of the estimators with one baseline a group, against its size and against difficulty."""
    sizes, chances = [2, 4, 8, 16, 32, 64], list(np.linspace(0.02, 0.98, 49))
    p, N = 0.25, 8
    sweeps = (
        ("N", group_curves(sizes, [p]), "samples a prompt, N", f"right answers: p = {p:g}"),
        ("p", group_curves([N], chances), "chance of a right answer, p", f"group size: N = {N}"),
    )
    tops = {"scale": 3.0, "nsr": 30.0}
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.8), sharex="col", sharey="row", layout="constrained")
    for column, (x, curves, label, fixed) in zip(axes.T, sweeps, strict=True):
        for panel, (y, top) in zip(column, tops.items(), strict=True):
            for (order, name), points in curves.groupby(["order", "estimator"]):
                shown = points[points[y] <= top]
                text = name.replace("_", " ") + ("" if len(shown) else f"\n(off the scale: ≥ {points[y].min():.0e})")
                look = {"color": _group_colour(order), "marker": MARKERS[order]}
                panel.plot(shown[x], shown[y], label=text, markevery=1 if x == "N" else 6, **look)
            panel.set(title=fixed, xscale="log" if x == "N" else "linear", yscale="log" if y == "nsr" else "linear")
        column[0].axhline(1, color="black", linewidth=0.8, zorder=1)
        column[0].set_ylim(0, tops["scale"])
        column[1].set_xlabel(label)
    axes[0][0].set_xticks(sizes, [f"{size}" for size in sizes])
    axes[0][0].minorticks_off()
    axes[0][0].set_ylabel("mean, in units of\nthe true gradient")
    axes[1][0].set_ylabel("noise-to-signal ratio of\none group, tr Cov g / |E g|²")
    axes[0][1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.suptitle("One baseline a prompt: what it does to the mean, and to the noise (exact)", fontsize=10)
    return figure


def _group_colour(order: int) -> Colour:
    """Those of reward-to-go for none, mean and leave-one-out, which are the same estimators; then new hues."""
    return colour(1, order) if order < 3 else colour(order + 3, 0)


FIGURES: dict[str, Callable[..., Figure]] = {
    "horizon": horizon,
    "survey": survey,
    "variance": variance,
    "group_baselines": group_baselines,
}
