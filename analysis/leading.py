"""Of more cells than are compared pair by pair: the best against every other, and which cannot be told apart from it.

Holm's correction over all k (k - 1) / 2 pairs of sign-flip tests can decide nothing of many cells: with 10 seeds their
smallest p-value is 1 / 512. Here a difference is decided where both agree: the paired test of the two alone, which is
distribution-free (`paired_p_value`), and Student's t, corrected for all pairs, so that picking the best first
cannot favour it. Each pair has its own spread, as cells of a sweep differ in theirs: Maxwell (1980), Pairwise multiple
comparisons in repeated measures designs. Tukey's test with the spread of each pair calls one of 14 equal cells best in
11% of studies of 8 seeds.
"""

import numpy as np
import pandas as pd

from ablate.statistics.interval import Floats
from ablate.statistics.paired_tests import paired_p_value, student_p_value

from . import paired_tests, tables
from .frames import StudyFrames, once
from .run_summaries import parts


@once
def differences(study: StudyFrames) -> pd.DataFrame:
    """What decides of every part: all its pairs, or of more than MOST cells each one less the best."""
    return pd.concat([paired_tests.paired_differences(study), against_best(study)])


@once
def against_best(study: StudyFrames) -> pd.DataFrame:
    """Each other cell less the best one, by final return, of every part of more than MOST cells: those columns
    of `paired_tests.paired_differences` that say so, of final returns and of noise at the first policy."""
    runs = paired_tests.comparable(study)
    found = [_against(study, own) for _, own in runs.groupby(runs["cell"].map(parts(study.cells)), sort=False)]
    kept = [table for table in found if not table.empty]
    return pd.concat(kept) if kept else pd.DataFrame(columns=["against_cell"])


def _against(study: StudyFrames, runs: pd.DataFrame) -> pd.DataFrame:
    """Of one part; empty where all its pairs are compared."""
    by_seed = {str(name): own.set_index("seed") for name, own in runs.groupby("cell", sort=False)}
    if len(by_seed) <= paired_tests.MOST:
        return pd.DataFrame()
    best = str(tables.side_by_side(study)["final_return"].reindex(list(by_seed)).idxmax())
    rows = []
    for cell in by_seed.keys() - {best}:
        shared = by_seed[cell].index.intersection(by_seed[best].index)
        if len(shared) > 1:
            one, other = by_seed[cell].loc[shared], by_seed[best].loc[shared]
            d = (one["final_return"] - other["final_return"]).to_numpy(float)
            noise = paired_tests.known_noise(one, other) * (one["log_trace"] - other["log_trace"]).to_numpy(float)
            known = np.isfinite(noise).all()
            row = {"cell": cell, "against_cell": best, "seeds": len(shared), "final_return_difference": d.mean()}
            row |= {"final_return_p": simultaneous_p_value(d, len(by_seed))}
            row |= {"noise_ratio": np.exp(noise.mean()) if known else np.nan}
            rows.append(row | {"noise_p": simultaneous_p_value(noise, len(by_seed)) if known else np.nan})
    order = {cell: place for place, cell in enumerate(by_seed)}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row["cell"]])).set_index("cell") if rows else pd.DataFrame()


def simultaneous_p_value(d: Floats, cells: int) -> float:
    """Of no difference between two of so many cells, from their differences over shared seeds: the larger of the paired
    test's of the two alone, and of Student's, 2 P(T_{n-1} < -|t|), times the number of pairs (Bonferroni). Differences
    without any spread have no t, and the paired test's p-value is corrected."""
    alone, pairs = paired_p_value(d), cells * (cells - 1) / 2
    if np.ptp(d) == 0:
        return min(1.0, pairs * alone)
    return max(alone, min(1.0, pairs * student_p_value(d)))
