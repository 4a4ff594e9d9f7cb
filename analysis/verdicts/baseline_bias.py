"""How far a baseline moves the mean of the estimates, exactly: what answers C5 and C5b."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.exact import ExactEstimator, GroundTruth, moments

from . import draw, variances
from .estimates import Exact
from .study import ClaimStudy
from .verdict import ClaimFinding, Condition

TASKS = ("chain (20 steps)", "FrozenLake 4x4", "cost, then prize")
CONSTANTS = (1.0, 100.0)
BATCHES = (2, 4, 16, 64)
NONE = 1e-9  # what rounding leaves


class Shifts:
    """baselines: of `constant`, `loo` (the mean return of the other episodes), `mean` (of all of the batch)."""

    def __init__(self, baselines: Sequence[str]) -> None:
        self.baselines = baselines

    def evidence(self, study: ClaimStudy) -> pd.DataFrame:
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

    def measure(self, evidence: pd.DataFrame) -> ClaimFinding:
        """The shifts; of the batch mean, whether they are the 1/N that its own episode makes."""
        places = [Condition(row.place, {"shift": Exact(row.shift)}) for row in evidence.itertuples()]
        own = evidence[evidence["baseline"] == "mean"]
        if not len(own):
            return ClaimFinding(places)
        gap = float(np.abs(own["scale"] - (1 - 1 / own["N"])).max())
        exactly = "exactly" if gap < NONE else f"but for {gap:.2g}"
        return ClaimFinding(
            places, f"The batch mean contains the episode's own return: the mean is {exactly} 1 - 1/N times it."
        )

    def picture(self, evidence: pd.DataFrame) -> Figure:
        """The mean with a baseline over the mean without, against the number of episodes, which a constant does not
        know; and 1 - 1/N, which the batch's own mean makes of it."""
        drawn, (panel,) = draw.figure(height=2.9)
        N = np.geomspace(min(BATCHES), max(BATCHES), 100)
        panel.plot(N, 1 - 1 / N, color="0.5", linestyle=":", linewidth=1.0, label="1 − 1/N")
        tasks = dict.fromkeys(name.rpartition(", b = ")[0].partition(", b = ")[0] for name in evidence["place"])
        for place, task in enumerate(tasks):
            look = draw.look(place) | {"linestyle": "none", "fillstyle": "none", "markersize": 5 + 2.5 * place}
            rows = evidence[evidence["place"].str.startswith(f"{task}, b = ")]
            across = rows["N"].where(rows["N"] > 0, max(BATCHES) * 1.7 ** rows.groupby("N").cumcount().add(1))
            panel.plot(across, rows["scale"], label=task, **look)
        constants = evidence[evidence["N"] == 0]
        ticks = {float(N): f"{N}" for N in BATCHES}
        for place in range(len(constants) and len(CONSTANTS)):
            ticks[max(BATCHES) * 1.7 ** (place + 1)] = f"b = {CONSTANTS[place]:g}"
        panel.set(xscale="log", ylabel="mean with b / mean without", xlabel="episodes of a batch, N; or a constant b")
        panel.set_xticks(list(ticks), list(ticks.values()))
        panel.minorticks_off()
        panel.set_ylim(0.45, 1.05)
        largest = float((evidence["scale"] - 1).abs().max())
        moved = "by 1/N of it, on every problem" if largest > NONE else f"by rounding at most ({largest:.0e} of it)"
        panel.set_title(f"How far the baseline moves the mean: {moved}", fontsize=draw.points(9))
        drawn.legend(loc="outside lower center", ncols=4, fontsize=draw.points(7), frameon=False)
        return drawn


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
    estimator = ExactEstimator(lambda t: mdp.rewards, mdp.gamma, 1.0, discounts, baseline, past=1.0)
    return moments(mdp, known.pi, known.z, estimator, known.gradient).mean
