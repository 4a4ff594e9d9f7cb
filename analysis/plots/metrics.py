"""A picture of the probe's noise in other units: by its cost, in other metrics, and by layer of the network."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.statistics import paired_tests, seeds
from ablate.statistics.interval import Floats, Interval

from ..frames import StudyFrames
from .style import WIDTH, limits, logarithmic, points, rule, style, title, variants, width

UNITS = {
    "trace_variance": "of an episode",
    "work_variance": "of an env step",
    "optimizer_trace_variance": "in the optimiser's\nmetric",
    "fisher_trace_variance": "in the Fisher\nmetric",
    "split_directional_variance": "along its own\nascent",
}
SHARE = "share_"


def no_metrics(study: StudyFrames) -> str:
    if len(study.probe) and "work_variance" in study.probe and (study.probe["mode"] == "matched").any():
        return ""
    return "figure metrics needs rows of probe=matched; run python -m ablate -m study=variance"


def metrics(study: StudyFrames) -> Figure:
    """Noise at the last policy over the reference's, on the same trajectories: rows are environments, columns units."""
    rows = study.probe[(study.probe["mode"] == "matched") & (study.probe["stage"] == 1)]
    units = measured(rows)
    envs, names = list(rows["env"].unique()), [variant for variant, _ in variants(rows)]
    size = width(WIDTH), points(0.6 + len(envs) * (0.6 + 0.16 * len(names)))
    shape: dict[str, Any] = {"figsize": size, "sharey": True, "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(len(envs), len(units), **shape)
    for line, env in zip(axes, envs, strict=True):
        here = rows[rows["env"] == env]
        for panel, (column, heading) in zip(line, units.items(), strict=True):
            for place, variant in enumerate(names):
                _bar(panel, place, variant, relative(here, variant.label, column))
            rule(panel, "the reference", x=1.0, color="black")
            logarithmic(panel, "x")
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.set_xlabel(heading)
        line[0].set_yticks(range(len(names)), [variant.label for variant in names])
        line[0].set_ylabel(env)
    title(
        figure,
        "Noise at the last policy over that of the reference, by its cost, in other metrics and by layer",
        "same trajectories; geometric mean over seeds, 95% interval; none where it comes from too few episodes",
    )
    return figure


def measured(rows: pd.DataFrame) -> dict[str, str]:
    """The columns of noise that these rows have, each with its heading; a layer has its share of the trace variance."""
    layers = {name: f"of layer\n{name.removeprefix(SHARE)}" for name in rows.columns if name.startswith(SHARE)}
    return {name: text for name, text in (UNITS | layers).items() if name in rows and rows[name].notna().any()}


def relative(rows: pd.DataFrame, label: str, column: str) -> Interval | None:
    """exp of the mean over seeds of log(noise / noise of the reference in the same run), with Student's limits.

    The limits are (0, inf) where `seeds.enough` probes do not have informative episodes, of it or of the reference.
    None where the variant, or its reference, was not measured or has no noise.
    """
    of = _by_run(rows[rows["label"] == label])
    references = of["reference"].dropna().unique()
    if len(references) != 1:
        return None
    against = _by_run(rows[rows["label"] == references[0]]).reindex(of.index)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(_amount(of, column)) - np.log(_amount(against, column))
    known = np.isfinite(logs)
    if not known.any():
        return None
    found = paired_tests.mean_difference(logs[known])
    informative = (seeds.informative(of) & seeds.informative(against))[known]
    if label != references[0] and not seeds.enough(informative):
        found = Interval(found.value, np.asarray(-np.inf), np.asarray(np.inf))
    return Interval(*map(np.exp, found))


def _by_run(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates(["cell", "seed"]).set_index(["cell", "seed"])


def _amount(rows: pd.DataFrame, column: str) -> Floats:
    share = column.startswith(SHARE)
    return rows[column].to_numpy(float) * (rows["trace_variance"].to_numpy(float) if share else 1.0)


def _bar(panel: Axes, place: int, variant: Any, found: Interval | None) -> None:
    if found is None:
        return
    look: Mapping[str, Any] = style(variant) | {"linestyle": "none"}
    if np.isfinite(found.high):
        limits(panel, [found.low, found.high], [place] * 2, variant.label, color=look["color"], linewidth=1.6)
    panel.plot(found.value, place, label=variant.label, **look)
