"""The mean of sampled estimates against the exact gradient: the evidence of C1 and C2."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.claims import draw
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict, from_sample

MARGIN = 0.05
WITHIN = (1 - MARGIN, 1 + MARGIN)
SURE = 0.001  # a Wald test's p-value, times the number of tests, below which a difference is named


def evidence(study: Study, places: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """place, seed, iteration, projection = <mean, grad J> / |grad J|^2 of independent episodes, and wald_p."""
    tables = []
    for place, wanted in places.items():
        rows = study.probes({"probe.name": "online", "probe.episodes": study.size["episodes"], **wanted})
        tables.append(rows[["seed", "iteration", "projection", "wald_p"]].assign(place=place))
    return pd.concat(tables, ignore_index=True)


def judge(claim: str, evidence: pd.DataFrame) -> Verdict:
    """Equivalence of the mean projection to 1 within 5%. The Wald test looks in all directions; as failing to reject is
    no support, it can only speak against."""
    places, remarks = [], []
    for place, rows in evidence.groupby("place", sort=False):
        found = from_sample(str(place), rows["projection"], WITHIN)
        p = rows["wald_p"].dropna()
        worst = min(1.0, float(p.min()) * len(p)) if len(p) else 1.0
        places.append(found)
        verb = "rejects" if worst < SURE else "does not reject"
        remarks.append(f"{place}: the Wald test {verb} equality (least p of {len(p)}, corrected: {worst:.2g}).")
    return Verdict(claim, "<E g, grad J> / |grad J|²", tuple(places), " ".join(remarks))


def picture(evidence: pd.DataFrame, claim: str) -> Figure:
    figure = draw.places(
        judge(claim, evidence).places, "The mean of the estimates along grad J", "projection (1: unbiased)", border=1
    )
    panel = figure.axes[0]
    panel.axvspan(*WITHIN, color=draw.HUES[2], alpha=0.15, linewidth=0)
    for row, (_, rows) in enumerate(evidence.groupby("place", sort=False)):
        x = rows["projection"].to_numpy()
        panel.plot(x, row + 0.25 + np.zeros(len(x)), ".", color="grey", markersize=2)
    return figure
