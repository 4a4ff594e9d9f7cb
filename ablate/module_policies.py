"""A torch Module as policy: observations [R, D] -> logits of pi(a|s), or mean and log sigma of a Gaussian.

The seed axis is a loop. `torch.func.vmap` over stacked parameters would be faster, but the bits of a batched product
depend on how many matrices it has and on where each begins in memory. Here every call sees one seed's parameters, each
copied to memory of its own, and as many rows as in any other company of seeds: a seed's bits cannot depend on the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ablate import global_generators
from ablate.errors import UserError, message_of
from ablate.policies import Categorical, Gaussian

ROWS = 8  # of the observations on which a Module is tried
TOLERANCE = 1e-5


@dataclass(frozen=True)
class ModuleNetwork:
    """y = module(x), followed by `free` outputs that are parameters themselves; `networks.Network` of any Module.

    ``make`` is a function from a number, which seeds what is drawn, to a Module. Shapes: inputs [S, R, D], outputs
    [S, R, O + free], theta [S, P]: the trained parameters in the Module's own order.
    """

    make: Callable[[int], nn.Module]
    free: int = 0
    module: nn.Module = field(init=False)  # its own trained parameters are not looked at

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", self.make(0))

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in trained(self.module).values()) + self.free

    def fewest_rows(self, among: int) -> int:
        """All: no row is dropped, since a Module's bits might depend on their number."""
        return among

    def parts(self) -> dict[str, slice]:
        """Where each layer, a Module with parameters of its own, and the free outputs stand in theta."""
        sizes: dict[str, int] = {}
        for name, parameter in trained(self.module).items():
            layer = name.rpartition(".")[0]
            sizes[layer] = sizes.get(layer, 0) + parameter.numel()
        ends = np.cumsum([0, *sizes.values()]).tolist()
        found = {f"layer_{k}": slice(*ends[k - 1 : k + 1]) for k in range(1, len(ends))}
        return found | ({"free": slice(ends[-1], ends[-1] + self.free)} if self.free else {})

    def initial(self, streams: Sequence[np.random.Generator]) -> Tensor:
        """theta [S, P]: for each seed what the Module's own __init__ draws, from generators that its stream seeds."""
        theta = torch.zeros(len(streams), self.num_parameters)
        for row, stream in zip(theta, streams, strict=True):
            own = trained(self.make(int(stream.integers(2**63)))).values()
            row[: len(row) - self.free] = torch.cat([p.detach().flatten() for p in own])
        return theta

    def forward(self, theta: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """outputs [S, R, O + free], and [x]."""
        return self.at(theta)(x)

    def at(self, theta: Tensor) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
        """`forward` at one theta, for many x."""
        each = [self._parameters(row) for row in theta]

        def forward(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            with torch.no_grad():
                outputs = torch.stack([self(own, rows) for own, rows in zip(each, x, strict=True)])
            if self.free:
                outputs = torch.cat([outputs, theta[:, None, -self.free :].expand(-1, x.shape[1], -1)], dim=-1)
            return outputs, [x]

        return forward

    def gradient(self, theta: Tensor, inputs: list[Tensor], d: Tensor, out: Tensor | None = None) -> Tensor:
        """sum over rows of J' d, [S, P], J = dy/dtheta, for output scores d [S, R, O + free]; in `out` if given."""
        gradient = self.weighted_gradients(theta, inputs, d, torch.ones(*d.shape[:2], 1))[:, 0]
        return gradient if out is None else out.copy_(gradient)

    def weighted_gradients(self, theta: Tensor, inputs: list[Tensor], d: Tensor, weights: Tensor) -> Tensor:
        """g_k = sum over rows of w_rk J' d_r: K gradients [S, K, P] for weights [S, R, K]; by automatic
        differentiation, one backward pass each."""
        gradients = torch.zeros(len(theta), weights.shape[2], theta.shape[1])
        outputs = d.shape[2] - self.free
        for s, row in enumerate(theta):
            own = {name: p.requires_grad_() for name, p in self._parameters(row).items()}
            with torch.enable_grad():
                y = self(own, inputs[0][s])
            for k in range(weights.shape[2]):
                weighted = d[s] * weights[s, :, k, None]
                each = torch.autograd.grad(
                    y, [*own.values()], weighted[:, :outputs].contiguous(), retain_graph=True, allow_unused=True
                )
                flat = [
                    torch.zeros(p.numel()) if g is None else g.flatten()
                    for g, p in zip(each, own.values(), strict=True)
                ]
                gradients[s, k] = torch.cat([*flat, weighted[:, outputs:].sum(0)])
        return gradients

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Any:
        """One seed's outputs, for rows x [R, D]."""
        return functional_call(self.module, dict(parameters), (x.clone(),))

    def _parameters(self, row: Tensor) -> dict[str, Tensor]:
        found, start = {}, 0
        for name, parameter in trained(self.module).items():
            found[name] = row[start : start + parameter.numel()].clone().view(parameter.shape)
            start += parameter.numel()
        return found


def trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


@dataclass(frozen=True)
class ModuleCategorical(Categorical):
    """pi(a|s) = softmax(f(s))_a of a Module f."""

    network: Any = field(kw_only=True)

    def __post_init__(self) -> None:
        """The network is given."""


@dataclass(frozen=True)
class ModuleGaussian(Gaussian):
    """a = mu(s) + sigma z of a Module that gives mu, with sigma learned beside it, or mu and log sigma(s)."""

    network: Any = field(kw_only=True)

    def __post_init__(self) -> None:
        """The network is given."""


def policy(
    observation_size: int,
    action_size: int,
    discrete: bool,
    module: str,
    kwargs: Mapping[str, Any] | None = None,
    hidden: Sequence[int] = (),
) -> ModuleCategorical | ModuleGaussian:
    """The policy of what ``module`` names, as `package.module:Class`: called with the sizes of observation and action
    and with ``kwargs``, it gives a Module.

    The Module maps observations [R, D] to logits [R, A]; for continuous actions to means [R, A], and sigma, one number
    an action dimension, is learned from 1 on, or to means and log sigma [R, 2A].

    ``hidden`` is [] where an environment's yaml sets it for the policies that have it.

    Raises UserError for what is no policy: outputs of another shape, or that are drawn, or that depend on the other
    rows or on what earlier calls have left; and for random parts that no seed's parameters hold.
    """
    name = f"policy.module={module}"
    if hidden:
        raise UserError(f"policy.hidden={list(hidden)} is of no use to {name}, whose layers are its own; leave it out")
    maker = _found(module, name)
    global_generators.keep(maker)
    make = partial(_made, maker, name, observation_size, action_size, dict(kwargs or {}))
    network, x = ModuleNetwork(make), _observations(observation_size)
    widths = (action_size,) if discrete else (action_size, 2 * action_size)
    width = _check(network, x, widths, name)
    sizes = observation_size, action_size
    if discrete:
        return ModuleCategorical(*sizes, network=network)
    if width == 2 * action_size:
        return ModuleGaussian(*sizes, spread="state", network=network)
    return ModuleGaussian(*sizes, network=ModuleNetwork(make, free=action_size))


def _found(module: str, name: str) -> Callable[..., Any]:
    place, colon, attribute = module.partition(":")
    if not (place and colon and attribute):
        raise UserError(f"{name} names no class; write policy.module=my_nets:Net, for Net of my_nets.py")
    try:
        found = getattr(import_module(place), attribute, None)
    except Exception as error:  # of anybody's code
        kind = type(error).__name__
        raise UserError(
            f"{name} cannot be imported ({kind}: {message_of(error):.120}); is its folder in PYTHONPATH?"
        ) from error
    if not callable(found):
        raise UserError(f"{name} is not found: {place} has no class or function {attribute}; correct its name")
    return found


def _made(
    maker: Callable[..., Any], name: str, observation_size: int, action_size: int, kwargs: dict[str, Any], number: int
) -> nn.Module:
    """A Module whose random parts depend on ``number`` alone; lazy layers have their sizes."""
    before = global_generators.states()
    try:
        global_generators.start(number, "module", 0)
        made = maker(observation_size, action_size, **kwargs)
        if not isinstance(made, nn.Module):
            raise UserError(f"{name} gives a {type(made).__name__}, not a torch.nn.Module")
        with torch.no_grad():
            made(_observations(observation_size))
    except UserError:
        raise
    except Exception as error:  # of anybody's code
        sizes = f"({observation_size}, {action_size}), then with observations [{ROWS}, {observation_size}]"
        raise UserError(
            f"{name}, called with {sizes}, ends in {type(error).__name__}: {message_of(error):.120}"
        ) from error
    finally:
        global_generators.restore(before)
    return made


def _observations(size: int) -> Tensor:
    """One-hot rows [ROWS, D], which any kind of observation may look like; all different where D >= ROWS."""
    return torch.eye(max(size, 2))[torch.arange(ROWS) % max(size, 2), :size].contiguous()


def _check(network: ModuleNetwork, x: Tensor, widths: Sequence[int], name: str) -> int:
    """The width of the outputs. Raises UserError where the Module is no policy."""
    own = {key: p.detach().clone() for key, p in trained(network.module).items()}
    if not own:
        raise UserError(f"{name} has no parameter that requires a gradient; there is nothing to train")
    if wrong := next((p for p in own.values() if p.dtype != torch.float32 or p.device.type != "cpu"), None):
        raise UserError(f"{name} has parameters of {wrong.dtype} on {wrong.device}; let it have float32 on the CPU")
    before, state = global_generators.states(), _state(network.module)
    with torch.enable_grad():
        y = network({key: p.clone().requires_grad_() for key, p in own.items()}, x)
    drew = global_generators.states() != before
    global_generators.restore(before)
    if not isinstance(y, Tensor) or y.dim() != 2 or len(y) != ROWS or y.shape[1] not in widths:
        shape = f"shape {list(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        wanted = " or ".join(f"[{ROWS}, {width}]" for width in widths)
        raise UserError(f"{name} gave {shape} for {ROWS} observations; let forward return one tensor {wanted}")
    if y.dtype != torch.float32:
        raise UserError(f"{name} gave {y.dtype}; let forward return float32")
    if drew:
        raise UserError(
            f"{name} draws random numbers as it is called, and is another policy at every call; leave out dropout and "
            "noise, or end __init__ with self.eval()"
        )
    changed = [key for key, value in _state(network.module).items() if not torch.equal(value, state[key])]
    if changed:
        raise UserError(
            f"{name} changes {changed[0]} as it is called, as BatchNorm does; use LayerNorm, or a Module that keeps "
            "nothing between calls"
        )
    if not y.requires_grad:
        raise UserError(f"{name} does not depend on its parameters; is it detached, or under no_grad?")
    with torch.no_grad():
        if not torch.equal(network(own, x), y):
            raise UserError(
                f"{name} gives other outputs when it is called again; let forward keep nothing between calls"
            )
        alone = network(own, x[:1].repeat(ROWS, 1))[0]
        if not torch.allclose(alone, y[0], TOLERANCE, TOLERANCE):
            raise UserError(
                f"{name} gives a row other outputs beside other rows; let pi(a|s) depend on the row's own s alone, "
                "without attention or normalisation over the batch"
            )
        if not torch.equal(functional_call(network.make(1), own, (x.clone(),)), y):
            raise UserError(
                f"{name} draws, as it is made, parts that are not trained; let them require a gradient, or draw them "
                "from a generator with a seed of its own"
            )
    return y.shape[1]


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: x.detach().clone() for name, x in module.state_dict().items()}
