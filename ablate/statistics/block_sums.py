"""What is kept of many per-trajectory gradients: sums of blocks of consecutive ones.

Arrays are [N, ..., K, P]: trajectories, variants judged on the same trajectories, parameters; whatever stands between
is carried through. Sums are in float64 and in index order: no number depends on how trajectories were cut into chunks,
nor on the variants or seeds beside it. (Hence np.square throughout: x**2 of a lone number rounds otherwise than of an
array.)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce, wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from ablate.statistics.interval import Floats

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Blocks:
    """What is kept of N trajectories: B blocks of consecutive ones, each with its sums.

    | field   | shape           | meaning                                                          |
    |---------|-----------------|------------------------------------------------------------------|
    | counts  | [B]             | n_b, trajectories in the block; all equal but perhaps the last   |
    | mean    | [..., K, P]     | m                                                                |
    | sums    | B x [..., K, P] | S_b = sum_{i in b} (g_i - origin)                                |
    | centre  | [..., K, P]     | m - origin, the origin being the first trajectory                |
    | scatter | [B, ..., K]     | c_b = sum_{i in b} |g_i - m|^2                                   |
    | lengths | [B, ..., K]     | |D_b|^2, D_b = sum_{i in b} (g_i - m)                            |
    """

    counts: Floats
    mean: Floats
    sums: Sequence[Floats]
    centre: Floats
    scatter: Floats
    lengths: Floats

    @property
    def count(self) -> float:
        """N."""
        return float(self.counts.sum())

    def of(self, i: int) -> "Blocks":
        """Those of one row of the leading axis, [K, P] from [S, K, P]."""
        sums = tuple(S[i] for S in self.sums)
        return Blocks(self.counts, self.mean[i], sums, self.centre[i], self.scatter[:, i], self.lengths[:, i])

    def centred(self) -> Iterator[Floats]:
        """D_b, [..., K, P], one block at a time: a copy of all of them would cost more than the arithmetic."""
        for n, S in zip(self.counts, self.sums, strict=True):
            yield S - n * self.centre

    def along(self, vector: Floats) -> Floats:
        """<D_b, vector>, [B, ..., K]."""
        return np.stack([(D * vector).sum(-1) for D in self.centred()])

    @cached_property
    def products(self) -> tuple[Floats, Floats]:
        """sum_{b,c} G_bc^2 and sum_b G_bb^2, G_bc = <D_b, D_c> / sqrt(n_b n_c), as tr C^2 needs them. [..., K] each."""
        places = self.mean.shape[:-1]
        roots, everything = np.sqrt(self.counts)[:, None], np.empty(places)
        for place in np.ndindex(*places):  # one at a time: B x P numbers and no more
            rows = (np.stack([S[place] for S in self.sums]) - self.counts[:, None] * self.centre[place]) / roots
            everything[place] = np.square(rows @ rows.T).sum()
        return everything, sum_in_order(np.square(self.lengths / self.per_block(self.counts)))

    def sums_of(self, x: Floats) -> Floats:
        """The sum over each block of x [N], a number for each trajectory: [B]."""
        return np.add.reduceat(x, np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(int))

    def per_block(self, x: Floats) -> Floats:
        """x [B] made to broadcast against [B, ..., K]."""
        return x.reshape(-1, *[1] * (self.scatter.ndim - 1))


def once(measure: Callable[[Blocks], T]) -> Callable[[Blocks], T]:
    """A measure that others are made of, worked out once for each blocks and kept as long as they are."""
    known: WeakKeyDictionary[Blocks, T] = WeakKeyDictionary()

    @wraps(measure)
    def found(blocks: Blocks) -> T:
        if blocks not in known:
            known[blocks] = measure(blocks)
        return known[blocks]

    return found


BLOCKS = 512  # that are kept at most, unless told otherwise


class Accumulator:
    """Takes trajectories in chunks; keeps sums of blocks, in memory that does not grow with their number.

    A block is one trajectory as long as there are at most `blocks` of them (8 bytes a parameter, variant and block).
    When the places are full, neighbouring blocks merge and the block size doubles. Mean, trace variance and all point
    estimates made of these two are those of the N trajectories at every block size. The error of an interval comes
    from leaving out one block at a time: with one trajectory a block it is the delete-one jackknife, with more the
    delete-a-block one, with blocks / 2 degrees of freedom or more. Directional variance and effective rank are of block
    sums: unbiased for the same quantity, with the precision of B observations rather than N.
    """

    def __init__(self, blocks: int = BLOCKS) -> None:
        if blocks < 16 or blocks % 2:
            raise ValueError(f"{blocks} blocks; give an even number of at least 16")
        self._limit = blocks
        self._size = 1  # trajectories in a full block
        self._counts: list[int] = []
        self._sums: list[Floats] = []
        self._squares: list[Floats] = []

    def add(self, gradients: ArrayLike) -> None:
        """Take gradients [n, ..., K, P] of the next n trajectories; any floating type."""
        for gradient in np.asarray(gradients):
            if not self._counts:  # all sums are of differences from the first: no cancellation under a large mean
                self._origin = np.array(gradient, dtype=np.float64, order="C")
            row = np.subtract(gradient, self._origin, order="C")  # sums over parameters would round by their layout
            square = np.square(row).sum(-1)
            if self._counts and self._counts[-1] < self._size:
                self._counts[-1] += 1
                self._sums[-1] = self._sums[-1] + row
                self._squares[-1] = self._squares[-1] + square
                continue
            if len(self._counts) == self._limit:
                self._merge()
            self._counts.append(1)
            self._sums.append(row)
            self._squares.append(square)

    def _merge(self) -> None:
        self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
        self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
        self._squares = [a + b for a, b in zip(self._squares[::2], self._squares[1::2], strict=True)]
        self._size *= 2

    def blocks(self) -> Blocks:
        """The sums so far. Raises ValueError below 8 trajectories: no error can be told from fewer."""
        if len(self._counts) < 8:
            raise ValueError(f"{sum(self._counts)} trajectories are too few to tell noise from; give at least 8")
        centre = sum_in_order(self._sums) / sum(self._counts)
        scatter, lengths = [], []
        for n, S, square in zip(self._counts, self._sums, self._squares, strict=True):
            D = S - n * centre
            lengths.append(np.square(D).sum(-1))
            scatter.append(lengths[-1] if n == 1 else square - ((S + D) * centre).sum(-1))
        counts = np.array(self._counts, dtype=np.float64)
        return Blocks(counts, self._origin + centre, tuple(self._sums), centre, np.stack(scatter), np.stack(lengths))


def blocks_of(gradients: ArrayLike) -> Blocks:
    """The blocks of gradients [N, ..., K, P] that are all at hand: one trajectory each, whatever N."""
    rows = np.asarray(gradients)
    accumulator = Accumulator(max(16, len(rows) + len(rows) % 2))
    accumulator.add(rows)
    return accumulator.blocks()


def gradients_of_gram(gram: ArrayLike) -> Floats:
    """N vectors of N coordinates with G_ij = <g_i, g_j>, from G [..., N, N]: [N, ..., N].

    The gradients themselves up to a rotation, which no measure sees. To keep a known g* in the picture, add it to the
    Gram matrix as one more row and column, and take it out of the result again.
    """
    values, vectors = np.linalg.eigh(np.asarray(gram, dtype=np.float64))
    return np.moveaxis(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :], -2, 0)


def observations(blocks: Blocks) -> tuple[Floats, float]:
    """The means of all full blocks, [B, ..., K, P], and the number of trajectories in each."""
    n = blocks.counts[0]
    return np.stack([blocks.mean + D / n for D, m in zip(blocks.centred(), blocks.counts, strict=True) if m == n]), n


def sum_in_order(parts: Iterable[Floats]) -> Floats:
    """In index order over the leading axis: the order that np.sum chooses depends on the shape."""
    return np.add.accumulate(parts, axis=0)[-1] if isinstance(parts, np.ndarray) else reduce(np.add, parts)
