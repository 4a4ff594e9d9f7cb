"""C21: less variance means less noisy gradients: trace variance against the signal-to-noise ratio, along training."""

import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import paths
from ..verdicts.study import Study
from ..verdicts.verdict import Finding, Place


def evidence(study: Study) -> pd.DataFrame:
    return paths.runs(study)


def measure(evidence: pd.DataFrame) -> Finding:
    """Has a variant of less variance less noise, relative to its signal? tau over the variants, place by place."""
    places = [
        Place(paths.named(where, rows), {"tau": paths.tau(rows, "less variance", "less noise")})
        for where, rows in evidence.groupby("place", sort=False)
    ]
    return Finding(places, paths.remark(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return paths.picture(
        evidence, [("less variance", "less noise")], "Variance and noise of each variant's own training"
    )
