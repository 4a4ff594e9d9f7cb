"""The documentation: blocks run, every page is in the tree, links lead somewhere, and everything has a place."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from blocks import ROOT, blocks, commands, notebook, pages
from conftest import choices

from ablate import commands as subcommands
from ablate import store
from ablate.configuration.settings import settings
from ablate.phi import Signals

DOCS = ROOT / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout: the pages are not in the package")
sys.path.append(str(DOCS))
PAGES = [path for path in pages() if path.is_file()]
NOTEBOOKS = sorted((DOCS / "notebooks").rglob("*.ipynb"))
RUN = [page for page in PAGES if any(block.language in ("bash", "python") for block in blocks(page))]
BUILDS = ("conf.py", "generated/__init__.py", "_static/site.css")  # what makes the site and is no page of it
EXERCISES = ("reward_to_go", "leave_one_out", "gae")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated():
    import generated

    return generated


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, as MyST and GitHub make them, and its explicit targets."""
    import generated

    text = generated.filled(page.read_text(encoding="utf-8"))
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", plain, re.MULTILINE))


def typed() -> list[list[str]]:
    """Every command of every page."""
    return [words for page in PAGES for block in blocks(page) if block.language == "bash" for words in commands(block)]


# ------------------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("part", range(2))
def test_the_blocks_of_the_pages_run(part: int, tmp_path: Path) -> None:
    """Two halves, so that two processes share the work; each runs its pages one after another."""
    chosen = [str(page) for page in [*RUN, *NOTEBOOKS][part::2]]
    line = [sys.executable, str(Path(__file__).with_name("blocks.py")), str(tmp_path), *chosen]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_is_shown_on_some_page() -> None:
    from ablate.analysis.figures import HELP

    shown = [words[1:] for words in typed() if words[0] == "ablate"]
    reading = (DOCS / "reading.md").read_text()
    explained = re.findall(r"\w+", " ".join(re.findall(r"^### (.+)$", reading, re.MULTILINE)))
    assert set(HELP) <= set(explained)
    named = {name for page in PAGES for name in re.findall(r"^(?:\$ )?ablate (\w+)", page.read_text(), re.MULTILINE)}
    assert set(subcommands.names()) - set(HELP) - {"claims"} <= {words[0] for words in shown} | named
    values = {word for words in typed() for word in words}
    learnt = {name for word in values if word.startswith("algorithm=") for name in word.partition("=")[2].split(",")}
    assert set(choices("algorithm")) <= learnt
    assert {"probe=matched", "probe=exact"} <= values


def test_the_readme_is_short_and_its_recipes_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    recipes = text.partition("## Five recipes")[2].partition("\n## ")[0]
    assert len(re.findall(r"^```bash$", recipes, re.MULTILINE)) == 5
    there = [words for block in blocks(ROOT / "README.md") if block.language == "bash" for words in commands(block)]
    assert ["python", "-m", "ablate", "-m", "phi=return,rtg,advantage", "seed=0-9"] in there
    for wanted in ("ablate report", "ablate plan", "probe=matched", "ablate exact", "ablate groups"):
        assert any(wanted in " ".join(words) for words in there), wanted
    for page in ("start", "reading", "concepts", "claims", "your_own", "reproducibility", "questions", "architecture"):
        assert f"(docs/{page}.md)" in text


# ------------------------------------------------------------------------------------------------ the tree of pages


def in_the_tree() -> list[str]:
    """The pages that the toctrees of the front page name, and the front page itself."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["index", *(line for tree in trees for line in tree.splitlines() if line and not line.startswith(":"))]


def test_the_tree_names_every_page_once_and_nothing_else() -> None:
    there = [path.relative_to(DOCS).with_suffix("").as_posix() for path in (*DOCS.rglob("*.md"), *NOTEBOOKS)]
    there = [name for name in there if not name.startswith("_build")]
    assert sorted(in_the_tree()) == sorted(there)


def test_what_builds_the_site_is_there() -> None:
    for name in BUILDS:
        assert (DOCS / name).is_file()
    assert {path.name for path in DOCS.iterdir() if path.suffix == ".py"} == {"conf.py"}


def sections(page: str) -> dict[str, str]:
    """A page's text by its headings of the second level."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_figure_has_a_picture_and_no_picture_is_left_over() -> None:
    from ablate.analysis.figures import HELP

    reading = (DOCS / "reading.md").read_text()
    for name in HELP:
        section = re.search(rf"^### [^\n]*\b{name}\b.*?(?=^### |\Z)", reading, re.MULTILINE | re.DOTALL)
        assert section
        assert re.search(rf"!\[[^\]]+\]\(figures/\w+_{name}\.svg\)", section[0]), name
    shown = {name for page in PAGES for name in re.findall(r"\(figures/([^)]+)\)", page.read_text())}
    kept = {path.name: path for path in (DOCS / "figures").iterdir()}
    assert shown == kept.keys()
    for name, path in kept.items():
        assert path.stat().st_size < 110_000, name  # survey draws 22 variants twice
    for name in re.findall(r"\(figures/([^)]+)\)", (DOCS / "lecture.md").read_text()):
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', kept[name].read_text())
        assert box
        assert float(box[2]) / float(box[1]) == pytest.approx(9 / 16), f"{name} is no slide"


def test_each_slide_has_a_command_a_figure_and_numbers(generated) -> None:
    asked = []
    for page, pictures in (("lecture.md", r"!\[[^\]]+\]\(figures/\w+\.svg\)"), ("left_out.md", "")):
        for head, text in sections(page).items():
            assert re.search(r"^(\$ |python -m )?(python -m )?ablate |^\$ python -m ", text, re.MULTILINE), head
            assert re.search(pictures, text), head
            asked += re.findall(r"^```\{generated\} expected\.([\w-]+)$", text, re.MULTILINE)
            assert len(asked) == len(set(asked))
        assert len(asked) >= len(sections(page))
    assert set(asked) == generated.lecture.EXPECTED.keys()


def test_numbers_to_expect_are_the_exact_ones(generated) -> None:
    """Worked by hand: rewards that are 0 and 1, two arms at 0.9 and 0.1, the closed form of the corridor."""
    expected = generated.lecture.expected
    assert "with return | 0.118 |" in expected("cost-then-prize")
    assert "with reward-to-go | 53.1 |" in expected("cost-then-prize")
    assert "with reward-to-go | 0.0018 |" in expected("sure-bandit")  # 2 * 0.1^2 * 0.9 * 0.1, about its mean
    assert "$\\sum_\\tau P(\\tau)$ | 1 |" in expected("facts")
    assert expected("facts").count("0, but for rounding") == 2
    assert "| 0.585786, -11.6569 |" in expected("preliminaries")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Those to files and headings; those to the web are only looked at."""
    import generated

    plain = re.sub(r"^```(?!\{generated).*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(re.sub(r"`[^`\n]+`", "", generated.filled(plain))):
        path, _, anchor = target.partition("#")
        if target.startswith(("https://", "http://")):
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        assert found.is_relative_to(ROOT)
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{page.name}: {target}"


# ------------------------------------------------------------------------------------------------ what has a place


def test_every_setting_is_documented(generated) -> None:
    """With its default and what it means; what a yaml builds an object of is no setting."""
    page = generated.filled((DOCS / "reference/configuration.md").read_text())
    rows = dict(re.findall(r"^\| `([\w.]+)=[^`]*` \| (.*) \|$", page, re.MULTILINE))
    for name in set(settings()) - {"evaluate", "dask"} - set(generated.configuration.built()):
        assert re.sub(r";? ?\*[^*]*\*$", "", rows.get(name, "")).strip(), f"{name} has no remark behind it in conf/"
    environments = (DOCS / "environments.md").read_text()
    assert all(f"`{choice}`" in environments for choice in choices("env"))
    for group in ("phi", "baseline", "env", "algorithm", "probe", "study", "advantage", "aggregation"):
        for choice in choices(group):
            assert f"`{group}={choice}`" in page


def test_every_column_is_documented(generated) -> None:
    from ablate.analysis.columns import MEANINGS

    page = generated.filled((DOCS / "reference/columns.md").read_text())
    for name in (*store.CURVES, *store.PROBE, *MEANINGS, *store.FIELDS):
        assert name in page
    for choice in choices("algorithm"):
        node = yaml.safe_load((generated.configuration.CONF / "algorithm" / f"{choice}.yaml").read_text())
        for name in node["about"].get("columns", {}):
            assert f"| `{choice}` | `{name}` |" in page


def test_every_measure_of_the_probe_is_explained() -> None:
    """In words and an equation, not only in the list of columns."""
    text = (DOCS / "measures.md").read_text()
    facts = {"iteration", "mode", "phi", "baseline", "critic", "return_mean", "J", "episodes", "batch"}
    for name in set(store.PROBE) - facts:
        assert f"`{name}`" in text, name


def test_every_field_of_signals_is_documented(generated) -> None:
    page = generated.filled((DOCS / "your_own_more.md").read_text())
    for name in {*Signals.__dataclass_fields__, "log_probs"} - {"log_prob"}:  # which computes it
        assert f"| `{name}` |" in page, name


def test_every_claim_is_documented_with_the_verdict_that_is_kept(generated) -> None:
    from ablate.analysis.verdicts.claim import STUDIES, claims

    page = generated.filled((DOCS / "claims.md").read_text())
    kept = json.loads((ROOT / "outputs" / STUDIES["full"] / "claims.json").read_text())["claims"]
    verdicts = {record["claim"]: record["verdict"] for record in kept}
    lecture = (DOCS / "lecture.md").read_text()
    for claim in claims():
        section = page.partition(f"({claim.id.lower()})=\n")[2].partition("\n(c")[0]
        assert claim.equation in section
        said = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
        assert said == ([verdicts[claim.id]] if claim.id in verdicts else [])
        assert f"(claims.md#{claim.id.lower()})" in lecture, "the slide that makes it has a link to it"


def test_every_module_of_the_reference_is_there_and_has_docstrings(generated) -> None:
    text = generated.python.api()
    for name in (
        "ablate.phi.reward_to_go",
        "ablate.baselines.optimal",
        "ablate.phi.Signals",
        "ablate.analysis.frames.load",
    ):
        assert f"### {name}\n" in text


def defined(path: Path) -> dict[str, Any]:
    """What a notebook's cells define."""
    names: dict[str, Any] = {}
    for cell in notebook(path):
        exec(compile(cell.text, path.name, "exec"), names)
    return names


def test_exercises_are_left_to_be_written_and_their_solutions_are_right() -> None:
    from ablate import exercises

    solved = defined(DOCS / "notebooks/solutions.ipynb")
    for name in EXERCISES:
        check = getattr(exercises, name)
        assert check(solved[name]).right
        assert check(defined(DOCS / f"notebooks/exercises/{name}.ipynb")[name]).words.startswith("Not written yet")


def test_notebooks_are_plain() -> None:
    """Without outputs, which the build makes; each has something to run."""
    others = {"first_study", "your_own_estimator", "exact_noise", "solutions"}
    assert {path.stem for path in NOTEBOOKS} == {*EXERCISES, *others}
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        assert any(notebook(path))
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
