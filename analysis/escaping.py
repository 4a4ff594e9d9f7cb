"""Text of a study's labels and names in each format that it is shown in: one function a format.

Labels are typed by people, and results may be another's: no text of theirs is markup, a formula, a link or an order to
a terminal.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import rich.markup

FORMULA = tuple("=+-@＝＋－＠")
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~$:@&])")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "∞": r"$\infty$"}
LATEX |= {"–": "--", "<": r"\textless{}", ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
LATEX |= {"|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}"}  # \\ takes [...] and *
LATEX |= {"×": r"$\times$", **{sign: f"$^{digit}$" for sign, digit in zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True)}}


def printable(text: str) -> str:
    """Without control characters, those that turn the direction of writing, and others that no page or terminal
    shows; line breaks stay."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\u00a0")


def page(text: str) -> str:
    """What HTML and SVG may hold: no control characters but the line break, no half of a pair."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs"))


def clean(node: Any) -> Any:
    """`printable` of every text in a configuration."""
    match node:
        case str():
            return printable(node)
        case Mapping():
            return {clean(key): clean(value) for key, value in node.items()}
        case list():
            return [clean(value) for value in node]
    return node


def csv(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = printable(value).replace("\n", " ")
    return f"'{text}" if text.lstrip().startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


def markdown(text: str) -> str:
    """A cell of a table of GitHub's Markdown: no markup, no HTML, no link."""
    plain = printable(text).replace("\n", " ")
    return re.sub(r"\bwww(?=\.)", "www\\\\", MARKDOWN.sub(r"\\\1", plain)).replace("<", "&lt;")


def latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in printable(text).replace("\n", " "))


def terminal(text: str) -> str:
    """For rich, whose brackets are no markup then."""
    return rich.markup.escape(printable(text))
