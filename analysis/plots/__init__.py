"""Drawing: the figures that `analysis.figures` declares, and how they look.

for name, (draw, alternative) in figures(study).items():
    draw().savefig(...)
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from ablate.errors import UserError

from ..figures import COMPUTED, FIGURES, function
from ..frames import StudyFrames, finished
from .files import formats, made_for, save
from .style import theme

__all__ = ["compute", "draw", "figures", "formats", "made_for", "save", "theme"]


def draw(name: str, study: StudyFrames) -> Figure:
    """A figure by its name. Raises UserError where the study has nothing complete, or not what the figure shows."""
    if lack := lacks(name, study):
        raise UserError(lack)
    drawn: Figure = function(FIGURES[name].draw)(_drawable(study))
    return drawn


def lacks(name: str, study: StudyFrames) -> str:
    """Why a study cannot show a figure, "" where it can. Raises UserError where no run is complete."""
    return str(function(FIGURES[name].lacks)(finished(study)))


def compute(name: str) -> Figure:
    """A figure of no study, by its name."""
    computed: Figure = function(COMPUTED[name].draw)()
    return computed


def _drawable(study: StudyFrames) -> StudyFrames:
    """The same, with its words as matplotlib shows them as they stand: it takes what is between dollar signs for a
    formula, and fails where it is none; and an SVG holds no control characters."""

    def shown(text: object) -> object:
        if not isinstance(text, str):
            return text
        return re.sub(r"[\x00-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", text).replace("$", r"\$")

    cells = study.cells.assign(**{name: study.cells[name].map(shown) for name in ("variant", "label", "env")})
    words = [name for name in ("label", "reference", "env") if name in study.probe]
    return replace(
        study, cells=cells, probe=study.probe.assign(**{name: study.probe[name].map(shown) for name in words})
    )


def in_words(seen: str, study: StudyFrames) -> str:
    """What a figure shows, of which study and variants, to those who cannot see it."""
    return f"{seen} Study {study.name}: {', '.join(dict.fromkeys(study.cells['variant']))}."


def figures(study: StudyFrames) -> dict[str, tuple[Callable[[], Figure], str]]:
    """The figures that the study has data for: how to draw each, and its alternative text. Call `theme` before.

    Raises UserError where no run is complete.
    """
    finished(study)
    return {
        name: (partial(function(figure.draw), _drawable(study)), in_words(figure.alternative, study))
        for name, figure in FIGURES.items()
        if not lacks(name, study)
    }
