"""C6: a constant baseline b = J lowers the variance of the return's estimate."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5", "sure two-armed bandit")
PAIRS = (("return - b", "return"),)


def evidence(study: Study) -> pd.DataFrame:
    return variances.variances(study, PLACES, ("return - b", "return"))


def judge(evidence: pd.DataFrame) -> Verdict:
    return variances.judge("C6", evidence, PAIRS)


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.ratios(evidence, PAIRS, "Variance with a constant baseline against without")
