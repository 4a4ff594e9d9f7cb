"""C20: policy gradients are often more stable than DQN: what is lost again, and how much runs and step sizes differ."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw, learning, on_off_policy
from ..verdicts.estimates import Estimate, Mean
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

ONE, OTHER = "policy gradient", "DQN"
WORTH = 0.05  # the smallest effect that the yaml declares, in units of best - random
RISING = 0.02  # of the mean over the last three tenths of a budget: more is not converged
MEASURES = {
    "drawdown": "loss after the threshold",
    "spread": "spread over seeds",
    "step sizes": "spread over step sizes",
}


def evidence(study: ClaimStudy) -> pd.DataFrame:
    return on_off_policy.runs(study)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The share of environments in which the policy gradient loses less; and beside it each measure in each of them."""
    found = differences(evidence)
    share = on_off_policy.share([estimate for _, name, estimate in found if name == "drawdown"], WORTH, "less")
    places = [Condition(where, {name: estimate}, within=False) for where, name, estimate in found]
    return ClaimFinding(
        [Condition(on_off_policy.counted(share), {"share": share}), *places], " ".join(remarks(evidence))
    )


def differences(evidence: pd.DataFrame) -> list[tuple[str, str, Estimate]]:
    """Of each environment and measure the mean over seeds of policy gradient - DQN, each at its best step size.

    drawdown    of runs that reach the threshold, paired by seed
    spread      |final - median over the seeds|, of learners whose returns no longer rise
    step sizes  standard deviation of a seed's final return over the step sizes
    """
    found = []
    for where, rows in evidence.groupby("place", sort=False):
        own = learning.held_out(rows)
        one, other = (own[own["learner"] == learner] for learner in (ONE, OTHER))
        inside = one["inside"].all() and other["inside"].all()
        settled = max(rising(one), rising(other)) < RISING
        swept = rows[rows["seed"] < learning.TUNING]
        finals = swept.groupby(["learner", "seed"])["final"].std()
        drawdown = on_off_policy.difference(one, other, "drawdown")
        spread = on_off_policy.difference(around_median(one), around_median(other), "apart") if settled else Mean.of([])
        edge = "" if inside else f" ({on_off_policy.EDGE})"
        seldom = "" if drawdown.samples else " (they do not both get there)"
        still = "" if settled else " (still rising)"
        found += [
            (f"{where}, {MEASURES['drawdown']}{edge or seldom}", "drawdown", drawdown),
            (f"{where}, {MEASURES['spread']}{edge or still}", "spread", spread),
            (f"{where}, {MEASURES['step sizes']}", "step sizes", Mean.of((finals[ONE] - finals[OTHER]).dropna())),
        ]
    return found


def around_median(runs: pd.DataFrame) -> pd.DataFrame:
    """With `apart`, how far each seed's final return is from their median."""
    return runs.assign(apart=(runs["final"] - runs["final"].median()).abs())


def rising(runs: pd.DataFrame) -> float:
    """How far the mean return of the last tenth is above that of the two tenths before."""
    return float((runs["final"] - runs["before"]).mean())


def remarks(evidence: pd.DataFrame) -> Iterator[str]:
    """How many of the runs that reach the threshold collapse, of each environment and learner."""
    own = learning.held_out(evidence)
    for where, rows in own[own["learner"].isin([ONE, OTHER])].groupby("place", sort=False):
        reached = rows.dropna(subset=["collapse"]).groupby("learner", sort=False)["collapse"]
        told = (f"{learner} {int(runs.sum())} of {len(runs)}" for learner, runs in reached)
        yield f"{where}: of the runs at the threshold collapse {', '.join(told) or 'none: none got there'}."


def picture(evidence: pd.DataFrame) -> Figure:
    """Each measure's difference in each environment with its limits: left of 0 the policy gradient is more stable."""
    found, places = differences(evidence), list(evidence["place"].unique())
    figure, panels = draw.figure(len(MEASURES), height=1.4 + 0.36 * len(places), sharey=True)
    for panel, (name, what) in zip(panels, MEASURES.items(), strict=True):
        panel.axvspan(
            -WORTH, WORTH, color="0.9", linewidth=0, label="too small to matter" if panel is panels[0] else ""
        )
        draw.rule(panel, "no difference", x=0.0, color="black")
        for row, estimate in enumerate(estimate for _, measure, estimate in found if measure == name):
            draw.interval(panel, estimate, row, f"{ONE} − {OTHER}", color="black")
        panel.set_title(what)
    panels[0].set_yticks(range(len(places)), places)
    panels[0].set_ylim(len(places) - 0.5, -0.5)
    panels[1].set_xlabel(f"{ONE} − {OTHER}, in units of the best return less that of random actions")
    draw.heading(figure, "Left of 0 the policy gradient is the more stable")
    draw.legend(figure, panels[0])
    return figure
