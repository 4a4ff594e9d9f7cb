"""Per-trajectory gradients of any policy that is a torch module, by torch.func.

`gradients.gradient_chunks` knows the layers of its networks and is several times faster; this one knows nothing but
log pi(a|s).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from ablate.gradients import CHUNK, Floats
from ablate.trajectories import Trajectories


def module_gradient_chunks(modules: Sequence[nn.Module], episodes: Trajectories, phis: Floats) -> Iterator[Tensor]:
    """g_i = sum_t grad log pi(a_it|s_it) Phi_it of each episode i, under each of K variants, by vmap(grad).

    modules: S of one class, a seed each, with log_prob(observations [T, D], actions [T] or [T, A]) -> [T], in float32.
    phis [K, S, N, T] -> chunks [n, S, K, P] of consecutive episodes. P counts a module's parameters in the order of
    module.parameters(). Steps after an episode's end have Phi = 0, observation 0 and action 0; log_prob must be finite
    there.
    """
    scored = [_LogProb(module) for module in modules]
    parameters, buffers = stack_module_state(scored)
    P = sum(x[0].numel() for x in parameters.values())

    def loss(parameters: dict, buffers: dict, observations: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        return (functional_call(scored[0], (parameters, buffers), (observations, actions)) * weights).sum()

    of_variants = vmap(grad(loss), (None, None, None, None, 0))
    of_episodes = vmap(of_variants, (None, None, 0, 0, 1))
    of_seeds = vmap(of_episodes, (0, 0, 0, 0, 1), out_dims=1)

    K, S, N, _ = phis.shape
    size = max(1, CHUNK // (S * K * P))
    for start in range(0, N, size):
        chunk = slice(start, start + size)
        weights = np.where(episodes.mask[:, chunk], phis[:, :, chunk], 0).astype(np.float32)
        taken = (torch.from_numpy(x) for x in (episodes.observations[:, chunk], episodes.actions[:, chunk], weights))
        with torch.no_grad():
            found = of_seeds(parameters, buffers, *taken)
        yield torch.cat([x.reshape(*x.shape[:3], -1) for x in found.values()], -1)


class _LogProb(nn.Module):
    """A module whose call is another's log_prob, as `functional_call` needs it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self.module.log_prob(observations, actions)  # type: ignore[operator]
