"""C18: specific action probabilities can be learnt: the short corridor, whose states look the same."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..verdicts import draw
from ..verdicts.estimates import Exact, Mean
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

BEST = 2 - np.sqrt(2)
J_BEST = -(6 + 4 * np.sqrt(2))
EPSILON = 0.1  # of the epsilon-greedy policies held against it


def J(p: np.ndarray) -> np.ndarray:
    """J(p) = -(4 - 2p) / (p (1 - p)), p = P(right)."""
    return -(4 - 2 * p) / (p * (1 - p))


def probability(entropy: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """p from the policy's entropy -p log p - (1 - p) log(1 - p), which p and 1 - p share: of the two, the one whose J
    is nearer to the mean return. The states look the same, so p is one number, and the entropy recorded is its own."""
    low, high = np.full(np.shape(entropy), 0.5), np.ones(np.shape(entropy))
    for _ in range(60):
        middle = (low + high) / 2
        inner = np.clip(middle, 1e-300, 1 - 1e-16)
        above = -(inner * np.log(inner) + (1 - inner) * np.log1p(-inner)) > entropy
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    p = np.clip(low, 1e-9, 1 - 1e-9)
    return np.where(np.abs(J(p) - returns) <= np.abs(J(1 - p) - returns), p, 1 - p)


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """learner, seed, p = P(right) at the end (NaN if greedy), value = J(p), or the greedy policy's mean return."""
    rows = []
    for seed, curve in study.curves({"env.name": "corridor", "algorithm.name": "policy_gradient"}).groupby("seed"):
        last = curve.sort_values("iteration").tail(max(1, len(curve) // 5))
        p = float(probability(last["entropy"].mean(), last["return_mean"].mean()))
        rows.append({"learner": "policy gradient", "seed": seed, "p": p, "value": float(J(np.array(p)))})
    for seed, curve in study.curves({"env.name": "corridor", "algorithm.name": "q_learning"}).groupby("seed"):
        greedy = float(curve.sort_values("iteration")["evaluation_return_mean"].dropna().iloc[-1])
        rows.append({"learner": "Q-learning", "seed": seed, "p": np.nan, "value": greedy})
    return pd.DataFrame(rows)


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    """Where policy gradients end. Beside them: the return of what they end at; of greedy Q-learning; and of the
    epsilon-greedy policies that prefer right, or left, at a usual epsilon and at the best one, exactly."""
    own, rival = (evidence[evidence["learner"] == name] for name in ("policy gradient", "Q-learning"))
    places = [
        Condition("short corridor, policy gradient", {"probability": Mean.of(own["p"])}),
        Condition("its return", {"regret": Mean.of(_regret(own["value"]))}, within=False),
    ]
    if len(rival):
        places.append(Condition("greedy Q-learning", {"regret": Mean.of(_regret(rival["value"]))}, within=False))
    for epsilon, side, p in (
        (EPSILON, "right", 1 - EPSILON / 2),
        (EPSILON, "left", EPSILON / 2),
        (2 - 2 * BEST, "right", BEST),  # the best epsilon of all
    ):
        what = f"epsilon-greedy for {side}, epsilon = {epsilon:.2g}, J = {J(np.array(p)):.1f}"
        places.append(Condition(what, {"regret": Exact(float(_regret(J(np.array(p)))))}, within=False))
    remark = (
        f"p* = {BEST:.4f}, J* = {J_BEST:.3f}. The best epsilon-greedy policy is this one, at epsilon = 2 - 2 p*, which "
        "Q-learning does not learn but is told. Only where states look alike: an MDP has a deterministic optimum."
    )
    return ClaimFinding(places, remark)


def _regret(value: np.ndarray | pd.Series) -> np.ndarray:
    return (J_BEST - np.asarray(value)) / abs(J_BEST)


def picture(evidence: pd.DataFrame) -> Figure:
    figure, (panel,) = draw.figure()
    p = np.linspace(0.05, 0.97, 300)
    panel.plot(p, J(p), color="black", label="J(p)")
    own = evidence[evidence["learner"] == "policy gradient"]
    panel.plot(own["p"], own["value"], label="policy gradient, a mark a seed", **draw.learner("policy gradient"))
    panel.axvline(BEST, color="black", linestyle=":", linewidth=0.8, label="p* = 2 − √2")
    rival = evidence[evidence["learner"] == "Q-learning"]
    if len(rival):
        shown, hue = f"greedy Q-learning ends at {rival['value'].mean():.0f}", draw.learner("Q-learning")["color"]
        arrow = {"arrowstyle": "->", "color": hue}
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "axes fraction", "arrowprops": arrow}
        panel.annotate(shown.replace("-1", "−1"), (0.3, 0.0), (0.3, 0.25), color=hue, ha="center", **place)
    panel.set(ylim=(-60, 0), xlabel="p = P(right)", ylabel="J", title="Where each learner ends")
    draw.legend(figure, panel)
    return figure
