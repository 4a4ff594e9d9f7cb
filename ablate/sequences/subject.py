"""The function under audit: another trainer's advantage or loss, as multipliers of the tokens' scores.

What matters of either is the multiplier of each token's score in g = sum_bit c_bit z_bit: c = A / (B N) of an
advantage, c = -d loss / d log_prob of a loss.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """The function under audit, as multipliers c [B, N, L] of the tokens' scores."""

    name: str
    function: Callable[..., Any]
    is_loss: bool
    mask_type: torch.dtype = torch.float64

    def _mask(self, mask: NDArray[np.bool_]) -> torch.Tensor:
        return torch.from_numpy(mask.copy()).to(self.mask_type)

    def multipliers(self, rewards: Floats, mask: NDArray[np.bool_], log_probs: Floats | None = None) -> Floats:
        """Raises whatever the function raises."""
        r = torch.from_numpy(np.array(rewards, np.float64))
        if not self.is_loss:
            value = self.function(r)
            if isinstance(value, tuple):
                raise UserError(f"{self.name} returned {len(value)} things; return the advantages alone")
            A = _numbers(value)
            if A.shape != rewards.shape:
                raise UserError(f"{self.name} returned shape {A.shape} for rewards of shape {rewards.shape}")
            return A[..., None] / rewards.size * mask
        any_given = np.where(mask, -np.random.default_rng(2).random(mask.shape), 0.0)
        given = any_given if log_probs is None else log_probs
        leaf = torch.from_numpy(given.copy()).requires_grad_()
        value = self.function(log_probs=leaf, rewards=r, mask=self._mask(mask))
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise UserError(
                f"{self.name} returned {shape}, not one number to descend; take the mean as your trainer does"
            )
        if not value.requires_grad:
            raise UserError(f"{self.name} does not depend on log_probs: was it detached?")
        (gradient,) = torch.autograd.grad(value.reshape(()), leaf)
        return -gradient.double().numpy()


def load(path: str) -> Subject:
    """The function that `module:function` names, looked for in the present folder too."""
    module, _, name = path.partition(":")
    if not (module and name):
        raise UserError(f"{path} names no function of a module; write module:function, as in my_trainer:advantages")
    if module.endswith(".py"):
        raise UserError(f"{path} names a file; write {module.removesuffix('.py').replace('/', '.')}:{name}")
    sys.path.insert(0, os.getcwd())
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as missing:
        raise UserError(f"{path} is not found: {missing}") from None
    except (Exception, SystemExit) as error:
        raise UserError(f"{module} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
    if not callable(function):
        raise UserError(f"{path} is no function but a {type(function).__name__}; write module:function")
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a function without a signature takes rewards
        return Subject(path, function, False)
    names = [p.name for p in parameters]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if "log_probs" in names or len(needed) > 1:
        free = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not ({"log_probs", "rewards", "mask"} <= set(names) or free) or set(needed) - {
            "log_probs",
            "rewards",
            "mask",
        }:
            raise UserError(
                f"{path} takes {', '.join(names)}; an advantage takes rewards alone, a loss takes log_probs, rewards "
                "and mask by these names"
            )
        return Subject(path, function, True)
    return Subject(path, function, False)


def _numbers(value: Any) -> Floats:
    return value.detach().double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, np.float64)
