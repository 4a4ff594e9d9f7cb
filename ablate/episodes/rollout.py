"""policy x environment -> Trajectories."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import nan_checks
from ablate.envs.base import Continuous, Discrete, Environment
from ablate.episodes.trajectories import Trajectories
from ablate.policies import Actor

WORTH_DROPPING = 0.8  # rows are dropped when at most this share of those that are stepped would be left


def rollout(
    policy: Actor,
    theta: Tensor,
    env: Environment,
    episodes: int,
    environment_streams: Sequence[np.random.Generator],
    action_streams: Sequence[np.random.Generator],
) -> Trajectories:
    """N episodes per seed, a_t ~ pi_theta(.|s_t), each to its end. theta [S, P].

    All seeds step together. Episodes that have ended are dropped from time to time, in ways that leave every bit of
    the others as it was: whole seeds, and rows of a seed down to `Network.fewest_rows`.
    """
    S, N, H = len(theta), episodes, env.horizon
    observation = env.reset(environment_streams, N)
    nan_checks.check("the first observation", observation, "seed episode")
    draws = np.stack([policy.draws(stream, (N, H + 1)) for stream in action_streams])
    draws = np.ascontiguousarray(draws.reshape(S * N, H + 1, *draws.shape[3:]).swapaxes(0, 1))  # [H+1, S*N, ...]
    observations = np.zeros((H, S * N, env.observation_size), np.float32)
    match env.actions:
        case Discrete():
            actions: NDArray = np.zeros((H, S * N), np.int64)
        case Continuous(size):
            actions = np.zeros((H, S * N, size), np.float32)
    rewards = np.zeros((H, S * N))
    lengths = np.zeros(S * N, np.int64)
    terminated = np.zeros(S * N, bool)
    final = np.zeros((S * N, env.observation_size), np.float32)

    rows = np.arange(S * N).reshape(S, N)  # where the numbers of each episode that is still stepped belong
    alive = np.ones((S, N), bool)
    network = policy.network.at(theta)
    for t in range(H):
        at = rows.ravel()
        outputs, _ = network(torch.from_numpy(observation))
        action = policy.sample(outputs, draws[t].take(at, axis=0).reshape(*rows.shape, *draws.shape[2:]))
        observations[t, at] = observation.reshape(at.size, -1)
        actions[t, at] = action.reshape(at.size, *actions.shape[2:])
        observation, reward, ends, cut = env.step(action)
        if nan_checks.watched():
            for what, x in {"the action": action, "the reward": reward, "the next observation": observation}.items():
                whole = np.zeros((S * N, *x.shape[2:]))
                whole[rows[alive]] = x[alive]
                nan_checks.check(what, whole.reshape(S, N, *x.shape[2:]), "seed episode", f"step {t}")
        rewards[t, at] = reward.ravel()
        over = (ends | cut) & alive
        if over.any():
            gone = rows[over]
            lengths[gone], terminated[gone], final[gone] = t + 1, ends[over], observation[over]
            alive &= ~over
            if not alive.any():
                break
            if (kept := _worth_keeping(alive, policy.network.fewest_rows)) is not None:
                env.keep(kept)
                rows, alive = rows.take(kept), alive.take(kept)
                observation = np.ascontiguousarray(observation.reshape(-1, observation.shape[-1])[kept])
                network = policy.network.at(theta[torch.from_numpy(rows[:, 0] // N)])

    steps = int(lengths.max())

    def per_seed(x: NDArray) -> NDArray:
        return np.ascontiguousarray(x[:steps].swapaxes(0, 1)).reshape(S, N, steps, *x.shape[2:])

    after = np.arange(steps) >= lengths.reshape(S, N, 1)
    taken = per_seed(observations), per_seed(actions), per_seed(rewards)
    for x in taken:
        x[after] = 0
    finals = final.reshape(S, N, -1)
    outputs, _ = policy.network.forward(theta, torch.from_numpy(finals))
    final_actions = policy.sample(outputs, draws[H].reshape(S, N, *draws.shape[2:]))
    return Trajectories(*taken, lengths.reshape(S, N), terminated.reshape(S, N), finals, final_actions)


def _worth_keeping(alive: NDArray[np.bool_], fewest_rows: int) -> NDArray[np.int64] | None:
    """Flat indices [S', N'] of the rows to go on with, or None where dropping would gain little."""
    N = alive.shape[1]
    living = alive.sum(1)
    seeds = np.flatnonzero(living)
    width = min(N, max(int(living.max()), fewest_rows))
    if len(seeds) * width > WORTH_DROPPING * alive.size:
        return None
    order = np.argsort(~alive[seeds], axis=1, kind="stable")[:, :width]  # the living first, padded with ended ones
    return seeds[:, None] * N + order
