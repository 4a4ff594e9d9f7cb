"""Figures and formulas as `<svg>` elements of a page: without what it does not need, in the colours around them.

drawn(figure), typeset(tex)         the bytes of an SVG
inline(svg, prefix, alternative)    the element, its ids with the prefix, so that many stand on one page
"""

import io
import itertools
import re
import xml.etree.ElementTree as ET
from functools import cache
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image

from .plots.data import kind_and_series

SVG_SETTINGS: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": "ablate"}


VARIANT = "variant~"  # begins the id of what is drawn of one variant


def _name(figure: Figure) -> None:
    """Say of each line, band and name which variant it is of, and what of it, for the page's script to hide it or set
    it off."""
    places = itertools.count()
    for axes in figure.axes:
        artists = [(artist, *kind_and_series(artist.get_label())) for artist in (*axes.lines, *axes.collections)]
        names = {label for _, kind, label in artists if kind == "value"}
        for artist, kind, label in (*artists, *((text, "name", text.get_text()) for text in axes.texts)):
            if label in names:
                artist.set_gid(f"{VARIANT}{next(places)}~{kind}~{label}")


def drawn(figure: Figure, of_variants: bool = True) -> bytes:
    """A figure as an SVG, its letters as shapes; what is drawn of a variant is named by it, if anything is."""
    if of_variants:
        _name(figure)
    buffer = io.BytesIO()
    with matplotlib.rc_context(SVG_SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@cache
def typeset(tex: str) -> bytes:
    """Raises ValueError where matplotlib cannot read it."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(SVG_SETTINGS):
        font = FontProperties(math_fontfamily="cm", size=13)
        math_to_image(f"${tex}$", buffer, prop=font, format="svg", color="black")
    return buffer.getvalue()


def inline(svg: bytes, prefix: str, alternative: str) -> str:
    """Strip what a page does not need, make ids unique, and let colours follow the page's scheme."""
    root = ET.fromstring(svg)  # comments, which repeat every text, are dropped here
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({name: _attribute(name, value, prefix) for name, value in attributes.items()})
        if attributes.get("id", "").startswith(VARIANT):
            _, _, element.attrib["data-kind"], element.attrib["data-variant"] = element.attrib.pop("id").split("~", 3)
    root.attrib.pop("version", None)
    # black is what SVG fills with by default, so matplotlib leaves it out
    root.attrib |= {"role": "img", "aria-label": alternative, "fill": "currentColor"}
    root.attrib["style"] = f"--natural:{root.attrib.pop('width')}"
    del root.attrib["height"]
    return ET.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "d":  # a hundredth of a point is finer than any screen
        return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
    if name == "href":
        return value.replace("#", "#" + prefix, 1) if value.startswith("#") else value
    value = value.replace("url(#", f"url(#{prefix}")
    return re.sub(r"#[0-9a-f]{6}\b", _colour, value) if name == "style" else value


def _colour(match: re.Match[str]) -> str:
    """Greys become a mix of the page's ink and paper; colours stay, and are lifted a little on dark paper."""
    text = match[0]
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    if red == green == blue:
        return f"color-mix(in srgb,var(--ink) {100 * (1 - red / 255):.3g}%,var(--paper))"
    return f"light-dark({text},color-mix(in oklab,{text} 78%,white))"
