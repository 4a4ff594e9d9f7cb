"""One policy-gradient estimator: which Phi_t, less which baseline, with which weights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate import nan_checks
from ablate.baselines import ScoreProducts
from ablate.discounted_sums import discounted_sum, ordered_sum
from ablate.phi import Signals
from ablate.sequences.advantages import takes

Floats = NDArray[np.float64]
OfBatch = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Estimator:
    """g = (1/N) sum_i sum_t z_it w_t (Phi_it - b_it),  z_it = grad log pi(a_it|s_it).

    | field           | meaning                                                                                      |
    |-----------------|----------------------------------------------------------------------------------------------|
    | phi             | Signals -> Phi [S,N,T]                                                                       |
    | baseline        | Phi, Signals, score products -> b                                                            |
    | measured_from   | "step": Phi_t discounts from t; "start": from 0, so that it takes no further w_t             |
    | discount_scores | w_t = gamma^t, the exact gradient of J; else w_t = 1, the usual practice, biased if gamma < 1|
    | whiten          | divide Phi - b, less its mean, by its standard deviation: biased at every scale              |
    | group           | neighbouring episodes that make the batch of a baseline and of whitening; None: all N        |
    | advantage       | A of each episode from the returns [S,B,N] of B groups, in place of Phi - b, and what else it|
    |                 | takes (`sequences.advantages`); None: as it is                                               |
    | aggregation     | weights of the episodes from their lengths [S,B,N], in place of 1/N; None: as it is          |
    | names           | what a message calls Phi and b                                                               |
    """

    phi: Callable[[Signals], Floats]
    baseline: Callable[[Floats, Signals, ScoreProducts], Floats]
    measured_from: str = "step"
    discount_scores: bool = True
    whiten: bool = False
    group: int | None = None
    advantage: Callable[..., Floats] | None = None
    aggregation: OfBatch | None = None
    names: tuple[str, str] = ("phi", "baseline")

    def weights(self, signals: Signals, score_products: ScoreProducts) -> Floats:
        """w_t (Phi_t - b_t), [S,N,T], 0 where no step was taken: what the score of each step is multiplied with.

        ``score_products(u, v)`` gives <sum_t u_t z_t, sum_t v_t z_t> of each trajectory, [S,N], for weights [S,N,T].
        """
        if self.advantage:
            share = self._shares(signals.mask)
            return share * self._advantages(signals, score_products, share)
        weights = self._differences(signals, score_products)
        return weights if self.aggregation is None else self._shares(signals.mask) * weights

    def _shares(self, mask: NDArray[np.bool_]) -> Floats:
        """N times the weight of each episode, at its steps, [S,N,T]: 1 where episodes count alike."""
        if self.aggregation is None:
            return mask.astype(np.float64)
        lengths = self._grouped(mask.sum(2))
        return mask.shape[1] * self.aggregation(lengths).reshape(mask.shape[:2])[..., None] * mask

    def _grouped(self, x: NDArray) -> NDArray:
        """[S,N] as [S,B,N/B]."""
        return x.reshape(len(x), -1, self.group or x.shape[1])

    def _advantages(self, signals: Signals, score_products: ScoreProducts, share: Floats) -> Floats:
        """One number an episode, at all its steps."""
        assert self.advantage is not None
        facts: dict[str, Callable[[], Floats]] = {
            "lengths": lambda: signals.mask.sum(2).astype(np.float64),
            "norms": lambda: score_products(share, share),
            "values": lambda: _of_the_start(signals),
        }
        wanted = {name: self._grouped(facts[name]()) for name in takes(self.advantage)}
        A = self.advantage(self._grouped(signals.returns), **wanted).reshape(signals.returns.shape)
        nan_checks.check(f"what {self.names[0]} gives", A, "seed episode")
        return A[..., None] * signals.mask

    def _differences(self, signals: Signals, score_products: ScoreProducts) -> Floats:
        """w_t (Phi_t - b_t), within groups where there are any."""
        if not (size := self.group):
            return self._weights(signals, score_products)
        shape, grouped = signals.mask.shape, signals.in_batches_of(size)

        def products(u: Floats, v: Floats) -> Floats:
            u, v = (np.broadcast_to(x, grouped.mask.shape).reshape(shape) for x in (u, v))
            return score_products(u, v).reshape(-1, size)

        return self._weights(grouped, products).reshape(shape)

    def _weights(self, signals: Signals, score_products: ScoreProducts) -> Floats:
        w = self.time_weights(signals)
        phi = self.phi(signals)
        nan_checks.check(f"what {self.names[0]} gives", phi, "seed episode step")
        baseline = self.baseline(phi, signals, lambda u, v: score_products(w * u, w * v))
        nan_checks.check(f"what {self.names[1]} gives", baseline, "seed episode step")
        weights = (phi - baseline) * signals.mask
        if self.whiten:
            weights = _whitened(weights, signals.mask, _rounding(phi, baseline, signals))
        return w * weights

    def time_weights(self, signals: Signals) -> Floats:
        """w_t, [T]."""
        discount = signals.gamma if self.discount_scores and self.measured_from == "step" else 1.0
        return np.power(discount, np.arange(signals.mask.shape[-1]))


def _of_the_start(signals: Signals) -> Floats:
    """V(s_0), [S,N]."""
    assert signals.values is not None
    return signals.values[..., 0]


def _whitened(x: Floats, mask: NDArray[np.bool_], rounding: Floats) -> Floats:
    """(x - mean) / (std + 1e-8) over the steps taken by each seed's episodes; 0 where std is mere ``rounding``, [S]."""

    def mean(y: Floats) -> Floats:
        return ordered_sum(ordered_sum(y, axis=2), axis=1)[:, None, None] / mask.sum((1, 2), keepdims=True)

    shifted = (x - x[:, :1, :1]) * mask
    centred = (shifted - mean(shifted)) * mask
    std = np.sqrt(mean(centred**2))
    return np.where(std > rounding[:, None, None], centred / (std + 1e-8), 0.0)


def _rounding(phi: Floats, baseline: Floats, signals: Signals) -> Floats:
    """What Phi - b may be off by, [S]: an ulp of the largest number in it for each step of the longest episode, as a
    sum of so many rewards may be, and a few more."""
    sums = discounted_sum(np.abs(signals.rewards), signals.gamma)
    largest = np.max([np.abs(x * signals.mask).max((1, 2)) for x in (phi, baseline, sums)], axis=0)
    return (8 + signals.mask.sum(2).max(1)) * np.finfo(np.float64).eps * largest
