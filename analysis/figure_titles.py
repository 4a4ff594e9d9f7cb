"""What a figure's title says: a sentence that `analysis.paired_tests` decide, over all cells of one part.

No sentence where there is nothing to compare, or more than one part (an environment with the same settings, and one
budget): each would need its own.
"""

from collections.abc import Sequence

import pandas as pd

from . import paired_tests
from .frames import StudyFrames
from .headline import listed
from .run_summaries import parts

ENDS = ("ends above", "end above")
QUIETER = ("has less noise at the first policy than", "have less noise at the first policy than")
SHOWN = 3  # names of a sentence; of more, how many they are


def finding(study: StudyFrames, measure: str, better: tuple[str, str], largest: bool = True) -> str:
    """Who is ahead of whom by a column of `paired_differences` ("final_return", "noise"), after Holm's correction over
    all pairs: "advantage and reward-to-go end above return"; `better` is the verb of one and of
    several. "" where no test could be made."""
    cells = study.cells[study.cells["complete"] > 0]
    if len(set(parts(cells))) != 1 or not 1 < len(cells) <= paired_tests.MOST:
        return ""
    table = paired_tests.paired_differences(study)
    column = next((f"{measure}_{end}" for end in ("difference", "ratio") if f"{measure}_{end}" in table), "")
    if not column or table[f"{measure}_p"].isna().all():
        return ""
    above = _ahead(table, column, f"{measure}_p", largest)
    names = cells["label"].to_dict()
    beaten = {worse for _, worse in above}
    if not beaten:
        return f"No paired test separates any two variants: which one {better[0]} which is open"
    losers = [cell for cell in names if cell in beaten]
    for group in (losers, *([cell] for cell in losers)):  # those that are behind the same ones share a sentence
        winners = [cell for cell in names if cell not in group and all((cell, worse) in above for worse in group)]
        if winners:
            verb = better[len(winners) > 1]
            return f"{_listed([names[x] for x in winners])} {verb} {_listed([names[x] for x in group])}"
    return ""


def _ahead(table: pd.DataFrame, column: str, p: str, largest: bool) -> set[tuple[str, str]]:
    """(better, worse) of every pair whose test decides."""
    middle = 1.0 if column.endswith("_ratio") else 0.0
    found = set()
    for cell, row in table.iterrows():
        first, decided = paired_tests.better(row, column, p, middle, largest)
        two = str(cell), str(row["against_cell"])
        found |= {two if first else two[::-1]} if decided else set()
    return found


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} variants" if len(names) > SHOWN else listed(names)
