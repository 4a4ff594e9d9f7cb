"""The renderer: what is put in is what is read, and nothing else is in the page."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import HOSTILE, LONG, TEX, figure, frame, sample

from ablate.analysis.html_page import Code, Equation, Group, Page, Picture, Section, Table, Text, number, render

VOID = {"meta", "link", "br", "img", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    def all(self) -> Iterator["Element"]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all()

    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [e for e in self.all() if e.tag == tag and wanted.items() <= e.attributes.items()]


class Reader(HTMLParser):
    """The tree that HTML stands for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open = [Element("", {})]
        self.feed(html)
        self.close()
        assert len(self.open) == 1, f"not closed: {[e.tag for e in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute twice in {tag}"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"{tag} closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read(page: Page) -> Element:
    return Reader(render(page)).open[0]


def only(*blocks) -> Page:
    return Page("t", ["h"], [Section("s", "s", blocks)])


@pytest.fixture(scope="module")
def tree() -> Element:
    return read(sample())


def test_hostile_names_are_text_everywhere(tree: Element) -> None:
    assert tree.find("h1")[0].text() == f"Study {HOSTILE}"
    assert tree.find("title")[0].text() == f"Study {HOSTILE}"
    assert tree.find("h2", id="figures")[0].text() == HOSTILE
    assert tree.find("h3", id="part")[0].text() == HOSTILE
    assert tree.find("p", class_="note")[0].text() == HOSTILE
    assert HOSTILE in [cell.text() for cell in tree.find("th", scope="row")]
    assert HOSTILE in [code.text() for code in tree.find("code")]
    assert HOSTILE in [term.text() for term in tree.find("dt")]
    assert HOSTILE in [meaning.text() for meaning in tree.find("dd")]
    assert tree.find("svg")[0].attributes["aria-label"] == f"A line, named {HOSTILE}"
    assert len(tree.find("script")) == 1
    assert not tree.find("img")
    assert not [name for element in tree.all() for name in element.attributes if name.startswith("on")]


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_any_text_is_read_as_it_was_written(text: str) -> None:
    table = Table(pd.DataFrame({text or "x": [text]}), text)
    html = read(Page(text, [text], [Section(text, "s", [Text(text), Code(text), table, Group(text, [])])], byline=text))
    where = [("h1", 0), ("h2", 0), ("h3", 0), ("code", 0), ("caption", 0)]
    assert [html.find(tag)[place].text() for tag, place in where] == [text] * len(where)
    assert html.find("th", scope="row")[0].text().strip() == text.strip()
    assert html.find("th", scope="row")[0].attributes["data-sort"] == text
    assert text in [p.text() for p in html.find("section")[0].find("p")]


def test_the_page_needs_nothing_else(tree: Element) -> None:
    assert not [e for e in tree.all() if e.tag in ("iframe", "object", "embed", "base", "form")]
    for element in tree.all():
        for name in ("src", "href", "data", "action", "srcset", "poster"):
            target = element.attributes.get(name)
            assert target is None or target.startswith("#") or target == "data:,", (element.tag, target)
    assert "@import" not in (style := tree.find("style")[0].text())
    assert "url(" not in style
    policy = next(e.attributes["content"] for e in tree.find("meta") if "http-equiv" in e.attributes)
    assert "default-src 'none'" in str(policy)


def test_ids_are_unique_and_every_reference_has_its_target(tree: Element) -> None:
    ids = [e.attributes["id"] for e in tree.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in tree.all():
        wanted = re.findall(r"url\(#([^)]*)\)", " ".join(filter(None, element.attributes.values())))
        target = element.attributes.get("href") or ""
        wanted += [target[1:]] if target.startswith("#") else []
        wanted += (element.attributes.get("aria-labelledby") or "").split()
        assert set(wanted) <= set(ids), (element.tag, wanted)


def test_the_contents_lead_to_every_section_and_named_group(tree: Element) -> None:
    links = [a.attributes["href"] for a in tree.find("nav")[0].find("a")]
    assert links == ["#tables", "#figures", "#part", "#how", "#terms"]


def test_every_picture_and_equation_has_an_alternative_text(tree: Element) -> None:
    labels = [svg.attributes["aria-label"] for svg in tree.find("svg", role="img")]
    assert labels == [f"A line, named {HOSTILE}", "the same line", TEX]
    assert len(tree.find("svg")) == 3
    for nothing in ("", "  "):
        with pytest.raises(ValueError, match="alternative"):
            Picture(figure("x"), nothing)


def test_a_table_holds_the_frame(tree: Element) -> None:
    table = tree.find("table")[0]
    heads = [th.text() for th in table.find("th", scope="col")]
    assert heads[:6] == ["variant", "final return", "nsr", "seeds", "verdict", "see"]
    rows = [[cell for cell in row.children if isinstance(cell, Element)] for row in table.find("tbody")[0].find("tr")]
    assert [row[0].text() for row in rows] == list(frame()["variant"])
    finals = [re.sub(r"\s+", " ", row[1].text()) for row in rows[:3]]
    assert finals == ["–", "164.3 [106.5, 252.4]", "487.4 [454.1, 496.3]"]
    assert [row[2].text() for row in rows] == ["1.20×10⁻⁵", "∞", "9.13", "13.5", "−4.00×10⁹"]
    assert [row[2].attributes["data-sort"] for row in rows] == ["1.2e-05", "Infinity", "9.13", "13.5", "-4000000000.0"]
    assert rows[0][1].attributes["data-sort"] == ""
    assert [row[4].find("span")[0].attributes["class"] for row in rows[:4]] == [
        f"verdict {tone}" for tone in ("good", "bad", "mixed", "open")
    ]
    assert {row[5].find("a")[0].attributes["href"] for row in rows} == {"#part"}
    assert all("number" in (row[k].attributes.get("class") or "") for row in rows for k in (1, 2, 3))
    assert {dt.text() for dt in tree.find("details", class_="legend")[0].find("dt")} == {"nsr", "final return"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (7, "7"),
        (-1234567, "−1,234,567"),
        (np.int64(1000), "1,000"),
        (0.5, "0.5"),
        (0.123456, "0.1235"),
        (12.3456, "12.35"),
        (999.96, "1,000"),
        (1234.5678, "1,235"),
        (41523.2, "41,523"),
        (1e7, "10,000,000"),
        (1.23456e7 + 0.5, "1.23×10⁷"),
        (-1e10, "−1.00×10¹⁰"),
        (-0.00012345, "−1.23×10⁻⁴"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "–"),
        (None, "–"),
        (pd.NA, "–"),
        (True, "True"),
        ("return-to-go", "return-to-go"),
    ],
)
def test_numbers_are_set_as_in_a_paper(value: object, text: str) -> None:
    assert number(value) == text


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e300, 1e300))
def test_a_number_keeps_three_digits_of_its_value(value: float) -> None:
    text = number(value).replace("−", "-").replace(",", "")
    mantissa, _, power = text.partition("×10")
    read_back = float(f"{mantissa}e{power.translate(str.maketrans('⁻⁰¹²³⁴⁵⁶⁷⁸⁹', '-0123456789')) or 0}")
    assert read_back == pytest.approx(value, rel=5e-3)


def test_colours_follow_the_scheme_of_the_page() -> None:
    svg = read(only(Picture(figure("x"), "x"))).find("svg")[0]
    styles = " ".join(e.attributes.get("style") or "" for e in svg.all())
    assert "color-mix(in srgb,var(--ink) 0%,var(--paper))" in styles  # white
    assert "light-dark(#0173b2," in styles  # the line's own colour, untouched on light paper
    assert not re.search(r"(?:fill|stroke): *#", styles)


def test_the_same_page_gives_the_same_bytes() -> None:
    assert render(sample()) == render(sample())


def test_parts_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        render(Page("t", [], [Section("a", "x", []), Section("b", "x", [])]))
    with pytest.raises(ValueError, match="differ"):
        render(Page("t", [], [Section("a", "x", [Group("g", [], id="x")])]))


def test_an_equation_that_cannot_be_read_says_so() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        render(only(Equation(r"\nowhere")))


def test_an_empty_table_is_a_table() -> None:
    html = read(only(Table(pd.DataFrame({"a": [], "b": []}), "nothing")))
    assert [th.text() for th in html.find("th")] == ["a", "b"]
    assert html.find("tbody")[0].find("tr") == []
    assert LONG not in html.text()


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("CartPole-v1: three Phi", ["CartPole-v1"]),
        ("<b-c> & a-b-c", ["b-c", "a-b-c"]),
        (f"a-{'b' * 30}", []),
        ("none - here", []),
    ],
)
def test_short_names_with_a_hyphen_stay_in_one_line_of_a_title(title: str, kept: list[str]) -> None:
    tree = read(Page(title, [], []))
    (heading,) = tree.find("h1")
    assert heading.text() == title
    assert [span.text() for span in heading.find("span")] == kept
