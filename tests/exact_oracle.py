"""The slow oracle of `ablate.exact`: every trajectory of a tiny MDP by a walk through its tree; and comparisons."""

import math
from dataclasses import dataclass

import numpy as np

from ablate.exact import (
    GroundTruth,
    Moments,
    Variant,
    scores,
    softmax,
)
from ablate.mdp import MDP

LAMBDA = 0.95


@dataclass
class Level:
    """The nodes of the tree after one more draw: whose child each is, and how likely given its parent."""

    parent: np.ndarray
    chance: np.ndarray


class Tree:
    """All trajectories [M]: states [M,H+1], actions, rewards, alive [M,H], probability [M]; and how they branch."""

    def __init__(self, mdp: MDP, pi: np.ndarray) -> None:
        self.mdp, self.pi = mdp, pi
        paths = [(1.0, [s], [], []) for s in range(mdp.num_states) if mdp.rho0[s] > 0]
        self.levels = [Level(np.zeros(len(paths), int), np.array([mdp.rho0[path[1][0]] for path in paths]))]
        paths = [(mdp.rho0[s], [s], [], []) for _, (s,), _, _ in paths]
        for _ in range(mdp.horizon):
            for draw in (self._actions, self._states):
                grown = [(i, chance, path) for i, old in enumerate(paths) for chance, path in draw(old) if chance > 0]
                self.levels.append(Level(np.array([i for i, _, _ in grown]), np.array([c for _, c, _ in grown])))
                paths = [(paths[i][0] * chance, *path) for i, chance, path in grown]
        self.probability = np.array([path[0] for path in paths])
        self.states = np.array([path[1] for path in paths])
        self.actions = np.array([path[2] for path in paths])
        self.rewards = np.array([path[3] for path in paths])
        self.alive = ~mdp.terminal[self.states[:, :-1]]

    def _actions(self, path):
        _, states, actions, rewards = path
        if self.mdp.terminal[states[-1]]:
            yield 1.0, (states, [*actions, 0], rewards)
            return
        for a in range(self.mdp.num_actions):
            yield self.pi[states[-1], a], (states, [*actions, a], rewards)

    def _states(self, path):
        _, states, actions, rewards = path
        s, a = states[-1], actions[-1]
        if self.mdp.terminal[s]:
            yield 1.0, ([*states, s], actions, [*rewards, 0.0])
            return
        for k, p in enumerate(self.mdp.probabilities[s, a]):
            yield p, ([*states, int(self.mdp.successors[s, a, k])], actions, [*rewards, self.mdp.rewards[s, a, k]])

    def conditional_mean(self, x: np.ndarray, where: np.ndarray, *keys: np.ndarray) -> np.ndarray:
        """E[x | keys] put back at each entry of x [M,H]; 0 where `where` is false."""
        p = np.broadcast_to(self.probability[:, None], x.shape)
        mean = np.zeros_like(x)
        labels = np.stack([np.broadcast_to(key, x.shape) for key in keys], -1)[where]
        if not len(labels):
            return mean
        _, group = np.unique(labels, axis=0, return_inverse=True)
        group = group.ravel()
        mean[where] = (np.bincount(group, (p * x)[where]) / np.bincount(group, p[where]))[group]
        return mean

    def moments(self, g: np.ndarray) -> Moments:
        """Mean, covariance and split of an estimate g [M,d], from its conditional means at every node."""
        split = np.zeros(3)
        centred = g - self.probability @ g
        covariance = (self.probability[:, None] * centred).T @ centred
        reach = [np.ones(1)]
        for level in self.levels:
            reach.append(reach[-1][level.parent] * level.chance)
        means = g
        for depth in reversed(range(len(self.levels))):
            level = self.levels[depth]
            above = np.zeros((len(reach[depth]), g.shape[1]))
            np.add.at(above, level.parent, level.chance[:, None] * means)
            jump = reach[depth + 1] @ ((means - above[level.parent]) ** 2).sum(-1)
            split[0 if depth == 0 else 1 if depth % 2 else 2] += jump
            means = above
        return Moments(means[0], self.gradient, *split, covariance=covariance)

    gradient: np.ndarray


def estimates(mdp: MDP, pi: np.ndarray, z: np.ndarray, discount_scores: bool) -> tuple[Tree, dict[Variant, np.ndarray]]:
    """g [M,d] of every variant, written down from its definition; the critics are conditional means of G_t."""
    tree = Tree(mdp, pi)
    H, gamma, alive, p = mdp.horizon, mdp.gamma, tree.alive, tree.probability
    t = np.arange(H)
    s, a = tree.states[:, :-1], tree.actions
    zs = z[s, a] * alive[..., None]
    R = (gamma**t * tree.rewards).sum(1)
    G = np.stack([(gamma ** np.arange(H - k) * tree.rewards[:, k:]).sum(1) for k in range(H)], 1)
    w = gamma**t if discount_scores else np.ones(H)
    tree.gradient = p @ np.einsum("m,mtd->md", R, zs)
    mean_R = p @ R

    critics = {}
    for name, clock in (("exact", t), ("clockless", 0 * t)):
        V = tree.conditional_mean(G, alive, clock, s)
        Q = tree.conditional_mean(G, alive, clock, s, a)
        V_next = np.zeros_like(V)  # by the same critic: V of the state at t+1, where the episode is not over then
        V_next[:, :-1] = V[:, 1:]
        critics[name] = V, Q, tree.rewards + gamma * V_next - V

    def weighed(phi, weights):
        return np.einsum("t,mtd,mt->md", weights, zs, phi)

    def best(phi, weights, cell):
        """The jointly best b of each cell, by least squares on all cells at once."""
        X = weighed(phi, weights)
        labels = {"constant": 0 * s, "time": 0 * s + t, "state": s, "time-state": s * H + t}[cell]
        F = np.stack([weighed((labels == c) * 1.0, weights) for c in np.unique(labels)])
        root = np.sqrt(p)[:, None]
        b = np.linalg.lstsq((F * root).reshape(len(F), -1).T, (X * root).ravel(), rcond=1e-12)[0]
        return X - np.tensordot(b, F, 1)

    ones = np.ones(H)
    total = np.repeat(R[:, None], H, 1)
    V, Q, delta = critics["exact"]
    clockless_V, clockless_Q, clockless_delta = critics["clockless"]
    norm = (zs**2).sum(-1)
    square = tree.conditional_mean(norm, alive, t, s)
    textbook = np.divide(tree.conditional_mean(norm * G, alive, t, s), square, out=0 * square, where=square > 0)
    gae = np.zeros_like(delta)
    for k in range(H):
        gae[:, k] = ((gamma * LAMBDA) ** np.arange(H - k) * delta[:, k:]).sum(1)
    all_action = np.zeros((len(p), z.shape[-1]))
    for k in range(H):  # E[z Q | s_t]
        for i in range(z.shape[-1]):
            term = tree.conditional_mean(zs[..., i] * Q, alive, t, s)
            all_action[:, i] += w[k] * term[:, k]

    def alive_mean(phi):
        return tree.conditional_mean(phi, alive, t)

    g = {
        Variant("return"): weighed(total, ones),
        Variant("return", "mean"): weighed(total - mean_R, ones),
        Variant("return", "time"): weighed(total - alive_mean(total), ones),
        Variant("return", "value", "exact"): weighed(total - V, ones),
        Variant("rtg"): weighed(G, w),
        Variant("rtg", "mean"): weighed(G - mean_R, w),
        Variant("rtg", "loo"): weighed(G - mean_R, w),
        Variant("rtg", "time"): weighed(G - alive_mean(G), w),
        Variant("rtg", "value", "exact"): weighed(G - V, w),
        Variant("rtg", "value", "clockless"): weighed(G - clockless_V, w),
        Variant("rtg", "textbook"): weighed(G - textbook, w),
        Variant("q", "none", "exact"): weighed(Q, w),
        Variant("q", "value", "exact"): weighed(Q - V, w),
        Variant("q", "mean", "exact"): weighed(Q - mean_R, w),
        Variant("q", "time", "exact"): weighed(Q - alive_mean(Q), w),
        Variant("q", "none", "clockless"): weighed(clockless_Q, w),
        Variant("q", "value", "clockless"): weighed(clockless_Q - clockless_V, w),
        Variant("td", "none", "exact"): weighed(delta, w),
        Variant("td", "none", "clockless"): weighed(clockless_delta, w),
        Variant("advantage", "none", "exact"): weighed(gae, w),
        Variant("all-action", "none", "exact"): all_action,
    }
    for cell in ("constant", "time", "state", "time-state"):
        g[Variant("return", f"optimal {cell}")] = best(total, ones, cell)
        g[Variant("rtg", f"optimal {cell}")] = best(G, w, cell)
        g[Variant("q", f"optimal {cell}", "exact")] = best(Q, w, cell)
    return tree, g


def ground_truth(mdp: MDP, logits: np.ndarray | None = None, **options: bool) -> GroundTruth:
    pi = softmax(mdp.logits if logits is None else logits)
    return GroundTruth(mdp, pi, scores(pi, mdp.features), **options)


def assert_moments(found: Moments, expected: Moments, scale: float, note: object) -> None:
    def close(x, y, size):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-12 * size, err_msg=str(note))

    close(found.mean, expected.mean, math.sqrt(scale))
    close(found.gradient, expected.gradient, math.sqrt(scale))
    for part in ("v_s0", "v_action", "v_transition", "trace_variance"):
        close(getattr(found, part), getattr(expected, part), scale)
