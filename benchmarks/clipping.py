"""What public trainers make of answers that an older policy wrote: their published definitions, audited.

    python benchmarks/clipping.py

Importance ratios, clipping and KL terms of `trainers.py`'s losses, in our own words and at the settings named. All have
group standardised advantages here; corrections between the engine that writes answers and the trainer are left out.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ablate.sequences.penalties import penalty
from ablate.sequences.subject import of
from ablate.sequences.surrogates import surrogate

Surrogate = Callable[[Tensor, Tensor, Tensor], Tensor]  # ratio, A, log pi -> what is maximised, a token


def k3(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    x = ref_log_probs - log_probs
    return x.exp() - 1 - x


def clipped(low: float, high: float, cap: float = torch.inf) -> Surrogate:
    """min(rho A, clip(rho) A), and where A < 0 no less than cap A: the dual clip."""

    def of(rho: Tensor, A: Tensor, log_probs: Tensor) -> Tensor:
        kept = torch.min(rho * A, rho.clamp(1 - low, 1 + high) * A)
        return torch.where(A < 0, torch.max(kept, cap * A), kept) if cap < torch.inf else kept

    return of


def truncated(cap: float) -> Surrogate:
    return lambda rho, A, log_probs: rho.clamp(max=cap).detach() * A * log_probs


def masked(low: float, high: float) -> Surrogate:
    return lambda rho, A, log_probs: torch.where((rho >= low) & (rho <= high), rho, 0.0) * A


def on_older_answers(
    of_token: Surrogate, ratio: str = "token", beta: float = 0.0, term: Callable[[Tensor, Tensor], Tensor] = k3
) -> Callable[..., Tensor]:
    """A loss with group standardised advantages; of tokens, or with a ratio of the answer the mean over answers."""

    def loss(log_probs: Tensor, rewards: Tensor, mask: Tensor, old_log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
        A = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        log_ratio = log_probs - old_log_probs
        if ratio == "answer":
            whole = ((log_ratio * mask).sum(-1)).exp()
            return -of_token(whole, A, log_probs[..., 0]).mean()
        if ratio == "geometric mean":
            whole = ((log_ratio * mask).sum(-1) / mask.sum(-1)).exp()
            return -of_token(whole, A, log_probs[..., 0]).mean()
        kept = of_token(log_ratio.exp(), A[..., None].expand_as(mask), log_probs)
        return ((beta * term(log_probs, ref_log_probs) - kept) * mask).sum() / mask.sum()

    return loss


def through_the_sampling(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """k3 times a weight of 1 that carries the score of the token."""
    return (log_probs - log_probs.detach()).exp() * k3(log_probs, ref_log_probs)


CLIPPING: dict[str, tuple[Callable[..., Tensor], str]] = {
    "TRL, default": (on_older_answers(clipped(0.2, 0.2)), "1.16.0, `grpo_trainer.py`"),
    "TRL, delta=4, beta=0.04": (on_older_answers(clipped(0.2, 0.2, 4.0), beta=0.04), "1.16.0, `grpo_trainer.py`"),
    "TRL, importance_sampling_level=sequence, epsilon=3e-4": (
        on_older_answers(clipped(3e-4, 3e-4), "geometric mean"),
        "1.16.0, `grpo_trainer.py`",
    ),
    "TRL, loss_type=cispo, epsilon_high=5": (on_older_answers(truncated(5.0)), "1.16.0, `grpo_trainer.py`"),
    "NeMo-RL, default": (
        on_older_answers(clipped(0.2, 0.2), beta=0.01, term=through_the_sampling),
        "006907a, `loss_functions.py`",
    ),
    "Open-Instruct, loss_fn=dapo": (
        on_older_answers(clipped(0.2, 0.272), beta=0.05),
        "0063d12, `grpo_utils.py`",
    ),
    "Open-Instruct, loss_fn=cispo": (on_older_answers(truncated(1.272), beta=0.05), "0063d12, `grpo_utils.py`"),
    "torchtune, GRPOLoss": (on_older_answers(clipped(0.1, 0.1), beta=0.1), "43abea3, `dev/rl/loss.py`"),
    "torchtune, GRPOCompletionLoss": (
        on_older_answers(clipped(0.1, 0.1), "answer"),
        "43abea3, `dev/rl/loss.py`",
    ),
    "ROLL, dual_clip_loss": (on_older_answers(clipped(0.2, 0.2, 1.4)), "4dc7f5b, `rlvr/actor_worker.py`"),
    "prime-rl, default": (on_older_answers(masked(0.125, 8.0)), "008468c, `trainer/rl/loss.py`"),
    "TinyZero's offshoot of verl": (on_older_answers(clipped(0.2, 0.2, 3.0)), "a34ad32, `core_algos.py`"),
}
"""What each makes of answers that an older policy wrote, and where it was read."""


def table() -> str:
    lines = ["| trainer | importance ratio | clipping | KL term | commit or version |", "|---|---|---|---|---|"]
    for name, (loss, source) in CLIPPING.items():
        subject = of(name, loss)
        found = {each.check: each.found for each in (*surrogate(subject), *penalty(subject))}
        term = "none" if found["KL term"].endswith("has no influence") else found["KL term"].partition(";")[0]
        lines.append(f"| {name} | {found['importance ratio']} | {found['clipping']} | {term} | {source} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
