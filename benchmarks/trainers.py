"""What the estimators of public trainers are, exactly: their published definitions in our own words, audited.

    python benchmarks/trainers.py

Each is taken on the policy that wrote the answers, without KL term (`clipping.py` has ratios and KL terms); what a
trainer does besides (sampling corrections, masks of truncated answers) is left out. The audit hands over B prompts of N
answers: rewards [B, N], log_probs and mask [B, N, L]. Where a trainer's loss is a mean over the tokens of what it is
handed, that is one micro-batch here.
"""

import textwrap
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ablate.sequences.audit import audit, moments
from ablate.sequences.subject import Subject

LONGEST = 6.0  # the constant divisor, max_completion_length


def centred(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean(1, keepdim=True)


def standardised(rewards: Tensor, epsilon: float) -> Tensor:
    return centred(rewards) / (rewards.std(1, keepdim=True) + epsilon)


def sequence_mean(log_probs: Tensor, A: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * mask).sum(-1) / mask.sum(-1) * A).mean()


def token_mean(log_probs: Tensor, A: Tensor, mask: Tensor) -> Tensor:
    tokens = A if A.ndim == 3 else A[..., None]
    return -(log_probs * tokens * mask).sum() / mask.sum()


def trl_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """loss_type="grpo", scale_rewards="group"."""
    return sequence_mean(log_probs, standardised(rewards, 1e-4), mask)


def trl_dapo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """loss_type="dapo", the default: active tokens of the accumulated batch; "bnpo" is this of a local batch."""
    return token_mean(log_probs, standardised(rewards, 1e-4), mask)


def trl_dr_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """loss_type="dr_grpo", scale_rewards="none"."""
    return -((log_probs * mask).sum(-1) * centred(rewards)).mean() / LONGEST


def verl_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=grpo, loss_agg_mode=token-mean; a group of one keeps its raw reward."""
    A = standardised(rewards, 1e-6) if rewards.shape[1] > 1 else rewards
    return token_mean(log_probs, A, mask)


def verl_rloo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=rloo, loss_agg_mode=token-mean."""
    n = rewards.shape[1]
    return token_mean(log_probs, centred(rewards) * n / (n - 1) if n > 1 else rewards, mask)


def verl_rloo_sequences(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=rloo, loss_agg_mode=seq-mean-token-sum."""
    n = rewards.shape[1]
    A = centred(rewards) * n / (n - 1) if n > 1 else rewards
    return -((log_probs * mask).sum(-1) * A).mean()


def verl_reinforce_plus_plus_baseline(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=reinforce_plus_plus_baseline: less the group's mean, then standardised over the batch's tokens."""
    A = (centred(rewards) if rewards.shape[1] > 1 else rewards)[..., None] * mask
    count = mask.sum()
    mean = (A * mask).sum() / count
    variance = ((A - mean) ** 2 * mask).sum() / (count - 1)
    return token_mean(log_probs, (A - mean) * torch.rsqrt(variance + 1e-8) * mask, mask)


def verl_opo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=opo: the baseline is the mean reward weighted by length."""
    L = mask.sum(-1)
    baseline = (L * rewards).sum(1, keepdim=True) / L.sum(1, keepdim=True)
    return token_mean(log_probs, rewards - baseline if rewards.shape[1] > 1 else rewards, mask)


def whitened(A: Tensor, mask: Tensor, ddof: int) -> Tensor:
    """(A - mean) / std over the tokens of the batch, A [B, N]."""
    tokens, count = A[..., None] * mask, mask.sum()
    mean = tokens.sum() / count
    variance = ((tokens - mean) ** 2 * mask).sum() / (count - ddof)
    return (tokens - mean) * torch.rsqrt(variance.clamp(min=1e-8)) * mask


def loo(rewards: Tensor) -> Tensor:
    n = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (n - 1)


def openrlhf_reinforce(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=reinforce: whitened over the tokens of all experiences, population variance."""
    return token_mean(log_probs, whitened(rewards, mask, 0), mask)


def openrlhf_reinforce_baseline(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=reinforce_baseline: the same of rewards less their group's mean."""
    return token_mean(log_probs, whitened(centred(rewards), mask, 0), mask)


def openrlhf_rloo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=rloo."""
    return token_mean(log_probs, loo(rewards), mask)


def openrlhf_group_norm(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=group_norm."""
    return token_mean(log_probs, standardised(rewards, 1e-9), mask)


def openrlhf_dr_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=dr_grpo: no deviation, and still a mean over tokens rather than a constant divisor."""
    return token_mean(log_probs, centred(rewards), mask)


def nemo_rl(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """use_leave_one_out_baseline, normalize_rewards: over the deviation of the others, ddof 1, where it is above 0."""
    n = rewards.shape[1]
    if n == 1:
        return token_mean(log_probs, rewards * 0, mask)
    mean = (rewards.sum(1, keepdim=True) - rewards) / (n - 1)
    square = ((rewards**2).sum(1, keepdim=True) - rewards**2) / (n - 1)
    deviation = ((square - mean**2) * (n - 1) / (n - 2)).sqrt().nan_to_num(0) if n > 2 else rewards * 0
    A = rewards - mean
    return token_mean(log_probs, torch.where(deviation > 0, A / (deviation + 1e-6), A), mask)


def open_instruct(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_normalization_type=standard, masked_mean_axis unset: population deviation, mean over tokens."""
    A = centred(rewards) / (rewards.std(1, unbiased=False, keepdim=True) + 1e-8)
    return token_mean(log_probs, A, mask)


def open_instruct_centred(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_normalization_type=centered."""
    return token_mean(log_probs, centred(rewards), mask)


def torchtune(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """GRPOSimpleLoss with the advantages of the GRPO recipe."""
    return sequence_mean(log_probs, standardised(rewards, 1e-4), mask)


def torchtune_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """GRPOLoss: the same advantages, a mean over all tokens."""
    return token_mean(log_probs, standardised(rewards, 1e-4), mask)


def torchtune_completion(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """GRPOCompletionLoss: the ratio of the whole answer, so that a token's score counts once."""
    return -((log_probs * mask).sum(-1) * standardised(rewards, 1e-4)).mean()


def prime_rl(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """The group's mean as baseline; the loss over the number of tokens of the batch."""
    return token_mean(log_probs, centred(rewards), mask)


def prime_rl_length_weighted(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage.length_weighted_mean."""
    L = mask.sum(-1)
    return token_mean(log_probs, rewards - (L * rewards).sum(1, keepdim=True) / L.sum(1, keepdim=True), mask)


def r1_zero_dr_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """critic_type=drgrpo: the sum over tokens over the maximal length."""
    return -((log_probs * mask).sum(-1) * centred(rewards)).mean() / LONGEST


def r1_zero_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """critic_type=grpo."""
    return sequence_mean(log_probs, standardised(rewards, 1e-8), mask)


def skyrl_rloo_token_sum(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=rloo, loss_reduction=seq_mean_token_sum_norm; 0 for a group of one."""
    A = loo(rewards) if rewards.shape[1] > 1 else rewards * 0
    return -((log_probs * mask).sum(-1) * A).mean() / LONGEST


def skyrl_maxrl(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """advantage_estimator=maxrl, loss_reduction=token_mean: over the mean reward, in place of the deviation."""
    A = centred(rewards) / (rewards.mean(1, keepdim=True) + 1e-6) if rewards.shape[1] > 1 else rewards
    return token_mean(log_probs, A, mask)


def roll_grpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=grpo, loss_agg_mode=seq-mean-token-mean."""
    A = standardised(rewards, 1e-6)
    return -((log_probs * mask).sum(-1) / (mask.sum(-1) + 1e-8) * A).mean()


def roll_grpo_sum(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=grpo, loss_agg_mode=seq-mean-token-sum, the default."""
    return -((log_probs * mask).sum(-1) * standardised(rewards, 1e-6)).mean()


def roll_grpo_sum_norm(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """adv_estimator=grpo, loss_agg_mode=seq-mean-token-sum-norm: summed over answers too, over the padded width."""
    return -((log_probs * mask).sum(-1) * standardised(rewards, 1e-6)).sum() / mask.shape[-1]


def unsloth_bnpo(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    """loss_type=bnpo, TRL's advantages: the mean over a chunk's tokens, a chunk being by default one answer."""
    A = standardised(rewards, 1e-4)
    chunks = [(lp * a * m).sum() / m.sum() for lp, a, m in zip(*map(_answers, (log_probs, A, mask)), strict=True)]
    return -torch.stack(chunks).mean()


def _answers(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


TRAINERS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "TRL": {"grpo": trl_grpo, "dapo": trl_dapo, "dr_grpo": trl_dr_grpo},
    "verl": {
        "grpo, token-mean": verl_grpo,
        "rloo, token-mean": verl_rloo,
        "rloo, seq-mean-token-sum": verl_rloo_sequences,
        "reinforce_plus_plus_baseline": verl_reinforce_plus_plus_baseline,
        "opo": verl_opo,
    },
    "OpenRLHF": {
        "reinforce": openrlhf_reinforce,
        "reinforce_baseline": openrlhf_reinforce_baseline,
        "rloo": openrlhf_rloo,
        "group_norm": openrlhf_group_norm,
        "dr_grpo": openrlhf_dr_grpo,
    },
    "NeMo-RL": {"grpo": nemo_rl, "reinforce_plus_plus, minus_baseline": openrlhf_reinforce_baseline},
    "Open-Instruct": {"standard": open_instruct, "centered": open_instruct_centred},
    "torchtune": {
        "GRPOSimpleLoss": torchtune,
        "GRPOLoss": torchtune_grpo,
        "GRPOCompletionLoss": torchtune_completion,
    },
    "prime-rl": {"default": prime_rl, "length_weighted_mean": prime_rl_length_weighted},
    "understand-r1-zero": {"drgrpo": r1_zero_dr_grpo, "grpo": r1_zero_grpo},
    "SkyRL": {"rloo, seq_mean_token_sum_norm": skyrl_rloo_token_sum, "maxrl, token_mean": skyrl_maxrl},
    "ROLL": {
        "grpo, seq-mean-token-sum": roll_grpo_sum,
        "grpo, seq-mean-token-mean": roll_grpo,
        "grpo, seq-mean-token-sum-norm": roll_grpo_sum_norm,
    },
    "Unsloth": {"grpo": trl_grpo, "bnpo": unsloth_bnpo},
    "TinyZero": {"grpo, token-mean": verl_grpo, "grpo, seq-mean-token-sum-norm": roll_grpo_sum_norm},
}
SOURCES = {
    "TRL": "huggingface/trl: `grpo_config.py`, commit 006d32c, and `grpo_trainer.py`, commit d2b69d7 (1.16.0 alike)",
    "verl": "volcengine/verl: `core_algos.py`, commit 012be9d",
    "OpenRLHF": "OpenRLHF/OpenRLHF: `experience_maker.py`, commit 89308a0, and `models/loss.py`, commit f5b3f08",
    "NeMo-RL": "NVIDIA-NeMo/RL: `algorithms/advantage_estimator.py`, commit 00925dd, `algorithms/utils.py`, commit "
    "0043953, and `algorithms/loss/loss_functions.py`, commit 006907a (the mean is over the tokens of the whole step)",
    "Open-Instruct": "allenai/open-instruct: `grpo_fast.py`, commit d526c5d (its divisor counts the tokens of "
    "all micro-batches of a step), and `grpo_utils.py`, commit 0063d12",
    "torchtune": "pytorch/torchtune: `dev/rl/loss.py`, commit 43abea3, and the recipe "
    "`grpo_full_finetune_distributed`, commit 075b500",
    "prime-rl": "PrimeIntellect-ai/prime-rl: `orchestrator/advantage.py`, commit 072062c, and `trainer/rl/loss.py`, "
    "commit 008468c (the sum over tokens over a divisor that it is handed, taken here as the tokens of the batch)",
    "understand-r1-zero": "sail-sg/understand-r1-zero: `train_zero_math.py`, commit 14046dc, and sail-sg/oat, on which "
    "it stands: `algorithms/ppo.py`, commit 08379c6, and `utils/ops.py`, commit 4dbf7d4",
    "SkyRL": "NovaSky-AI/SkyRL: `skyrl_train/utils/ppo_utils.py`, commit ec60959",
    "ROLL": "alibaba/ROLL: `utils/functionals.py`, commit 090ac94, and `rlvr/actor_worker.py`, commit 4dc7f5b",
    "Unsloth": "unslothai/unsloth-zoo: `rl_replacements.py`, commit 0096896. The advantages that it is handed are "
    "taken to be TRL's. Its `dapo` is left out: the divisor comes from the trainer around it and was not traced",
    "TinyZero": "Jiayi-Pan/TinyZero: `verl/trainer/ppo/core_algos.py`, commit a34ad32, an offshoot whose comments mark "
    "the aggregations as its own change; the file of the original was not at hand. The default, PPO with a learnt "
    "critic, is no function of rewards and lengths and is left out",
}
"""Where each was read."""
COLUMNS = ("setting", "definition", "off grad J", "easy, hard prompt", "depends on the cut")


def sections() -> str:
    """A section of Markdown for each trainer: where it was read, and a table with a row a setting."""
    return "\n\n".join(
        f"### {name}\n\n{textwrap.fill(f'Read in {SOURCES[name]}.', 120)}\n\n{table(name)}" for name in TRAINERS
    )


def table(trainer: str) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---:|---:|---|"]
    return "\n".join(lines + [f"| {setting} | {audited(each)} |" for setting, each in TRAINERS[trainer].items()])


@cache
def audited(function: Callable[..., Tensor]) -> str:
    """The other cells of its row."""
    subject = Subject(function.__name__, function, True)
    found = {each.check: each.found for each in audit(subject)}
    mean = moments(subject, 4)
    weights = ", ".join(f"{weight:.3g}" for weight in mean.prompt_weights)
    definition = found["definition"].partition(": group")[0]
    cut = "no" if found["micro-batches"] == "no influence" else "yes"
    return f"{definition} | {mean.orthogonal:.1%} | {weights} | {cut}"


if __name__ == "__main__":
    print(sections())
