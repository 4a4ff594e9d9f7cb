"""C13: TD learning moves V to V^pi, and likely outcomes weigh more."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw
from ..verdicts.estimates import Mean
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

ENVIRONMENTS = ("random_walk", "frozenlake")
KINDS = {"steps n^-0.75 (Robbins-Monro)": True, "constant steps": False}


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """env, kind, seed, env_steps, error = RMS of V - V^pi over states, error in units of that of V = 0 at the first
    record; distance = total variation between the shares of updates and the occupancy."""
    tables = []
    for env in ENVIRONMENTS:
        curves = study.curves({"env.name": env, "algorithm.name": "td"}, ["algorithm.step_power"])
        kind = np.where(curves["algorithm.step_power"] > 0, *KINDS)
        columns = {"env_steps": curves["env_steps"], "error": curves["value_rms_error"], "seed": curves["seed"]}
        tables.append(pd.DataFrame({"env": env, "kind": kind, **columns, "distance": curves["visit_distance"]}))
    return pd.concat(tables, ignore_index=True)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """Does the error still fall after the start? log of the mean error of the last quarter of the updates over that of
    the second fortieth: a converging V's falls, in a neighbourhood it stays. And do updates go where it is likely?"""
    places = []
    for (kind, env), rows in sorted(
        evidence.groupby(["kind", "env"], sort=False), key=lambda pair: not KINDS[pair[0][0]]
    ):
        wide = rows.pivot_table("error", "seed", "env_steps").to_numpy()
        part = max(1, wide.shape[1] // 40)
        early, late = wide[:, part : 2 * part].mean(1), wide[:, -(wide.shape[1] // 4) :].mean(1)
        last = rows[rows["env_steps"] == rows["env_steps"].max()]
        found = {"error": Mean.of(np.log(late / early)), "distance": Mean.of(last["distance"])}
        places.append(Condition(f"{env}, {kind}", found))
    return ClaimFinding(places, "Constant steps reach a neighbourhood of V^pi only.")


def picture(evidence: pd.DataFrame) -> Figure:
    names = list(evidence["env"].unique())
    figure, panels = draw.figure(len(names))
    for panel, env in zip(panels, names, strict=True):
        for place, (kind, rows) in enumerate(evidence[evidence["env"] == env].groupby("kind", sort=False)):
            wide = rows.pivot_table("error", "seed", "env_steps")
            draw.band(panel, wide.columns, wide.to_numpy(), str(kind), place)
        panel.set(xscale="log", yscale="log", title=env, xlabel="updates (env steps)")
    panels[0].set_ylabel("RMS error of V")
    draw.legend(figure, *panels)
    draw.heading(figure, "How close V comes with constant and with shrinking steps: mean over seeds, 95% limits")
    return figure
