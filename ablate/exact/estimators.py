"""The estimators by name: phi x baseline x critic, as on the command line, with their exact moments."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cached_property
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from ablate.errors import UserError
from ablate.exact import baselines
from ablate.exact.batch_covariance import Coupling, Lasting, Signal, mean_of_others, time_coupling
from ablate.exact.evaluation import (
    CriticValues,
    Floats,
    average,
    clockless,
    exact_critic,
    gradient,
    occupancy,
    transitions,
    two_point,
)
from ablate.exact.variance import ExactEstimator, Moments, moments
from ablate.mdp import MDP

PHIS = ("return", "rtg", "q", "td", "advantage", "all-action")
BASELINES = ("none", "mean", "loo", "time", "value", *(f"optimal {cell}" for cell in baselines.CELLS), "textbook")
CRITICS = ("exact", "clockless")
IN_BATCH = ("mean", "loo", "time")  # taken from the episodes of a batch
RANK = 1e-12  # an eigenvalue of the Fisher information below this share of the largest is 0
BASELINED = ("return", "rtg", "q")  # the others have their baseline built in


class Variant(NamedTuple):
    """What the table has a row for; critic is `none` where neither phi nor baseline looks at one."""

    phi: str
    baseline: str = "none"
    critic: str = "none"

    @property
    def label(self) -> str:
        """For people: 'rtg - value (clockless)'; an exact critic goes without saying."""
        minus = "" if self.baseline == "none" else f" - {self.baseline}"
        return self.phi + minus + (" (clockless)" if self.critic == "clockless" else "")


VARIANTS = (
    Variant("return"),
    Variant("return", "mean"),
    Variant("return", "optimal constant"),
    Variant("rtg"),
    Variant("rtg", "mean"),
    Variant("rtg", "time"),
    Variant("rtg", "value", "exact"),
    Variant("rtg", "value", "clockless"),
    *(Variant("rtg", f"optimal {cell}") for cell in baselines.CELLS),
    Variant("rtg", "textbook"),
    Variant("q", "none", "exact"),
    Variant("q", "value", "exact"),
    Variant("td", "none", "exact"),
    Variant("td", "none", "clockless"),
    Variant("advantage", "none", "exact"),
    Variant("all-action", "none", "exact"),
)


class GroundTruth:
    """Everything exact about one policy in one MDP; what several variants need is computed once.

    mdp, pi [S,A], z [S,A,d] as in `ablate.exact.evaluation`. With `discount_scores` g = sum_t gamma^t z_t Phi_t,
    without it g = sum_t z_t Phi_t, which is biased. Phi = R(tau) = sum_k gamma^k r_k carries no weight either way.

    Everything is computed of TD errors delta_t = r_t + gamma V_{t+1} - V_t, which do not change when a number is added
    to every reward:

        G_t - V_t(s_t) = sum_k gamma^k delta_{t+k},    R - J = V_0(s_0) - J + sum_k gamma^k delta_k.

    So Phi is taken less a centre (J for the return, V_t for the others), a baseline enters by its distance from it, and
    no digit is lost to a large mean reward. The noise of Gaussian rewards counts among what the transitions add.
    """

    def __init__(self, mdp: MDP, pi: Floats, z: Floats, *, discount_scores: bool = True) -> None:
        self.mdp, self.pi, self.z, self.discount_scores = two_point(mdp), pi, z, discount_scores
        self._products: dict[tuple[str, str], tuple[Floats, Floats]] = {}  # of (phi, critic), as below
        self._centred: dict[tuple[str, str], Moments] = {}
        self._whole: GroundTruth = self  # whose baselines these are

    @cached_property
    def _discounts(self) -> Floats:
        return np.power(self.mdp.gamma, np.arange(self.mdp.horizon, dtype=np.float64))

    @cached_property
    def critics(self) -> dict[str, CriticValues]:
        """V and Q as each critic has them."""
        exact = exact_critic(self.mdp, self.pi)
        return {"exact": exact, "clockless": clockless(exact, self.occupancy)}

    @cached_property
    def occupancy(self) -> Floats:
        return occupancy(self.mdp, self.pi)

    @cached_property
    def gradient(self) -> Floats:
        return gradient(self.mdp, self.pi, self.z)

    @cached_property
    def J(self) -> float:
        return sum(self._J)

    @property
    def _J(self) -> tuple[float, float]:
        """J in two parts: of the rewards less the critic's offset, and of the offset."""
        exact = self.critics["exact"]
        value, steps = (float(average(self.mdp.rho0, f[0], 0)[0]) for f in (exact.value, exact.steps))
        return value, exact.offset * steps

    @cached_property
    def _start(self) -> Floats:
        """V_0(s) - J, [S]."""
        exact, rho0 = self.critics["exact"], self.mdp.rho0
        value, steps = (f[0] - average(rho0, f[0], 0) for f in (exact.value, exact.steps))
        return value + exact.offset * steps

    def moments(
        self,
        phi: str,
        baseline: str = "none",
        critic: str = "none",
        *,
        gae_lambda: float = 0.95,
        episodes: float = inf,
        covariance: bool = False,
    ) -> Moments:
        """Exact moments of a variant.

        Baselines `mean`, `loo` and `time` are of a batch of `episodes` N: the mean return (loo: of the others), and the
        mean Phi_t of the others that last to t. By default N is infinite; then they are J and E[Phi_t | alive]. The
        other baselines are the true ones always. With X_i = sum_t w_t z_t Phi_t, F_i = sum_t w_t z_t and
        d_i = R_i - J the estimate is

            mean    (1/N) sum_i [X_i - J F_i - F_i d_i / N] - (1/N^2)        sum_{i != j} F_i d_j
            loo     (1/N) sum_i [X_i - J F_i]               - (1/(N (N-1)))  sum_{i != j} F_i d_j

        whose first sum is an estimator of single episodes (for the return, of mean (1 - 1/N) grad J), and whose second
        is uncorrelated with it and has mean 0. N Var of the latter is `v_coupling`:
        (N - 1)/N^2, or 1/(N - 1), times E[F F'] Var R + E[F R] E[F R]'. `time`: `batch_covariance.time_coupling`.

        Raises UserError for a variant that does not exist.
        """
        self._check(phi, baseline, critic, episodes)
        in_batch = baseline in IN_BATCH and isfinite(episodes)
        shift = self._distance(phi, baseline, critic)
        if in_batch and baseline == "time":
            lasting, signal = self._lasting, self._signal(phi, critic)
            shift = shift + (mean_of_others(signal, lasting, int(episodes))[0] - signal.mean)[:, None]
        if phi in BASELINED and not covariance and not (in_batch and baseline == "mean"):
            found = self._shifted(phi, critic, shift)
        else:
            estimator = replace(self._estimator(phi, critic, gae_lambda), baseline=shift)
            if phi not in BASELINED:
                estimator = self._estimator(phi, critic, gae_lambda)
            elif in_batch and baseline == "mean":
                estimator = replace(
                    estimator,
                    scale=estimator.scale - self._discounts / episodes,
                    past=estimator.past - 1 / episodes,
                    start=estimator.start - self._start / episodes,
                )
            found = moments(self.mdp, self.pi, self.z, estimator, self.gradient, covariance=covariance)
        if not in_batch:
            return found
        if baseline == "time":
            coupling = time_coupling(self.mdp, self.pi, self.z, self.occupancy, lasting, signal, int(episodes))
        else:
            factor = (episodes - 1) / episodes**2 if baseline == "mean" else 1 / (episodes - 1)
            coupling = self._return_coupling(self._weights(phi), factor)
        total = None if found.covariance is None else found.covariance + coupling.matrix(self.z)
        return replace(found, v_coupling=coupling.trace(self.z), covariance=total)

    def project(self, W: Floats) -> "GroundTruth":
        """The same estimators and baselines with W' g [m] for g, W [d,m]: the trace variance is tr(W' Cov g W)."""
        other = copy(self)  # with what is known already of values and occupancies
        for name in ("gradient", "along_gradient", "in_fisher_metric"):
            other.__dict__.pop(name, None)
        other.z, other._products, other._centred, other._whole = self.z @ W, {}, {}, self._whole
        return other

    @cached_property
    def along_gradient(self) -> "GroundTruth":
        """Seen along grad J / |grad J|: the trace variances are what ascent feels; nan where grad J = 0."""
        length = np.linalg.norm(self.gradient)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.project((self.gradient / length)[:, None])

    @cached_property
    def in_fisher_metric(self) -> "GroundTruth":
        """Seen through F^(+1/2), so that its trace variances are tr(F^+ Cov g): those of the natural gradient's metric,
        which are the same whatever parameters describe the policy.

        F = E[sum_t z_t z_t'] is the Fisher information of a trajectory, where z spans. Source: Kakade (2001); Peters &
        Schaal (2008), section 3.2.
        """
        visits = (self.occupancy * ~self.mdp.terminal).sum(0)[:, None] * self.pi
        weighed = (np.sqrt(visits)[..., None] * self.z).reshape(-1, self.z.shape[-1])
        values, vectors = np.linalg.eigh(weighed.T @ weighed)
        spanned = values > RANK * values[-1]
        whitening = vectors[:, spanned] / np.sqrt(values[spanned])
        return self.project(whitening if spanned.any() else 0 * vectors[:, :1])

    def _shifted(self, phi: str, critic: str, shift: Floats) -> Moments:
        """v_action(centre + shift) = v_action(centre) + sum |f|^2 shift^2 - 2 sum <f, X> shift, over (t, s) in mean.

        X is of Phi less its centre. Nothing else depends on the baseline, so one recursion serves all of a phi.
        """
        critic = critic if phi == "q" else "none"
        if (phi, critic) not in self._centred:
            estimator = self._estimator(phi, critic, 0.0)
            self._centred[phi, critic] = moments(self.mdp, self.pi, self.z, estimator, self.gradient)
        centred = self._centred[phi, critic]
        if not shift.any():
            return centred
        products, squares = self._score_products(phi, critic)
        added = float((squares * shift**2).sum() - 2 * (products * shift).sum())
        return replace(centred, v_action=max(0.0, centred.v_action + added))

    def _check(self, phi: str, baseline: str, critic: str, episodes: float) -> None:
        for name, given, choices in (("phi", phi, PHIS), ("baseline", baseline, BASELINES)):
            if given not in choices:
                raise UserError(f"{name}={given} is not known here; choose one of {', '.join(choices)}")
        if baseline != "none" and phi not in BASELINED:
            raise UserError(f"phi={phi} takes no baseline; use baseline=none, or phi={', '.join(BASELINED)}")
        needs = phi not in ("return", "rtg") or baseline == "value"
        allowed = CRITICS if needs else ("none",)
        if critic not in allowed:
            raise UserError(f"phi={phi} baseline={baseline} critic={critic}: choose critic={' or '.join(allowed)}")
        if baseline == "mean" and isfinite(episodes) and phi == "q":
            raise UserError("phi=q baseline=mean of a finite batch has no closed form here; use baseline=loo")
        if baseline in ("loo", "time") and episodes < 2:
            raise UserError(f"baseline={baseline} with episodes={episodes:g}: leaving one out needs at least 2")

    def _weights(self, phi: str) -> Floats:
        """w_t, [H]."""
        return self._discounts if self.discount_scores and phi != "return" else np.ones(self.mdp.horizon)

    def _estimator(self, phi: str, critic: str, gae_lambda: float) -> ExactEstimator:
        """Of Phi less its centre."""
        mdp, horizon = self.mdp, self.mdp.horizon
        exact, used = self.critics["exact"], self.critics["exact" if critic == "none" else critic]
        nothing, ones, discounts = np.zeros((horizon, mdp.num_states)), np.ones(horizon), self._discounts
        weight = mdp.gamma if self.discount_scores else 1.0

        def td_error(t: int) -> Floats:
            return (exact if phi in ("return", "rtg") else used).td_error(mdp, t)

        def advantage(t: int) -> Floats:
            return np.broadcast_to(used.advantage[t][..., None], mdp.rewards.shape)

        def all_actions(t: int) -> Floats:
            expected = np.einsum("sa,sad->sd", self.pi * used.advantage[t], self.z)
            return np.broadcast_to(expected[:, None, :], self.z.shape)

        if phi == "return":
            return ExactEstimator(td_error, mdp.gamma, 1.0, discounts, nothing, past=1.0, start=self._start)
        if phi == "all-action":  # sum_a pi(a|s) z(s,a) Q(s,a) in place of z, times 1
            return ExactEstimator(td_error, 0.0, weight, 0 * ones, nothing - 1, scores=all_actions)
        step: Callable[[int], Floats] = advantage if phi == "q" else td_error
        decay = {"rtg": mdp.gamma, "advantage": mdp.gamma * gae_lambda}.get(phi, 0.0)
        return ExactEstimator(step, decay, weight, ones, nothing)

    def baseline(self, phi: str, baseline: str, critic: str = "none") -> Floats:
        """b_t(s), [H,S], of an infinite batch."""
        centre = self.critics[critic if phi == "q" else "exact"].V[:-1]
        return self._distance(phi, baseline, critic) + (self.J if phi == "return" else centre)

    def _distance(self, phi: str, baseline: str, critic: str) -> Floats:
        """b_t(s) less the centre of Phi, [H,S]."""
        if self._whole is not self:
            return self._whole._distance(phi, baseline, critic)
        exact, used = self.critics["exact"], self.critics["exact" if critic == "none" else critic]
        shape = self.occupancy.shape
        J, constant = (np.full(shape, part) for part in self._J)
        of_return = phi == "return"
        centre = used if phi == "q" else exact
        value, steps = (J, constant) if of_return else (centre.value[:-1], centre.offset * centre.steps[:-1])
        if baseline == "none":
            return -value - steps
        if baseline in ("mean", "loo"):
            return (J - value) + (constant - steps)
        if baseline == "value":
            return (used.value[:-1] - value) + (used.offset * used.steps[:-1] - steps)
        if baseline == "textbook":
            own = baselines.textbook(self.pi, self.z, used.advantage)
            return own + (used.value[:-1] - value) + (used.offset * used.steps[:-1] - steps)
        if baseline == "time":
            if of_return:
                return average(self.occupancy, self._per_visit(self._past[0]), 1) + 0 * value
            weights, cell = self.occupancy, "time"
            added = np.zeros(shape)
        else:
            products, weights = self._score_products(phi, critic)
            cell = baseline.removeprefix("optimal ")
            added = baselines.optimal(products, weights, cell)
        moved = [baselines.cell_average(weights, f, cell) - f for f in (value, steps)]
        return added + (moved[0] + moved[1])

    def _per_visit(self, f: Floats) -> Floats:
        """f / P(s_t = s), [H,S], and 0 where that is 0."""
        return np.divide(f, self.occupancy, out=np.zeros_like(f), where=self.occupancy > 0)

    @cached_property
    def _past(self) -> tuple[Floats, Floats]:
        """E[1{s_t = s} p_t] and the same of p_t^2, [H,S], with p_t = V_0(s_0) - J + sum_{k < t} gamma^k delta_k."""
        exact = self.critics["exact"]
        return baselines.earned_before(self.mdp, self.pi, lambda t: exact.td_error(self.mdp, t), self._start)

    def _score_products(self, phi: str, critic: str) -> tuple[Floats, Floats]:
        """E<f, X> and E|f|^2 of Phi less its centre."""
        critic = critic if phi == "q" else "exact"  # whose Q Phi itself is; for the others the baseline's is no matter
        if (phi, critic) not in self._products:
            past = self._past[0] if phi == "return" else 0.0
            advantage = self.critics[critic].advantage
            self._products[phi, critic] = baselines.score_products(
                self.mdp, self.pi, self.z, advantage, phi, past, discount_scores=self.discount_scores
            )
        return self._products[phi, critic]

    @cached_property
    def _lasting(self) -> Lasting:
        return Lasting.of(self.mdp, self.pi, self.occupancy)

    @cached_property
    def _to_go_variance(self) -> Floats:
        """Var[G_t | s_t], [H,S]: E[delta_t^2 + gamma^2 Var[G_{t+1} | s_{t+1}] | s_t]."""
        mdp, flow = self.mdp, self.pi[..., None] * transitions(self.mdp)
        variance = np.zeros((mdp.horizon + 1, mdp.num_states))
        for t in reversed(range(mdp.horizon)):
            new = self.critics["exact"].td_error(mdp, t) ** 2 + mdp.gamma**2 * variance[t + 1][mdp.successors]
            variance[t] = (flow * new).sum((1, 2))
        return variance[:-1]

    def _signal(self, phi: str, critic: str) -> Signal:
        mdp, occupied, discounts = self.mdp, self.occupancy, self._discounts
        exact = self.critics["exact"]
        centre = self.critics[critic] if phi == "q" else exact
        own, steps = centre.advantage, np.arange(mdp.horizon)
        apart = steps - steps[:, None]
        later = np.where(apart >= 0, mdp.gamma ** np.maximum(apart, 0.0), 0.0)
        moved = self._distance(phi, "time", critic)  # of the mean from the centre
        nothing = np.zeros_like(occupied)

        def mean(f: Floats) -> Floats:
            return average(occupied, f, 1)[:, 0]

        if phi == "return":
            before, square = self._past
            variance = mean(self._per_visit(square)) - moved[:, 0] ** 2 + discounts**2 * mean(self._to_go_variance)
            return Signal(
                self._weights(phi),
                sum(self._J) + moved[:, 0],
                variance,
                discounts[:, None, None] * own,
                np.where(apart >= 0, 1.0, 0.0),
                before,
                lambda u: discounts[u] * exact.td_error(mdp, u),
                -moved,
            )
        spread = np.einsum("sa,tsa->ts", self.pi, own**2) if phi == "q" else self._to_go_variance
        return Signal(
            self._weights(phi),
            mean(centre.value[:-1]) + centre.offset * mean(centre.steps[:-1]),
            mean(moved**2) + mean(spread),
            own,
            np.eye(mdp.horizon) if phi == "q" else later,
            nothing,
            lambda u: np.zeros(1),
            -moved,
        )

    def _return_coupling(self, weights: Floats, factor: float) -> Coupling:
        """factor (E[F F'] Var R + E[F R] E[F R]'), F = sum_t w_t z_t."""
        z = self.z * ~self.mdp.terminal[:, None, None]
        visits, advantage = self.occupancy[..., None] * self.pi, self.critics["exact"].advantage
        norms = np.einsum("t,tsa->sa", weights**2, visits)
        reached = np.einsum("t,tsa,tsa->sa", weights * self._discounts, visits, advantage)
        score_return = np.tensordot(reached, z, 2)[None]
        return Coupling(factor * self._return_variance * norms, factor * score_return, score_return)

    @cached_property
    def _return_variance(self) -> float:
        """Var R(tau)."""
        return float(self.mdp.rho0 @ (self._start**2 + self._to_go_variance[0]))
