"""Pictures of groups: answers to one prompt that share a baseline."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.statistics.seeds import noise_to_signal

from ..frames import StudyFrames
from ..statistics import group_curves
from .style import MARKERS, WIDTH, Colour, colour, curve, legend, logarithmic, panels, points, rule, title, width


def _first(study: StudyFrames) -> pd.DataFrame:
    """The rows of each run's own estimator at its first policy, with the variant and the answers of an update; of
    environments that were run at several group sizes."""
    if "env.group" not in study.cells or study.probe.empty:
        return pd.DataFrame()
    facts = study.cells[["variant", "env.group"]].assign(
        update=study.cells["config"].map(lambda config: int(config.get("episodes") or 0))
    )
    own = study.own_noise()
    own = own[own["iteration"] == 0].drop(columns="env.group", errors="ignore").astype({"cell": str})
    rows = own.join(facts, on="cell").dropna(subset=["env.group"])
    rows = rows[rows["update"] > 0]
    return rows[rows.groupby("env")["env.group"].transform("nunique") > 1] if len(rows) else rows


def no_groups(study: StudyFrames) -> str:
    if len(_first(study)):
        return ""
    return "figure group_size needs a probed study over env.group; run python -m ablate -m study=group_baselines"


def group_size(study: StudyFrames) -> Figure:
    """NSR of an update, tr Cov / |mean|^2 of the mean over M answers, against the group size N: the ratio of one answer
    over M, as tr C is M times the variance of a mean over groups."""
    first = _first(study)
    parts = list(first.groupby(["env", "update"], sort=False))
    figure, axes = panels(len(parts), height=2.8)
    for panel, ((env, update), rows) in zip(axes, parts, strict=True):
        for variant, name in _coinciding(rows, list(dict.fromkeys(study.cells["variant"]))).items():
            own = rows[rows["variant"] == variant]
            cell = study.cells.loc[own["cell"].iloc[0]]
            sizes = np.array(sorted(set(own["env.group"])))
            found = [noise_to_signal(own[own["env.group"] == size]) for size in sizes]
            value, low, high = np.array([(x.value, x.low, x.high) for x in found], float).T / update
            known = np.isfinite(value)
            look: dict[str, Any] = {"color": colour(cell.phi_order, cell.baseline_order)}
            look |= {"marker": MARKERS[int(3 * cell.phi_order + cell.baseline_order) % len(MARKERS)]}
            curve(panel, sizes[known], value[known], low[known], high[known], name, **look)
        sizes = np.array(sorted(set(rows["env.group"])))
        panel.set(title=f"{env}: an update of {update} answers", xlabel="answers a prompt, N", xscale="log")
        panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
        panel.minorticks_off()
        panel.set_ylabel("NSR of an update,\ntr Cov g / |E g|²")
        logarithmic(panel, "y")
    legend(figure, axes)
    seeds = first["seed"].nunique()
    detail = f"median of {seeds} seeds with its 95% interval" if seeds > 1 else "one seed, with its 95% interval"
    detail += "; more answers a prompt mean fewer prompts in the update"
    title(figure, "Noise of an update for its signal, by answers a prompt", detail)
    return figure


def _coinciding(rows: pd.DataFrame, order: list[str]) -> dict[str, str]:
    """Variant -> its name, with those of others whose ratios are the same, as where they differ by a factor alone."""
    ratios = rows.pivot_table("nsr", "variant", ["env.group", "seed"])
    found: dict[str, list[str]] = {}
    for variant in (name for name in order if name in ratios.index):
        twin = next((one for one in found if np.allclose(ratios.loc[one], ratios.loc[variant], rtol=1e-6)), variant)
        found.setdefault(twin, []).append(variant)
    return {first: ", ".join(names) for first, names in found.items()}


def group_baselines() -> Figure:
    """Mean and noise of the estimators with one baseline a group, against its size and against difficulty."""
    sizes, chances = [2, 4, 8, 16, 32, 64], list(np.linspace(0.02, 0.98, 49))
    p, N = 0.25, 8
    sweeps = (
        ("N", group_curves(sizes, [p]), "samples a prompt, N", f"right answers: p = {p:g}"),
        ("p", group_curves([N], chances), "chance of a right answer, p", f"group size: N = {N}"),
    )
    tops = {"scale": 3.0, "nsr": 30.0}
    figure, axes = plt.subplots(
        2, 2, figsize=(width(WIDTH), points(4.8)), sharex="col", sharey="row", layout="constrained"
    )
    for column, (x, curves, label, fixed) in zip(axes.T, sweeps, strict=True):
        for panel, (y, top) in zip(column, tops.items(), strict=True):
            for (order, name), rows in curves.groupby(["order", "estimator"]):
                shown = rows[rows[y] <= top]
                text = name.replace("_", " ") + ("" if len(shown) else f"\n(off the scale: ≥ {rows[y].min():.0e})")
                look = {"color": _group_colour(order), "marker": MARKERS[order]}
                panel.plot(shown[x], shown[y], label=text, markevery=1 if x == "N" else 6, **look)
            panel.set(title=fixed, xscale="log" if x == "N" else "linear", yscale="log" if y == "nsr" else "linear")
        rule(column[0], "the true gradient", y=1.0)
        column[0].set_ylim(0, tops["scale"])
        column[1].set_xlabel(label)
    axes[0][0].set_xticks(sizes, [f"{size}" for size in sizes])
    axes[0][0].minorticks_off()
    axes[0][0].set_ylabel("mean, in units of\nthe true gradient")
    axes[1][0].set_ylabel("noise-to-signal ratio of\none group, tr Cov g / |E g|²")
    axes[0][1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    title(figure, "One baseline a prompt: what it does to the mean, and to the noise (exact)", "")
    return figure


def _group_colour(order: int) -> Colour:
    """Those of reward-to-go for none, mean and leave-one-out, which are the same estimators; then new hues."""
    return colour(1, order) if order < 3 else colour(order + 3, 0)
