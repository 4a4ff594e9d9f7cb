"""theta <- theta + step(g): gradient ascent over a leading seed axis, elementwise and so bit-identical per seed."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Moments = dict[str, Tensor]


class Optimizer(Protocol):
    def initial(self, theta: Tensor) -> Moments:
        """What is carried from step to step, [S, P] each."""
        ...

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        """theta after step number `step` = 1, 2, ... along the gradient [S, P]."""
        ...


def clipped(gradient: Tensor, max_norm: float | None) -> Tensor:
    """g min(1, max_norm / |g|), for each seed by itself."""
    if max_norm is None:
        return gradient
    norm = gradient.square().sum(1, keepdim=True).sqrt()
    return gradient * (max_norm / norm.clamp_min(max_norm))


@dataclass(frozen=True)
class SGD:
    """theta <- theta + lr g: the ascent of the slide "How would you implement this?"."""

    lr: float
    max_grad_norm: float | None = None

    def initial(self, theta: Tensor) -> Moments:
        return {}

    def ascend(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
        return theta + self.lr * clipped(gradient, self.max_grad_norm), moments


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
        g = clipped(gradient, self.max_grad_norm)
        m = self.beta1 * moments["m"] + (1 - self.beta1) * g
        v = self.beta2 * moments["v"] + (1 - self.beta2) * g * g
        m_hat, v_hat = m / (1 - self.beta1**step), v / (1 - self.beta2**step)
        return theta + self.lr * m_hat / (v_hat.sqrt() + self.eps), {"m": m, "v": v}
