"""Mean, bias and variance of g = sum_bi w_bi A_bi S_bi, exactly: no answer is sampled.

Advantages see rewards and aggregations see lengths, so the answers to a prompt fall into kinds v = (reward, length).
Given the kinds of a batch, A and w are fixed numbers and the answers behind them are independent draws within their
kinds, with sbar_v = E[S | v]:

    E[g | kinds]     = sum_i w_i A_i sbar_{v_i}
    E[|g|^2 | kinds] = sum_i w_i^2 A_i^2 (E[|S|^2 | v_i] - |sbar_{v_i}|^2) + |E[g | kinds]|^2

and the sum over the multisets of N kinds, with their multinomial chances, is exact. Where neither A nor w looks at
other prompts, prompts are independent and are summed one at a time; else over all batches jointly.

Off the policy that wrote the answers, S = sum_t c_t(A) rho_t z_t with the ratio rho of the present policy to that one
and c_t in {0, 1} the clipping of the surrogate, which depends on the sign of A: moments are kept for both signs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement, pairwise
from math import comb, prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from ablate.errors import UserError
from ablate.sequences import advantages, aggregations
from ablate.sequences.problem import TokenProblem

Floats = NDArray[np.float64]
OfBatch = Callable[..., Floats]  # [..., B, N] -> [..., B, N]
Accept = Callable[[Floats], NDArray[np.bool_]]  # rewards [..., B, N] -> [..., B]
MOST_BATCHES = 4_000_000  # that are summed over
AT_ONCE = 4_000_000  # numbers that are held at a time


@dataclass(frozen=True)
class Kinds:
    """The kinds of answer to one prompt.

    | field   | shape  | meaning                                                            |
    |---------|--------|--------------------------------------------------------------------|
    | chances | [K]    | P(v) under the policy that writes the answers                      |
    | rewards | [K]    |                                                                    |
    | lengths | [K]    | tokens                                                             |
    | means   | [2,K,D]| E[S | v], for A >= 0 and for A < 0                                 |
    | squares | [2,K]  | E[|S|^2 | v]                                                       |
    | norms   | [K]    | |S|^2 of every answer of the kind, where an advantage looks at it   |
    """

    chances: Floats
    rewards: Floats
    lengths: Floats
    means: Floats
    squares: Floats
    norms: Floats | None = None


@dataclass(frozen=True)
class SequenceMoments:
    """Of the estimate from one batch of P prompts and N answers each.

    | field     | shape | meaning                                                                                  |
    |-----------|-------|------------------------------------------------------------------------------------------|
    | mean      | [P,D] | E g                                                                                      |
    | variance  | -     | tr Cov g                                                                                 |
    | gradient  | [P,D] | grad J                                                                                   |

    Of prompts that share their parameters [1,D].
    """

    mean: Floats
    variance: float
    gradient: Floats

    @property
    def bias_squared(self) -> float:
        """|E g - grad J|^2."""
        return float(np.square(self.mean - self.gradient).sum())

    @property
    def nsr(self) -> float:
        """tr Cov g / |E g|^2, of one update; infinite where E g = 0."""
        signal = float(np.square(self.mean).sum())
        return self.variance / signal if signal > 0 else np.inf

    @property
    def projection(self) -> float:
        """<E g, grad J> / |grad J|^2: 1 where unbiased; nan where grad J = 0."""
        square = float(np.square(self.gradient).sum())
        return float((self.mean * self.gradient).sum()) / square if square > 0 else np.nan

    @property
    def orthogonal(self) -> float:
        """|E g - projection grad J| / |E g|: the sine of their angle; 0 where only the scale is off."""
        size = float(np.sqrt(np.square(self.mean).sum()))
        off = self.mean - self.projection * self.gradient
        return float(np.sqrt(np.square(off).sum())) / size if size > 0 else np.nan

    @property
    def prompt_weights(self) -> Floats:
        """<E g_x, grad J_x> / |grad J_x|^2 of each prompt's own parameters, [P]: all alike unless the estimator
        reweights prompts; nan where a prompt's gradient is 0."""
        along, square = (self.mean * self.gradient).sum(1), np.square(self.gradient).sum(1)
        return np.divide(along, square, out=np.full(len(square), np.nan), where=square > 0)


@dataclass(frozen=True)
class Surrogate:
    """The gradient of sum_t min(rho_t A, clip(rho_t, 1 - low, 1 + high) A) at the present policy, on answers of a
    behaviour policy. Schulman et al. (2017); with ratio="sequence" rho is that of the whole answer.

    `high` above `low` is the asymmetric clipping of DAPO (Yu et al. 2025); infinite bounds clip nothing.
    """

    behaviour: Floats  # logits [P, prefixes, V] of the policy that wrote the answers
    low: float = 0.2
    high: float = 0.2
    ratio: Literal["token", "sequence"] = "token"

    def multipliers(self, log_pi: Floats, behind: Floats) -> Floats:
        """c_t rho_t of every token for A >= 0 and for A < 0, [2, ..., H], from its log-probabilities [..., H] under the
        present policy and under the one that wrote it."""
        ratio = np.exp(log_pi - behind)
        if self.ratio == "sequence":
            ratio = np.broadcast_to(ratio.prod(-1, keepdims=True), ratio.shape)
        kept = np.stack([ratio <= 1 + self.high, ratio >= 1 - self.low])
        return np.asarray(np.where(kept, ratio, 0.0))


def moments(
    problem: TokenProblem,
    logits: ArrayLike,
    size: int,
    advantage: OfBatch,
    aggregation: OfBatch = aggregations.sequence_sum,
    surrogate: Surrogate | None = None,
    jacobian: Floats | None = None,
) -> SequenceMoments:
    """Exact moments of an estimator with N = `size` answers a prompt; logits [P, prefixes, V].

    The parameters are the logits, each prompt's its own; with a ``jacobian`` d logits / d theta [P, prefixes, V, D]
    they are theta, of a network that all prompts share.

    Raises UserError where there are more batches to sum over than memory stands.
    """
    kinds = kinds_of(problem, logits, surrogate, "norms" in advantages.takes(advantage), jacobian)
    mean, variance = kind_moments(kinds, size, advantage, aggregation, shared=jacobian is not None)
    return SequenceMoments(mean, variance, gradient(problem, logits, jacobian))


def gradient(problem: TokenProblem, logits: ArrayLike, jacobian: Floats | None = None) -> Floats:
    """grad J, [P,D], or [1,D] of shared parameters."""
    own = problem.gradient(logits)
    return own if jacobian is None else np.einsum("xd,xde->e", own, _flat(jacobian))[None]


def _flat(jacobian: Floats) -> Floats:
    """[P, prefixes V, D]."""
    return jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])


def running_mean_moments(
    problem: TokenProblem, logits: ArrayLike, size: int, decay: float, aggregation: OfBatch = aggregations.sequence_sum
) -> SequenceMoments:
    """The same with A_i = r_i - b, b the moving average of the rewards of many earlier batches of the same policy.

    b has the mean J and the variance Var(mean reward of a batch) (1 - d) / (1 + d), d = `decay`, and g = g_1 - b g_0
    with b independent of both, so that E g is linear and E |g|^2 quadratic in it: three constants tell them.
    """
    kinds = kinds_of(problem, logits)
    first = sum(float(k.chances @ k.rewards) for k in kinds) / len(kinds)
    of_one = sum(float(k.chances @ k.rewards**2) - float(k.chances @ k.rewards) ** 2 for k in kinds) / len(kinds)
    second = first**2 + of_one / (len(kinds) * size) * (1 - decay) / (1 + decay)

    def at(b: float) -> tuple[Floats, float]:
        mean, variance = kind_moments(kinds, size, partial(advantages.constant, baseline=b), aggregation)
        return mean, variance + float(np.square(mean).sum())

    (none, zero), (up, plus), (_, minus) = at(0.0), at(1.0), at(-1.0)
    mean = none + first * (up - none)
    square = zero + first * (plus - minus) / 2 + second * ((plus + minus) / 2 - zero)
    return SequenceMoments(mean, square - float(np.square(mean).sum()), problem.gradient(logits))


def kind_moments(
    kinds: list[Kinds], size: int, advantage: OfBatch, aggregation: OfBatch, shared: bool = False
) -> tuple[Floats, float]:
    """E g, [P, D], or [1, D] where prompts have `shared` parameters, and tr Cov g, of prompts given by their kinds of
    answer; N = `size`."""
    everyone = list(range(len(kinds)))
    together = [everyone] if couples_prompts(advantage, aggregation) else [[x] for x in everyone]
    mean, variance = np.zeros((1 if shared else len(kinds), kinds[0].means.shape[-1])), 0.0
    for prompts in together:
        _, own, square = sums(kinds, prompts, size, advantage, aggregation, [0] * len(prompts) if shared else None)
        mean[[0] if shared else prompts] += own
        variance += square - float(np.square(own).sum())
    return mean, variance


def sums(
    kinds: list[Kinds],
    prompts: list[int],
    size: int,
    advantage: OfBatch,
    aggregation: OfBatch,
    blocks: Sequence[int] | None = None,
    accept: Accept | None = None,
) -> tuple[float, Floats, float]:
    """P(accepted), E[g, accepted] and E[|g|^2, accepted], g the part that some prompts of a batch have in it.

    ``blocks`` are the rows of g that the prompts' parameters have: a prompt that comes twice has one. ``accept`` says
    of each group whether it is accepted, by its rewards; the batch is, where all of its groups are.
    """
    rows = range(len(prompts)) if blocks is None else blocks
    accepted, total, square = 0.0, np.zeros((max(rows) + 1, kinds[0].means.shape[-1])), 0.0
    for which, ways in listed(kinds, prompts, size, _micro_batches(aggregation)):
        v, sign, rewards = _multipliers(kinds, prompts, which, advantage, aggregation)
        chances = ways if accept is None else ways * accept(rewards).all(1)
        means, spreads = np.zeros((len(which), *total.shape)), np.zeros(len(which))
        for k, x in enumerate(prompts):
            sbar = kinds[x].means[sign[:, k], which[:, k]]  # [C, N, D]
            within = kinds[x].squares[sign[:, k], which[:, k]] - np.square(sbar).sum(-1)
            spreads += (np.square(v[:, k]) * within).sum(1)
            means[:, rows[k]] += (v[:, k, :, None] * sbar).sum(1)
        accepted += float(chances.sum())
        total += np.tensordot(chances, means, 1)
        square += float(chances @ (spreads + np.square(means).sum((1, 2))))
    return accepted, total, square


def _multipliers(
    kinds: list[Kinds], prompts: list[int], which: NDArray[np.int64], advantage: OfBatch, aggregation: OfBatch
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """w A, 1 where A < 0, and r of the prompts' answers by their kinds, [C, prompts, N]."""
    rewards, lengths, A = advantages_of(kinds, prompts, which, advantage, aggregation)
    A = A[:, prompts]
    return aggregation(lengths)[:, prompts] * A, (A < 0).astype(np.int64), rewards[:, prompts]


def advantages_of(
    kinds: list[Kinds], prompts: list[int], which: NDArray[np.int64], advantage: OfBatch, aggregation: OfBatch
) -> tuple[Floats, Floats, Floats]:
    """r, L and A of a batch by the kinds `which` [C, prompts, N] of its answers, [C, P, N]. Where the others do not
    matter they stand there with reward 0 and length 1."""
    shape = len(which), len(kinds), which.shape[2]
    rewards, lengths, norms = np.zeros(shape), np.ones(shape), np.zeros(shape)
    for k, x in enumerate(prompts):
        rewards[:, x], lengths[:, x] = kinds[x].rewards[which[:, k]], kinds[x].lengths[which[:, k]]
        norms[:, x] = 0.0 if (own := kinds[x].norms) is None else own[which[:, k]]
    weighted = aggregation(lengths) ** 2 * norms
    return rewards, lengths, advantages.of_batch(advantage, rewards, lengths=lengths, norms=weighted)


def listed(
    kinds: list[Kinds], prompts: list[int], size: int, micro_batches: int
) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Kinds [C, prompts, N] and chances [C] of all batches, a part at a time. Within a prompt and a micro-batch the
    order of answers does not matter, so that multisets are enough."""
    cells = [(x, n) for x in prompts for n in _shares(x, size, len(kinds) * size // micro_batches)]
    number = prod(comb(np.count_nonzero(kinds[x].chances) + n - 1, n) for x, n in cells)
    if number > MOST_BATCHES:
        raise UserError(
            f"{number:.3g} batches are too many to sum over (at most {MOST_BATCHES:,}): take fewer prompts, answers or "
            "kinds of answer, or an estimator that takes prompts one at a time"
        )
    groups = [_multisets(kinds[x].chances, n) for x, n in cells]
    step = max(1, AT_ONCE // (size * kinds[0].means.shape[-1]))
    for start in range(0, number, step):
        places = np.unravel_index(np.arange(start, min(start + step, number)), [len(p) for _, p in groups])
        which = np.concatenate([multisets[at] for (multisets, _), at in zip(groups, places, strict=True)], axis=1)
        chances = np.prod([p[at] for (_, p), at in zip(groups, places, strict=True)], axis=0)
        yield which.reshape(len(which), len(prompts), size), chances


def _shares(prompt: int, size: int, dealt: int) -> list[int]:
    """How many of a prompt's answers fall into each micro-batch of `dealt` answers."""
    ends = range(prompt * size, (prompt + 1) * size + 1)
    cuts = [ends[0], *(i for i in ends[1:-1] if i % dealt == 0), ends[-1]]
    return [b - a for a, b in pairwise(cuts)]


def _multisets(chances: Floats, size: int) -> tuple[NDArray[np.int64], Floats]:
    """Every multiset of `size` kinds that can occur, [C, size], and its chance N! prod_v p_v^n_v / n_v!, [C]."""
    possible = np.flatnonzero(chances)
    which = np.array(list(combinations_with_replacement(possible, size)), np.int64)
    counts = (which[:, :, None] == possible).sum(1)
    log_ways = gammaln(size + 1) - gammaln(counts + 1).sum(1)
    return which, np.exp(log_ways + (counts * np.log(chances[possible])).sum(1))


def batches(chances: Floats, size: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Kinds [C, size] and chances [C] of all groups of one prompt, a part at a time."""
    kinds = Kinds(chances, *(np.empty(0),) * 2, np.empty((2, 0, 1)), np.empty((2, 0)))
    return ((which[:, 0], ways) for which, ways in listed([kinds], [0], size, 1))


def _micro_batches(aggregation: OfBatch) -> int:
    """Into how many a batch is cut: known of the one aggregation that cuts it."""
    if _named(aggregation) is not aggregations.micro_batched:
        return 1
    return int(aggregation.keywords["micro_batches"])  # type: ignore[attr-defined]


def kinds_of(
    problem: TokenProblem,
    logits: ArrayLike,
    surrogate: Surrogate | None = None,
    by_norm: bool = False,
    jacobian: Floats | None = None,
) -> list[Kinds]:
    """The kinds of answer to each prompt, and the moments of their scores, of theta where there is a ``jacobian``; with
    `by_norm` answers of different |S|^2, S = sum_t z_t, are different kinds."""
    log_pi, z = problem.token_log_probs(logits), problem.token_scores(logits)
    plain = z.sum(2)
    if surrogate is None:
        chances = np.exp(log_pi.sum(-1))
        S = np.stack([plain] * 2)  # [2, P, Y, D]
    else:
        behind = problem.token_log_probs(surrogate.behaviour)
        chances = np.exp(behind.sum(-1))
        S = np.einsum("sxyh,xyhd->sxyd", surrogate.multipliers(log_pi, behind), z)
    if jacobian is not None:
        S, plain = S @ _flat(jacobian), plain @ _flat(jacobian)
    found = []
    for x in range(problem.prompts):
        norms = np.square(plain[x]).sum(-1) * by_norm
        keys = np.stack([problem.rewards[x], problem.lengths, norms], 1)
        values, which = np.unique(keys, axis=0, return_inverse=True)
        member = np.eye(len(values))[which.reshape(-1)].T * chances[x]  # [K, Y]
        total = member.sum(1)
        given = np.divide(member, total[:, None], out=np.zeros_like(member), where=total[:, None] > 0)
        squares = np.einsum("ky,sy->sk", given, np.square(S[:, x]).sum(-1))
        found.append(Kinds(total, values[:, 0], values[:, 1], given @ S[:, x], squares, values[:, 2]))
    return found


def optimal_constant(kinds: list[Kinds], aggregation: OfBatch) -> Floats:
    """b_x = E[w^2 |S|^2 r] / E[w^2 |S|^2], the constant of least variance for each prompt, [P], for a weight w of the
    answer's own length. Greensmith, Bartlett & Baxter (2004)."""
    found = []
    for own in kinds:
        w = aggregation(own.lengths[:, None, None])[:, 0, 0]
        weight = own.chances * np.square(w) * own.squares[0]
        found.append((weight @ own.rewards) / weight.sum() if weight.sum() > 0 else 0.0)
    return np.array(found)


def couples_prompts(advantage: OfBatch, aggregation: OfBatch) -> bool:
    """Whether the estimate of one prompt's gradient depends on the answers to others."""
    return _named(advantage) in advantages.COUPLES_PROMPTS or _named(aggregation) in aggregations.COUPLES_ANSWERS


def _named(function: Any) -> Any:
    return function.func if isinstance(function, partial) else function
