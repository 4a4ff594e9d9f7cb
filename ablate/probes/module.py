"""The gradient noise of any torch Module and any loss: a trainer that was not written here, measured in one call.

    found = ablate.probe(model, loss, batch)

g_i is the gradient of the loss of sample i, i = 1 .. N, at the present parameters; mu = E g, C = Cov g:

    trace_variance   tr C;   snr = |mu|^2 / tr C;   nsr = tr C / |mu|^2

nsr is the simple noise scale of McCandlish et al. (2018), the batch size at which noise and signal are equal. Several
losses are judged on the same samples and compared in pairs. All of it comes from inner products <g_i, g_j>, so memory
holds N x N numbers for each loss and a few gradients at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.refusal import Refusal
from ablate.statistics import noise
from ablate.statistics.block_sums import blocks_of, gradients_of_gram
from ablate.statistics.interval import inverse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Loss = Callable[[nn.Module, Any], Tensor]

AT_ONCE = 256 * 2**20  # bytes of per-sample gradients that are held at a time
FEWEST = 16  # samples: no error can be told from fewer
COSINE_BATCHES = 8


@dataclass(frozen=True)
class GradientNoise:
    """What `probe` found.

    | field  | meaning                                                                                        |
    |--------|------------------------------------------------------------------------------------------------|
    | table  | a row a loss: samples, parameters, trace_variance, squared_signal, snr, nsr, pairwise_cosine,  |
    |        | log_ratio (of tr C over the first loss's, on the same samples); NAME_low, NAME_high: 95%       |
    |        | limits; with an optimizer also adam_trace_variance and adam_nsr                                |
    | layers | a row a loss and parameter: its size, its share of tr C, and its own nsr (point estimates)     |
    | gram   | <g_i, g_j> of all losses' samples, [K N, K N]                                                  |
    """

    table: pd.DataFrame
    layers: pd.DataFrame
    gram: Floats

    @property
    def critical_batch_size(self) -> pd.Series:
        """nsr of each loss: inf where the sample sets no bound."""
        return self.table["nsr"]

    def plot(self) -> Figure:
        """Noise-to-signal ratio with its limits, and where the variance lies by layer."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 1.6 + 0.5 * len(self.table)), layout="constrained")
        left, right = figure.subplots(1, 2)
        for row, (name, found) in enumerate(self.table.iterrows()):
            ends = np.array([found["nsr_low"], found["nsr_high"]])
            finite = np.where(np.isfinite(ends), ends, found["nsr_low"] * 100)
            left.plot(finite, [row, row], color=f"C{row}", lw=2)
            if np.isfinite(found["nsr"]):
                left.plot([found["nsr"]], [row], "o", color=f"C{row}")
            share = self.layers[self.layers["loss"] == name]
            right.plot(share["share"], range(len(share)), "o-", color=f"C{row}", label=str(name))
        left.set(xscale="log", yticks=range(len(self.table)), yticklabels=map(str, self.table.index))
        left.set(xlabel="noise-to-signal ratio = critical batch size (95% limits)")
        first = self.layers[self.layers["loss"] == self.table.index[0]]
        right.set(
            yticks=range(len(first)), yticklabels=first["parameter"], xlabel="share of the trace variance", xlim=(0, 1)
        )
        right.invert_yaxis()
        if len(self.table) > 1:
            right.legend(frameon=False)
        return figure

    def _repr_html_(self) -> str:
        shown = [
            "samples",
            "parameters",
            "trace_variance",
            "nsr",
            "nsr_low",
            "nsr_high",
            "pairwise_cosine",
            "log_ratio",
        ]
        return self.table[shown].to_html(float_format=lambda x: "unbounded" if np.isinf(x) else f"{x:.4g}")


def probe(
    model: nn.Module,
    loss: Loss | Mapping[str, Loss],
    batch: Any,
    optimizer: torch.optim.Optimizer | None = None,
) -> GradientNoise:
    """Measure the gradient noise of one loss or several on the samples of a batch.

    ``loss(model, batch)`` returns the vector of the samples' losses, [N]. If it returns a single number it is called
    with one sample at a time: a batch of one where `batch` is a tensor, a tuple or a dictionary of tensors (cut along
    the first axis), an element where it is a list. ``batch`` is a list of samples or such tensors of N rows.

    The parameters that require a gradient are judged, where they lie (a GPU too); nothing is changed, neither
    parameters, nor their `.grad`, nor the mode of the model. With an ``optimizer`` that keeps second moments (Adam,
    AdamW, RMSprop) noise is also told in its metric, each parameter divided by sqrt(v) + eps.

    Raises Refusal for fewer than 16 samples, a loss that is not finite or needs no gradient, and sums over samples.
    """
    losses = dict(loss) if isinstance(loss, Mapping) else {getattr(loss, "__name__", "loss"): loss}
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise Refusal("no parameter of the model requires a gradient; call requires_grad_() on those to judge")
    if (count := samples(batch)) < FEWEST:
        raise Refusal(f"{count} samples are too few to tell noise from; give at least {FEWEST}")
    scales = _scales(optimizer, parameters)
    with tempfile.TemporaryFile() as file:
        rows = _Rows(file, sum(p.numel() for p in parameters.values()))
        layers = []
        for name, each in losses.items():
            sums = _LayerSums(parameters)
            for gradient in per_sample_gradients(model, each, batch, parameters, name):
                sums.add(gradient)
                rows.append(np.concatenate([g.ravel() for g in gradient]))
            layers += sums.table(name)
        gram = rows.gram(np.ones(1, np.float32))
        adam = rows.gram(np.concatenate([s.ravel() for s in scales])) if scales else None
    return GradientNoise(_table(list(losses), count, rows.size, gram, adam), _frame(layers), gram)


def per_sample_gradients(
    model: nn.Module, loss: Loss, batch: Any, parameters: Mapping[str, Tensor], name: str = "loss"
) -> Iterator[list[NDArray[np.float32]]]:
    """g_i as a list of arrays, one a parameter, sample by sample.

    Of a vector of losses in chunks of vector-Jacobian products where the operations allow it, else one by one; of a
    loss of one sample by `backward`.
    """
    number, wanted = samples(batch), list(parameters.values())
    whole = loss(model, batch) if not isinstance(batch, list) else None
    if whole is not None and whole.numel() == number and whole.shape[:1] == (number,):  # [N, 1] too
        whole = whole.reshape(number)
        _check(whole, name)
        size = max(1, AT_ONCE // (4 * sum(p.numel() for p in wanted)))
        for start in range(0, number, size):
            chosen = range(start, min(start + size, number))
            yield from _jacobian_rows(whole, wanted, chosen)
        return
    for i in range(number):
        value = loss(model, _sample(batch, i))
        if value.numel() != 1:
            raise Refusal(
                f"{name} returned shape {tuple(value.shape)}; return the losses of the {number} samples, [{number}], "
                "or a single number of one sample"
            )
        _check(value, name)
        gradients = torch.autograd.grad(value.reshape(()), wanted, allow_unused=True)
        yield [_array(g, p) for g, p in zip(gradients, wanted, strict=True)]


def _jacobian_rows(losses: Tensor, wanted: list[Tensor], chosen: range) -> Iterator[list[NDArray[np.float32]]]:
    unit = torch.zeros((len(chosen), len(losses)), dtype=losses.dtype, device=losses.device)
    unit[torch.arange(len(chosen)), torch.arange(chosen.start, chosen.stop)] = 1
    differentiate = partial(torch.autograd.grad, losses, wanted, retain_graph=True, allow_unused=True)
    try:
        together = differentiate(grad_outputs=unit, is_grads_batched=True)
        filled = [
            np.broadcast_to(0.0, (len(chosen), *p.shape)) if g is None else _numpy(g)
            for g, p in zip(together, wanted, strict=True)
        ]
        yield from ([g[i] for g in filled] for i in range(len(chosen)))
    except RuntimeError:  # an operation without a batching rule
        for row in unit:
            yield [_array(g, p) for g, p in zip(differentiate(grad_outputs=row), wanted, strict=True)]


def samples(batch: Any) -> int:
    """N. Raises Refusal where the parts of a batch differ in it."""
    if isinstance(batch, list):
        return len(batch)
    parts = _leaves(batch)
    sizes = {len(part) for part in parts}
    if len(sizes) != 1:
        raise Refusal(
            f"the parts of the batch have {sorted(sizes)} rows; give tensors of N rows each, or a list of samples"
        )
    return sizes.pop()


def _leaves(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return [leaf for part in batch.values() for leaf in _leaves(part)]
    if isinstance(batch, tuple):
        return [leaf for part in batch for leaf in _leaves(part)]
    raise Refusal(f"a batch is a list of samples or holds tensors, not {type(batch).__name__}")


def _sample(batch: Any, i: int) -> Any:
    if isinstance(batch, list):
        return batch[i]
    if isinstance(batch, Mapping):
        return {name: _sample(part, i) for name, part in batch.items()}
    return tuple(_sample(part, i) for part in batch) if isinstance(batch, tuple) else batch[i : i + 1]


def _check(value: Tensor, name: str) -> None:
    if not value.requires_grad:
        raise Refusal(f"{name} does not depend on the parameters: was it detached, or computed under no_grad?")
    if not value.isfinite().all():
        raise Refusal(
            f"{name} is not finite at sample {int((~value.reshape(-1).isfinite()).nonzero()[0])} of its batch"
        )


def _array(gradient: Tensor | None, parameter: Tensor) -> NDArray[np.float32]:
    return np.zeros(parameter.shape, np.float32) if gradient is None else _numpy(gradient)


def _numpy(x: Tensor) -> NDArray[np.float32]:
    return x.detach().to("cpu", torch.float32).numpy()


def _scales(optimizer: torch.optim.Optimizer | None, parameters: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
    """1 / (sqrt(v) + eps) of each parameter, with Adam's correction of v for its start."""
    if optimizer is None:
        return []
    settings = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found = []
    for name, p in parameters.items():
        state = optimizer.state.get(p, {})
        v = state.get("exp_avg_sq", state.get("square_avg"))
        if v is None:
            raise Refusal(
                f"the optimizer has no second moment of {name} yet; give one that has taken a step, or leave it out"
            )
        group = settings[id(p)]
        if "betas" in group:
            v = v / (1 - group["betas"][1] ** float(state["step"]))
        found.append(_numpy(1 / (v.sqrt() + group["eps"])))
    return found


class _Rows:
    """Gradients as rows of a file, and their inner products, some columns at a time."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.count = file, size, 0

    def append(self, row: NDArray[np.float32]) -> None:
        self.file.write(np.ascontiguousarray(row, np.float32).tobytes())
        self.count += 1

    def gram(self, scale: NDArray[np.float32]) -> Floats:
        """<s g_i, s g_j>, [count, count]."""
        self.file.flush()
        result = np.zeros((self.count, self.count))
        width = max(1, AT_ONCE // (16 * self.count))
        for start in range(0, self.size, width):
            end = min(start + width, self.size)
            block = np.empty((self.count, end - start))
            for i in range(self.count):
                self.file.seek(4 * (i * self.size + start))
                block[i] = np.frombuffer(self.file.read(4 * (end - start)), np.float32)
            if scale.size > 1:
                block *= scale[start:end]
            result += block @ block.T
        return result


class _LayerSums:
    """Sums over samples, from which each parameter's share of the trace variance follows."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.names = {name: p.numel() for name, p in parameters.items()}
        self.origin: Sequence[Floats] = []
        self.sums: list[Floats] = []
        self.squares = np.zeros(len(self.names))
        self.count = 0

    def add(self, gradient: Sequence[NDArray[np.float32]]) -> None:
        if not self.count:  # sums of differences from the first: no cancellation under a large mean
            self.origin = [g.astype(np.float64) for g in gradient]
            self.sums = [np.zeros(g.shape) for g in gradient]
        for k, (g, first) in enumerate(zip(gradient, self.origin, strict=True)):
            difference = g - first
            self.sums[k] += difference
            self.squares[k] += np.square(difference).sum()
        self.count += 1

    def table(self, loss: str) -> list[dict[str, Any]]:
        n = self.count
        traces = [(q - np.square(s).sum() / n) / (n - 1) for q, s in zip(self.squares, self.sums, strict=True)]
        total = sum(traces)
        rows = []
        for (name, size), trace, first, s in zip(self.names.items(), traces, self.origin, self.sums, strict=True):
            signal = np.square(first + s / n).sum() - trace / n
            nsr = trace / signal if signal > 0 else np.inf
            share = trace / total if total else np.nan
            rows.append(
                {"loss": loss, "parameter": name, "size": size, "share": share, "trace_variance": trace, "nsr": nsr}
            )
        return rows


def _table(names: list[str], count: int, size: int, gram: Floats, adam: Floats | None) -> pd.DataFrame:
    columns: dict[str, Any] = {"samples": count, "parameters": size} | _measures(gram, len(names))
    if adam is not None:
        found = _measures(adam, len(names))
        kept = ("trace_variance", "nsr")
        columns |= {f"adam_{key}": value for key, value in found.items() if key.startswith(kept)}
    return _frame(columns, names)


def _measures(gram: Floats, losses: int) -> dict[str, Floats]:
    """Columns [K] and their limits. Rows with the same inner products have the same statistics."""
    rows = gradients_of_gram(gram)
    blocks = blocks_of(rows.reshape(losses, len(rows) // losses, -1).transpose(1, 0, 2))
    ratio = noise.snr(blocks)
    intervals = {
        "trace_variance": noise.trace_variance(blocks),
        "squared_signal": noise.squared_signal(blocks),
        "snr": ratio,
        "nsr": inverse(ratio),
        "pairwise_cosine": noise.pairwise_cosine(blocks, COSINE_BATCHES),
        "log_ratio": noise.paired_log_ratio(blocks, 0),
    }
    columns: dict[str, Floats] = {}
    for name, (value, low, high) in intervals.items():
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return columns


def _frame(rows: Any, index: Sequence[str] | None = None) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, index=index)
