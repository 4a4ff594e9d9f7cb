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
        # Arrays of no dimension: NumPy takes them at half the price of Python's numbers.
        self._gravity, self._tau, self._ratio = np.array(cart.gravity), np.array(cart.tau), np.array(4.0 / 3.0)
        self._pole_mass, self._total_mass = np.array(cart.masspole), np.array(cart.total_mass)
        self._length, self._polemass_length = np.array(cart.length), np.array(cart.polemass_length)
        self._farthest, self._steepest = np.array(cart.x_threshold), np.array(cart.theta_threshold_radians)
        self._forces = np.array([-cart.force_mag, cart.force_mag])

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        states = np.stack([stream.uniform(-0.05, 0.05, size=(episodes, 4)) for stream in streams])
        self._time = 0
        self._set_state(np.moveaxis(states, -1, 0).copy())
        return self._observation()

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        self._advance(self.state, actions, self._room)
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
        state, actions = states.T.copy(), actions.T
        self._advance(state, actions, np.empty((8, *actions.shape)))
        return state.T, np.ones(actions.shape).T, self._fallen(state).T

    def observe(self, states: Floats) -> Float32:
        return states.astype(np.float32, order="C")

    def _advance(self, state: Floats, actions: NDArray, room: Floats) -> None:
        """Move states [4, ...] on in place; `room` is [8, ...] to work in."""
        position, velocity = state[::2], state[1::2]
        theta, theta_dot = position[1], velocity[1]
        sin, cos, temp, inertia, acceleration, change = room[0], room[1], room[2], room[3], room[4:6], room[6:8]
        theta_acc, pull = acceleration[1], change[0]
        np.sin(theta, sin)
        np.cos(theta, cos)
        # In place, with the operands of Gymnasium's formulas in Gymnasium's order:
        # temp = (force + polemass_length * theta'^2 * sin) / total_mass
        np.square(theta_dot, temp)
        temp *= self._polemass_length
        temp *= sin
        temp += self._forces.take(actions)
        temp /= self._total_mass
        # theta'' = (gravity * sin - cos * temp) / (length * (4/3 - pole_mass * cos^2 / total_mass))
        np.square(cos, inertia)
        inertia *= self._pole_mass
        inertia /= self._total_mass
        np.subtract(self._ratio, inertia, inertia)
        inertia *= self._length
        sin *= self._gravity
        np.multiply(cos, temp, theta_acc)
        np.subtract(sin, theta_acc, theta_acc)
        theta_acc /= inertia
        # x'' = temp - polemass_length * theta'' * cos / total_mass
        np.multiply(theta_acc, self._polemass_length, pull)
        pull *= cos
        pull /= self._total_mass
        np.subtract(temp, pull, acceleration[0])
        # explicit Euler: the position moves with the old velocity
        np.multiply(velocity, self._tau, change)
        position += change
        acceleration *= self._tau
        velocity += acceleration

    def _fallen(self, state: Floats) -> Bools:
        return (np.abs(state[0]) > self._farthest) | (np.abs(state[2]) > self._steepest)

    def _set_state(self, state: Floats) -> None:
        self.state = state
        self._room = np.empty((8, *state.shape[1:]))
        self._rewards, self._never = np.ones(state.shape[1:]), np.zeros(state.shape[1:], bool)
        self._rewards.flags.writeable = self._never.flags.writeable = False  # handed out at every step

    def _observation(self) -> Float32:
        return self.state.transpose(1, 2, 0).astype(np.float32, order="C")
