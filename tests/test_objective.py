"""How prompts and answers count in the mean of an estimator: against exact moments, and by hand."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from test_sequences import ADVANTAGES, AGGREGATIONS

from ablate.sequences import advantages as adv
from ablate.sequences import aggregations as agg
from ablate.sequences.exact import moments
from ablate.sequences.objective import answer_weights, depends_on_the_cut, difficulty_weights
from ablate.sequences.problem import END, TokenProblem


@pytest.mark.parametrize("name", [name for name, each in ADVANTAGES.items() if not adv.takes(each)])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_the_weight_of_a_prompt_is_that_of_its_exact_moments(name: str, p: float) -> None:
    problem = TokenProblem.exact_match(2, 1, [(END,)])
    found = moments(problem, np.log([[[p, 1 - p]]]), 4, ADVANTAGES[name])
    assert difficulty_weights(p, 4, ADVANTAGES[name]) == pytest.approx(found.projection, rel=1e-9)


def test_the_weights_of_difficulty_by_hand() -> None:
    p = np.array([0.01, 0.2, 0.5, 0.8, 0.99])
    np.testing.assert_allclose(difficulty_weights(p, 4, adv.leave_one_out), 1, rtol=1e-9)
    np.testing.assert_allclose(difficulty_weights(p, 4, adv.group_mean), 0.75, rtol=1e-9)
    large = difficulty_weights(p[1:-1], 400, partial(adv.group_standardised, ddof=0, epsilon=0.0))
    np.testing.assert_allclose(large, 1 / np.sqrt(p[1:-1] * (1 - p[1:-1])), rtol=0.01)
    rare = difficulty_weights(1e-6, 8, partial(adv.group_standardised, ddof=0, epsilon=0.0))
    assert rare == pytest.approx(np.sqrt(7), rel=1e-4)  # one right of N: N p sqrt((N - 1) / N^2) = p sqrt(N - 1)
    best = difficulty_weights(p, 4, adv.leave_one_out_max)
    np.testing.assert_allclose(best, 4 * (1 - p) ** 3, rtol=1e-9)  # the derivative of 1 - (1 - p)^N


@pytest.mark.parametrize("aggregation", [name for name in AGGREGATIONS if "micro" not in name])
@pytest.mark.parametrize("name", ADVANTAGES)
def test_the_weights_of_answers_by_listing_every_group(name: str, aggregation: str) -> None:
    """And with them the mean of the estimator: E g = sum_v P(v) u_v sbar_v, of any mean scores."""
    p, lengths, of_length, size = 0.3, [1, 3], [0.25, 0.75], 3
    A, w = ADVANTAGES[name], AGGREGATIONS[aggregation]
    found = answer_weights(p, lengths, size, A, w, of_length)
    kinds = [(r, L) for r in (1.0, 0.0) for L in lengths]
    chances = np.array([p * c for c in of_length] + [(1 - p) * c for c in of_length])
    scores = np.array([2.0, -1.0, 0.5, 3.0])
    u, mean = np.zeros(4), 0.0
    for group in product(range(4), repeat=size):
        r, L = (np.array([[kinds[v][k] for v in group]]) for k in (0, 1))
        multipliers = (w(L) * adv.of_batch(A, r, lengths=L, norms=w(L) ** 2 * L))[0]
        chance = chances[list(group)].prod()
        np.add.at(u, list(group), chance * multipliers)
        mean += chance * multipliers @ scores[list(group)]
    np.testing.assert_allclose(np.concatenate([found["right"], found["wrong"]]), u / chances, atol=1e-12)
    told = chances @ (np.concatenate([found["right"], found["wrong"]]) * scores)
    assert told == pytest.approx(mean, abs=1e-12)


def test_right_and_wrong_answers_by_their_length() -> None:
    """u = w (1 - b) and -w b, to a constant: with sequence means a right answer of one token counts as four of four."""
    lengths = [1, 2, 4]
    plain = answer_weights(0.5, lengths, 4, adv.leave_one_out, agg.sequence_sum)
    assert plain["difference"].tolist() == pytest.approx([1, 1, 1])
    assert plain["right"].tolist() == pytest.approx([0.5] * 3)
    mean = answer_weights(0.5, lengths, 4, adv.leave_one_out, agg.sequence_mean)
    assert mean["difference"].tolist() == pytest.approx([1, 1 / 2, 1 / 4])
    assert mean["wrong"].tolist() == pytest.approx([-0.5, -0.25, -0.125])
    token = answer_weights(0.5, lengths, 4, adv.leave_one_out, agg.token_mean)
    spread = token["difference"] / token["difference"].iloc[0]
    assert 0.25 < spread[4] < 1  # between the two: only the answer's own share of the divisor tells
    own = answer_weights(0.5, [2, 2], 3, adv.group_mean, agg.token_mean)
    assert own["difference"].tolist() == pytest.approx([(1 - 1 / 3) / 2] * 2)


def test_which_pairs_depend_on_the_cut_into_micro_batches() -> None:
    """The loss does with a mean over tokens; advantages do where they look at other prompts."""
    over_prompts = {"batch standardised", "group mean, batch standardised", "token standardised"}
    over_prompts |= {"group mean, token standardised"}
    for name, advantage in ADVANTAGES.items():
        for aggregation, w in AGGREGATIONS.items():
            if "micro" in aggregation:
                continue
            loss, both = depends_on_the_cut(advantage, w)
            assert loss == (aggregation == "token mean"), (name, aggregation)
            assert both == (aggregation == "token mean" or name in over_prompts), (name, aggregation)
