"""C11: Q actor-critic learns: the return rises over training."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular
from ablate.mdp import MDP
from analysis.claims import learning
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict

ENVIRONMENTS: dict[str, Callable[[], MDP]] = {
    "gridworld": tabular.gridworld,
    "random_walk": tabular.random_walk,
    "chain": tabular.chain,
}


def evidence(study: Study) -> pd.DataFrame:
    """place, rate, seed, first, last, chosen: see `learning.runs`."""
    tables = {}
    for env, build in ENVIRONMENTS.items():
        wanted = {"env.name": env, "algorithm.name": "q_actor_critic"}
        tables[env] = learning.runs(study, wanted, "algorithm.lr", learning.uniform(build()))
    return learning.concat(tables)


def judge(evidence: pd.DataFrame) -> Verdict:
    return Verdict("C11", "rise of the return", learning.improvement(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return learning.picture(evidence, "Q actor-critic")
