"""The audit of another trainer's advantage or loss: it names what is right, with the exact numbers; the command."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ablate.commands.audit import main
from ablate.errors import UserError
from ablate.sequences import advantages, aggregations
from ablate.sequences import exact as sequences_exact
from ablate.sequences.audit import audit, easy_and_hard, groups, ignores_order, moments
from ablate.sequences.definitions import EXPECTED
from ablate.sequences.findings import summary
from ablate.sequences.subject import Subject


def rloo(rewards: Tensor) -> Tensor:
    n = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (n - 1)


def grpo(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)


def dr_grpo(rewards: Tensor) -> Tensor:
    return rewards - rewards.mean(1, keepdim=True)


def plus_plus(rewards: Tensor) -> Tensor:
    return (rewards - rewards.mean()) / (rewards.std() + 1e-8)


def sequence_sum(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * mask).sum(-1) * rloo(rewards)).mean()


def sequence_mean(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -((log_probs * mask).sum(-1) / mask.sum(-1) * grpo(rewards)).mean()


def token_mean(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * grpo(rewards)[..., None] * mask).sum() / mask.sum()


def constant_divisor(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * dr_grpo(rewards)[..., None] * mask).sum() / (rewards.numel() * 32)


def faults(function, expected: str | None = None) -> dict[str, str]:
    is_loss = "log_probs" in function.__annotations__
    return {f.check: f.found for f in audit(Subject("it", function, is_loss), expected) if f.fault}


def order_matters(rewards: Tensor) -> Tensor:
    return rewards - rewards.cumsum(1) / torch.arange(1, rewards.shape[1] + 1)


RIGHT = [
    (rloo, "rloo"),
    (grpo, "grpo"),
    (dr_grpo, "dr_grpo"),
    (plus_plus, "reinforce++"),
    (sequence_sum, "rloo"),
    (sequence_mean, "grpo"),
    (token_mean, "dapo"),
    (constant_divisor, "dr_grpo"),
]


@pytest.mark.parametrize(
    ("of", "name", "told"), [(rloo, "rloo", "leave-one-out"), (grpo, "grpo", "group standardised")]
)
def test_a_constant_factor_is_no_fault_though_half_of_rloo_is_the_group_mean_at_two_answers(of, name, told) -> None:
    findings = audit(Subject("it", lambda rewards: 0.5 * of(rewards), False), name)
    assert not [finding for finding in findings if finding.fault]
    found = next(finding.found for finding in findings if finding.check == "definition")
    assert found.startswith(told)
    assert found.endswith(", times 0.5")


@pytest.mark.parametrize(("function", "name"), RIGHT, ids=lambda x: getattr(x, "__name__", x))
def test_a_right_one_is_recognised_and_has_no_fault(function, name: str) -> None:
    assert faults(function, name) == {}


def test_without_an_expectation_no_known_estimator_is_a_fault_and_the_conclusion_names_it() -> None:
    """The mean over tokens depends on how a batch is cut by what it is, and a batch's deviation too."""
    for function, is_loss, told in (
        (token_mean, True, "it equals dapo: group standardised, ddof 1, epsilon 0.0001; token mean; no fault found"),
        (
            plus_plus,
            False,
            "it equals the advantage of reinforce++: batch standardised, ddof 1, epsilon 1e-08; no fault",
        ),
    ):
        findings = audit(Subject("it", function, is_loss))
        assert summary(findings).startswith(told)
        assert {f.check: f for f in findings}["other prompts"].found.startswith("it depends")


def test_the_example_is_the_one_worked_by_hand() -> None:
    """1, 0, 0, 0: mean 1/4, deviation 1/2 with ddof 1."""
    found = {f.check: f.found for f in audit(Subject("it", grpo, False))}
    assert found["example"] == "rewards 1 0 0 0: A = 1.5 -0.4999 -0.4999 -0.4999"


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_taken_for_nothing_else(name: str) -> None:
    wrong = rloo if name != "rloo" else dr_grpo
    assert "definition" in faults(wrong, name)


# Its numbers are those of the exact sums


@pytest.mark.parametrize(
    ("function", "advantage", "aggregation"),
    [
        (sequence_sum, advantages.leave_one_out, aggregations.sequence_sum),
        (sequence_mean, lambda r: advantages.group_standardised(r, epsilon=1e-4), aggregations.sequence_mean),
        (token_mean, lambda r: advantages.group_standardised(r, epsilon=1e-4), aggregations.token_mean),
    ],
)
def test_moments_are_the_exact_ones(function, advantage, aggregation) -> None:
    found = moments(Subject("it", function, True), 2)
    problem, logits = easy_and_hard()
    wanted = sequences_exact.moments(problem, logits, 2, advantage, aggregation)
    np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-12)
    assert found.variance == pytest.approx(wanted.variance, rel=1e-9)


# The command


def test_the_command_tells_and_its_exit_code_says_whether_there_was_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "trainer_of_mine.py").write_text(
        "import torch\ndef f(rewards):\n    return rewards - rewards.mean(1, keepdim=True)\n"
        "def h(logps, rewards, mask):\n    return logps.mean()\n"
        "def k(log_probs, rewards, mask, ref_log_probs):\n    k2 = (log_probs - ref_log_probs) ** 2 / 2\n"
        "    return ((0.1 * k2 - log_probs * f(rewards)[..., None]) * mask).sum(-1).mean()\n"
    )
    (tmp_path / "broken_trainer.py").write_text("raise RuntimeError('no device')\n")
    (tmp_path / "quits.py").write_text("raise SystemExit('no')\n")
    monkeypatch.chdir(tmp_path)
    assert main(["trainer_of_mine:f", "--expect", "dr_grpo", "--out", "page.md"]) == 0
    assert "(1 - 1/N) grad J" in capsys.readouterr().out
    assert "| definition | group mean |  |" in (tmp_path / "page.md").read_text()
    assert main(["trainer_of_mine:f", "--expect", "rloo"]) == 1
    assert main(["trainer_of_mine:k", "--expect", "dr_grpo", "--kl", "k2"]) == 0
    assert main(["trainer_of_mine:k", "--kl", "k3"]) == 1
    assert "k2, coefficient 0.1, sequence sum" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match="no parameter ref_log_probs, so that it has no KL term"):
        main(["trainer_of_mine:f", "--kl", "k3"])
    for wrong, told in {
        "trainer_of_mine": "names no function",
        ":f": "names no function of a module",
        "quits:f": "quits cannot be imported: SystemExit: no",
        "trainer_of_mine:g": "is not found",
        "nowhere_at_all:f": "is not found",
        "trainer_of_mine.py:f": "write trainer_of_mine:f",
        "trainer_of_mine:torch": "is no function",
        "trainer_of_mine:h": "a loss takes log_probs, rewards and mask by these names",
        "broken_trainer:f": "cannot be imported: RuntimeError: no device",
    }.items():
        with pytest.raises(UserError, match=told):
            main([wrong])
    with pytest.raises(UserError, match="no estimator known here"):
        main(["trainer_of_mine:f", "--expect", "ppo"])


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(UserError, match=r"returned shape \(2,\)"):
        faults(lambda_of_shape)
    with pytest.raises(UserError, match="cannot be called on 2 prompts of 2 answers: IndexError: no"):
        faults(raises)
    with pytest.raises(UserError, match="cannot be called on 1 prompt of 3 answers: AssertionError"):
        faults(of_pairs_only)
    with pytest.raises(UserError, match="returned 2 things; return the advantages alone"):
        faults(advantages_and_returns)
    with pytest.raises(UserError, match="was it detached"):
        faults(detached)
    with pytest.raises(UserError, match=r"returned shape \(2, 2\), not one number"):
        faults(a_loss_an_answer)


def lambda_of_shape(rewards: Tensor) -> Tensor:
    return rewards.mean(1)


def raises(rewards: Tensor) -> Tensor:
    raise IndexError("no")


def of_pairs_only(rewards: Tensor) -> Tensor:
    assert rewards.shape[1] == 2
    return rewards


def advantages_and_returns(rewards: Tensor) -> tuple[Tensor, Tensor]:
    return rewards, rewards


def a_loss_an_answer(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs * mask).sum(-1) * rewards


def detached(log_probs: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    return -(log_probs.detach() * mask).sum()


def test_the_documentation_shows_the_audit_of_public_trainers_as_it_is() -> None:
    root = Path(__file__).parents[1]
    page = (root / "docs" / "post_training.md").read_text()
    assert runpy.run_path(str(root / "benchmarks" / "trainers.py"))["sections"]() in page
    assert runpy.run_path(str(root / "benchmarks" / "clipping.py"))["table"]() in page


def test_multisets_are_enough_where_the_order_of_answers_does_not_matter() -> None:
    assert ignores_order(Subject("it", rloo, False))
    assert not ignores_order(Subject("it", order_matters, False))
    together, apart = (groups(3, 4, as_multisets) for as_multisets in (True, False))
    assert sum(n for _, n in together) == len(apart) == 81
    assert [n for group, n in together if sorted(group) == [0, 0, 1, 2]] == [12]


def test_that_the_deviation_weighs_prompts_shows_from_groups_of_four_on() -> None:
    """Groups of 3 with right and wrong answers all have the deviation sqrt(1/3); of 4, 1/2 or sqrt(1/3)."""

    def grpo(rewards: torch.Tensor) -> torch.Tensor:
        return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)

    found = {f.check: f.found for f in audit(Subject("it", grpo, False))}
    assert found["objective at N = 3"] == "E g = 1.155 grad J"
    assert found["objective at N = 4"].startswith("not the gradient of the success rate")
    weights = []
    for p in (0.7, 0.2):
        edge, middle = 4 * p * (1 - p) * (p**2 + (1 - p) ** 2), 6 * p**2 * (1 - p) ** 2
        # sum_i A_i z_i / N of k right ones of N is k (N - k) / N^2 / deviation
        weights.append((edge * 3 / 16 / (0.5 + 1e-4) + middle / 4 / (3**-0.5 + 1e-4)) / (p * (1 - p)))
    told = [float(x) for x in re.findall(r"weighs ([0-9.]+)|p = .2 ([0-9.]+)", found["objective at N = 4"])[0] if x]
    assert told[0] == pytest.approx(weights[0], rel=1e-3)
    assert weights[0] != pytest.approx(weights[1], rel=0.01)
