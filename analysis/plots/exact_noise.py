"""Figures of exact noise: against the horizon, over many random MDPs, and split by its sources."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ablate.errors import UserError

from ..frames import StudyFrames
from ..statistics import against_reference, wilson
from .style import (
    WIDTH,
    colour,
    grow,
    limits,
    logarithmic,
    named,
    panels,
    points,
    rule,
    style,
    title,
    variants,
    width,
)

PARTS = {"v_s0": "first state", "v_transition": "transitions", "v_action": "actions", "v_coupling": "shared baseline"}
GREYS = {"v_s0": "0.25", "v_transition": "0.5", "v_coupling": "0.9"}
NARROW = 5.0  # inches: a figure of a column, whose panels stand one below the other
FARTHEST = 2.5  # bars longer than this, in units of reward-to-go's, are cut and written out


def _over_horizons(study: StudyFrames) -> pd.DataFrame:
    """Exact rows of the first policy, of environments that were run at several horizons."""
    exact = study.probe[
        (study.probe["stage"] == 0) & (study.probe["mode"] == "exact") & np.isfinite(study.probe["nsr"])
    ]
    if "env.horizon" not in exact:
        return exact.head(0)
    return exact[exact.groupby("env")["env.horizon"].transform("nunique") > 1]


def no_horizons(study: StudyFrames) -> str:
    if len(study.probe) and len(_over_horizons(study)):
        return ""
    return "figure horizon needs a study over env.horizon; run python -m ablate -m study=horizon"


OF_STATE = (3, 4, 7, 8)  # orders of the baselines that depend on t or s
FAMILIES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "no baseline of the state": lambda rows: (rows["needs"] == "") & ~rows["baseline_order"].isin(OF_STATE),
    "a baseline of t or s": lambda rows: rows["baseline_order"].isin(OF_STATE) & (rows["critic"] != "clockless"),
    "Phi from a critic": lambda rows: (
        (rows["needs"] != "") & ~rows["baseline_order"].isin(OF_STATE) & (rows["critic"] != "clockless")
    ),
    "a critic that does not see t": lambda rows: rows["critic"] == "clockless",
}
"""The rows of figure horizon: few enough lines each to be told apart."""


def horizon(study: StudyFrames) -> Figure:
    """NSR against the horizon at the first policy: columns are environments, rows families of variants; a variant whose
    curve lies on that of an earlier one shares its name."""
    first = _over_horizons(study)
    envs = list(first["env"].unique())
    families = {what: first[chosen(first)] for what, chosen in FAMILIES.items()}
    families = {what: rows for what, rows in families.items() if len(rows)}
    figure, grid = plt.subplots(
        len(families),
        len(envs),
        figsize=(width(WIDTH), points(1.9 * len(families))),
        sharex=True,
        sharey="row",
        layout="constrained",
        squeeze=False,
    )
    for line, (what, rows) in zip(grid, families.items(), strict=True):
        names = _coinciding(rows)
        for panel, env in zip(line, envs, strict=True):
            for variant, at in variants(rows[rows["label"].isin(names) & (rows["env"] == env)]):
                means = at.groupby("env.horizon")["nsr"].mean()
                panel.plot(means.index, means, label=names[variant.label], **style(variant))
            panel.set(xscale="log", title=f"{env}: {what}")
            _horizons(panel, first["env.horizon"])
            logarithmic(panel, "y")
        line[0].set_ylabel("NSR of one episode,\ntr Cov g / |E g|²")
    for panel in grid[-1]:
        panel.set_xlabel("horizon H (steps)")
    named(figure, list(grid.ravel()))
    title(figure, _worst_at_last(first), "exact, at the first (uniform) policy; with a critic: of the true V and Q")
    return figure


def _coinciding(rows: pd.DataFrame) -> dict[str, str]:
    """Variants by their labels, with the name of all whose curves are the same to a thousandth; the first stands for
    them."""
    curves = rows.pivot_table("nsr", ["phi_order", "baseline_order", "label"], ["env", "env.horizon"])
    found: dict[str, list[str]] = {}
    kept: list[pd.Series] = []
    for (_, _, label), values in curves.iterrows():
        twin = next((one for one in kept if np.allclose(one, values, rtol=1e-3, equal_nan=True)), None)
        if twin is None:
            kept.append(values)
            found[label] = [label]
        else:
            found[twin.name[2]].append(label)
    return {first: _together(names) for first, names in found.items()}


def _together(names: Sequence[str]) -> str:
    """One name for several: "reward-to-go − V, − textbook"."""
    phi = names[0].partition(" − ")[0]
    rest = [name.removeprefix(phi).strip() if name.startswith(phi + " − ") else name for name in names[1:]]
    return ", ".join([names[0], *rest]) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


def _worst_at_last(rows: pd.DataFrame) -> str:
    """By how much the noise of the return and of the quietest variant differ at the longest horizon."""
    last = rows[rows["env.horizon"] == rows["env.horizon"].max()]
    table = last.groupby(["env", "label"])["nsr"].mean().unstack()  # noqa: PD010
    plain = table.get("return", table.max(axis=1))
    factors = (plain / table.min(axis=1)).dropna()
    worse = ", ".join(f"{factor:,.0f} times on {env}" for env, factor in factors.items())
    return f"At H = {rows['env.horizon'].max():g} the return has more noise for its signal than the best: {worse}"


def _horizons(panel: Axes, values: pd.Series) -> None:
    ticks = sorted(values.unique())
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()


def no_survey(study: StudyFrames) -> str:
    if "env.index" in study.probe and study.probe["env.index"].unique().size > 1:
        return ""
    return "figure survey needs a study over env.index; run python -m ablate -m study=survey"


def survey(study: StudyFrames) -> Figure:
    """Over many MDPs: how often a variant has less noise than its reference, and by how much."""
    ratios = against_reference(study.probe)
    split = _varying(ratios, but="env.index")
    parts = [(_setting(split, value), rows) for value, rows in ratios.groupby(split)] if split else []
    parts = parts or [("", ratios)]
    found = [variant for variant, _ in variants(ratios)]
    usual = Counter(variant.reference for variant in found).most_common(1)[0][0]
    names = [(x, x.label if x.reference == usual else f"{x.label}  vs  {x.reference}") for x in found]
    stacked = len(parts) if width(WIDTH) < NARROW else 1
    figure, axes = plt.subplots(
        stacked,
        2 * len(parts) // stacked,
        figsize=(width(WIDTH), stacked * points(1.3 + 0.24 * len(names))),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for (heading, rows), (share, spread) in zip(parts, axes.reshape(-1, 2), strict=True):
        for place, (variant, _) in enumerate(names):
            own = rows[rows["label"] == variant.label]
            _share(share, place, variant, own)
            _spread(spread, place, variant, own[own["stage"] == 1]["ratio"].to_numpy())
        rule(share, "half of the MDPs", x=0.5)
        rule(spread, "no difference", x=1.0)
        share.set(xlim=(-0.15, 1.15), xlabel="share of MDPs", title=heading)
        share.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        spread.set(xscale="log", xlabel="ratio")
        spread.xaxis.set_major_locator(LogLocator(numticks=4))
        spread.xaxis.set_minor_formatter(NullFormatter())
    for panel in axes[:, 0]:
        panel.set_yticks(range(len(names)), [name for _, name in names])
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    number = ratios["env.index"].nunique()
    title(
        figure,
        f"How often a variant has less noise than {usual} or another reference, over {number} random MDPs (exact)",
        "share: filled last policy, hollow first, 95% interval; ratio of trace variances: last policy, median, 50% and "
        "90% of MDPs",
    )
    return figure


def _setting(key: str, value: float) -> str:
    """A setting of random MDPs in words."""
    return f"rewards around {value:g}" if key == "env.offset" else f"{key.removeprefix('env.')} {value:g}"


def _varying(frame: pd.DataFrame, but: str) -> str | None:
    """The one setting of the environment, besides `but`, that the study sweeps over."""
    swept = [key for key in frame if key.startswith("env.") and key != but and len(frame[key].unique()) > 1]
    if len(swept) > 1:
        raise UserError(f"the study sweeps over {', '.join(swept)} at once; show one sweep a figure")
    return swept[0] if swept else None


def _share(panel: Axes, place: int, variant: Any, rows: pd.DataFrame) -> None:
    look = style(variant) | {"linestyle": "none"}
    for stage, lift in ((0, -0.16), (1, 0.16)):
        ratio = rows[rows["stage"] == stage]["ratio"].to_numpy()
        if not len(ratio):
            continue
        won = int((ratio < 1).sum())
        when = f"{variant.label}, {'last' if stage else 'first'} policy"
        limits(panel, wilson(won, len(ratio)), [place + lift] * 2, when, color=look["color"], linewidth=points(1))
        panel.plot(won / len(ratio), place + lift, **look, markerfacecolor=None if stage else "white", label=when)


def _spread(panel: Axes, place: int, variant: Any, ratio: np.ndarray) -> None:
    """Quantiles 5, 25, 50, 75, 95% as line, bar, tick."""
    if not len(ratio):
        return
    far_low, low, middle, high, far_high = np.quantile(ratio, [0.05, 0.25, 0.5, 0.75, 0.95])
    look = style(variant)
    wide: dict[str, Any] = {"color": look["color"], "linewidth": points(5), "solid_capstyle": "butt"}
    panel.plot([far_low, far_high], [place] * 2, color=look["color"], lw=1, label=f"_nine_tenths of {variant.label}")
    panel.plot([low, high], [place] * 2, label=f"_half of {variant.label}", **wide)
    panel.plot([middle], [place], marker="|", color="black", markersize=points(7), label=variant.label)


def no_split(study: StudyFrames) -> str:
    if "v_action" in study.probe and study.probe["v_action"].notna().any():
        return ""
    return "figure split needs rows of probe=exact; run python -m ablate -m study=survey (or horizon)"


def split(study: StudyFrames) -> Figure:
    """The parts of the exact variance as stacked bars, with the floor under every baseline of reward-to-go."""
    rows = study.probe[(study.probe["mode"] == "exact") & (study.probe["critic"] != "clockless")]
    keys = ["cell", "seed", "iteration"]
    plain = rows[(rows["phi"] == "rtg") & (rows["baseline"] == "none")].set_index(keys)
    total = plain["trace_variance"].reindex(pd.MultiIndex.from_frame(rows[keys])).to_numpy()
    parts = [part for part in PARTS if part in rows and (rows[part] > 0).any()]
    shares = rows.assign(**{part: rows[part] / np.where(total > 0, total, np.nan) for part in parts})
    shares = shares.dropna(subset=parts)
    stages = sorted(set(shares["stage"]) & {0.0, 1.0})
    shares = shares.assign(problem=_problems(shares))
    places = [(problem, stage) for problem in dict.fromkeys(shares["problem"]) for stage in stages]
    names = [(variant.label, variant) for variant, _ in variants(shares)]
    figure, axes = panels(len(places), height=0.7 + 0.15 * len(names), wide=2, sharey=True)
    for panel, (problem, stage) in zip(axes, places, strict=True):
        here = shares[(shares["problem"] == problem) & (shares["stage"] == stage)]
        means = here.groupby("label")[parts].mean()
        for place, (label, variant) in enumerate(names):
            if label in means.index:
                _stack(panel, place, means.loc[label], parts, variant)
        rtg = here[(here["phi"] == "rtg") & (here["baseline"] == "none")]
        floor = rtg[[part for part in ("v_s0", "v_transition") if part in parts]].sum(axis=1).mean()
        rule(panel, "the floor", x=floor, color="black", linewidth=points(1.2), linestyle="--")
        when = "last policy" if stage else "first policy"
        panel.set(
            xlim=(0, FARTHEST * 1.18), title=f"{problem}, {when}", xlabel="trace variance,\nin units of reward-to-go's"
        )
        panel.set_yticks(range(len(names)), [label for label, _ in names])
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.grid(visible=False, axis="y")
    marks = [plt.Rectangle((0, 0), 1, 1, facecolor=GREYS.get(part, "white"), edgecolor="black") for part in parts]
    words = [PARTS[part] + (" (in the variant's colour)" if part == "v_action" else "") for part in parts]
    line = plt.Line2D([], [], color="black", linestyle="--")
    columns = 2 if len(places) == 1 else 5
    grow(figure, 0.16 * -(-(len(marks) + 1) // columns) + 0.1)
    figure.legend([*marks, line], [*words, "floor"], loc="outside lower center", ncols=columns, frameon=False)
    number = shares.groupby("problem")["cell"].nunique().max()
    over = f"; mean over up to {number} problems" if number > 1 else ""
    title(
        figure,
        "What the variance of each estimator comes from (exact)",
        f"floor: first state and transitions, below which no baseline brings reward-to-go{over}",
    )
    return figure


def _problems(shares: pd.DataFrame) -> pd.Series:
    """The environment, with the setting of which the study has two or three values: they are shown apart."""
    names = shares["env"].astype(str)
    for key in (column for column in shares if column.startswith("env.")):
        values = shares.groupby("env")[key].transform("nunique")
        names = names.where(~values.between(2, 3), names + f" ({key[4:]} = " + shares[key].map("{:g}".format) + ")")
    return names


def _stack(panel: Axes, place: int, means: pd.Series, parts: list[str], variant: Any) -> None:
    left, own = 0.0, colour(variant.phi_order, variant.baseline_order)
    for part in parts:
        part_width = min(float(means[part]), max(FARTHEST - left, 0.0))
        face = GREYS.get(part, own)
        edge: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.4, "label": f"_{part} of {variant.label}"}
        panel.barh(place, part_width, left=left, height=0.7, facecolor=face, **edge)
        left += part_width
    if means[parts].sum() > FARTHEST:
        panel.text(FARTHEST * 1.01, place, f"{means[parts].sum():.3g}", va="center", fontsize=points(6))
