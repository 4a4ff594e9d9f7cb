"""C10: the TD error estimates the advantage: exactly with the true V; with another V at the price of a bias."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate.exact import ExactEstimator, GroundTruth, Moments, moments
from ablate.exact.evaluation import transitions
from ablate.randomness import stream

from ..verdicts import draw, variances
from ..verdicts.estimates import Exact
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

Floats = NDArray[np.float64]
TASKS = ("chain (20 steps)", "FrozenLake 4x4", "gridworld 5x5")
ERRORS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """task, error (of V, in standard deviations of V over visited (t, s)); gap = RMS of E[delta|t,s,a] - A_t(s,a) over
    visited (t, s, a), over the RMS of A; of the estimate sum_t z_t delta_t its bias_squared and variance; variance_rtg
    of sum_t z_t (G_t - V) with the same V, which is unbiased; crossover = the N above which the latter has less MSE.
    The errors are one N(0, 1) draw a (t, s), scaled."""
    rows = []
    for task in TASKS:
        known = variances.truth(variances.NAMED[task]())
        V, Q = known.critics["exact"].V, known.critics["exact"].Q
        visits = known.occupancy
        spread = np.sqrt(_mean(visits, (V[:-1] - _mean(visits, V[:-1])) ** 2))
        noise = stream(0, f"claim C10, {task}").standard_normal(V.shape)
        noise[-1] = 0.0  # the episode is over, and everyone knows it
        noise[:, known.mdp.terminal] = 0.0
        for error in ERRORS:
            guess = V + error * spread * noise
            td, rtg = _td(known, guess), _reward_to_go(known, guess)
            biased = td.bias_squared > 1e-20 * (known.gradient @ known.gradient)
            bias = td.bias_squared if biased else 0.0
            gain = rtg.trace_variance - td.trace_variance
            rows.append(
                {
                    "task": task,
                    "error": error,
                    "gap": _gap(known, guess, Q - V[:-1, :, None]),
                    "bias_squared": bias,
                    "gradient_squared": float(known.gradient @ known.gradient),
                    "variance": td.trace_variance,
                    "variance_rtg": rtg.trace_variance,
                    "crossover": np.inf if not biased else max(0.0, gain / bias),
                }
            )
    return pd.DataFrame(rows)


def _mean(visits: Floats, f: Floats) -> float:
    return float((visits * f).sum() / visits.sum())


def _delta(known: GroundTruth, V: Floats, t: int) -> Floats:
    """r + gamma V_{t+1}(s') - V_t(s), [S,A,K]."""
    return known.mdp.rewards + known.mdp.gamma * V[t + 1][known.mdp.successors] - V[t][:, None, None]


def _gap(known: GroundTruth, V: Floats, A: Floats) -> float:
    P = transitions(known.mdp)
    expected = np.stack([(P * _delta(known, V, t)).sum(-1) for t in range(known.mdp.horizon)])
    weights = known.occupancy[..., None] * known.pi
    alive = ~known.mdp.terminal[:, None]
    return float(np.sqrt((weights * alive * (expected - A) ** 2).sum() / (weights * alive * A**2).sum()))


def _td(known: GroundTruth, V: Floats) -> Moments:
    nothing, ones = np.zeros(known.occupancy.shape), np.ones(known.mdp.horizon)
    estimator = ExactEstimator(lambda t: _delta(known, V, t), 0.0, known.mdp.gamma, ones, nothing)
    return moments(known.mdp, known.pi, known.z, estimator, known.gradient)


def _reward_to_go(known: GroundTruth, V: Floats) -> Moments:
    mdp = known.mdp
    estimator = ExactEstimator(lambda t: mdp.rewards, mdp.gamma, mdp.gamma, np.ones(mdp.horizon), V[:-1])
    return moments(mdp, known.pi, known.z, estimator, known.gradient)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """The gap of each critic; and beside it, up to how many episodes the TD error's estimate is the better one."""
    rows = list(evidence.sort_values("error", kind="stable").itertuples())
    places = [Condition(f"{row.task}, {_critic(row.error)}", {"gap": Exact(row.gap)}) for row in rows]
    places += [
        Condition(f"{row.task}, {_critic(row.error)}: crossover", {"crossover": Exact(row.crossover)}, within=False)
        for row in rows
    ]
    poor = evidence[(evidence["bias_squared"] > 0) & (evidence["variance"] > evidence["variance_rtg"])]
    worse = [f"{row.task}, V off by {row.error:g} sd" for row in poor.itertuples()]
    remarks = [
        f"{task}: less mean squared error than G - V up to "
        + ", ".join(f"N = {row.crossover:,.0f} (V off by {row.error:g} sd)" for row in own.itertuples() if row.error)
        + "."
        for task, own in evidence.groupby("task", sort=False)
        if own["error"].any()
    ]
    remarks += [f"It loses on bias and on variance: {'; '.join(worse)}."] if worse else []
    return ClaimFinding(places, " ".join(remarks))


def _critic(error: float) -> str:
    return f"V off by {error:g} sd" if error else "true V"


def picture(evidence: pd.DataFrame) -> Figure:
    tasks = list(evidence["task"].unique())
    figure, panels = draw.figure(len(tasks), sharey=True)
    N = np.geomspace(1, 1e5, 60)
    for panel, task in zip(panels, tasks, strict=True):
        rows = evidence[(evidence["task"] == task) & evidence["error"].isin((0.0, 0.1, 0.3, 1.0))]
        for place, row in enumerate(rows.itertuples()):
            style = draw.look(place) | {"marker": ""}
            mse = (row.bias_squared + row.variance / N) / row.gradient_squared
            panel.plot(N, mse, label=f"TD error, {_critic(row.error)}", **style)
            if row.error in (0.0, 1.0):
                rtg = row.variance_rtg / N / row.gradient_squared
                panel.plot(N, rtg, color="black", linestyle=style["linestyle"], label=f"G − V, {_critic(row.error)}")
        panel.set(xscale="log", yscale="log", title=task, xlabel="episodes N")
    panels[0].set_ylabel("MSE of the estimate / |∇J|²")
    draw.legend(figure, *panels, columns=3)
    draw.heading(figure, "With more episodes noise falls, and the bias that a wrong V gives the TD error stays")
    return figure
