"""Linear-quadratic-Gaussian control over [S, N]: what `ablate.lqg` computes exactly, sampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.envs.base import Bools, Continuous, Float32, need_count
from ablate.errors import UserError
from ablate.lqg import LQG

Floats = NDArray[np.float64]


class LinearQuadratic:
    """s_{t+1} = A s_t + B a_t + w_t, r_t = -(s_t' Q s_t + a_t' R a_t), terminated after `lqg.horizon` steps.

    Each seed draws the initial states and disturbances of its N episodes at reset, [N, horizon + 1, n] standard
    normals. Observation: the state as float32 (inside, all is float64). `state` is [S, N, n].
    """

    time_limit = False

    def __init__(self, lqg: LQG) -> None:
        self.lqg = lqg
        self.horizon = lqg.horizon
        self.observation_size, size = np.shape(lqg.B)
        self.actions = Continuous(size)
        self._start_root, self._noise_root = root(lqg.s0_cov), root(lqg.W)

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        shape = (episodes, self.horizon + 1, self.observation_size)
        normals = np.stack([stream.standard_normal(shape) for stream in streams])
        self.state = self.lqg.s0_mean + apply(self._start_root, normals[:, :, 0])
        noise = apply(self._noise_root, normals[:, :, 1:])
        self._noise = np.ascontiguousarray(noise.reshape(-1, *noise.shape[2:]).swapaxes(0, 1))  # [horizon, S * N, n]
        self._episodes = np.arange(len(streams) * episodes).reshape(-1, episodes)  # which column each row reads
        self._time = 0
        return self.state.astype(np.float32)

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        self.state, reward = self._advance(self.state, actions, self._noise[self._time][self._episodes])
        self._time += 1
        terminated = np.full(reward.shape, self._time >= self.horizon)
        return self.state.astype(np.float32), reward, terminated, np.zeros_like(terminated)

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.state = self.state.reshape(-1, self.observation_size)[rows]
        self._episodes = self._episodes.take(rows)

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return self.lqg.s0_mean + apply(self._start_root, stream.standard_normal((*shape, self.observation_size)))

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        return apply(self._noise_root, stream.standard_normal((*shape, self.observation_size)))

    def transition(self, states: Floats, actions: NDArray, draws: Floats) -> tuple[Floats, Floats, Bools]:
        successors, reward = self._advance(states, actions, draws)
        return successors, reward, np.zeros(reward.shape, bool)

    def observe(self, states: Floats) -> Float32:
        return states.astype(np.float32)

    def _advance(self, s: Floats, actions: NDArray, noise: Floats) -> tuple[Floats, Floats]:
        a = actions.astype(np.float64)
        reward = -((s * apply(self.lqg.Q, s)).sum(-1) + (a * apply(self.lqg.R, a)).sum(-1))
        return apply(self.lqg.A, s) + apply(self.lqg.B, a) + noise, reward


def apply(matrix: Floats, x: Floats) -> Floats:
    """y_i = sum_j M_ij x_j over the last axis. A matrix product would round by the number of rows; this does not."""
    return (np.asarray(matrix) * x[..., None, :]).sum(-1)


def root(covariance: Floats) -> Floats:
    """C^{1/2}, symmetric, of a positive semi-definite C (which a Cholesky factor need not have)."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def build(
    A: ArrayLike,
    B: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    W: ArrayLike,
    s0_mean: ArrayLike,
    s0_cov: ArrayLike,
    horizon: int,
) -> LinearQuadratic:
    """The environment of these matrices, given as nested lists in its yaml. Refuses what does not fit together."""
    need_count("horizon", horizon)
    given = {"A": A, "B": B, "Q": Q, "R": R, "W": W, "s0_mean": s0_mean, "s0_cov": s0_cov}
    arrays: dict[str, Any] = {}
    for name, value in given.items():
        try:
            arrays[name] = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise UserError(
                f"env.{name} is not a regular array of numbers; give nested lists, as [[1, 0], [0, 1]]"
            ) from None
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"env.{name} has a NaN or infinite entry; give finite numbers")
    n, m = len(np.atleast_1d(arrays["s0_mean"])), np.atleast_2d(arrays["R"]).shape[-1]
    shapes = {"A": (n, n), "B": (n, m), "Q": (n, n), "R": (m, m), "W": (n, n), "s0_mean": (n,), "s0_cov": (n, n)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise UserError(
                f"env.{name} has shape {list(arrays[name].shape)}; "
                f"with {n} states (env.s0_mean) and {m} actions (env.R) it must be {list(shape)}"
            )
    for name in ("Q", "R", "W", "s0_cov"):
        matrix = arrays[name]
        if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix).min() < -1e-9 * (1 + np.abs(matrix).max()):
            raise UserError(
                f"env.{name} is not symmetric positive semi-definite; give a covariance or cost matrix that is"
            )
    return LinearQuadratic(LQG(**arrays, horizon=horizon))
