"""The states of Python's, NumPy's and PyTorch's global generators, and of those that modules of user code hold, as with
``rng = np.random.default_rng(0)`` at their top: from none of them draws code of ours."""

import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from ablate.randomness import stream

_kept: dict[str, Any] = {}  # the generators of user code's modules and classes, by where they are
NOT_USERS = {"ablate", "builtins", "gymnasium", "numpy", "random", "torch"}


def keep(user_code: Any) -> bool:
    """From now on deal with the generators that modules and classes of the package of an object's class, or of a
    function, hold as with the global ones; whether there are any."""
    while hasattr(user_code, "func"):  # a partial
        user_code = user_code.func
    made = user_code if hasattr(user_code, "__qualname__") else type(user_code)
    package = str(getattr(made, "__module__", "builtins")).partition(".")[0]
    found = {} if package in NOT_USERS else dict(_generators(package))
    _kept.update(found)
    return bool(found)


def _generators(package: str) -> Iterator[tuple[str, Any]]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and hasattr(module, "__dict__"):
            held = dict(vars(module))
            classes = [x for x in held.values() if isinstance(x, type) and x.__module__.partition(".")[0] == package]
            own = {f"{made.__qualname__}.{key}": x for made in classes for key, x in vars(made).items()}
            for key, x in (held | own).items():
                with suppress(Exception):  # of anybody's code
                    if isinstance(x, np.random.Generator | np.random.RandomState | random.Random | _torchs()):
                        _state(x)
                        yield f"{name}.{key}", x


def seed(generator: Any, number: int) -> None:
    """Set one generator to where it starts for a number below 2^63."""
    if isinstance(generator, np.random.Generator):
        kind: Any = type(generator.bit_generator)
        generator.bit_generator.state = kind(number).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(np.array([number]).view(np.uint32))
    elif isinstance(generator, random.Random):
        generator.seed(number)
    elif isinstance(generator, _torchs()):
        generator.manual_seed(number)


def _torchs() -> Any:
    torch = sys.modules.get("torch")
    return torch.Generator if torch else type(None)


def _state(generator: Any) -> bytes:
    if isinstance(generator, np.random.Generator):
        return pickle.dumps(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return pickle.dumps(generator.get_state(legacy=False))
    return pickle.dumps(generator.getstate() if isinstance(generator, random.Random) else generator.get_state().numpy())


def _give_back(generator: Any, before: bytes) -> None:
    state = pickle.loads(before)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(sys.modules["torch"].from_numpy(state))


def states() -> tuple[Any, ...]:
    """The states of all, to be compared or given back to `restore`; PyTorch's once it is imported."""
    legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    _, key, *rest = legacy
    torch = sys.modules.get("torch")
    torchs = torch and torch.default_generator.get_state().numpy().tobytes()
    return random.getstate(), (key.tobytes(), *rest), torchs, {name: _state(x) for name, x in _kept.items()}


def restore(before: tuple[Any, ...]) -> None:
    python, (key, *rest), torchs, kept = before
    random.setstate(python)
    np.random.set_state(("MT19937", np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
    if torchs:
        torch = sys.modules["torch"]
        torch.default_generator.set_state(torch.frombuffer(bytearray(torchs), dtype=torch.uint8))
    for name, state in kept.items():
        _give_back(_kept[name], state)


def start(seed_: int, purpose: str, iteration: int) -> None:
    """Set them to where they start for one seed, one purpose and one iteration."""
    drawn = stream(seed_, f"global generators {purpose}", iteration).integers(2**63, size=2)
    random.seed(int(drawn[0]))
    np.random.seed(drawn.view(np.uint32))  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(int(drawn[1]))
    for name in sorted(_kept):
        seed(_kept[name], int(stream(seed_, f"generator {name} {purpose}", iteration).integers(2**63)))
