"""C8: Q in place of reward-to-go lowers the variance."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5", "cost, then prize")
PAIRS = (("Q", "rtg"),)


def evidence(study: Study) -> pd.DataFrame:
    return variances.variances(study, PLACES, ("Q", "rtg"))


def judge(evidence: pd.DataFrame) -> Verdict:
    return variances.judge("C8", evidence, PAIRS)


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.ratios(evidence, PAIRS, "Variance with Q against reward-to-go's")
