"""How often the gradient bandit takes the best arm of the testbed, with and without a baseline."""

from collections.abc import Mapping

import pandas as pd

from ...verdicts.study import ClaimStudy
from ..entry import Measured, mean_of


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    def shares(baseline: str, step_size: float) -> pd.Series:
        """Of each seed, in %."""
        wanted = {"env.name": "testbed", "baseline.name": baseline, "optimizer.lr": step_size}
        curves = study.curves(wanted)
        return 100 * curves[curves["iteration"] > 950].groupby("seed")["optimal_action_share"].mean().sort_index()

    found: dict[str, list[Measured]] = {}
    for step_size in (0.1, 0.4):
        beside, without = shares("value", step_size), shares("none", step_size)
        found |= {
            f"with a baseline, step {step_size}": mean_of(beside, of=6),
            f"without, step {step_size}": mean_of(without, of=6),
            f"what the baseline gains, step {step_size}": mean_of(beside - without, of=6),
        }
    return found
