"""The audit of a loss on answers that an older policy wrote, and of its term in a reference policy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_audit import grpo, rloo
from torch import Tensor

from ablate.errors import UserError
from ablate.sequences.audit import audit
from ablate.sequences.exact import Surrogate
from ablate.sequences.findings import Finding
from ablate.sequences.penalties import penalty
from ablate.sequences.subject import Subject, of
from ablate.sequences.surrogates import surrogate

Surrogated = Callable[[Tensor, Tensor, Tensor], Tensor]


def of_token(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return log_ratio.exp()


def of_answer(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return (log_ratio * mask).sum(-1, keepdim=True).exp().expand_as(log_ratio)


def geometric(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return ((log_ratio * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)).exp().expand_as(log_ratio)


def clipped(low: float, high: float) -> Surrogated:
    return lambda rho, A, log_pi: torch.min(rho * A, rho.clamp(1 - low, 1 + high) * A)


def dual(rho: Tensor, A: Tensor, log_pi: Tensor) -> Tensor:
    kept = clipped(0.2, 0.2)(rho, A, log_pi)
    return torch.where(A < 0, torch.max(kept, 3 * A), kept)


def cispo(rho: Tensor, A: Tensor, log_pi: Tensor) -> Tensor:
    return rho.clamp(max=1.28).detach() * A * log_pi


def loss(of_batch: Surrogated, ratio: Callable[[Tensor, Tensor], Tensor] = of_token) -> Subject:
    def it(log_probs: Tensor, rewards: Tensor, mask: Tensor, old_log_probs: Tensor) -> Tensor:
        A = grpo(rewards)[..., None].expand_as(log_probs)
        kept = of_batch(ratio(log_probs - old_log_probs, mask), A, log_probs)
        return -((kept * mask).sum(-1) / mask.sum(-1)).mean()

    return of("it", it)


CUT = "A > 0 is cut above {}, A < 0 is cut below {}{}"
RIGHT = [
    (loss(clipped(0.2, 0.2)), "of each token", CUT.format(1.2, 0.8, "")),
    (loss(clipped(0.2, 0.28)), "of each token", CUT.format(1.28, 0.8, "")),
    (loss(dual), "of each token", CUT.format(1.2, 0.8, ", A < 0 is cut above 3 (dual clip)")),
    (loss(lambda rho, A, log_pi: rho * A), "of each token", "none"),
    (loss(clipped(0.2, 0.2), of_answer), "of the whole answer", CUT.format(1.2, 0.8, "")),
    (
        loss(clipped(3e-4, 4e-4), geometric),
        "of the whole answer, the geometric mean of its tokens (GSPO)",
        CUT.format(1.0004, 0.9997, ""),
    ),
    (loss(cispo), "of each token", "truncated at 1.28, with its gradient kept"),
    (
        loss(lambda rho, A, log_pi: torch.where((rho < 5) & (rho > 0.5), rho, 0.0) * A),
        "of each token",
        "tokens count from 0.5 up to 5 and are left out beyond, whatever their sign",
    ),
    (loss(clipped(0.2, 0.2), lambda x, mask: x.float().exp()), "of each token", CUT.format(1.2, 0.8, "")),
]


@pytest.mark.parametrize(("subject", "ratio", "clipping"), RIGHT)
def test_a_right_surrogate_is_named_and_no_fault(subject: Subject, ratio: str, clipping: str) -> None:
    found = {f.check: (f.found, f.fault) for f in surrogate(subject)}
    assert found["importance ratio"] == (ratio, False)
    assert found["clipping"][0].startswith(clipping)
    assert not found["clipping"][1]


def inverted(log_ratio: Tensor, mask: Tensor) -> Tensor:
    return (-log_ratio).exp()


WRONG = [
    (loss(lambda rho, A, _: torch.max(rho * A, rho.clamp(0.8, 1.2) * A)), "clipping", "as max in place of min does"),
    (loss(lambda rho, A, _: rho.clamp(0.8, 1.28) * A), "clipping", "the wrong way is not drawn back"),
    (
        loss(lambda rho, A, _: A.sign() * torch.min(rho * A.abs(), rho.clamp(0.8, 1.2) * A.abs())),
        "clipping",
        "a token counts up to 1.2, whatever the sign of A",
    ),
    (
        loss(lambda rho, A, _: torch.where(A > 0, rho.clamp(0.8, 1.2), rho.clamp(min=0.8)) * A),
        "clipping",
        "on the wrong side for A > 0 below 0.8",
    ),
    (loss(clipped(0.2, 0.2), inverted), "importance ratio", "it is turned round, old over new"),
    (loss(lambda rho, A, log_pi: (1 / rho).detach() * A * log_pi), "importance ratio", "it is turned round"),
    (loss(lambda rho, A, _: rho.detach() * torch.min(rho * A, rho.clamp(0.8, 1.2) * A)), "importance ratio", "twice"),
    (loss(clipped(0.2, 0.2), lambda x, mask: (x - x.detach()).exp()), "importance ratio", "has no influence"),
    (loss(clipped(0.2, 0.2), lambda x, mask: 1 + x), "importance ratio", "is exp missing?"),
    (
        loss(lambda rho, A, log_pi: torch.where(A < 0, rho, (log_pi - log_pi.detach()).exp()) * A),
        "importance ratio",
        "has no influence where A > 0",
    ),
    (loss(clipped(1.2, -0.8)), "importance ratio", "which clipping has to leave as it is"),
]


@pytest.mark.parametrize(("subject", "check", "told"), WRONG)
def test_a_mistake_in_the_surrogate_is_told(subject: Subject, check: str, told: str) -> None:
    assert [told in f.found for f in surrogate(subject) if f.fault and f.check == check] == [True]


def test_advantages_without_a_baseline_and_of_one_sign_are_no_mistake() -> None:
    def it(advantage: Callable[[Tensor], Tensor]) -> Subject:
        def of_advantage(log_probs: Tensor, rewards: Tensor, mask: Tensor, old_log_probs: Tensor) -> Tensor:
            rho, A = (log_probs - old_log_probs).exp(), advantage(rewards)[..., None]
            return -(clipped(0.2, 0.2)(rho, A, log_probs) * mask).sum() / mask.sum()

        return of("it", of_advantage)

    assert [f.found for f in surrogate(it(lambda r: r))] == ["of each token", CUT.format(1.2, 0.8, "")]
    (found,) = surrogate(it(lambda r: r.abs()))
    assert found.found == "advantages have one sign; a token counts by the ratio up to 1.2; 0 from 1.2"
    assert not found.fault


def test_a_ratio_that_padding_enters_is_found() -> None:
    unmasked = loss(clipped(0.2, 0.2), lambda x, mask: x.sum(-1, keepdim=True).exp().expand_as(x))
    assert "padding" in {f.check for f in audit(unmasked) if f.fault}
    assert not {f.check for f in audit(loss(clipped(0.2, 0.2))) if f.fault}


@pytest.mark.parametrize("ratio", [of_token, of_answer])
def test_the_clipped_surrogate_is_the_one_of_the_exact_sums(ratio: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Token by token, of both signs of A."""
    rng = np.random.default_rng(0)
    rewards, mask = rng.random((2, 4)), np.arange(3) < rng.integers(1, 4, (2, 4))[..., None]
    log_pi, x = -rng.random(mask.shape) * mask, rng.normal(size=mask.shape) * 0.3 * mask
    subject = loss(clipped(0.2, 0.28), ratio)
    at_one = subject.multipliers(rewards, mask, log_pi)
    kind = "token" if ratio is of_token else "sequence"
    kept = Surrogate(np.zeros(1), 0.2, 0.28, kind).multipliers(log_pi, log_pi - x)
    wanted = np.where(at_one > 0, kept[0], kept[1]) * at_one
    np.testing.assert_allclose(subject.multipliers(rewards, mask, log_pi, log_ratio=x)[mask], wanted[mask], atol=1e-14)


# The term in a reference policy


KL = {
    "k1": lambda x: -x,
    "k2": lambda x: x**2 / 2,
    "k3": lambda x: x.exp() - 1 - x,
    "turned": lambda x: (-x).exp() - 1 + x,
}


def with_penalty(kind: str, beta: float = 0.04, masked: bool = True) -> Subject:
    def it(log_probs: Tensor, rewards: Tensor, mask: Tensor, ref_log_probs: Tensor) -> Tensor:
        k = KL[kind](ref_log_probs - log_probs)
        policy = -((log_probs * mask).sum(-1) * rloo(rewards)).mean()
        return policy + beta * ((k * mask).sum() / mask.sum() if masked else k.mean())

    return of("it", it)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_the_estimator_of_the_divergence_is_named_and_its_coefficient(kind: str) -> None:
    (found,) = penalty(with_penalty(kind))
    assert not found.fault
    assert found.found.startswith(f"{kind}, coefficient 0.04, token mean; ")
    assert penalty(with_penalty(kind), kind) == [found]
    other = "k3" if kind == "k2" else "k2"
    assert penalty(with_penalty(kind), other) == [Finding("KL term", f"{found.found}, where {other} is expected", True)]


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        *((with_penalty(kind, -0.04), "its sign is wrong") for kind in ("k1", "k2", "k3")),
        (with_penalty("turned"), "k3 of the ratio turned round, pi over ref, coefficient 0.04"),
        (with_penalty("k3", masked=False), "padded tokens count in it"),
    ],
)
def test_a_mistake_in_the_term_is_told(subject: Subject, told: str) -> None:
    (found,) = penalty(subject)
    assert found.fault
    assert told in found.found


def test_a_term_without_gradient_by_rewards_or_without_its_logarithm_is_told() -> None:
    def it(kind: str) -> Subject:
        def of_kind(log_probs: Tensor, rewards: Tensor, mask: Tensor, ref_log_probs: Tensor) -> Tensor:
            A, x = rloo(rewards)[..., None], ref_log_probs - log_probs
            k = {
                "detached": KL["k3"](x.detach()),
                "right answers": KL["k3"](x) * (A > 0),
                "bare": x.exp() - 1,
            }[kind]
            return ((0.1 * k - log_probs * A) * mask).sum() / mask.sum()

        return of(kind, of_kind)

    for kind, told in {
        "detached": "it has a value and no gradient",
        "right answers": "depends on the rewards of the answer",
        "bare": "rho - 1, k3 without its logarithm, coefficient 0.1, token mean; its mean is 0",
    }.items():
        (found,) = penalty(it(kind))
        assert found.fault
        assert told in found.found


def test_a_penalty_on_leaving_the_older_policy_is_told_and_leaves_the_rest_as_it_is() -> None:
    def it(log_probs: Tensor, rewards: Tensor, mask: Tensor, old_log_probs: Tensor) -> Tensor:
        x = old_log_probs - log_probs
        return (((0.1 * KL["k3"](x) - (-x).exp() * rloo(rewards)[..., None]) * mask).sum(-1)).mean()

    ratio, clipping = surrogate(of("it", it))
    assert ratio.found == "of each token; besides there is a term in old_log_probs that the rewards do not enter"
    assert (ratio.fault, clipping.found) == (False, "none")


def test_a_penalty_leaves_the_rest_of_the_audit_as_it_is_without() -> None:
    """k1 has a gradient of its own also at the reference."""
    for kind in ("k1", "k3"):
        found = {f.check: f for f in audit(with_penalty(kind), "rloo", kind)}
        assert not [f for f in found.values() if f.fault]
        assert found["objective at N = 3"].found == "E g = grad J: unbiased"
    with pytest.raises(UserError, match="no parameter ref_log_probs"):
        audit(loss(clipped(0.2, 0.2)), kl="k3")


def test_a_penalty_within_the_reward_and_one_without_influence_are_told() -> None:
    def in_reward(log_probs: Tensor, rewards: Tensor, mask: Tensor, ref_log_probs: Tensor) -> Tensor:
        less = rewards - 0.1 * ((log_probs - ref_log_probs) * mask).sum(-1).detach()
        return -((log_probs * mask).sum(-1) * rloo(less)).mean()

    assert "it enters the advantages" in penalty(of("it", in_reward))[0].found
    assert penalty(with_penalty("k3", 0.0)) == [Finding("KL term", "ref_log_probs has no influence")]
    assert surrogate(with_penalty("k3")) == penalty(loss(dual)) == []


def test_an_importance_ratio_before_the_divergence_is_told() -> None:
    def it(log_probs: Tensor, rewards: Tensor, mask: Tensor, old_log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
        rho, x = (log_probs - old_log_probs).exp(), ref_log_probs - log_probs
        return -((rho * (rloo(rewards)[..., None] - 0.1 * KL["k3"](x)) * mask).sum(-1)).mean()

    (found,) = penalty(of("it", it))
    assert not found.fault
    assert found.found.startswith("k2 times the importance ratio, coefficient 0.1, sequence sum")
