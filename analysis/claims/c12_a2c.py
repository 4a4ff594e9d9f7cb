"""C12: A2C learns: the return rises over training."""

import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular

from ..verdicts import learning
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding

ENVIRONMENTS = {"cartpole": None, "gridworld": tabular.gridworld}
CARTPOLE = 500.0  # the largest return there is


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """place, rate, seed, first, last, best, chosen: see `learning.runs`."""
    tables = {}
    for env, build in ENVIRONMENTS.items():
        wanted = {"env.name": env, "algorithm.name": "a2c"}
        best, start = (learning.optimal(build()), learning.uniform(build())) if build else (CARTPOLE, None)
        tables[env] = learning.runs(study, wanted, "algorithm.lr", best, start)
    return learning.concat(tables)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    return ClaimFinding(learning.improvement(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return learning.picture(evidence, "A2C")
