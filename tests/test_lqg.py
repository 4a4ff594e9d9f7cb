"""LQG: closed forms against difference quotients, simulation, quadrature in one more way, and hand-worked cases."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from gaussian_bandit import GaussianBandit
from scipy.linalg import solve_discrete_are

from ablate.lqg import LQG, evaluate, optimum, scalar_moments

SCALAR = LQG(
    A=np.array([[0.9]]),
    B=np.array([[0.5]]),
    Q=np.array([[1.0]]),
    R=np.array([[0.3]]),
    W=np.array([[0.2]]),
    s0_mean=np.array([1.5]),
    s0_cov=np.array([[0.4]]),
    horizon=3,
    gamma=0.9,
)


def random_problem(rng, n=3, m=2, horizon=6, gamma=0.95):
    def covariance(size):
        root = rng.normal(size=(size, size))
        return root @ root.T / size + 0.1 * np.eye(size)

    A, B = 0.5 * rng.normal(size=(n, n)), rng.normal(size=(n, m))
    parts = covariance(n), covariance(m), covariance(n), rng.normal(size=n), covariance(n)
    return LQG(A, B, *parts, horizon=horizon, gamma=gamma), 0.3 * rng.normal(size=(m, n)), covariance(m)


def simulate(p, K, Sigma, episodes, rng):
    """States [N, T+1, n], actions [N, T, m], noise [N, T, m], by stepping the dynamics."""
    states = [rng.multivariate_normal(p.s0_mean, p.s0_cov, episodes)]
    actions, noises = [], []
    for _ in range(p.horizon):
        noises.append(rng.multivariate_normal(np.zeros(len(p.R)), Sigma, episodes))
        actions.append(states[-1] @ K.T + noises[-1])
        disturbance = rng.multivariate_normal(np.zeros(len(p.Q)), p.W, episodes)
        states.append(states[-1] @ p.A.T + actions[-1] @ p.B.T + disturbance)
    return np.stack(states, 1), np.stack(actions, 1), np.stack(noises, 1)


def costs(p, states, actions):
    """s'Qs + a'Ra, written out."""
    return np.einsum("...i,ij,...j", states, p.Q, states) + np.einsum("...i,ij,...j", actions, p.R, actions)


def test_one_step_by_hand():
    p = replace(SCALAR, horizon=1)
    K, variance = -0.7, 0.25
    policy = evaluate(p, np.array([[K]]), np.array([[variance]]))
    second_moment = 1.5**2 + 0.4
    assert float(policy.J) == pytest.approx(-((1.0 + 0.3 * K**2) * second_moment + 0.3 * variance), rel=1e-14)
    assert policy.gradient.item() == pytest.approx(-2 * 0.3 * K * second_moment, rel=1e-14)


def test_two_steps_by_hand():
    """A = B = Q = R = 1, no noise, s_0 = 1, K = -1/2: s = 1, 1/2; a = -1/2, -1/4; J = -(1 + 1/4) (1 + gamma / 4)."""
    one = np.ones((1, 1))
    p = LQG(one, one, one, one, 0 * one, np.ones(1), 0 * one, horizon=2, gamma=0.8)
    policy = evaluate(p, -one / 2, 0 * one)
    assert float(policy.J) == pytest.approx(-1.25 * (1 + 0.8 / 4), rel=1e-14)
    states, actions = np.array([[[1.0], [0.5]]]), np.array([[[-0.5], [-0.25]]])
    np.testing.assert_allclose(policy.V(states), [[-1.25 * 1.2, -1.25 / 4]], rtol=1e-14)
    np.testing.assert_allclose(policy.Q(states, actions), policy.V(states), rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_by_complex_step_and_finite_differences(seed):
    p, K, Sigma = random_problem(np.random.default_rng(seed))
    gradient = evaluate(p, K, Sigma).gradient
    for index in np.ndindex(*K.shape):
        nudge = np.zeros(K.shape)
        nudge[index] = 1.0
        by_complex_step = evaluate(p, K + 1e-30j * nudge, Sigma).J.imag / 1e-30
        assert gradient[index] == pytest.approx(by_complex_step, rel=1e-12, abs=1e-12)
        up, down = (evaluate(p, K + h * nudge, Sigma).J for h in (1e-5, -1e-5))
        assert gradient[index] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-7)


def test_return_and_gradient_against_simulation():
    """J, and dJ/dK by the score function: |z| < 4.5 in 7 comparisons, a false alarm in 2e4 seeds."""
    rng = np.random.default_rng(1)
    p, K, Sigma = random_problem(rng, horizon=4)
    states, actions, noise = simulate(p, K, Sigma, 200_000, rng)
    returns = -(costs(p, states[:, :-1], actions) * p.gamma ** np.arange(p.horizon)).sum(1)
    scores = np.einsum("ij,nti,ntk->njk", np.linalg.inv(Sigma), noise, states[:, :-1])
    policy = evaluate(p, K, Sigma)
    samples = np.concatenate([returns[:, None], (scores * (returns - returns.mean())[:, None, None]).reshape(-1, 6)], 1)
    exact = np.concatenate([[policy.J], policy.gradient.ravel()])
    z = (samples.mean(0) - exact) / (samples.std(0) / np.sqrt(len(samples)))
    assert np.abs(z).max() < 4.5, z


def test_values_against_simulation_from_a_state():
    """V_t(s) and Q_t(s, a) are the expected returns from there: |z| < 4.5 in 2 comparisons."""
    rng = np.random.default_rng(2)
    p, K, Sigma = random_problem(rng, horizon=5)
    t, state, action = 2, rng.normal(size=3), rng.normal(size=2)
    policy = evaluate(p, K, Sigma)
    rest = replace(p, horizon=p.horizon - t, s0_mean=state, s0_cov=np.zeros((3, 3)))
    here, done = np.tile(state, (1, t + 1, 1)), np.tile(action, (1, t + 1, 1))

    states, actions, _ = simulate(rest, K, Sigma, 100_000, rng)
    returns = -(costs(p, states[:, :-1], actions) * p.gamma ** np.arange(rest.horizon)).sum(1)
    assert abs(returns.mean() - policy.V(here)[0, t]) < 4.5 * returns.std() / np.sqrt(len(returns))

    after = replace(rest, horizon=rest.horizon - 1, s0_mean=p.A @ state + p.B @ action, s0_cov=p.W)
    states, actions, _ = simulate(after, K, Sigma, 100_000, rng)
    returns = -(costs(p, states[:, :-1], actions) * p.gamma ** np.arange(after.horizon)).sum(1)
    returns = -costs(p, state, action) + p.gamma * returns
    assert abs(returns.mean() - policy.Q(here, done)[0, t]) < 4.5 * returns.std() / np.sqrt(len(returns))


def test_bellman_identities():
    """E_a Q_t(s, a) = V_t(s) and E A = 0 (the expectation by 3-node Gauss-Hermite, exact for quadratics); V_H = 0."""
    p, K, Sigma = random_problem(np.random.default_rng(3))
    policy = evaluate(p, K, Sigma)
    states = np.random.default_rng(4).normal(size=(5, p.horizon + 1, 3))
    values = policy.V(states)
    assert values.shape == (5, p.horizon + 1)
    np.testing.assert_array_equal(values[:, -1], 0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    weights, root = weights / weights.sum(), np.linalg.cholesky(Sigma)
    now, averaged, advantage = states[:, :-1], 0.0, 0.0
    for i, j in np.ndindex(3, 3):
        action = now @ K.T + root @ np.array([nodes[i], nodes[j]])
        averaged = averaged + weights[i] * weights[j] * policy.Q(now, action)
        advantage = advantage + weights[i] * weights[j] * policy.A(now, action)
    np.testing.assert_allclose(averaged, values[:, :-1], rtol=1e-12)
    np.testing.assert_allclose(advantage, 0, atol=1e-12 * np.abs(values).max())


def test_leading_axes_are_the_single_problems_to_the_bit():
    rng = np.random.default_rng(5)
    p, _, _ = random_problem(rng)
    K, roots = 0.3 * rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 2))
    Sigma = roots @ np.swapaxes(roots, -1, -2)
    states, actions = rng.normal(size=(4, 7, p.horizon, 3)), rng.normal(size=(4, 7, p.horizon, 2))
    together = evaluate(p, K, Sigma)
    for k in range(4):
        alone = evaluate(p, K[k], Sigma[k])
        np.testing.assert_array_equal(together.J[k], alone.J)
        np.testing.assert_array_equal(together.gradient[k], alone.gradient)
        np.testing.assert_array_equal(together.V(states)[k], alone.V(states[k]))
        np.testing.assert_array_equal(together.Q(states, actions)[k], alone.Q(states[k], actions[k]))


def test_optimum_is_stationary_and_unbeaten():
    rng = np.random.default_rng(6)
    p, K, Sigma = random_problem(rng)
    gains, best = optimum(p)
    assert gains.shape == (p.horizon, 2, 3)
    np.testing.assert_array_equal(gains[-1], 0)  # nothing is left to steer towards
    assert float(evaluate(p, K, 0 * Sigma).J) < best

    def value_of(gains):
        """The return of time-varying gains, forwards: costs of second moments."""
        X, total = p.s0_cov + np.outer(p.s0_mean, p.s0_mean), 0.0
        for t, gain in enumerate(gains):
            total -= p.gamma**t * np.trace((p.Q + gain.T @ p.R @ gain) @ X)
            F = p.A + p.B @ gain
            X = F @ X @ F.T + p.W
        return total

    assert value_of(gains) == pytest.approx(best, rel=1e-12)
    for _ in range(20):
        direction = rng.normal(size=gains.shape)
        up, down = value_of(gains + 1e-4 * direction), value_of(gains - 1e-4 * direction)
        assert up < best
        assert down < best
        assert abs(up - down) < 1e-7 * abs(best)  # flat to first order


def test_long_horizon_optimum_is_the_algebraic_riccati_gain():
    p, _, _ = random_problem(np.random.default_rng(7), horizon=200, gamma=0.95)
    gains, _ = optimum(p)
    root = np.sqrt(p.gamma)
    P = solve_discrete_are(root * p.A, root * p.B, p.Q, p.R)
    stationary = -p.gamma * np.linalg.solve(p.R + p.gamma * p.B.T @ P @ p.B, p.B.T @ P @ p.A)
    np.testing.assert_allclose(gains[0], stationary, rtol=1e-9)


def by_hand_estimates(p, K, sigma, states, noise):
    """g of every variant from states [N, T+1] and noise [N, T], step by step, with V and Q from nested expectations."""
    A, B, Q, R, W = (x.item() for x in (p.A, p.B, p.Q, p.R, p.W))
    P, c = [0.0], [0.0]  # cost to go: P s^2 + c, by one-step substitution
    for _ in range(p.horizon):
        c.append(R * sigma**2 + p.gamma * (P[-1] * (B**2 * sigma**2 + W) + c[-1]))
        P.append(Q + R * K**2 + p.gamma * P[-1] * (A + B * K) ** 2)
    P, c = P[::-1], c[::-1]
    start = p.s0_mean.item() ** 2 + p.s0_cov.item()
    J = -(P[0] * start + c[0])
    actions = K * states[:, :-1] + noise
    rewards = -(Q * states[:, :-1] ** 2 + R * actions**2)
    total = sum(p.gamma**t * rewards[:, t] for t in range(p.horizon))
    out = defaultdict(float)
    for t in range(p.horizon):
        score = noise[:, t] * states[:, t] / sigma**2
        rtg = sum(p.gamma ** (k - t) * rewards[:, k] for k in range(t, p.horizon))
        V, next_V = -(P[t] * states[:, t] ** 2 + c[t]), -(P[t + 1] * states[:, t + 1] ** 2 + c[t + 1])
        mean = A * states[:, t] + B * actions[:, t]
        q = rewards[:, t] - p.gamma * (P[t + 1] * (mean**2 + W) + c[t + 1])
        out["return", "none"] += score * total
        out["return", "mean"] += score * (total - J)
        td = rewards[:, t] + p.gamma * next_V - V
        phis = {"rtg none": rtg, "rtg mean": rtg - J, "rtg value": rtg - V, "q none": q, "q mean": q - J}
        phis |= {"q value": q - V, "td none": td}
        for name, phi in phis.items():
            out[tuple(name.split())] += p.gamma**t * score * phi
    return out


@pytest.mark.parametrize("problem", [SCALAR, replace(SCALAR, horizon=2, W=np.zeros((1, 1)), gamma=1.0)])
def test_quadrature_against_simulation(problem):
    """9 variants, mean and variance, 2 problems: |z| < 4.5 in 36 comparisons, a false alarm in 4e3 seeds.

    The variance's z is on batch means of the squared deviation from the exact mean: the estimates are heavy-tailed.
    """
    K, sigma, N = -0.6, 0.8, 400_000
    rng = np.random.default_rng(8)
    noise = sigma * rng.normal(size=(N, problem.horizon))
    states = [problem.s0_mean.item() + np.sqrt(problem.s0_cov.item()) * rng.normal(size=N)]
    for t in range(problem.horizon):
        w = np.sqrt(problem.W.item()) * rng.normal(size=N)
        states.append(0.9 * states[-1] + 0.5 * (K * states[-1] + noise[:, t]) + w)
    sampled = by_hand_estimates(problem, K, sigma, np.stack(states, 1), noise)
    exact = scalar_moments(problem, K, sigma)
    assert exact.keys() == sampled.keys()
    for name, g in sampled.items():
        mean, variance = exact[name]
        assert abs(g.mean() - mean) < 4.5 * g.std() / np.sqrt(N), name
        squares = (g - mean) ** 2
        assert abs(squares.mean() - variance) < 4.5 * squares.std() / np.sqrt(N), name


def test_every_exact_mean_is_the_gradient():
    gradient = evaluate(SCALAR, np.array([[-0.6]]), np.array([[0.64]])).gradient.item()
    for name, (mean, variance) in scalar_moments(SCALAR, -0.6, 0.8).items():
        assert mean == pytest.approx(gradient, rel=1e-12), name
        assert variance > 0


def test_quadrature_has_nodes_enough(monkeypatch):
    """Polynomials are integrated exactly: two nodes more change nothing, one fewer does."""
    exact = scalar_moments(SCALAR, -0.6, 0.8)
    monkeypatch.setattr("ablate.lqg.NODES", 6)
    for name, (mean, variance) in scalar_moments(SCALAR, -0.6, 0.8).items():
        assert (mean, variance) == pytest.approx(exact[name], rel=1e-11), name
    monkeypatch.setattr("ablate.lqg.NODES", 3)
    assert scalar_moments(SCALAR, -0.6, 0.8)["rtg", "none"].variance != pytest.approx(exact["rtg", "none"].variance)


def test_one_step_problem_is_a_gaussian_bandit():
    """horizon 1, s_0 = 1: J = -(q + R a^2), and K is the bandit's mu."""
    p = replace(SCALAR, horizon=1, s0_mean=np.ones(1), s0_cov=np.zeros((1, 1)))
    bandit = GaussianBandit(mu=-0.6, sigma=0.8, reward=(-1.0, 0.0, -0.3))
    moments = scalar_moments(p, -0.6, 0.8)
    for name, baseline in (
        (("rtg", "none"), 0.0),
        (("rtg", "value"), bandit.value),
        (("return", "mean"), bandit.value),
    ):
        mean, variance = bandit.moments(baseline)
        assert moments[name] == pytest.approx((mean[0], variance[0]), rel=1e-12)


def test_gaussian_bandit_against_quadrature():
    """The moments by 12-node Gauss-Hermite over (e, reward noise), in both parameters."""
    bandit = GaussianBandit(mu=0.7, sigma=1.3, reward=(0.5, -1.0, 0.4), noise=0.6)
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    e, u = np.meshgrid(nodes, nodes, indexing="ij")
    action = 0.7 + 1.3 * e
    reward = 0.5 - action + 0.4 * action**2 + 0.6 * u
    scores = np.stack([(action - 0.7) / 1.3**2, (action - 0.7) ** 2 / 1.3**2 - 1])
    assert bandit.value == pytest.approx((weights * reward).sum(), rel=1e-12)
    for baseline in (0.0, 2.0, bandit.optimal_baseline):
        g = scores * (reward - baseline)
        mean = (weights * g).sum((1, 2))
        np.testing.assert_allclose(bandit.moments(baseline).mean, mean, rtol=1e-12)
        variance = (weights * g**2).sum((1, 2)) - mean**2
        np.testing.assert_allclose(bandit.moments(baseline).variance, variance, rtol=1e-12)


def test_gaussian_bandit_optimal_baseline_is_a_minimum():
    bandit = GaussianBandit(mu=0.7, sigma=1.3, reward=(0.5, -1.0, 0.4), noise=0.6)
    trace = [bandit.moments(bandit.optimal_baseline + shift).variance.sum() for shift in (-0.1, 0.0, 0.1)]
    assert trace[0] > trace[1] < trace[2]
    assert trace[0] == pytest.approx(trace[2], rel=1e-12)  # a parabola in b


def test_quadrature_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="horizon of 5"):
        scalar_moments(replace(SCALAR, horizon=6), -0.6, 0.8)
    with pytest.raises(ValueError, match="scalar"):
        scalar_moments(random_problem(np.random.default_rng(0))[0], -0.6, 0.8)
