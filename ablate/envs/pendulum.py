"""Pendulum-v1 over [S, N]: Gymnasium's dynamics with one random stream per seed."""

from collections.abc import Sequence

import numpy as np
from gymnasium.envs.classic_control.pendulum import DEFAULT_X, DEFAULT_Y, PendulumEnv, angle_normalize
from numpy.typing import NDArray

from ablate.envs.base import Bools, Continuous, Float32, need_count

Floats = NDArray[np.float64]


class Pendulum:
    """Swing a pendulum up and hold it; reward -(angle^2 + 0.1 speed^2 + 0.001 torque^2), the angle from upright.

    Initial angle ~ U(-pi, pi), speed ~ U(-1, 1). The torque is the action clipped to +-2. Never terminated; truncated
    at `horizon`. Observation: (cos angle, sin angle, speed) as float32. Constants are read from Gymnasium's
    `PendulumEnv` and the arithmetic is its own, so given float32 actions, as it asks for, states and observations are
    bit-equal to it, step for step. Rewards are equal to 1e-9: NumPy rounds squares of numbers and of arrays apart.

    `state` [2, S, N] holds angle, speed.
    """

    observation_size = 3
    actions = Continuous(1)
    time_limit = True

    def __init__(self, horizon: int = 200) -> None:
        need_count("horizon", horizon)
        self.horizon = horizon
        self._pendulum = PendulumEnv()

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        states = np.stack([self.starts(stream, (episodes,)) for stream in streams])
        self._time = 0
        self.state = np.moveaxis(states, -1, 0).copy()
        return self._observation(self.state)

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        self.state, cost = self._advance(self.state, actions)
        self._time += 1
        terminated = np.zeros(cost.shape, bool)
        return self._observation(self.state), -cost, terminated, np.full(cost.shape, self._time >= self.horizon)

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.state = self.state.reshape(2, -1).take(rows, axis=1)

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        high = np.array([DEFAULT_X, DEFAULT_Y])
        return stream.uniform(-high, high, size=(*shape, 2))

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.empty((*shape, 0))

    def transition(self, states: Floats, actions: NDArray, draws: Floats) -> tuple[Floats, Floats, Bools]:
        state, cost = self._advance(np.moveaxis(states, -1, 0), actions)
        return np.moveaxis(state, 0, -1), -cost, np.zeros(cost.shape, bool)

    def observe(self, states: Floats) -> Float32:
        return self._observation(np.moveaxis(states, -1, 0))

    def _advance(self, state: Floats, actions: NDArray) -> tuple[Floats, Floats]:
        """The next states [2, ...] and the cost of the step."""
        angle, speed = state
        g, m, l, dt = self._pendulum.g, self._pendulum.m, self._pendulum.l, self._pendulum.dt
        torque = np.clip(actions[..., 0], -self._pendulum.max_torque, self._pendulum.max_torque)
        cost = angle_normalize(angle) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        speed = speed + (3 * g / (2 * l) * np.sin(angle) + 3.0 / (m * l**2) * torque) * dt
        speed = np.clip(speed, -self._pendulum.max_speed, self._pendulum.max_speed)
        return np.stack([angle + speed * dt, speed]), cost

    def _observation(self, state: Floats) -> Float32:
        angle, speed = state
        return np.stack([np.cos(angle), np.sin(angle), speed], axis=-1).astype(np.float32)
