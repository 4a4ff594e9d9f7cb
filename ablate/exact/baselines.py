"""Exact baselines b_t(s), [H,S]: the mean per time, the textbook's, and those of least variance.

For an estimator g = sum_t w_t z_t (Phi_t - b) with one b for every (t, s) of a cell, tr Cov g is quadratic in b. Scores
of different times are uncorrelated, so the cells do not interact, and

    b*(cell) = E<F, X> / E|F|^2,    F = sum_t w_t z_t 1{(t, s_t) in cell},    X = sum_t w_t z_t Phi_t.

Source: Greensmith, Bartlett & Baxter (2004); Weaver & Tao (2001).
"""

from collections.abc import Callable

import numpy as np

from ablate.exact.evaluation import Floats, arrive, average, expect, occupancy, transitions
from ablate.mdp import MDP

CELLS: dict[str, tuple[int, ...]] = {"constant": (0, 1), "time": (1,), "state": (0,), "time-state": ()}  # summed axes


def earned_before(
    mdp: MDP, pi: Floats, step: Callable[[int], Floats], start: Floats | float = 0.0
) -> tuple[Floats, Floats]:
    """E[1{s_t = s, not over} p_t] and the same of p_t^2, both [H,S]: p_t = start(s_0) + sum_{k < t} gamma^k D_k.

    step: t -> D_t(s,a,s') [S,A,K], such as rewards or TD errors; start [S].
    """
    flow, occupied = pi[..., None] * transitions(mdp), occupancy(mdp, pi)
    first, second = np.zeros_like(occupied), np.zeros_like(occupied)
    first[0], second[0] = occupied[0] * start, occupied[0] * np.square(start)
    for t in range(1, mdp.horizon):
        here, one, two = (f[t - 1][:, None, None] for f in (occupied, first, second))
        new = mdp.gamma ** (t - 1) * step(t - 1)
        for f, carried in ((first, one + here * new), (second, two + 2 * one * new + here * new**2)):
            f[t] = np.bincount(mdp.successors.ravel(), (carried * flow).ravel(), mdp.num_states) * ~mdp.terminal
    return first, second


def textbook(pi: Floats, z: Floats, Q: Floats) -> Floats:
    """b_t(s) = E[|z|^2 Q_t | s] / E[|z|^2 | s], which ignores that steps are correlated, and so may lose to V_t(s).

    pi [S,A], z [S,A,d], Q [H,S,A]; 0 where the score is.
    """
    weights = pi * np.einsum("sad,sad->sa", z, z)
    total = np.einsum("sa,tsa->ts", weights, Q)
    norms = np.broadcast_to(weights.sum(-1), total.shape)
    return np.divide(total, norms, out=np.zeros_like(total), where=norms > 0)


def optimal(numerators: Floats, denominators: Floats, cell: str) -> Floats:
    """b* = sum numerators / sum denominators over each cell, spread out to [H,S]; 0 where no score falls into it."""
    top = numerators.sum(CELLS[cell], keepdims=True)
    bottom = denominators.sum(CELLS[cell], keepdims=True)
    return np.broadcast_to(np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0), numerators.shape)


def cell_average(weights: Floats, f: Floats, cell: str) -> Floats:
    """sum w f / sum w over each cell, spread out to [H,S]."""
    return np.broadcast_to(average(weights, f, CELLS[cell]), f.shape)


def score_products(
    mdp: MDP, pi: Floats, z: Floats, Q: Floats, phi: str, past: Floats | float = 0.0, *, discount_scores: bool = True
) -> tuple[Floats, Floats]:
    """E<f, X> and E|f|^2 for f = w_t z_t 1{s_t = s}, both [H,S]; summed over a cell they give its b* (see `optimal`).

    E<f, X> is w_t times the sum over k of E[1{s_t = s} z_t . w_k z_k Phi_k], where, given what came before,

        k = t    E[w_t |z|^2 Q_t | s]
        k > t    E[z . x_{t+1}(s') | s],         x_t(s) = E[sum_{k >= t} w_k z_k Phi_k | s_t = s]
        k < t    <u_t(s), E[z Q_t | s]>          u_t(s) = E[1{s_t = s} sum_{k < t} w_k gamma^(t-k) z_k]; 0 for phi = q

    For the return, Phi = past + gamma^t G_t, so gamma^t takes the place of w_t in these, and the past rewards add
    E[1{s_t = s} past_t] E[|z|^2 | s], the first of which is `past` [H,S].

    phi is return, rtg or q; Q [H,S,A] is E[Phi_t|t,s,a], or of G_t for the return. With Q - V in place of Q, X is that
    of Phi - V. O(H S^2 A d), memory O(S A d).
    """
    P, occupied = transitions(mdp), occupancy(mdp, pi)
    z = z * ~mdp.terminal[:, None, None]
    norms = pi * np.einsum("sad,sad->sa", z, z)
    ones, discounts = np.ones((mdp.horizon, 1)), mdp.gamma ** np.arange(mdp.horizon)[:, None]
    w = discounts if discount_scores and phi != "return" else ones
    measured = discounts if phi == "return" else w

    products = measured * occupied * np.einsum("sa,tsa->ts", norms, Q)
    x = np.zeros((mdp.num_states, z.shape[-1]))
    for t in reversed(range(mdp.horizon)):
        ahead = expect(mdp.successors, P, x)
        products[t] += occupied[t] * (pi * np.einsum("sad,sad->sa", z, ahead)).sum(-1)
        x = np.einsum("sa,sad->sd", pi, (measured[t] * Q[t])[..., None] * z + ahead)
    if phi != "q":
        u = np.zeros_like(x)
        for t in range(mdp.horizon):
            products[t] += np.einsum("sd,sd->s", u, np.einsum("sa,sad->sd", pi * Q[t], z))
            left = pi[..., None] * (u[:, None, :] + (measured[t] * occupied[t])[:, None, None] * z)
            u = arrive(mdp.successors, mdp.gamma * P, left)
    if phi == "return":
        products += past * norms.sum(-1)
    return w * products, w**2 * occupied * norms.sum(-1)
