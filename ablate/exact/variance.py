"""The exact mean and variance of an estimator, and where the variance comes from, without enumerating trajectories.

Every estimator here is one instance of

    g = sum_t w_t z_t (scale_t L_t - b_t(s_t) + start(s_0) + past sum_{k < t} gamma^k D_k),
    L_t = D_t + decay L_{t+1}.

Seen from time t, with ' for what is seen from t+1 and w = w_{t+1} / w_t,

    L = D + decay L',    F = z + w F',    X = z (scale L - b) + Y,    Y = w (X' + past gamma^t D F'):

X is the tail of g, F that of the scores, Y what follows a_t; after the last step all are 0. Given (s, a, s') these are
affine in L', F', X', so the conditional means and covariances given s_t are all there is to carry. Covariances grow in
two places only: where a_t is drawn and where s_{t+1} is. Carried apart, these two split the variance along the
martingale differences s_0, a_0, s_1, a_1, ..., and no variance is got by subtracting one second moment from another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ablate.exact.evaluation import Floats, expect, transitions
from ablate.mdp import MDP


@dataclass(frozen=True)
class ExactEstimator:
    """The estimator g at the top of this file, by its parts.

    | field    | shape        | meaning                                                                        |
    |----------|--------------|--------------------------------------------------------------------------------|
    | step     | t -> [S,A,K] | D_t(s,a,s'): a reward, a TD error, Q_t(s,a)                                    |
    | decay    |              | gamma: L is the reward-to-go; gamma lambda: GAE; 0: L_t = D_t                  |
    | weight   |              | w_{t+1} / w_t: gamma, or 1 without the gamma^t weight; w_0 = 1                 |
    | scale    | [H]          | 1; for the return gamma^t, which measures the reward-to-go from time 0         |
    | baseline | [H,S]        | b_t(s)                                                                         |
    | past     |              | 1 for the return: what came before t counts too                                |
    | start    | [S]          | counts at every step and is known from s_0 on; only with `past`                |
    | scores   | t -> [S,A,d] | in place of z_t (all-action), of any mean given s; not with `past`             |
    """

    step: Callable[[int], Floats]
    decay: float
    weight: float
    scale: Floats
    baseline: Floats
    past: float = 0.0
    start: Floats | float = 0.0
    scores: Callable[[int], Floats] | None = None


@dataclass(frozen=True)
class Moments:
    """Exact moments of an estimate of the gradient. Variances are for one episode: N episodes' mean has 1/N of them.

    mean [d]; gradient [d] is grad J; trace_variance = v_s0 + v_action + v_transition + v_coupling, the last 0 unless a
    baseline taken from the batch itself couples its episodes; covariance [d,d] where it was asked for.
    """

    mean: Floats
    gradient: Floats
    v_s0: float
    v_action: float
    v_transition: float
    v_coupling: float = 0.0
    covariance: Floats | None = None

    @property
    def bias(self) -> Floats:
        """E g - grad J, [d]."""
        return self.mean - self.gradient

    @property
    def bias_squared(self) -> float:
        """|E g - grad J|^2."""
        return float(self.bias @ self.bias)

    @property
    def trace_variance(self) -> float:
        """tr Cov g."""
        return self.v_s0 + self.v_action + self.v_transition + self.v_coupling

    @property
    def snr(self) -> float:
        """|E g|^2 / tr Cov g; infinite without noise."""
        return float(self.mean @ self.mean) / self.trace_variance if self.trace_variance > 0 else np.inf

    def mse(self, episodes: int) -> float:
        """E|mean of N episodes - grad J|^2 = bias^2 + tr Cov g / N."""
        return self.bias_squared + self.trace_variance / episodes


def moments(
    mdp: MDP, pi: Floats, z: Floats, estimator: ExactEstimator, gradient: Floats, *, covariance: bool = False
) -> Moments:
    """E g and Cov g of the estimator by a backward recursion: time O(H S^2 A d) or less, memory O(S A d).

    pi [S,A], z [S,A,d]; gradient [d] is what the bias is measured from. With `covariance` the whole matrix is carried:
    time O(H S (S + A) d^2), memory O(S d^2). A nan in the result means that the numbers overflowed.
    """
    back = _Back(mdp, pi, z, estimator, covariance)
    l, x = np.zeros(mdp.num_states), np.zeros((mdp.num_states, z.shape[-1]))
    nothing = np.zeros_like(back.square(x))
    action = transition = _Noise(l, x, nothing)
    scores = _Scores(x, nothing, nothing)
    for t in reversed(range(mdp.horizon)):
        step = back.step(t, l, x)
        transition = back.through_action(step, back.inherited(transition) + back.fresh_from_state(step, x))
        later = back.inherited(action)
        if estimator.past:
            later, scores = later + back.credited(step, scores), back.scores(step, scores)
        action = back.through_action(step, later) + back.fresh_from_action(step)
        l, x = back.over_actions(step.mean_L), back.over_actions(step.mean_X)

    if estimator.past:
        action = replace(action, xx=action.xx + back.credited_from_start(scores))
    mean = mdp.rho0 @ x
    start = np.tensordot(mdp.rho0, back.square(x - mean), 1)
    parts = np.stack([start, np.tensordot(mdp.rho0, action.xx, 1), np.tensordot(mdp.rho0, transition.xx, 1)])
    v_s0, v_action, v_transition = np.maximum(np.trace(parts, axis1=-2, axis2=-1) if covariance else parts, 0).tolist()
    return Moments(mean, gradient, v_s0, v_action, v_transition, covariance=parts.sum(0) if covariance else None)


@dataclass(frozen=True)
class _Noise:
    """Covariances that stem from one source: (L,L), (L,X) and (X,X), the last as its trace or in full.

    Given s_t they are [S], [S,d] and [S] or [S,d,d]. Before a_t is averaged over, with Y for X: [S,A], [S,A,d] and,
    averaged already, [S] or [S,d,d].
    """

    ll: Floats
    lx: Floats
    xx: Floats

    def __add__(self, other: "_Noise") -> "_Noise":
        return _Noise(self.ll + other.ll, self.lx + other.lx, self.xx + other.xx)


@dataclass(frozen=True)
class _Scores:
    """Covariances given s_t of the coming scores F, which only actions move: (F,L), (F,F) and (F,X), as in _Noise."""

    fl: Floats
    ff: Floats
    fx: Floats


@dataclass(frozen=True)
class _Step:
    """Time t given (s, a): z, scale, E[L] [S,A], L - E[L] given s' [S,A,K], E[X'], E[X] [S,A,d], past gamma^t D."""

    z: Floats
    scale: float
    mean_L: Floats
    surprise: Floats
    mean_next: Floats
    mean_X: Floats
    credit: Floats


class _Back:
    """The recursion, one step back in time for each thing it carries."""

    def __init__(self, mdp: MDP, pi: Floats, z: Floats, estimator: ExactEstimator, covariance: bool) -> None:
        self.mdp, self.pi, self.z, self.P = mdp, pi, z * ~mdp.terminal[:, None, None], transitions(mdp)
        self.estimator, self.in_full, self.nothing = estimator, covariance, np.zeros_like(z)

    def over_actions(self, f: Floats) -> Floats:
        """sum_a pi(a|s) f(s,a): [S,A,...] to [S,...]."""
        return np.einsum("sa,sa...->s...", self.pi, f)

    def ahead(self, weights: Floats, f: Floats) -> Floats:
        """E[weights f(s_{t+1}) | s]: f [S,...] to [S,...]."""
        if f.ndim == 1:
            return self.over_actions(expect(self.mdp.successors, self.P * weights, f))
        merged = (self.pi[..., None] * self.P * weights).reshape(len(f), 1, -1)  # as if one action led everywhere
        return expect(self.mdp.successors.reshape(len(f), 1, -1), merged, f)[:, 0]

    def square(self, u: Floats) -> Floats:
        """|u|^2 or u u': [S,d] to [S] or [S,d,d]."""
        return u[:, :, None] * u[:, None, :] if self.in_full else np.einsum("sd,sd->s", u, u)

    def product(self, weights: Floats, u: Floats, v: Floats) -> Floats:
        """sum_a pi(a|s) weights(s,a) <u, v>, or of the symmetric part of u v': [S,A,d] to [S] or [S,d,d]."""
        if not self.in_full:
            return self.over_actions(weights * np.einsum("sad,sad->sa", u, v))
        outer = np.swapaxes((self.pi * weights)[..., None] * u, -1, -2) @ v
        return (outer + np.swapaxes(outer, -1, -2)) / 2

    def step(self, t: int, l: Floats, x: Floats) -> _Step:
        """Means given (s, a), and given (s, a, s') for L."""
        estimator = self.estimator
        z = self.z if estimator.scores is None else estimator.scores(t)
        D = estimator.step(t)
        L = D + estimator.decay * l[self.mdp.successors]
        mean_L = (self.P * L).sum(-1)
        mean_next = expect(self.mdp.successors, self.P, x)
        own = estimator.scale[t] * mean_L - estimator.baseline[t][:, None]
        return _Step(
            z=z,
            scale=estimator.scale[t],
            mean_L=mean_L,
            surprise=L - mean_L[..., None],
            mean_next=mean_next,
            mean_X=own[..., None] * z + estimator.weight * mean_next,
            credit=estimator.past * self.mdp.gamma**t * D,
        )

    def inherited(self, noise: _Noise) -> _Noise:
        """The covariances of L = decay L' and Y = w X' from those of L' and X'."""
        decay, w = self.estimator.decay, self.estimator.weight
        xx = w**2 * self.ahead(np.ones(1), noise.xx)
        if not decay:
            return _Noise(self.nothing[..., 0], self.nothing, xx)
        return _Noise(
            decay**2 * expect(self.mdp.successors, self.P, noise.ll),
            decay * w * expect(self.mdp.successors, self.P, noise.lx),
            xx,
        )

    def fresh_from_state(self, step: _Step, x: Floats) -> _Noise:
        """What drawing s_{t+1} adds, to L by its surprise and to Y by w E[X'|s_{t+1}]."""
        w, one = self.estimator.weight, np.ones(1)
        return _Noise(
            (self.P * step.surprise**2).sum(-1),
            w * expect(self.mdp.successors, self.P * step.surprise, x),
            w**2 * (self.ahead(one, self.square(x)) - self.product(one, step.mean_next, step.mean_next)),
        )

    def through_action(self, step: _Step, noise: _Noise) -> _Noise:
        """From Y to X = z scale L + Y, and averaged over a_t."""
        return _Noise(
            self.over_actions(noise.ll),
            self.over_actions((step.scale * noise.ll)[..., None] * step.z + noise.lx),
            self.product(step.scale**2 * noise.ll, step.z, step.z)
            + 2 * self.product(np.full(1, step.scale), step.z, noise.lx)
            + noise.xx,
        )

    def fresh_from_action(self, step: _Step) -> _Noise:
        """What drawing a_t adds."""
        L = step.mean_L - self.over_actions(step.mean_L)[:, None]
        X = step.mean_X - self.over_actions(step.mean_X)[:, None]
        return _Noise(self.over_actions(L**2), self.over_actions(L[..., None] * X), self.product(np.ones(1), X, X))

    def credited(self, step: _Step, scores: _Scores) -> _Noise:
        """What w credit F' in Y adds: the scores to come are credited with the reward of now."""
        decay, w = self.estimator.decay, self.estimator.weight
        return _Noise(
            np.zeros(1),
            decay * w * expect(self.mdp.successors, self.P * step.credit, scores.fl),
            w**2 * (2 * self.ahead(step.credit, scores.fx) + self.ahead(step.credit**2, scores.ff)),
        )

    def credited_from_start(self, scores: _Scores) -> Floats:
        """What start F adds to (X,X), at time 0."""
        start = np.broadcast_to(self.estimator.start, self.mdp.rho0.shape)
        start = start[:, None, None] if self.in_full else start
        return 2 * start * scores.fx + start**2 * scores.ff

    def scores(self, step: _Step, scores: _Scores) -> _Scores:
        """F = z + w F' against L, itself and X. E[F'|s'] = 0, so drawing s_{t+1} adds nothing."""
        decay, w = self.estimator.decay, self.estimator.weight
        fl, one = decay * w * expect(self.mdp.successors, self.P, scores.fl), np.ones(1)
        return _Scores(
            fl=self.over_actions(step.mean_L[..., None] * step.z + fl),
            ff=self.product(one, step.z, step.z) + w**2 * self.ahead(one, scores.ff),
            fx=self.product(one, step.z, step.mean_X + step.scale * fl)
            + w**2 * (self.ahead(step.credit, scores.ff) + self.ahead(one, scores.fx)),
        )
