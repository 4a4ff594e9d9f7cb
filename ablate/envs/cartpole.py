"""CartPole-v1 over [S, N]: Gymnasium's dynamics with one random stream per seed and no autoreset."""

from collections.abc import Sequence

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray

from ablate.envs.base import Bools, Discrete, Float32, need_count

Floats = NDArray[np.float64]


class CartPole:
    """Push a cart left (0) or right (1) so that its pole stays up; reward 1 a step.

    Initial state ~ U(-0.05, 0.05)^4 per episode. Terminated when |x| > 2.4 or |theta| > 12 degrees; truncated at
    `horizon`. Observation: (x, x', theta, theta') as float32. The constants are read from Gymnasium's `CartPoleEnv`
    and the arithmetic is its own (explicit Euler, float64, the same order of operations), so states, observations,
    rewards and terminations are bit-equal to it, step for step.

    `state` [4, S, N] holds x, x', theta, theta'.

    Source: Barto, Sutton and Anderson (1983); gymnasium.envs.classic_control.cartpole.
    """

    observation_size = 4
    actions = Discrete(2)
    time_limit = True

    def __init__(self, horizon: int = 500) -> None:
        need_count("horizon", horizon)
        self.horizon = horizon
        cart = CartPoleEnv()
        self._gravity, self._force, self._tau = cart.gravity, cart.force_mag, cart.tau
        self._pole_mass, self._total_mass = cart.masspole, cart.total_mass
        self._length, self._polemass_length = cart.length, cart.polemass_length
        self._farthest, self._steepest = cart.x_threshold, cart.theta_threshold_radians

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        states = np.stack([stream.uniform(-0.05, 0.05, size=(episodes, 4)) for stream in streams])
        self._time = 0
        self._set_state(np.moveaxis(states, -1, 0).copy())
        return self._observation()

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        self._advance(self.state, actions, self._acceleration)
        self._time += 1
        terminated = self._fallen(self.state)
        truncated = ~terminated if self._time >= self.horizon else self._never
        return self._observation(), self._rewards, terminated, truncated

    def keep(self, rows: NDArray[np.int64]) -> None:
        self._set_state(self.state.reshape(4, -1).take(rows, axis=1))

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return stream.uniform(-0.05, 0.05, size=(*shape, 4))

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return np.empty((*shape, 0))

    def transition(self, states: Floats, actions: NDArray, draws: Floats) -> tuple[Floats, Floats, Bools]:
        state = np.moveaxis(states, -1, 0).copy()
        self._advance(state, actions, np.empty((2, *actions.shape)))
        return np.moveaxis(state, 0, -1), np.ones(actions.shape), self._fallen(state)

    def observe(self, states: Floats) -> Float32:
        return states.astype(np.float32)

    def _advance(self, state: Floats, actions: NDArray, acceleration: Floats) -> None:
        """Move states [4, ...] on in place; accelerations [2, ...] is room to work in."""
        position, velocity = state[::2], state[1::2]
        theta, theta_dot, theta_acc = position[1], velocity[1], acceleration[1]
        sin, cos = np.sin(theta), np.cos(theta)
        # In place, with the operands of Gymnasium's formulas in Gymnasium's order:
        # temp = (force + polemass_length * theta'^2 * sin) / total_mass
        temp = np.square(theta_dot)
        temp *= self._polemass_length
        temp *= sin
        temp += actions * (2 * self._force) - self._force
        temp /= self._total_mass
        # theta'' = (gravity * sin - cos * temp) / (length * (4/3 - pole_mass * cos^2 / total_mass))
        inertia = np.square(cos)
        inertia *= self._pole_mass
        inertia /= self._total_mass
        np.subtract(4.0 / 3.0, inertia, out=inertia)
        inertia *= self._length
        sin *= self._gravity
        np.subtract(sin, cos * temp, out=theta_acc)
        theta_acc /= inertia
        # x'' = temp - polemass_length * theta'' * cos / total_mass
        pull = theta_acc * self._polemass_length
        pull *= cos
        pull /= self._total_mass
        np.subtract(temp, pull, out=acceleration[0])
        # explicit Euler: the position moves with the old velocity
        position += velocity * self._tau
        acceleration *= self._tau
        velocity += acceleration

    def _fallen(self, state: Floats) -> Bools:
        return (np.abs(state[0]) > self._farthest) | (np.abs(state[2]) > self._steepest)

    def _set_state(self, state: Floats) -> None:
        self.state = state
        self._acceleration = np.empty((2, *state.shape[1:]))
        self._rewards, self._never = np.ones(state.shape[1:]), np.zeros(state.shape[1:], bool)
        self._rewards.flags.writeable = self._never.flags.writeable = False  # handed out at every step

    def _observation(self) -> Float32:
        return self.state.transpose(1, 2, 0).astype(np.float32, order="C")
