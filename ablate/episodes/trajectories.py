"""The batch of episodes: S seeds x N episodes x T steps, ragged, padded with zeros at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ablate.networks import Network

ROWS = 512  # a seed's rows are filled up to a multiple of this
TOGETHER = 4096  # rows with a step that are worked through together, of one seed or of several: what stays in cache
VECTOR = 16  # rows are worked through in multiples of this, whole vectors of any CPU


@dataclass(frozen=True)
class Trajectories:
    """Episodes tau = (s_0, a_0, r_0, s_1, ...), N of every seed.

    In batches by steps a seed has a number of episodes of its own. N is then the largest of these, and behind the last
    episode of a seed stand terminated ones of length 0.

    | field              | shape            | meaning                                                              |
    |--------------------|------------------|----------------------------------------------------------------------|
    | observations       | [S,N,T,D]        | what the agent saw of s_t, float32                                   |
    | actions            | [S,N,T] or [..,A]| a_t: int64 indices, or float32 vectors                               |
    | rewards            | [S,N,T]          | r_t, float64                                                         |
    | lengths            | [S,N]            | steps of the episode; everything from there on is 0                  |
    | terminated         | [S,N]            | the MDP ended the episode (no bootstrap); else a time limit cut it   |
    | final_observations | [S,N,D]          | the state s_T after the last step, to bootstrap from where it was cut|
    | final_actions      | [S,N] or [S,N,A] | a_T ~ pi(.|s_T), which is not taken                                  |
    """

    observations: NDArray[np.float32]
    actions: NDArray
    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    final_observations: NDArray[np.float32]
    final_actions: NDArray

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """[S,N,T], true where the step was taken."""
        return np.arange(self.rewards.shape[2]) < self.lengths[..., None]

    @property
    def played(self) -> NDArray[np.bool_]:
        """[S,N], true where there is an episode, which takes one step at least."""
        return self.lengths > 0

    @cached_property
    def rows(self) -> "Rows":
        return Rows(self.mask)

    @cached_property
    def final_rows(self) -> "Rows":
        """The last states of the episodes, as rows: of [S,N,1] in place of [S,N,T]."""
        return Rows(self.played[..., None])

    @cached_property
    def steps(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray]:
        """Observation, time and action of every step taken, as rows: [S,R,D], [S,R], [S,R] or [S,R,A]."""
        return self.rows.pack(self.observations), self.rows.times, self.rows.pack(self.actions)

    @cached_property
    def final_steps(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray]:
        """The same of every last state, as `final_rows`."""
        observations, times, actions = self.final_observations, self.lengths, self.final_actions
        pack = self.final_rows.pack
        return pack(observations[:, :, None]), pack(times[:, :, None]), pack(actions[:, :, None])

    def of(self, seeds: slice) -> "Trajectories":
        """The episodes of some rows of the seed axis, up to the end of their own longest."""
        some = {name: getattr(self, name)[seeds] for name in self.__dataclass_fields__}
        timed = ("observations", "actions", "rewards")
        return Trajectories(**some | {name: some[name][:, :, : self.lengths[seeds].max()] for name in timed})

    def between(self, part: slice) -> "Trajectories":
        """A run of episodes of every seed."""
        return Trajectories(**{name: getattr(self, name)[:, part] for name in self.__dataclass_fields__})


def joined(rounds: Sequence[tuple[NDArray[np.int64], Trajectories]], counts: NDArray[np.int64]) -> Trajectories:
    """The first counts [S] episodes of the rounds, one behind another; behind a seed's last are ended ones of length 0.

    Round k has the same number of episodes of each of its seeds, `rounds[k][0]`.
    """
    S, N, start = len(counts), int(counts.max()), 0
    parts = []  # of each round, the episodes that are kept, as (seed, episode): which they are in it, where they go
    for seeds, found in rounds:
        row, i = np.nonzero(start + np.arange(found.lengths.shape[1]) < counts[seeds, None])
        parts.append((found, (row, i), (seeds[row], start + i)))
        start += found.lengths.shape[1]
    T = max(int(found.lengths[own].max()) for found, own, _ in parts if len(own[0]))

    def numbers(name: str, padding: float = 0) -> NDArray:
        """What has a number an episode, or several."""
        first = getattr(rounds[0][1], name)
        whole = np.full((S, N, *first.shape[2:]), padding, first.dtype)
        for found, own, place in parts:
            whole[place] = getattr(found, name)[own]
        return whole

    def steps(name: str) -> NDArray:
        """What has one a step."""
        first = getattr(rounds[0][1], name)
        whole = np.zeros((S, N, T, *first.shape[3:]), first.dtype)
        for found, own, place in parts:
            x = getattr(found, name)[own][:, :T]
            whole[(*place, slice(x.shape[1]))] = x
        return whole

    return Trajectories(
        observations=steps("observations"),
        actions=steps("actions"),
        rewards=steps("rewards"),
        lengths=numbers("lengths"),
        terminated=numbers("terminated", padding=True),
        final_observations=numbers("final_observations"),
        final_actions=numbers("final_actions"),
    )


class Rows:
    """The steps that were taken, as rows: [S,N,T,...] <-> [S,R,...], each seed's rows first, in (episode, time) order.

    R is the same for all seeds, a multiple of ROWS; the rows behind a seed's last are 0. Row r of seed s is the same
    step whatever the other seeds did, which is what keeps sums over rows bit-identical.
    """

    def __init__(self, mask: NDArray[np.bool_]):
        self.mask = mask
        flat = mask.reshape(len(mask), -1)
        self.counts: NDArray[np.int64] = flat.sum(1)
        self.size = int(-(-max(int(self.counts.max()), 1) // ROWS) * ROWS)
        self.valid = np.arange(self.size) < self.counts[:, None]
        self.index = np.zeros((len(flat), self.size), np.int64)
        self.index[self.valid] = np.nonzero(flat)[1]
        self.times: NDArray[np.int64] = self.index % mask.shape[2] * self.valid

    def pack(self, x: NDArray) -> NDArray:
        """[S,N,T,...] -> [S,R,...]"""
        flat = x.reshape(len(x), -1, *x.shape[3:])
        taken = flat[np.arange(len(flat))[:, None], self.index]
        taken[~self.valid] = 0
        return taken

    def unpack(self, rows: NDArray) -> NDArray:
        """[S,R] -> [S,N,T], zeros where no step was taken."""
        x = np.zeros(self.mask.shape, rows.dtype)
        x[self.mask] = rows[self.valid]
        return x

    def blocks(self) -> list[tuple[slice, NDArray[np.int64]]]:
        """(rows, seeds) of each block: rows up to a multiple of ROWS, of one seed or of several that fill as many, and
        no more than TOGETHER with a step in all. Which rows a seed has in a block does not depend on the others, and so
        neither do the bits of a sum over them."""
        found = []
        for start in range(0, self.size, TOGETHER):
            steps = np.clip(self.counts - start, 0, TOGETHER)
            lengths = -(-steps // ROWS) * ROWS
            for length in np.unique(lengths[lengths > 0]).tolist():
                seeds = np.flatnonzero(lengths == length)
                together = TOGETHER // int(steps[seeds].max())
                rows = slice(start, start + length)
                found += [(rows, seeds[k : k + together]) for k in range(0, len(seeds), together)]
        return found

    def worked(self, block: slice, seeds: NDArray[np.int64], network: "Network") -> slice:
        """The rows of a block to work through: where at most half of them are steps that were taken, only these and as
        many more as keep the bits that they have among all of the block's."""
        length, steps = block.stop - block.start, int(self.counts[seeds].max()) - block.start
        if 2 * steps > length:
            return block
        return slice(block.start, block.start + max(network.fewest_rows(length), -(-steps // VECTOR) * VECTOR))
