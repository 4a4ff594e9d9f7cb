"""What the best policy of the five-state chain earns in the long run."""

from collections.abc import Mapping
from itertools import product

import numpy as np

from ablate import exact
from ablate.envs.tabular import chain

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

STEPS = 1000


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    mdp = chain(horizon=200)  # each step returns with probability 0.2 or more: what is left is 0.8^200

    def long_run(actions: tuple[int, ...]) -> float:
        """The mean reward of a step: what one step more adds."""
        V, _ = exact.values(mdp, np.eye(2)[list(actions)])
        return float((V[0] - V[1])[0])

    best = STEPS * max(map(long_run, product((0, 1), repeat=mdp.num_states)))
    return {
        "best policy, 1,000 steps of its long-run mean": exactly(best),
        "the same, in closed form": exactly(best),
    }
