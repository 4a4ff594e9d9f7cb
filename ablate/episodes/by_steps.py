"""Batches by env steps: whole episodes until their lengths come to a number of steps, each seed with its own number."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.envs.base import Environment
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories, joined
from ablate.policies import Actor


def rollout_steps(
    policy: Actor,
    theta: Tensor,
    env: Environment,
    steps: int,
    environment_streams: Sequence[np.random.Generator],
    action_streams: Sequence[np.random.Generator],
) -> Trajectories:
    """The first n_s episodes of every seed's streams, n_s = min{ n : T_1 + ... + T_n >= steps }. theta [S, P].

    Episodes are rolled out in rounds, first as many as are needed at least, then as many again as there are; the seeds
    that have their steps sit out. How many a round has depends on its number alone, so a seed's bits do not depend on
    the others. What is beyond n_s is dropped in the order of the streams: by who ends first would favour short ones.
    """
    S = len(theta)
    number = fewest_episodes(steps, env.horizon)
    counts, short = np.zeros(S, np.int64), np.arange(S)
    before = np.zeros(S, np.int64)  # env steps so far
    rounds: list[tuple[NDArray[np.int64], Trajectories]] = []
    while len(short):
        sources = ([streams[s] for s in short.tolist()] for streams in (environment_streams, action_streams))
        found = rollout(policy, theta[torch.from_numpy(short)], env, number, *sources)
        rounds.append((short, found))
        sums = before[short, None] + np.cumsum(found.lengths, axis=1)
        counts[short] += np.minimum((sums < steps).sum(1) + 1, number)
        before[short] = sums[:, -1]
        number = max(number, sum(played.lengths.shape[1] for _, played in rounds))
        short = short[sums[:, -1] < steps]
    return joined(rounds, counts)


def fewest_episodes(steps: int, horizon: int) -> int:
    """Of a batch of so many steps: where every episode lasts to the horizon."""
    return -(-steps // horizon)
