"""A report in a real browser: what is seen at first, what is asked of its figures and tables, and what is printed."""

import base64
import json
import re
from pathlib import Path

import pytest
from chromium import SIZES, Chromium, executable
from reports import cell, climb, finish, many

from ablate.analysis.report import write

pytestmark = pytest.mark.skipif(
    executable() is None, reason="no Chromium on PATH; install one, or set ABLATE_CHROMIUM to where it is"
)


def shown(browser: Chromium, path: Path, scheme: str = "light") -> None:
    browser.open(path, *SIZES["desk"], scheme)


@pytest.fixture(scope="module")
def report_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("two")
    for phi, top in (("rtg", 100), ("return", 20)):
        made = cell(outputs, "two", f"phi={phi}")
        for seed in range(6):
            finish(made, seed, climb(top, seed), 10.0 + seed)
    return write(outputs, "two", None)


@pytest.mark.parametrize(("size", "most"), [("desk", 450), ("phone", 600)])
def test_learning_and_noise_are_seen_before_anything_is_scrolled(
    browser: Chromium, report_of_two: Path, size: str, most: int
) -> None:
    browser.open(report_of_two, *SIZES[size], "light")
    tops = browser.run(
        "[...document.querySelectorAll('.glance svg')].filter((e) => e.checkVisibility())"
        ".map((e) => e.getBoundingClientRect().top)"
    )
    assert len(tops) == 2
    assert tops[0] < most
    if size == "desk":
        assert browser.run("document.querySelector('.numbers').getBoundingClientRect().bottom") < SIZES[size][1]


def test_a_click_on_a_variant_hides_it_in_every_chart(browser: Chromium, report_of_two: Path) -> None:
    """And a second one shows it again; a double click shows it alone. The keyboard does the same."""
    shown(browser, report_of_two)
    seen = """(name) => [...document.querySelectorAll("svg")].filter((svg) =>
        [...svg.querySelectorAll("[data-variant]")].some((e) =>
          e.dataset.variant === name && e.getClientRects().length)).length"""
    before = {name: browser.run(f"({seen})({json.dumps(name)})") for name in ("return", "reward-to-go")}
    assert min(before.values()) >= 2
    assert browser.run("[...document.querySelectorAll('.variants button')].map((e) => e.textContent)") == [*before]
    browser.click(".variants button:nth-child(1)")
    assert browser.run(f"({seen})('return')") == 0
    assert browser.run(f"({seen})('reward-to-go')") == before["reward-to-go"]
    assert browser.run("document.querySelector('.variants button').getAttribute('aria-pressed')") == "false"
    browser.run("document.querySelector('.variants button').focus()")
    browser.press("Enter")
    assert browser.run(f"({seen})('return')") == before["return"]
    browser.run("document.querySelector('.variants button').dispatchEvent(new MouseEvent('dblclick'))")
    assert (browser.run(f"({seen})('return')"), browser.run(f"({seen})('reward-to-go')")) == (before["return"], 0)


def test_a_printed_report_has_four_pages_at_most(browser: Chromium, report_of_two: Path) -> None:
    shown(browser, report_of_two, scheme="dark")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    unwanted = ("nav", ".tools", ".variants", "details:not([open])", "th.lesser")
    for selector in unwanted:
        assert browser.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()") is False, selector
    browser.call("Emulation.setEmulatedMedia", media="")
    pdf = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4


def tip(browser: Chromium) -> list[str]:
    """What is said of the place that is pointed at."""
    script = "[...document.querySelectorAll('.tip:not([hidden]) > *')].map((e) => e.textContent)"
    return browser.run(script)


def pointed(browser: Chromium, selector: str, across: float, down: float) -> None:
    """Move the pointer to a share of the width and height of the first element of a selector."""
    x, y = browser.run(
        f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center', "
        f"behavior: 'instant'}}); const r = e.getBoundingClientRect(); "
        f"return [r.x + {across} * r.width, r.y + {down} * r.height]; }})()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def readings(browser: Chromium, selector: str) -> list[dict]:
    return json.loads(browser.run(f"document.querySelector({json.dumps(selector)}).dataset.readings"))


def test_what_is_under_the_pointer_is_said_in_numbers(browser: Chromium, report_of_two: Path) -> None:
    """In the middle of the plot, each variant that is shown, with its interval; beside it nothing."""
    shown(browser, report_of_two)
    (panel,) = readings(browser, ".views .picture")
    height = browser.run("document.querySelector('.views svg').viewBox.baseVal.height")
    wide = browser.run("document.querySelector('.views svg').viewBox.baseVal.width")
    left, top, right, bottom = panel["box"]
    middle = (left + right) / 2 / wide, (top + bottom) / 2 / height
    pointed(browser, ".views svg", *middle)
    head, *said = tip(browser)
    assert head.endswith(panel["x"])
    assert [text.partition(":")[0] for text in said] == ["reward-to-go", "return"]  # the higher one first
    near = min(panel["series"]["reward-to-go"], key=lambda point: abs(point[0] - (left + right) / 2))
    value, low, high = (float(text) for text in re.findall(r"[\d.]+", said[0].partition(":")[2]))
    assert [value, low, high] == pytest.approx(near[3:], rel=1e-3)
    assert low <= value <= high
    browser.click(".variants button:nth-child(1)")
    pointed(browser, ".views svg", *middle)
    assert [text.partition(":")[0] for text in tip(browser)[1:]] == ["reward-to-go"]
    pointed(browser, "h1", 0.5, 0.5)
    assert tip(browser) == []


def test_the_arrow_keys_read_a_figure(browser: Chromium, report_of_two: Path) -> None:
    shown(browser, report_of_two)
    browser.run("document.querySelector('.views .scroll').focus()")
    browser.press("ArrowRight")
    first = tip(browser)
    browser.press("End")
    last = tip(browser)
    assert first[0] != last[0]
    assert [text.partition(":")[0] for text in last[1:]] == ["reward-to-go", "return"]
    browser.press("Tab")
    assert tip(browser) == []


def test_one_axis_is_seen_at_a_time_and_each_seed_or_the_band(browser: Chromium, report_of_two: Path) -> None:
    shown(browser, report_of_two)
    visible = (
        "[...document.querySelectorAll('.views > div')].filter((e) => e.checkVisibility()).map((e) => e.dataset.name)"
    )
    assert browser.run(visible) == ["env steps"]
    assert browser.run("document.querySelector('.views + .tools').textContent").startswith("env steps")
    browser.click(".views + .tools button:nth-child(2)")
    assert browser.run(visible) == ["iterations"]
    drawn = """(kind) => [...document.querySelectorAll(`.views > div:not([hidden]) [data-kind=${kind}]`)]
        .filter((e) => getComputedStyle(e).display !== "none").length"""
    assert browser.run(f"({drawn})('seed')") == 0
    bands = browser.run(f"({drawn})('interval')")
    assert bands == 2
    browser.click(".views + .tools button:last-child")
    assert browser.run(f"({drawn})('seed')") == 12  # two variants of six seeds
    assert browser.run(f"({drawn})('interval')") == 0


def test_a_figure_can_be_seen_larger_and_put_back(browser: Chromium, report_of_two: Path) -> None:
    shown(browser, report_of_two)
    order = "[...document.querySelectorAll('main svg')].map((e) => e.ariaLabel)"
    before, width = browser.run(order), "document.querySelector('figure:has(svg) svg').getBoundingClientRect().width"
    small = browser.run(width)
    browser.click("figure .tools button")
    assert browser.run("document.querySelector('dialog').open")
    assert browser.run("document.querySelector('dialog svg').getBoundingClientRect().width") > small
    browser.click("dialog > button")
    browser.until("!document.querySelector('dialog')")
    assert browser.run(order) == before
    assert browser.run("document.activeElement.textContent") == "larger"


def test_a_table_shows_its_foremost_columns_and_a_button_the_rest(browser: Chromium, report_of_two: Path) -> None:
    shown(browser, report_of_two)
    heads = "[...document.querySelectorAll('#side_by_side ~ .scroll th[scope=col]')]"
    head = f"{heads}.filter((e) => e.checkVisibility()).length"
    few = browser.run(head)
    assert 3 <= few <= 7
    browser.click("#side_by_side ~ .tools button")
    assert browser.run(head) > few
    browser.click("#side_by_side ~ .tools button")
    assert browser.run(head) == few


@pytest.fixture(scope="module")
def report_of_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 40 cells; cell k ends at k and has the step size k / 1000."""
    outputs = tmp_path_factory.mktemp("many")
    many(outputs, "many", 40)
    return write(outputs, "many", None)


def test_the_rows_of_a_long_table_are_searched(browser: Chromium, report_of_many: Path) -> None:
    shown(browser, report_of_many)
    rows = "[...document.querySelectorAll('#side_by_side ~ .scroll tbody tr')].filter((e) => e.checkVisibility())"
    assert browser.run(f"{rows}.length") == 40
    find = "document.querySelector('#side_by_side ~ .tools input')"
    for words, left in (("lr=0.03 GO", 10), ("lr=0.04", 1), ("nothing", 0), ("", 40)):
        browser.run(f"{find}.value = {json.dumps(words)}; {find}.dispatchEvent(new Event('input'))")
        assert browser.run(f"{rows}.length") == left
        count = browser.run(f"{find}.parentElement.querySelector('[role=status]').textContent")
        assert count == (f"{left} of 40" if words else "")
    assert browser.run("document.querySelectorAll('#configurations ~ details:not(.legend)').length") == 40


def test_the_rows_of_a_long_table_are_gathered_sorted_and_searched(browser: Chromium, tmp_path: Path) -> None:
    """Of 30 cells, 10 step sizes of three estimators, whose first two are of one Phi: groups of ten in either case."""
    for phi in ("rtg", "return", "q"):
        many(tmp_path, "three", 10, f"phi={phi}")
    shown(browser, write(tmp_path, "three", None))
    table = "document.querySelector('#side_by_side ~ .scroll table')"
    heads = f"[...{table}.querySelectorAll('.group')].filter((e) => e.checkVisibility()).map((e) => e.textContent)"
    first = f"[...{table}.tBodies].map((body) => body.rows[1].children[0].textContent)"
    choose = "document.querySelector('#side_by_side ~ .tools select')"
    assert browser.run(f"[...{choose}.options].map((e) => e.text)") == ["no groups", "by variant", "by optimizer.lr"]
    pick = f"{choose}.selectedIndex = %d; {choose}.dispatchEvent(new Event('change'))"
    browser.run(pick % 1)
    assert browser.run(heads) == [f"{name}: 10 rows" for name in ("return", "reward-to-go", "Q")]
    final = f"[...{table}.querySelectorAll('thead button')].find((e) => e.textContent === 'final return')"
    browser.run(f"{final}.click()")
    assert browser.run(first) == [f"{name} (optimizer.lr=0.001)" for name in ("return", "reward-to-go", "Q")]
    browser.run(f"{final}.click()")
    assert browser.run(first) == [f"{name} (optimizer.lr=0.01)" for name in ("return", "reward-to-go", "Q")]
    for descending in (False, True):
        browser.run(f"{table}.querySelector('thead button').click()")
        best = "0.01" if descending else "0.001"  # by size, not as 9 and 01
        assert browser.run(first) == [f"{name} (optimizer.lr={best})" for name in ("return", "reward-to-go", "Q")]
    rows = f"[...{table}.querySelectorAll('tbody tr:not(.group)')].filter((e) => e.checkVisibility()).length"
    browser.run(f"{table}.querySelector('.group button').click()")
    assert browser.run(rows) == 20
    find = "document.querySelector('#side_by_side ~ .tools input')"
    browser.run(f"{find}.value = 'Q'; {find}.dispatchEvent(new Event('input'))")
    assert browser.run(heads) == ["Q: 10 rows"]
    browser.run(f"{find}.value = ''; {find}.dispatchEvent(new Event('input'))")
    browser.run(pick % 0)
    assert (browser.run(heads), browser.run(rows)) == ([], 30)


def test_of_many_cells_fifteen_are_printed_and_what_was_searched_is_printed_whole(
    browser: Chromium, report_of_many: Path
) -> None:
    shown(browser, report_of_many)
    browser.call("Emulation.setEmulatedMedia", media="print")
    rows = (
        "[...document.querySelectorAll('#side_by_side ~ .scroll tbody tr')].filter((e) => e.checkVisibility()).length"
    )
    words = "document.querySelector('#side_by_side ~ .scroll .excerpt').checkVisibility()"
    assert (browser.run(rows), browser.run(words)) == (15, True)
    find = "document.querySelector('#side_by_side ~ .tools input')"
    browser.run(f"{find}.value = 'lr'; {find}.dispatchEvent(new Event('input'))")
    assert (browser.run(rows), browser.run(words)) == (40, False)
    browser.run(f"{find}.value = ''; {find}.dispatchEvent(new Event('input'))")
    browser.call("Emulation.setEmulatedMedia", media="")
    pdf = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 6
