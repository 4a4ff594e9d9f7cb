"""C12: A2C learns: the return rises over training."""

import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular
from analysis.claims import learning
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

ENVIRONMENTS = {"cartpole": None, "gridworld": tabular.gridworld}


def evidence(study: Study) -> pd.DataFrame:
    """place, rate, seed, first, last, chosen: see `learning.runs`."""
    tables = {}
    for env, build in ENVIRONMENTS.items():
        wanted = {"env.name": env, "algorithm.name": "a2c"}
        tables[env] = learning.runs(study, wanted, "algorithm.lr", learning.uniform(build()) if build else None)
    return learning.concat(tables)


def judge(evidence: pd.DataFrame) -> Verdict:
    return Verdict("C12", "rise of the return", learning.improvement(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return learning.picture(evidence, "A2C")
