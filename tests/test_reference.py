"""The reference results that are committed, and what the pages show of them; `test_docs` holds each verdict shown."""

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


def test_what_is_kept_are_claims_with_their_verdicts_and_the_page_reads_them() -> None:
    kept = {record["claim"]: record["verdict"] for record in json.loads((KEPT / "claims.json").read_text())["claims"]}
    assert kept
    assert list(kept) == [claim.id for claim in claims() if claim.id in kept]
    assert rows((KEPT / "claims.md").read_text()) == kept
    page = (ROOT / "docs/claims.md").read_text()
    assert "```{generated} claims\n```" in page
    assert not rows(page), "verdicts have one home"


def test_the_lectures_counterexamples_come_out_with_both_sides_shown() -> None:
    for record in json.loads((KEPT / "claims.json").read_text())["claims"]:
        if record["claim"] in ("C4", "C6", "C7", "C8", "C9"):
            assert record["verdict"] == "CONDITIONAL"
            assert {place["answer"] for place in record["places"]} >= {"holds", "fails"}


def test_the_pictures_that_pages_show_are_kept() -> None:
    for page in (ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/lecture.md"):
        shown = re.findall(r"!\[[^]]+\]\((.+?)\)", page.read_text())
        assert shown
        assert all((page.parent / path).is_file() for path in shown)
