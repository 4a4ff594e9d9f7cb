"""The values of the random policy on the 4x4 grid of figure 4.1."""

from collections.abc import Mapping

import numpy as np

from ablate import exact
from ablate.envs.outcomes import Outcome, from_outcomes

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

MOVES = (0, -1), (1, 0), (0, 1), (-1, 0)


def outcomes(s: int, a: int) -> list[Outcome]:
    row, column = divmod(s, 4)
    down, right = MOVES[a]
    to = min(max(row + down, 0), 3) * 4 + min(max(column + right, 0), 3)
    return [(1.0, to, -1.0, to in (0, 15))]


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp = from_outcomes(outcomes, 16, 4, start=1, horizon=1000)
    return {"v of the random policy": exactly(exact.stationary_values(mdp, np.full((16, 4), 0.25)))}
