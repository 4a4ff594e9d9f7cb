"""The values of the random walk of example 6.2."""

from collections.abc import Mapping

import numpy as np

from ablate import exact
from ablate.envs.tabular import random_walk

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp = random_walk()
    return {"v of A to E": exactly(exact.stationary_values(mdp, np.full((mdp.num_states, 2), 0.5))[1:6])}
