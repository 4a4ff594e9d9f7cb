"""Group estimators of today's post-training of language models, exactly: N samples a prompt, one baseline a group.

A prompt is a context x, an answer an arm a, pi(a|x) the softmax of theta[x, a], and a reward takes one of M values.
The estimate from a group of N answers to one prompt is

    g = (1/N) sum_i z_i Adv_i,     z_i = grad_theta[x] log pi(a_i|x) = onehot(a_i) - pi(.|x),

where Adv_i is a function of the N rewards alone. Given how often each reward value came (counts n_v, multinomial), the
answers behind equal rewards are independent draws from pi(a | r = v), so with zbar_v = E[z | r = v],

    E[g | n]     = (1/N) sum_v n_v Adv_v zbar_v,
    E[|g|^2 | n] = (1/N^2) [sum_v n_v Adv_v^2 (E[|z|^2 | r = v] - |zbar_v|^2) + |sum_v n_v Adv_v zbar_v|^2],

and the sum over the (N + M - 1 choose M - 1) counts is exact: N + 1 terms for right-or-wrong rewards with any arms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# values [M], counts [C, M] of a group's rewards -> the advantage of a sample with each value, [C, M].
# Where a count is 0 nobody has that value, and the number there is not used.
Advantage = Callable[[Floats, Floats], Floats]

EPSILON = 1e-8  # what whitening adds to the standard deviation, in units of reward


def none(values: Floats, counts: Floats) -> Floats:
    """Adv_i = r_i. Unbiased."""
    return np.broadcast_to(values, counts.shape)


def mean(values: Floats, counts: Floats) -> Floats:
    """Adv_i = r_i - (1/N) sum_j r_j. Its mean is (1 - 1/N) times the gradient. Liu et al. (2025), Dr. GRPO."""
    return _sum_of_differences(values, counts) / _size(counts)


def leave_one_out(values: Floats, counts: Floats) -> Floats:
    """Adv_i = r_i - (1/(N-1)) sum_{j != i} r_j. Unbiased. Kool et al. (2019); Ahmadian et al. (2024), RLOO.

    Raises ValueError if N < 2.
    """
    return _sum_of_differences(values, counts) / _others(counts)


def whitened(values: Floats, counts: Floats, epsilon: float = EPSILON) -> Floats:
    """Adv_i = (r_i - mean) / (std + epsilon), std^2 = (1/N) sum_j (r_j - mean)^2. Shao et al. (2024), GRPO.

    Where all rewards agree the advantage is 0, exactly, with epsilon = 0 too. Not the gradient of E r at any scale.
    (Libraries that divide by N - 1 inside std obtain sqrt((N-1)/N) times this, up to epsilon.)
    """
    return _ratio(mean(values, counts), np.sqrt(_variance(values, counts))[:, None] + epsilon)


def whitened_leave_one_out(values: Floats, counts: Floats, epsilon: float = EPSILON) -> Floats:
    """Adv_i = (r_i - mean_{-i}) / (std_{-i} + epsilon), with the mean and std (as in `whitened`) of the others j != i.

    Where the others agree and i differs it is of the order 1 / epsilon: it explodes, and epsilon = 0 makes it infinite.
    Where all N agree it is 0. Raises ValueError if N < 2.
    """
    centred = leave_one_out(values, counts)
    others = counts[:, None, :] - np.eye(len(values))  # [C, M, M]: the counts less one sample of each value
    variance = np.maximum(_variance(values, others), 0.0)  # negative only where nobody has the value
    return _ratio(centred, np.sqrt(variance) + epsilon)


def _size(counts: Floats) -> Floats:
    """N, [C, 1]."""
    return counts.sum(-1, keepdims=True)


def _others(counts: Floats) -> Floats:
    """N - 1, [C, 1]."""
    if (_size(counts) < 2).any():
        raise ValueError("leaving one out needs a group of at least 2")
    return _size(counts) - 1


def _differences(values: Floats) -> Floats:
    """v - v' of every two values, [M, M]: 0 where they differ by rounding only, a few ulps."""
    difference = values - values[:, None]
    rounding = 8 * np.finfo(np.float64).eps * np.maximum(np.abs(values), np.abs(values[:, None]))
    return np.where(np.abs(difference) > rounding, difference, 0.0)


def _sum_of_differences(values: Floats, counts: Floats) -> Floats:
    """sum_j (v - r_j) for each value v, [..., M]: exactly 0 where all have v."""
    return counts @ _differences(values)


def _variance(values: Floats, counts: Floats) -> Floats:
    """(1/N) sum_j (r_j - mean)^2 = sum_jk (r_j - r_k)^2 / (2 N^2), [...]: exactly 0 where all agree."""
    squares = _differences(values) ** 2
    return ((counts @ squares) * counts).sum(-1) / (2 * counts.sum(-1) ** 2)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator with 0/0 = 0 and x/0 infinite."""
    with np.errstate(divide="ignore"):
        return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=numerator != 0)


ADVANTAGES: dict[str, Advantage] = {
    "none": none,
    "mean": mean,
    "loo": leave_one_out,
    "whitened": whitened,
    "whitened_loo": whitened_leave_one_out,
}


@dataclass(frozen=True)
class Bandit:
    """Contexts x ~ rho(x), arms a ~ softmax(logits[x]), rewards r = values[v] with probability P(v|x, a).

    | field                | shape   | meaning                                      |
    |----------------------|---------|----------------------------------------------|
    | contexts             | [X]     | rho(x)                                       |
    | logits               | [X,A]   | theta                                        |
    | values               | [M]     | the rewards that occur, all different        |
    | reward_probabilities | [X,A,M] | P(r = values[v] | x, a), summing to 1 over M |
    """

    contexts: Floats
    logits: Floats
    values: Floats
    reward_probabilities: Floats

    @classmethod
    def deterministic(cls, rewards: ArrayLike, logits: ArrayLike, contexts: ArrayLike | None = None) -> "Bandit":
        """Arm a in context x always earns rewards[x, a]. Contexts are equally likely unless told."""
        table = np.asarray(rewards, dtype=np.float64)
        values, index = np.unique(table, return_inverse=True)
        return cls._of(contexts, logits, values, np.eye(len(values))[index.reshape(table.shape)])

    @classmethod
    def bernoulli(cls, success: ArrayLike, logits: ArrayLike, contexts: ArrayLike | None = None) -> "Bandit":
        """Arm a in context x earns 1 with probability success[x, a], otherwise 0."""
        p = np.asarray(success, dtype=np.float64)
        return cls._of(contexts, logits, np.array([0.0, 1.0]), np.stack([1 - p, p], -1))

    @classmethod
    def _of(cls, contexts: ArrayLike | None, logits: ArrayLike, values: Floats, chances: Floats) -> "Bandit":
        theta = np.asarray(logits, dtype=np.float64)
        rho = np.full(len(theta), 1 / len(theta)) if contexts is None else np.asarray(contexts, dtype=np.float64)
        return cls(rho, theta, values, chances)

    @property
    def policy(self) -> Floats:
        """pi(a|x), [X, A]."""
        weights = np.exp(self.logits - self.logits.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    @property
    def gradient(self) -> Floats:
        """dJ/dtheta, J = E r: rho(x) times that of each context, [X, A]."""
        return self.contexts[:, None] * self.context_gradients

    @property
    def context_gradients(self) -> Floats:
        """The gradient of E[r|x] for theta[x], pi(a|x) (E[r|x, a] - E[r|x]), [X, A]."""
        expected = self.reward_probabilities @ self.values
        expected = expected - expected[:, :1]  # exactly 0 where all arms are worth the same
        return self.policy * (expected - (self.policy * expected).sum(-1, keepdims=True))


@dataclass(frozen=True)
class GroupMoments:
    """Exact moments of the estimate from one group: a context x ~ rho and N arms in it. Of G groups: variance / G.

    | field            | shape | meaning                                                                             |
    |------------------|-------|-------------------------------------------------------------------------------------|
    | mean             | [X,A] | E g                                                                                 |
    | bias             | [X,A] | E g - dJ/dtheta                                                                     |
    | variance         | -     | tr Cov g, over contexts and samples                                                 |
    | context_mean     | [X,A] | E[g | x]                                                                            |
    | context_variance | [X]   | tr Cov[g | x]                                                                       |
    | context_weight   | [X]   | <E[g | x], grad_x> / |grad_x|^2, grad_x the gradient of E[r | x]: 1 if unbiased,    |
    |                  |       | one number if only the scale is off, otherwise a reweighting of the prompts         |
    |                  |       | (nan where grad_x = 0)                                                              |
    """

    mean: Floats
    bias: Floats
    variance: float
    context_mean: Floats
    context_variance: Floats
    context_weight: Floats


def group_moments(bandit: Bandit, size: int, advantage: Advantage) -> GroupMoments:
    """Exact mean, bias and variance of `advantage` at group size N = `size`; see the top of this file for how.

    Cost: (N + M - 1 choose M - 1) M (M + A) a context. Where an advantage is infinite the moments are infinite or nan.
    """
    counts = _compositions(size, len(bandit.values))
    advantages = np.where(counts > 0, advantage(bandit.values, counts), 0.0)
    each = [
        _context_moments(counts, advantages, policy, chances)
        for policy, chances in zip(bandit.policy, bandit.reward_probabilities, strict=True)
    ]
    context_mean = np.stack([mean for mean, _ in each])
    context_variance = np.array([variance for _, variance in each])

    rho, exact = bandit.contexts, bandit.context_gradients
    along, square = (context_mean * exact).sum(-1), (exact**2).sum(-1)
    between = (1 - rho) * (context_mean**2).sum(-1)
    return GroupMoments(
        mean=rho[:, None] * context_mean,
        bias=rho[:, None] * (context_mean - exact),
        variance=float((rho * (context_variance + between)).sum()),
        context_mean=context_mean,
        context_variance=context_variance,
        context_weight=np.divide(along, square, out=np.full_like(along, np.nan), where=square > 0),
    )


def _context_moments(counts: Floats, advantages: Floats, policy: Floats, chances: Floats) -> tuple[Floats, float]:
    """E g [A] and tr Cov g in one context: counts, advantages [C, M], policy [A], chances [A, M]."""
    size = counts[0].sum()
    joint = policy[:, None] * chances  # [A, M]
    marginal = joint.sum(0)
    posterior = np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > 0)
    zbar = posterior.T - policy  # [M, A]
    spread = 1 - (posterior**2).sum(0)  # [M]: E|z|^2 - |zbar|^2, of a one-hot vector less a constant

    probabilities = _multinomial(counts, marginal)
    possible = probabilities > 0
    p, n, adv = probabilities[possible], counts[possible], advantages[possible]
    means = (n * adv) @ zbar / size
    variances = (n * adv**2) @ spread / size**2
    mean = p @ means
    return mean, float(p @ (variances + ((means - mean) ** 2).sum(-1)))


def _compositions(total: int, parts: int) -> Floats:
    """Every way to write `total` as an ordered sum of `parts` counts, by stars and bars: [C, parts]."""
    places = total + parts - 1
    ends = [(-1, *bars, places) for bars in combinations(range(places), parts - 1)]
    return np.diff(np.array(ends, dtype=np.float64), axis=-1) - 1


def _multinomial(counts: Floats, chances: Floats) -> Floats:
    """N! prod_v p_v^{n_v} / n_v!, with 0^0 = 1: [C]."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, counts[0].sum() + 1)))])
    n = counts.astype(np.int64)
    with np.errstate(divide="ignore"):
        logs = np.log(chances)
    powers = np.multiply(counts, logs, out=np.zeros_like(counts), where=counts > 0)
    return np.exp(log_factorial[-1] - log_factorial[n].sum(-1) + powers.sum(-1))
