"""The examples run, and what they show is what plain loops of backward() give."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import ablate

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _of_the_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def example(name: str) -> ModuleType:
    return import_module(name)


def trace_variance(model: torch.nn.Module, losses: list[torch.Tensor]) -> float:
    """Of the gradients of the samples' losses, one backward() each."""
    rows = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
        rows.append(np.concatenate([g.numpy().ravel() for g in gradients if g is not None]))
    return float(np.stack(rows).astype(np.float64).var(0, ddof=1).sum())


def test_the_probe_is_there_by_its_short_name() -> None:
    from ablate.probes.module import probe

    assert ablate.probe is probe
    with pytest.raises(AttributeError, match="has no attribute 'prob'"):
        ablate.prob  # noqa: B018


def test_reinforce_on_a_gymnasium_task() -> None:
    """Reward-to-go is less noisy than the return, on the same episodes: limits of the log ratio below 0."""
    found = example("reinforce").main(256).table
    assert found["log_ratio_high"]["reward-to-go"] < 0
    assert (found["samples"] == 256).all()


def test_the_losses_of_stable_baselines3() -> None:
    pytest.importorskip("stable_baselines3")
    module = example("stable_baselines3_losses")
    algorithm = module.collected(module.A2C)
    policy, batch = algorithm.policy, module.segments(algorithm)
    losses = {"A2C": module.a2c, "PPO": module.ppo_policy}
    found = ablate.probe(policy, losses, batch).table
    for name, loss in losses.items():
        assert found["trace_variance"][name] == pytest.approx(
            trace_variance(policy, list(loss(policy, batch))), rel=1e-4
        )
    # the mean of the segments' losses is A2C's loss of the whole buffer
    buffer = algorithm.rollout_buffer
    values, log_prob, _ = policy.evaluate_actions(
        torch.as_tensor(buffer.observations), torch.as_tensor(buffer.actions).long().flatten()
    )
    advantages, returns = torch.as_tensor(buffer.advantages).flatten(), torch.as_tensor(buffer.returns).flatten()
    whole = -(advantages * log_prob).mean() + 0.5 * torch.nn.functional.mse_loss(returns, values.flatten())
    assert module.a2c(policy, batch).mean().item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["gru", "transformers"])
def test_a_tiny_causal_language_model_with_grpo(kind: str) -> None:
    module = example("causal_lm")
    torch.manual_seed(0)
    if kind == "gru":
        model = module.TinyLanguageModel()
    else:
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=module.VOCABULARY, **sizes))
    batch = module.batch_of(model)
    found = ablate.probe(model, module.LOSSES, batch).table
    for name, loss in module.LOSSES.items():
        wanted = trace_variance(model, list(loss(model, batch)))
        assert found["trace_variance"][name] == pytest.approx(wanted, rel=1e-3)
    assert found["nsr"]["token mean"] == pytest.approx(found["nsr"]["constant divisor"], rel=1e-3)  # of one batch


def test_the_advantages_of_the_language_model_are_grpos_and_its_answers_end() -> None:
    from ablate.sequences.advantages import group_standardised

    module = example("causal_lm")
    model = module.TinyLanguageModel()
    batch = module.batch_of(model)
    tokens, mask = batch["tokens"][..., module.PROMPT :], batch["mask"]
    assert ((tokens == module.END) & mask).sum(2).max() <= 1
    assert (tokens[~mask] == module.END).all()
    loss, _ = module.terms(model, batch)
    _, plain = module.terms(model, batch | {"rewards": torch.arange(module.GROUP).float().expand(len(mask), -1)})
    assert torch.equal(plain, mask.float())
    A = torch.from_numpy(group_standardised(batch["rewards"].numpy(), 1, 1e-4))
    assert ((loss.sum(2) != 0) == (A != 0)).all()
