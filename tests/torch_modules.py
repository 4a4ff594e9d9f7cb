"""Modules as a user may write them: some are policies, the others are refused."""

import torch
from torch import nn


class Net(nn.Module):
    """Of a width that is no multiple of anything: its products take what path they like."""

    def __init__(self, observation_size: int, outputs: int, width: int = 13) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(observation_size, width), nn.Tanh(), nn.Linear(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Lazy(nn.Module):
    """Layers that learn their sizes from the first call, one used twice, a frozen one, and an operation in place."""

    def __init__(self, observation_size: int, outputs: int) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.LazyLinear(9), nn.Linear(9, 9), nn.Linear(9, outputs, bias=False)
        self.scale = nn.Parameter(torch.full((9,), 0.5), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.again(torch.relu(self.again(self.first(x.mul_(1.5)))))
        return self.last(nn.functional.layer_norm(hidden, (9,)) * self.scale)


def both(observation_size: int, action_size: int) -> nn.Module:
    """A mean and a log sigma."""
    return Net(observation_size, 2 * action_size, width=7)


class Dropping(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.body(x))


class Normalising(Net):
    def __init__(self, observation_size: int, outputs: int) -> None:
        super().__init__(observation_size, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.body(x))


class Centring(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) - self.body(x).mean(0)


class Counting(Net):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.body(x) * self.calls


class Random(Net):
    def __init__(self, observation_size: int, outputs: int) -> None:
        super().__init__(observation_size, outputs)
        self.scale = torch.rand(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * self.scale


class Wide(Net):
    def __init__(self, observation_size: int, outputs: int) -> None:
        super().__init__(observation_size, outputs + 5)


class Detached(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).detach()


class Two(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x), 0.0  # type: ignore[return-value]


class Frozen(Net):
    def __init__(self, observation_size: int, outputs: int) -> None:
        super().__init__(observation_size, outputs)
        self.requires_grad_(False)


class Broken(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("not today")
