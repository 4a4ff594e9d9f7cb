"""How far a baseline moves the mean of the estimates, exactly: what answers C5 and C5b."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.exact import Estimator, GroundTruth, moments

from . import draw, variances
from .estimates import Exact
from .study import Study
from .verdict import Finding, Place

TASKS = ("chain (20 steps)", "FrozenLake 4x4", "cost, then prize")
CONSTANTS = (1.0, 100.0)
BATCHES = (2, 4, 16, 64)
NONE = 1e-9  # what rounding leaves


class Shifts:
    """baselines: of `constant`, `loo` (the mean return of the other episodes), `mean` (of all of the batch)."""

    def __init__(self, baselines: Sequence[str]) -> None:
        self.baselines = baselines

    def evidence(self, study: Study) -> pd.DataFrame:
        """place, baseline, N (0 for a constant), shift = |E g_b - E g_0| / |E g_0|, scale = <E g_b, E g_0> / |E g_0|^2;
        of Phi = R(tau)."""
        rows = []
        for task in TASKS:
            known = variances.truth(variances.NAMED[task]())
            plain = known.moments("return").mean
            for baseline in self.baselines:
                for what, N, mean in _means(known, baseline):
                    scale = float(mean @ plain / (plain @ plain))
                    shift = float(np.linalg.norm(mean - plain) / np.linalg.norm(plain))
                    row = {"place": f"{task}, {what}", "baseline": baseline, "N": N, "shift": shift, "scale": scale}
                    rows.append(row)
        return pd.DataFrame(rows)

    def measure(self, evidence: pd.DataFrame) -> Finding:
        """The shifts; of the batch mean, whether they are the 1/N that its own episode makes."""
        places = [Place(row.place, {"shift": Exact(row.shift)}) for row in evidence.itertuples()]
        own = evidence[evidence["baseline"] == "mean"]
        if not len(own):
            return Finding(places)
        gap = float(np.abs(own["scale"] - (1 - 1 / own["N"])).max())
        exactly = "exactly" if gap < NONE else f"but for {gap:.2g}"
        return Finding(
            places, f"The batch mean contains the episode's own return: the mean is {exactly} 1 - 1/N times it."
        )

    def picture(self, evidence: pd.DataFrame) -> Figure:
        shown = evidence.set_index("place")["scale"] - 1
        return draw.values(shown, "How far a baseline moves the mean", "scale of the mean - 1", (-NONE, NONE), 0)


def _means(known: GroundTruth, baseline: str) -> list[tuple[str, int, np.ndarray]]:
    if baseline == "constant":
        return [(f"b = {b:g}", 0, _with_constant(known, b)) for b in CONSTANTS]
    label = {"mean": "batch mean", "loo": "leave-one-out"}[baseline]
    return [(f"b = {label}, N = {N}", N, known.moments("return", baseline, episodes=N).mean) for N in BATCHES]


def _with_constant(known: GroundTruth, b: float) -> np.ndarray:
    """E[sum_t z_t (R(tau) - b)]."""
    mdp = known.mdp
    discounts = mdp.gamma ** np.arange(mdp.horizon, dtype=np.float64)
    baseline = np.full((mdp.horizon, mdp.num_states), b)
    estimator = Estimator(lambda t: mdp.rewards, mdp.gamma, 1.0, discounts, baseline, past=1.0)
    return moments(mdp, known.pi, known.z, estimator, known.gradient).mean
