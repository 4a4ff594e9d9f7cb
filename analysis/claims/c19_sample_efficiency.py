"""C19: on-policy learning is less sample-efficient than Q-learning: env steps to a threshold, area under the curve."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.verdicts import draw, learning, rivals
from analysis.verdicts.estimates import Mean
from analysis.verdicts.study import Study
from analysis.verdicts.verdict import Finding, Place


def evidence(study: Study) -> pd.DataFrame:
    """learner, rate, seed, area, chosen, steps = env steps until the threshold, at most the budget, and `reached`."""
    budget, threshold = study.size["budget"], study.size["threshold"]

    def measures(curve: pd.DataFrame) -> dict[str, float]:
        steps = learning.steps_to(curve, threshold, budget)
        return {"steps": steps, "reached": float(steps < budget), "budget": float(budget), "threshold": threshold}

    return rivals.runs(study, measures)


def measure(evidence: pd.DataFrame) -> Finding:
    """log of steps and of area against DQN's, paired by seed. The steps are restricted to the budget, the same for all:
    a run that never arrives counts as the budget, which can only hide a difference."""
    logs = evidence.assign(steps=np.log(evidence["steps"]), area=np.log(evidence["area"]))
    places = []
    for learner in [name for name in evidence["learner"].unique() if name != "DQN"]:
        found = {column: Mean.of(rivals.against(logs, column, learner)) for column in ("steps", "area")}
        places.append(Place(f"CartPole, {learner} / DQN", found))
    own = learning.judged(evidence)
    remark = " ".join(
        f"{learner}: step size {rows['rate'].iloc[0]:g}, {int(rows['reached'].sum())} of {len(rows)} seeds reached "
        f"{rows['threshold'].iloc[0]:g} within {rows['budget'].iloc[0]:,.0f} env steps."
        for learner, rows in own.groupby("learner", sort=False)
    )
    return Finding(places, remark)


def picture(evidence: pd.DataFrame) -> Figure:
    """Area of every run against its step size, over the whole sweep."""
    figure, (left, right) = draw.figure(2)
    for place, (learner, rows) in enumerate(
        evidence[evidence["seed"] < learning.TUNING].groupby("learner", sort=False)
    ):
        look = draw.look(place) | {"linestyle": "none"}
        left.plot(rows["rate"], rows["area"], label=learner, **look)
        steps = np.sort(rows[rows["chosen"] & (rows["reached"] > 0)]["steps"].to_numpy())
        number = int(rows["chosen"].sum())
        line = draw.look(place) | {"marker": ""}
        ends = rows["budget"].iloc[0]
        x, y = np.concatenate([[0], steps, [ends]]), np.arange(len(steps) + 1) / number
        right.step(x, np.append(y, y[-1]), where="post", label=learner, **line)
    left.set(xscale="log", xlabel="step size", ylabel="mean return over the budget", title="The whole sweep")
    right.set(xlabel="env steps", ylabel="share of seeds at the threshold", ylim=(-0.03, 1.03))
    right.set_title("At the chosen step sizes")
    left.legend()
    return figure
