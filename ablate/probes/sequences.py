"""The exact probe of advantages and aggregations on `env=tokens`: no sampling, from the list of all answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from ablate import build
from ablate.envs.tokens import problem_of
from ablate.errors import UserError
from ablate.models import TabularModel
from ablate.probes.exact import ratios
from ablate.probes.schedule import Schedule
from ablate.sequences import advantages, aggregations
from ablate.sequences.exact import OfBatch
from ablate.sequences.problem import TokenProblem
from ablate.sequences.random_prompts import drawn

Row = dict[str, Any]
UNKNOWN = "v_s0", "v_action", "v_transition", "v_coupling", "directional_variance", "fisher_trace_variance"


def probe(config: Mapping[str, Any]) -> "SequenceProbe":
    """The probe of a resolved configuration with `probe=exact` on answers to prompts."""
    env = build.environment(config)
    made = {axis: build.part(config[axis]) for axis in ("advantage", "aggregation") if axis in config}
    size, problem = config["env"]["group"], problem_of(env.mdp)  # type: ignore[attr-defined]
    if problem is None:
        raise UserError(f"env={config['env']['name']} is no token problem")
    return SequenceProbe(
        model=TabularModel(env.mdp, build.policy(config, env)),  # type: ignore[attr-defined]
        problem=problem,
        advantage=made.get("advantage", advantages.none),
        aggregation=made.get("aggregation", aggregations.sequence_sum),
        size=size,
        groups=config["episodes"] // size,
        every=config["probe"]["every"],
    )


@dataclass(frozen=True)
class SequenceProbe(Schedule):
    """A row for the run's own estimator, of G groups of N answers, each to a prompt drawn at random.

    Columns are those of `probes.exact`; `trace_variance` is B tr Cov g of a batch of B = G N answers, so that
    trace_variance / B is the noise of an update, as of independent episodes. `log_ratio` is over plain REINFORCE. How
    variance splits over steps, and other metrics of it, are not known: nan.
    """

    model: TabularModel
    problem: TokenProblem
    advantage: OfBatch
    aggregation: OfBatch
    size: int
    groups: int

    def measure(
        self, theta: Tensor, critic: Any, seeds: Sequence[int], iteration: int, moments: Any = None
    ) -> list[list[Row]]:
        """A row for every seed. The run's own ``critic`` and ``moments`` are not looked at."""
        return [
            [{"iteration": iteration, "mode": "exact"} | self.row(logits, jacobian)]
            for logits, jacobian in zip(self._logits(theta), self._jacobians(theta), strict=True)
        ]

    def row(self, logits: np.ndarray, jacobian: np.ndarray | None = None) -> Row:
        """Of the policy's logits [P, prefixes, V] and, where it is no table, their Jacobian [P, prefixes, V, D]."""
        batch_of = partial(drawn, self.problem, logits, self.size, self.groups, jacobian=jacobian)
        own, plain = batch_of(self.advantage, self.aggregation), batch_of(advantages.none)
        batch = self.size * self.groups
        signal = float(np.square(own.mean).sum())
        numbers = {
            "batch": batch,
            **ratios(signal, batch * own.variance, batch * plain.variance),
            "bias_squared": own.bias_squared,
            "mse": own.bias_squared + own.variance,
            **dict.fromkeys(UNKNOWN, np.nan),
            "J": float(self.problem.success(logits).mean()),
        }
        return {"phi": "return", "baseline": "none", "critic": "none"} | numbers

    def check(self) -> None:
        """Raises UserError where there are too many batches to sum over."""
        self.row(np.zeros((self.problem.prompts, len(self.problem.prefixes), self.problem.vocabulary)))

    def _jacobians(self, theta: Tensor) -> Sequence[np.ndarray | None]:
        """[P, prefixes, V, D] of each seed; None where the policy is a table."""
        found = self.model.jacobians(theta)
        if found is None:
            return [None] * len(theta)
        shape = self.problem.prompts, -1, *found.shape[2:]
        return [own[:-1].reshape(shape) for own in found]  # without the terminal state

    def _logits(self, theta: Tensor) -> np.ndarray:
        """[S, P, prefixes, V], up to a constant of each prefix."""
        pi = self.model.policies(theta)[:, :-1]  # without the terminal state
        return np.log(pi).reshape(len(pi), self.problem.prompts, -1, self.problem.vocabulary)
