"""Ground truth: what every estimator of the policy gradient is worth on a known finite MDP, without sampling.

`evaluation` has J, grad J, V_t, Q_t and occupancies; `recursion` the mean and the variance of an estimator, split by
source; `baselines` the best baselines; `truth` all of it by the names of the command line:

    truth = GroundTruth(mdp, softmax(mdp.logits), scores(softmax(mdp.logits), mdp.features))
    truth.moments("rtg", "value", "exact").trace_variance
"""

from ablate.exact.evaluation import J, clockless, gradient, occupancy, scores, softmax, values
from ablate.exact.recursion import Estimator, Moments, moments
from ablate.exact.truth import VARIANTS, GroundTruth, Variant

__all__ = [
    "VARIANTS",
    "Estimator",
    "GroundTruth",
    "J",
    "Moments",
    "Variant",
    "clockless",
    "gradient",
    "moments",
    "occupancy",
    "scores",
    "softmax",
    "values",
]
