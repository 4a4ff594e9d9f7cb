"""The function under audit: another trainer's advantage or loss, as multipliers of the tokens' scores.

What matters of either is the multiplier of each token's score in g = sum_bit c_bit z_bit: c = A / (B N) of an
advantage, c = -d loss / d log_prob of a loss. A loss may also be handed the log-probabilities of the policy that wrote
the answers and of a reference.
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
Mask = NDArray[np.bool_]
OF_LOSS = "log_probs", "rewards", "mask"
OLD, REF = "old_log_probs", "ref_log_probs"


@dataclass(frozen=True)
class Subject:
    """The function under audit, as multipliers c [B, N, L] of the tokens' scores.

    `takes` are those of OLD and REF that a loss is handed besides log pi: log pi - `log_ratio` and log pi + `log_ref`,
    log pi itself where these are None. ``others`` are `log_ratio` and `log_ref`.
    """

    name: str
    function: Callable[..., Any]
    is_loss: bool
    mask_type: torch.dtype = torch.float64
    takes: frozenset[str] = frozenset()

    def multipliers(self, rewards: Floats, mask: Mask, log_probs: Floats | None = None, **others: Floats) -> Floats:
        """Without the terms in other policies that rewards of 0 leave. Raises whatever the function raises."""
        if not self.is_loss:
            return self._advantages(rewards)[..., None] / rewards.size * mask
        whole = self.gradient(rewards, mask, log_probs, **others)[1]
        return whole - self.penalty(mask, log_probs, **others) if self.takes else whole

    def penalty(self, mask: Mask, log_probs: Floats | None = None, **others: Floats) -> Floats:
        """The multipliers where all rewards are 0; 0 where they are not finite."""
        found = self.gradient(np.zeros(mask.shape[:2]), mask, log_probs, **others)[1]
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def gradient(
        self, rewards: Floats, mask: Mask, log_probs: Floats | None = None, **others: Floats
    ) -> tuple[float, Floats]:
        """A loss, and minus its derivatives by the log-probabilities."""
        given = self._inputs(rewards, mask, log_probs, **others)
        value = self.function(**given)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise UserError(
                f"{self.name} returned {shape}, not one number to descend; take the mean as your trainer does"
            )
        if not value.requires_grad:
            raise UserError(f"{self.name} does not depend on log_probs: was it detached?")
        (gradient,) = torch.autograd.grad(value.reshape(()), given["log_probs"])
        return float(value.detach()), -gradient.double().numpy()

    def changes(self, rewards: Floats, mask: Mask) -> list[str]:
        """Which of its inputs it changes in place."""
        given = self._inputs(rewards, mask)
        before = {name: value.detach().clone() for name, value in given.items()}
        self.function(*given.values()) if not self.is_loss else self.function(**given)
        return [name for name, value in given.items() if not torch.equal(value, before[name])]

    def _inputs(
        self,
        rewards: Floats,
        mask: Mask,
        log_probs: Floats | None = None,
        log_ratio: Floats | None = None,
        log_ref: Floats | None = None,
    ) -> dict[str, torch.Tensor]:
        r = torch.from_numpy(np.array(rewards, np.float64))
        if not self.is_loss:
            return {"rewards": r}
        any_given = np.where(mask, -np.random.default_rng(2).random(mask.shape), 0.0)
        log_pi = any_given if log_probs is None else log_probs
        others = {OLD: (-1, log_ratio), REF: (1, log_ref)}
        return {
            "log_probs": torch.from_numpy(np.array(log_pi, np.float64)).requires_grad_(),
            "rewards": r,
            "mask": torch.from_numpy(mask.copy()).to(self.mask_type),
            **{
                name: torch.from_numpy(log_pi + (0.0 if off is None else sign * off))
                for name, (sign, off) in others.items()
                if name in self.takes
            },
        }

    def _advantages(self, rewards: Floats) -> Floats:
        value = self.function(*self._inputs(rewards, np.ones((*rewards.shape, 1), bool)).values())
        if isinstance(value, tuple):
            raise UserError(f"{self.name} returned {len(value)} things; return the advantages alone")
        A = _numbers(value)
        if A.shape != rewards.shape:
            raise UserError(f"{self.name} returned shape {A.shape} for rewards of shape {rewards.shape}")
        return A


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
    return of(path, function)


def of(path: str, function: Callable[..., Any]) -> Subject:
    """A loss where it has a parameter log_probs or needs more than one, else an advantage."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a function without a signature takes rewards
        return Subject(path, function, False)
    names = [p.name for p in parameters]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if "log_probs" not in names and len(needed) < 2:
        return Subject(path, function, False)
    free = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if not (set(OF_LOSS) <= set(names) or free) or set(needed) - {*OF_LOSS, OLD, REF}:
        raise UserError(
            f"{path} takes {', '.join(names)}; an advantage takes rewards alone, a loss takes log_probs, rewards and "
            f"mask by these names, and {OLD} and {REF} where it needs them"
        )
    return Subject(path, function, True, takes=frozenset({OLD, REF} & set(names)))


def _numbers(value: Any) -> Floats:
    return value.detach().double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, np.float64)
