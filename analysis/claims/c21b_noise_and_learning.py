"""C21b: ... and so better learning, which the slide does not say: noise along training against what is learnt."""

import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import along_training
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

LEARNT = {"area": "area under the curve", "final": "final return"}


def evidence(study: ClaimStudy) -> pd.DataFrame:
    return along_training.runs(study)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """Does a variant of less noise learn better? tau over the variants, place by place, by both measures."""
    places = [
        Condition(
            f"{along_training.named(where, rows)}, {what}", {"tau": along_training.tau(rows, "less noise", score)}
        )
        for score, what in LEARNT.items()
        for where, rows in evidence.groupby("place", sort=False)
    ]
    return ClaimFinding(places, along_training.remark(evidence))


def picture(evidence: pd.DataFrame) -> Figure:
    pairs = [("less noise", score) for score in LEARNT]
    return along_training.picture(
        evidence, pairs, "Noise of each variant's own training, and what training with it comes to"
    )
