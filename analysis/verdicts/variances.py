"""Exact variances of the estimators on named tasks and on random MDPs: what answers C4 and C6 to C9.

All at gamma = 1 and one episode, by `ablate.exact`; critics are the true V_t and Q_t. A batch baseline is taken at an
infinite batch, where it is the constant J.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.envs import tabular
from ablate.exact import GroundTruth, scores, softmax
from ablate.mdp import MDP
from ablate.randomness import stream

from . import draw
from .estimates import Estimate, Exact, Share
from .question import number
from .study import ClaimStudy
from .verdict import ClaimFinding, Condition

LOWER = 1 - 1e-9  # a ratio of variances that is below 1 by more than rounding
ESTIMATORS = {
    "return": ("return", "none", "none"),
    "return - b": ("return", "mean", "none"),
    "rtg": ("rtg", "none", "none"),
    "rtg - V": ("rtg", "value", "exact"),
    "rtg - b*": ("rtg", "optimal state", "none"),
    "Q": ("q", "none", "exact"),
    "Q - V": ("q", "value", "exact"),
}


def prize(cost: float = 10.0, gain: float = 10.0, logit: float = 0.5) -> MDP:
    """Cost, then prize: r_0 = -10 or -10.5, r_1 = +10 or +11 by action; one logit vector (0.5, 0) for both steps.

    The prize cancels the cost in the return; reward-to-go leaves the cost out and keeps the prize's size as noise.
    """
    P = np.array([[[0, 1, 0]] * 2, [[0, 0, 1]] * 2, [[0, 0, 1]] * 2])
    R = [[-cost, -cost - 0.5], [gain, gain + 1], [0.0, 0.0]]
    ends = [False, False, True]
    return MDP.from_dense(P, R, [1, 0, 0], 2, terminal=ends, features=np.ones((3, 1)), logits=[[logit, 0.0]] * 3)


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


def variances(study: ClaimStudy, places: Sequence[str], estimators: Sequence[str]) -> pd.DataFrame:
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


class Comparison:
    """Has the first estimator of each pair less variance than the second? On the named problems, and on what share of
    random MDPs, rewards around 0 and around 10.

    bias: whether the two must have the gradient as their mean, too.
    """

    def __init__(
        self, title: str, problems: Sequence[str], pairs: Sequence[tuple[str, str]], bias: bool = False
    ) -> None:
        self.title, self.problems, self.pairs, self.bias = title, problems, pairs, bias

    def evidence(self, study: ClaimStudy) -> pd.DataFrame:
        """See `variances`."""
        return variances(study, self.problems, list(dict.fromkeys(name for pair in self.pairs for name in pair)))

    def measure(self, evidence: pd.DataFrame) -> ClaimFinding:
        """The shares first, then the named problems; the remark says how bad it gets."""
        shares, named, remarks = [], [], []
        found: dict[str, Estimate]
        largest = evidence.groupby("place")["bias"].max()
        for estimator, reference in self.pairs:
            table = ratios(evidence, estimator, reference)
            label = f": {estimator} against {reference}" if len(self.pairs) > 1 else ""
            for survey, rows in table[table["survey"] != ""].groupby("survey", sort=False):
                less = int((rows["ratio"] < LOWER).sum())
                found = {"share": Share(less, len(rows))}
                if self.bias:
                    found["bias"] = Exact(float(largest[rows["place"]].max()))
                shares.append(Condition(f"random MDPs, {survey}{label}", found))
                worst = rows.loc[rows["ratio"].idxmax()]
                remarks.append(
                    f"{estimator} against {reference}, {survey}: {less} of {len(rows)} random MDPs have less variance; "
                    f"the median ratio is {number(rows['ratio'].median())}, the worst {number(worst['ratio'])}."
                )
            for row in table[table["survey"] == ""].itertuples():
                found = {"ratio": Exact(float(row.ratio))}
                if self.bias:
                    found["bias"] = Exact(float(largest[row.place]))
                named.append(Condition(f"{row.place}{label}", found))
        return ClaimFinding([*shares, *named], " ".join(remarks))

    def picture(self, evidence: pd.DataFrame) -> Figure:
        """Ratios of variances: a dot a named problem, a strip a survey; left of 1 the claim holds."""
        drawn, panels = draw.figure(len(self.pairs), sharey=True)
        for panel, (estimator, reference) in zip(panels, self.pairs, strict=True):
            table = ratios(evidence, estimator, reference)
            floor = table.loc[table["ratio"] > 1e-6, "ratio"].min() / 3  # where a ratio of 0 is drawn
            names = [*table[table["survey"] == ""]["place"], *dict.fromkeys(s for s in table["survey"] if s)]
            for row, name in enumerate(names):
                x = table[(table["place"] == name) | (table["survey"] == name)]["ratio"].clip(lower=floor).to_numpy()
                lone = len(x) == 1
                heights = np.full(len(x), row) if lone else row + np.linspace(-0.3, 0.3, len(x))
                held = x < LOWER
                size = 28 if lone else 5
                for which, hue, marker in ((held, 0, "o"), (~held, 3, "X")):
                    mark = {"s": size, "color": draw.HUES[hue], "marker": marker, "linewidths": 0}
                    panel.scatter(x[which], heights[which], label=f"_value of {name}", **mark)
            draw.rule(panel, "no difference", x=1.0, color="black")
            panel.set(xscale="log", xlabel=f"variance of {estimator} / variance of {reference}")
            sizes = table["survey"].value_counts()
            words = [f"{sizes[name]:,} random MDPs,\n{name}" if name in sizes else name for name in names]
            panel.set_yticks(range(len(names)), words)
            panel.set_ylim(len(names) - 0.5, -0.5)
        draw.heading(drawn, f"{self.title}: a dot where less, a cross where not")
        return drawn
