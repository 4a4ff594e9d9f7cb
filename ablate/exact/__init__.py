"""Ground truth: what every estimator of the policy gradient is worth on a known finite MDP, without sampling.

`evaluation` has J, grad J, V_t, Q_t and occupancies; `stationary` V and Q* of an endless horizon; `enumeration` every
trajectory with its probability; `variance` the mean and the variance of an estimator, split by source; `baselines` the
best baselines; `estimators` all of it by the names of the command line, also along grad J and in the Fisher metric;
`mse` from how many episodes on one estimator is nearer to grad J than another:

    truth = GroundTruth(mdp, softmax(mdp.logits), scores(softmax(mdp.logits), mdp.features))
    truth.moments("rtg", "value", "exact").trace_variance

The package itself can be called: `ablate.exact(P, R, rho0, horizon)` is the `table` of every variant, see `variants`.
"""

import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ablate.errors import UserError
from ablate.exact.enumeration import Enumeration, enumerate_trajectories
from ablate.exact.estimators import VARIANTS, GroundTruth, Variant
from ablate.exact.evaluation import (
    CriticValues,
    J,
    clockless,
    contrasts,
    exact_critic,
    gradient,
    occupancy,
    scores,
    softmax,
    values,
)
from ablate.exact.mse import crossover, mse_curve
from ablate.exact.stationary import backup, optimal_values, stationary_values
from ablate.exact.table import reached, rows, truth_of
from ablate.exact.variance import ExactEstimator, Moments, moments
from ablate.mdp import of_mapping

__all__ = [
    "VARIANTS",
    "CriticValues",
    "Enumeration",
    "ExactEstimator",
    "GroundTruth",
    "J",
    "Moments",
    "Variant",
    "backup",
    "clockless",
    "contrasts",
    "crossover",
    "enumerate_trajectories",
    "exact_critic",
    "gradient",
    "moments",
    "mse_curve",
    "occupancy",
    "optimal_values",
    "scores",
    "softmax",
    "stationary_values",
    "values",
    "variants",
]

if TYPE_CHECKING:
    import pandas as pd


def variants(
    P: ArrayLike,
    R: ArrayLike,
    rho0: ArrayLike,
    horizon: int,
    *,
    gamma: float = 1.0,
    logits: ArrayLike | None = None,
    terminal: ArrayLike | None = None,
    features: ArrayLike | None = None,
    R_std: ArrayLike | None = None,
    discount_scores: bool = True,
) -> "pd.DataFrame":
    """The exact mean and variance of every estimator, of one episode, most to least noisy: a row a variant.

    P [S,A,S], R [S,A] or [S,A,S], rho0 [S]; the policy is the softmax of logits [S,A], uniform by default, and what it
    sees are features [S,D], the state itself by default. R_std, of a shape of R's, makes rewards Gaussian. The columns
    are those of `ablate exact`. Raises UserError where the arrays are no MDP, where the numbers overflow, and where
    they would not fit into memory.
    """
    import pandas as pd

    given: dict[str, Any] = {"P": P, "R": R, "rho0": rho0, "horizon": horizon, "gamma": gamma}
    given |= {"logits": logits, "terminal": terminal, "features": features, "R_std": R_std}
    mdp = of_mapping({key: _listed(x) for key, x in given.items() if x is not None}, _refused)
    return pd.DataFrame(rows(truth_of(reached("the MDP", mdp), discount_scores)))


def _listed(x: Any) -> Any:
    with suppress(ValueError):  # what is ragged is told as it is
        return np.asarray(x).tolist()
    return x


def _refused(problem: str, remedy: str) -> UserError:
    return UserError(f"ablate.exact: {problem}; {remedy}")


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> "pd.DataFrame":
        return variants(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
