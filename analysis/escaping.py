"""Text of a study's labels and names in each format that it is shown in: one function a format.

Labels are typed by people, and results may be another's: no text of theirs is markup, a formula, a link or an order to
a terminal.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import rich.markup

FORMULA = tuple("=+-@＝＋－＠")
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~$:@&])")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u00a0": "~"}
LATEX |= {"–": r"\textendash{}", "—": r"\textemdash{}", "<": r"\textless{}", ">": r"\textgreater{}"}
LATEX |= {"|": r"\textbar{}", '"': r"\textquotedblright{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
LATEX |= {"[": "{[}", "]": "{]}", "*": "{*}"}  # \\ takes [...] and *
LATEX |= {"“": "``", "”": "''", "‘": "`", "’": "'", "•": r"\textbullet{}", "ı": r"\i{}", "ß": r"\ss{}"}
LATEX |= {sign: f"$^{{{digit}}}$" for sign, digit in zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True)}
LATEX |= {"æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}"}
LATEX |= {"Ł": r"\L{}", "\N{FRACTION SLASH}": "/"}
SIGNS = "−∞×·±≤≥≠≈√∇∂∑∈→←°ΓΔΘΛΞΠΣΥΦΨΩαβγδεζηθικλμνξοπρςστυφχψω"
COMMANDS = r"""- \infty \times \cdot \pm \leq \geq \neq \approx \surd \nabla \partial \sum \in \rightarrow \leftarrow
^\circ \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega \alpha \beta \gamma \delta \epsilon \zeta
\eta \theta \iota \kappa \lambda \mu \nu \xi o \pi \rho \varsigma \sigma \tau \upsilon \phi \chi \psi \omega"""
LATEX |= {sign: f"${command}$" for sign, command in zip(SIGNS, COMMANDS.split(), strict=True)}
LATEX |= dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True))  # Greek capitals that look like ours
ACCENTS = {"\u0300": "\\`", "\u0301": "\\'", "\u0302": "\\^", "\u0303": "\\~", "\u0304": "\\=", "\u0306": "\\u"}
ACCENTS |= {"\u0307": "\\.", "\u0308": '\\"', "\u030a": "\\r", "\u030b": "\\H", "\u030c": "\\v", "\u0327": "\\c"}


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
    """In what every LaTeX has without another package: accents and symbols by their commands, and what it has no letter
    for by its number, as U+65E5."""
    found = [""]
    for sign in _signs(unicodedata.normalize("NFC", printable(text).replace("\n", " "))):
        if sign in ACCENTS:
            found[-1] = f"{ACCENTS[sign]}{{{found[-1]}}}"
        elif sign == found[-1] == "-":
            found.append("{}-")  # else a dash
        else:
            found.append(LATEX.get(sign, sign if sign.isascii() else f"U+{ord(sign):04X}"))
    return "".join(found)


def _signs(text: str) -> Iterator[str]:
    """With letter and accent apart, and compatible forms as the plain one, where LATEX has no command for the whole."""
    for sign in text:
        apart = unicodedata.normalize("NFKD", sign)
        yield from [sign] if sign in LATEX or apart == sign else _signs(apart)


def terminal(text: str) -> str:
    """For rich, whose brackets are no markup then."""
    return rich.markup.escape(printable(text))
