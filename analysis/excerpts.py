"""Which rows of a long table are printed: on the screen it is sorted and searched, on paper nobody reads hundreds."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from . import tables
from .frames import StudyFrames
from .headline import in_letters
from .plots.sweeps import KEPT
from .run_summaries import part_names, parts

LONG = 30  # rows from which on a table is printed in part
BEST, WORST = 10, 5  # cells, fewer where each has more than two rows


@dataclass(frozen=True)
class Excerpt:
    """A table's rows in the order in which they are shown, the places of those that are printed (none: all), and what
    paper says of them."""

    frame: pd.DataFrame
    printed: tuple[int, ...] = ()
    words: str = ""


def of_cells(study: StudyFrames, frame: pd.DataFrame) -> Excerpt:
    """Of rows by cell: the cells of one part with the highest and the lowest final return, best first; of several
    parts, between which returns do not compare, the first cells."""
    if len(frame) <= LONG:
        return Excerpt(frame)
    final = tables.side_by_side(study)["final_return"].reindex(frame.index.unique()) if _one_part(study) else None
    cells = list(frame.index.unique() if final is None else final.sort_values(ascending=False, kind="stable").index)
    place = pd.Series(range(len(cells)), cells)
    ordered = frame.iloc[np.argsort(place[frame.index].to_numpy(), kind="stable")]
    room = max(1, min(BEST + WORST, LONG // ceil(len(frame) / len(cells))))
    best = room if final is None else max(1, room * BEST // (BEST + WORST))
    kept = set(cells[:best]) | set(cells[len(cells) - (room - best) :] if room > best else ())
    if len(kept) == len(cells):
        return Excerpt(frame)
    first = (
        f"the first {in_letters(best)}" if final is None else f"the {in_letters(best)} with the highest final return"
    )
    rest = f" and the {in_letters(room - best)} with the lowest" if room > best else ""
    printed = tuple(int(row) for row in np.flatnonzero(ordered.index.isin(kept)))
    return Excerpt(ordered, printed, f"Of {len(cells):,} cells, {first}{rest}; the page on the screen has all.")


def of_pairs(frame: pd.DataFrame) -> Excerpt:
    """Of rows by pair: those with the smallest p-values of the final return, first."""
    if len(frame) <= LONG or "final_return_p" not in frame:
        return first_rows(frame)
    ordered, rows = frame.sort_values("final_return_p", kind="stable"), BEST + WORST
    words = f"Of {len(frame):,} pairs, the {rows} with the smallest p-values of the final return; the page has all."
    return Excerpt(ordered, tuple(range(rows)), words)


def groupings(study: StudyFrames) -> dict[str, pd.Series]:
    """By what rows of cells can be gathered, and the value of each cell: the problem, the variant, and each setting of
    the command line. What has a value for nearly every cell gathers nothing."""
    cells = study.cells
    typed = [dict(word.partition("=")[::2] for word in words) for words in cells["overrides"]]
    settings = pd.DataFrame(typed, index=cells.index, dtype=object).fillna("default")
    columns = {"problem": part_names(cells), "variant": cells["variant"]}
    columns |= {str(key): settings[key] for key in settings if key not in KEPT}
    return {name: column for name, column in columns.items() if 1 < column.nunique() <= len(cells) / 2}


def first_rows(frame: pd.DataFrame) -> Excerpt:
    """Of any rows."""
    if len(frame) <= LONG:
        return Excerpt(frame)
    rows = BEST + WORST
    return Excerpt(frame, tuple(range(rows)), f"The first {rows} of {len(frame):,}; the page on the screen has all.")


def _one_part(study: StudyFrames) -> bool:
    cells = study.cells[study.cells["complete"] > 0]
    return not study.curves.empty and len(parts(cells).unique()) == 1
