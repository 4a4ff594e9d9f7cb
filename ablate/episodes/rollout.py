"""policy x environment -> Trajectories."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import nan_checks
from ablate.envs.base import Continuous, Discrete, Environment, Float32, GroupedEnvironment, Recorded
from ablate.episodes.trajectories import Trajectories, joined
from ablate.policies import Actor

Indices = NDArray[np.int64]
BUFFER_STEPS = 64  # steps that are recorded together
STEPS_AT_ONCE = 2**17  # of a seed's episodes that are played together, if each lasts to the horizon
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

    What is drawn and recorded on the way has room for every episode to last to the horizon. So that this stays bounded,
    many episodes of a long horizon are played in blocks, one after another; what is kept of a block ends with its
    longest episode. Each block has as many rows as keep the bits that they have together.
    """
    sizes = _blocks(episodes, env, policy)
    played = [_play(policy, theta, env, size, environment_streams, action_streams) for size in sizes]
    if len(played) == 1:
        return played[0]
    every = np.arange(len(theta))
    return joined([(every, block) for block in played], np.full(len(theta), episodes))


def _blocks(episodes: int, env: Environment, policy: Actor) -> list[int]:
    """How many episodes each block has: nearly equal numbers, as some environments keep an object an episode."""
    together = max(1, STEPS_AT_ONCE // env.horizon)
    if episodes <= together or isinstance(env, GroupedEnvironment | Recorded):
        return [episodes]  # what is grouped or recorded is what one `reset` has begun
    number = -(-episodes // max(together, 2 * policy.network.fewest_rows(episodes)))
    return [episodes // number + (k < episodes % number) for k in range(number)]


def _play(
    policy: Actor,
    theta: Tensor,
    env: Environment,
    episodes: int,
    environment_streams: Sequence[np.random.Generator],
    action_streams: Sequence[np.random.Generator],
) -> Trajectories:
    """A block of episodes.

    All seeds step together. Episodes that have ended are dropped from time to time, in ways that leave every bit of
    the others as it was: whole seeds, and rows of a seed down to `Network.fewest_rows`.
    """
    S, N, H = len(theta), episodes, env.horizon
    observation = env.reset(environment_streams, N)
    nan_checks.check("the first observation", observation, "seed episode")
    draws = np.stack([policy.draws(stream, (N, H + 1)) for stream in action_streams])  # [S, N, H+1, ...]
    lengths = np.zeros(S * N, np.int64)
    terminated = np.zeros(S * N, bool)
    final = np.zeros((S * N, env.observation_size), np.float32)

    alive = np.ones((S, N), bool)
    buffer = StepBuffer.of(np.arange(S * N).reshape(S, N), 0, env, draws)
    taken = [np.zeros((S * N, H, *x.shape[3:]), x.dtype) for x in buffer.steps]
    network = policy.network.at(theta)
    for t in range(H):
        if buffer.full:
            buffer.put(taken)
            buffer = StepBuffer.of(buffer.rows, t, env, draws)
        outputs, _ = network(torch.from_numpy(observation))
        action = policy.sample(outputs, buffer.draw)
        buffer.acted(observation, action)
        observation, reward, ends, cut = env.step(action)
        buffer.earned(reward)
        if nan_checks.watched():
            for what, x in {"the action": action, "the reward": reward, "the next observation": observation}.items():
                whole = np.zeros((S * N, *x.shape[2:]))
                whole[buffer.rows[alive]] = x[alive]
                nan_checks.check(what, whole.reshape(S, N, *x.shape[2:]), "seed episode", f"step {t}")
        over = (ends | cut) & alive
        if np.count_nonzero(over):
            gone = buffer.rows[over]
            lengths[gone], terminated[gone], final[gone] = t + 1, ends[over], observation[over]
            alive &= ~over
            if not np.count_nonzero(alive):
                break
            if (kept := _worth_keeping(alive, policy.network.fewest_rows(N))) is not None:
                env.keep(kept)
                rows, alive = buffer.rows.take(kept), alive.take(kept)
                observation = np.ascontiguousarray(observation.reshape(-1, observation.shape[-1])[kept])
                buffer.put(taken)
                buffer = StepBuffer.of(rows, t + 1, env, draws)
                network = policy.network.at(theta[torch.from_numpy(rows[:, 0] // N)])

    buffer.put(taken)
    after = np.arange(lengths.max()) >= lengths[:, None]
    for k in range(len(taken)):  # one at a time: each lets go of what was longer
        taken[k] = np.ascontiguousarray(taken[k][:, : after.shape[1]])
        taken[k][after] = 0
    observations, actions, rewards = (x.reshape(S, N, *x.shape[1:]) for x in taken)
    finals = final.reshape(S, N, -1)
    outputs, _ = policy.network.forward(theta, torch.from_numpy(finals))
    final_actions = policy.sample(outputs, draws[:, :, H])
    ended = terminated.reshape(S, N)
    return Trajectories(observations, actions, rewards, lengths.reshape(S, N), ended, finals, final_actions)


class StepBuffer:
    """Up to BUFFER_STEPS steps of the same episodes: those whose numbers are `rows` [S', N'], from time `start` on."""

    def __init__(self, rows: Indices, start: int, env: Environment, draws: NDArray):
        self.rows, self.start, self.taken = rows, start, 0
        self._draws = draws  # [steps, S', N', ...]
        shape = draws.shape[:3]
        match env.actions:
            case Discrete():
                actions: NDArray = np.empty(shape, np.int64)
            case Continuous(size):
                actions = np.empty((*shape, size), np.float32)
        observations = np.empty((*shape, env.observation_size), np.float32)
        self.steps = observations, actions, np.empty(shape)  # rewards

    @classmethod
    def of(cls, rows: Indices, start: int, env: Environment, draws: NDArray) -> "StepBuffer":
        """Of the draws of all episodes, [S, N, H+1, ...]."""
        times = slice(start, min(start + BUFFER_STEPS, env.horizon))
        own = draws.reshape(draws.shape[0] * draws.shape[1], *draws.shape[2:])[rows.ravel(), times].swapaxes(0, 1)
        return cls(rows, start, env, np.ascontiguousarray(own).reshape(len(own), *rows.shape, *own.shape[2:]))

    @property
    def full(self) -> bool:
        return self.taken == len(self._draws)

    @property
    def draw(self) -> NDArray:
        """The randomness of the next actions."""
        return self._draws[self.taken]

    def acted(self, observations: Float32, actions: NDArray) -> None:
        self.steps[0][self.taken], self.steps[1][self.taken] = observations, actions

    def earned(self, rewards: NDArray[np.float64]) -> None:
        self.steps[2][self.taken] = rewards
        self.taken += 1

    def put(self, taken: list[NDArray]) -> None:
        """Where the steps belong among observations, actions and rewards of all episodes, [S N, H, ...] each."""
        times = slice(self.start, self.start + self.taken)
        for whole, x in zip(taken, self.steps, strict=True):
            whole[self.rows.ravel(), times] = (
                x[: self.taken].reshape(self.taken, self.rows.size, *x.shape[3:]).swapaxes(0, 1)
            )


def _worth_keeping(alive: NDArray[np.bool_], fewest_rows: int) -> Indices | None:
    """Flat indices [S', N'] of the rows to go on with, or None where dropping would gain little."""
    N = alive.shape[1]
    living = alive.sum(1)
    seeds = np.flatnonzero(living)
    most = int(living.max())
    width = min(N, max(most + -most % 4, fewest_rows))  # else each `product` would copy them to fill them up
    if len(seeds) * width > WORTH_DROPPING * alive.size:
        return None
    if width == N:
        return seeds[:, None] * N + np.arange(N)  # whole seeds go, and no row changes its place
    order = np.argsort(~alive[seeds], axis=1, kind="stable")[:, :width]  # the living first, padded with ended ones
    return seeds[:, None] * N + order
