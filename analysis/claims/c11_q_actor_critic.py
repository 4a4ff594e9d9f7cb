"""C11: Q actor-critic learns: the return rises over training."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular
from ablate.mdp import MDP

from ..verdicts import learning
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding

ENVIRONMENTS: dict[str, Callable[[], MDP]] = {
    "gridworld": tabular.gridworld,
    "random_walk": tabular.random_walk,
    "chain": tabular.chain,
}


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """place, rate, seed, first, last, best, ...: see `learning.runs`."""
    tables = {}
    for env, build in ENVIRONMENTS.items():
        wanted = {"env.name": env, "algorithm.name": "q_actor_critic"}
        tables[env] = learning.tabular_runs(study, wanted, "algorithm.lr", build())
    return learning.concat(tables)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    return ClaimFinding(learning.improvement(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return learning.picture(evidence, "Q actor-critic")
