"""Per-trajectory gradients of a torch module that the engine does not know, against a loop of backward()."""

import numpy as np
import pytest
import torch
from conftest import episodes_of, parameters, relative_error
from torch import Tensor, nn
from torch.distributions import Categorical as Distribution

from ablate import functional
from ablate.functional import module_gradient_chunks
from ablate.policies import Categorical

LENGTHS = [[5, 1, 9, 4], [2, 7, 1, 3]]


class Temperate(nn.Module):
    """A policy with what the engine's networks do not have: layer norm, a shared temperature, a buffer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4))
        self.temperature = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("shift", torch.randn(3))

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        logits = self.body(observations + self.shift) / self.temperature
        return torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]


@pytest.mark.parametrize("chunk", [1, functional.CHUNK])
def test_a_loop_of_backward_gives_the_same(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(functional, "CHUNK", chunk)
    modules = [Temperate(1), Temperate(2)]
    policy = Categorical(3, 4)
    episodes = episodes_of(policy, parameters(policy.network, (1, 2)), LENGTHS)
    phis = np.random.default_rng(5).normal(1, 3, (3, *episodes.mask.shape))
    found = torch.cat(list(module_gradient_chunks(modules, episodes, phis)))
    assert not found.requires_grad
    for k, s, i in np.ndindex(phis.shape[:3]):
        own = s, i, slice(episodes.lengths[s, i])
        module = modules[s].double()
        module.zero_grad()
        observations, actions = torch.from_numpy(episodes.observations[own]), torch.from_numpy(episodes.actions[own])
        logits = module.body(observations.double() + module.shift) / module.temperature
        (Distribution(logits=logits).log_prob(actions) * torch.from_numpy(phis[k][own])).sum().backward()
        wanted = torch.cat([x.grad.flatten() for x in module.parameters() if x.grad is not None])
        assert relative_error(found[i, s, k][None], wanted[None]) < 1e-5
