"""Linear-quadratic-Gaussian control: the continuous problem whose value, gradient and optimum are known exactly.

The policy is a_t = K s_t + e_t, e_t ~ N(0, Sigma), one gain K for every step; its score for K is Sigma^-1 e_t s_t'.
Gains may carry leading axes (a seed axis, say): K [..., m, n], Sigma [..., m, m]. They are carried through.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NODES = 4  # Gauss-Hermite: exact to degree 7 in each variable; a squared estimate has degree 6 (see `scalar_moments`)
LARGEST_GRID = 2**21  # quadrature points; each costs about 30 numbers per step


@dataclass(frozen=True)
class LQG:
    """s_{t+1} = A s_t + B a_t + w_t, w_t ~ N(0, W); r_t = -(s_t' Q s_t + a_t' R a_t); s_0 ~ N(s0_mean, s0_cov).

    J = E[sum_{t < horizon} gamma^t r_t]; every episode lasts `horizon` steps, and then it is over (V_horizon = 0).

    | field   | shape | meaning                                                 |
    |---------|-------|---------------------------------------------------------|
    | A       | [n,n] | how the state moves by itself                           |
    | B       | [n,m] | how the action moves the state                          |
    | Q       | [n,n] | cost of the state, symmetric positive semi-definite     |
    | R       | [m,m] | cost of the action, symmetric positive definite         |
    | W       | [n,n] | covariance of the disturbance                           |
    | s0_mean | [n]   | mean of the initial state                               |
    | s0_cov  | [n,n] | covariance of the initial state                         |
    """

    A: Floats
    B: Floats
    Q: Floats
    R: Floats
    W: Floats
    s0_mean: Floats
    s0_cov: Floats
    horizon: int
    gamma: float = 1.0

    def reward(self, states: Floats, actions: Floats) -> Floats:
        """r = -(s' Q s + a' R a), from states [..., n] and actions [..., m]: [...]."""
        return -(_quadratic(states, self.Q) + _quadratic(actions, self.R))


@dataclass(frozen=True)
class PolicyEvaluation:
    """V_t(s) = -(s' P_t s + c_t), with F = A + B K:

        P_t = Q + K' R K + gamma F' P_{t+1} F,                                    P_horizon = 0
        c_t = tr(R Sigma) + gamma (tr(P_{t+1} (W + B Sigma B')) + c_{t+1}),       c_horizon = 0
        X_{t+1} = F X_t F' + W + B Sigma B',                                      X_t = E[s_t s_t']

    P [..., horizon+1, n, n], c [..., horizon+1], X [..., horizon, n, n]; the leading axes are those of K.
    """

    problem: LQG
    K: Floats
    P: Floats
    c: Floats
    X: Floats

    @property
    def J(self) -> Floats:
        """J(K) = -(tr(P_0 X_0) + c_0), [...]."""
        return -(_trace(self.P[..., 0, :, :] @ self.X[..., 0, :, :]) + self.c[..., 0])

    @property
    def gradient(self) -> Floats:
        """dJ/dK = -2 sum_t gamma^t (R K + gamma B' P_{t+1} F) X_t, [..., m, n]."""
        p, K = self.problem, self.K
        F = p.A + p.B @ K
        per_step = (p.R @ K)[..., None, :, :] + p.gamma * p.B.T @ self.P[..., 1:, :, :] @ F[..., None, :, :]
        discounts = p.gamma ** np.arange(p.horizon)
        return -2 * (discounts[:, None, None] * (per_step @ self.X)).sum(-3)

    def V(self, states: Floats) -> Floats:
        """V_t(s_t) of states [..., N, T, n] at t = 0 .. T-1, T <= horizon + 1: [..., N, T]."""
        T = states.shape[-2]
        return -(_quadratic(states, self.P[..., None, :T, :, :]) + self.c[..., None, :T])

    def Q(self, states: Floats, actions: Floats) -> Floats:
        """Q_t(s, a) = r(s, a) - gamma (y' P_{t+1} y + tr(P_{t+1} W) + c_{t+1}), y = A s + B a.

        states [..., N, T, n], actions [..., N, T, m] at t = 0 .. T-1, T <= horizon: [..., N, T].
        """
        p, T = self.problem, states.shape[-2]
        P, c = self.P[..., 1 : T + 1, :, :], self.c[..., 1 : T + 1]
        means = _apply(p.A, states) + _apply(p.B, actions)
        ahead = _quadratic(means, P[..., None, :, :, :]) + (_trace(P @ p.W) + c)[..., None, :]
        return p.reward(states, actions) - p.gamma * ahead

    def A(self, states: Floats, actions: Floats) -> Floats:
        """A_t(s, a) = Q_t(s, a) - V_t(s), shapes as for Q."""
        return self.Q(states, actions) - self.V(states)


def evaluate(problem: LQG, K: Floats, Sigma: Floats) -> PolicyEvaluation:
    """The exact values of the policy a = K s + e, e ~ N(0, Sigma), at every step: K [..., m, n], Sigma [..., m, m].

    Differentiable by complex step: a complex K stays complex, transposes do not conjugate.
    """
    p = problem
    F = p.A + p.B @ K
    step = p.Q + _transpose(K) @ p.R @ K
    noise = p.W + p.B @ Sigma @ p.B.T
    P, c = [np.zeros_like(step)], [np.zeros_like(_trace(step))]
    for _ in range(p.horizon):
        c.append(_trace(p.R @ Sigma) + p.gamma * (_trace(P[-1] @ noise) + c[-1]))
        P.append(step + p.gamma * _transpose(F) @ P[-1] @ F)
    X = [p.s0_cov + np.outer(p.s0_mean, p.s0_mean) + np.zeros_like(step)]
    for _ in range(p.horizon - 1):
        X.append(F @ X[-1] @ _transpose(F) + noise)
    return PolicyEvaluation(p, K, np.stack(P[::-1], -3), np.stack(c[::-1], -1), np.stack(X, -3))


def optimum(problem: LQG) -> tuple[Floats, float]:
    """The best policy of all, by the Riccati recursion: gains K*_t [horizon, m, n], and its return J*.

    K*_t = -gamma (R + gamma B' P_{t+1} B)^-1 B' P_{t+1} A,   P_t = Q + gamma A' P_{t+1} (A + B K*_t),   a_t = K*_t s_t,
    J* = -(tr(P_0 X_0) + sum_t gamma^{t+1} tr(P_{t+1} W)).

    No policy does better, so J* - J(K) is the regret of a policy with one gain for all steps and noise of its own.
    (Anderson and Moore, Optimal Control: Linear Quadratic Methods, 1990.)
    """
    p = problem
    P, cost, gains = np.zeros_like(p.Q), 0.0, []
    for _ in range(p.horizon):
        cost = p.gamma * (float(np.trace(P @ p.W)) + cost)
        gains.append(-p.gamma * np.linalg.solve(p.R + p.gamma * p.B.T @ P @ p.B, p.B.T @ P @ p.A))
        P = p.Q + p.gamma * p.A.T @ P @ (p.A + p.B @ gains[-1])
    start = p.s0_cov + np.outer(p.s0_mean, p.s0_mean)
    return np.stack(gains[::-1]), -(float(np.trace(P @ start)) + cost)


class ScalarMoments(NamedTuple):
    """Exact mean and variance of a one-trajectory gradient estimate."""

    mean: Floats
    variance: Floats


def scalar_moments(problem: LQG, K: float, sigma: float) -> dict[tuple[str, str], ScalarMoments]:
    """Exact mean and variance of g = sum_t gamma^t z_t Phi_t for each (phi, baseline), n = m = 1, e_t ~ N(0, sigma^2).

    z_t = e_t s_t / sigma^2. Baselines: `none`; `mean`, the true J at every step; `value`, V_t(s_t). `return` is
    Phi = sum_k gamma^k r_k and carries no gamma^t; (q, value) is the advantage Q - V; `td` is
    r_t + gamma V_{t+1}(s_{t+1}) - V_t(s_t). All critics are exact, so every mean is dJ/dK.

    By tensor Gauss-Hermite quadrature over (s_0, e_0, w_0, e_1, ..., e_{horizon-1}). It is exact, not approximate: s_t
    is linear in each of these and free of e_t, so g has degree 3 and g^2 degree 6 in each; 4 nodes integrate degree 7.
    The grid has 4^(2 horizon) points, fewer where s0_cov or W is 0. Raises ValueError above 2^21 points (horizon 6).
    """
    p = problem
    if p.A.size != 1 or p.B.size != 1:
        raise ValueError("the quadrature is for a scalar state and a scalar action")
    weights, states, actions = _grid_of_trajectories(p, K, sigma)
    policy = evaluate(p, np.array([[K]]), np.array([[sigma**2]]))
    V, Q, J = policy.V(states), policy.Q(states, actions), policy.J
    rewards = p.reward(states, actions)
    discounts = p.gamma ** np.arange(p.horizon)
    scores = ((actions - K * states) * states / sigma**2)[..., 0]

    discounted = discounts * rewards
    total = discounted.sum(-1, keepdims=True)
    to_go = np.cumsum(discounted[:, ::-1], -1)[:, ::-1] / discounts
    next_V = np.concatenate([V[:, 1:], np.zeros_like(V[:, :1])], -1)

    def moments(estimates: Floats) -> ScalarMoments:
        mean = weights @ estimates
        return ScalarMoments(mean, weights @ (estimates - mean) ** 2)

    def per_step(phi: Floats) -> ScalarMoments:
        return moments((discounts * scores * phi).sum(-1))

    return {
        ("return", "none"): moments((scores * total).sum(-1)),
        ("return", "mean"): moments((scores * (total - J)).sum(-1)),
        ("rtg", "none"): per_step(to_go),
        ("rtg", "mean"): per_step(to_go - J),
        ("rtg", "value"): per_step(to_go - V),
        ("q", "none"): per_step(Q),
        ("q", "mean"): per_step(Q - J),
        ("q", "value"): per_step(Q - V),
        ("td", "none"): per_step(rewards + p.gamma * next_V - V),
    }


def _grid_of_trajectories(p: LQG, K: float, sigma: float) -> tuple[Floats, Floats, Floats]:
    """Every trajectory of the quadrature: weights [M] summing to 1, states [M, horizon, 1], actions [M, horizon, 1]."""
    start, disturbance = float(np.sqrt(p.s0_cov.item())), float(np.sqrt(p.W.item()))
    scales = [start] + [sigma, disturbance] * (p.horizon - 1) + [sigma]
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(NODES)
    node_weights = node_weights / node_weights.sum()
    points = [scale * nodes if scale else np.zeros(1) for scale in scales]
    size = int(np.prod([len(x) for x in points], dtype=object))
    if size > LARGEST_GRID:
        raise ValueError(f"horizon {p.horizon} takes {size} quadrature points; give a horizon of 5 or less")
    weights = np.ones(1)
    for x in points:
        weights = np.outer(weights, node_weights if len(x) > 1 else [1.0]).ravel()
    noise = np.stack([axis.ravel() for axis in np.meshgrid(*points, indexing="ij")], -1)

    states, actions = [p.s0_mean.item() + noise[:, 0]], [K * (p.s0_mean.item() + noise[:, 0]) + noise[:, 1]]
    for t in range(1, p.horizon):
        states.append(p.A.item() * states[-1] + p.B.item() * actions[-1] + noise[:, 2 * t])
        actions.append(K * states[-1] + noise[:, 2 * t + 1])
    return weights, np.stack(states, -1)[..., None], np.stack(actions, -1)[..., None]


def _apply(M: Floats, x: Floats) -> Floats:
    """M x over the last axis, one vector at a time: no number depends on what else is in the array."""
    return (M @ x[..., None])[..., 0]


def _quadratic(x: Floats, M: Floats) -> Floats:
    """x' M x over the last axis."""
    return (_apply(M, x) * x).sum(-1)


def _trace(M: Floats) -> Floats:
    return np.trace(M, axis1=-2, axis2=-1)


def _transpose(M: Floats) -> Floats:
    return np.swapaxes(M, -1, -2)
