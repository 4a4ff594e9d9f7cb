"""What the estimators of public trainers are, exactly: their published definitions in our own words, audited.

    python benchmarks/trainers.py

Read in TRL (`GRPOConfig`, commit 006d32c) and verl (`core_algos.py`, commit 012be9d). Each is taken on the policy that
wrote the answers, without KL term; what a trainer does besides (sampling corrections, masks of truncated answers) is
left out. The audit hands over B prompts of N answers: rewards [B, N], log_probs and mask [B, N, L].
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ablate.sequences.audit import Finding, Subject, audit

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


ESTIMATORS: list[tuple[str, Callable[..., Tensor]]] = [
    ("TRL grpo", trl_grpo),
    ("TRL dapo", trl_dapo),
    ("TRL dr_grpo", trl_dr_grpo),
    ("verl grpo, token-mean", verl_grpo),
    ("verl rloo, token-mean", verl_rloo),
    ("verl rloo, seq-mean-token-sum", verl_rloo_sequences),
    ("verl reinforce_plus_plus_baseline", verl_reinforce_plus_plus_baseline),
    ("verl opo", verl_opo),
]
SHOWN = ("definition", "objective, N = 3", "micro-batches", "all rewards equal", "one of four differs")


def table() -> str:
    """A Markdown table, a row an estimator."""
    lines = [f"| estimator | {' | '.join(SHOWN)} |", "|---" * (len(SHOWN) + 1) + "|"]
    for name, function in ESTIMATORS:
        found: dict[str, Finding] = {each.check: each for each in audit(Subject(name, function, True))}
        cells = [found[check].found.replace("|A|", "A") for check in SHOWN]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
