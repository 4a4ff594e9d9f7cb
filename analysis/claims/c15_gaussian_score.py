"""C15: the score of a Gaussian policy is (a - mu) / sigma^2 for its mean, and its mean is 0."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.randomness import stream

from ..verdicts import draw
from ..verdicts.estimates import Exact
from ..verdicts.study import ClaimStudy
from ..verdicts.verdict import ClaimFinding, Condition

TOLERANCE = 1e-6
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)  # of e ~ N(0, 1)
CHANCES = WEIGHTS / WEIGHTS.sum()
CLIP = 1.0
GRID = np.linspace(-10, 10, 200_001)  # of e, for what is not smooth


def evidence(study: ClaimStudy) -> pd.DataFrame:
    """what, within (is it the slide's claim, or a limit of it) and error, the largest over all points, relative to the
    size of what is compared where that exceeds 1."""
    rng = stream(0, "claim C15")
    a, mu, log_sigma = rng.normal(0, 3, (3, study.size["points"]))
    log_sigma /= 3
    rows = [
        ("score for the mean against autograd, float64", True, _against_autograd(a, mu, log_sigma)),
        ("the engine's score against autograd, float32", True, _engine(a, mu, log_sigma)),
        ("E z = 0", True, max(float(np.abs(_mean(_scores(sigma))).max()) for sigma in (0.3, 1.0, 2.5))),
        ("Fisher information = diag(1/sigma², 2)", True, max(_fisher_gap(sigma) for sigma in (0.3, 1.0, 2.5))),
        (f"E z of an action clipped to [-{CLIP:g}, {CLIP:g}], mu = 1", False, abs(_clipped(1.0, 1.0))),
    ]
    return pd.DataFrame(rows, columns=["what", "within", "error"])


def _gap(x: np.ndarray, y: np.ndarray) -> float:
    return float((np.abs(x - y) / np.maximum(1.0, np.abs(y))).max())


def _against_autograd(a: np.ndarray, mu: np.ndarray, log_sigma: np.ndarray) -> float:
    import torch

    leaf = torch.tensor(mu, requires_grad=True)
    sigma = torch.tensor(np.exp(log_sigma))
    torch.distributions.Normal(leaf, sigma).log_prob(torch.tensor(a)).sum().backward()
    assert leaf.grad is not None
    return _gap((a - mu) / np.exp(2 * log_sigma), leaf.grad.numpy())


def _engine(a: np.ndarray, mu: np.ndarray, log_sigma: np.ndarray) -> float:
    """The Gaussian policy's own score for (mu, log sigma), spread=state, in single precision."""
    import torch

    from ablate.policies import Gaussian

    policy = Gaussian(1, 1, hidden=(), sigma=1.0, spread="state")
    outputs = torch.tensor(np.stack([mu, log_sigma], -1)[None], dtype=torch.float32, requires_grad=True)
    actions = torch.tensor(a[None, :, None], dtype=torch.float32)
    loc, scale = outputs[..., :1].double(), outputs[..., 1:].double().exp()
    torch.distributions.Normal(loc, scale).log_prob(actions.double()).sum().backward()
    assert outputs.grad is not None
    return _gap(policy.score(outputs.detach(), actions).numpy(), outputs.grad.numpy())


def _scores(sigma: float) -> np.ndarray:
    """z = (e / sigma, e^2 - 1) for (mu, log sigma) at the nodes, [nodes, 2]."""
    return np.stack([NODES / sigma, NODES**2 - 1], -1)


def _mean(x: np.ndarray) -> np.ndarray:
    return np.tensordot(CHANCES, x, 1)


def _fisher_gap(sigma: float) -> float:
    z = _scores(sigma)
    return _gap(_mean(z[:, :, None] * z[:, None, :]), np.diag([1 / sigma**2, 2.0]))


def _clipped(mu: float, sigma: float) -> float:
    """E[(clip(a) - mu) / sigma^2]: the density of the clipped action is another one, and this is not its score."""
    density = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi)
    taken = np.clip(mu + sigma * GRID, -CLIP, CLIP)
    return float(np.trapezoid(density * (taken - mu) / sigma**2, GRID))


def measure(evidence: pd.DataFrame) -> ClaimFinding:
    places = [
        Condition(row.what, {"error": Exact(row.error)}, within=bool(row.within)) for row in evidence.itertuples()
    ]
    return ClaimFinding(places, "A clipped or squashed action needs its own density's score.")


def picture(evidence: pd.DataFrame) -> Figure:
    title, errors = "How far the score is from what it should be", evidence.set_index("what")["error"]
    figure = draw.values(errors, title, "largest error", (-np.inf, TOLERANCE), TOLERANCE)
    panel = figure.axes[0]
    panel.set_xscale("symlog", linthresh=1e-17)
    panel.set_xlim(0, 3)
    panel.set_xticks([0, 1e-16, 1e-12, 1e-8, 1e-4, 1], ["0", *(f"$10^{{{k}}}$" for k in (-16, -12, -8, -4)), "1"])
    panel.minorticks_off()
    return figure
