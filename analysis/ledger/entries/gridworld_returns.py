"""The 5x5 grid of figures 3.2 and 3.5: two cells that pay and carry away."""

from collections.abc import Mapping

import numpy as np

from ablate import exact
from ablate.envs.outcomes import Outcome, from_outcomes

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

MOVES = (-1, 0), (1, 0), (0, -1), (0, 1)
PAYS = {1: (21, 10.0), 3: (13, 5.0)}  # A and B: where they lead, and what they earn


def outcomes(s: int, a: int) -> list[Outcome]:
    if s in PAYS:
        return [(1.0, *PAYS[s], False)]
    row, column = s // 5 + MOVES[a][0], s % 5 + MOVES[a][1]
    inside = 0 <= row < 5 and 0 <= column < 5
    return [(1.0, row * 5 + column if inside else s, 0.0 if inside else -1.0, False)]


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp = from_outcomes(outcomes, 25, 4, start=0, horizon=1000, gamma=0.9)
    return {
        "v of the random policy": exactly(exact.stationary_values(mdp, np.full((25, 4), 0.25))),
        "v of the best policy": exactly(exact.optimal_values(mdp).max(-1)),
    }
