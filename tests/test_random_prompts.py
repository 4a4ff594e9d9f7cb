"""Prompts drawn at random, and dynamic sampling, against every batch of prompts and answers, one by one."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from test_sequences import ADVANTAGES, AGGREGATIONS, listed

from ablate.errors import UserError
from ablate.sequences import advantages as adv
from ablate.sequences import aggregations as agg
from ablate.sequences.exact import moments
from ablate.sequences.problem import TokenProblem
from ablate.sequences.random_prompts import drawn


def by_listing(problem, log_prob, S, size, groups, advantage, aggregation, accept=None):
    """E g, tr Cov g and the share of groups that are accepted; g of a batch that is drawn until all its groups are."""
    P, Y = problem.rewards.shape
    total, mean, square = 0.0, np.zeros((P, S.shape[-1])), 0.0
    for prompts in product(range(P), repeat=groups):
        row = np.array(prompts)[:, None]
        for flat in product(range(Y), repeat=groups * size):
            ys = np.array(flat).reshape(groups, size)
            rewards, lengths = problem.rewards[row, ys], problem.lengths[ys]
            if accept is not None and not accept(rewards).all():
                continue
            w = aggregation(lengths)
            A = adv.of_batch(advantage, rewards, lengths=lengths, norms=w**2 * np.square(S[row, ys]).sum(-1))
            g = np.zeros_like(mean)
            np.add.at(g, list(prompts), ((w * A)[..., None] * S[row, ys]).sum(1))
            chance = np.exp(log_prob[row, ys].sum()) / P**groups
            total += chance
            mean += chance * g
            square += chance * np.square(g).sum()
    mean, square = mean / total, square / total
    return mean, square - np.square(mean).sum(), total ** (1 / groups)


PAIRS = [
    ("leave-one-out", "sequence sum"),
    ("group standardised", "sequence mean"),
    ("leave-one-out optimal", "sequence sum"),
    ("group standardised", "token mean"),
    ("token standardised", "token mean of 2 micro-batches"),
    ("batch standardised", "sequence sum"),
]


@pytest.mark.parametrize("accept", [None, adv.differ], ids=["all", "dynamic sampling"])
@pytest.mark.parametrize(("advantage", "aggregation"), PAIRS)
def test_moments_are_those_of_all_batches_of_prompts_and_answers(advantage, aggregation, accept) -> None:
    problem, logits, log_prob, S = listed(60, 2, 2, 2)
    assert (problem.rewards.std(1) > 0).all()
    A, w = ADVANTAGES[advantage], AGGREGATIONS[aggregation]
    found = drawn(problem, logits, 2, 2, A, w, accept)
    mean, variance, accepted = by_listing(problem, log_prob, S, 2, 2, A, w, accept)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.variance == pytest.approx(variance, rel=1e-10)
    assert found.accepted == pytest.approx(accepted, rel=1e-12)


def test_of_one_prompt_it_is_that_prompt() -> None:
    problem, logits, *_ = listed(61, 3, 2, 1)
    one, other = (
        drawn(problem, logits, 3, 1, adv.group_standardised),
        moments(problem, logits, 3, adv.group_standardised),
    )
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-14)
    assert one.variance == pytest.approx(other.variance)
    assert one.accepted == pytest.approx(1)


@pytest.mark.parametrize("advantage", [adv.leave_one_out, adv.group_standardised, adv.group_mean])
@pytest.mark.parametrize("aggregation", [agg.sequence_sum, agg.sequence_mean])
def test_dynamic_sampling_scales_the_mean_and_gains_little_at_the_same_number_of_samples(
    advantage, aggregation
) -> None:
    """nsr of the accepted ones of G groups = nsr of all G - (1/a - 1) / G."""
    problem, logits, *_ = listed(60, 2, 2, 2)
    groups = 3
    plain = drawn(problem, logits, 2, groups, advantage, aggregation)
    chosen = drawn(problem, logits, 2, groups, advantage, aggregation, adv.differ)
    a = chosen.accepted
    assert 0 < a < 1
    np.testing.assert_allclose(chosen.mean, plain.mean / a, atol=1e-12)
    per_sample = chosen.nsr / a  # of as many accepted groups as `groups` drawn ones make
    assert per_sample == pytest.approx(plain.nsr - (1 / a - 1) / groups, rel=1e-9)


def test_a_dead_group_has_rewards_that_agree_rounding_aside() -> None:
    rewards = np.array([[0.1, 0.1, 0.1], [0.1, 0.1 + 1e-17, 0.1], [0, 1, 0], [1e9, 1e9 + 1e-7, 1e9]])
    assert adv.differ(rewards).tolist() == [False, False, True, False]


def test_what_is_never_accepted_or_too_many_is_refused() -> None:
    same = TokenProblem.of(2, 2, 2, lambda x, y: 1.0)
    with pytest.raises(UserError, match="no group is ever accepted"):
        drawn(same, np.zeros((2, 2, 2)), 2, 1, adv.group_mean, accept=adv.differ)
    many = TokenProblem.of(2, 1, 9, lambda x, y: float(y == (0,)))
    with pytest.raises(UserError, match="batches of prompts"):
        drawn(many, np.zeros((9, 1, 2)), 2, 5, partial(adv.batch_standardised))
