"""C14: Bellman iteration makes Q consistent: a sweep contracts the error by gamma or more."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw
from ..verdicts.estimates import Exact
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

TASKS = (("frozenlake", 0.9), ("frozenlake", 0.99), ("gridworld", 0.9), ("gridworld", 0.99))
LEVEL = 1e-9  # errors below this share of the first are left out: rounding does not contract


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """task, gamma, sweep, error = max |Q - Q*|."""
    tables = []
    for env, gamma in TASKS:
        curves = study.curves({"env.name": env, "algorithm.name": "q_iteration", "gamma": gamma})
        one = curves[curves["seed"] == curves["seed"].min()].sort_values("iteration")
        columns = {"sweep": one["iteration"], "error": one["q_error"]}
        tables.append(pd.DataFrame({"task": f"{env}, gamma {gamma:g}", "gamma": gamma, **columns}))
    return pd.concat(tables, ignore_index=True)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The largest ratio of the errors of two sweeps, over gamma."""
    places, remarks = [], []
    for task, rows in evidence.groupby("task", sort=False):
        error = rows["error"].to_numpy()
        kept = error[error > LEVEL * error[0]]
        ratios = kept[1:] / kept[:-1] / rows["gamma"].iloc[0]
        places.append(Condition(str(task), {"contraction": Exact(float(ratios.max()) if len(ratios) else np.nan)}))
        if len(kept):
            remarks.append(f"{task}: error {kept[0]:.3g} after the first sweep, {kept[-1]:.3g} after {len(kept)}.")
    return ClaimFinding(places, " ".join(remarks))


def picture(evidence: pd.DataFrame) -> Figure:
    """A panel a gamma: the error over that of the first sweep, and the bound gamma^(k - 1) that it stays below."""
    gammas = sorted(set(evidence["gamma"]))
    figure, panels = draw.figure(len(gammas), sharey=True)
    tasks = list(dict.fromkeys(evidence["task"].str.partition(", ")[0]))
    for panel, gamma in zip(panels, gammas, strict=True):
        own = evidence[evidence["gamma"] == gamma]
        sweeps = own["sweep"].unique()
        bound = gamma ** (sweeps - sweeps[0]).astype(float)
        shown = bound > LEVEL / 2
        panel.plot(sweeps[shown], bound[shown], color="0.4", linestyle=":", label="bound: γ^(k − 1)")
        for task, rows in own.groupby(own["task"].str.partition(", ")[0], sort=False):
            error = rows["error"].to_numpy() / rows["error"].iloc[0]
            kept = error > LEVEL
            look = draw.look(tasks.index(str(task))) | {"markevery": 0.1, "linestyle": "-"}
            panel.plot(rows["sweep"].to_numpy()[kept], error[kept], label=str(task), **look)
        panel.set(yscale="log", ylim=(LEVEL, 3), xlabel="sweeps, k", title=f"γ = {gamma:g}")
    panels[0].set_ylabel("max |Q − Q*|, over that\nafter the first sweep")
    draw.legend(figure, *panels)
    draw.heading(figure, "No error rises above its bound: each sweep shrinks it by γ or more")
    return figure
