"""C5: E[grad log p(tau) b] = 0, so that a constant baseline leaves the mean as it is."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.exact import Estimator, GroundTruth, moments
from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict, from_exact

TASKS = ("chain (20 steps)", "FrozenLake 4x4", "cost, then prize")
CONSTANTS = (1.0, 100.0)
BATCHES = (2, 4, 16)
NONE = (-1e-9, 1e-9)


def evidence(study: Study) -> pd.DataFrame:
    """place, kind (constant, mean, loo), shift = <E g_b - E g_0, grad J> / |grad J|^2, and across = the length of what
    of E g_b - E g_0 is at right angles to grad J, over |grad J|."""
    rows = []
    for task in TASKS:
        known = variances.truth(variances.NAMED[task]())
        plain = known.moments("return").mean
        means = {("constant", f"b = {b:g}"): _with_constant(known, b) for b in CONSTANTS}
        for N in BATCHES:
            means["mean", f"b = batch mean, N = {N}"] = known.moments("return", "mean", episodes=N).mean
            means["loo", f"b = leave-one-out, N = {N}"] = known.moments("return", "loo", episodes=N).mean
        square = known.gradient @ known.gradient
        for (kind, what), mean in means.items():
            moved = mean - plain
            shift = float(moved @ known.gradient / square)
            across = float(np.sqrt(np.square(moved - shift * known.gradient).sum() / square))
            rows.append({"place": f"{task}, {what}", "kind": kind, "shift": shift, "across": across})
    return pd.DataFrame(rows)


def _with_constant(known: GroundTruth, b: float) -> np.ndarray:
    """E[sum_t z_t (R(tau) - b)]."""
    mdp = known.mdp
    discounts = mdp.gamma ** np.arange(mdp.horizon, dtype=np.float64)
    baseline = np.full((mdp.horizon, mdp.num_states), b)
    estimator = Estimator(lambda t: mdp.rewards, mdp.gamma, 1.0, discounts, baseline, past=1.0)
    return moments(mdp, known.pi, known.z, estimator, known.gradient).mean


def judge(evidence: pd.DataFrame) -> Verdict:
    """The shift along grad J; a place whose shift is at right angles to grad J fails too."""
    places = []
    for row in evidence.itertuples():
        place = from_exact(row.place, row.shift, NONE)
        places.append(replace(place, answer=False) if row.across > NONE[1] else place)
    return Verdict("C5", "of |grad J|", tuple(places), "The batch mean contains the episode's own return: -1/N.")


def picture(evidence: pd.DataFrame) -> Figure:
    return draw.places(judge(evidence).places, "How far a baseline moves the mean", "shift / |grad J|", border=0)
