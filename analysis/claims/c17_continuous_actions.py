"""C17: continuous actions come naturally: regret to the Riccati optimum, beside Q-learning on a grid of actions."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.curves import FINAL, final_return
from ablate.lqg import LQG, optimum
from analysis.verdicts import draw, learning
from analysis.verdicts.estimates import Mean
from analysis.verdicts.study import Study
from analysis.verdicts.verdict import Finding, Place

NEAR = 0.05  # of the optimal cost, as the yaml has it
LEARNERS = {"policy gradient": "policy_gradient", "A2C": "a2c", "Q-learning on 9 actions": "q_learning"}
RIVAL = "Q-learning on 9 actions"


def evidence(study: Study) -> pd.DataFrame:
    """task, learner, seed, first, last (returns), regret = (J* - last) / |J*| (NaN where J* is not known)."""
    best = optimum(_problem())[1]
    tables = {}
    for label, name in LEARNERS.items():
        wanted = {"env.name": "lqg", "env.horizon": 10, "algorithm.name": name}
        if name == "policy_gradient":
            wanted |= {"phi.name": "rtg", "baseline.name": "time"}
        curves = study.curves(wanted)
        tables[label] = _ends(curves, best).assign(task="linear-quadratic control")
    curves = study.curves({"env.name": "pendulum", "algorithm.name": "policy_gradient"})
    pendulum = _ends(curves, np.nan).assign(task="Pendulum", learner="policy gradient")
    return pd.concat([learning.concat(tables, "learner"), pendulum], ignore_index=True)


def _problem() -> LQG:
    """conf/env/lqg.yaml: a double integrator."""
    small, first = 0.01 * np.eye(2), np.diag([1.0, 0.0])
    A, B = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]])
    return LQG(A, B, first, np.eye(1), small, np.array([-1.0, 0.0]), small, horizon=10)


def _ends(curves: pd.DataFrame, best: float) -> pd.DataFrame:
    """First and last returns of each seed; of a greedy evaluation, where there is one, since a learner that explores
    pays for it in its returns."""
    rows = []
    for seed, curve in curves.groupby("seed"):
        returns = curve.sort_values("iteration")["return_mean"].dropna().to_numpy()
        part = max(1, round(FINAL * len(returns)))
        last = float(final_return(returns))
        if "evaluation_return_mean" in curve and curve["evaluation_return_mean"].notna().any():
            last = float(curve.sort_values("iteration")["evaluation_return_mean"].dropna().iloc[-1])
        rows.append({"seed": seed, "first": float(returns[:part].mean()), "last": last})
    table = pd.DataFrame(rows)
    return table.assign(regret=(best - table["last"]) / abs(best))


def measure(evidence: pd.DataFrame) -> Finding:
    """The regret where the optimum is known, the rise of the return elsewhere. The rival stands beside."""
    places = []
    for (task, learner), rows in evidence.groupby(["task", "learner"], sort=False):
        known = rows["regret"].notna().any()
        found = {"regret": Mean.of(rows["regret"])} if known else {"rise": Mean.of(rows["last"] - rows["first"])}
        places.append(Place(f"{task}, {learner}", found, within=learner != RIVAL))
    remark = "The rival's table has 10 x 10 cells and no clock, and was not tuned; grids grow as bins^dimensions."
    return Finding(places, remark)


def picture(evidence: pd.DataFrame) -> Figure:
    figure, (left, right) = draw.figure(2)
    known = evidence[evidence["regret"].notna()]
    for place, (learner, rows) in enumerate(known.groupby("learner", sort=False)):
        look = draw.look(place) | {"linestyle": "none"}
        left.plot(place + np.linspace(-0.2, 0.2, len(rows)), rows["regret"], label=learner, **look)
    left.set_xticks(range(known["learner"].nunique()), list(known["learner"].unique()))
    left.axhline(NEAR, color="black", linewidth=0.8, linestyle=":")
    left.set(ylabel="regret / |J*|", title="Linear-quadratic control")
    rest = evidence[evidence["regret"].isna()]
    for column, place in (("first", 0), ("last", 1)):
        look = draw.look(place) | {"linestyle": "none"}
        right.plot(place + np.linspace(-0.2, 0.2, len(rest)), rest[column], **look)
    right.set_xticks([0, 1], ["first 10%", "last 10%"])
    right.set(ylabel="undiscounted return", title="Pendulum, a mark a seed")
    return figure
