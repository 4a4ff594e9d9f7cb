"""On-policy learners and Q-learning at one budget of env steps, each judged by its greedy policy: the runs of C19, C20.

Learners explore differently, so their training returns measure exploration, too. What is compared is the mean return of
the greedy or deterministic policy (`evaluate.every`) that a learner has come to after n env steps, read at the same n
for all of them: the policy after n steps is that of the last finished iteration.

Each learner's step size is chosen on seeds of its own (`learning.TUNING`), from as many values as its rivals', by the
area under its curve: the time to the threshold alone would choose what arrives first and then falls apart. The family's
learner is chosen among the family's in the same way. Where the best value lies on the edge of its grid, a better one
may lie outside, and the place says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from ablate.statistics.learning_curves import Floats, final_return, smoothed, steps_to_threshold

from ..statistics import collapses, drawdown_cvar
from . import learning
from .estimates import Estimate, Mean, Share
from .study import ClaimStudy

POINTS = 50  # of the budget, at which greedy policies are compared
PLATEAU = 0.01  # a difference in area, in units of best - random, that chooses no step size
LEVEL = 0.05  # at which an environment's answer counts in a share of environments


@dataclass(frozen=True)
class ComparedLearner:
    """family; the settings that its runs have; and the setting that is its step size."""

    family: str
    settings: Mapping[str, Any]
    rate: str


ON_POLICY, OFF_POLICY = "on-policy", "Q-learning"
LEARNERS = {
    "policy gradient": ComparedLearner(ON_POLICY, {"algorithm.name": "policy_gradient"}, "optimizer.lr"),
    "A2C": ComparedLearner(ON_POLICY, {"algorithm.name": "a2c"}, "algorithm.lr"),
    "DQN": ComparedLearner(OFF_POLICY, {"algorithm.name": "dqn"}, "algorithm.lr"),
    "tabular Q-learning": ComparedLearner(OFF_POLICY, {"algorithm.name": "q_learning"}, "algorithm.step_size"),
}


def runs(study: ClaimStudy) -> pd.DataFrame:
    """A row a run at every step size.

    | column           | meaning                                                                                    |
    |------------------|--------------------------------------------------------------------------------------------|
    | place, learner, family, rate, seed                                                                            |
    | budget           | env steps                                                                                  |
    | steps            | until the greedy policy reaches the threshold; infinite where it never does                |
    | area             | mean over the budget of its return, none above 1: what chooses a step size                 |
    | final, before    | its return in the last tenth of the budget, and in the two tenths before it                |
    | drawdown         | mean of its worst quarter of losses from its best, once it has reached the threshold       |
    | collapse         | 1 where it then loses more than half of its gain (`statistics.collapses`)                  |
    | chosen, inside   | whether the rate is the learner's best on the tuning seeds; and lies inside its grid       |
    | picked           | whether the learner, at its best rate, is its family's best on the tuning seeds            |

    Returns are in units in which random actions have 0 and the best policy 1; what is worse than random actions counts
    as these, so that one diverged run is not all that a mean tells. NaN: not defined for the run.
    """
    tables = []
    for place, facts in study.size["places"].items():
        found = []
        for name, learner in LEARNERS.items():
            curves = study.curves({**facts["where"], **learner.settings}, [learner.rate])
            rows = measured(curves.rename(columns={learner.rate: "rate"}), facts, study.size["threshold"])
            rows = rows.assign(place=place, learner=name, family=learner.family, budget=float(facts["budget"]))
            found.append(tuned(rows))
        tables.append(picked(pd.concat(found, ignore_index=True)))
    return pd.concat(tables, ignore_index=True)


def tuned(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one learner at one place with `chosen` and `inside`: the rate of the largest mean area on the tuning
    seeds. One inside the grid that comes within PLATEAU of it goes before one on the edge: a greedy policy is the same
    for all small step sizes, and beyond such an edge lies more of the same."""
    best = learning.best_rate(rows, "area")
    areas = rows[rows["seed"] >= learning.TUNING].groupby("rate")["area"].mean().sort_index()
    inner = areas.iloc[1:-1]
    if len(inner) and inner.max() >= areas[best] - PLATEAU:
        best = float(inner.idxmax())
    return rows.assign(chosen=rows["rate"] == best, inside=best in inner.index)


def picked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one place with `picked`: of each family the learner of the largest mean area, at its best rate."""
    areas = rows[rows["chosen"] & (rows["seed"] >= learning.TUNING)].groupby(["family", "learner"])["area"].mean()
    best = {learner for _, learner in areas.groupby("family").idxmax()}
    return rows.assign(picked=rows["learner"].isin(best) & rows["chosen"])


def measured(curves: pd.DataFrame, facts: Mapping[str, Any], threshold: float) -> pd.DataFrame:
    """steps, final, before, drawdown and collapse of each rate and seed of one learner at one place, of which the facts
    are the `budget`, and the returns of `random` actions and of the `best` policy."""
    low, high, budget = facts["random"], facts["best"], facts["budget"]
    keys, rows = [], []
    for key, curve in curves.groupby(["rate", "seed"]):
        evaluated = curve.dropna(subset=["evaluation_return_mean"]).sort_values("env_steps")
        values = (evaluated["evaluation_return_mean"].to_numpy(float) - low) / (high - low)
        keys.append(key)
        rows.append(held(evaluated["env_steps"].to_numpy(float), values, budget))
    v = np.maximum(np.stack(rows), 0.0)
    grid = np.broadcast_to(np.linspace(0, budget, POINTS + 1)[1:], v.shape)
    tenth = POINTS // 10
    return pd.DataFrame(
        {
            "rate": [rate for rate, _ in keys],
            "seed": [seed for _, seed in keys],
            "steps": steps_to_threshold(grid, v, threshold),
            "area": np.minimum(v, 1.0).mean(1),
            "final": final_return(v),
            "before": v[:, -3 * tenth : -tenth].mean(1),
            "drawdown": [drawdown(one, threshold) for one in smoothed(v)],
            "collapse": collapses(np.pad(v, ((0, 0), (1, 0))), np.full(len(v), threshold)),
        }
    )


def held(env_steps: Floats, values: Floats, budget: float) -> Floats:
    """The value after n = U/G, 2U/G, .., U env steps: that of the last point not after n, and 0 before the first.

    env_steps, values [T], in order; result [G].
    """
    n = np.linspace(0, budget, POINTS + 1)[1:]
    return np.append(0.0, values)[np.searchsorted(env_steps, n, side="right")]


def drawdown(curve: Floats, threshold: float) -> float:
    """Mean of the worst quarter of max_{k <= t} v_k - v_t, from the first v_t >= threshold on; NaN without one."""
    above = curve >= threshold
    return float(drawdown_cvar(curve[above.argmax() :])) if above.any() else nan


def log_steps(rows: pd.DataFrame) -> pd.Series:
    """log min(T, U): a run that never gets there has used the budget and more, and counts as the budget."""
    return np.log(rows[["steps", "budget"]].min(axis=1))


EDGE = "a best step size on the edge of its grid"


def difference(one: pd.DataFrame, other: pd.DataFrame, column: str) -> Estimate:
    """Mean over seeds of one - other of a column. Nothing, where a best step size lies on the edge of its grid."""
    if not (one["inside"].all() and other["inside"].all()):
        return Mean.of([])
    both = one.set_index("seed")[column] - other.set_index("seed")[column]
    return Mean.of(both.dropna())


@dataclass(frozen=True)
class OpenShare:
    """A share of `samples` places, of which it holds at `held` and `undecided` are not answered: these count against it
    in the lower limit and for it in the upper one. Limits by Clopper & Pearson; the value is the share of the answered.
    """

    held: int
    undecided: int
    samples: int

    @property
    def value(self) -> float:
        answered = self.samples - self.undecided
        return self.held / answered if answered else nan

    def limits(self, level: float) -> tuple[float, float]:
        return self._least.limits(level)[0], self._most.limits(level)[1]

    def below(self, border: float) -> float:
        return self._most.below(border)

    def above(self, border: float) -> float:
        return self._least.above(border)

    def deviation(self, border: float) -> float:
        return self._least.deviation(border)

    @property
    def _least(self) -> Share:
        return Share(self.held, self.samples)

    @property
    def _most(self) -> Share:
        return Share(self.held + self.undecided, self.samples)


def share(estimates: Sequence[Estimate], worth: float, asks: str = "more") -> OpenShare:
    """The share of environments whose own number is more (less) than 0 by limits of 95%, and not all within `worth`."""
    answers = [_answer(estimate, worth, asks) for estimate in estimates]
    return OpenShare(answers.count(True), answers.count(None), len(answers))


def counted(share: OpenShare) -> str:
    """'5 environments: yes in 2, no in 1, undecided in 2'."""
    against = share.samples - share.held - share.undecided
    return f"{share.samples} environments: yes in {share.held}, no in {against}, undecided in {share.undecided}"


def _answer(estimate: Estimate, worth: float, asks: str) -> bool | None:
    within = max(estimate.above(-worth), estimate.below(worth)) <= LEVEL
    more, less = estimate.above(0) <= LEVEL and not within, estimate.below(0) <= LEVEL and not within
    held, against = (more, less) if asks == "more" else (less, more)
    return True if held else False if against or within else None
