"""C20: policy gradients are often more stable than DQN: each measure of stability, paired by seed."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.statistics import TAIL, detrended_iqr, drawdown_cvar
from analysis.verdicts import draw, learning, rivals
from analysis.verdicts.estimates import Mean
from analysis.verdicts.study import Study
from analysis.verdicts.verdict import Finding, Place

MEASURES = {
    "dispersion": "IQR of the differences along a run",
    "drawdown": f"mean of the worst {TAIL:.0%} of drawdowns",
    "distance": "distance of the final return from its median",
}


def evidence(study: Study) -> pd.DataFrame:
    """learner, rate, seed, area, chosen; of the mean returns in equal blocks of the budget, in units of CartPole's 500:
    dispersion, drawdown, final, collapse; and distance = |final - median of final over the seeds|.

    Blocks are as wide as the longest batch of episodes that a learner records as one row, so that a row of few episodes
    does not count as unrest."""
    size = study.size

    def measures(curve: pd.DataFrame) -> dict[str, float]:
        return stability(learning.block_means(curve, size["budget"], size["blocks"]) / 500, size["threshold"] / 500)

    table = rivals.runs(study, measures)
    centre = table[table["seed"] < learning.TUNING].groupby(["learner", "rate"])["final"].transform("median")
    return table.assign(distance=(table["final"] - centre).abs())


def stability(returns: np.ndarray, threshold: float) -> dict[str, float]:
    """Of returns in equal blocks, after Chan et al. (2020): the IQR of their differences (which have no trend left);
    the mean of the worst drawdowns from the best so far; and whether, the threshold once reached, more than half of it
    was lost (NaN where it never was)."""
    reached = np.maximum.accumulate(returns >= threshold)
    return {
        "dispersion": float(detrended_iqr(returns)),
        "drawdown": float(drawdown_cvar(returns)),
        "final": float(returns[-1]),
        "collapse": float((reached & (returns < threshold / 2)).any()) if reached.any() else np.nan,
    }


def measure(evidence: pd.DataFrame) -> Finding:
    """Each measure against DQN's, seed by seed; smaller is more stable. They are not merged into one."""
    places = [
        Place(
            f"CartPole, {learner} - DQN",
            {column: Mean.of(rivals.against(evidence, column, learner)) for column in MEASURES},
        )
        for learner in evidence["learner"].unique()
        if learner != "DQN"
    ]
    own = learning.judged(evidence)
    lost = ", ".join(f"{rows['collapse'].mean():.0%} ({name})" for name, rows in own.groupby("learner", sort=False))
    spread = evidence[evidence["seed"] < learning.TUNING].groupby(["learner", "rate"], sort=False)["final"].mean()
    over = ", ".join(f"{s.max() - s.min():.2g} ({name})" for name, s in spread.groupby("learner", sort=False))
    remark = (
        f"Of the runs that reached the threshold lost more than half of it: {lost}. "
        f"Range of the final return over step sizes: {over}."
    )
    return Finding(places, remark)


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
