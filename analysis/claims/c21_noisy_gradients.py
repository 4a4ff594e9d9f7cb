"""C21: less variance means less noisy gradients: trace variance against the signal-to-noise ratio, along training."""

import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import along_training
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition


def evidence(study: ClaimStudy) -> pd.DataFrame:
    return along_training.runs(study)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """Has a variant of less variance less noise, relative to its signal? tau over the variants, place by place."""
    places = [
        Condition(along_training.named(where, rows), {"tau": along_training.tau(rows, "less variance", "less noise")})
        for where, rows in evidence.groupby("place", sort=False)
    ]
    return ClaimFinding(places, along_training.remark(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    return along_training.picture(
        evidence, [("less variance", "less noise")], "Variance and noise of each variant's own training"
    )
