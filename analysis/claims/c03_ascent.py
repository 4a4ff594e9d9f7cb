"""C3: ascending the gradient raises J: the exact J(theta + alpha g) for sampled g, over alpha and N."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate import exact
from ablate.mdp import MDP
from ablate.randomness import stream
from analysis.claims import draw, variances
from analysis.claims.study import Study
from analysis.claims.verdict import Verdict, from_exact

Floats = NDArray[np.float64]
ALPHAS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
UP = (1e-12, np.inf)
TASKS = {
    "sure two-armed bandit": variances.sure_bandit,
    "cost, then prize": variances.prize,
    "random MDP 0, rewards around 0": lambda: variances.random_task(0, 0.0),
}


def trajectories(mdp: MDP, pi: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Every trajectory's probability [M] and reward-to-go gradient sum_t z_t G_t [M,d], at gamma = 1."""
    found = list(_walk(mdp, pi, z))
    return np.array([p for p, _, _ in found]), np.stack([g for _, g, _ in found])


def _walk(mdp: MDP, pi: Floats, z: Floats) -> Iterator[tuple[float, Floats, float]]:
    for s, p in enumerate(mdp.rho0):
        if p > 0:
            yield from _from(mdp, pi, z, s, mdp.horizon, p)


def _from(mdp: MDP, pi: Floats, z: Floats, s: int, left: int, p: float) -> Iterator[tuple[float, Floats, float]]:
    """(probability, gradient, return) of every way to go on from s with `left` steps to go."""
    if left == 0 or mdp.terminal[s]:
        yield p, np.zeros(z.shape[-1]), 0.0
        return
    for a in range(mdp.num_actions):
        for successor, chance, reward in zip(
            mdp.successors[s, a], mdp.probabilities[s, a], mdp.rewards[s, a], strict=True
        ):
            if chance > 0 and pi[s, a] > 0:
                for q, g, later in _from(mdp, pi, z, successor, left - 1, p * pi[s, a] * chance):
                    yield q, g + z[s, a] * (reward + later), reward + later


def evidence(study: Study) -> pd.DataFrame:
    """task, N (0: the exact gradient; 1: every trajectory, exactly; more: drawn), alpha, change = E[dJ] with its
    standard error (0 where exact), chance_up = P(dJ > 0)."""
    rows = []
    for task, build in TASKS.items():
        mdp = build()
        pi = exact.softmax(mdp.logits)
        z = exact.scores(pi, mdp.features)
        p, g = trajectories(mdp, pi, z)
        rng = stream(0, f"claim C3, {task}")
        batches = {0: (np.ones(1), exact.gradient(mdp, pi, z)[None]), 1: (p, g)}
        for N in study.size["batches"]:
            counts = rng.multinomial(N, p / p.sum(), size=study.size["replicates"])
            batches[N] = np.full(len(counts), 1 / len(counts)), counts @ g / N
        for N, (weights, steps) in batches.items():
            for alpha in ALPHAS:
                change = _changes(mdp, pi, alpha * steps)
                mean = float(weights @ change)
                spread = float(np.sqrt(weights @ (change - mean) ** 2 / len(change))) if N > 1 else 0.0
                up = float(weights @ (change > UP[0]))
                rows.append({"task": task, "N": N, "alpha": alpha, "change": mean, "error": spread, "chance_up": up})
    return pd.DataFrame(rows)


def _changes(mdp: MDP, pi: Floats, steps: Floats) -> Floats:
    """J(theta + step) - J(theta) for steps [M,d] of the weights W, logits = features @ W."""
    start = exact.J(mdp, pi)
    logits = np.log(pi)
    shifts = np.einsum("si,mia->msa", mdp.features, steps.reshape(len(steps), -1, mdp.num_actions))
    return np.array([exact.J(mdp, exact.softmax(logits + shift)) - start for shift in shifts])


def judge(evidence: pd.DataFrame) -> Verdict:
    """At the smallest and the largest step: the exact gradient, and one episode's estimate in expectation."""
    places = []
    exactly = evidence[evidence["error"] == 0]
    for alpha in sorted({exactly["alpha"].min(), exactly["alpha"].max()}) if len(exactly) else ():
        for N, what in ((1, "one episode, in expectation"), (0, "the exact gradient")):
            rows = exactly[(exactly["N"] == N) & (exactly["alpha"] == alpha)]
            places += [
                from_exact(f"{row.task}, {what}, alpha = {alpha:g}", row.change, UP) for row in rows.itertuples()
            ]
    small = exactly[(exactly["N"] == 1) & (exactly["alpha"] == exactly["alpha"].min())]
    chances = ", ".join(f"{row.chance_up:.0%} ({row.task})" for row in small.itertuples())
    remark = f"A single episode's small step raises J with probability {chances}." if chances else ""
    return Verdict("C3", "change of J", tuple(places), remark)


def picture(evidence: pd.DataFrame) -> Figure:
    tasks = list(evidence["task"].unique())
    figure, panels = draw.figure(len(tasks), height=2.8, sharey=True)
    for panel, task in zip(panels, tasks, strict=True):
        for place, (N, rows) in enumerate(evidence[(evidence["task"] == task)].groupby("N")):
            label = "exact gradient" if N == 0 else f"N = {N}"
            panel.plot(rows["alpha"], rows["chance_up"], label=label, **draw.look(place))
        panel.set(xscale="log", xlabel="step size alpha", title=task, ylim=(-0.03, 1.03))
    panels[0].set_ylabel("P(step raises J)")
    panels[-1].legend()
    return figure
