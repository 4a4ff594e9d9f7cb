"""The report of a study: what is in its page, and a poor study gets an honest one or a clear line."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pages import HOSTILE
from reports import STARTED, cell, climb, finish, many
from test_page import Element, Reader

from ablate.analysis import excerpts, frames, plots, report, tables
from ablate.analysis.html_page import Code, Details, Page, Table, render
from ablate.analysis.verdicts.claim import claims
from ablate.commands import run_of_analysis as main
from ablate.errors import UserError


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In "clear", reward-to-go is far ahead; "many" has 40 cells."""
    folder = tmp_path_factory.mktemp("outputs")
    for phi, top, noise in (("rtg", 100, 2.0), ("return", 20, 50.0)):
        made = cell(folder, "clear", f"phi={phi}")
        for seed in range(6):
            finish(made, seed, climb(top, seed), noise + 0.5 * (seed % 3))
    many(folder, "many", 40)
    return folder


def shown(page: Page) -> Element:
    return Reader(render(page)).open[0]


def alternatives_of(tree: Element) -> list[str]:
    """The words for each figure."""
    pictures = [svg for figure in tree.find("figure") for svg in figure.find("svg", role="img")]
    return [str(svg.attributes["aria-label"]) for svg in pictures]


def shown_at_first(tree: Element) -> list[str]:
    """The words for the figures before the first section."""
    return [
        text for div in tree.find("div") if div.attributes.get("class") == "glance" for text in alternatives_of(div)
    ]


def blocks(page: Page, section: str) -> list:
    return list(next(part for part in page.sections if part.id == section).blocks)


def test_one_seed_is_called_one_seed(tmp_path: Path) -> None:
    for phi in ("rtg", "return"):
        finish(cell(tmp_path, "single", f"phi={phi}"), 3, climb(100, 0))
    page = report.report(tmp_path, "single")
    told = " ".join(page.headline)
    assert "one seed only" in told
    assert "these runs did not measure it" in told
    assert "Not tested: a paired test needs two seeds that both have." in shown(page).text()
    assert "nan" not in shown(page).find("main")[0].text().lower()


def test_runs_that_are_not_complete_are_listed_with_reasons(tmp_path: Path) -> None:
    made = cell(tmp_path, "poor", "phi=rtg")
    for seed in range(5):
        finish(made, seed, climb(100, seed))
    other = cell(tmp_path, "poor", "phi=return")
    other.fail(7, "Traceback\n...\nValueError: <b>boom</b>")
    curves = {"iteration": [1], "env_steps": [100], "episodes": [1], "return_mean": [1.0]}
    other.diverge(8, 1, "the loss is not finite", curves, [], STARTED | {"env_steps": 100})
    page = report.report(tmp_path, "poor")
    assert "2 of 7 runs are not complete and left out" in " ".join(page.headline)
    listed = next(block for block in blocks(page, "runs") if isinstance(block, Table)).frame
    assert listed[["seed", "status"]].to_numpy().tolist() == [[7, "failed"], [8, "diverged"]]
    assert listed["reason"].tolist() == ["ValueError: <b>boom</b>", "the loss is not finite"]
    assert "5 of 7 runs complete" in page.byline


def test_a_study_without_a_complete_run_has_a_page_that_says_so(tmp_path: Path) -> None:
    cell(tmp_path, "failed", "phi=rtg").fail(0, "ValueError: boom")
    page = report.report(tmp_path, "failed")
    assert page.headline[0].startswith("No run of this study is complete (")
    assert "so there is nothing to compare yet. The first reason given: " in page.headline[0]
    assert [section.id for section in page.sections] == ["runs", "configurations", "reproduce", "cite"]
    assert "ValueError: boom" in shown(page).text()
    assert shown(page).find("figure") == []


def test_a_study_that_is_missing_or_empty_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        assert main(["report", name, "--outputs", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert re.fullmatch(f"ablate: .*{name}.*run it first.*\n", said)
    assert not list(tmp_path.rglob("*.html"))


def test_a_page_that_cannot_be_written_gets_one_line(outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="--out"):
        report.write(outputs, "clear", tmp_path / "file" / "page.html")


@pytest.mark.parametrize("name", [HOSTILE, r"half a $formula and $\nowhere$ _^{"])
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    for phi in ("rtg", "return"):
        made = cell(tmp_path, "hostile", f"phi={phi}", label=f"{name} {phi}")
        for seed in range(3):
            finish(made, seed, climb(100, seed), 1.0 + seed)
    plots.theme()
    tree = shown(report.report(tmp_path, "hostile"))
    assert f"{name} rtg" in [th.text() for th in tree.find("th", scope="row")]
    assert len(tree.find("script")) == 1
    assert tree.find("img") == []
    alternatives = alternatives_of(tree)
    assert alternatives
    assert all(name in alternative for alternative in alternatives)


def test_every_cell_has_its_command_and_its_whole_configuration(outputs: Path) -> None:
    page = report.report(outputs, "clear")
    folded = [block for block in blocks(page, "configurations") if isinstance(block, Details)]
    assert [part.summary for part in folded] == ["return on chain", "reward-to-go on chain"]
    command, _, config = folded[1].blocks
    assert isinstance(command, Code)
    assert isinstance(config, Code)
    assert f"phi=rtg study.name=clear outputs={outputs} seed=0-5" in command.text
    made = cell(outputs, "clear", "phi=rtg")
    assert yaml.safe_load(config.text) == made.read_config()


def told_variants(outputs: Path, study: str) -> list[list[str]]:
    """The rows of the table of variants, as text."""
    return [row for made in of_symbols(outputs, study) for row in made.frame.map(str).to_numpy().tolist()]


def of_symbols(outputs: Path, study: str) -> list[Table]:
    made = [block for block in blocks(report.report(outputs, study), "configurations") if isinstance(block, Table)]
    return [table for table in made if "symbol" in table.frame]


def test_the_variants_are_told_in_symbols_once_and_others_are_left_out(tmp_path: Path) -> None:
    for overrides in (
        ["phi=rtg", "baseline=loo"],
        ["phi=rtg", "baseline=loo", "env.horizon=5"],  # the same variant on another problem
        ["phi=return", "whiten=true"],
        ["algorithm=a2c"],
    ):
        cell(tmp_path, "mixed", *overrides)
    (cell(tmp_path, "mixed", "phi=q").path / "config.yaml").write_text("{")
    assert told_variants(tmp_path, "mixed") == [
        ["return, whitened", r"R(\tau)", "never"],
        ["reward-to-go − leave-one-out", r"\sum_{t' \geq t} \gamma^{t'-t} r_{t'} - \bar{R}_{-i}", "always"],
    ]
    tree = shown(report.report(tmp_path, "mixed"))
    drawn = {str(svg.attributes["aria-label"]) for td in tree.find("td") for svg in td.find("svg", role="img")}
    assert drawn == {r"R(\tau)", r"\sum_{t' \geq t} \gamma^{t'-t} r_{t'} - \bar{R}_{-i}"}
    cell(tmp_path, "other", "algorithm=a2c")
    assert of_symbols(tmp_path, "other") == []


def test_a_configuration_is_told_by_what_differs_from_the_defaults(tmp_path: Path) -> None:
    cell(tmp_path, "differing", "phi=rtg", "gamma=0.9")
    cell(tmp_path, "differing", "phi=return")
    made = [
        block for block in blocks(report.report(tmp_path, "differing"), "configurations") if isinstance(block, Table)
    ]
    (told,) = [table.frame.set_index("variant") for table in made if "symbol" not in table.frame]
    assert told["phi"].to_dict() == {"return": "return", "reward-to-go": "rtg"}
    assert told["gamma"].to_dict() == {"return": "–", "reward-to-go": "0.9"}
    assert "seed" not in told


@pytest.mark.parametrize(
    ("overrides", "unbiased"),
    [
        ("phi=return baseline=value", "always"),  # measured from 0, so it has its gamma^t
        ("phi=return baseline=mean", "never"),
        ("phi=return whiten=true", "never"),
        ("phi=return phi.about.unbiased=sometimes", "never"),  # an unknown word promises nothing
        ("phi=rtg", "if gamma=1"),
        ("phi=rtg discount_scores=true", "always"),
        ("phi=rtg gamma=1", "always"),
        ("phi=rtg baseline=mean", "never"),
        ("phi=advantage", "exact critic, if gamma=1"),
        ("phi=q discount_scores=true", "exact critic"),
    ],
)
def test_a_variant_is_called_unbiased_only_where_it_is(tmp_path: Path, overrides: str, unbiased: str) -> None:
    """By what Phi and baseline say of themselves, which tests hold against enumeration, and the discount's weights."""
    cell(tmp_path, "one", "gamma=0.9", *overrides.split())
    assert [row[-1] for row in told_variants(tmp_path, "one")] == [unbiased]


@pytest.mark.parametrize("symbol", [HOSTILE, r"half a $formula and \nowhere _^{"])
def test_a_symbol_that_is_no_tex_is_text(tmp_path: Path, symbol: str) -> None:
    cell(tmp_path, "plain", symbol=symbol)
    tree = shown(report.report(tmp_path, "plain"))
    assert symbol in [td.text() for td in tree.find("td")]
    assert len(tree.find("script")) == 1


def test_every_table_and_figure_of_the_study_is_in_its_page(outputs: Path) -> None:
    study = frames.load(outputs, "clear")
    tree = shown(report.report(outputs, "clear"))
    at_first, figures = shown_at_first(tree), [alternative for _, alternative in plots.figures(study).values()]
    assert sorted(alternatives_of(tree)) == sorted([*at_first, *figures])
    assert [text.split()[0] for text in at_first] == ["Learning", "Learning", "Trace"]  # env steps, iterations; noise
    ids = [h.attributes["id"] for h in tree.find("h2")]
    assert set(tables.tables(study)) <= set(ids)
    shown_names = {dt.text() for dt in tree.find("dt")}
    heads = {th.text().rstrip() for th in tree.find("th", scope="col")}
    settings = {"env", "iterations", "phi"}  # the headings of configurations are names of settings
    assert heads - settings <= shown_names, f"columns without a meaning: {heads - settings - shown_names}"


def test_the_page_says_how_to_run_and_cite_it(outputs: Path) -> None:
    text = shown(report.report(outputs, "clear")).text()
    assert f"python -m ablate report clear --outputs {outputs}" in text
    version = json.loads(json.dumps(cell(outputs, "clear", "phi=rtg").manifest(0)["versions"]))
    assert version
    for name, number in version.items():
        assert name in text
        assert number in text
    licence = (Path(__file__).parent.parent / "LICENSE").read_text(encoding="utf-8")
    assert f"(c) {report.YEAR} the ablate authors" in licence
    assert "author  = {{the ablate authors}}" in text


def test_versions_that_differ_are_each_counted() -> None:
    made = pd.DataFrame(
        {"versions": ['{"torch": "1"}', '{"torch": "2"}', '{"torch": "1"}', None], "git_revision": None}
    )
    assert report._versions(made) == {"torch": "1 (2 runs), 2 (1 run)"}
    assert report._versions(made.iloc[3:]) == {"versions": "no run has recorded any"}


def test_the_page_is_written_where_it_is_asked_for_and_is_the_same_each_time(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "deep" / "page.html"
    assert main(["report", "clear", "--outputs", str(outputs), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert report.write(outputs, "clear", None) == outputs / "clear" / "report.html"
    assert out.read_bytes() == (outputs / "clear" / "report.html").read_bytes()
    assert "</html>" in out.read_text(encoding="utf-8")


def test_the_report_of_the_lectures_study_begins_with_its_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two claims that are quick to answer exactly; the counts in words are those of the verdicts."""
    two = [claim for claim in claims() if claim.id in ("C5", "C15")]
    monkeypatch.setattr("ablate.analysis.verdicts.command.chosen", lambda only: tuple(two))
    finish(cell(tmp_path, "lecture_quick"), 0, climb(60, 0))
    page = report.report(tmp_path, "lecture_quick")
    assert [section.id for section in page.sections[:2]] == ["verdicts", "claims"]
    assert page.headline[1] == "Of 2 claims of the lecture: 2 supported."
    finish(cell(tmp_path, "main"), 0, climb(60, 0))
    assert "verdicts" not in [section.id for section in report.report(tmp_path, "main").sections]


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ([["phi=rtg"], ["phi=return"]], "Chain: two Φ, 3 seeds"),
        ([["phi=rtg", "baseline=loo"], ["phi=rtg", "baseline=mean"]], "Chain: two baselines, 3 seeds"),
        ([["phi=rtg", "baseline=loo"], ["phi=return"]], "Chain: two estimators, 3 seeds"),
        ([["phi=rtg"], ["phi=rtg", "episodes=5"]], "Chain: two settings of reward-to-go, 3 seeds"),
        ([["phi=rtg"], ["phi=return", "env.horizon=5"]], "Chain: two Φ, 3 seeds"),
    ],
)
def test_the_title_says_what_was_compared(tmp_path: Path, words: list[list[str]], title: str) -> None:
    for own in words:
        made = cell(tmp_path, "titled", *own)
        for seed in range(3):
            finish(made, seed, climb(100, seed))
    assert report.report(tmp_path, "titled").title == title


def test_of_a_long_table_the_best_and_the_worst_cells_are_printed_best_first(outputs: Path) -> None:
    """Of 40 cells, of which cell k ends at k: 40 to 31, and 5 to 1."""
    study = frames.load(outputs, "many")
    page = report.report(outputs, "many")
    (made,) = [block for block in blocks(page, "side_by_side") if isinstance(block, Table)]
    rates = study.cells["label"][made.frame.index].str.extract(r"lr=([\d.]+)")[0].astype(float)
    assert (1000 * rates).round().tolist() == list(range(40, 0, -1))
    assert list(made.printed) == [*range(10), *range(35, 40)]
    assert made.excerpt.startswith("Of 40 cells, the ten with the highest final return and the five with the lowest;")
    rows = shown(page).find("section", **{"aria-labelledby": "side_by_side"})[0].find("tbody")[0].find("tr")
    assert ["unprinted" not in (row.attributes.get("class") or "") for row in rows] == [
        place in made.printed for place in range(40)
    ]
    assert len([block for block in blocks(page, "configurations") if isinstance(block, Details)]) == 40
    (folded,) = [part for part in shown(page).find("summary") if part.text() == "All 40 commands"]
    assert folded


def test_rows_that_are_not_of_cells_are_printed_up_to_fifteen() -> None:
    pairs = pd.DataFrame({"final_return_p": np.linspace(1, 0, 66)})
    part = excerpts.of_pairs(pairs)
    assert part.frame["final_return_p"].is_monotonic_increasing
    assert part.printed == tuple(range(15))
    assert excerpts.of_pairs(pairs.head(30)).printed == ()
    assert excerpts.first_rows(pairs).frame is pairs
    assert excerpts.first_rows(pairs).words.startswith("The first 15 of 66;")
