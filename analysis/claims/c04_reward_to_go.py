"""C4: reward-to-go has the same mean and less variance than the return."""

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict, from_exact

PLACES = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5", "cost, then prize")
PAIRS = (("rtg", "return"),)


def evidence(study: Study) -> pd.DataFrame:
    return variances.variances(study, PLACES, ("return", "rtg"))


def judge(evidence: pd.DataFrame) -> Verdict:
    """A mean that differs from grad J would take the comparison's ground away: then the claim fails there."""
    verdict = variances.judge("C4", evidence, PAIRS)
    biased = evidence[evidence["bias"] > 1e-6].drop_duplicates("place")
    wrong = (from_exact(f"{row.place}: |bias| / |grad J|", row.bias, (-1, 1e-6)) for row in biased.itertuples())
    return replace(verdict, places=(*verdict.places, *wrong))


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.ratios(evidence, PAIRS, "Variance of reward-to-go against the return's")
