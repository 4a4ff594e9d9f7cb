"""Advantages and aggregations by name, for tests that hold all of them to one truth."""

from functools import partial

from ablate.sequences import advantages as adv
from ablate.sequences import aggregations as agg

ADVANTAGES = {
    "none": adv.none,
    "group mean": adv.group_mean,
    "leave-one-out": adv.leave_one_out,
    "group standardised": adv.group_standardised,
    "group standardised, ddof 0": partial(adv.group_standardised, ddof=0, epsilon=1e-4),
    "leave-one-out standardised": partial(adv.leave_one_out_standardised, epsilon=0.1),
    "batch standardised": adv.batch_standardised,
    "group mean, batch standardised": adv.group_mean_batch_standardised,
    "leave-one-out optimal": adv.leave_one_out_optimal,
    "length-weighted mean": adv.length_weighted_mean,
    "leave-one-out max": adv.leave_one_out_max,
    "token standardised": adv.token_standardised,
    "group mean, token standardised": partial(adv.group_mean_token_standardised, ddof=0),
}
AGGREGATIONS = {
    "sequence sum": agg.sequence_sum,
    "constant divisor": partial(agg.constant_divisor, divisor=3),
    "sequence mean": agg.sequence_mean,
    "token mean": agg.token_mean,
}
