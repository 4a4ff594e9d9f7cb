"""Estimators of KL(pi || ref) from answers of pi, and what their gradients are, exactly.

With rho = ref / pi of an answer's tokens and sums over these:

    k1 = sum_t -log rho_t      k2 = sum_t (log rho_t)^2 / 2      k3 = sum_t rho_t - 1 - log rho_t

k1 and k3 have the mean KL(pi || ref) = sum_t E KL(pi(.|prefix_t) || ref(.|prefix_t)); k2 has not. As terms of a loss
that is differentiated with the answers held fixed they behave otherwise, token by token: E grad k1 = 0; E grad k2 is
the gradient of KL(pi || ref) at each prefix, and E grad k3 that of KL(ref || pi), with the chances of the prefixes held
fixed. As a part of the reward, where k multiplies the score S, grad KL(pi || ref) = E[k S] + E grad k holds for k1 and
k3: k1 in the reward is unbiased, and k3 in the reward leaves E grad k3 out. Schulman (2020), "Approximating KL
divergence".
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.sequences.problem import TokenProblem

Floats = NDArray[np.float64]

ESTIMATORS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "k1": (lambda x: -x, lambda x: np.ones_like(x)),
    "k2": (lambda x: x**2 / 2, lambda x: -x),
    "k3": (lambda x: np.expm1(x) - x, lambda x: -np.expm1(x)),
}
"""Of x = log rho of a token: its value, and c in its gradient c z, since grad x = -z."""


@dataclass(frozen=True)
class KLMoments:
    """Of one answer to a prompt drawn alike from all.

    | field           | shape | meaning                                                   |
    |-----------------|-------|-----------------------------------------------------------|
    | kl              | -     | KL(pi || ref), the mean over prompts                      |
    | mean            | -     | E k                                                       |
    | variance        | -     | Var k                                                     |
    | gradient        | [P,D] | grad KL(pi || ref)                                        |
    | mean_gradient   | [P,D] | E grad k: as a loss, the answer held fixed                |
    | loss_variance   | -     | tr Cov grad k                                             |
    | reward_gradient | [P,D] | E[k S]: as a part of the reward, its sign turned          |
    | reward_variance | -     | tr Cov[k S]                                               |
    """

    kl: float
    mean: float
    variance: float
    gradient: Floats
    mean_gradient: Floats
    loss_variance: float
    reward_gradient: Floats
    reward_variance: float

    @property
    def bias(self) -> float:
        """E k - KL."""
        return self.mean - self.kl


def kl_moments(problem: TokenProblem, logits: ArrayLike, reference: ArrayLike, estimator: str) -> KLMoments:
    """Exact moments of "k1", "k2" or "k3" for policies with logits [P, prefixes, V]."""
    value, multiplier = ESTIMATORS[estimator]
    log_pi, log_ref = problem.token_log_probs(logits), problem.token_log_probs(reference)
    z, chances = problem.token_scores(logits), np.exp(log_pi.sum(-1)) / problem.prompts
    taken = np.arange(problem.horizon) < problem.lengths[:, None]
    x = log_ref - log_pi
    k = (value(x) * taken).sum(-1)
    log_ratio = -x.sum(-1)
    mean = float((chances * k).sum())
    as_loss = np.einsum("xyh,xyhd->xyd", multiplier(x) * taken, z)
    as_reward = k[..., None] * z.sum(2)
    (of_loss, loss_variance), (of_reward, reward_variance) = (_moments(chances, g) for g in (as_loss, as_reward))
    return KLMoments(
        kl=float((chances * log_ratio).sum()),
        mean=mean,
        variance=float((chances * np.square(k - mean)).sum()),
        gradient=np.einsum("xy,xyhd->xd", chances * log_ratio, z),
        mean_gradient=of_loss,
        loss_variance=loss_variance,
        reward_gradient=of_reward,
        reward_variance=reward_variance,
    )


def _moments(chances: Floats, g: Floats) -> tuple[Floats, float]:
    """E g [P, D] and tr Cov g of answers [P, Y] with gradients [P, Y, D] for their prompts' parameters."""
    mean = np.einsum("xy,xyd->xd", chances, g)
    return mean, float((chances * np.square(g).sum(-1)).sum() - np.square(mean).sum())
