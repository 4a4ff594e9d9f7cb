"""An advantage function or a loss of another trainer, run on problems whose every batch can be listed.

What is audited is a Python function of torch tensors, of B prompts with N answers each and L tokens at most:

    advantage(rewards [B, N]) -> A [B, N]
    loss(log_probs [B, N, L], rewards [B, N], mask [B, N, L]) -> a number to descend

A loss is known by its parameter `log_probs`; one that takes `old_log_probs` or `ref_log_probs` besides is handed these
too, [B, N, L], of the policy that wrote the answers and of a reference.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product
from math import factorial, prod

import numpy as np
import torch
from numpy.typing import NDArray

from ablate.errors import UserError
from ablate.sequences.definitions import EXPECTED, SAME, Definition, definitions, mixed
from ablate.sequences.descriptions import described
from ablate.sequences.distortions import of_other_rewards, weighted_by_length
from ablate.sequences.exact import SequenceMoments
from ablate.sequences.findings import Finding
from ablate.sequences.mistakes import cut_off, mistaken
from ablate.sequences.penalties import penalty
from ablate.sequences.problem import END, TokenProblem
from ablate.sequences.subject import REF, Subject
from ablate.sequences.surrogates import surrogate
from ablate.statistics.formatting import counted

Floats = NDArray[np.float64]

NONE = "none of the definitions known here"
SHAPES = (1, 3), (2, 3), (2, 4), (2, 5), (3, 3), (3, 5), (2, 128)  # prompts and answers that it is handed besides
EXPLODES = 20.0  # an advantage of four rewards in [0, 1] that is larger: a group standardised gives 1.73 at most


def audit(subject: Subject, expected: str | None = None, kl: str | None = None) -> list[Finding]:
    """Every check, in order. ``expected`` is a name in EXPECTED: another definition is then a fault; ``kl`` one of k1,
    k2 and k3: another term in the reference is.

    Raises UserError for a function that cannot be called as it must.
    """
    if expected is not None and expected not in EXPECTED:
        raise UserError(f"{expected} is no estimator known here; write one of {', '.join(EXPECTED)}")
    if kl is not None and REF not in subject.takes:
        raise UserError(f"{subject.name} has no parameter {REF}, so that it has no KL term")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the deviation of one number
        subject = _callable(subject)
        again, objective = _again(subject), _objective(subject)
        definition, known = _definition(subject, expected)
        return [
            _estimator(definition, known, objective),
            definition,
            _example(subject),
            again,
            _inputs(subject),
            *objective,
            *surrogate(subject),
            *penalty(subject, kl),
            *_invariances(subject, expected, known is not None),
            *_degenerate(subject),
        ]


def _callable(subject: Subject) -> Subject:
    """The subject with a mask that it takes: of numbers, or else of truth values."""
    try:
        _call(subject, 2, 2)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        other = replace(subject, mask_type=torch.bool)
        try:
            _call(other, 2, 2)
        except (Exception, SystemExit):
            raise UserError(f"{subject.name} cannot be called on 2 prompts of 2 answers: {_of(error)}") from None
        subject = other
    for prompts, size in SHAPES:
        try:
            _call(subject, prompts, size)
        except (Exception, SystemExit) as error:
            of = f"{counted(prompts, 'prompt')} of {size} answers"
            raise UserError(f"{subject.name} cannot be called on {of}: {_of(error)}") from None
    return subject


def _call(subject: Subject, prompts: int, size: int) -> None:
    rewards = np.arange(prompts * size, dtype=np.float64).reshape(prompts, size) % 2
    subject.multipliers(rewards, np.ones((prompts, size, 2), bool))


def _of(error: BaseException) -> str:
    """Its kind and the first line of its message."""
    return ": ".join(filter(None, (type(error).__name__, (str(error).splitlines() or [""])[0])))


def _again(subject: Subject) -> Finding:
    """A random function, or one that remembers, is not what its exact moments say."""
    rewards, mask, log_probs = _an_example()
    found = [subject.multipliers(rewards * scale, mask, log_probs) for scale in (1, 3, 1)]
    same = np.array_equal(found[0], found[2], equal_nan=True)
    told = "the same" if same else "another result: it is random, or remembers what came before"
    return Finding("called again", told, not same)


def _inputs(subject: Subject) -> Finding:
    """A function that changes what it is handed changes what is read of it afterwards."""
    changed = subject.changes(*_an_example()[:2])
    told = f"{', '.join(changed)} changed in place: whatever reads them afterwards finds other numbers"
    return Finding("inputs", told if changed else "left as they were", bool(changed))


def easy_and_hard() -> tuple[TokenProblem, Floats]:
    """Two prompts of answers of one or two tokens: the first is solved with chance .7 by the short answer, the second
    with chance .2 by a long one."""
    problem = TokenProblem.exact_match(2, 2, [(END,), (1, 1)])
    return problem, np.log([[[0.7, 0.3], [0.5, 0.5]], [[0.6, 0.4], [0.5, 0.5]]])


def moments(subject: Subject, size: int) -> SequenceMoments:
    """Exact, over all batches of N = `size` answers a prompt of `easy_and_hard`, each handed to the function; where the
    order of answers does not matter, each multiset of answers once."""
    problem, logits = easy_and_hard()
    z, chances = problem.token_scores(logits), np.exp(problem.log_probs(logits))
    tokens = problem.token_log_probs(logits)
    mask = np.arange(problem.horizon) < problem.lengths[:, None]
    row = np.arange(problem.prompts)[:, None]
    mean, square = np.zeros((problem.prompts, z.shape[-1])), 0.0
    listed = groups(len(problem.answers), size, ignores_order(subject))
    for own in product(listed, repeat=problem.prompts):
        batch, orders = np.array([answers for answers, _ in own]), prod(n for _, n in own)
        c = subject.multipliers(problem.rewards[row, batch], mask[batch], tokens[row, batch])
        g = np.einsum("bnt,bntd->bd", c, z[row, batch])
        p = orders * chances[row, batch].prod()
        mean += p * g
        square += p * float(np.square(g).sum())
    return SequenceMoments(mean, square - float(np.square(mean).sum()), problem.gradient(logits))


def groups(answers: int, size: int, as_multisets: bool) -> list[tuple[tuple[int, ...], int]]:
    """Every group of `size` of the answers, and in how many orders it comes: all orders apart, or together."""
    if not as_multisets:
        return [(group, 1) for group in product(range(answers), repeat=size)]
    multisets = combinations_with_replacement(range(answers), size)
    return [(group, factorial(size) // prod(map(factorial, Counter(group).values()))) for group in multisets]


def ignores_order(subject: Subject) -> bool:
    """Whether the multipliers of a shuffled group, beside one that is not, are the shuffled multipliers."""
    rewards, mask, log_probs = _an_example()
    row, order = np.arange(2)[:, None], [[2, 0, 3, 1], [0, 1, 2, 3]]
    whole = subject.multipliers(rewards, mask, log_probs)
    return _same(subject.multipliers(rewards[row, order], mask[row, order], log_probs[row, order]), whole[row, order])


def _an_example(prompts: int = 2) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Rewards [B, 4], mask and log-probabilities [B, 4, 6] with no two alike."""
    rng = np.random.default_rng(1)
    rewards, lengths = rng.random((prompts, 4)), np.array([[1, 4, 2, 3], [6, 5, 6, 4], [2, 2, 1, 5]])[:prompts]
    mask = np.arange(6) < lengths[..., None]
    return rewards, mask, np.where(mask, -rng.random(mask.shape), 0.0)


def _same(a: Floats, b: Floats) -> bool:
    return bool(np.abs(a - b).max() <= SAME * max(np.abs(b).max(), 1e-300))


def _objective(subject: Subject) -> list[Finding]:
    """The gradient of what, up to N = 4.

    A group of 2 or 3 that has right and wrong answers has one deviation, whatever their chances, so that dividing by it
    only scales; from 4 on it weighs prompts by their difficulty.
    """
    found = {size: moments(subject, size) for size in (2, 3, 4)}
    if not np.isfinite([each.variance for each in found.values()]).all():
        return [Finding("objective", "not finite on some batch of right and wrong answers", True)]
    told = f"tr Cov g = {found[3].variance:.4g}, noise / signal of one update {found[3].nsr:.4g}"
    return [
        *(
            Finding(f"objective at N = {size}", _in_words(each, size), not each.projection > 0)
            for size, each in found.items()
        ),
        Finding("variance at N = 3", told),
    ]


def _in_words(found: SequenceMoments, size: int) -> str:
    easy, hard = found.prompt_weights
    if not found.mean.any():
        return "E g = 0: nothing is learnt"
    if found.projection < 0:
        return f"E g points away from grad J: its projection is {found.projection:.4g}"
    if found.orthogonal > 1e-4:
        return (
            f"not the gradient of the success rate: of the mean, a part of {found.orthogonal:.1%} of its length is "
            f"orthogonal to it; the prompt solved with p = .7 weighs {easy:.4g}, that with p = .2 {hard:.4g}"
        )
    scale = found.projection
    named = {1.0: "grad J: unbiased", 1 - 1 / size: "(1 - 1/N) grad J"}
    known = next((word for value, word in named.items() if abs(scale - value) < 1e-4), f"{scale:.4g} grad J")
    return f"E g = {known}"


def _estimator(definition: Finding, known: Definition | None, objective: Sequence[Finding]) -> Finding:
    """The conclusion: which estimator it is, or what it does instead."""
    if known is not None:
        kind, of = ("a pair", "") if known.aggregation else ("an advantage", "the advantage of ")
        named = f"{of}{' or '.join(known.names)}" if known.names else f"{kind} that has no name here"
        return Finding("estimator", f"it equals {named}: {known}")
    mean = f"of groups of 4, {objective[-2:][0].found}"
    told = "" if definition.found.startswith(NONE) else definition.found
    instead = "; ".join(filter(None, (told, "" if definition.fault else mean)))
    return Finding("estimator", f"it equals no estimator known here; {instead}")


def _definition(subject: Subject, expected: str | None) -> tuple[Finding, Definition | None]:
    """What it is, and the definition that it equals, where there is nothing wrong with it."""
    given = subject.multipliers, subject.is_loss
    first = 2, 3  # prompts and answers
    found = {shape: definitions(*given, *shape) for shape in (first, (2, 5), (2, 2), (1, 3), (3, 3))}
    small, wrong = _alike(found, first)
    told = ""
    if not found[first]:
        wrong = mixed(*given) or mistaken(*given) or of_other_rewards(*given, *first) or wrong
        told, by_length = ("", False) if wrong else weighted_by_length(*given)
        wrong = told if by_length else wrong
    wrong = wrong or cut_off(*given)
    if not (found[first] or told or wrong):
        told, mistake = described(subject.multipliers)
        wrong = told if mistake else ""
    known = small[0] if small and not wrong else None
    told = wrong or told or (NONE if known is None else str(known))
    if expected is not None and not any(definition.is_of(expected) for definition in small):
        return Finding("definition", f"{told}, where {expected} is {'; '.join(EXPECTED[expected])}", True), known
    return Finding("definition", told, bool(wrong)), known


def _alike(found: dict[tuple[int, int], list[Definition]], first: tuple[int, int]) -> tuple[list[Definition], str]:
    """The definitions that it equals at every shape, or how they change with the shape; so does a factor."""
    small = found[first]
    for shape, here in found.items():
        if (shape[1] == 2 and not here) or (shape != (2, 5) and not small):
            continue  # what is none of those known may equal one where answers or prompts are few
        both = [one for one in small if any(map(one.same, here))]
        if (small or here) and not both:
            what, k = ("group size", 1) if first[0] == shape[0] else ("number of prompts", 0)
            told = [f"{_first(each)} at {'BN'[k]} = {at[k]}" for each, at in ((small, first), (here, shape))]
            return [], f"changes with the {what}: {', '.join(told)}"
        small = both
    return small, ""


def _first(found: Sequence[Definition]) -> str:
    return str(found[0]) if found else NONE


def _example(subject: Subject) -> Finding:
    """What it makes of rewards 1, 0, 0, 0, to see."""
    rewards, lengths = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0]]), np.array([[1, 2, 3, 4]] * 2)
    c = subject.multipliers(rewards, np.arange(4) < lengths[..., None])[0, :, 0] * rewards.size
    of = "rewards 1 0 0 0" + ", answers of 1 2 3 4 tokens" * subject.is_loss
    return Finding("example", f"{of}: {'a token of each weighs' if subject.is_loss else 'A ='} {' '.join(_short(c))}")


def _short(numbers: Floats) -> list[str]:
    return [f"{x + 0.0:.4g}" for x in np.round(numbers, 12)]


def _invariances(subject: Subject, expected: str | None, known: bool) -> list[Finding]:
    """``known`` says that it equals a definition, which may depend on the cut of a batch by what it is."""
    rewards, mask, log_probs = _an_example()
    c, same = subject.multipliers, _same
    whole = c(rewards, mask, log_probs)
    other = rewards.copy()
    other[1] = [0.2, 0.9, 0.4, 0.7]
    lengthened = mask.sum(-1)
    lengthened[1] = [1, 1, 2, 1]
    longer = np.arange(6) < lengthened[..., None]
    couples = not (same(c(other, mask, log_probs)[0], whole[0]) and same(c(rewards, longer)[0], c(rewards, mask)[0]))
    parts = [c(rewards[b : b + 1], mask[b : b + 1], log_probs[b : b + 1]) / 2 for b in range(2)]
    tokens = mask.sum((1, 2), keepdims=True)
    cut = not same(np.concatenate(parts), whole)
    by_tokens = same(np.concatenate(parts) * tokens * 2, whole * tokens.sum())
    told = "it depends on how the batch is cut: a prompt at a time is another estimator"
    if by_tokens:
        told = "it depends on how the batch is cut, as a mean over its tokens does: hand over those of a whole step"
    meant = known or by_tokens if expected is None else EXPECTED[expected][1] == "token mean"
    alone = "no influence: whatever it subtracts or divides by is of the prompt's own answers"
    ordered = ignores_order(subject)
    turned = all(same(c(r[::-1], m[::-1], x[::-1])[::-1], c(r, m, x)) for r, m, x in map(_an_example, (2, 3)))
    shift, scaled = c(rewards + 7, mask, log_probs), c(100 * rewards, mask, log_probs)
    size = "in proportion" if same(scaled, 100 * whole) else "neither in proportion nor without influence"
    size = "no influence" if np.allclose(scaled, whole, rtol=2e-3) else size
    turns = same(c(-rewards, mask, log_probs), -whole)
    findings = [
        Finding("other prompts", "it depends on the answers to other prompts" if couples else alone),
        Finding(
            "micro-batches",
            told if cut else "no influence",
            cut and subject.is_loss and not meant,
        ),
        Finding("order of answers", "no influence" if ordered else "it matters", not ordered),
        Finding("order of prompts", "no influence" if turned else "it matters", not turned),
        Finding("shift of the rewards", "no influence" if same(shift, whole) else "it matters"),
        Finding("scale of the rewards", size),
        Finding("sign of the rewards", "it turns with it" if turns else "rewards and their negatives count otherwise"),
    ]
    if subject.is_loss:
        wide = np.pad(mask, ((0, 0), (0, 0), (0, 3)))
        off = {"log_ratio": np.where(wide, 0.0, 0.3), "log_ref": np.where(wide, 0.0, -0.4)}
        noisy = np.where(wide, np.pad(log_probs, ((0, 0), (0, 0), (0, 3))), -9.0)
        padded = subject.gradient(rewards, wide, noisy, **off)[1]
        clean = same(padded[..., :6], subject.gradient(rewards, mask, log_probs)[1]) and not np.abs(padded[~wide]).max()
        findings.append(Finding("padding", "no influence" if clean else "padded tokens change the gradient", not clean))
        silent = (whole == 0) & mask & (np.abs(whole).max(-1, keepdims=True) > 0)
        told = "one of an answer's has no gradient" if silent.any() else "all of an answer's have a gradient"
        uneven = np.ptp(np.where(mask, whole, whole[..., :1]), axis=-1).max() > SAME * np.abs(whole).max()
        told = "an answer's have different weights" if uneven and not silent.any() else told
        findings.append(Finding("tokens", told, bool(silent.any())))
        findings.append(_equal_rewards(subject))
        free = same(c(rewards, mask, 2 * log_probs), whole)
        told = "no influence" if free else "a token's weight depends on its log-probability"
        findings.append(Finding("log-probabilities", told, not free))
    return findings


def _equal_rewards(subject: Subject) -> Finding:
    """Of a loss that gives answers of one length and equal rewards no gradient: none either where lengths differ?"""
    rewards, lengths = np.full((2, 4), 0.5), np.array([[1, 2, 3, 4], [4, 4, 1, 2]])
    alike, other = (
        np.abs(subject.multipliers(rewards, np.arange(4) < L[..., None])).max() for L in (np.full((2, 4), 4), lengths)
    )
    shaped = bool(alike * rewards.size < 1e-3 < other * rewards.size)
    told = "answers are told apart by their length: it is rewarded" if shaped else "no answer is told apart by it"
    return Finding("length at equal rewards", told, shaped)


def _degenerate(subject: Subject) -> list[Finding]:
    def largest(rewards: Sequence[Sequence[float]]) -> float | str:
        """The largest |A|: of a loss, c in units of 1 / (B N) tokens."""
        r = np.array(rewards)
        try:
            c = subject.multipliers(r, np.ones((*r.shape, 1), bool))
        except UserError:
            raise
        except Exception as error:
            return _of(error)
        return float(np.abs(c).max() * r.size)

    generic, ones = _an_example()[0], np.ones((2, 4, 1), bool)
    shifts = np.abs(subject.multipliers(np.full((2, 4), 1.0), ones)).max() * 8  # 1 where nothing is subtracted
    centred = shifts < 0.5 or _same(subject.multipliers(generic + 7, ones), subject.multipliers(generic, ones))
    findings = []
    cases = {
        "all rewards equal": [[0.1] * 4] * 2,
        "all rewards equal and large": [[1e9 + 0.1] * 4] * 2,
        "a right and a wrong group": [[1.0] * 4, [0.0] * 4],
        "one of four differs": [[1.0, 0.0, 0.0, 0.0]] * 2,
        "rewards that nearly agree": [[0.5, 0.5, 0.5, 0.5 + 1e-7]] * 2,
        "a group of one": [[1.0]] * 2,
    }
    for check, rewards in cases.items():
        A = largest(rewards)
        if isinstance(A, str):
            findings.append(Finding(check, f"raises {A}", check != "a group of one"))
            continue
        if not np.isfinite(A):
            alone = check == "a group of one"  # which no estimator of differences can use
            findings.append(Finding(check, "not a finite number" + ": refuse it" * alone, not alone))
            continue
        dead = check.startswith("all") and centred
        explodes = EXPLODES * (1.0 if centred else max(1.0, *rewards[0])) < A
        told = f"largest |A| = {A:.4g}"
        if dead and A > 0:
            told += ", where it should be 0" if A > 1e-3 else ", which rounding leaves of 0"
        elif explodes:
            told += ": it explodes"
        findings.append(Finding(check, told, bool(explodes or (dead and A > 1e-3))))
    return findings
