"""The estimator in common use, which leaves gamma^t out, on an MDP where it points the wrong way."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ablate import exact
from ablate.envs.outcomes import Outcome, from_outcomes
from ablate.mdp import MDP

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

END = 7


def outcomes(s: int, a: int) -> list[Outcome]:
    """0: the first decision, to 1 if a = 0 and to 2 if not. 1 and 2: the second, which costs 1.5 if a = 0. From 1 two
    more steps, the last of which earns 8."""
    match s:
        case 0:
            return [(1.0, 1 + a, 0.0, False)]
        case 1 | 2:
            return [(1.0, 3 if s == 1 else END, -1.5 * (a == 0), s == 2)]
        case 3:
            return [(1.0, 4, 0.0, False)]
        case 4:
            return [(1.0, END, 8.0, True)]
    return [(1.0, END, 0.0, True)]


def problem(gamma: float) -> MDP:
    return from_outcomes(outcomes, 8, 2, start=0, horizon=4, gamma=gamma, features=np.ones((8, 1)))


def slope(mdp: MDP, p: float, discount_scores: bool = True) -> float:
    """The mean of sum_t z_t Phi_t in the direction of logit 0, over p (1 - p): Phi the reward-to-go."""
    pi = np.tile([p, 1 - p], (mdp.num_states, 1))
    truth = exact.GroundTruth(mdp, pi, exact.scores(pi, mdp.features), discount_scores=discount_scores)
    return float(truth.moments("rtg").mean[0]) / (p * (1 - p))


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    discounted, p = problem(0.5), 0.3
    return {
        "of the discounted return": exactly(slope(discounted, p)),
        "of the undiscounted return": exactly(slope(replace(discounted, gamma=1.0), p)),
        "without gamma^t": exactly(slope(discounted, p, discount_scores=False)),
    }
