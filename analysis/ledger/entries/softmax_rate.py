"""How fast gradient ascent with the exact gradient closes the gap to the best arm."""

from collections.abc import Mapping

import numpy as np

from ablate import exact
from ablate.envs.tabular import bandit

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

REWARDS = 1.0, 0.5, 0.0
STEP_SIZE = 1.0
HALF, STEPS = 1000, 2000


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp, theta, gaps = bandit([1.0] * len(REWARDS), REWARDS), np.zeros((1, len(REWARDS))), {}
    for t in range(1, STEPS + 1):
        pi = exact.softmax(mdp.features @ theta)
        if t in (HALF, STEPS):
            gaps[t] = max(REWARDS) - exact.J(mdp, pi)
        gradient = exact.gradient(mdp, pi, exact.scores(pi, mdp.features))
        theta = theta + STEP_SIZE * gradient.reshape(theta.shape)
    return {
        "slope of log gap over log t": exactly(np.log(gaps[STEPS] / gaps[HALF]) / np.log(STEPS / HALF)),
        "gap times t": exactly(STEPS * gaps[STEPS]),
    }
