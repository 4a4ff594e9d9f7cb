"""C12: A2C learns: the return rises over training."""

import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular

from ..verdicts import learning
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding

CARTPOLE = 0.0, 500.0  # the returns that there are


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """place, rate, seed, first, last, best, ...: see `learning.runs`."""
    a2c = {"algorithm.name": "a2c"}
    cartpole = learning.runs(study, a2c | {"env.name": "cartpole"}, "algorithm.lr", max(CARTPOLE), CARTPOLE)
    gridworld = learning.tabular_runs(study, a2c | {"env.name": "gridworld"}, "algorithm.lr", tabular.gridworld())
    return learning.concat({"cartpole": cartpole, "gridworld": gridworld})


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    return ClaimFinding(learning.improvement(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return learning.picture(evidence, "A2C")
