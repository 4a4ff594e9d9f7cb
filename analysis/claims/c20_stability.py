"""C20: policy gradients are often more stable than DQN: what is lost again, and how much runs and step sizes differ."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from analysis.verdicts import draw, learning, rivals
from analysis.verdicts.estimates import Estimate, Mean
from analysis.verdicts.study import Study
from analysis.verdicts.verdict import Finding, Place

ONE, OTHER = "policy gradient", "DQN"
WORTH = 0.05  # the smallest effect that the yaml declares, in units of best - random
RISING = 0.05  # of the mean over the last three tenths of a budget: more is not converged
MEASURES = {
    "drawdown": "loss after the threshold",
    "spread": "spread over seeds",
    "step sizes": "spread over step sizes",
}


def evidence(study: Study) -> pd.DataFrame:
    return rivals.runs(study)


def measure(evidence: pd.DataFrame) -> Finding:
    """The share of environments in which the policy gradient loses less; and beside it each measure in each of them."""
    found = {where: dict(differences(rows)) for where, rows in evidence.groupby("place", sort=False)}
    share = rivals.share([measures["drawdown"] for measures in found.values()], WORTH, "less")
    places = [Place(f"{share.samples} environments", {"share": share})]
    for where, measures in found.items():
        places += [Place(f"{where}, {MEASURES[name]}", {name: e}, within=False) for name, e in measures.items()]
    return Finding(places, " ".join(remarks(evidence)))


def differences(rows: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    """Of one environment and each measure the mean over seeds of policy gradient - DQN, each at its best step size.

    drawdown    of runs that reach the threshold, paired by seed
    spread      |final - median over the seeds|, of learners whose returns no longer rise
    step sizes  standard deviation of a seed's final return over the step sizes; finals below random actions count as 0
    """
    own = learning.judged(rows)
    one, other = (own[own["learner"] == learner] for learner in (ONE, OTHER))
    yield "drawdown", rivals.difference(one, other, "drawdown")
    if max(rising(one), rising(other)) < RISING:
        yield "spread", rivals.difference(around_median(one), around_median(other), "apart")
    else:
        yield "spread", Mean.of([])
    swept = rows[rows["seed"] < learning.TUNING]
    clipped = swept.assign(final=swept["final"].clip(lower=0))
    finals = clipped.groupby(["learner", "seed"])["final"].std()
    yield "step sizes", Mean.of((finals[ONE] - finals[OTHER]).dropna())


def around_median(runs: pd.DataFrame) -> pd.DataFrame:
    """With `apart`, how far each seed's final return is from their median."""
    return runs.assign(apart=(runs["final"] - runs["final"].median()).abs())


def rising(runs: pd.DataFrame) -> float:
    """How far the mean return of the last tenth is above that of the two tenths before."""
    return float((runs["final"] - runs["before"]).mean())


def remarks(evidence: pd.DataFrame) -> Iterator[str]:
    """How often each learner collapses, and which still rise."""
    own = learning.judged(evidence)
    for where, rows in own[own["learner"].isin([ONE, OTHER])].groupby("place", sort=False):
        told = [_collapses(learner, runs) for learner, runs in rows.groupby("learner", sort=False)]
        still = [learner for learner, runs in rows.groupby("learner", sort=False) if rising(runs) >= RISING]
        yield f"{where}: {', '.join(told)}" + (f"; still rising: {', '.join(still)}." if still else ".")


def _collapses(learner: str, runs: pd.DataFrame) -> str:
    reached = runs["collapse"].dropna()
    return f"{learner} collapses in {int(reached.sum())} of the {len(reached)} runs (of {len(runs)}) that got there"


def picture(evidence: pd.DataFrame) -> Figure:
    """Each measure's difference in each environment with its limits: left of 0 the policy gradient is more stable."""
    found = {where: dict(differences(rows)) for where, rows in evidence.groupby("place", sort=False)}
    figure, panels = draw.figure(len(MEASURES), height=1.4 + 0.36 * len(found), sharey=True)
    for panel, (name, what) in zip(panels, MEASURES.items(), strict=True):
        panel.axvspan(
            -WORTH, WORTH, color="0.9", linewidth=0, label="too small to matter" if panel is panels[0] else ""
        )
        panel.axvline(0, color="black", linewidth=0.8)
        for row, measures in enumerate(found.values()):
            draw.interval(panel, measures[name], row)
        panel.set_title(what)
    panels[0].set_yticks(range(len(found)), list(found))
    panels[0].set_ylim(len(found) - 0.5, -0.5)
    panels[1].set_xlabel(f"{ONE} - {OTHER}, in units of the best return less that of random actions")
    figure.suptitle("Left of 0 the policy gradient is the more stable", fontsize=9)
    figure.legend(loc="outside lower center")
    return figure
