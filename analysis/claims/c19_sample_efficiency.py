"""C19: on-policy learning is (usually) less sample-efficient than Q-learning: env steps to a threshold, greedily."""

from collections.abc import Iterator
from math import log

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw, learning, on_off_policy
from ..verdicts.estimates import Estimate, Mean, Share
from ..verdicts.on_off_policy import OFF_POLICY, ON_POLICY
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

WORTH = log(1.5)  # the smallest effect that the yaml declares for `ratio`
ARRIVING = 0.75  # share of runs that must arrive of one family, at least


def evidence(study: ClaimStudy) -> pd.DataFrame:
    return on_off_policy.runs(study)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The share of environments in which the on-policy learner needs more env steps; and beside it the log ratio in
    each of them, of each family's best learner at its best step size."""
    found = list(ratios(evidence))
    share = on_off_policy.share([ratio for _, ratio in found], WORTH)
    places = [Condition(on_off_policy.counted(share), {"share": share})]
    places += [Condition(where, {"ratio": ratio}, within=False) for where, ratio in found]
    return ClaimFinding(places, " ".join(arrivals(evidence)))


def ratios(evidence: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    """Of each environment mean over seeds of log(T on-policy / T Q-learning), T at most the budget. Nothing is said
    where a best step size is on the edge of its grid, or where both mostly fail to arrive: their T is the budget."""
    own = learning.held_out(evidence)
    own = own[own["picked"]].assign(log=on_off_policy.log_steps)
    for where, rows in own.groupby("place", sort=False):
        one, other = (rows[rows["family"] == family] for family in (ON_POLICY, OFF_POLICY))
        named = f"{where}, {one['learner'].iloc[0]} / {other['learner'].iloc[0]}"
        arrived = np.isfinite(rows["steps"]).groupby(rows["family"]).mean()
        if not rows["inside"].all():
            yield f"{named} ({on_off_policy.EDGE})", Mean.of([])
        elif arrived.max() < ARRIVING:
            yield f"{named} (neither arrives in {ARRIVING:.0%} of its runs)", Mean.of([])
        else:
            yield named, on_off_policy.difference(one, other, "log")


def arrivals(evidence: pd.DataFrame) -> Iterator[str]:
    """How many runs of each family's learner arrived, of each environment."""
    own = learning.held_out(evidence)
    for where, rows in own[own["picked"]].groupby("place", sort=False):
        counts = (
            f"{learner} {int(np.isfinite(runs['steps']).sum())} of {len(runs)}"
            for learner, runs in rows.groupby("learner", sort=False)
        )
        yield f"{where}: at the threshold within {rows['budget'].iloc[0]:,.0f} env steps {', '.join(counts)}."


def picture(evidence: pd.DataFrame) -> Figure:
    """Left the ratio of env steps in each environment with its limits; right how many runs of each learner arrive."""
    found = list(ratios(evidence))
    figure, (left, right) = draw.figure(2, height=1.3 + 0.42 * len(found), sharey=True)
    left.axvspan(np.exp(-WORTH), np.exp(WORTH), color="0.9", linewidth=0, label="too small to matter")
    draw.rule(left, "no difference", x=1.0, color="black")
    for row, (where, ratio) in enumerate(found):
        draw.interval(left, ratio, row, where.partition(" (")[0], np.exp, color="black")
    own = learning.held_out(evidence)
    places = list(own["place"].unique())
    for place, (learner, runs) in enumerate(own.groupby("learner", sort=False)):
        look = draw.learner(str(learner))
        right.plot([], [], label=learner, **look)
        for where, arrived in np.isfinite(runs["steps"]).groupby(runs["place"]):
            share = Share(int(arrived.sum()), len(arrived))
            draw.interval(right, share, places.index(where) + 0.15 * (place - 1.5), str(learner), **look)
    left.set_yticks(range(len(places)), places)
    left.set_ylim(len(places) - 0.5, -0.5)
    left.set(xscale="log", xlabel="env steps to the threshold, on-policy / Q-learning")
    draw.ticked(left.xaxis)
    right.set(xlabel="share of runs that get there", xlim=(-0.05, 1.05))
    draw.heading(figure, "Greedy policies at one budget of env steps: right of 1 Q-learning is sooner")
    draw.legend(figure, left, right, columns=6)
    return figure
