"""C20: policy gradients are often more stable than DQN: each measure of stability, paired by seed."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, learning, rivals
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict, from_sample
from analysis.statistics import TAIL, detrended_iqr, drawdown_cvar

LESS = (-np.inf, 0.0)
MEASURES = {
    "dispersion": "IQR of the differences along a run",
    "drawdown": f"mean of the worst {TAIL:.0%} of drawdowns",
    "distance": "distance of the final return from its median",
}


def evidence(study: Study) -> pd.DataFrame:
    """learner, rate, seed, area, chosen; of the run's returns over the budget, at `points` equal steps and in units of
    CartPole's 500: dispersion, drawdown, final, collapse; and distance = |final - median of final over the seeds|."""
    budget, points = study.size["budget"], study.size["points"]

    def measures(curve: pd.DataFrame) -> dict[str, float]:
        part = learning.until(curve, budget)
        grid = np.linspace(0, budget, points + 1)[1:]
        returns = np.interp(grid, part["env_steps"], part["return_mean"]) / 500
        return stability(returns)

    table = rivals.runs(study, measures)
    centre = table[table["seed"] < learning.TUNING].groupby(["learner", "rate"])["final"].transform("median")
    return table.assign(distance=(table["final"] - centre).abs())


def stability(returns: np.ndarray) -> dict[str, float]:
    """Of returns at equal steps, after Chan et al. (2020): the IQR of their differences (which have no trend left); the
    mean of the worst drawdowns from the best so far; and whether more than half of the best was lost."""
    best = np.maximum.accumulate(returns)
    return {
        "dispersion": float(detrended_iqr(returns)),
        "drawdown": float(drawdown_cvar(returns)),
        "final": float(returns[-max(1, len(returns) // 10) :].mean()),
        "collapse": float((returns < best / 2).any()),
    }


def judge(evidence: pd.DataFrame) -> Verdict:
    """Each measure against DQN's, seed by seed; smaller is more stable. They are not merged into one."""
    places = [
        from_sample(f"CartPole, {learner} - DQN: {what}", rivals.against(evidence, column, learner), LESS)
        for learner in evidence["learner"].unique()
        if learner != "DQN"
        for column, what in MEASURES.items()
    ]
    own = learning.judged(evidence)
    lost = ", ".join(f"{rows['collapse'].mean():.0%} ({name})" for name, rows in own.groupby("learner", sort=False))
    spread = evidence[evidence["seed"] < learning.TUNING].groupby(["learner", "rate"], sort=False)["final"].mean()
    over = ", ".join(f"{s.max() - s.min():.2g} ({name})" for name, s in spread.groupby("learner", sort=False))
    remark = f"Lost more than half of the best return: {lost}. Range of the final return over step sizes: {over}."
    return Verdict("C20", "of the largest return", tuple(places), remark)


def picture(evidence: pd.DataFrame) -> Figure:
    figure, panels = draw.figure(len(MEASURES))
    own = learning.judged(evidence)
    for panel, (column, what) in zip(panels, MEASURES.items(), strict=True):
        for place, (_, rows) in enumerate(own.groupby("learner", sort=False)):
            look = draw.look(place) | {"linestyle": "none"}
            panel.plot(place + np.linspace(-0.2, 0.2, len(rows)), rows[column], **look)
        panel.set_xticks(range(own["learner"].nunique()), list(own["learner"].unique()))
        panel.set_title(what.replace(" of ", "\nof ", 1), fontsize=7)
    panels[0].set_ylabel("share of the largest return")
    figure.suptitle("Stability of each learner, a mark a seed; lower is more stable", fontsize=9)
    return figure
