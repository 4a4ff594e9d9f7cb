"""How fast TD(0) and Monte Carlo learn the values of the random walk."""

from collections.abc import Mapping

import pandas as pd

from ...verdicts.study import ClaimStudy
from ..entry import Measured, mean_of


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    def errors(algorithm: str) -> pd.Series:
        """Of each seed at the step size that is best on the mean."""
        wanted = {"env.name": "random_walk", "algorithm.name": algorithm}
        curves = study.curves(wanted, keep=["algorithm.step_size"])
        table = curves.pivot_table("value_rms_error", "seed", "algorithm.step_size", "mean")
        return table[table.mean().idxmin()].sort_index()

    differences = (errors("monte_carlo") - errors("td")).to_numpy()
    return {"Monte Carlo's error less TD's, each at its best step": mean_of(differences, of=1)}
