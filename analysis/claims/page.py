"""The verdicts as a page: the table, and each claim with its equation, picture, numbers and the command for it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd

from analysis import page
from analysis.claims.claim import STUDIES, Claim, Scale
from analysis.claims.verdict import WORDS, Place, Verdict, interval
from analysis.page import Block, Code, Definitions, Details, Equation, Group, Link, Page, Picture, Section, Table, Text

ANSWERS = {True: "holds", False: "fails", None: "undecided"}
Shown = Sequence[tuple[Claim, Verdict, pd.DataFrame | None]]


def claims_page(shown: Shown, outputs: str, scale: Scale) -> Page:
    """The page of claims, verdicts and the evidence they rest on (None: there was none, and so no picture)."""
    byline = f"python -m analysis claims --{scale}, study {STUDIES[scale]}"
    return Page("The lecture's claims as verdicts", headline(shown), sections(shown, outputs, scale), byline)


def headline(shown: Shown) -> list[str]:
    """How many claims came to which verdict."""
    counts = {word: sum(verdict.word == word for _, verdict, _ in shown) for word in WORDS}
    said = ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count)
    return [
        f"Of {len(shown)} claims of the lecture: {said}.",
        "Conditional: true at some of the places tried and false at others. Inconclusive: these runs cannot tell. "
        "Sampled answers stand after Holm's correction over all claims; a claim asked alone is corrected by itself.",
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
                "verdict": page.Verdict(verdict.word),
                "effect": interval(head, verdict.unit) if head else "",
                "where": head.where if head else verdict.remark,
                "fails": "; ".join(place.where for place in verdict.fails[:2]),
            }
        )
    titles = {"slide": "the slide says", "fails": "where it fails"}
    caption = "Verdicts; a number without limits in brackets (95%) is exact"
    return Section("Verdicts", "verdicts", [Table(pd.DataFrame(rows), caption, titles)])


def group(claim: Claim, verdict: Verdict, evidence: pd.DataFrame | None, outputs: str, scale: Scale) -> Group:
    """One claim: what the slide says, what was found, the picture, the numbers, how to repeat it."""
    facts = {
        "Hypothesis": claim.hypothesis,
        "Estimand": claim.estimand,
        "Should hold": "; ".join(claim.holds_in),
        "May fail": "; ".join(claim.fails_in) or "nowhere that is known",
        "Decided by": "exact values" if claim.decided_by == "exact" else _power(claim, scale),
        "Limits": claim.limits,
    }
    blocks: list[Block] = [page.Verdict(verdict.word), Text(claim.slide), Equation(claim.equation)]
    blocks.append(Text(verdict.sentence))
    if evidence is not None and len(evidence):
        figure = claim.module.picture(evidence)
        blocks.append(Picture(figure, f"Picture for {claim.id}, {claim.slide}: {verdict.sentence}"))
        plt.close(figure)
    if verdict.places:
        blocks.append(Details("All numbers", [numbers(verdict)]))
    blocks += [Definitions(facts), Code(f"python -m analysis claims --{scale} --only {claim.id}")]
    runs: list[Block] = [Code(_typed(command, outputs, scale)) for command in claim.commands(scale)]
    if runs:
        blocks.append(Details("The runs behind it", runs))
    return Group(f"{claim.id}. {claim.title}", blocks, claim.id.lower())


def numbers(verdict: Verdict) -> Table:
    """Every place of a verdict."""
    frame = pd.DataFrame([_row(place) for place in verdict.places])
    meanings = {
        "p": "two-sided, after Holm's correction over all places that decide a claim; empty where exact",
        "counts": "no: a limit shown beside the claim, outside of what the slide says",
        "needed": "values that would decide with 80% power at the corrected level, if the effect is what it seems",
    }
    intervals = {"effect": ("low", "high")}
    return Table(
        frame, f"{verdict.claim}: {verdict.unit or 'as each place says'}", meanings=meanings, intervals=intervals
    )


def _row(place: Place) -> dict[str, object]:
    sampled = place.p_value is not None
    return {
        "place": place.where,
        "answer": ANSWERS[place.answer],
        "effect": place.effect,
        "low": place.low if sampled else float("nan"),
        "high": place.high if sampled else float("nan"),
        "p": place.p_value,
        "values": place.samples,
        "needed": place.needed if place.answer is None else None,
        "counts": "yes" if place.within else "no",
    }


def _power(claim: Claim, scale: Scale) -> str:
    power = claim.power or {}
    return (
        f"sampling: {power['samples'][scale]} values a place; {power['needed']} see an effect of "
        f"{power['smallest_effect']:g} beyond its border with 80% power at a deviation of {power['deviation']:g} and "
        f"the strictest level of {power['tests']} tests ({power['why']})"
    )


def _typed(command: str, outputs: str, scale: Scale) -> str:
    """As one types it."""
    return f"python -m ablate -m study.name={STUDIES[scale]} outputs={outputs} {command}"
