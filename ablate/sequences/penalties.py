"""The term that a loss has in a reference policy: which estimator of KL(pi || ref), its coefficient and its sign.

Where all rewards are 0 no advantage is left, and the multipliers of the tokens are those of the term alone,

    c = -beta w g(x),     x = log ref - log pi,     g the derivative of k1, k2 or k3 by log pi (`kl.ESTIMATORS`)

so that g, beta and w are read off a grid of x.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ablate.sequences.definitions import AGGREGATIONS, SAME
from ablate.sequences.findings import Finding
from ablate.sequences.kl import ESTIMATORS
from ablate.sequences.subject import OLD, REF, Floats, Mask, Subject

GRID = np.array([-1.5, -0.7, -0.2, 0.3, 0.8, 1.2])
TURNED, BARE = "k3 of the ratio turned round, pi over ref", "rho - 1, k3 without its logarithm"
WRONG = {
    TURNED: "its mean is no KL divergence, and it grows without bound where pi is above ref",
    BARE: "its mean is 0 wherever the policy is",
}
DERIVATIVES: dict[str, Callable[[Floats], Floats]] = {
    **{name: derivative for name, (_, derivative) in ESTIMATORS.items()},
    TURNED: lambda x: np.expm1(-x),
    BARE: lambda x: -np.exp(x),
    "the absolute log-ratio": lambda x: -np.sign(x),
    "k1 differentiated through the sampling too": lambda x: 1 - x,
    "k2 differentiated through the sampling too": lambda x: x**2 / 2 - x,
}
"""By log pi, of log ref - log pi."""
MEANS = {
    "k1": "its gradient is 0 on average, so that it adds noise alone",
    "k2": "on average the gradient of KL(pi || ref) at each prefix; k3 differentiated through the sampling is the same",
    "k3": "on average the gradient of KL(ref || pi) at each prefix",
}


def penalty(subject: Subject, expected: str | None = None) -> list[Finding]:
    """The finding about the term in the reference, of a loss that takes REF; a term other than the one `expected` is a
    fault."""
    if REF not in subject.takes:
        return []
    told, fault, name = _told(subject)
    if expected is not None and name != expected:
        return [Finding("KL term", f"{told}, where {expected} is expected", True)]
    return [Finding("KL term", told, fault)]


def _told(subject: Subject) -> tuple[str, bool, str]:
    """What is told, whether it is a fault, and the name of the estimator."""
    masks = [
        np.arange(6) < np.array(L)[..., None] for L in ([[1, 4, 2, 3], [6, 5, 6, 4]], [[1, 1, 2, 6], [2, 1, 1, 3]])
    ]
    c = [np.stack([subject.penalty(mask, log_ref=np.full(mask.shape, x)) for x in GRID]) for mask in masks]
    if coupled := _coupled(subject, masks[0]):
        return coupled, False, ""
    if _by_rewards(subject, masks[0]):
        return "how much it counts depends on the rewards of the answer", True, ""
    if not np.any(c):
        return _without_gradient(subject, masks[0])
    if np.abs(c[0][:, ~masks[0]]).max() > 0:
        return "padded tokens count in it", True, ""
    found = [_estimator(each) for each in c]
    if found[0] is None or found[1] is None:
        return "none of k1, k2 and k3", False, ""
    name, w = found[0]
    told = f"{name}{_with_ratio(subject, masks[0])}, {_coefficient([np.abs(w), np.abs(found[1][1])], masks)}"
    if w[masks[0]].mean() < 0:
        return f"{told}; its sign is wrong: the loss falls as the policy leaves the reference", True, name
    if name in WRONG:
        return f"{told}; {WRONG[name]}", True, name
    return "; ".join(filter(None, (told, MEANS.get(name, "")))), False, name


def _estimator(c: Floats) -> tuple[str, Floats] | None:
    """The name, and beta w of every token [B, N, L], of multipliers at each x of GRID; None of none known."""
    for name, derivative in DERIVATIVES.items():
        w = -c / derivative(GRID)[:, None, None, None]
        if np.ptp(w, axis=0).max() <= 10 * SAME * np.abs(w).max():
            return name, w.mean(0)
    return None


def _coefficient(weights: Sequence[Floats], masks: Sequence[Mask]) -> str:
    """beta and the aggregation that has it in every batch, in words."""
    for name, of in AGGREGATIONS.items():
        parts = []
        for w, mask in zip(weights, masks, strict=True):
            parts.append(w[mask] / np.broadcast_to(of(mask.sum(-1).astype(np.float64))[..., None], w.shape)[mask])
        beta = np.concatenate(parts)
        if np.ptp(beta) <= 10 * SAME * beta.max():
            return f"coefficient {beta.mean():.4g}, {name}"
    return "its tokens weighted by no aggregation known here"


def _by_rewards(subject: Subject, mask: Mask) -> bool:
    """Whether answers of other rewards have another term."""
    rewards, x = np.random.default_rng(1).normal(size=(2, 4)), np.full(mask.shape, 0.7)
    alone, both = subject.multipliers(rewards, mask), subject.multipliers(rewards, mask, log_ref=x)
    return bool(np.abs(both - alone).max() > 10 * SAME * np.abs(alone).max())


def _without_gradient(subject: Subject, mask: Mask) -> tuple[str, bool, str]:
    zero = np.zeros(mask.shape[:2])
    values = [subject.gradient(zero, mask, log_ref=np.full(mask.shape, x))[0] for x in (0.0, 0.7)]
    if abs(values[1] - values[0]) > SAME:
        return "it has a value and no gradient: was log_probs detached?", True, ""
    return f"{REF} has no influence", False, ""


def _with_ratio(subject: Subject, mask: Mask) -> str:
    """Whether it counts by the importance ratio too."""
    if OLD not in subject.takes:
        return ""
    x, d = np.full(mask.shape, 0.7), np.full(mask.shape, 0.1)
    plain, other = subject.penalty(mask, log_ref=x), subject.penalty(mask, log_ratio=d, log_ref=x)
    return " times the importance ratio" if np.allclose(other, plain * np.exp(0.1), rtol=1e-4) else ""


def _coupled(subject: Subject, mask: Mask) -> str:
    """Of a term in which tokens count by what the reference says of others: of which; else ""."""
    one = np.zeros(mask.shape)
    one[1, 0, 2] = 0.9
    moved = np.abs(subject.penalty(mask, log_ref=one) - subject.penalty(mask)) > 1e-12
    if moved[0].any() or moved[1, 1:].any():
        return "part of the reward: it enters the advantages, other answers' too; it is not looked into further"
    moved[1, 0, 2] = False
    return (
        "of whole answers, not of tokens, or part of the reward; it is not looked into further" if moved.any() else ""
    )
