"""What changes along a run: step sizes, by how often an entry was visited, and exploration, by how much is done."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def step_sizes(visits: NDArray[np.int64], size: float, power: float) -> Floats:
    """alpha_n = size n^-power at visit number n = 1, 2, ... of each entry; shape of visits.

    power = 0 is a constant step: it tracks what changes, and its noise never ends. With 1/2 < power <= 1 the conditions
    of Robbins and Monro hold, sum alpha_n = inf and sum alpha_n^2 < inf: every start is forgotten and noise averages
    out. Source: Robbins & Monro (1951); Even-Dar & Mansour (2003), where powers below 1 learn Q faster.
    """
    return size * visits.astype(np.float64) ** -power


def linear(start: float, end: float, done: float) -> float:
    """From `start` to `end` in proportion to the share `done` of the way, and `end` from 1 on."""
    return end + (start - end) * max(1 - done, 0.0)
