"""A tiny causal language model and the GRPO loss as TRL defines it, probed: token mean or sequence mean?

    python examples/causal_lm.py

A sample is a prompt with its group of answers, since the advantages of a group depend on one another. The model may be
any Module that turns tokens [R, L] into logits [R, L, V]; of Hugging Face transformers too (`logits_of`).
"""

import torch
from torch import Tensor, nn

import ablate

VOCABULARY, PROMPT, LONGEST, GROUP = 12, 3, 8, 4
END = 0


class TinyLanguageModel(nn.Module):
    """Embedding, GRU, logits."""

    def __init__(self, size: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, size)
        self.recurrent = nn.GRU(size, size, batch_first=True)
        self.head = nn.Linear(size, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])


def logits_of(model: nn.Module, tokens: Tensor) -> Tensor:
    found = model(tokens)
    return getattr(found, "logits", found)


@torch.no_grad()
def answers(model: nn.Module, prompts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens [R, PROMPT + LONGEST] and the mask of the answers' tokens [R, LONGEST], the end token counted."""
    tokens, alive, mask = prompts, torch.ones(len(prompts), dtype=torch.bool), []
    for _ in range(LONGEST):
        chances = torch.softmax(logits_of(model, tokens)[:, -1], -1)
        token = torch.multinomial(chances, 1, generator=generator)[:, 0] * alive
        mask.append(alive)
        alive = alive & (token != END)
        tokens = torch.cat([tokens, token[:, None]], 1)
    return tokens, torch.stack(mask, 1)


def batch_of(model: nn.Module, prompts: int = 48) -> dict[str, Tensor]:
    """Groups of answers, right where they hold the first token of the prompt: tokens [B, N, ...], mask, rewards."""
    generator = torch.Generator().manual_seed(1)
    asked = torch.randint(1, VOCABULARY, (prompts, PROMPT), generator=generator).repeat_interleave(GROUP, 0)
    tokens, mask = answers(model, asked, generator)
    rewards = ((tokens[:, PROMPT:] == asked[:, :1]) & mask).any(1).float()
    shape = prompts, GROUP
    return {"tokens": tokens.reshape(*shape, -1), "mask": mask.reshape(*shape, -1), "rewards": rewards.reshape(shape)}


def terms(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """-A log pi of each token, [B, N, L], and the mask. A = (r - mean) / (std + 1e-4) of the group, ddof 1."""
    tokens, mask, rewards = batch["tokens"], batch["mask"].float(), batch["rewards"]
    flat = tokens.flatten(0, 1)
    log_prob = torch.log_softmax(logits_of(model, flat[:, :-1]), -1).gather(2, flat[:, 1:, None])[..., 0]
    log_prob = log_prob[:, PROMPT - 1 :].reshape(mask.shape)
    A = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    return -A[..., None] * log_prob * mask, mask


def sequence_mean(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """loss_type="grpo": mean over the tokens of an answer, then over answers."""
    loss, mask = terms(model, batch)
    return (loss.sum(2) / mask.sum(2)).mean(1)


def token_mean(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """loss_type="dapo": over all tokens of the batch; each prompt's part of the sum, times the number of prompts."""
    loss, mask = terms(model, batch)
    return loss.sum((1, 2)) / mask.sum() * len(mask)


def constant_divisor(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """loss_type="dr_grpo", here of the same advantages."""
    loss, _ = terms(model, batch)
    return loss.sum((1, 2)) / (GROUP * LONGEST)


LOSSES = {"sequence mean": sequence_mean, "token mean": token_mean, "constant divisor": constant_divisor}


def main(model: nn.Module | None = None) -> "ablate.probes.module.GradientNoise":
    torch.manual_seed(0)
    model = model or TinyLanguageModel()
    return ablate.probe(model, LOSSES, batch_of(model))


if __name__ == "__main__":
    print(main().table.T)
