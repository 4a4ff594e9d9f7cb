"""The audit finds the mistakes that were planted and names them; what is unusual and right is no fault."""

import pytest
import torch
from test_audit import dr_grpo, faults, grpo, order_matters, rloo, sequence_mean, sequence_sum, token_mean
from torch import Tensor

from ablate.sequences.audit import audit
from ablate.sequences.distortions import of_other_rewards, weighted_by_length
from ablate.sequences.findings import summary
from ablate.sequences.mistakes import cut_off, mistaken
from ablate.sequences.subject import Subject


def batch_std_per_group(rewards: Tensor) -> Tensor:
    return grpo(rewards)


def mixed_ddof(rewards: Tensor) -> Tensor:
    unbiased = rewards.shape[1] > 4
    return dr_grpo(rewards) / (rewards.std(1, keepdim=True, unbiased=unbiased) + 1e-6)


def no_mask(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * grpo(rewards)[..., None]).sum() / mask.sum()


def leave_one_out_std(rewards: Tensor) -> Tensor:
    columns = []
    for i in range(rewards.shape[1]):
        others = torch.cat([rewards[:, :i], rewards[:, i + 1 :]], 1)
        columns.append((rewards[:, i] - others.mean(1)) / (others.std(1, unbiased=False) + 1e-6))
    return torch.stack(columns, 1)


def dead_groups_are_nan(rewards: Tensor) -> Tensor:
    return dr_grpo(rewards) / rewards.std(1, keepdim=True)


def ddof_by_prompt(rewards: Tensor) -> Tensor:
    deviations = torch.stack([row.std(unbiased=bool(b % 2)) for b, row in enumerate(rewards)])
    return dr_grpo(rewards) / (deviations[:, None] + 1e-6)


def token_mean_of_halves(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The mean of two micro-batches of neighbouring answers, each over its own tokens."""
    A = grpo(rewards).flatten()
    parts = zip(log_probs.flatten(0, 1).chunk(2), A.chunk(2), mask.flatten(0, 1).chunk(2), strict=True)
    return torch.stack([-(lp * a[:, None] * m).sum() / m.sum() for lp, a, m in parts]).mean()


def token_mean_of_prompts(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    tokens = mask.sum((1, 2))
    return (-(log_probs * grpo(rewards)[..., None] * mask).sum((1, 2)) / tokens).mean()


def padded_mean(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * grpo(rewards)[..., None] * mask).mean()


def late_mask(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The mask is a token late: prompt and answer are shifted against each other."""
    return token_mean(log_probs, rewards, mask.roll(1, -1))


def early_mask(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The end token is left out."""
    ends = torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)
    return -(log_probs * grpo(rewards)[..., None] * ends).sum() / mask.sum()


def clamped_leave_one_out_std(rewards: Tensor) -> Tensor:
    n = rewards.shape[1]
    mean = (rewards.sum(1, keepdim=True) - rewards) / (n - 1)
    square = ((rewards**2).sum(1, keepdim=True) - rewards**2) / (n - 1)
    return (rewards - mean) / (square - mean**2).clamp(min=0).sqrt().clamp(min=1e-4)


def infinite_leave_one_out_std(rewards: Tensor) -> Tensor:
    n = rewards.shape[1]
    mean = (rewards.sum(1, keepdim=True) - rewards) / (n - 1)
    square = ((rewards**2).sum(1, keepdim=True) - rewards**2) / (n - 1)
    return (rewards - mean) / (square - mean**2).clamp(min=0).sqrt()


def descends(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -sequence_sum(log_probs, rewards, mask)


def batch_std_of_the_group_means(rewards: Tensor) -> Tensor:
    """Meant to be the deviation of the batch; computed of the group's rewards before they are centred."""
    return torch.stack([row - row.mean() for row in rewards]) / (rewards.std(1, keepdim=True) + 1e-8)


def ddof_by_sign(rewards: Tensor) -> Tensor:
    A, (one, zero) = dr_grpo(rewards), (rewards.std(1, keepdim=True, unbiased=u) + 1e-6 for u in (True, False))
    return torch.where(A > 0, A / one, A / zero)


def ddof_of_batches_of_one(rewards: Tensor) -> Tensor:
    return dr_grpo(rewards) / (rewards.std(1, keepdim=True, unbiased=len(rewards) > 1) + 1e-6)


def ddof_of_pairs(rewards: Tensor) -> Tensor:
    return dr_grpo(rewards) / (rewards.std(1, keepdim=True, unbiased=rewards.shape[1] > 2) + 1e-6)


def large_epsilon_leave_one_out_std(rewards: Tensor) -> Tensor:
    n = rewards.shape[1]
    others = torch.stack([torch.cat([rewards[:, :i], rewards[:, i + 1 :]], 1) for i in range(n)], 1)
    return (rewards - others.mean(2)) / (others.std(2, unbiased=False) + 1e-2)


def random_advantage(rewards: Tensor) -> Tensor:
    return dr_grpo(rewards) + 1e-5 * torch.randn_like(rewards)


def nothing(rewards: Tensor) -> Tensor:
    return 0 * rewards


def mean_over_padding(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * mask).mean(-1) * grpo(rewards)).mean()


def batch_mean_and_group_std(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean()) / (rewards.std(1, keepdim=True) + 1e-8)


def along_the_wrong_axis(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean(0, keepdim=True)


def probabilities(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The ratio without its denominator: exp(log pi) in place of exp(log pi - log pi)."""
    return sequence_mean(log_probs.exp(), rewards, mask)


def length_penalty(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * mask).sum(-1) * rloo(rewards - 0.1 * mask.sum(-1))).mean()


def dead_groups_are_raw(rewards: Tensor) -> Tensor:
    return torch.where(rewards.std(1, keepdim=True) > 0, grpo(rewards), rewards)


def token_mean_of_the_others(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """Answers of one token have none."""
    return sequence_mean(log_probs[..., 1:], rewards, mask[..., 1:])


PLANTED = [
    (along_the_wrong_axis, None, "order of answers", "it matters"),
    (along_the_wrong_axis, None, "definition", "group mean along the wrong axis"),
    (probabilities, None, "log-probabilities", "depends on its log-probability"),
    (batch_mean_and_group_std, None, "a right and a wrong group", "explodes"),
    (ddof_by_sign, None, "definition", "mixes group standardised, ddof"),
    (ddof_of_batches_of_one, None, "definition", "changes with the number of prompts"),
    (ddof_of_pairs, None, "definition", "changes with the group size"),
    (large_epsilon_leave_one_out_std, None, "one of four differs", "explodes"),
    (random_advantage, None, "called again", "it is random"),
    (nothing, None, "objective at N = 3", "nothing is learnt"),
    (mean_over_padding, None, "padding", "padded tokens change the gradient"),
    (ddof_by_prompt, None, "order of prompts", "it matters"),
    (token_mean_of_halves, None, "micro-batches", "depends on how the batch is cut"),
    (token_mean_of_halves, "dapo", "definition", "where dapo is"),
    (token_mean_of_prompts, "dapo", "definition", "token mean of each prompt"),
    (padded_mean, None, "padding", "padded tokens change the gradient"),
    (late_mask, None, "padding", "padded tokens change the gradient"),
    (early_mask, None, "tokens", "has no gradient"),
    (clamped_leave_one_out_std, None, "one of four differs", "explodes"),
    (infinite_leave_one_out_std, None, "one of four differs", "not a finite number"),
    (descends, None, "objective at N = 2", "points away"),
    (batch_std_of_the_group_means, "reinforce++_baseline", "definition", "group standardised"),
    (batch_std_per_group, "reinforce++", "definition", "group standardised"),
    (token_mean, "grpo", "micro-batches", "depends on how the batch is cut"),
    (mixed_ddof, None, "definition", "changes with the group size"),
    (no_mask, None, "padding", "padded tokens change the gradient"),
    (leave_one_out_std, None, "one of four differs", "explodes"),
    (dead_groups_are_nan, None, "all rewards equal", "not a finite number"),
    (order_matters, None, "order of answers", "it matters"),
    (length_penalty, None, "length at equal rewards", "told apart by their length"),
    (dead_groups_are_raw, None, "all rewards equal", "should be 0"),
    (token_mean_of_the_others, None, "objective", "not finite"),
]


@pytest.mark.parametrize(("function", "expected", "check", "told"), PLANTED, ids=lambda x: getattr(x, "__name__", ""))
def test_what_was_planted_is_found(function, expected: str | None, check: str, told: str) -> None:
    assert told in faults(function, expected)[check]


MISTAKEN = {
    "group mean over the variance, not the deviation, ddof 1, epsilon 1e-06": lambda r: (
        dr_grpo(r) / (r.var(1, keepdim=True) + 1e-6)
    ),
    "group standardised along the wrong axis, over prompts, ddof 1, epsilon 1e-06": lambda r: (
        (r - r.mean(0, keepdim=True)) / (r.std(0, keepdim=True) + 1e-6)
    ),
    "mean of the others added, not subtracted": lambda r: 2 * r - rloo(r),
    "sum of the others over N, not N - 1": lambda r: r - (r.sum(1, keepdim=True) - r) / r.shape[1],
    "sum of the whole group over N - 1": lambda r: r - r.sum(1, keepdim=True) / (r.shape[1] - 1),
    "mean of the batch, deviation of the group, ddof 1, epsilon 1e-08": batch_mean_and_group_std,
    "no mean subtracted, over the deviation of the group, ddof 0, epsilon 1e-08": lambda r: (
        r / (r.std(1, keepdim=True, unbiased=False) + 1e-8)
    ),
}


@pytest.mark.parametrize("told", MISTAKEN)
def test_a_mistake_is_named(told: str) -> None:
    assert mistaken(Subject("it", MISTAKEN[told], False).multipliers, False) == told


CUT = {
    "group standardised, ddof 1, epsilon 0.0001, cut off below -5 and above 5": lambda r: grpo(r).clamp(-5, 5),
    "group mean, cut off above 0.5": lambda r: dr_grpo(r).clamp(max=0.5),
    "leave-one-out, of which only positive advantages are kept": lambda r: rloo(r).clamp(min=0),
    "group mean, of which only negative advantages are kept": lambda r: dr_grpo(r).clamp(max=0),
    "": rloo,
}
NOT_CUT = {
    "another epsilon": lambda r: dr_grpo(r) / (r.std(1, keepdim=True) + 5e-6),
    "single precision": lambda r: grpo(r.float()),
}


@pytest.mark.parametrize("what", NOT_CUT)
def test_rounding_and_another_epsilon_cut_nothing_off(what: str) -> None:
    assert cut_off(Subject("it", NOT_CUT[what], False).multipliers, False) == ""


def test_a_loss_in_single_precision_cuts_nothing_off() -> None:
    def single(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return token_mean(log_probs.float(), rewards.float(), mask.float())

    assert cut_off(Subject("it", single, True).multipliers, True) == ""


@pytest.mark.parametrize("told", CUT)
def test_advantages_that_are_cut_off_are_found_of_groups_large_enough(told: str) -> None:
    assert cut_off(Subject("it", CUT[told], False).multipliers, False) == told


OF_OTHER_REWARDS = {
    "group standardised, ddof 1, epsilon 0.0001, of rewards cut off below -1 and above 1": lambda r: grpo(
        r.clamp(-1, 1)
    ),
    "leave-one-out, of rewards cut off above 0.5": lambda r: rloo(r.clamp(max=0.5)),
    "group mean, of rewards truncated to whole numbers": lambda r: dr_grpo(r.long().double()),
    "": grpo,
}


@pytest.mark.parametrize("told", OF_OTHER_REWARDS)
def test_rewards_that_are_changed_first_are_named(told: str) -> None:
    assert of_other_rewards(Subject("it", OF_OTHER_REWARDS[told], False).multipliers, False, 2, 3) == told


BY_LENGTH = {
    "over the length of the answer to the power 2": (lambda L: L**-2, True),
    "over the length of the answer plus 3, as where tokens of its prompt are counted": (lambda L: 1 / (L + 3), True),
    "a token of an answer of 1 .. 6 tokens weighs 1 1 0.5 0.333 0.25 0.2": (lambda L: 1 / (L - 1).clamp(min=1), True),
    "over the length of the answer to the power 1, and by the tokens of the batch": (lambda L: 1 / L / L.sum(), True),
    "over the length of the answer to the power 0.5": (lambda L: L**-0.5, False),
}


@pytest.mark.parametrize("told", BY_LENGTH)
def test_weights_by_length_are_named_and_those_beyond_sum_and_mean_are_mistakes(told: str) -> None:
    of, mistake = BY_LENGTH[told]

    def loss(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return -((log_probs * mask).sum(-1) * of(mask.sum(-1)) * rloo(rewards)).mean()

    assert weighted_by_length(Subject("it", loss, True).multipliers, True) == (f"leave-one-out; {told}", mistake)


def test_an_advantage_of_rewards_less_the_length_is_no_known_one_weighted_by_length() -> None:
    assert weighted_by_length(Subject("it", length_penalty, True).multipliers, True) == ("", False)


def only_right_ones(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * grpo(rewards).clamp(min=0)[..., None] * mask).sum() / mask.sum()


def test_a_loss_that_cuts_off_is_told_from_its_aggregation() -> None:
    told = "group standardised, ddof 1, epsilon 0.0001; token mean, of which only positive advantages are kept"
    assert cut_off(Subject("it", only_right_ones, True).multipliers, True) == told
    assert cut_off(Subject("it", token_mean, True).multipliers, True) == ""


def middle(rewards: Tensor) -> Tensor:
    """None of those known; of two answers it would be one."""
    return rewards - rewards.median(1, keepdim=True).values


def truth_mask(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * grpo(rewards)[..., None]).masked_fill(~mask, 0).sum(-1) / mask.sum(-1)).mean()


@pytest.mark.parametrize("function", [middle, truth_mask])
def test_what_is_unusual_is_no_fault(function) -> None:
    assert faults(function) == {}


def test_the_list_of_faults_can_be_read() -> None:
    """No name of a check holds the comma that parts them."""
    findings = audit(Subject("it", descends, True))
    assert summary(findings).endswith("3 faults: objective at N = 2, objective at N = 3, objective at N = 4")
    assert not [finding.check for finding in findings if "," in finding.check or ";" in finding.check]


def test_a_deviation_of_the_batch_that_is_taken_of_each_group_is_told_to_be_of_the_group() -> None:
    """It equals GRPO, whatever was meant: what it equals and what it depends on say so."""
    found = {f.check: f.found for f in audit(Subject("it", batch_std_per_group, False))}
    assert found["estimator"].startswith("it equals the advantage of grpo or dapo: group standardised, ddof 1")
    assert found["other prompts"].startswith("no influence: whatever it subtracts or divides by is of the prompt's own")


def test_what_is_unusual_is_told_by_its_mean() -> None:
    assert summary(audit(Subject("it", middle, False))).startswith(
        "it equals no estimator known here; the reward less the median, of two the lower; of groups of 4, not the"
    )
