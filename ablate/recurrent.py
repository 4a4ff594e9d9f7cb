"""A small causal language model with the seed axis: a gated recurrent unit over the tokens of an answer.

Prefixes are few in a token problem, so that the network is worked out once for each of them, along the tree in which a
prefix is its parent and one token more: a table of logits T(theta) [S, states, V], of which an observation, one-hot,
picks a row. Its gradient follows by autograd from that table's, with every product batch-invariant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablate.errors import UserError
from ablate.networks import Network, product
from ablate.policies import Categorical


class _Product(torch.autograd.Function):
    """`networks.product`, differentiated by itself."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return product(a, b)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return product(d, b.transpose(1, 2)), product(a.transpose(1, 2), d)


def _sigmoid(x: Tensor) -> Tensor:
    """(1 + tanh(x/2)) / 2: torch's own is not batch-invariant."""
    return (1 + torch.tanh(x / 2)) / 2


@dataclass(frozen=True)
class PrefixGRU(Network):
    """Logits of the next token after each prefix. With u the embedding of its last token, h the state of its parent,

        r = sigma(W_r u + a_r + U_r h + c_r),  z = sigma(W_z u + a_z + U_z h + c_z),
        n = tanh(W_n u + a_n + r (U_n h + c_n)),  h' = (1 - z) n + z h,  logits = W_o h' + b_o

    as `torch.nn.GRU` has it; h of the empty prefix is an embedding of the prompt. ``sizes`` = (states, units, V), the
    states those of `envs.tokens`: prompts x prefixes, and one after the end, whose logits are 0. Shapes as `Network`.

    Source: Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder".
    """

    horizon: int = 1
    embedding: int = 8

    @property
    def prefixes(self) -> int:
        return sum((self.sizes[2] - 1) ** t for t in range(self.horizon))

    @property
    def prompts(self) -> int:
        return (self.sizes[0] - 1) // self.prefixes

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Of the matrices in theta, in their order: rows multiply from the left."""
        units, V = self.sizes[1:]
        return {
            "prompts": (self.prompts, units),
            "tokens": (V - 1, self.embedding),
            "into": (self.embedding, 3 * units),  # r, z, n
            "into_bias": (1, 3 * units),
            "state": (units, 3 * units),
            "state_bias": (1, 3 * units),
            "out": (units, V),
            "out_bias": (1, V),
        }

    @property
    def num_parameters(self) -> int:
        return sum(a * b for a, b in self.shapes.values())

    def fewest_rows(self, among: int) -> int:
        """As of `networks.Network`."""
        return 1  # a one-hot row picks a row, whatever the others

    def matrices(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of theta [S, P], [S, rows, columns] each."""
        ends = np.cumsum([a * b for a, b in self.shapes.values()]).tolist()
        return {
            name: theta[:, end - a * b : end].reshape(len(theta), a, b)
            for (name, (a, b)), end in zip(self.shapes.items(), ends, strict=True)
        }

    def parts(self) -> dict[str, slice]:
        """The embeddings, the recurrent unit and the output layer."""
        sizes = [a * b for a, b in self.shapes.values()]
        first, second = sum(sizes[:2]), sum(sizes[:6])
        return {
            "layer_1": slice(0, first),
            "layer_2": slice(first, second),
            "layer_3": slice(second, self.num_parameters),
        }

    def initial(self, streams: Sequence[np.random.Generator]) -> Tensor:
        """Embeddings standard normal, the unit's weights uniform in +-1 / sqrt(units), as torch begins; the output
        layer small, so that the first policy is close to uniform."""
        theta = torch.zeros(len(streams), self.num_parameters)
        bound = self.sizes[1] ** -0.5
        for s, stream in enumerate(streams):
            for name, matrix in self.matrices(theta[s : s + 1]).items():
                if name in ("prompts", "tokens"):
                    drawn = stream.standard_normal(matrix.shape)
                elif name == "out_bias":
                    continue
                else:
                    drawn = stream.uniform(-bound, bound, matrix.shape) * (self.last_scale if name == "out" else 1)
                matrix.copy_(torch.from_numpy(drawn.astype(np.float32)))
        return theta

    def table(self, theta: Tensor) -> Tensor:
        """T, [S, states, V]."""
        w, (states, units, V) = self.matrices(theta), self.sizes
        S, P = len(theta), self.prompts
        inputs = _Product.apply(w["tokens"], w["into"]) + w["into_bias"]  # [S, tokens, 3 units]
        h, levels = w["prompts"], [w["prompts"].reshape(S, P, 1, units)]
        for _ in range(1, self.horizon):
            before = (_Product.apply(h, w["state"]) + w["state_bias"])[:, :, None]  # [S, P n, 1, 3 units]
            after = inputs[:, None]  # [S, 1, tokens, 3 units]
            r, z = (_sigmoid(before[..., k] + after[..., k]) for k in (slice(units), slice(units, 2 * units)))
            n = torch.tanh(after[..., 2 * units :] + r * before[..., 2 * units :])
            h = ((1 - z) * n + z * h[:, :, None]).reshape(S, -1, units)
            levels.append(h.reshape(S, P, -1, units))
        every = torch.cat(levels, 2).reshape(S, states - 1, units)
        logits = _Product.apply(every, w["out"]) + w["out_bias"]
        return torch.cat([logits, logits.new_zeros(S, 1, V)], 1)

    def forward(self, theta: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.at(theta)(x)

    def at(self, theta: Tensor) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
        table = self.table(theta)
        return lambda x: (product(x, table), [x])

    def gradient(self, theta: Tensor, inputs: list[Tensor], d: Tensor, out: Tensor | None = None) -> Tensor:
        found = self._pulled_back(theta, product(inputs[0].transpose(1, 2), d))
        return found if out is None else out.copy_(found)

    def weighted_gradients(self, theta: Tensor, inputs: list[Tensor], d: Tensor, weights: Tensor) -> Tensor:
        S, _, K = weights.shape
        weighted = (weights[..., None] * d[:, :, None]).flatten(2)  # [S, R, K V]
        of_table = product(inputs[0].transpose(1, 2), weighted).unflatten(2, (K, -1)).transpose(1, 2).flatten(0, 1)
        return self._pulled_back(theta.repeat_interleave(K, 0), of_table).unflatten(0, (S, K))

    def _pulled_back(self, theta: Tensor, d: Tensor) -> Tensor:
        """sum over the table of d T'(theta), [S, P], for d [S, states, V]."""
        with torch.enable_grad():
            leaf = theta.detach().clone().requires_grad_()
            (found,) = torch.autograd.grad(self.table(leaf), leaf, d.contiguous())
        return found


@dataclass(frozen=True)
class CausalGRU(Categorical):
    """pi(token | prompt, prefix) = softmax of a `PrefixGRU`. For the environments of `envs.tokens`, whose horizon and
    one-hot states it knows.

    Raises UserError where the observations are not the prompts and prefixes of answers of `horizon` tokens.
    """

    horizon: int = 1
    units: int = 16
    embedding: int = 8
    network: PrefixGRU = field(init=False)

    def __post_init__(self) -> None:
        if self.hidden:
            raise UserError(f"policy=gru has no policy.hidden; write policy.units={self.hidden[0]}")
        if self.initial_logits is not None:
            raise UserError("policy=gru begins close to uniform; leave out policy.initial_logits")
        if self.initializer != "uniform":
            raise UserError("policy=gru has initial weights of its own; leave out policy.initializer")
        sizes = (self.observation_size, self.units, self.action_size)
        network = PrefixGRU(sizes, last_scale=0.01, horizon=self.horizon, embedding=self.embedding)
        if not self.horizon or network.prompts < 1 or self.observation_size != network.prompts * network.prefixes + 1:
            raise UserError("policy=gru reads prompts and tokens; write env=tokens, checked_tokens or rewarded_tokens")
        object.__setattr__(self, "network", network)
