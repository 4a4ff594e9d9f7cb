"""The pages as axe-core judges them, where it is installed: `npm install axe-core` beside the tests, or its axe.min.js
named by ABLATE_AXE."""

import os
import shutil
from pathlib import Path

import pytest
from chromium import Chromium, executable
from pages import sample
from reports import cell, climb, finish

from ablate.analysis.html_page import TEMPLATES, render
from ablate.analysis.report import report, write

ROOT = Path(__file__).parents[1]
AXE = Path(os.environ.get("ABLATE_AXE") or ROOT / "node_modules/axe-core/axe.min.js")
pytestmark = [
    pytest.mark.skipif(executable() is None, reason="no Chromium on PATH; install one, or set ABLATE_CHROMIUM"),
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core; npm install axe-core, or set ABLATE_AXE to axe.min.js"),
]
VIOLATIONS = """axe.run().then((found) => found.violations.map((one) =>
  `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`))"""
UNFOLDED = """document.querySelectorAll("details").forEach((e) => { e.open = true; });
document.querySelectorAll(".tools button[aria-pressed]").forEach((e) => e.click());"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of every block, a report, the lecture's results, and what is played with."""
    folder = tmp_path_factory.mktemp("pages")
    for phi, top in (("rtg", 100), ("return", 20)):
        made = cell(folder, "two", f"phi={phi}")
        for seed in range(6):
            finish(made, seed, climb(top, seed), 10.0 + seed)
    shutil.copytree(ROOT / "outputs" / "lecture", folder / "lecture")
    for name, page in (("sample", sample()), ("lecture", report(folder, "lecture"))):
        (folder / f"{name}.html").write_text(render(page), encoding="utf-8")
    named = {name: folder / f"{name}.html" for name in ("sample", "lecture")}
    return named | {"report": write(folder, "two", None), "explorable": TEMPLATES / "cost_then_prize.html"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(375, 812), (1440, 900)])
@pytest.mark.parametrize("which", ["sample", "lecture", "report", "explorable"])
def test_axe_finds_no_violation(
    browser: Chromium, pages: dict[str, Path], which: str, size: tuple[int, int], scheme: str
) -> None:
    browser.open(pages[which], *size, scheme)
    browser.run(AXE.read_text(encoding="utf-8") + ";0")
    assert browser.run(VIOLATIONS) == []
    browser.run(UNFOLDED)
    assert browser.run(VIOLATIONS) == []


def test_axe_finds_what_is_wrong(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<!doctype html><meta charset=utf-8><img src='data:,'><button></button>", encoding="utf-8")
    browser.open(path, 375, 812, "light")
    browser.run(AXE.read_text(encoding="utf-8") + ";0")
    found = " ".join(browser.run(VIOLATIONS))
    assert "image-alt" in found
    assert "button-name" in found
