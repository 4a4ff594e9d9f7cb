"""The pages in a real browser: Chromium without a window, on a phone and on a desk, in light and in dark."""

import json
from pathlib import Path

import pytest
from chromium import SIZES, Chromium, executable
from pages import HOSTILE, sample
from reports import cell, climb, finish

from ablate.analysis.html_page import render
from ablate.analysis.report import write

pytestmark = pytest.mark.skipif(
    executable() is None, reason="no Chromium on PATH; install one, or set ABLATE_CHROMIUM to where it is"
)
SCHEMES = ("light", "dark")

STICKING_OUT = """
[...document.body.querySelectorAll("*")].filter((e) => {
  if (e.closest("svg") && e.tagName !== "svg") return false;
  const box = e.getBoundingClientRect();
  const inside = e.parentElement.closest(".scroll");
  return box.width > 0 && !inside && !e.matches(".skip") && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)
"""
SPILLING = """
[...document.querySelectorAll(".scroll")].filter((e) =>
  e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "auto").map((e) => e.outerHTML.slice(0, 80))
"""
# WCAG 2: (L1 + 0.05) / (L2 + 0.05) of relative luminances; a canvas turns any colour of CSS into red, green, blue.
CONTRAST = """
(() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  const rgb = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = rgb(colour).map((x) => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return rgb(colour)[3] === 0 ? behind(e.parentElement) : colour;
  };
  const ratio = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const hasWords = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const words = [...document.body.querySelectorAll("*")].filter(hasWords);
  const drawn = [...document.querySelectorAll("svg [id*=text_] > g")];
  return [...words.map((e) => [ratio(getComputedStyle(e).color, behind(e)), e.textContent.slice(0, 40)]),
          ...drawn.map((e) => [ratio(getComputedStyle(e).fill, behind(e)), `drawn ${e.parentElement.id}`])];
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(sample()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose variants have hostile names, and one of whose runs has failed."""
    outputs = tmp_path_factory.mktemp("outputs")
    for phi, top in (("rtg", 100), ("return", 60)):
        made = cell(outputs, "hostile", f"phi={phi}", label=f"{HOSTILE[:40]} {phi}")
        for seed in range(4):
            finish(made, seed, climb(top, seed), 2.0 + seed)
        made.fail(9, f"ValueError: {HOSTILE}")
    return write(outputs, "hostile", None)


def shown(browser: Chromium, path: Path, size: str = "desk", scheme: str = "light") -> None:
    browser.open(path, *SIZES[size], scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", ["page", "study"])
def test_a_page_is_whole_at_every_size_and_scheme(
    browser: Chromium, which: str, size: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    page: Path = request.getfixturevalue(which)
    browser.open(page, *SIZES[size], scheme)
    assert browser.run("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    assert browser.run("innerWidth") == SIZES[size][0]
    assert browser.run("document.scrollingElement.scrollWidth <= innerWidth")
    assert browser.run(STICKING_OUT) == []
    assert browser.run(SPILLING) == []
    nameless = "[...document.querySelectorAll('svg, img')].filter((e) => !(e.ariaLabel ?? e.alt ?? '').trim()).length"
    assert browser.run(nameless) == 0
    assert browser.run("document.querySelectorAll('figure svg[role=img]').length") > 0
    faint = [(ratio, what) for ratio, what in browser.run(CONTRAST) if ratio < 4.5]
    assert not faint, faint
    # to the end, unfolded and sorted: whatever is loaded or said late shows now
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.run("document.querySelectorAll('details').forEach((e) => e.open = true)")
    browser.run("document.querySelectorAll('thead button').forEach((e) => e.click())")
    assert browser.run("document.scrollingElement.scrollWidth <= innerWidth")
    assert browser.run(STICKING_OUT) == []
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert asked, "the page itself was asked for"
    assert [url for url in asked if url != page.as_uri() and not url.startswith("data:")] == []
    said = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
    assert [event for event in browser.events if event["method"] in said] == []


def test_the_checks_of_this_file_see_what_they_look_for(browser: Chromium, tmp_path: Path) -> None:
    """A page that does everything wrong, so that the test above is known to be able to fail."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><meta charset=utf-8><body style='background:#fff'><p style='width:2000px;color:#999'>faint</p>"
        "<img src='http://127.0.0.1:9/nothing.png'><script>console.log('said'); missing()</script>"
    )
    shown(browser, path)
    assert browser.run("document.scrollingElement.scrollWidth > innerWidth")
    assert len(browser.run(STICKING_OUT)) == 1
    assert [what for ratio, what in browser.run(CONTRAST) if ratio < 4.5] == ["faint"]
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert "http://127.0.0.1:9/nothing.png" in asked
    assert {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"} <= {event["method"] for event in browser.events}


def test_hostile_names_are_shown_as_text(browser: Chromium, page: Path) -> None:
    shown(browser, page)
    assert browser.run("document.title") == f"Study {HOSTILE}"
    assert browser.run("document.querySelector('h1').textContent") == f"Study {HOSTILE}"
    assert HOSTILE in browser.run("[...document.querySelectorAll('tbody th')].map((e) => e.textContent)")
    assert browser.run("document.querySelector('figure svg').ariaLabel") == f"A line, named {HOSTILE}"
    assert browser.run("document.scripts.length") == 1
    assert browser.run("document.images.length") == 0


def test_the_report_of_a_hostile_study_shows_its_names(browser: Chromium, study: Path) -> None:
    shown(browser, study)
    names = browser.run("[...document.querySelectorAll('tbody th')].map((e) => e.textContent)")
    assert {f"{HOSTILE[:40]} {phi}" for phi in ("rtg", "return")} <= set(names)
    assert HOSTILE in browser.run("document.querySelector('#runs').parentElement.textContent")
    assert browser.run("document.scripts.length + document.images.length") == 1
    browser.click("#stability ~ .scroll thead th:nth-child(3) button")
    values = browser.run(
        "[...document.querySelectorAll('#stability ~ .scroll tbody td:nth-child(3)')].map((e) => +e.dataset.sort)"
    )
    assert len(values) == 2
    assert values == sorted(values)


def test_a_script_that_slipped_in_would_not_run(browser: Chromium, page: Path, tmp_path: Path) -> None:
    slipped = tmp_path / "slipped.html"
    html = page.read_text(encoding="utf-8")
    slipped.write_text(html.replace("</main>", "<script>document.title = 'taken'</script></main>"), encoding="utf-8")
    shown(browser, slipped)
    assert browser.run("document.title") == f"Study {HOSTILE}"


def column(browser: Chromium, place: int) -> list[str]:
    return browser.run(f"[...document.querySelectorAll('tbody tr')].map((r) => r.children[{place}].dataset.sort)")


def order(browser: Chromium) -> list[str | None]:
    return browser.run("[...document.querySelectorAll('thead th')].map((e) => e.getAttribute('aria-sort')).slice(0, 4)")


def test_a_click_sorts_and_another_one_turns_the_order_round(browser: Chromium, page: Path) -> None:
    shown(browser, page)
    assert order(browser) == [None] * 4
    browser.click("thead th:nth-child(2) button")
    assert column(browser, 1) == ["-12.0", "164.3", "487.4", "500.0", ""]  # what is missing is no 0, and comes last
    browser.click("thead th:nth-child(3) button")
    assert column(browser, 2) == ["-4000000000.0", "1.2e-05", "9.13", "13.5", "Infinity"]
    assert order(browser) == [None, None, "ascending", None]
    browser.click("thead th:nth-child(3) button")
    assert column(browser, 2) == ["Infinity", "13.5", "9.13", "1.2e-05", "-4000000000.0"]
    assert order(browser) == [None, None, "descending", None]
    browser.click("thead th:nth-child(2) button")
    assert column(browser, 1) == ["-12.0", "164.3", "487.4", "500.0", ""]
    browser.click("thead th:nth-child(2) button")
    assert column(browser, 1) == ["500.0", "487.4", "164.3", "-12.0", ""]
    assert order(browser) == [None, "descending", None, None]


def test_the_keyboard_reaches_the_headings_and_sorts(browser: Chromium, page: Path) -> None:
    shown(browser, page)
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().top >= 0")  # seen as soon as it has the focus
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "content"
    for _ in range(20):
        browser.press("Tab")
        if browser.run("document.activeElement.matches('thead th:first-child button')"):
            break
    assert browser.run("document.activeElement.textContent") == "variant"
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    words = column(browser, 0)
    assert words == sorted(words, key=str.lower)
    browser.press(" ")
    assert column(browser, 0) == words[::-1]
    assert order(browser) == ["descending", None, None, None]
    browser.press("Tab")
    browser.press(" ")
    assert column(browser, 1) == ["-12.0", "164.3", "487.4", "500.0", ""]
    assert browser.run("document.activeElement.textContent") == "final return"  # the focus stays where it was


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_can_be_changed_by_hand(browser: Chromium, page: Path, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    browser.open(page, *SIZES["phone"], scheme)
    browser.run("localStorage.clear()")
    browser.open(page, *SIZES["phone"], scheme)
    before = browser.run("getComputedStyle(document.body).backgroundColor")
    assert browser.run("document.querySelector('#theme').textContent") == other.capitalize()
    browser.click("#theme")
    after = browser.run("getComputedStyle(document.body).backgroundColor")
    assert after != before
    browser.open(page, *SIZES["phone"], other)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == after
    browser.run("localStorage.clear()")


def test_a_command_is_copied_whole(browser: Chromium, page: Path) -> None:
    shown(browser, page)
    browser.click(".copy")
    until = "new Promise((r) => setTimeout(() => r(document.querySelector('.copy').textContent), 100))"
    said = browser.run(until)
    text = browser.run("document.querySelector('.code code').textContent")
    assert said in ("Copied", "Selected")
    if said == "Selected":
        assert browser.run("getSelection().toString()").split() == text.split()
    assert HOSTILE in text
    assert browser.run(f"document.querySelector('.code code').textContent === {json.dumps(text)}")
