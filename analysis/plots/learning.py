"""Pictures of what is learnt: learning curves, the convergence of value learners, the short corridor."""

from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ablate.statistics.seeds import FEWEST, interquartile_mean

from ..frames import Study, side_by_side
from ..outcomes import outcomes
from ..statistics import Floats, band, on_grid
from .style import COLUMN, crowded, legend, looks, panels, thousands, title

POINTS = 200  # of a curve
BEST = 2 - np.sqrt(2)  # the best chance of going right in the short corridor

Curves = dict[str, list[tuple[Floats, Floats]]]


def no_learning(study: Study) -> str:
    if study.curves.empty or not (study.curves["return_mean"].notna() & (study.curves["iteration"] > 1)).any():
        return "figure learning needs complete runs of more than one iteration whose return is known"
    crowd = crowded(study.cells[study.cells["complete"] > 0])
    return f"figure learning {crowd}; name a study of fewer" if crowd else ""


def learning(study: Study) -> Figure:
    """Return against env steps, a panel an environment."""
    curves = _curves(study, "return_mean")
    envs = list(dict.fromkeys(study.cells["env"][cell] for cell in study.cells.index if cell in curves))
    figure, axes = panels(len(envs))
    for panel, env in zip(axes, envs, strict=True):
        cells = study.cells[study.cells["env"] == env]
        for cell, look in looks(cells).items():
            if cell in curves:
                grid = np.linspace(0, min(steps[-1] for steps, _ in curves[cell]), POINTS)
                values = np.array([on_grid(steps, returns, grid) for steps, returns in curves[cell]])
                value, low, high = band(values, np.random.default_rng(0))
                panel.plot(grid, value, label=cells["label"][cell], markevery=(0.1, 0.2), **look)
                if len(values) > 1:
                    panel.fill_between(grid, low, high, color=look["color"], alpha=0.2, linewidth=0)
        for threshold in sorted(set(cells["threshold"].dropna())):
            panel.axhline(threshold, color="black", linewidth=0.8, label="solved")
        panel.set(title=env, xlabel="env steps", ylabel="return of an episode")
        thousands(panel.xaxis)
    legend(figure, axes)
    title(figure, "What each variant learns from how many env steps", f"{_seeds(curves)}; as far as all its seeds go")
    return figure


def _curves(study: Study, column: str) -> Curves:
    """(env steps, values) of each run, by cell."""
    found: Curves = defaultdict(list)
    for runs in side_by_side(study.curves, column):
        for cell, steps, values in zip(runs.cells, runs.env_steps, runs.values, strict=True):
            found[cell].append((steps, values))
    return found


def _seeds(curves: Curves) -> str:
    numbers = sorted({len(runs) for runs in curves.values()})
    if numbers == [1]:
        return "one seed, and so no interval"
    number = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    shown = "with its 95% interval" if numbers[-1] >= FEWEST else "too few for an interval"
    return f"IQM over {number} seeds, {shown}"


def no_values(study: Study) -> str:
    known = "value_rms_error" in study.curves and study.curves["value_rms_error"].notna().any()
    return "" if known else "figure td needs runs of a learner that records value_rms_error (algorithm=td)"


def td(study: Study) -> Figure:
    """RMS error of V against updates, log axes: it ends in a neighbourhood that the step size sets."""
    return _convergence(
        study,
        "value_rms_error",
        "env steps (one update each)",
        "RMS error of V to the exact V",
        "TD learning: how close V comes to the exact values, and where a constant step size leaves it",
    )


def no_q_values(study: Study) -> str:
    known = "q_error" in study.curves and study.curves["q_error"].notna().any()
    return "" if known else "figure bellman needs runs of a learner that records q_error (algorithm=q_iteration)"


def bellman(study: Study) -> Figure:
    """Error of Q to Q*, sweep by sweep: a straight line of slope log gamma on a logarithmic axis."""
    return _convergence(
        study,
        "q_error",
        "iteration (one sweep each)",
        "largest error of Q to Q*",
        "Bellman iteration: the error to the best values, sweep by sweep",
    )


def _convergence(study: Study, column: str, x: str, y: str, seen: str) -> Figure:
    """An error against env steps on log axes, or against iterations on a linear one where no env step is made."""
    against = study.curves if x.startswith("env") else study.curves.assign(env_steps=study.curves["iteration"])
    curves = defaultdict(list)
    for runs in side_by_side(against, column):
        for cell, steps, values in zip(runs.cells, runs.env_steps, runs.values, strict=True):
            curves[cell].append((steps, values))
    envs = list(dict.fromkeys(study.cells["env"][cell] for cell in study.cells.index if cell in curves))
    figure, axes = panels(len(envs))
    for panel, env in zip(axes, envs, strict=True):
        cells = study.cells[study.cells["env"] == env]
        for cell, look in looks(cells).items():
            if cell in curves:
                first, last = max(steps[0] for steps, _ in curves[cell]), min(steps[-1] for steps, _ in curves[cell])
                grid = np.geomspace(max(first, 1), max(last, 1), POINTS) if x.startswith("env") else curves[cell][0][0]
                value, low, high = band(
                    np.array([on_grid(steps, errors, grid) for steps, errors in curves[cell]]), np.random.default_rng(0)
                )
                shown = {**look, "linestyle": "-"}
                panel.plot(grid, value, label=cells["label"][cell], markevery=(0.1, 0.2), **shown)
                if len(curves[cell]) > 1:
                    panel.fill_between(grid, low, high, color=look["color"], alpha=0.2, linewidth=0)
        panel.set(title=env, xlabel=x, ylabel=y, yscale="log", xscale="log" if x.startswith("env") else "linear")
    legend(figure, axes)
    title(figure, seen, _seeds(curves))
    return figure


def no_corridor(study: Study) -> str:
    known = not study.curves.empty and (study.cells["env"] == "corridor").any() and not outcomes(study).empty
    return "" if known else "figure corridor needs complete runs of env=corridor"


def corridor(study: Study) -> Figure:
    """J(p) = -(4 - 2p) / (p (1 - p)) of the short corridor, and where each learner ends."""
    runs = outcomes(study)
    cells = study.cells[(study.cells["env"] == "corridor") & study.cells.index.isin(set(runs["cell"]))]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(COLUMN * 1.4, 2.3), sharey=True, layout="constrained", width_ratios=(1.3, 1)
    )
    p = np.linspace(0.02, 0.98, 300)
    left.plot(p, -(4 - 2 * p) / (p * (1 - p)), color="black")
    top = -(4 - 2 * BEST) / (BEST * (1 - BEST))
    left.plot(BEST, top, "*", color="black", markersize=9)
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
        right.plot([place] * len(final), final, "_", color="0.6")
        right.plot(place, interquartile_mean(final), label=cells["label"][cell], **look | {"linestyle": "none"})
    right.axhline(top, color="black", linewidth=0.8)
    right.set(xlim=(-0.7, len(cells) - 0.3), xlabel="where learners end")
    right.set_xticks([])
    legend(figure, [right])
    title(
        figure, "Short corridor: only a chance in between is good", "grey: each seed; marker: IQM of the final return"
    )
    return figure
