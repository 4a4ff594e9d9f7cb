"""What baselines that the N episodes of a batch share add to the covariance of the estimate.

With X_i = sum_t w_t z_it (Phi_it - E b_it), which is of episode i alone, and C_i = sum_t w_t z_it (b_it - E b_it),

    N Cov[(1/N) sum_i (X_i - C_i)] = Cov X + Cov C_1 + (N - 1) E[C_1 C_2'],

as long as b_it does not depend on episode i: then E[z_it (b_it - E b_it)] = 0, and X is uncorrelated with C. Everything
beside Cov X is here, as a `Coupling`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ablate.exact.evaluation import Floats, expect, transitions
from ablate.mdp import MDP

TAIL = 1e-20  # chances of counts below it are left out


@dataclass(frozen=True)
class Coupling:
    """sum_{s,a} weights z z' + the symmetric part of sum_v left_v right_v'.

    | field       | shape   |
    |-------------|---------|
    | weights     | [S,A]   |
    | left, right | [V,d]   |
    """

    weights: Floats
    left: Floats
    right: Floats

    def trace(self, z: Floats) -> float:
        return float((self.weights * np.einsum("sad,sad->sa", z, z)).sum() + (self.left * self.right).sum())

    def matrix(self, z: Floats) -> Floats:
        products = self.left.T @ self.right
        return np.einsum("sa,sad,sae->de", self.weights, z, z) + (products + products.T) / 2


@dataclass(frozen=True)
class Lasting:
    """The chances that an episode goes on at t, `alive` [H], and that it has ended by then, `ended` [H]."""

    alive: Floats
    ended: Floats

    @classmethod
    def of(cls, mdp: MDP, pi: Floats, occupied: Floats) -> "Lasting":
        """Where nothing ends `ended` is 0, and not what rounding leaves of 1 - alive."""
        ending = (pi[..., None] * transitions(mdp) * mdp.terminal[mdp.successors]).sum((1, 2))
        ended = np.concatenate([[0.0], np.cumsum(occupied @ ending)[:-1]])
        alive = np.where(ended < 0.5, 1 - ended, occupied.sum(-1))
        return cls(alive, np.where(ended < 0.5, ended, 1 - alive))


@dataclass(frozen=True)
class Signal:
    """Phi_t as far as its per-step mean over other episodes needs it; E_t is given that the episode lasts to t.

    | field     | shape        | meaning                                                                              |
    |-----------|--------------|--------------------------------------------------------------------------------------|
    | weights   | [H]          | w_t                                                                                  |
    | mean      | [H]          | E_t Phi_t                                                                            |
    | variance  | [H]          | Var_t Phi_t                                                                          |
    | own       | [H,S,A]      | E[Phi_t | s_t, a_t] less its mean given s_t                                          |
    | later     | [H,H]        | E[z_v Phi_u] = later_uv E[z_v own_v], u <= v                                         |
    | before    | [H,S]        | E[1{s_t = s} p_t], p_t: what was known of Phi, less its mean, when s_t was reached   |
    | earned    | u -> [S,A,K] | what the transition at u adds to p_{u+1}                                             |
    | deviation | [H,S]        | E[Phi_v - mean_v - p_v | s_v]                                                        |
    """

    weights: Floats
    mean: Floats
    variance: Floats
    own: Floats
    later: Floats
    before: Floats
    earned: Callable[[int], Floats]
    deviation: Floats


def counts(number: int, chance: float) -> tuple[Floats, Floats]:
    """The counts n ~ Binomial(number, chance) that matter, and their chances."""
    from scipy.stats import binom  # slow to load, and every process that trains loads this module

    spread = 12 * np.sqrt(number * chance * (1 - chance)) + 60
    low, high = max(0, int(number * chance - spread)), min(number, int(number * chance + spread) + 1)
    n = np.arange(low, high + 1, dtype=np.float64)
    p = binom.pmf(n, number, chance)
    return n[p > TAIL], p[p > TAIL]


def mean_of_others(signal: Signal, lasting: Lasting, episodes: int) -> tuple[Floats, Floats]:
    """E b_t and Var b_t, [H], of b_t = the mean of Phi_t over the other episodes that last to t, 0 if there is none.

    With M ~ Binomial(N - 1, alive_t) of them,

        E b = mean P(M > 0),    Var b = variance E[1{M > 0} / M] + mean^2 P(M > 0) P(M = 0).
    """
    none = lasting.ended ** (episodes - 1)
    inverse = np.zeros(len(none))
    for t, chance in enumerate(lasting.alive.tolist()):
        n, p = counts(episodes - 1, chance)
        inverse[t] = (p[n > 0] / n[n > 0]).sum()
    return signal.mean * (1 - none), signal.variance * inverse + signal.mean**2 * none * (1 - none)


def time_coupling(
    mdp: MDP, pi: Floats, z: Floats, occupied: Floats, lasting: Lasting, signal: Signal, episodes: int
) -> Coupling:
    """The coupling of b_it = the mean of Phi_jt over the other episodes j that last to step t (0 if there is none).

    Cov C_1 = sum_t w_t^2 Var b_t E[z_t z_t']. Two episodes meet in E<z_1u b_1u, z_2v b_2v>, u <= v: episode 2 lasts to
    v and so to u, so b_1u holds Phi_2u / (M_u + 1), with M_u ~ Binomial(N - 2, alive_u) further episodes, and b_2v what
    M_v ~ Binomial(M_u, alive_v / alive_u) of them and episode 1 make of it. All else has mean 0, which leaves

        <E[z_v Phi_u],   E[1 / ((M_u + 1) (M_v + 1))] E[z_u m_v (Phi_v - mean_v)]
                       + E[1{M_v = 0} / (M_u + 1)] mean_v E[z_u m_v]>,       m_v = 1 where an episode lasts to v.

    O(H^2 S A K) and O(H^2 N).
    """
    H, P = mdp.horizon, transitions(mdp)
    z = z * ~mdp.terminal[:, None, None]
    w, visits = signal.weights, occupied[..., None] * pi
    right = np.tensordot(visits * signal.own, z, 2)
    both = np.zeros((H, *pi.shape))  # of (s_u, a_u) for each v
    dead = np.repeat(mdp.terminal[:, None].astype(np.float64), H, 1)  # P(ended by v | s), [S,V]
    ahead = signal.deviation.T * ~mdp.terminal[:, None]  # E[m_v (Phi_v - mean_v - p_u) | s_u = s], [S,V]
    for u in reversed(range(H)):
        n, p = counts(max(episodes - 2, 0), lasting.alive[u])
        later, q = np.s_[u + 1 :], lasting.alive[u + 1 :] / lasting.alive[u] if lasting.alive[u] > 0 else None
        both[u] += w[u] ** 2 * signal.later[u, u] * (p / (n + 1) ** 2).sum() * visits[u] * signal.own[u]
        if q is None or not len(q):
            continue
        dead_sa = expect(mdp.successors, P, dead[:, later])
        ahead_sa = expect(mdp.successors, P, ahead[:, later])
        earned = P * signal.earned(u)
        ahead_sa += earned.sum(-1, keepdims=True) - expect(mdp.successors, earned, dead[:, later])
        none = np.power.outer(1 - q, n)  # P(M_v = 0 | M_u = n)
        share = np.divide(
            1 - none * (1 - q)[:, None], q[:, None], out=np.tile(n + 1, (len(q), 1)), where=q[:, None] > 0
        )
        met, alone = share @ (p / (n + 1) ** 2), none @ (p / (n + 1))
        term = met * (occupied[u][:, None, None] * ahead_sa - signal.before[u][:, None, None] * dead_sa)
        term -= alone * signal.mean[later] * occupied[u][:, None, None] * dead_sa
        both[later] += np.moveaxis(2 * w[u] * w[later] * signal.later[u, later] * pi[..., None] * term, -1, 0)
        dead[:, later] = np.where(mdp.terminal[:, None], 1.0, np.einsum("sa,sav->sv", pi, dead_sa))
        ahead[:, later] = np.einsum("sa,sav->sv", pi, ahead_sa) * ~mdp.terminal[:, None]
    left = (episodes - 1) * np.tensordot(both, z, 2)
    spread = mean_of_others(signal, lasting, episodes)[1]
    return Coupling(np.einsum("t,tsa->sa", w**2 * spread, visits), left, right)
