"""Exact variances of the estimators on named tasks and on random MDPs: the evidence of C4 and C6 to C9.

All at gamma = 1 and one episode, by `ablate.exact`; critics are the true V_t and Q_t. A batch baseline is taken at an
infinite batch, where it is the constant J.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd

from ablate.envs import tabular
from ablate.exact import GroundTruth, scores, softmax
from ablate.mdp import MDP
from ablate.randomness import stream
from analysis.claims.study import Study
from analysis.claims.verdict import Place, Verdict, from_exact
from analysis.statistics import wilson

LOWER = (-np.inf, 1 - 1e-9)  # a ratio of variances that is below 1 by more than rounding
ESTIMATORS = {
    "return": ("return", "none", "none"),
    "return - b": ("return", "mean", "none"),
    "rtg": ("rtg", "none", "none"),
    "rtg - V": ("rtg", "value", "exact"),
    "rtg - b*": ("rtg", "optimal constant", "none"),
    "Q": ("q", "none", "exact"),
    "Q - V": ("q", "value", "exact"),
}


def prize() -> MDP:
    """Cost, then prize: r_0 = -10 or -10.5, r_1 = +10 or +11 by action; one logit vector (0.5, 0) for both steps.

    The prize cancels the cost in the return; reward-to-go leaves the cost out and keeps the prize's size as noise.
    """
    P = np.array([[[0, 1, 0]] * 2, [[0, 0, 1]] * 2, [[0, 0, 1]] * 2])
    R = [[-10.0, -10.5], [10.0, 11.0], [0.0, 0.0]]
    ends = [False, False, True]
    return MDP.from_dense(P, R, [1, 0, 0], 2, terminal=ends, features=np.ones((3, 1)), logits=[[0.5, 0.0]] * 3)


def sure_bandit() -> MDP:
    """Two sure arms, Q = (1, 0), at p = (0.9, 0.1)."""
    mdp = tabular.bandit([1.0, 1.0], rewards=[1.0, 0.0])
    return _at(mdp, np.log([[0.9, 0.1]] * 3))


def _at(mdp: MDP, logits: np.ndarray) -> MDP:
    return MDP(**{**vars(mdp), "logits": logits})


NAMED: dict[str, Callable[[], MDP]] = {
    "chain (20 steps)": tabular.chain,
    "FrozenLake 4x4": tabular.frozenlake,
    "gridworld 5x5": tabular.gridworld,
    "cost, then prize": prize,
    "sure two-armed bandit": sure_bandit,
}
OFFSETS = {"rewards around 0": 0.0, "rewards around 10": 10.0}


def truth(mdp: MDP) -> GroundTruth:
    """Everything exact about the policy that the MDP comes with."""
    pi = softmax(mdp.logits)
    return GroundTruth(mdp, pi, scores(pi, mdp.features))


def random_task(index: int, offset: float) -> MDP:
    """Random MDP number `index`, 4 states, 2 actions, 3 steps, with logits drawn from N(0, 1)."""
    mdp = tabular.random_mdp(index, states=4, actions=2, successors=2, offset=offset, horizon=3)
    return _at(mdp, stream(index, "policy of a random MDP").standard_normal((4, 2)))


def variances(study: Study, places: Sequence[str], estimators: Sequence[str]) -> pd.DataFrame:
    """place, survey ("" for a named one), estimator, trace_variance, bias (|E g - grad J| / |grad J|)."""
    rows = [
        {"place": place, "survey": "", "estimator": name} | _moments(place, name)
        for place in places
        for name in estimators
    ]
    rows += [
        {"place": f"random MDP {index}, {survey}", "survey": survey, "estimator": name} | _random(index, survey, name)
        for survey in OFFSETS
        for index in range(study.size["mdps"])
        for name in estimators
    ]
    return pd.DataFrame(rows)


@cache
def _named_truth(place: str) -> GroundTruth:
    return truth(NAMED[place]())


@cache
def _random_truth(index: int, survey: str) -> GroundTruth:
    return truth(random_task(index, OFFSETS[survey]))


@cache
def _moments(place: str, estimator: str) -> dict[str, float]:
    return _numbers(_named_truth(place), estimator)


@cache
def _random(index: int, survey: str, estimator: str) -> dict[str, float]:
    return _numbers(_random_truth(index, survey), estimator)


def _numbers(known: GroundTruth, estimator: str) -> dict[str, float]:
    found = known.moments(*ESTIMATORS[estimator])
    length = float(np.sqrt(known.gradient @ known.gradient))
    return {"trace_variance": found.trace_variance, "bias": float(np.sqrt(found.bias_squared)) / length}


def ratios(evidence: pd.DataFrame, estimator: str, reference: str) -> pd.DataFrame:
    """place, survey, `variance`, `reference` and their `ratio`; without the places where the reference has no noise."""
    columns = ["place", "survey", "trace_variance"]
    ours, theirs = (evidence.loc[evidence["estimator"] == name, columns] for name in (estimator, reference))
    named = theirs.rename(columns={"trace_variance": "reference"})
    table = ours.rename(columns={"trace_variance": "variance"}).merge(named, on=["place", "survey"])
    table = table[table["reference"] > 1e-12].reset_index(drop=True)
    return table.assign(ratio=table["variance"] / table["reference"])


def judge(claim: str, evidence: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Verdict:
    """Has the first estimator of each pair less variance than the second? Ratios at every named place; of a survey, the
    MDPs with the smallest and the largest ratio, and in the remark the share of MDPs where it is below 1."""
    places: list[Place] = []
    remarks = []
    for estimator, reference in pairs:
        table = ratios(evidence, estimator, reference)
        label = f"{estimator} against {reference}"
        for row in table[table["survey"] == ""].itertuples():
            places.append(from_exact(_where(row, label, pairs), row.ratio, LOWER))
        for survey, rows in table[table["survey"] != ""].groupby("survey", sort=False):
            for row in (rows.loc[rows["ratio"].idxmin()], rows.loc[rows["ratio"].idxmax()]):
                places.append(from_exact(_where(row, label, pairs), float(row["ratio"]), LOWER))
            won, number = int((rows["ratio"] < LOWER[1]).sum()), len(rows)
            low, high = wilson(won, number)
            remarks.append(
                f"{label}, {survey}: less variance in {won} of {number} random MDPs "
                f"({won / number:.0%}, 95% interval {low:.0%} to {high:.0%})."
            )
    unique = {(place.where, place.effect): place for place in places}
    return Verdict(claim, "x the variance", tuple(unique.values()), " ".join(remarks))


def _where(row: object, label: str, pairs: Sequence[tuple[str, str]]) -> str:
    place = row["place"] if isinstance(row, pd.Series) else row.place  # type: ignore[attr-defined]
    return place if len(pairs) == 1 else f"{place}: {label}"
