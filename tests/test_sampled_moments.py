"""Every advantage and aggregation, as training has it: moments of drawn batches against the exact ones."""

from dataclasses import replace
from functools import cache

import estimators
import numpy as np
import pytest
import torch
from conftest import compose
from scipy.stats import norm

from ablate import build
from ablate.episodes.rollout import rollout
from ablate.estimator import Estimator
from ablate.gradients import policy_gradient, score_products, signals_of
from ablate.randomness import streams
from ablate.sequences import advantages as adv
from ablate.sequences.problem import TokenProblem
from ablate.sequences.random_prompts import drawn

ADVANTAGES = estimators.ADVANTAGES | {
    "leave-one-out standardised, epsilon 1e-6": adv.leave_one_out_standardised,
    "group mean, token standardised": adv.group_mean_token_standardised,
}
AGGREGATIONS = estimators.AGGREGATIONS
BATCHES, GROUPS, SIZE = 2500, 2, 4
ALPHA = 1e-3  # that any of all limits is missed by chance
PARAMETERS = 12  # logits of two prompts, three prefixes and two tokens


@cache
def setting() -> tuple:
    """A policy, 2,500 batches of 2 groups of 4 answers, each group to one of two prompts, and the problem."""
    words = "env=tokens", "env.vocabulary=2", "env.right=[[1,0],[0]]", "episodes=8", "env.group=4", "phi=return"
    config = compose(*words, "aggregation=token_mean", "probe=off").config
    env = build.environment(config)
    policy = build.policy(config, env)
    problem = TokenProblem.exact_match(2, 3, [(1, 0), (0,)])
    logits = np.random.default_rng(1).normal(scale=0.5, size=(2, 3, 2))
    theta = torch.zeros(BATCHES, policy.network.num_parameters)
    theta[:, :PARAMETERS] = torch.from_numpy(logits.reshape(-1)).float()
    sources = (streams(range(BATCHES), f"sampled moments {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, theta, env, GROUPS * SIZE, *sources)
    signals = signals_of(policy, theta, episodes, 1.0)
    return policy, theta, episodes, signals, build.estimator(config, config), problem, logits


def z_scores(advantage, aggregation) -> np.ndarray:
    """Of the mean of each parameter's gradient, and of tr Cov g, in standard errors of the 2,500 batches."""
    policy, theta, episodes, signals, estimator, problem, logits = setting()
    own: Estimator = replace(estimator, advantage=advantage, aggregation=aggregation)
    weights = own.weights(signals, score_products(policy, theta, episodes))
    g = policy_gradient(policy, theta, episodes, weights)[0][:, :PARAMETERS].double().numpy()
    exact = drawn(problem, logits, SIZE, GROUPS, advantage, aggregation)
    squares = np.square(g - exact.mean.ravel()).sum(1)
    found = np.column_stack([g, squares])
    wanted = np.append(exact.mean.ravel(), exact.variance)
    error = found.std(0, ddof=1) / np.sqrt(BATCHES)
    return (found.mean(0) - wanted) / np.maximum(error, 1e-6 * np.abs(found).max())


@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_sampled_moments_are_the_exact_ones(advantage: str) -> None:
    """Family-wise over all pairs, means and variances: one miss in 1,000 such tests by chance; seeds are fixed."""
    limit = norm.isf(ALPHA / 2 / (len(ADVANTAGES) * len(AGGREGATIONS) * (PARAMETERS + 1)))
    for aggregation in AGGREGATIONS.values():
        z = z_scores(ADVANTAGES[advantage], aggregation)
        assert np.abs(z).max() < limit
        assert np.isfinite(z).all()


def test_the_limits_are_narrow_enough_to_tell_estimators_apart() -> None:
    """Against the exact values of another: ddof, or the group's mean in place of the others'."""
    limit = norm.isf(ALPHA / 2 / (len(ADVANTAGES) * len(AGGREGATIONS) * (PARAMETERS + 1)))
    _, _, _, _, _, problem, logits = setting()
    for one, other in [("leave-one-out", "group mean"), ("group standardised", "group standardised, ddof 0")]:
        own, wrong = (drawn(problem, logits, SIZE, GROUPS, ADVANTAGES[name]) for name in (one, other))
        shift = np.sqrt(BATCHES / own.variance) * np.sqrt(np.square(own.mean - wrong.mean).sum())
        assert shift > limit
