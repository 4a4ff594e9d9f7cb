"""C7: reward-to-go minus b(s_t) has less variance than reward-to-go, for b = V and for the best constant b*."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5", "sure two-armed bandit")
PAIRS = (("rtg - V", "rtg"), ("rtg - b*", "rtg"))


def evidence(study: Study) -> pd.DataFrame:
    return variances.variances(study, PLACES, ("rtg - V", "rtg", "rtg - b*"))


def judge(evidence: pd.DataFrame) -> Verdict:
    return variances.judge("C7", evidence, PAIRS)


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.ratios(evidence, PAIRS, "Variance with a state baseline against without")
