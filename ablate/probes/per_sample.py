"""The gradient of the loss of each sample of a batch, of any torch Module."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from ablate.errors import UserError

Loss = Callable[[nn.Module, Any], Tensor]

AT_ONCE = 256 * 2**20  # bytes of per-sample gradients that are held at a time
DETACHED = "{} does not depend on the parameters: was it detached, or computed under no_grad?"


def per_sample_gradients(
    model: nn.Module, loss: Loss, batch: Any, parameters: Mapping[str, Tensor], name: str = "loss"
) -> Iterator[list[NDArray[np.float32]]]:
    """g_i as a list of arrays, one a parameter, sample by sample.

    A sample that has the loss alone that it has in the batch is differentiated alone, many at a time by torch.func
    where the operations allow it, else by a backward pass each. Where the losses hang together, as rows of the
    Jacobian of their vector, by a backward pass each. The loss is handed copies, which it may change in place.
    """
    number = samples(batch)
    whole = None if isinstance(batch, list) else _losses(model, loss, batch, name)
    if whole is not None and whole.numel() == number and whole.shape[:1] == (number,):  # [N, 1] too
        whole = whole.reshape(number)
        _check(whole, name)
        if not _are_alone(model, loss, batch, whole.detach()):
            for value in whole:
                yield _differentiated(value, parameters, name, again=True)
            return
    elif whole is not None and not whole.requires_grad:
        raise UserError(DETACHED.format(name))
    del whole
    start = 0
    if not isinstance(batch, list):
        for gradient in _together(model, loss, batch, parameters):
            yield gradient
            start += 1
    for i in range(start, number):
        value = _losses(model, loss, _sample(batch, i), name)
        if value.numel() != 1:
            raise UserError(
                f"{name} returned shape {tuple(value.shape)}; return the losses of the {number} samples, [{number}], "
                "or a single number of one sample"
            )
        _check(value, name)
        yield _differentiated(value.reshape(()), parameters, name)


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put the buffers back that a forward pass changes, such as the vectors of a spectral norm, which each pass in
    training mode moves on: samples are judged at one function. Others are not touched, since a backward pass may need
    them."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                if module._buffers[name] is not buffer or not torch.equal(buffer, before):
                    module._buffers[name] = buffer.copy_(before)


def _differentiated(
    value: Tensor, parameters: Mapping[str, Tensor], name: str, again: bool = False
) -> list[NDArray[np.float32]]:
    try:
        gradients = torch.autograd.grad(value, list(parameters.values()), retain_graph=again, allow_unused=True)
    except RuntimeError as error:
        told = str(error).splitlines()[0].split(". ")[0].rstrip(".:")
        raise UserError(
            f"{name} cannot be differentiated: {told}; return the loss itself, call no backward() in it, and change "
            "nothing in place that its gradient needs"
        ) from error
    return [_array(g, p) for g, p in zip(gradients, parameters.values(), strict=True)]


def _are_alone(model: nn.Module, loss: Loss, batch: Any, losses: Tensor) -> bool:
    """Whether each sample by itself has the loss that it has in the batch, rounding aside."""
    near = 1e-4 if losses.dtype.itemsize > 2 else 1e-2
    with torch.no_grad():
        for i, wanted in enumerate(losses):
            try:
                with buffers_kept(model):
                    found = loss(model, _copied(_sample(batch, i)))
                same = found.numel() == 1 and torch.isclose(found.reshape(()), wanted, rtol=near, atol=near * near)
            except Exception:  # it takes the batch as a whole
                return False
            if not same:
                return False
    return True


class _Alone(nn.Module):
    """loss(model, sample) as a function of the model's parameters, for `torch.func`."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, sample: Any) -> Tensor:
        return self.loss(self.model, sample).reshape(())


def _together(
    model: nn.Module, loss: Loss, batch: Any, parameters: Mapping[str, Tensor]
) -> Iterator[list[NDArray[np.float32]]]:
    """g_i of the samples, some at a time by torch.func; none where an operation has no rule for it."""
    alone = _Alone(model, loss)
    parts, structure = tree_flatten(_sample(batch, slice(None)))

    def of(values: dict[str, Tensor], *rows: Tensor) -> Tensor:
        sample = tree_unflatten([row[None] for row in rows], structure)
        return torch.func.functional_call(alone, values, (sample,))

    values = {f"model.{name}": p.detach() for name, p in parameters.items()}
    differentiate = torch.func.vmap(torch.func.grad_and_value(of), (None, *[0] * len(parts)), randomness="different")
    size = max(1, AT_ONCE // (16 * sum(p.numel() for p in parameters.values())))
    for start in range(0, samples(batch), size):
        try:
            with warnings.catch_warnings(), buffers_kept(model):
                warnings.filterwarnings("ignore", "There is a performance drop")  # of operations without a rule
                gradients, losses = differentiate(values, *_copied([x[start : start + size] for x in parts]))
        except Exception:  # no rule, or data decides what is computed: the loop tells of a fault of the loss itself
            return
        if not losses.isfinite().all():  # the loop says where
            return
        numbers = [to_numpy(g) for g in gradients.values()]
        yield from ([g[i] for g in numbers] for i in range(len(numbers[0])))


def samples(batch: Any) -> int:
    """N. Raises UserError where the parts of a batch differ in it."""
    if isinstance(batch, list):
        return len(batch)
    parts = _leaves(batch)
    if not parts:
        return 0
    if scalar := [part for part in parts if part.ndim == 0]:
        raise UserError(f"the batch holds a single number ({scalar[0].item():g}); give tensors of N rows each")
    sizes = {len(part) for part in parts}
    if len(sizes) != 1:
        raise UserError(
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
    raise UserError(
        f"a batch is a list of samples, or tensors of N rows in a tuple or a dictionary; it has {type(batch).__name__}"
        + ("; write torch.from_numpy(x)" if isinstance(batch, np.ndarray) else "")
    )


def _sample(batch: Any, i: int | slice) -> Any:
    """Sample i, a batch of one; of a slice a batch of those."""
    if isinstance(batch, list):
        return batch[i]
    if isinstance(batch, Mapping):
        return {name: _sample(part, i) for name, part in batch.items()}
    if isinstance(batch, tuple):
        parts = [_sample(part, i) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return batch[i : i + 1] if isinstance(i, int) else batch[i]


def _copied(batch: Any) -> Any:
    """With copies of its tensors, which a loss may change in place."""
    return tree_map_only(Tensor, Tensor.clone, batch)


def _losses(model: nn.Module, loss: Loss, batch: Any, name: str) -> Tensor:
    """What the loss returns. Raises UserError, with the fault as its cause, where it fails or returns no numbers."""
    try:
        with buffers_kept(model):
            value = loss(model, _copied(batch))
    except UserError:
        raise
    except Exception as error:
        told = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{name}(model, batch) fails with {type(error).__name__}: {told}; it is called with all samples of tensors "
            "or with one sample of a list, and a loss of outputs and targets goes into a function of the model and the "
            "batch, lambda m, b: loss(m(b[0]), b[1])"
        ) from error
    if not isinstance(value, Tensor):
        raise UserError(f"{name} returned {type(value).__name__}; return a tensor, the loss of each sample or of one")
    if value.is_complex():
        raise UserError(f"{name} returned complex numbers; return real ones")
    return value


def _check(value: Tensor, name: str) -> None:
    if not value.requires_grad:
        raise UserError(DETACHED.format(name))
    if not value.isfinite().all():
        raise UserError(
            f"{name} is not finite at sample {int((~value.reshape(-1).isfinite()).nonzero()[0])} of its batch"
        )


def _array(gradient: Tensor | None, parameter: Tensor) -> NDArray[np.float32]:
    return np.zeros(parameter.shape, np.float32) if gradient is None else to_numpy(gradient)


def to_numpy(x: Tensor) -> NDArray[np.float32]:
    return x.detach().to_dense().to("cpu", torch.float32).numpy()
