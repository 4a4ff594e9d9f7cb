"""The estimators by name: phi x baseline x critic, as on the command line, with their exact moments."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from ablate.exact import baselines
from ablate.exact.evaluation import Floats, clockless, gradient, occupancy, values
from ablate.exact.recursion import Estimator, Moments, moments
from ablate.mdp import MDP
from ablate.refusal import Refusal

PHIS = ("return", "rtg", "q", "td", "advantage", "all-action")
BASELINES = ("none", "mean", "loo", "time", "value", *(f"optimal {cell}" for cell in baselines.CELLS), "textbook")
CRITICS = ("exact", "clockless")
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
    """

    def __init__(self, mdp: MDP, pi: Floats, z: Floats, *, discount_scores: bool = True) -> None:
        self.mdp, self.pi, self.z, self.discount_scores = mdp, pi, z, discount_scores
        self._products: dict[tuple[str, str], tuple[Floats, Floats]] = {}  # of (phi, critic), as below
        self._centred: dict[tuple[str, str], Moments] = {}

    @cached_property
    def _discounts(self) -> Floats:
        return np.power(self.mdp.gamma, np.arange(self.mdp.horizon, dtype=np.float64))

    @cached_property
    def critics(self) -> dict[str, tuple[Floats, Floats]]:
        """V [H+1,S] and Q [H,S,A] of each critic."""
        exact = values(self.mdp, self.pi)
        return {"exact": exact, "clockless": clockless(*exact, self.occupancy)}

    @cached_property
    def occupancy(self) -> Floats:
        return occupancy(self.mdp, self.pi)

    @cached_property
    def gradient(self) -> Floats:
        return gradient(self.mdp, self.pi, self.z)

    @cached_property
    def J(self) -> float:
        return float(self.mdp.rho0 @ self.critics["exact"][0][0])

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

        Baselines `mean` and `loo` are the mean return of the batch's `episodes` N (loo: of the others); by default N
        is infinite and both are the true J. With X_i = sum_t w_t z_t Phi_t, F_i = sum_t w_t z_t and
        d_i = R_i - J the estimate is

            mean    (1/N) sum_i [X_i - J F_i - F_i d_i / N] - (1/N^2)        sum_{i != j} F_i d_j
            loo     (1/N) sum_i [X_i - J F_i]               - (1/(N (N-1)))  sum_{i != j} F_i d_j

        whose first sum is an estimator of single episodes (for the return, of mean (1 - 1/N) grad J), and whose second
        is uncorrelated with it and has mean 0. N Var of the latter is `v_coupling`:
        (N - 1)/N^2, or 1/(N - 1), times E[F F'] Var R + E[F R] E[F R]'.

        Raises Refusal for a variant that does not exist.
        """
        self._check(phi, baseline, critic, episodes)
        in_batch = baseline in ("mean", "loo") and isfinite(episodes)
        if phi in BASELINED and not in_batch and not covariance:
            return self._shifted(phi, critic, self._baseline(phi, baseline, critic))
        estimator = self._estimator(phi, critic, gae_lambda)
        if in_batch and baseline == "mean":
            estimator = replace(
                estimator,
                scale=estimator.scale - self._discounts / episodes,
                past=estimator.past - 1 / episodes,
                baseline=self._baseline(phi, baseline, critic) * (1 - 1 / episodes),
            )
        elif phi in BASELINED:
            estimator = replace(estimator, baseline=self._baseline(phi, baseline, critic))
        found = moments(self.mdp, self.pi, self.z, estimator, self.gradient, covariance=covariance)
        if not in_batch:
            return found
        factor = (episodes - 1) / episodes**2 if baseline == "mean" else 1 / (episodes - 1)
        coupling = factor * self._coupling(estimator.weight)
        total = None if found.covariance is None else found.covariance + coupling
        return replace(found, v_coupling=float(np.trace(coupling)), covariance=total)

    def _shifted(self, phi: str, critic: str, baseline: Floats) -> Moments:
        """v_action(b) = v_action(V) + sum |f|^2 (b - V)^2 - 2 sum (<f, X> - |f|^2 V) (b - V), over (t, s) in mean.

        Nothing else depends on the baseline, so one recursion serves all baselines of a phi. Started from V, whose
        variance is small already, it loses no digits to the rewards' offset.
        """
        critic = critic if phi == "q" else "none"
        V = self.critics["exact"][0][:-1]
        if (phi, critic) not in self._centred:
            estimator = replace(self._estimator(phi, critic, 0.0), baseline=V)
            self._centred[phi, critic] = moments(self.mdp, self.pi, self.z, estimator, self.gradient)
        centred, (products, squares) = self._centred[phi, critic], self._score_products(phi, critic)
        shift = baseline - V
        added = (squares * shift**2).sum() - 2 * ((products - squares * V) * shift).sum()
        return replace(centred, v_action=max(0.0, centred.v_action + float(added)))

    def _check(self, phi: str, baseline: str, critic: str, episodes: float) -> None:
        for name, given, choices in (("phi", phi, PHIS), ("baseline", baseline, BASELINES)):
            if given not in choices:
                raise Refusal(f"{name}={given} is not known here; choose one of {', '.join(choices)}")
        if baseline != "none" and phi not in BASELINED:
            raise Refusal(f"phi={phi} takes no baseline; use baseline=none, or phi={', '.join(BASELINED)}")
        needs = phi not in ("return", "rtg") or baseline == "value"
        allowed = CRITICS if needs else ("none",)
        if critic not in allowed:
            raise Refusal(f"phi={phi} baseline={baseline} critic={critic}: choose critic={' or '.join(allowed)}")
        if baseline == "mean" and isfinite(episodes) and phi == "q":
            raise Refusal("phi=q baseline=mean of a finite batch has no closed form here; use baseline=loo")
        if baseline == "loo" and episodes < 2:
            raise Refusal(f"baseline=loo with episodes={episodes:g}: leaving one out needs at least 2")

    def _estimator(self, phi: str, critic: str, gae_lambda: float) -> Estimator:
        mdp, horizon = self.mdp, self.mdp.horizon
        V, Q = self.critics["exact" if critic == "none" else critic]
        nothing, ones, discounts = np.zeros((horizon, mdp.num_states)), np.ones(horizon), self._discounts
        weight = mdp.gamma if self.discount_scores else 1.0

        def reward(t: int) -> Floats:
            return mdp.rewards

        def td_error(t: int) -> Floats:
            return mdp.rewards + mdp.gamma * V[t + 1][mdp.successors] - V[t][:, None, None]

        def action_value(t: int) -> Floats:
            return np.broadcast_to(Q[t][..., None], mdp.rewards.shape)

        def all_actions(t: int) -> Floats:
            expected = np.einsum("sa,sad->sd", self.pi * Q[t], self.z)
            return np.broadcast_to(expected[:, None, :], self.z.shape)

        if phi == "return":
            return Estimator(reward, mdp.gamma, 1.0, discounts, nothing, past=1.0)
        if phi == "rtg":
            return Estimator(reward, mdp.gamma, weight, ones, nothing)
        if phi == "all-action":  # sum_a pi(a|s) z(s,a) Q(s,a) in place of z, times 1
            return Estimator(reward, 0.0, weight, 0 * ones, nothing - 1, scores=all_actions)
        step: Callable[[int], Floats] = action_value if phi == "q" else td_error
        return Estimator(step, mdp.gamma * gae_lambda if phi == "advantage" else 0.0, weight, ones, nothing)

    def _baseline(self, phi: str, baseline: str, critic: str) -> Floats:
        """b_t(s), [H,S]."""
        V, Q = self.critics["exact" if critic == "none" else critic]
        if baseline == "none":
            return np.zeros(self.occupancy.shape)
        if baseline in ("mean", "loo"):
            return np.full(self.occupancy.shape, self.J)
        if baseline == "value":
            return V[:-1]
        if baseline == "textbook":
            return baselines.textbook(self.pi, self.z, Q)
        if baseline == "time":
            return baselines.per_time(self._visited_phi(phi, Q), self.occupancy)
        return baselines.optimal(*self._score_products(phi, critic), baseline.removeprefix("optimal "))

    def _visited_phi(self, phi: str, Q: Floats) -> Floats:
        """E[1{s_t = s, not over} Phi_t], [H,S]."""
        to_go = self.occupancy * np.einsum("sa,tsa->ts", self.pi, Q)
        if phi != "return":
            return to_go
        return self._discounts[:, None] * to_go + baselines.earned_before(self.mdp, self.pi)

    def _score_products(self, phi: str, critic: str) -> tuple[Floats, Floats]:
        critic = critic if phi == "q" else "exact"  # whose Q Phi itself is; for the others the baseline's is no matter
        if (phi, critic) not in self._products:
            self._products[phi, critic] = baselines.score_products(
                self.mdp, self.pi, self.z, self.critics[critic][1], phi, discount_scores=self.discount_scores
            )
        return self._products[phi, critic]

    def _coupling(self, weight: float) -> Floats:
        """E[F F'] Var R + E[F R] E[F R]', [d,d]."""
        mdp, pi, Q = self.mdp, self.pi, self.critics["exact"][1]
        w = weight ** np.arange(mdp.horizon)
        z = self.z * ~mdp.terminal[:, None, None]
        norms = np.einsum("t,ts,sa->sa", w**2, self.occupancy, pi)
        reached = np.einsum("t,ts,sa,tsa->sa", w * self._discounts, self.occupancy, pi, Q)
        score_return = np.tensordot(reached, z, 2)
        return np.einsum("sa,sad,sae->de", norms, z, z) * self._return_variance + np.outer(score_return, score_return)

    @cached_property
    def _return_variance(self) -> float:
        """Var R(tau): R is the estimator sum_t gamma^t 1 r_t."""
        nothing, ones = np.zeros(self.occupancy.shape), np.ones(self.mdp.horizon)
        discounted = Estimator(lambda t: self.mdp.rewards, 0.0, self.mdp.gamma, ones, nothing)
        return moments(self.mdp, self.pi, np.ones((*self.pi.shape, 1)), discounted, np.zeros(1)).trace_variance
