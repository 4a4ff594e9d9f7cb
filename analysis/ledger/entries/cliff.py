"""What Sarsa and Q-learning earn beside the cliff while they explore."""

from collections.abc import Mapping

import numpy as np

from ...verdicts.study import ClaimStudy
from ..entry import Measured, mean_of


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    def returns(algorithm: str) -> np.ndarray:
        """The mean over the episodes of a run, [seeds]."""
        curves = study.curves({"env.name": "cliffwalking", "algorithm.name": algorithm})
        so_far = curves.sort_values("iteration").groupby("seed")["episodes"]
        ended = curves.assign(ended=so_far.diff().fillna(curves["episodes"]))
        late = ended[(ended["iteration"] > 20) & (ended["ended"] > 0)]
        earned = (late["return_mean"] * late["ended"]).groupby(late["seed"]).sum()
        return (earned / late.groupby("seed")["ended"].sum()).sort_index().to_numpy()

    sarsa, q_learning = returns("sarsa"), returns("q_learning")
    return {
        "Sarsa": mean_of(sarsa, of=3),
        "Q-learning": mean_of(q_learning, of=3),
        "Sarsa less Q-learning": mean_of(sarsa - q_learning, of=3),
    }
