"""Every estimator on one MDP: the rows of the table of `ablate exact`, and of `ablate.exact(P, R, rho0, horizon)`."""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ablate.errors import UserError
from ablate.exact.estimators import VARIANTS, GroundTruth, Variant
from ablate.exact.evaluation import contrasts, scores, softmax
from ablate.exact.size_limits import check_size
from ablate.mdp import MDP

NUMBERS = ("mean_bias_squared", "trace_variance", "snr", "v_s0", "v_action", "v_transition")
COLUMNS = ("phi", "baseline", "critic", *NUMBERS)

Row = dict[str, Any]
Each = Callable[[Sequence[Variant]], Iterable[Variant]]


def reached(name: str, mdp: MDP) -> MDP:
    """The states that can be reached. Raises UserError, with what to call the MDP, where its values would not fit."""
    states = mdp.reachable()
    check_size(name, mdp, len(states), contrasts(mdp.num_actions).shape[1])
    return mdp if len(states) == mdp.num_states else mdp.restricted(states)


def truth_of(mdp: MDP, discount_scores: bool) -> GroundTruth:
    """Of the softmax of the MDP's own logits, in as many directions as it can move."""
    pi = softmax(mdp.logits)
    z = scores(pi, mdp.features, contrasts(mdp.num_actions))
    with np.errstate(all="ignore"):
        return GroundTruth(mdp, pi, z, discount_scores=discount_scores)


def rows(truth: GroundTruth, each: Each = iter) -> list[Row]:
    """A row a variant, most to least noisy; ``each`` goes through them. Raises UserError where the numbers overflow."""
    found = []
    for variant in each(VARIANTS):
        with np.errstate(all="ignore"):
            moments = truth.moments(*variant)
            parts = (moments.v_s0, moments.v_action, moments.v_transition)
            numbers = (moments.bias_squared, moments.trace_variance, moments.snr, *parts)
        if not all(map(isfinite, (*parts, *moments.mean))):
            raise UserError("the numbers overflow; give smaller rewards, or a shorter horizon")
        found.append(dict(zip(COLUMNS, (*variant, *numbers), strict=True)))
    return sorted(found, key=lambda row: float(f"{row['trace_variance']:.9e}"), reverse=True)  # ties stay in order
