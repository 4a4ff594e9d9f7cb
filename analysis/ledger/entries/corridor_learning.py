"""Learning curves on the short corridor at episode 100."""

from collections.abc import Mapping

import numpy as np

from ...verdicts.study import ClaimStudy
from ..entry import Measured, mean_of


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    def returns(baseline: str) -> np.ndarray:
        curves = study.curves({"env.name": "corridor", "baseline.name": baseline})
        return curves[curves["iteration"] > 90].groupby("seed")["return_mean"].mean().sort_index().to_numpy()

    without, beside = returns("none"), returns("value")
    return {
        "without a baseline": mean_of(without, of=3),
        "with a baseline": mean_of(beside, of=3),
        "what the baseline gains": mean_of(beside - without, of=3),
    }
