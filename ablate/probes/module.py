"""The gradient noise of any torch Module and any loss: a trainer that was not written here, measured in one call.

    found = ablate.probe(model, loss, batch)

g_i is the gradient of the loss of sample i, i = 1 .. N, at the present parameters; mu = E g, C = Cov g:

    trace_variance   tr C;   snr = |mu|^2 / tr C;   nsr = tr C / |mu|^2

nsr is the simple noise scale of McCandlish et al. (2018), the batch size at which noise and signal are equal. Several
losses are judged on the same samples and compared in pairs. All of it comes from inner products <g_i, g_j>, so memory
holds N x N numbers for each loss and a few gradients at a time.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablate.errors import UserError
from ablate.probes.per_sample import AT_ONCE, Loss, buffers_kept, per_sample_gradients, samples, to_numpy
from ablate.statistics import noise
from ablate.statistics.block_sums import blocks_of, gradients_of_gram
from ablate.statistics.formatting import counted
from ablate.statistics.interval import inverse

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
MIN_SAMPLES = 16  # samples: no error can be told from fewer
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
    parameters, nor their `.grad`, buffers, the batch, the mode of the model, nor torch's generators. Several losses see
    the same random numbers (dropout). With an ``optimizer`` that keeps second moments (Adam, AdamW, RMSprop) noise is
    also told in its metric, each parameter divided by sqrt(v) + eps.

    Raises UserError for fewer than 16 samples, a loss that fails, a loss or gradient that is not finite, one that needs
    no gradient, sums over samples, and batch normalisation in training mode, where a sample has no gradient of its own.
    """
    losses = dict(loss) if isinstance(loss, Mapping) else {_name(loss): loss}
    _check_callable(model, losses)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise UserError("no parameter of the model requires a gradient; call requires_grad_() on those to judge")
    if (count := samples(batch)) < MIN_SAMPLES:
        hint = "; a list is one of samples, tensors of all samples go in a tuple" if isinstance(batch, list) else ""
        raise UserError(f"{counted(count, 'sample')}: too few to tell noise from; give at least {MIN_SAMPLES}{hint}")
    scales = _scales(optimizer, parameters)
    with tempfile.TemporaryFile() as file:
        rows = _Rows(file, sum(p.numel() for p in parameters.values()))
        layers = []
        for name, each in losses.items():
            sums = _LayerSums(parameters)
            with buffers_kept(model), torch.random.fork_rng(), torch.enable_grad():
                for i, gradient in enumerate(per_sample_gradients(model, each, batch, parameters, name)):
                    row = np.concatenate([g.ravel() for g in gradient])
                    if not np.isfinite(row).all():
                        raise UserError(f"the gradient of {name} is not finite at sample {i} of its batch")
                    sums.add(gradient)
                    rows.append(row)
            layers += sums.table(name)
        gram = rows.gram(np.ones(1, np.float32))
        adam = rows.gram(np.concatenate([s.ravel() for s in scales])) if scales else None
    return GradientNoise(_table(list(losses), count, rows.size, gram, adam), _frame(layers), gram)


def _name(loss: Loss) -> str:
    name = getattr(loss, "__name__", "loss")
    return name if name.isidentifier() else "loss"  # a lambda has none


def _check_callable(model: Any, losses: Mapping[str, Loss]) -> None:
    if not isinstance(model, nn.Module):
        raise UserError(
            f"a {type(model).__name__} is no torch.nn.Module; give the model, then the loss, then the batch"
        )
    if not losses:
        raise UserError("there is no loss to judge; give loss(model, batch), or several by name")
    for name, loss in losses.items():
        try:
            inspect.signature(loss).bind(model, None)
        except TypeError:
            raise UserError(f"{name} is called as loss(model, batch); it takes other arguments") from None
        except ValueError:  # a function without a signature
            continue
    if lazy := [name for name, p in model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]:
        raise UserError(f"the parameter {lazy[0]} has no shape yet; call the model on some input first")
    if empty := [name for name, p in model.named_parameters() if p.is_meta]:
        raise UserError(f"the parameter {empty[0]} lies on the meta device, without numbers; load its weights first")
    norms = torch.nn.modules.batchnorm._BatchNorm
    coupled = [name for name, module in model.named_modules() if isinstance(module, norms) and module.training]
    if coupled:
        raise UserError(f"batch normalisation in training mode ({coupled[0]}) mixes samples; call model.eval() first")
    if strange := [name for name, p in model.named_parameters() if p.requires_grad and p.is_complex()]:
        raise UserError(f"the parameter {strange[0]} is complex; give real ones")


def _scales(optimizer: torch.optim.Optimizer | None, parameters: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
    """1 / (sqrt(v) + eps) of each parameter, with Adam's correction of v for its start."""
    if optimizer is None:
        return []
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"a {type(optimizer).__name__} is no torch optimizer; give Adam, AdamW or RMSprop, or leave it out"
        )
    settings = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found = []
    for name, p in parameters.items():
        state = optimizer.state.get(p, {})
        v = state.get("exp_avg_sq", state.get("square_avg"))
        if v is None:
            raise UserError(
                f"the optimizer has no second moment of {name} yet; give Adam, AdamW or RMSprop that has taken a step, "
                "or leave it out"
            )
        v = state.get("max_exp_avg_sq", v)  # AMSGrad
        if "grad_avg" in state:  # RMSprop about its mean
            v = v - state["grad_avg"] ** 2
        group = settings[id(p)]
        if "betas" in group:
            v = v / (1 - group["betas"][1] ** float(state["step"]))
        found.append(to_numpy(1 / (v.sqrt() + group["eps"])))
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
