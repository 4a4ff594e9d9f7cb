"""The probe without sampling: what every estimator is worth at the run's own policy, from the known model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ablate import build
from ablate.exact import GroundTruth, Moments
from ablate.models import TabularModel
from ablate.probes.schedule import Schedule

Row = dict[str, Any]
CRITICS = ("exact", "clockless")  # V_t(s), and V(s) that does not see the time
ROUNDING = 1e-24  # a squared signal below this share of the reference's noise is what rounding leaves of 0
NAMES = {"optimal": "optimal constant"}  # of the command line -> of `ablate.exact`, where they differ


def probe(config: Mapping[str, Any]) -> "ExactProbe":
    """The probe of a resolved configuration with `probe=exact`, which `config.resolve` has found possible."""
    node = config["probe"]
    env = build.environment(config)
    policy = build.policy(config, env)
    return ExactProbe(
        model=TabularModel(env.mdp, policy),  # type: ignore[attr-defined]
        variants=node["variants"],
        reference=node["reference"],
        batch=config["episodes"],
        every=node["every"],
        gamma=config["gamma"],
        discount_scores=config["discount_scores"],
    )


@dataclass(frozen=True)
class ExactProbe(Schedule):
    """A row a variant and critic. Columns with the name of one of `probe.measures` are what that one estimates:

        trace_variance, squared_signal, snr, nsr, log_ratio, bias_squared, mse (at N = `batch`)
        v_s0, v_action, v_transition    of the trace variance, along s_0, a_0, s_1, a_1, ...
        v_coupling                      of it, by a baseline that the episodes of a batch share
        directional_variance            along grad J; nan where that is 0
        fisher_trace_variance           tr(F^+ C), F the Fisher information of a trajectory
        J                               of the policy, discounted

    Baselines that a batch estimates (mean, loo, time) are those of `batch` episodes, as in training. What `optimal`
    estimates is known for no finite batch: the list has the ideal `optimal constant`, to which it tends. The critic is
    the true one of the state, also where the agent does not see the state.
    """

    model: TabularModel
    variants: Mapping[str, Mapping[str, Any]]
    reference: str
    batch: int
    gamma: float
    discount_scores: bool

    def measure(
        self, theta: Tensor, critic: Any, seeds: Sequence[int], iteration: int, moments: Any = None
    ) -> list[list[Row]]:
        """A row for every variant and critic, for every seed. The run's own ``critic`` and ``moments`` are not looked
        at."""
        head = {"iteration": iteration, "mode": "exact"}
        truths = self.model.ground_truths(theta, self.gamma, self.discount_scores)
        return [[head | row for row in self._rows(truth)] for truth in truths]

    def _rows(self, truth: GroundTruth) -> list[Row]:
        reference = self._moments(truth, self.variants[self.reference], "exact").trace_variance
        moves = truth.gradient @ truth.gradient > ROUNDING * reference
        others = {"directional_variance": truth.along_gradient, "fisher_trace_variance": truth.in_fisher_metric}
        rows = []
        for node in self.variants.values():
            for critic in CRITICS if build.needs(node) else ("none",):
                facts = {"phi": node["phi"]["name"], "baseline": node["baseline"]["name"], "critic": critic}
                numbers = columns(self._moments(truth, node, critic), reference, self.batch)
                for name, other in others.items():
                    known = moves or name != "directional_variance"
                    numbers[name] = self._moments(other, node, critic).trace_variance if known else np.nan
                rows.append(facts | {"batch": self.batch} | numbers | {"J": truth.J})
        return rows

    def _moments(self, truth: GroundTruth, node: Mapping[str, Any], critic: str) -> Moments:
        phi, baseline = node["phi"], node["baseline"]["name"]
        return truth.moments(
            phi["name"],
            NAMES.get(baseline, baseline),
            critic if build.needs(node) else "none",
            gae_lambda=phi.get("gae_lambda", 1.0),
            episodes=self.batch,
        )


def ratios(signal: float, noise: float, reference: float) -> dict[str, float]:
    """Trace variance and squared signal, and what they come to beside one another and the reference's noise."""
    s, n = np.float64(signal), np.float64(noise)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"snr": s / n, "nsr": n / s, "log_ratio": np.log(n / reference)}
    named = {"trace_variance": n, "squared_signal": s} | found
    return {name: float(value) for name, value in named.items()}


def columns(found: Moments, reference: float, batch: int) -> dict[str, float]:
    """The numbers of a row, given the trace variance of the reference."""
    signal, noise = found.mean @ found.mean, found.trace_variance
    signal = signal * (signal > ROUNDING * reference)
    return {
        **ratios(float(signal), noise, reference),
        "bias_squared": found.bias_squared,
        "mse": found.mse(batch),
        "v_s0": found.v_s0,
        "v_action": found.v_action,
        "v_transition": found.v_transition,
        "v_coupling": found.v_coupling,
    }
