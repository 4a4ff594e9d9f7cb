"""What an advantage is that equals no definition: measured, named in words, and which of it is a mistake."""

import pytest
import torch
from test_audit import dr_grpo, grpo, rloo
from torch import Tensor

from ablate.sequences.audit import audit
from ablate.sequences.descriptions import described
from ablate.sequences.subject import of


def mean(r: Tensor) -> Tensor:
    return r.mean(1, keepdim=True)


NAMED = {
    "group standardised, ddof 1, of rewards that are put through tanh": (lambda r: grpo(torch.tanh(r)), True),
    "leave-one-out, of rewards that are put through a sigmoid": (lambda r: rloo(torch.sigmoid(r)), True),
    "group mean, of rewards that are squared": (lambda r: dr_grpo(r**2), True),
    "group standardised, ddof 1, of rewards that are 1 above 0.5 and 0 below": (lambda r: grpo((r > 0.5) * 1.0), True),
    "group mean, of rewards that are bent: 0 and 1 as they are, -2 -.5 .25 .5 .75 2 count as 0 0 0.25 0.5 0.75 2": (
        lambda r: dr_grpo(r.clamp(min=0)),
        True,
    ),
    "group mean, to about 3 digits: is it in half precision?": (lambda r: dr_grpo(r.bfloat16()), True),
    "group mean, of which only the sign is kept": (lambda r: dr_grpo(r).sign(), True),
    "group standardised, ddof 1, truncated to whole numbers": (lambda r: grpo(r).int(), True),
    "leave-one-out, without their sign": (lambda r: rloo(r).abs(), True),
    "the same for all answers of a prompt: which of them was right does not matter": (lambda r: mean(r) + 0 * r, True),
    "the reward less 0.5 times the mean of the group; a shift of all rewards changes the advantages": (
        lambda r: r - 0.5 * mean(r),
        True,
    ),
    "the reward less 0.25 times the mean of the others; a shift of all rewards changes the advantages": (
        lambda r: r - 0.25 * (r - rloo(r)),
        True,
    ),
    "the reward less the sum of the group; a shift of all rewards changes the advantages": (
        lambda r: r - r.sum(1, keepdim=True),
        True,
    ),
    "the reward less 1 times the mean of other prompts": (
        lambda r: r - (mean(r).sum(0) - mean(r)) / max(len(r) - 1, 1),
        False,
    ),
    "the reward less the largest; no advantage is ever positive, so that no answer is reinforced": (
        lambda r: r - r.amax(1, keepdim=True),
        True,
    ),
    "the reward less the smallest, over the range; no advantage is ever negative, so that every answer is reinforced": (
        lambda r: (r - r.amin(1, keepdim=True)) / (r.amax(1, keepdim=True) - r.amin(1, keepdim=True) + 1e-6),
        True,
    ),
    "the reward less the mean, over the mean absolute deviation": (
        lambda r: dr_grpo(r) / (mean(dr_grpo(r).abs()) + 1e-6),
        False,
    ),
    "the reward less the mean, over the deviation, but at least 0.5": (
        lambda r: dr_grpo(r) / r.std(1, keepdim=True).clamp(min=0.5),
        False,
    ),
    "the reward less the mean, over the deviation with ddof 1 plus 0.5": (
        lambda r: dr_grpo(r) / (r.std(1, keepdim=True) + 0.5),
        False,
    ),
    "the reward less a centre of the group that has no name here, over the range": (
        lambda r: (r - r.sort(1).values[:, -2:-1]) / (r.amax(1, keepdim=True) - r.amin(1, keepdim=True)),
        False,
    ),
    "only answers of a positive reward count": (lambda r: (r > 0) * dr_grpo(r) / r.std(1, keepdim=True), False),
    "no advantage is ever negative, so that every answer is reinforced": (lambda r: torch.softmax(r, 1), True),
}


@pytest.mark.parametrize("told", NAMED)
def test_what_an_unknown_advantage_is_is_told(told: str) -> None:
    function, mistake = NAMED[told]
    assert described(of("it", lambda rewards: function(rewards)).multipliers) == (told, mistake)


def discounted(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    by_place = 0.5 ** torch.arange(mask.shape[-1], dtype=torch.float64)
    return -((log_probs * mask * by_place).sum(-1) * rloo(rewards)).mean()


def test_how_the_tokens_of_an_answer_weigh_is_told_by_their_place() -> None:
    found = {f.check: f for f in audit(of("it", discounted))}
    assert found["definition"].found == "leave-one-out; the tokens of an answer weigh 1 0.5 0.25 0.125 0.0625 0.0312"
    assert found["estimator"].found.endswith(found["objective at N = 4"].found)


def test_a_baseline_of_the_prompt_before_is_found_among_three_prompts() -> None:
    """Of two prompts the one before is the other one, in either order."""
    faults = {f.check for f in audit(of("it", lambda rewards: rewards - mean(rewards).roll(1, 0))) if f.fault}
    assert faults == {"order of prompts"}


def test_a_function_that_changes_its_rewards_in_place_is_told() -> None:
    def in_place(rewards: Tensor) -> Tensor:
        rewards -= mean(rewards)
        return rewards

    faults = {f.check: f.found for f in audit(of("it", in_place)) if f.fault}
    assert list(faults) == ["inputs"]
    assert faults["inputs"].startswith("rewards changed in place")
    assert not [f for f in audit(of("it", lambda rewards: in_place(rewards.clone()))) if f.fault]


def test_neither_a_copy_of_a_definition_nor_single_precision_is_described() -> None:
    for function in (lambda r: grpo(r.float()), lambda r: 3 * rloo(r)):
        definition = next(f for f in audit(of("it", function)) if f.check == "definition")
        assert not definition.fault
        assert definition.found.split(",")[0] in ("group standardised", "leave-one-out")
