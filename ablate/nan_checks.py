"""What was not finite first, when a run came to a number that is not: an iteration is repeated under watch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e18  # whose square is still a float32


class NotFinite(ArithmeticError):
    """The first number that was not finite, or too large to square in float32: which one, and where."""


class _Watch:
    on = False


@contextmanager
def watching() -> Iterator[None]:
    """Let every `check` in the block raise NotFinite."""
    before, _Watch.on = _Watch.on, True
    try:
        yield
    finally:
        _Watch.on = before


def watched() -> bool:
    return _Watch.on


def check(what: str, x: NDArray, axes: str, at: str = "") -> None:
    """Under watch, raise NotFinite for the first bad number of x, whose leading axes are named in ``axes``, as in
    "seed episode step". Nothing otherwise."""
    if not _Watch.on:
        return
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(x) <= LARGEST)
    if not bad.any():
        return
    index = np.argwhere(bad)[0].tolist()
    names = axes.split()
    where = [f"{name} {k}" for name, k in zip(names, index, strict=False) if name != "seed"]
    if len(index) > len(names) and x.shape[-1] > 1:
        where.append(f"component {index[-1]}")
    value = float(x[tuple(index)])
    said = f"{what} is {value:g}" + (", too large a number" if np.isfinite(value) else "")
    raise NotFinite(f"{said} ({', '.join(filter(None, [at, *where]))})")
