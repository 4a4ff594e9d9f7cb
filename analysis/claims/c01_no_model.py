"""C1: the estimator needs no model: the same code is unbiased on two MDPs that differ in nothing but P."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import projections
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = {
    f"chain, slip {slip:g}": {"env.name": "chain", "env.slip": slip, "env.horizon": 8, "phi.name": "rtg"}
    for slip in (0.1, 0.3)
}


def evidence(study: Study) -> pd.DataFrame:
    return projections.evidence(study, PLACES)


def judge(evidence: pd.DataFrame) -> Verdict:
    return projections.judge("C1", evidence)


def picture(evidence: pd.DataFrame) -> Figure:
    return projections.picture(evidence, "C1")
