"""The states of Python's, NumPy's and PyTorch's global generators, from which no code of ours draws."""

import random
import sys
from typing import Any

import numpy as np

from ablate.randomness import stream


def states() -> tuple[Any, ...]:
    """The states of the three, to be compared or given back to `restore`; PyTorch's once it is imported."""
    legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    _, key, *rest = legacy
    torch = sys.modules.get("torch")
    return random.getstate(), (key.tobytes(), *rest), torch and torch.default_generator.get_state().numpy().tobytes()


def restore(before: tuple[Any, ...]) -> None:
    python, (key, *rest), torchs = before
    random.setstate(python)
    np.random.set_state(("MT19937", np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002
    if torchs:
        torch = sys.modules["torch"]
        torch.default_generator.set_state(torch.frombuffer(bytearray(torchs), dtype=torch.uint8))


def start(seed: int, purpose: str, iteration: int) -> None:
    """Set them to where they start for one seed, one purpose and one iteration."""
    drawn = stream(seed, f"global generators {purpose}", iteration).integers(2**63, size=2)
    random.seed(int(drawn[0]))
    np.random.seed(drawn.view(np.uint32))  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(int(drawn[1]))
