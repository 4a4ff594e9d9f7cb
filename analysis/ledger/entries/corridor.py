"""The short corridor's best policy, by exact evaluation."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar

from ablate import exact
from ablate.envs.tabular import corridor

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp = corridor(horizon=10_000)

    def value(p: float) -> float:
        return exact.J(mdp, np.tile([1 - p, p], (mdp.num_states, 1)))

    best = minimize_scalar(lambda p: -value(p), bounds=(0.4, 0.8), method="bounded", options={"xatol": 1e-9})
    p = float(best.x)
    return {
        "best probability of right": exactly(p),
        "its value": exactly(value(p)),
        "the same, in closed form": exactly([p, value(p)]),
        "epsilon-greedy to the left": exactly(value(0.05)),
        "epsilon-greedy to the right": exactly(value(0.95)),
    }
