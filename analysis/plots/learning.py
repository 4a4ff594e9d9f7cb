"""Pictures of what is learnt: learning curves, the convergence of value learners, the short corridor."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ablate.statistics.seeds import MIN_SEEDS, interquartile_mean

from ..figure_titles import ENDS, finding
from ..frames import StudyFrames, side_by_side
from ..run_summaries import outcomes
from ..statistics import Floats, band, on_grid
from .style import (
    COLUMN,
    crowded,
    curve,
    legend,
    logarithmic,
    looks,
    named,
    panels,
    points,
    rule,
    thousands,
    title,
    width,
)

POINTS = 200  # of a curve
BEST = 2 - np.sqrt(2)  # the best chance of going right in the short corridor

ALIKE = 0.95  # of the longest run's env steps, which the shortest must reach for one panel to say all

AXES = {"env steps": "env_steps", "iterations": "iteration", "seconds": "wall_time"}
"""What a curve may stand against, and the column that has it."""


@dataclass(frozen=True)
class LearningCurve:
    """The values of a run [T], and where each stands on the axes that are known of it [T]."""

    along: Mapping[str, Floats]
    values: Floats


Curves = dict[str, list[LearningCurve]]
Row = tuple[str, str, float]  # environment, what stands on the axis, where it ends


def no_learning(study: StudyFrames) -> str:
    if study.curves.empty or not (study.curves["return_mean"].notna() & (study.curves["iteration"] > 1)).any():
        return "figure learning needs complete runs of more than one iteration whose return is known"
    crowd = crowded(study.cells[study.cells["complete"] > 0])
    return f"figure learning {crowd}; choose some with --only or --drop" if crowd else ""


def learning(study: StudyFrames) -> Figure:
    """Return against env steps as far as every run goes, and where that leaves out much, against iterations beside it;
    a row an environment."""
    curves = _curves(study, "return_mean")
    rows = _rows(study, curves)
    figure, axes = panels(len(rows))
    for panel, (env, axis, end) in zip(axes, rows, strict=True):
        _returns(panel, study.cells[study.cells["env"] == env], curves, axis, end)
        detail = ", as far as every run goes" if axis == "env steps" and len(rows) > 1 and np.isfinite(end) else ""
        panel.set(title=f"{env}: against {axis}", xlabel=f"{axis}{detail}", ylabel="total reward of an episode")
    named(figure, axes)
    title(figure, finding(study, "final_return", ENDS) or "What each variant learns", _seeds(curves))
    return figure


def each_seed(study: StudyFrames, axis: str) -> Figure:
    """Of one environment, one panel as far as every run goes on this axis, and each seed's own curve behind."""
    curves = _curves(study, "return_mean")
    end = min(run.along[axis][-1] for runs in curves.values() for run in runs)
    figure, (panel,) = panels(1)
    for cell, look in looks(study.cells).items():
        for run in curves.get(cell, []):
            line: dict[str, Any] = {"color": look["color"], "linewidth": 0.6, "alpha": 0.7, "zorder": 1}
            inside = run.along[axis] <= end
            panel.plot(
                run.along[axis][inside], run.values[inside], label=f"_seed of {study.cells['label'][cell]}", **line
            )
    _returns(panel, study.cells, curves, axis, end)
    panel.set(xlabel=axis, ylabel="total reward of an episode")
    named(figure, [panel])
    title(figure, finding(study, "final_return", ENDS) or "What each variant learns", _seeds(curves))
    return figure


def axes_of(study: StudyFrames) -> list[str]:
    """What the curves of one environment can stand against, first what leaves out least of them."""
    curves = _curves(study, "return_mean")
    known = set.intersection(*(set(run.along) for runs in curves.values() for run in runs))
    first = _rows(study, curves)[-1][1]
    return sorted((axis for axis in AXES if axis in known), key=lambda axis: axis != first)


def _rows(study: StudyFrames, curves: Curves) -> list[Row]:
    """The panels: of which environment, against what, and where the axis ends."""
    rows = list[Row]()
    for env in dict.fromkeys(study.cells["env"][cell] for cell in study.cells.index if cell in curves):
        ends = [
            run.along["env steps"][-1] for cell in curves if study.cells["env"][cell] == env for run in curves[cell]
        ]
        rows.append((env, "env steps", min(ends)))
        rows += [(env, "iterations", np.inf)] if min(ends) < ALIKE * max(ends) else []
    return rows


def _returns(panel: Axes, cells: pd.DataFrame, curves: Curves, axis: str, end: float) -> None:
    """The curves of one environment with their bands, and the returns that solve it."""
    for threshold in sorted(set(cells["threshold"].dropna())):
        rule(panel, "solved", y=threshold)
        halo = [withStroke(linewidth=points(2), foreground="white")]
        word: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "fontsize": points(6.5)}
        word |= {"path_effects": halo, "zorder": 9}
        panel.text(0.01, threshold, f"solved at {threshold:g}", va="bottom", **word)
    for cell, look in looks(cells).items():
        if cell in curves:
            grid = np.linspace(0, min(end, *(run.along[axis][-1] for run in curves[cell])), POINTS)
            values = np.array([on_grid(run.along[axis], run.values, grid) for run in curves[cell]])
            value, low, high = band(values, np.random.default_rng(0))
            curve(panel, grid, value, low, high, cells["label"][cell], markevery=(0.1, 0.2), **look)
    panel.set_xlim(left=0)
    thousands(panel.xaxis)


def _curves(study: StudyFrames, column: str) -> Curves:
    """A column of each run, by cell, against whatever axis all runs have."""
    found: Curves = defaultdict(list)
    known = {axis: name for axis, name in AXES.items() if name in study.curves and study.curves[name].notna().all()}
    all_blocks = [side_by_side(study.curves.assign(env_steps=study.curves[name]), column) for name in known.values()]
    for blocks in zip(*all_blocks, strict=True):
        for place, cell in enumerate(blocks[0].cells):
            along = {axis: block.env_steps[place] for axis, block in zip(known, blocks, strict=True)}
            found[cell].append(LearningCurve(along, blocks[0].values[place]))
    return found


def _seeds(curves: Curves) -> str:
    numbers = sorted({len(runs) for runs in curves.values()})
    if numbers == [1]:
        return "one seed, and so no interval"
    number = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    shown = "with its 95% interval" if numbers[-1] >= MIN_SEEDS else "too few for an interval"
    return f"IQM over {number} seeds, {shown}"


def no_values(study: StudyFrames) -> str:
    known = "value_rms_error" in study.curves and study.curves["value_rms_error"].notna().any()
    return "" if known else "figure td needs runs of a learner that records value_rms_error (algorithm=td)"


def td(study: StudyFrames) -> Figure:
    """RMS error of V against updates, log axes: it ends in a neighbourhood that the step size sets."""
    return _convergence(
        study,
        "value_rms_error",
        "env steps (one update each)",
        "RMS error of V to the exact V",
        "TD learning: how close V comes to the exact values, and where a constant step size leaves it",
    )


def no_q_values(study: StudyFrames) -> str:
    known = "q_error" in study.curves and study.curves["q_error"].notna().any()
    return "" if known else "figure bellman needs runs of a learner that records q_error (algorithm=q_iteration)"


def bellman(study: StudyFrames) -> Figure:
    """Error of Q to Q*, sweep by sweep: a straight line of slope log gamma on a logarithmic axis."""
    return _convergence(
        study,
        "q_error",
        "iteration (one sweep each)",
        "largest error of Q to Q*",
        "Bellman iteration: the error to the best values, sweep by sweep",
    )


def _convergence(study: StudyFrames, column: str, x: str, y: str, seen: str) -> Figure:
    """An error against env steps on log axes, or against iterations on a linear one where no env step is made."""
    curves, steps_made = _curves(study, column), x.startswith("env")
    envs = list(dict.fromkeys(study.cells["env"][cell] for cell in study.cells.index if cell in curves))
    figure, axes = panels(len(envs))
    for panel, env in zip(axes, envs, strict=True):
        cells = study.cells[study.cells["env"] == env]
        for cell, look in looks(cells).items():
            if cell in curves:
                runs = [(run.along["env steps" if steps_made else "iterations"], run.values) for run in curves[cell]]
                first, last = max(at[0] for at, _ in runs), min(at[-1] for at, _ in runs)
                grid = np.geomspace(max(first, 1), max(last, 1), POINTS) if steps_made else runs[0][0]
                value, low, high = band(
                    np.array([on_grid(at, errors, grid) for at, errors in runs]), np.random.default_rng(0)
                )
                seen_at = np.where(value > 0, value, np.nan)
                shown = {**look, "linestyle": "-", "markevery": (0.1, 0.2)}
                curve(panel, grid, seen_at, low, high, cells["label"][cell], **shown)
        panel.set(title=env, xlabel=x, ylabel=y, xscale="log" if steps_made else "linear")
        logarithmic(panel, "y")
    named(figure, axes)
    title(figure, seen, _seeds(curves))
    return figure


def no_corridor(study: StudyFrames) -> str:
    known = not study.curves.empty and (study.cells["env"] == "corridor").any() and not outcomes(study).empty
    return "" if known else "figure corridor needs complete runs of env=corridor"


def corridor(study: StudyFrames) -> Figure:
    """J(p) = -(4 - 2p) / (p (1 - p)) of the short corridor, and where each learner ends."""
    runs = outcomes(study)
    cells = study.cells[(study.cells["env"] == "corridor") & study.cells.index.isin(set(runs["cell"]))]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(width(COLUMN * 1.4), points(2.3)), sharey=True, layout="constrained", width_ratios=(1.3, 1)
    )
    p = np.linspace(0.02, 0.98, 300)
    left.plot(p, -(4 - 2 * p) / (p * (1 - p)), color="black", label="J")
    top = -(4 - 2 * BEST) / (BEST * (1 - BEST))
    left.plot(BEST, top, "*", color="black", markersize=points(9), label="the best J")
    arrow = {"arrowstyle": "-", "color": "black"}
    left.annotate(f"p* = 2 − √2\nJ* = −{-top:.2f}", (BEST, top), (0.5, -45), ha="center", arrowprops=arrow)
    lowest = min(-100.0, float(runs[runs["cell"].isin(cells.index)]["final_return"].min()) * 1.1)
    left.set(yscale="symlog", ylim=(lowest, -8), xlim=(0, 1), xlabel="chance of going right, p", ylabel="J, return")
    left.set_yscale("symlog", linthresh=10)
    left.set_yticks([tick for tick in (-1000, -300, -100, -50, -20, -12) if tick >= lowest])
    left.yaxis.set_major_formatter(lambda x, _: f"−{-x:g}")
    left.yaxis.set_minor_locator(plt.NullLocator())
    for place, (cell, look) in enumerate(looks(cells).items()):
        final = runs[runs["cell"] == cell]["final_return"].to_numpy()
        right.plot([place] * len(final), final, "_", color="0.6", label=f"_seeds of {cells['label'][cell]}")
        right.plot(place, interquartile_mean(final), label=cells["label"][cell], **look | {"linestyle": "none"})
    rule(right, "the best J", y=top)
    right.set(xlim=(-0.7, len(cells) - 0.3), xlabel="where learners end")
    right.set_xticks([])
    legend(figure, [right])
    title(
        figure, "Short corridor: only a chance in between is good", "grey: each seed; marker: IQM of the final return"
    )
    return figure
