"""Group estimators of today's post-training of language models, exactly: N samples a prompt, one baseline a group.

A prompt is a context x, an answer an arm a, pi(a|x) the softmax of theta[x, a], and a reward takes one of M values.
The estimate from a group of N answers to one prompt is

    g = (1/N) sum_i z_i A_i,     z_i = grad_theta[x] log pi(a_i|x) = onehot(a_i) - pi(.|x),

where A_i is a function of the N rewards alone: `sequences.exact` with one-token answers and one prompt a batch. Its sum
has (N + M - 1 choose M - 1) terms: N + 1 for right-or-wrong rewards with any arms.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.sequences import advantages
from ablate.sequences.aggregations import sequence_sum
from ablate.sequences.exact import Kinds, OfBatch, kind_moments

Floats = NDArray[np.float64]

EPSILON = 1e-8  # what whitening adds to the standard deviation, in units of reward

ADVANTAGES: dict[str, OfBatch] = {
    "none": advantages.none,
    "mean": advantages.group_mean,
    "loo": advantages.leave_one_out,
    "whitened": partial(advantages.group_standardised, ddof=0, epsilon=EPSILON),
    "whitened_loo": partial(advantages.leave_one_out_standardised, ddof=0, epsilon=EPSILON),
}
"""Named as the baselines of training are, `whitened` as `whiten=true` has it."""


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


def group_moments(bandit: Bandit, size: int, advantage: OfBatch) -> GroupMoments:
    """Exact mean, bias and variance of `advantage` at group size N = `size`; see the top of this file for how.

    Where an advantage is infinite the moments are infinite or nan.
    """
    each = [
        kind_moments([_kinds(bandit, policy, chances)], size, advantage, sequence_sum)
        for policy, chances in zip(bandit.policy, bandit.reward_probabilities, strict=True)
    ]
    context_mean = np.concatenate([mean for mean, _ in each])
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


def _kinds(bandit: Bandit, policy: Floats, chances: Floats) -> Kinds:
    """Answers of one token, told apart by their rewards; policy [A], chances [A, M]."""
    joint = policy[:, None] * chances
    marginal = joint.sum(0)
    posterior = np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > 0)
    means = posterior.T - policy  # [M, A]
    squares = 1 - (posterior**2).sum(0) + (means**2).sum(1)  # of a one-hot vector less a constant
    return Kinds(marginal, bandit.values, np.ones(len(marginal)), np.stack([means] * 2), np.stack([squares] * 2))
