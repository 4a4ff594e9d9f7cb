"""The page of the lecture's results, from the files that are committed: what they say is what it shows."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from test_page import Element, Reader

from ablate.analysis import lecture_page
from ablate.analysis.html_page import Page, render
from ablate.analysis.ledger.entry import entries
from ablate.analysis.report import report
from ablate.analysis.verdicts.claim import claims
from ablate.analysis.verdicts.verdict import from_record
from ablate.errors import UserError

KEPT = Path(__file__).parents[1] / "outputs" / "lecture"
RECORDS = json.loads((KEPT / "claims.json").read_text())["claims"]
LEDGER = json.loads((KEPT / "ledger.json").read_text())
HOMEWORK = {path.stem: json.loads(path.read_text()) for path in sorted((KEPT / "homework").glob("*.json"))}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """As in a fresh clone."""
    shutil.copytree(KEPT, tmp_path / "lecture")
    return tmp_path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(KEPT, folder / "lecture")
    return report(folder, "lecture")


@pytest.fixture(scope="module")
def tree(page: Page) -> Element:
    return Reader(render(page)).open[0]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["claim"])
def test_a_verdict_is_read_as_it_was_written(record: dict) -> None:
    own = {key: x for key, x in record.items() if key not in ("slide", "plainly", "decided_by")}
    assert from_record(record).record() == own


def test_the_first_screen_counts_what_the_files_say(page: Page) -> None:
    said = " ".join(page.headline)
    for counts in (Counter(one["verdict"] for one in RECORDS), Counter(one["verdict"] for one in LEDGER)):
        for word, count in counts.items():
            assert f"{count} {word.lower()}" in said
    shares = [row["share_once"] for graded in HOMEWORK.values() for row in graded["passing"]]
    assert f"of {len(shares)} variants" in said
    assert f"{sum(share == 1 for share in shares)} with every seed" in said


def rows(tree: Element, caption: str) -> list[list[str]]:
    """The cells of a table, by a part of its caption, white space folded."""
    (table,) = (one for one in tree.find("table") if caption in one.find("caption")[0].text())
    body = table.find("tbody")[0].find("tr")
    return [[" ".join(cell.text().split()) for cell in row.children if isinstance(cell, Element)] for row in body]


def test_every_claim_entry_and_homework_is_there_with_its_word(tree: Element) -> None:
    assert [(row[0], row[2]) for row in rows(tree, "Verdicts;")] == [(one["claim"], one["verdict"]) for one in RECORDS]
    words = [(name, number["verdict"]) for one in LEDGER for name, number in one["numbers"].items()]
    assert [(row[1], row[4]) for row in rows(tree, "Published numbers")] == words
    folded = [one.find("summary")[0].text() for one in tree.find("details")]
    for entry in entries():
        assert any(text.lower().startswith(entry.name.replace("_", " ")) for text in folded), entry.name
    commands = [code.text() for code in tree.find("code")]
    for name in (
        *(f"--only {claim.id}" for claim in claims()),
        *(f"ledger --only {entry.name}" for entry in entries()),
    ):
        assert any(command.endswith(name) for command in commands), name
    assert all(any(f"study={name}" in command for command in commands) for name in HOMEWORK)
    assert HOMEWORK.keys() == {"cs285_cartpole", "cs285_cheetah", "cs285_lander", "cs285_pendulum"}


def test_a_share_is_shown_with_its_limits(tree: Element) -> None:
    shown = [row for name in HOMEWORK for row in rows(tree, lecture_page.task(name))]
    kept = {(row["label"], row["seeds"]): row for graded in HOMEWORK.values() for row in graded["passing"]}
    for label, seeds, _, once, end in shown:
        row = kept[label, int(seeds)]
        for text, name in ((once, "share_once"), (end, "share_at_end")):
            numbers = [float(x) for x in re.findall(r"[\d.]+", text)]
            assert numbers == pytest.approx([row[name], row[f"{name}_low"], row[f"{name}_high"]], abs=5e-4)
    assert len(shown) == sum(len(graded["passing"]) for graded in HOMEWORK.values())


def test_pictures_are_those_that_were_drawn(tree: Element) -> None:
    seen = [svg.attributes["aria-label"] for svg in tree.find("svg", role="img")]
    assert {text.split(",")[0] for text in seen if str(text).startswith("Picture for")} == {
        f"Picture for {claim.id}" for claim in claims()
    }


def test_no_button_offers_to_hide_shares(tree: Element) -> None:
    """What is drawn of variants gets a button a name; the shares of a table are no variants."""
    assert not [one for one in tree.all() if "data-variant" in one.attributes]


def test_a_planted_number_turns_its_word(outputs: Path) -> None:
    path = outputs / "lecture" / "ledger.json"
    wrong = json.loads(path.read_text())
    assert {one["verdict"] for one in wrong} <= {"REPRODUCED", "CANNOT TELL"}
    wrong[0]["numbers"][next(iter(wrong[0]["numbers"]))]["here"] = [[0.0, 0.0, 0.0]]
    path.write_text(json.dumps(wrong))
    found = report(outputs, "lecture")
    assert "1 not reproduced" in " ".join(found.headline)


@pytest.mark.parametrize("name", ["claims.json", "ledger.json", "homework/cs285_cartpole.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"entry": "cliff"}]', '{"claims": [{"claim": "C1"}]}'])
def test_a_file_that_says_something_else_is_refused_in_one_line(outputs: Path, name: str, text: str) -> None:
    (outputs / "lecture" / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(name)) as refused:
        report(outputs, "lecture")
    assert "\n" not in str(refused.value)


def test_without_verdicts_a_folder_is_an_empty_study(outputs: Path) -> None:
    (outputs / "lecture" / "claims.json").unlink()
    with pytest.raises(UserError, match="is empty; run it first"):
        report(outputs, "lecture")
    assert lecture_page.beside(outputs / "nothing") == ([], [])


def test_the_homeworks_page_quotes_the_kept_numbers() -> None:
    """Every number with limits in its words is one of a table that is kept, to as many digits."""
    text = (KEPT.parents[1] / "docs" / "homework.md").read_text()
    quoted = re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", text)
    kept = {
        tuple(f"{row[f'{name}{end}']:.2f}" for end in ("", "_low", "_high"))
        for graded in HOMEWORK.values()
        for row in (*graded["passing"], *graded["rankings"])
        for name in ("share_once", "share_at_end", "wrong_ranking")
        if row.get(f"{name}_low") is not None
    }
    assert len(quoted) >= 4
    assert {tuple(f"{float(x):.2f}" for x in one) for one in quoted} <= kept
