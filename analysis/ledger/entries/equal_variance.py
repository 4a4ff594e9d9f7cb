"""Two baselines of equal variance with which the natural policy gradient comes to different ends."""

from collections.abc import Mapping

import numpy as np

from ablate import exact

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly, share_of

REWARDS = np.array([1.0, 0.7, 0.0])
BEST = REWARDS.mean()  # b* = sum_a r_a / pi_a over sum_a 1 / pi_a, as the natural score of arm a is as long as 1 / pi_a
LOWER, HIGHER = BEST - 0.5, BEST + 0.5


def variance(b: float) -> float:
    """tr Cov F^+ z (r - b) at the uniform policy."""
    pi = np.full((1, len(REWARDS)), 1 / len(REWARDS))
    z = exact.scores(pi, np.ones((1, 1)))[0]  # [arms, logits]
    fisher = (pi[0, :, None] * z).T @ z
    steps = (REWARDS - b)[:, None] * z @ np.linalg.pinv(fisher, hermitian=True)
    return float(pi[0] @ ((steps - pi[0] @ steps) ** 2).sum(1))


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    def worse(b: float) -> np.ndarray:
        """Whether a run has ended at a worse arm, [seeds]."""
        paid = [round(r - b, 7) for r in REWARDS.tolist()]
        curves = study.curves({"env.name": "bandit", "optimizer.name": "natural", "env.rewards": [paid]})
        late = curves[curves["iteration"] > 100].groupby("seed")["return_mean"].mean().sort_index().to_numpy()
        return late + b < 0.85

    (lower,), (higher,) = (share_of(worse(b), of=2) for b in (LOWER, HIGHER))
    return {
        "variance of one over that of the other, at first": exactly(variance(HIGHER) / variance(LOWER)),
        "share of runs that the lower one leaves at a worse arm": [lower],
        "the same, less that of the higher one": [
            Measured(lower.value - higher.value, lower.low - higher.high, lower.high - higher.low)
        ],
    }
