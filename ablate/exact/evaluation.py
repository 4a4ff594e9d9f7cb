"""Values, occupancies and the policy gradient of a finite MDP, by dynamic programming.

Everywhere: pi [S,A] is the policy, z [S,A,d] its score table, z[s,a] = grad_theta log pi(a|s), for whatever theta it
has: one logit a cell (`scores` with one-hot features), shared features (`scores`), or any other basis. A score table
has sum_a pi(a|s) z[s,a] = 0. In a terminal state the episode is over: no score, no reward, value 0.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.mdp import MDP

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BLOCK = 2**18  # numbers gathered at a time


def softmax(logits: Floats) -> Floats:
    """pi(a|s) = exp(l[s,a]) / sum_b exp(l[s,b]): [S,A] to [S,A]."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def scores(pi: Floats, features: Floats, directions: Floats | None = None) -> Floats:
    """d log pi(a|s) / d W[i,j] = x_i(s) (1{a = j} - pi(j|s)), for logits = features @ W.

    pi [S,A], features [S,D]; returns [S,A,D*A], W flattened in C order. One-hot features: theta is the logits [S,A].
    With `directions` [A,m], of V [D,m] where W = V directions': [S,A,D*m].
    """
    num_states, num_actions = pi.shape
    per_logit = np.eye(num_actions) - pi[:, None, :]
    if directions is not None:
        per_logit = per_logit @ directions
    return np.einsum("si,saj->saij", features, per_logit).reshape(num_states, num_actions, -1)


def contrasts(num_actions: int) -> Floats:
    """An orthonormal basis [A, A - 1] of the vectors that sum to 0 (Helmert's), of which scores of softmax policies are
    made: with these directions the gradient has fewer numbers, and the same length and trace variance. [[1]] for A = 1.
    """
    basis = np.eye(num_actions)[:, 1:] if num_actions > 1 else np.ones((1, 1))
    for k in range(1, num_actions):
        basis[:k, k - 1], basis[k, k - 1] = -1.0, k
    return basis / np.sqrt((basis**2).sum(0))


def two_point(mdp: MDP) -> MDP:
    """The MDP with each Gaussian reward as R - reward_std or R + reward_std, half its probability each.

    They have its mean and its variance, and an estimate that is linear in the rewards keeps both too.
    """
    if mdp.reward_std is None:
        return mdp
    return replace(
        mdp,
        successors=np.concatenate([mdp.successors, mdp.successors], -1),
        probabilities=np.concatenate([mdp.probabilities, mdp.probabilities], -1) / 2,
        rewards=np.concatenate([mdp.rewards - mdp.reward_std, mdp.rewards + mdp.reward_std], -1),
        reward_std=None,
    )


def transitions(mdp: MDP) -> Floats:
    """P(s'|s,a) [S,A,K], and 0 out of a terminal state: nothing happens there."""
    return np.where(mdp.terminal[:, None, None], 0.0, mdp.probabilities)


def expect(successors: Integers, weights: Floats, f: Floats) -> Floats:
    """sum_k weights[s,a,k] f[successors[s,a,k]]: f [S,...] to [S,A,...]; with weights P, E[f(s')|s,a].

    Few successors are gathered, in blocks of states, many are a matrix product: neither makes an array [S,A,K,...].
    """
    if f.ndim == 1:
        return (weights * f[successors]).sum(-1)
    flat, (*rows, width) = f.reshape(len(f), -1), successors.shape
    if 4 * width >= len(f):
        return (_dense(successors, weights, len(f)) @ flat).reshape(*rows, *f.shape[1:])
    total = np.empty((*rows, flat.shape[1]))
    block = max(1, BLOCK // (total[0].size * width))
    for i in range(0, len(total), block):
        gathered = flat[successors[i : i + block]]
        total[i : i + block] = (weights[i : i + block, :, None] @ gathered)[:, :, 0]
    return total.reshape(*rows, *f.shape[1:])


def arrive(successors: Integers, weights: Floats, f: Floats) -> Floats:
    """sum_{s,a,k: successors[s,a,k] = s'} weights[s,a,k] f[s,a]: the adjoint of `expect`, f [S,A,d] to [S,d]."""
    num_states, _, width = successors.shape
    flat = f.reshape(-1, f.shape[-1])
    if 4 * width >= num_states:
        return _dense(successors, weights, num_states).T @ flat
    total = np.zeros(num_states * flat.shape[-1])
    for k in range(width):
        cells = successors[..., k].reshape(-1, 1) * flat.shape[-1] + np.arange(flat.shape[-1])
        total += np.bincount(cells.ravel(), (weights[..., k].reshape(-1, 1) * flat).ravel(), total.size)
    return total.reshape(num_states, -1)


def _dense(successors: Integers, weights: Floats, num_states: int) -> Floats:
    """weights [S,A,K] as a matrix [S*A, number of states]; a successor may stand twice."""
    count, width = int(np.prod(successors.shape[:-1])), successors.shape[-1]
    cells = np.arange(count)[:, None] * num_states + successors.reshape(count, width)
    dense = np.zeros(count * num_states)
    dense += np.bincount(cells.ravel(), weights.ravel(), dense.size)
    return dense.reshape(count, num_states)


def average(weights: Floats, f: Floats, axis: int | tuple[int, ...]) -> Floats:
    """sum w f / sum w along the axes, which stay; 0 where no weight is. Exactly f where all that has weight is f."""
    top = np.where(weights > 0, f, -np.inf).max(axis, keepdims=True)
    top = np.where(np.isneginf(top), 0.0, top)
    total = weights.sum(axis, keepdims=True)
    below = (weights * (f - top)).sum(axis, keepdims=True)
    return top + np.divide(below, total, out=np.zeros_like(below), where=total > 0)


def values(mdp: MDP, pi: Floats) -> tuple[Floats, Floats]:
    """Q_t(s,a) = E[r_t + gamma V_{t+1}(s_{t+1}) | s, a],  V_t(s) = sum_a pi(a|s) Q_t(s,a),  V_horizon = 0.

    Returns V [H+1,S] and Q [H,S,A].
    """
    P = transitions(mdp)
    earned = (P * mdp.rewards).sum(-1)
    V = np.zeros((mdp.horizon + 1, mdp.num_states))
    Q = np.zeros((mdp.horizon, *pi.shape))
    for t in reversed(range(mdp.horizon)):
        Q[t] = earned + mdp.gamma * expect(mdp.successors, P, V[t + 1])
        V[t] = (pi * Q[t]).sum(-1)
    return V, Q


def J(mdp: MDP, pi: Floats) -> float:
    """J = E[sum_t gamma^t r_t] = sum_s rho0(s) V_0(s)."""
    return float(mdp.rho0 @ values(mdp, pi)[0][0])


def occupancy(mdp: MDP, pi: Floats) -> Floats:
    """P(s_t = s and the episode not over), [H,S]."""
    flow = pi[..., None] * transitions(mdp)
    occupied = np.zeros((mdp.horizon, mdp.num_states))
    occupied[0] = np.where(mdp.terminal, 0.0, mdp.rho0)
    for t in range(1, mdp.horizon):
        moved = np.bincount(mdp.successors.ravel(), (occupied[t - 1][:, None, None] * flow).ravel(), mdp.num_states)
        occupied[t] = np.where(mdp.terminal, 0.0, moved)
    return occupied


class CriticValues(NamedTuple):
    """V and Q - V in parts that keep their digits whatever is added to every reward.

    V_t(s) = value + offset * steps, where `value` is that of the rewards less `offset`, and `steps` that of a reward of
    1 a step. All rewards alike add to V what they add to `offset * steps`, and nothing to the other numbers.

    | field     | shape       | meaning                                                                          |
    |-----------|-------------|----------------------------------------------------------------------------------|
    | offset    |             | the number nearest to 0 between the least and the largest reward                 |
    | value     | [H+1,...,S] | 0 at the horizon                                                                 |
    | steps     | [H+1,...,S] | E[sum_k gamma^k 1{a step is taken at t + k}], 0 at the horizon                   |
    | advantage | [H,...,S,A] | Q_t(s,a) - V_t(s)                                                                |
    """

    offset: float
    value: Floats
    steps: Floats
    advantage: Floats

    @property
    def V(self) -> Floats:
        """V_t(s), [H+1,S]."""
        return self.value + self.offset * self.steps

    @property
    def Q(self) -> Floats:
        """Q_t(s,a), [H,S,A]."""
        return self.advantage + self.V[:-1, :, None]

    def td_error(self, mdp: MDP, t: int) -> Floats:
        """delta_t = r + gamma V_{t+1}(s') - V_t(s), [S,A,K]."""
        here = np.s_[t, :, None, None]
        less = mdp.rewards - self.offset + mdp.gamma * self.value[t + 1][mdp.successors] - self.value[here]
        return less + self.offset * (1 + mdp.gamma * self.steps[t + 1][mdp.successors] - self.steps[here])


def exact_critic(mdp: MDP, pi: Floats) -> CriticValues:
    """The exact V and Q of the policy, or of each of several: pi [..., S, A]."""
    P = transitions(mdp)
    possible = P > 0
    low, high = (float(f(mdp.rewards[possible])) if possible.any() else 0.0 for f in (np.min, np.max))
    offset = min(max(0.0, low), high)
    rewards = np.where(possible, mdp.rewards - offset, 0.0)
    value = np.zeros((mdp.horizon + 1, *pi.shape[:-1]))
    steps, advantage = np.zeros_like(value), np.zeros((mdp.horizon, *pi.shape))
    for t in reversed(range(mdp.horizon)):
        for total, earned, scale in ((value, rewards, 1.0), (steps, possible, offset)):
            Q = average(P, earned + mdp.gamma * total[t + 1][..., mdp.successors], -1)[..., 0]
            V = average(pi, Q, -1)
            total[t] = V[..., 0]
            advantage[t] += scale * (Q - V)
    return CriticValues(offset, value, steps, advantage)


def gradient(mdp: MDP, pi: Floats, z: Floats) -> Floats:
    """grad J = sum_t gamma^t sum_s P(s_t = s) sum_a pi(a|s) z(s,a) A_t(s,a), the policy gradient theorem: [d].

    Of each of several policies, too: pi [..., S, A], z [..., S, A, d] -> [..., d].
    """
    discounts, advantages = mdp.gamma ** np.arange(mdp.horizon), exact_critic(mdp, pi).advantage
    found = np.empty((*pi.shape[:-2], z.shape[-1]))
    for place in np.ndindex(pi.shape[:-2]):  # one at a time: a sum's last bits may depend on what stands beside it
        A = np.ascontiguousarray(advantages[:, *place])
        weights = np.einsum("t,ts,tsa->sa", discounts, occupancy(mdp, pi[place]), A) * pi[place]
        found[place] = np.tensordot(weights, z[place], 2)
    return found


def clockless(exact: CriticValues, occupied: Floats) -> CriticValues:
    """V(s) = sum_t P(s_t = s) V_t(s) / sum_t P(s_t = s), and Q(s,a) alike: the critic that does not see the time.

    It is what a regression of the reward-to-go on s, or on (s, a), tends to with ever more on-policy episodes: the same
    V and Q at every t, V = 0 at the horizon (the episode is over), 0 where s is never visited.
    """
    visits = occupied.sum(0)
    shares = np.divide(occupied, visits, out=np.zeros_like(occupied), where=visits > 0)

    def over_time(f: Floats) -> Floats:
        return np.concatenate([np.broadcast_to(average(occupied, f[:-1], 0), f[:-1].shape), f[-1:]])

    A = np.broadcast_to(np.einsum("ts,tsa->sa", shares, exact.advantage), exact.advantage.shape)
    return CriticValues(exact.offset, over_time(exact.value), over_time(exact.steps), A)
