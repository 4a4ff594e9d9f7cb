"""C9: the advantage Q - V lowers the variance, against Q and against reward-to-go minus V."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5", "sure two-armed bandit")
PAIRS = (("Q - V", "Q"), ("Q - V", "rtg - V"))


def evidence(study: Study) -> pd.DataFrame:
    return variances.variances(study, PLACES, ("Q - V", "Q", "rtg - V"))


def judge(evidence: pd.DataFrame) -> Verdict:
    return variances.judge("C9", evidence, PAIRS)


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.ratios(evidence, PAIRS, "Variance of the advantage")
