"""The reference results that are committed, and what the README shows of them."""

import json
import re
from pathlib import Path

import pytest
from ablate.analysis.verdicts.claim import STUDIES, claims
from ablate.analysis.verdicts.verdict import WORDS

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "outputs" / STUDIES["full"]
pytestmark = pytest.mark.skipif(not KEPT.is_dir(), reason="not a checkout: reference results are not in the package")


def rows(text: str) -> dict[str, str]:
    """The verdict of each claim in a Markdown table."""
    return dict(re.findall(rf"^\| (C\d+b?) \|.*?\| ({'|'.join(WORDS)}) \|", text, re.MULTILINE))


def test_what_is_kept_are_claims_with_their_verdicts_and_the_readme_shows_them() -> None:
    kept = {record["claim"]: record["verdict"] for record in json.loads((KEPT / "claims.json").read_text())["claims"]}
    assert kept
    assert list(kept) == [claim.id for claim in claims() if claim.id in kept]
    assert rows((KEPT / "claims.md").read_text()) == kept
    assert (KEPT / "claims.md").read_text() in (ROOT / "README.md").read_text()


def test_the_lectures_counterexamples_come_out_with_both_sides_shown() -> None:
    for record in json.loads((KEPT / "claims.json").read_text())["claims"]:
        if record["claim"] in ("C4", "C6", "C7", "C8", "C9"):
            assert record["verdict"] == "CONDITIONAL"
            assert {place["answer"] for place in record["places"]} >= {"holds", "fails"}


def test_the_pictures_that_the_readme_shows_are_kept() -> None:
    shown = re.findall(r"!\[.+?\]\((.+?)\)", (ROOT / "README.md").read_text())
    assert len(shown) >= 2
    assert all((ROOT / path).is_file() for path in shown)
