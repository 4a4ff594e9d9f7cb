"""Multilayer perceptrons with a leading seed axis: S networks of one shape, run as batched products.

Parameters of all layers lie in one tensor theta [S, P], so an optimiser's step is a handful of elementwise
operations. Forward and backward are written out: the backward pass in the form that policy gradients need, where the
gradient of every layer is a sum over rows of (layer input) x (output score).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Initializer = Literal["uniform", "orthogonal"]
Layers = list[tuple[Tensor, Tensor | None]]


def tanh_(x: Tensor) -> Tensor:
    """tanh in place. NumPy's kernel: several times the speed of torch's on CPU, and as batch-invariant."""
    numbers = x.numpy()
    np.tanh(numbers, numbers)
    return x


def tanh_backward_(d: Tensor, h: Tensor) -> Tensor:
    """d (1 - h^2) in place."""
    return torch.ops.aten.tanh_backward.grad_input(d, h, grad_input=d)


def relu_backward_(d: Tensor, h: Tensor) -> Tensor:
    """d where h = relu(z) > 0, else 0, in place."""
    return torch.ops.aten.threshold_backward.grad_input(d, h, 0, grad_input=d)


# In place, and the derivative by z of h = f(z), times d, in place, written in h.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (tanh_, tanh_backward_),
    "relu": (torch.relu_, relu_backward_),
}


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, room: Tensor | None = None) -> Tensor:
    """a b + bias for batches of matrices [S, R, K] and [S, K, O], batch-invariant.

    A seed's bits do not depend on the others'. How a row's depend on the number of rows and on its place among them is
    the CPU's: see `fewest_rows`. For few such cases rows are filled up to a multiple of 4 with zeros, 9 to 11 columns
    to 12.

    MKL works all seeds through in one call, but keeps its widest vectors to Intel's processors. Large matrices go seed
    by seed to oneDNN, up to twice as fast on others; their product is put into ``room``, if there is any. One row and
    few columns are NumPy's, several times as fast; for one row it is batch-invariant too, where MKL's bits depend on
    where in memory a matrix lies.
    """
    rows, inner, columns = a.shape[1], b.shape[1], b.shape[2]
    if inner == 1:  # MKL takes several times as long, and on some CPUs rounds once or twice by how many matrices
        return a * b if bias is None else a * b + bias
    if rows % 4 and rows > 1:
        return product(torch.constant_pad_nd(a, (0, 0, 0, -rows % 4)), b, bias)[:, :rows]
    if rows == 1 or columns < FEW_COLUMNS:
        y = torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
        return y if bias is None else y.add_(bias)
    if 8 < columns < 12 or (columns == 8 and b.stride(2) > 1):  # the bits of 8 can depend on the place in memory
        wide = product(a, torch.constant_pad_nd(b, (0, 12 - columns)))[..., :columns]
        return wide if bias is None else wide + bias
    large = LARGE if a.stride(2) == 1 else 2 * LARGE  # oneDNN copies what is transposed
    if rows * inner * columns >= large and min(rows, inner, columns) >= 16 and ONEDNN:
        return _seed_by_seed(room, a, b, bias)
    return torch.bmm(a, b) if bias is None else torch.baddbmm(bias, a, b)


def store_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out <- a b, bit for bit the `product`; where it is large, without a copy in between."""
    found = product(a, b, room=out)
    if found is not out:
        out.copy_(found)


def _seed_by_seed(room: Tensor | None, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a b + bias, put into ``room`` where there is any; each seed's product is stored while it is in the cache."""
    linear = torch.ops.mkldnn._linear_pointwise.default  # x W' + b
    biases = [None] * len(a) if bias is None else bias[:, 0].unbind()
    products = (
        linear(x, w, c, "none", [], "") for x, w, c in zip(a.unbind(), b.transpose(1, 2).unbind(), biases, strict=True)
    )
    if room is None and len(a) == 1:
        return next(products)[None]
    out = a.new_empty(len(a), a.shape[1], b.shape[2]) if room is None else room
    for y, found in zip(out.unbind(), products, strict=True):
        y.copy_(found)
    return out


def orthogonal(stream: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float64]:
    """W [in, out], uniform over the matrices with W'W = 1, or W W' = 1 where there are fewer inputs than outputs.

    W = Q sign(diag R) of a matrix QR of normal numbers. Source: Saxe et al. (2014); Mezzadri (2007) for the signs.
    """
    tall = stream.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diagonal(r))
    return q if inputs >= outputs else q.T


ONEDNN = torch.backends.mkldnn.is_available()
LARGE, FEW_COLUMNS = 2**21, 8  # multiplications from which on, and columns below which, these pay


@cache
def fewest_rows(inner: int, columns: int, bias: bool, among: int) -> int:
    """Fewest rows from which on each row of a `product` has the bits that it has among ``among`` rows, at any place.

    Measured, since it is the CPU's: which kernel a library takes for a shape is written nowhere, and few kernels add in
    the same order. Another order shows in the bits of some of the random numbers here. ``among`` where there is no such
    number: on a CPU without AVX-512 a row's bits may depend on its place whatever the number of rows.
    """
    generator, S = torch.Generator().manual_seed(0), 32 if inner * columns < 256 else 2
    a, b, c = (
        torch.randn(S, rows, out, generator=generator) for rows, out in ((among, inner), (inner, columns), (1, columns))
    )
    whole = product(a, b, c if bias else None)
    fewest = among
    for rows in _fewer_rows(among):
        for kept in (torch.arange(rows), torch.arange(among - 1, among - 1 - rows, -1)):
            if not torch.equal(product(a[:, kept], b, c if bias else None), whole[:, kept]):
                return fewest
        fewest = rows
    return fewest


def _fewer_rows(among: int) -> list[int]:
    """Multiples of 4, to which a `product` fills its rows up: all below 192, above it three in a row here and there."""
    found, rows = [], among - 1 - (among - 1) % 4
    while rows >= 4:
        found += [rows] if rows < 192 else [rows, rows - 4, rows - 8]
        rows = rows - 4 if rows < 200 else (rows - rows // 4) // 4 * 4
    return found


@dataclass(frozen=True)
class Network:
    """y = W_L f(... f(x W_1 + b_1) ...) + b_L, followed by `free` outputs that are parameters themselves.

    f, the ``activation``, is tanh or relu. ``sizes`` = (inputs, hidden..., outputs); with no hidden layer and no bias
    the network is linear, and on one-hot inputs a table. Shapes: inputs [S, R, sizes[0]], outputs [S, R, sizes[-1] +
    free], theta [S, P]. ``initializer``: see `initial`.
    """

    sizes: tuple[int, ...]
    bias: bool = True
    free: int = 0
    last_scale: float = 1.0
    activation: Literal["tanh", "relu"] = "tanh"
    first_outputs: tuple[float, ...] | None = None
    initializer: Initializer = "uniform"

    @property
    def num_parameters(self) -> int:
        return sum(i * o + o * self.bias for i, o in pairwise(self.sizes)) + self.free

    def fewest_rows(self, among: int) -> int:
        """Fewest of ``among`` rows that, without the others, keep every bit of their outputs: `fewest_rows`."""
        return max(fewest_rows(i, o, self.bias, among) for i, o in pairwise(self.sizes))

    def layers(self, theta: Tensor) -> Layers:
        """Views (W [S, in, out], b [S, 1, out]) of each layer's part of theta."""
        views, start = [], 0
        for i, o in pairwise(self.sizes):
            weight = theta[:, start : start + i * o].view(len(theta), i, o)
            start += i * o
            bias = theta[:, None, start : start + o] if self.bias else None
            start += o * self.bias
            views.append((weight, bias))
        return views

    def parts(self) -> dict[str, slice]:
        """Where each layer (its weights and biases) and the free outputs stand in theta."""
        found, start = {}, 0
        for k, (i, o) in enumerate(pairwise(self.sizes), 1):
            stop = start + i * o + o * self.bias
            found[f"layer_{k}"], start = slice(start, stop), stop
        return found | ({"free": slice(start, start + self.free)} if self.free else {})

    def initial(self, streams: Sequence[np.random.Generator]) -> Tensor:
        """theta [S, P]: W uniform in +-sqrt(3 / in) (the last layer times ``last_scale``), all else 0. With relu W and
        b are uniform in +-1 / sqrt(in): torch's start, and so that of the peers that relu is here to agree with.

        A linear network starts at 0: a softmax policy then starts uniform. With ``first_outputs`` it starts there on
        one-hot inputs (every row of W), any other network near there (the last bias).

        The ``initializer`` "orthogonal" is that of Stable-Baselines3, linear networks included: every W is `orthogonal`
        with gain sqrt 2, the last with gain ``last_scale``, and all else is 0.
        """
        theta = torch.zeros(len(streams), self.num_parameters)
        if self.initializer == "orthogonal":
            for k, (weight, _) in enumerate(self.layers(theta)):
                gain = self.last_scale if k == len(self.sizes) - 2 else 2**0.5
                for s, stream in enumerate(streams):
                    weight[s] = torch.from_numpy((gain * orthogonal(stream, *weight.shape[1:])).astype(np.float32))
        elif len(self.sizes) > 2:
            for k, (weight, bias) in enumerate(self.layers(theta)):
                scale = self.last_scale if k == len(self.sizes) - 2 else 1.0
                bound = scale * ((3 if self.activation == "tanh" else 1) / self.sizes[k]) ** 0.5
                for s, stream in enumerate(streams):
                    weight[s] = torch.from_numpy(stream.uniform(-bound, bound, weight.shape[1:]).astype(np.float32))
                    if self.activation == "relu" and bias is not None:
                        bias[s] = torch.from_numpy(stream.uniform(-bound, bound, bias.shape[1:]).astype(np.float32))
        if self.first_outputs is not None:
            weight, bias = self.layers(theta)[-1]
            (weight if bias is None else bias)[:] = torch.tensor(self.first_outputs)
        return theta

    def forward(self, theta: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """outputs [S, R, O] and the input of every layer, [S, R, in] each, which `output_scores` takes."""
        return self.at(theta)(x)

    def at(self, theta: Tensor) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
        """`forward` at one theta, for many x: the layers are looked up once."""
        layers, (activate, _) = self.layers(theta), ACTIVATIONS[self.activation]

        def forward(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            inputs = []
            for k, (weight, bias) in enumerate(layers):
                x = activate(x) if k else x
                inputs.append(x)
                x = product(x, weight, bias)
            if self.free:
                x = torch.cat([x, theta[:, None, -self.free :].expand(-1, x.shape[1], -1)], dim=-1)
            return x, inputs

        return forward

    def output_scores(self, theta: Tensor, inputs: list[Tensor], d: Tensor) -> list[Tensor]:
        """d_l = dy/dz_l, the scores of every layer's outputs [S, R, out], from those of the network's, d [S, R, O].

        Backpropagation: d_{l-1} = (d_l W_l') f'(z_{l-1}), with f' written in h_l = f(z_{l-1}), the input of layer l:
        1 - h^2 for tanh, 1 where h > 0 for relu.
        """
        return self._output_scores(self.layers(theta), inputs, d)

    def _output_scores(self, layers: Layers, inputs: list[Tensor], d: Tensor) -> list[Tensor]:
        scores, (_, backward) = [d[..., : self.sizes[-1]]], ACTIVATIONS[self.activation]
        for k in range(len(layers) - 1, 0, -1):
            back = product(scores[-1], layers[k][0].transpose(1, 2))
            scores.append(backward(back, inputs[k]))
        return scores[::-1]

    def gradient(self, theta: Tensor, inputs: list[Tensor], d: Tensor) -> Tensor:
        """sum over rows of (layer input) x (output score), [S, P], for output scores d [S, R, O]."""
        return self.gradient_at(theta, torch.empty_like(theta))(inputs, d)

    def gradient_at(self, theta: Tensor, out: Tensor) -> Callable[[list[Tensor], Tensor], Tensor]:
        """`gradient` at one theta, in one place, for many inputs: the layers are looked up once."""
        layers, parts = self.layers(theta), self.layers(out)

        def gradient(inputs: list[Tensor], d: Tensor) -> Tensor:
            scores = self._output_scores(layers, inputs, d)
            for (weight, bias), h, score in zip(parts, inputs, scores, strict=True):
                # The narrower side on the left: a product with few columns is several times as slow.
                if score.shape[2] < h.shape[2]:
                    store_product(weight.transpose(1, 2), score.transpose(1, 2), h)
                else:
                    store_product(weight, h.transpose(1, 2), score)
                if bias is not None:
                    torch.sum(score, 1, keepdim=True, out=bias)
            if self.free:
                out[:, -self.free :] = d[..., -self.free :].sum(1)
            return out

        return gradient

    def weighted_gradients(self, theta: Tensor, inputs: list[Tensor], d: Tensor, weights: Tensor) -> Tensor:
        """g_k = sum over rows of w_rk (layer input) x (output score): K gradients [S, K, P] for weights [S, R, K].

        For output scores d [S, R, O]. The weights multiply the narrower side of each layer, and all K gradients of a
        layer are one product.
        """
        S, _, K = weights.shape
        w, over_rows = weights[..., None], weights.transpose(1, 2)
        gradients = torch.empty(S, K, theta.shape[1])
        for (weight, bias), h, score in zip(
            self.layers(gradients.flatten(0, 1)), inputs, self.output_scores(theta, inputs, d), strict=True
        ):
            to = weight.unflatten(0, (S, K))  # [S, K, in, out]
            if h.shape[2] <= score.shape[2]:
                weighted = (w * h[:, :, None]).flatten(2)
                to.copy_(product(weighted.transpose(1, 2), score).unflatten(1, (K, -1)))
            else:
                weighted = (w * score[:, :, None]).flatten(2)
                to.copy_(product(h.transpose(1, 2), weighted).unflatten(2, (K, -1)).transpose(1, 2))
            if bias is not None:
                bias.unflatten(0, (S, K))[:, :, 0] = product(over_rows, score)
        if self.free:
            gradients[..., -self.free :] = product(over_rows, d[..., -self.free :])
        return gradients
