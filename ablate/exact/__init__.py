"""Ground truth: what every estimator of the policy gradient is worth on a known finite MDP, without sampling.

`evaluation` has J, grad J, V_t, Q_t and occupancies; `stationary` V and Q* of an endless horizon; `enumeration` every
trajectory with its probability; `recursion` the mean and the variance of an estimator, split by source; `baselines` the
best baselines; `truth` all of it by the names of the command line, also along grad J and in the Fisher metric;
`comparison` from how many episodes on one estimator is nearer to grad J than another:

    truth = GroundTruth(mdp, softmax(mdp.logits), scores(softmax(mdp.logits), mdp.features))
    truth.moments("rtg", "value", "exact").trace_variance
"""

from ablate.exact.comparison import crossover, mse_curve
from ablate.exact.enumeration import Enumeration, enumerate_trajectories
from ablate.exact.evaluation import (
    Critic,
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
from ablate.exact.recursion import Estimator, Moments, moments
from ablate.exact.stationary import backup, optimal_values, stationary_values
from ablate.exact.truth import VARIANTS, GroundTruth, Variant

__all__ = [
    "VARIANTS",
    "Critic",
    "Enumeration",
    "Estimator",
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
]
