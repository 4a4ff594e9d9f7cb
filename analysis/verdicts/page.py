"""The verdicts as a page: the table, and each claim with its equation, picture, numbers and the command for it."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ablate.exact import softmax
from ablate.statistics.formatting import counted

from .. import html_page
from ..html_page import (
    Block,
    Code,
    Definitions,
    Details,
    Drawing,
    Equation,
    Explorable,
    Group,
    Link,
    Page,
    Picture,
    Section,
    Table,
    Text,
)
from . import mdp_graph
from .claim import STUDIES, Claim, Scale, family_size
from .question import Question, number
from .variances import NAMED
from .verdict import LEVEL, WORDS, Row, Verdict, interval, percent

Evidence: TypeAlias = pd.DataFrame | bytes | None  # what is drawn, or the SVG that was drawn of it
Shown = Sequence[tuple[Claim, Verdict, Evidence]]


def claims_page(shown: Shown, outputs: str, scale: Scale) -> Page:
    """The page of claims, verdicts and the evidence they rest on (None: there was none, and so no picture)."""
    byline = f"python -m ablate claims --{scale}, study {STUDIES[scale]}"
    return Page("The lecture's claims as verdicts", headline(shown), sections(shown, outputs, scale), byline)


def headline(shown: Shown) -> list[str]:
    """How many claims came to which verdict."""
    counts = {word: sum(verdict.word == word for _, verdict, _ in shown) for word in WORDS}
    summary = ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count)
    return [
        f"Of {counted(len(shown), 'claim')} of the lecture: {summary}.",
        "Conditional: true at some of the places tried and false at others. Inconclusive: these runs cannot tell. "
        f"The limits shown are those that decided, after Holm's correction over the {family_size()} sampled claims.",
    ]


def sections(shown: Shown, outputs: str, scale: Scale) -> list[Section]:
    """The table of verdicts, then claim by claim: for a page of their own, or for the report of their study."""
    return [section(shown), Section("The claims", "claims", [group(*each, outputs, scale) for each in shown])]


def section(shown: Shown) -> Section:
    """The table of verdicts, a row a claim, for a page of its own or another's."""
    rows = []
    for claim, verdict, _ in shown:
        head = verdict.headline
        rows.append(
            {
                "claim": Link(claim.id, claim.id.lower()),
                "slide": claim.slide,
                "verdict": html_page.VerdictBlock(verdict.word),
                "plainly": claim.plain_words(verdict),
                "effect": interval(head) if head else "",
                "where": head.where if head else verdict.remark,
                "fails": "; ".join(row.where for row in verdict.answered("fails", "negligible")[:2]),
            }
        )
    titles = {"slide": "the slide says", "plainly": "in plain words", "fails": "where it fails or is negligible"}
    caption = "Verdicts; a number without limits in brackets is exact"
    return Section("Verdicts", "verdicts", [Table(pd.DataFrame(rows), caption, titles)])


def group(claim: Claim, verdict: Verdict, evidence: Evidence, outputs: str, scale: Scale) -> Group:
    """One claim: the verdict and a sentence, the picture, why, a counterexample; folded, how it was judged."""
    blocks: list[Block] = [html_page.VerdictBlock(verdict.word), Text(claim.plain_words(verdict))]
    blocks += _picture(claim, verdict, evidence)
    blocks += [Text(f"Why: {claim.why}"), Equation(claim.equation)]
    blocks += [*_counterexamples(claim, verdict)]
    if claim.explorable:
        blocks += [Text("Where it fails, to play with:"), Explorable(claim.explorable)]
    blocks.append(
        Details("Numbers and commands", [*_numbers(claim, verdict, scale), *_repeated(claim, outputs, scale)])
    )
    return Group(f"{claim.id}. {claim.claim}", blocks, claim.id.lower())


def _picture(claim: Claim, verdict: Verdict, evidence: Evidence) -> list[Block]:
    """What the claim's evidence looks like, where there is any."""
    seen = f"Picture for {claim.id}, {claim.slide}: {verdict.sentence}"
    if isinstance(evidence, bytes):
        return [Drawing(evidence, seen)]
    if evidence is None or evidence.empty:
        return []
    figure = claim.module.picture(evidence)
    plt.close(figure)  # pyplot would keep it
    return [Picture(figure, seen)]


def _counterexamples(claim: Claim, verdict: Verdict) -> Iterator[Block]:
    """The small problems where it fails, drawn; not the one that can be played with, which has its own picture."""
    failed = [row.where.partition(": ")[0] for row in verdict.answered("fails")]
    for name in dict.fromkeys(name for name in failed if name in NAMED):
        problem = NAMED[name]()
        if claim.explorable.replace("_", " ") == name.replace(",", "") or not mdp_graph.drawable(problem):
            continue
        chances = ", ".join(f"{chance:.3g}" for chance in softmax(problem.logits)[int(np.argmax(problem.rho0))])
        caption = f"Where it fails: {name}. The policy takes its actions with probabilities {chances}."
        figure = mdp_graph.graph(problem)
        yield Picture(figure, f"{caption} {'; '.join(text for _, _, text in mdp_graph.ways(problem))}.", caption)
        plt.close(figure)


def _numbers(claim: Claim, verdict: Verdict, scale: Scale) -> list[Block]:
    """What was asked, what came out, and what would have decided."""
    facts = {
        "Slide": f"{claim.title}: {claim.slide}",
        "Hypothesis": claim.hypothesis,
        **{f"Smallest effect, {name}": _smallest(question) for name, question in claim.questions.items()},
        "Should hold": "; ".join(claim.holds_in),
        "May fail": "; ".join(claim.fails_in) or "nowhere that is known",
        "Decided by": "exact values" if claim.decided_by == "exact" else _power(claim, scale),
        "Limits": claim.limits,
    }
    asked = [Text(_asked(name, question)) for name, question in claim.questions.items()]
    table = [numbers(verdict)] if verdict.rows else []
    return [*asked, Text(verdict.sentence), *table, Definitions(facts)]


def _repeated(claim: Claim, outputs: str, scale: Scale) -> list[Block]:
    """The commands that come to it again."""
    runs = [Code(_typed(command, outputs, scale)) for command in claim.commands(scale)]
    own = Code(f"python -m ablate claims --{scale} --only {claim.id}")
    return [own, *([Text("The runs behind it:"), *runs] if runs else [])]


def numbers(verdict: Verdict) -> Table:
    """Every place of a verdict, with all that was asked there."""
    frame = pd.DataFrame([_row(part) for row in verdict.rows for part in (row, *row.others)])
    meanings = {
        "asked": "what the number must be for the claim to hold here",
        "p": "the smallest level at which the place has this answer; empty where exact",
        "limits": "of what level: that at which the place was judged",
        "counts": "no: a limit shown beside the claim, outside of what the slide says",
        "needed": "values that decide with 80% power at that level, from the smallest effect that matters",
    }
    intervals = {"effect": ("low", "high")}
    return Table(frame, f"{verdict.claim}, place by place", meanings=meanings, intervals=intervals)


def _row(row: Row) -> dict[str, object]:
    sampled = row.level is not None
    return {
        "place": row.where,
        "asked": row.asked,
        "answer": row.answer,
        "effect": row.effect,
        "low": row.low if sampled else float("nan"),
        "high": row.high if sampled else float("nan"),
        "limits": percent(row.level) if row.level is not None else "",
        "unit": row.unit,
        "p": row.p_value,
        "values": row.samples,
        "needed": row.needed if row.answer == "undecided" else None,
        "counts": "yes" if row.within else "no",
    }


def _asked(name: str, question: Question) -> str:
    """'Share: share of random MDPs with less variance. Asked: is it equal to 1 within 0.05?'"""
    return f"{name.capitalize()}: {question.estimand.rstrip('.')}. Asked: is it {question.words}?"


def _smallest(question: Question) -> str:
    """'0.05 x the variance, because 5% less variance saves one episode in twenty'."""
    return f"{number(question.smallest_effect)} {question.unit}: {question.why}"


def _power(claim: Claim, scale: Scale) -> str:
    power = claim.power or {}
    return (
        f"sampling: {power['samples'][scale]} values a place; {claim.needed} decide with 80% power an effect of "
        f"{number(claim.primary.smallest_effect)}, and one of none, at a deviation of {power['deviation']:g} and the "
        f"strictest level, {percent(LEVEL / family_size())} ({power['why']})"
    )


def _typed(command: str, outputs: str, scale: Scale) -> str:
    """As one types it."""
    return f"python -m ablate -m study.name={STUDIES[scale]} outputs={outputs} {command}"
