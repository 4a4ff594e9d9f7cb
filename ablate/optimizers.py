"""theta <- theta + step(g): gradient ascent over a leading seed axis, each seed by itself and so bit-identical."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ablate.errors import UserError
from ablate.models import Model, TabularModel

Moments = dict[str, Tensor]


class Optimizer(Protocol):
    def initial(self, theta: Tensor) -> Moments:
        """What is carried from step to step, [S, P] each."""
        ...

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        """theta after step number `step` = 1, 2, ... along the gradient [S, P]."""
        ...

    def scale(self, theta: Tensor, moments: Moments, steps: int) -> Tensor | None:
        """What each number of the next gradient is multiplied with, but for lr, after so many steps: [S, P]; None where
        no step has told, or where numbers are not multiplied one by one."""
        ...


def norm(gradient: Tensor) -> Tensor:
    """|g| of each seed, [S, P] -> [S]."""
    return torch.stack([torch.linalg.vector_norm(row) for row in gradient.unbind()])


def clip_(gradient: Tensor, max_norm: float | None) -> Tensor:
    """g <- g min(1, max_norm / |g|), for each seed by itself; returns |g| as it was, [S]."""
    length = norm(gradient)
    if max_norm is not None and (length > max_norm).any():
        gradient *= (max_norm / length.clamp_min(max_norm))[:, None]
    return length


def clipped(gradient: Tensor, max_norm: float | None) -> Tensor:
    """g min(1, max_norm / |g|), for each seed by itself."""
    if max_norm is None:
        return gradient
    clip_(gradient := gradient.clone(), max_norm)
    return gradient


@dataclass(frozen=True)
class SGD:
    """theta <- theta + lr g: the ascent of the slide "How would you implement this?"."""

    lr: float
    max_grad_norm: float | None = None

    def initial(self, theta: Tensor) -> Moments:
        return {}

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        return theta + self.lr * clipped(gradient, self.max_grad_norm), moments

    def scale(self, theta: Tensor, moments: Moments, steps: int) -> Tensor | None:
        """1."""
        return torch.ones_like(theta)


@dataclass(frozen=True)
class Adam:
    """theta <- theta + lr m^ / (sqrt(v^) + eps), m and v running means of g and g^2 (Kingma & Ba, 2015)."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    max_grad_norm: float | None = None

    def initial(self, theta: Tensor) -> Moments:
        return {"m": torch.zeros_like(theta), "v": torch.zeros_like(theta)}

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        theta, moments = theta.clone(), {name: x.clone() for name, x in moments.items()}
        self.ascend_(theta, gradient.clone(), moments, step)
        return theta, moments

    def ascend_(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> Tensor:
        """`ascend` in place, the gradient too, for large parameters; returns |g| before clipping, [S]."""
        length = clip_(gradient, self.max_grad_norm)
        # A unit of relu that no longer fires has gradient 0, and m decays to where floats lose digits and take a
        # hundred times as long: there it is 0.
        torch.set_flush_denormal(True)
        # torch's own kernel, in one pass over each seed's row: in a pass over all of them the last few numbers would
        # go through other code than the rest, and which those are depends on the number of seeds.
        torch._fused_adam_(
            theta.unbind(),
            gradient.unbind(),
            moments["m"].unbind(),
            moments["v"].unbind(),
            [],
            [torch.tensor(float(step))] * len(theta),
            lr=self.lr,
            beta1=self.beta1,
            beta2=self.beta2,
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=True,
        )
        torch.set_flush_denormal(False)
        return length

    def scale(self, theta: Tensor, moments: Moments, steps: int) -> Tensor | None:
        """1 / (sqrt(v^) + eps), v^ = v / (1 - beta2^steps)."""
        return 1 / ((moments["v"] / (1 - self.beta2**steps)).sqrt() + self.eps) if steps else None


@dataclass(frozen=True)
class RMSProp:
    """theta <- theta + lr g / (sqrt(v) + eps), v <- decay v + (1 - decay) g^2 (Tieleman & Hinton, 2012)."""

    lr: float
    decay: float = 0.99
    eps: float = 1e-5
    max_grad_norm: float | None = None

    def initial(self, theta: Tensor) -> Moments:
        return {"v": torch.zeros_like(theta)}

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        g = clipped(gradient, self.max_grad_norm)
        v, room = self.decay * moments["v"], (1 - self.decay) * g
        v += room.mul_(g)
        torch.sqrt(v, out=room).add_(self.eps)  # in place: new memory would take as long as the arithmetic
        return (self.lr * g).div_(room).add_(theta), {"v": v}

    def scale(self, theta: Tensor, moments: Moments, steps: int) -> Tensor | None:
        """1 / (sqrt(v) + eps)."""
        return 1 / (moments["v"].sqrt() + self.eps) if steps else None


MOST_PARAMETERS = 1024  # of which a matrix is inverted for every seed at every step
LEAST = 1e-6  # probability of an action, below which the rounding of float32 scores, 6e-8, is no longer small beside it


@dataclass(frozen=True)
class Natural:
    """theta <- theta + lr F^+ g, the natural gradient, with the Fisher matrix F of the policy in a known finite MDP:

        F = sum_t w^t sum_s P(s_t = s) sum_a pi(a|s) z(s,a) z(s,a)',    z(s,a) = grad log pi(a|s)

    w, the ``discount``, is the weight of scores: gamma with `discount_scores`, else 1. On a table of logits the natural
    gradient of J is the advantage A(s,a) less its mean over actions, whatever pi is.

    F^+ is the pseudo-inverse. theta stays as it is along directions that change no policy, such as the same number more
    for every logit of a state, and along those that hardly do, whose eigenvalue is at most 1e-6 x horizon: of an action
    so rare the rounding of g, which F^+ multiplies with 1 / pi(a), would decide.

    theta and g are [S, P], F is [S, P, P] in float64. Source: Kakade (2001), A natural policy gradient, NeurIPS.
    """

    model: TabularModel
    discount: float
    lr: float

    def initial(self, theta: Tensor) -> Moments:
        return {}

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        size, axes = np.linalg.eigh(self.model.fisher(theta, self.discount))  # F = axes diag(size) axes'
        inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > LEAST * self.model.mdp.horizon)
        along = (gradient.double().numpy()[:, None] @ axes)[:, 0] * inverse
        natural = (axes @ along[..., None])[..., 0]
        return theta + self.lr * torch.from_numpy(natural).to(theta.dtype), moments

    def scale(self, theta: Tensor, moments: Moments, steps: int) -> Tensor | None:
        """None: F^+ mixes the numbers of a gradient."""
        return None


def natural(model: Model | None, discount: float, lr: float) -> Natural:
    """Raises UserError where no finite MDP is known, or where F would be too large."""
    if not isinstance(model, TabularModel):
        raise UserError("optimizer=natural has no finite MDP of this environment; write optimizer=sgd")
    if (size := model.policy.network.num_parameters) > MOST_PARAMETERS:
        raise UserError(
            f"optimizer=natural would invert a matrix of {size} x {size} numbers for every seed at every step; "
            f"take a policy of at most {MOST_PARAMETERS} parameters, as policy.hidden=[]"
        )
    return Natural(model, discount, lr)
