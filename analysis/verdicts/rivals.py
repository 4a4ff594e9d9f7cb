"""Policy gradients, A2C and DQN on CartPole, each at the step size that tuning seeds chose: the runs of C19 and C20."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.verdicts import learning
from analysis.verdicts.study import Study

RATES = {"policy gradient": "optimizer.lr", "A2C": "algorithm.lr", "DQN": "algorithm.lr"}
NAMES = {"policy gradient": "policy_gradient", "A2C": "a2c", "DQN": "dqn"}


def runs(study: Study, measures: Callable[[pd.DataFrame], dict[str, float]]) -> pd.DataFrame:
    """learner, rate, seed, area (mean return over the budget), the measures of each run's curve, and `chosen`."""
    tables = {}
    for learner, name in NAMES.items():
        wanted = {"env.name": "cartpole", "algorithm.name": name}
        if name == "policy_gradient":
            wanted |= {"phi.name": "rtg", "baseline.name": "loo"}
        curves = study.curves(wanted, [RATES[learner]]).rename(columns={RATES[learner]: "rate"})
        rows = [
            {"rate": rate, "seed": seed, "area": learning.area(curve, study.size["budget"])} | measures(curve)
            for (rate, seed), curve in curves.groupby(["rate", "seed"])
        ]
        table = pd.DataFrame(rows)
        tables[learner] = table.assign(chosen=table["rate"] == learning.best_rate(table, "area"))
    return learning.concat(tables, "learner")


def against(evidence: pd.DataFrame, column: str, one: str, other: str = "DQN") -> np.ndarray:
    """one - other of a column, seed by seed, at the chosen step sizes."""
    return learning.paired(learning.judged(evidence), column, one, other)
