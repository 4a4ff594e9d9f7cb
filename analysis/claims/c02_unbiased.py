"""C2: E[sum_t z_t R(tau)] = grad J, for a softmax and for a Gaussian policy."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import projections
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

PLACES = {
    "chain, softmax policy": {"env.name": "chain", "env.slip": 0.1, "env.horizon": 8, "phi.name": "return"},
    "linear-quadratic control, Gaussian policy": {"env.name": "lqg", "env.horizon": 2, "phi.name": "return"},
}


def evidence(study: Study) -> pd.DataFrame:
    return projections.evidence(study, PLACES)


def judge(evidence: pd.DataFrame) -> Verdict:
    return projections.judge("C2", evidence)


def picture(evidence: pd.DataFrame) -> Figure:
    return projections.picture(evidence, "C2")
