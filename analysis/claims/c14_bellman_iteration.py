"""C14: Bellman iteration makes Q consistent: a sweep contracts the error by gamma or more."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw
from ..verdicts.estimates import Exact
from ..verdicts.study import Study
from ..verdicts.verdict import Finding, Place

TASKS = (("frozenlake", 0.9), ("frozenlake", 0.99), ("gridworld", 0.9), ("gridworld", 0.99))
LEVEL = 1e-9  # errors below this share of the first are left out: rounding does not contract


def evidence(study: Study) -> pd.DataFrame:
    """task, gamma, sweep, error = max |Q - Q*|."""
    tables = []
    for env, gamma in TASKS:
        curves = study.curves({"env.name": env, "algorithm.name": "q_iteration", "gamma": gamma})
        one = curves[curves["seed"] == curves["seed"].min()].sort_values("iteration")
        columns = {"sweep": one["iteration"], "error": one["q_error"]}
        tables.append(pd.DataFrame({"task": f"{env}, gamma {gamma:g}", "gamma": gamma, **columns}))
    return pd.concat(tables, ignore_index=True)


def measure(evidence: pd.DataFrame) -> Finding:
    """The largest ratio of the errors of two sweeps, over gamma."""
    places, remarks = [], []
    for task, rows in evidence.groupby("task", sort=False):
        error = rows["error"].to_numpy()
        kept = error[error > LEVEL * error[0]]
        ratios = kept[1:] / kept[:-1] / rows["gamma"].iloc[0]
        places.append(Place(str(task), {"contraction": Exact(float(ratios.max()) if len(ratios) else np.nan)}))
        if len(kept):
            remarks.append(f"{task}: error {kept[0]:.3g} after the first sweep, {kept[-1]:.3g} after {len(kept)}.")
    return Finding(places, " ".join(remarks))


def picture(evidence: pd.DataFrame) -> Figure:
    figure, (panel,) = draw.figure()
    for place, (task, rows) in enumerate(evidence.groupby("task", sort=False)):
        style = draw.look(place) | {"marker": ""}
        panel.plot(rows["sweep"], rows["error"], label=f"{task}: max |Q - Q*|", **style)
        bound = rows["error"].iloc[0] * rows["gamma"] ** (rows["sweep"] - rows["sweep"].iloc[0])
        panel.plot(rows["sweep"], bound, color=style["color"], linestyle=":", linewidth=0.8)
    panel.set(yscale="log", xlabel="sweeps", ylabel="error in the sup norm", title="dotted: gamma^k")
    panel.legend()
    return figure
