"""Figures as files: PNG, SVG with text as text, PDF with TrueType fonts, and beside them a CSV of what is drawn."""

import io
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import matplotlib
import matplotlib.font_manager
from matplotlib.figure import Figure

from ablate.errors import UserError, shown
from ablate.files import OUT, write

from .. import escaping
from .data import drawn
from .style import COLUMN, WIDTH, Paper, paper

FORMATS = ("png", "svg", "pdf")
DPI = 200
INCH = 2.54  # cm
WIDTHS = {"column": Paper(COLUMN), "page": Paper(WIDTH), "slide": Paper(10.0, 9 / 16, size=13.0)}
GENERIC = ("serif", "sans-serif", "monospace")


def made_for(width: str | None, font: str | None, title: str) -> Paper:
    """What figures are drawn for: a width by its name or in cm, a family of letters that is installed, and a title or
    none. Raises UserError for what cannot be."""
    chosen = WIDTHS.get(width or "", Paper())
    if width and width not in WIDTHS:
        try:
            inches = float(width.removesuffix("cm")) / INCH
        except ValueError:
            inches = 0.0
        if not 1.5 <= inches <= 40:
            raise UserError(
                f"--width {shown(width)} is none of column, page, slide, or 4 to 100 in cm; write --width 8.5"
            )
        chosen = Paper(inches)
    return Paper(chosen.width, chosen.ratio, _known(font) if font else "", chosen.size, title == "on")


def _known(font: str) -> str:
    names = {name.casefold(): name for name in (*GENERIC, *matplotlib.font_manager.get_font_names())}
    if font.casefold() not in names:
        close = get_close_matches(font.casefold(), names, n=3, cutoff=0.3) or GENERIC
        raise UserError(f"--font {shown(font)} is not installed; near are {', '.join(names[name] for name in close)}")
    return names[font.casefold()]


def formats(text: str) -> list[str]:
    """Of --formats pdf,svg. Raises UserError for another."""
    found = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if not found or set(found) - set(FORMATS):
        raise UserError(f"--formats {shown(text)} is not of {', '.join(FORMATS)}; write --formats pdf,svg")
    return found


def save(figure: Figure, folder: Path, name: str, endings: Sequence[str] = FORMATS) -> list[Path]:
    """Write NAME in each format, and NAME.csv with what is drawn; returns the paths. Raises UserError where the folder
    does not take them."""
    if ratio := paper().ratio:
        figure.set_size_inches(figure.get_figwidth(), figure.get_figwidth() * ratio)
    contents = {"csv": drawn(figure).map(escaping.csv).to_csv(index=False).encode()}
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    for ending in endings:
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters, which a reader can mark and an editor change
            figure.savefig(content, format=ending, dpi=DPI, metadata=dateless.get(ending))
        figure.set_layout_engine("none")  # found once, it holds for all
        contents[ending] = content.getvalue()
    for ending, content_ in contents.items():
        write(folder / f"{name}.{ending}", content_, OUT)
    return [folder / f"{name}.{ending}" for ending in contents]
