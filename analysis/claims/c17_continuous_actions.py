"""C17: continuous actions come naturally: regret to the Riccati optimum, beside Q-learning on its best grid."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.lqg import LQG, optimum
from ablate.statistics.learning_curves import FINAL, final_return

from ..verdicts import draw, learning
from ..verdicts.estimates import Mean
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

NEAR = 0.05  # of the optimal cost, as the yaml has it
LEARNERS = {"policy gradient": "policy_gradient", "A2C": "a2c", "Q-learning": "q_learning"}
RIVAL = "Q-learning"
GRID = ["algorithm.action_bins", "algorithm.state_bins"]  # that its tuning seeds choose


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """task, learner, seed, first, last (returns), regret = (J* - last) / |J*| (NaN where J* is not known), and grid, of
    the rival: the one with the best last return on the tuning seeds, whose own runs are left out."""
    best = optimum(_problem())[1]
    tables = {}
    for label, name in LEARNERS.items():
        wanted = {"env.name": "lqg", "env.horizon": 10, "algorithm.name": name}
        if name == "policy_gradient":
            wanted |= {"phi.name": "rtg", "baseline.name": "time"}
        curves = study.curves(wanted, GRID if label == RIVAL else ())
        table = _best_grid(curves, best) if label == RIVAL else _ends(curves, best).assign(grid="")
        tables[label] = table.assign(task="linear-quadratic control")
    curves = study.curves({"env.name": "pendulum", "algorithm.name": "policy_gradient"})
    pendulum = _ends(curves, np.nan).assign(task="Pendulum", learner="policy gradient", grid="")
    return pd.concat([learning.concat(tables, "learner"), pendulum], ignore_index=True)


def _problem() -> LQG:
    """conf/env/lqg.yaml: a double integrator."""
    small, first = 0.01 * np.eye(2), np.diag([1.0, 0.0])
    A, B = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]])
    return LQG(A, B, first, np.eye(1), small, np.array([-1.0, 0.0]), small, horizon=10)


def _best_grid(curves: pd.DataFrame, best: float) -> pd.DataFrame:
    """`_ends` of every grid, and of these the chosen one's, on the seeds that did not choose it."""
    tables = {
        f"{actions} actions, {states} x {states} states": _ends(rows, best)
        for (actions, states), rows in curves.groupby(GRID)
    }
    table = learning.concat(tables, "rate")
    chosen = learning.best_rate(table, "last")
    own = table[(table["rate"] == chosen) & (table["seed"] < learning.TUNING)]
    return own.rename(columns={"rate": "grid"})


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


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The regret where the optimum is known, the rise of the return elsewhere. Beside them the rival on its best grid,
    and the policy gradient against it, seed by seed."""
    places = []
    for (task, learner), rows in evidence.groupby(["task", "learner"], sort=False):
        known = rows["regret"].notna().any()
        found = {"regret": Mean.of(rows["regret"])} if known else {"rise": Mean.of(rows["last"] - rows["first"])}
        grid = f" on {rows['grid'].iloc[0]}" if learner == RIVAL else ""
        places.append(Condition(f"{task}, {learner}{grid}", found, within=learner != RIVAL))
    known = evidence[evidence["regret"].notna()]
    if RIVAL in set(known["learner"]):
        wide = known.pivot_table("regret", "seed", "learner")
        against = (wide["policy gradient"] - wide[RIVAL]).dropna()
        where = f"linear-quadratic control, policy gradient - {RIVAL}"
        places.append(Condition(where, {"edge": Mean.of(against)}, within=False))
    remark = "In one dimension a fine grid is a fair rival; grids grow as bins^dimensions, a Gaussian does not."
    return ClaimFinding(places, remark)


def picture(evidence: pd.DataFrame) -> Figure:
    figure, (left, right) = draw.figure(2)
    known = evidence[evidence["regret"].notna()]
    for place, (learner, rows) in enumerate(known.groupby("learner", sort=False)):
        look = draw.learner(str(learner))
        left.plot(place + np.linspace(-0.2, 0.2, len(rows)), rows["regret"], label=learner, **look)
    left.set_xticks(range(known["learner"].nunique()), list(known["learner"].unique()))
    draw.rule(left, "near the optimum", y=NEAR, color="black", linestyle=":")
    left.set(ylabel="regret / |J*|", title="Linear-quadratic control")
    rest = evidence[evidence["regret"].isna()]
    for column, place in (("first", 0), ("last", 1)):
        look = draw.learner("policy gradient") | {"fillstyle": "full" if place else "none"}
        right.plot(place + np.linspace(-0.2, 0.2, len(rest)), rest[column], label=f"{column} 10%", **look)
    right.set_xticks([0, 1], ["first 10%", "last 10%"])
    right.set(ylabel="undiscounted return", title="Pendulum, policy gradient, a mark a seed")
    return figure
