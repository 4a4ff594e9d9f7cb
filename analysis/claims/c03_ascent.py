"""C3: ascending the gradient raises J: the exact J(theta + alpha g) for sampled g, over alpha and N."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate import exact
from ablate.mdp import MDP
from ablate.randomness import stream

from ..verdicts import draw, variances
from ..verdicts.estimates import Exact
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

Floats = NDArray[np.float64]
ALPHAS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
ROUNDING = 1e-12  # a change of J below it is none
WHAT = {1: "one episode, in expectation", 0: "the exact gradient"}
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


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """task, N (0: the exact gradient; 1: every trajectory, exactly; more: drawn), alpha, gain = E[dJ] over alpha
    |grad J|^2 with its standard error (0 where exact), chance_up = P(dJ > 0); and where it is exact, the step sizes at
    which the gain first falls to 1/2 (`half`) and to 0 (`turns`), from a grid of 400 up to alpha = 100, inf beyond."""
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
        square = float(np.square(batches[0][1]).sum())
        for N, (weights, steps) in batches.items():
            ends = _small(mdp, pi, weights, steps) if N <= 1 else {"half": np.nan, "turns": np.nan}
            for alpha in ALPHAS:
                change = _changes(mdp, pi, alpha * steps)
                mean = float(weights @ change)
                spread = float(np.sqrt(weights @ (change - mean) ** 2 / len(change))) if N > 1 else 0.0
                up = float(weights @ (change > ROUNDING))
                scale = alpha * square
                numbers = {"gain": mean / scale, "error": spread / scale, "chance_up": up}
                rows.append({"task": task, "N": N, "alpha": alpha, **numbers, **ends})
    return pd.DataFrame(rows)


def _small(mdp: MDP, pi: Floats, weights: Floats, steps: Floats) -> dict[str, float]:
    """The first step size of a fine grid at which E[dJ] / (alpha |E g|^2) is 1/2 at most, and 0 at most."""
    grid = np.geomspace(1e-3, 100.0, 400)
    square = float(np.square(weights @ steps).sum())
    gains = np.array([weights @ _changes(mdp, pi, alpha * steps) for alpha in grid]) / (grid * square)
    found = {"half": gains <= 0.5, "turns": gains <= 0}
    return {name: float(grid[reached.argmax()]) if reached.any() else np.inf for name, reached in found.items()}


def _changes(mdp: MDP, pi: Floats, steps: Floats) -> Floats:
    """J(theta + step) - J(theta) for steps [M,d] of the weights W, logits = features @ W."""
    start = exact.J(mdp, pi)
    logits = np.log(pi)
    shifts = np.einsum("si,mia->msa", mdp.features, steps.reshape(len(steps), -1, mdp.num_actions))
    return np.array([exact.J(mdp, exact.softmax(logits + shift)) - start for shift in shifts])


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """At a small step and a large one: one episode's estimate in expectation, and the exact gradient."""
    exactly = evidence[evidence["error"] == 0]
    places = [
        Condition(f"{row.task}, {WHAT[row.N]}, alpha = {row.alpha:g}", {"gain": Exact(row.gain)})
        for alpha in sorted({exactly["alpha"].min(), exactly["alpha"].max()})
        for row in exactly[exactly["alpha"] == alpha].sort_values("N", ascending=False, kind="stable").itertuples()
    ]
    one = exactly[exactly["N"] == 1]
    remarks = [
        f"{task}: small is alpha below {rows['half'].iloc[0]:.3g}, up to where half of the promised rise is kept; on "
        f"average it rises up to {_up_to(rows['turns'].iloc[0])}; a single episode's smallest step raises J with "
        f"probability {rows.sort_values('alpha')['chance_up'].iloc[0]:.0%}."
        for task, rows in one.groupby("task", sort=False)
    ]
    return ClaimFinding(places, " ".join(remarks))


def _up_to(alpha: float) -> str:
    return f"alpha = {alpha:.3g}" if np.isfinite(alpha) else "every alpha tried, 100 the largest"


def picture(evidence: pd.DataFrame) -> Figure:
    tasks = list(evidence["task"].unique())
    figure, panels = draw.figure(len(tasks), height=2.8, sharey=True)
    for panel, task in zip(panels, tasks, strict=True):
        for place, (N, rows) in enumerate(evidence[(evidence["task"] == task)].groupby("N")):
            label = "exact gradient" if N == 0 else f"N = {N}"
            panel.plot(rows["alpha"], rows["chance_up"], label=label, **draw.look(place))
        panel.set(xscale="log", xlabel="step size α", title=task, ylim=(-0.03, 1.03))
    panels[0].set_ylabel("P(step raises J)")
    draw.legend(figure, *panels, columns=6)
    draw.heading(figure, "How often a step raises J, by its size and by the episodes N of its estimate")
    return figure
