"""The claims of the lecture, the ledger of published numbers and the graded homework, as their kept results have it."""

import json
from pathlib import Path
from typing import Any

from ablate.analysis import grading
from ablate.analysis.html_page import Explorable
from ablate.analysis.ledger.command import from_json, section
from ablate.analysis.verdicts.claim import STUDIES, Claim, claims
from ablate.analysis.verdicts.question import number
from generated.markdown import escaped, sentence, table

ROOT = Path(__file__).parents[2]
LECTURE = ROOT / "outputs" / STUDIES["full"]


def answers() -> dict[str, dict[str, Any]]:
    """The verdicts that are kept, by claim."""
    kept = json.loads((LECTURE / "claims.json").read_text(encoding="utf-8"))
    return {record["claim"]: record for record in kept["claims"]}


def verdicts() -> str:
    """Every claim with its word."""
    known = answers()
    rows = []
    for claim in claims():
        word = known[claim.id]["verdict"] if claim.id in known else "not in the kept results"
        rows.append((f"[{claim.id}](#{claim.id.lower()})", claim.slide, word))
    return table(("claim", "the slide says", "verdict"), rows)


def all_claims() -> str:
    return "\n\n".join(one_claim(claim, answers().get(claim.id)) for claim in claims())


def one_claim(claim: Claim, answer: dict[str, Any] | None) -> str:
    """A claim: equation, verdict, places, picture, command."""
    parts = [f"({claim.id.lower()})=\n## {claim.id}. {claim.slide}", f"Slide: {claim.title}."]
    parts += [f"$$\n{claim.equation}\n$$", sentence(escaped(claim.hypothesis))]
    for name, question in claim.questions.items():
        parts.append(f"*{name.capitalize()}*: {escaped(question.estimand.rstrip('.'))}. Asked: is it {question.words}?")
    if answer:
        parts.append(f"**{answer['verdict']}.** {escaped(answer['plainly'])}")
        asked = [part for found in answer["places"] for part in (found, *found.get("others", ()))]
        parts.append(table(("place", "answer", "effect", "unit"), map(place, asked)))
    else:
        parts.append("Not in the kept results: its runs are made again. The command below judges it.")
    picture = LECTURE / "figures" / f"{claim.id}.png"
    if picture.is_file():
        parts.append(f"![Picture for {claim.id}: {claim.slide}](../{picture.relative_to(ROOT)})")
    parts.append(f"Limits: {sentence(escaped(claim.limits))}")
    parts.append(f"```console\n$ ablate claims --full --only {claim.id}\n```")
    return "\n\n".join(parts)


def place(found: dict[str, Any]) -> tuple[str, str, str, str]:
    """A place as a row; what counts for nothing in the verdict says so."""
    effect = "" if found["effect"] is None else number(found["effect"])
    if found["level"] is not None and found["low"] is not None and found["high"] is not None:
        effect += f" [{number(found['low'])}, {number(found['high'])}]"
    where = found["where"] if found["within_the_claim"] else f"{found['where']} (beside the claim)"
    return escaped(where), found["answer"], effect, escaped(found["unit"])


def ledger() -> str:
    """Published numbers beside those kept of ours, an entry a section."""
    kept = (LECTURE / "ledger.json").read_text(encoding="utf-8")
    return "\n\n".join(section(entry, found) for entry, found in from_json(kept))


def homework(study: str) -> str:
    """The shares of seeds that pass, a variant a row."""
    graded = grading.from_json((LECTURE / "homework" / f"{study}.json").read_text(encoding="utf-8"))

    def share(row: dict[str, Any], name: str) -> str:
        value, low, high = (row[f"share_{name}{end}"] for end in ("", "_low", "_high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    rows = [
        (row["label"], row["seeds"], share(row, "once"), share(row, "at_end"))
        for row in graded.passed.to_dict("records")
    ]
    line = graded.passed["pass_line"].iloc[0]
    return table(("variant", "seeds", f"at {line:g} once", "in the last iteration"), rows)


def explorable(name: str) -> str:
    """What is played with on the page of claims, with the same script."""
    block = Explorable(name)
    return f"```{{raw}} html\n<style>{block.style}</style>\n{block.content}\n<script>{block.script}</script>\n```"
