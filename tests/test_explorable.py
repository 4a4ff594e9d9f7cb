"""Cost, then prize, to play with: what its script computes is what `ablate.exact` computes, and its sliders work."""

from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium, executable
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.analysis.html_page import TEMPLATES, Explorable, Group, Page, Section, render
from ablate.analysis.verdicts.claim import claims
from ablate.analysis.verdicts.variances import prize, truth

in_a_browser = pytest.mark.skipif(
    executable() is None, reason="no Chromium on PATH; install one, or set ABLATE_CHROMIUM to where it is"
)
ALONE = TEMPLATES / "cost_then_prize.html"
EXACT = {
    "return": ("return", "none", "none"),
    "reward-to-go": ("rtg", "none", "none"),
    "reward-to-go − per-step mean": ("rtg", "time", "none"),
    "reward-to-go − V": ("rtg", "value", "exact"),
}
SHOWN = """Object.fromEntries([...document.querySelector(".bars").querySelectorAll("dt")].map((e) =>
  [e.textContent, Number(e.nextElementSibling.dataset.variance)]))"""
TROUBLE = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


@pytest.fixture(scope="module")
def opened(browser: Chromium) -> Chromium:
    browser.open(ALONE, 1000, 700, "light")
    return browser


@pytest.fixture(params=["alone", "in a page"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Its own file, and a page that has it twice."""
    if request.param == "alone":
        return ALONE
    path = tmp_path / "page.html"
    block = Explorable("cost_then_prize")
    path.write_text(render(Page("t", [], [Section("s", "s", [Group("g", [block]), block])])), encoding="utf-8")
    return path


def exactly(cost: float, gain: float, chance: float) -> dict[str, float]:
    """Where action 1, whose logit is 0, has this chance."""
    known = truth(prize(cost, gain, float(np.log((1 - chance) / chance))))
    return {name: known.moments(*variant, episodes=16).trace_variance for name, variant in EXACT.items()}


@in_a_browser
@settings(max_examples=25)
@given(st.floats(0, 20), st.floats(0, 20), st.floats(0.05, 0.95))
def test_the_formulas_are_those_of_the_exact_values(opened: Chromium, cost: float, gain: float, chance: float) -> None:
    found = opened.run(f"document.querySelector('.cost-then-prize').variances({cost!r}, {gain!r}, {chance!r})")
    assert found == pytest.approx(exactly(cost, gain, chance), rel=1e-9, abs=1e-9)


@in_a_browser
def test_the_sliders_move_by_keyboard_and_what_is_shown_follows(browser: Chromium, page: Path) -> None:
    browser.open(page, 375, 812, "dark")
    said = "document.querySelector('.sentence').textContent"
    assert browser.run(SHOWN) == pytest.approx(exactly(10, 10, 0.3775))
    assert "450 times as noisy as the return" in browser.run(said)
    assert "0.118" in browser.run("document.querySelector('.bars').textContent")  # the numbers of claim C4
    browser.run("document.querySelector('input[name=prize]').focus()")
    browser.press("ArrowRight")
    assert browser.run(SHOWN) == pytest.approx(exactly(10, 10.5, 0.3775))
    assert browser.run("document.querySelector('[data-reward=\"11\"]').textContent") == "action 1: +11.5"
    browser.run("document.querySelector('input[name=cost]').focus()")
    browser.press("End")
    browser.run("document.querySelector('input[name=prize]').focus()")
    browser.press("Home")
    assert browser.run(SHOWN) == pytest.approx(exactly(20, 0, 0.3775))
    assert "less noisy one here" in browser.run(said)
    assert browser.run("document.scrollingElement.scrollWidth <= innerWidth")
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith((page.as_uri(), "data:"))] == []
    assert [event for event in browser.events if event["method"] in TROUBLE] == []


def test_each_claim_has_plain_words_and_a_reason_of_two_lines_and_one_of_them_is_played_with() -> None:
    for claim in claims():
        assert 10 < len(claim.claim) < 90, claim.id
        assert 40 < len(claim.why) < 290, claim.id
    assert [claim.id for claim in claims() if claim.explorable] == ["C4"]
