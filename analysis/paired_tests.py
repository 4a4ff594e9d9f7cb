"""Do the variants of a study differ? Paired tests over shared seeds, corrected for all pairs of a part as by Holm.

A part is an environment with the same settings and budget. Limits of a pair are its own; the corrected p-values decide.
Each measure is a family of its own.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from ablate.statistics import paired_tests, seeds
from ablate.statistics.interval import Floats, bare, interval_columns
from ablate.statistics.power import detectable

from .frames import StudyFrames, finished, once
from .run_summaries import outcomes, parts

ALPHA = 0.05
COMPARED = ("final_return", "auc")  # pair by pair
MOST = 12  # cells of a part that are compared pair by pair
NOTHING = bare(np.nan)


@once
def paired_differences(study: StudyFrames) -> pd.DataFrame:
    """Whether it matters, seed by seed: a row for every two cells of one problem, the later less the earlier."""
    runs = comparable(study)
    groups = runs.groupby(runs["cell"].map(parts(study.cells)), sort=False)
    tables = [pairs for _, own in groups if not (pairs := _pairs(study.cells, own)).empty]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["env", "label", "against", "seeds"])


@once
def comparable(study: StudyFrames) -> pd.DataFrame:
    """`run_summaries.outcomes`, with what each run's own estimator was like at its first policy."""
    return outcomes(finished(study)).merge(_first_noise(study), on=["cell", "seed"], how="left")


def _first_noise(study: StudyFrames) -> pd.DataFrame:
    """cell, seed, log_trace and snr of each run's own estimator at its first policy, and whether its noise comes from
    enough episodes."""
    if study.probe.empty:
        return pd.DataFrame(columns=["cell", "seed", "log_trace", "snr", "informative"])
    own = study.own_noise()
    first = own[own["iteration"] == 0].drop_duplicates(["cell", "seed"]).astype({"cell": str})
    trace = first["trace_variance"]
    informative = seeds.informative(first)
    return first[["cell", "seed", "snr"]].assign(log_trace=np.log(trace.where(trace > 0)), informative=informative)


def _pairs(cells: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of one part."""
    by_seed = {name: own.set_index("seed") for name, own in runs.groupby("cell", sort=False)}
    pairs = [
        (later, earlier, shared)
        for earlier, later in (combinations(by_seed, 2) if len(by_seed) <= MOST else ())
        if len(shared := by_seed[later].index.intersection(by_seed[earlier].index)) > 1
    ]
    rows = []
    for later, earlier, shared in pairs:
        row = {"cell": later, "env": cells["env"][later], "label": cells["label"][later]}
        row |= {"against": cells["label"][earlier], "against_cell": earlier, "seeds": len(shared)}
        rows.append(row | _compared(by_seed[later].loc[shared], by_seed[earlier].loc[shared], ALPHA / len(pairs)))
    table = pd.DataFrame(rows, columns=None if rows else ["cell"]).set_index("cell")
    for name in [name for name in table if name.endswith("_p")]:
        known = table[name].notna()
        table.loc[known, name] = paired_tests.holm(table.loc[known, name])
    return table


def _compared(one: pd.DataFrame, other: pd.DataFrame, alpha: float) -> dict[str, float]:
    """Of one cell less another, seed by seed; alpha is the strictest level of Holm's correction."""
    row: dict[str, float] = {}
    for name in COMPARED:
        d = (one[name] - other[name]).to_numpy()
        row |= _difference(f"{name}_difference", f"{name}_p", d)
        row[f"{name}_detectable"] = detectable(d.std(ddof=1), len(d), alpha) if np.ptp(d) > 0 else np.nan
    if one["solve_steps"].notna().all():
        row["sooner"], row["sooner_p"] = paired_tests.sign_test(one["solve_steps"], other["solve_steps"])
    known = known_noise(one, other)
    ratio = _difference("noise_ratio", "noise_p", known * (one["log_trace"] - other["log_trace"]).to_numpy(float))
    row |= {name: value if name == "noise_p" else float(np.exp(value)) for name, value in ratio.items()}
    return row | _difference("snr_difference", "snr_p", known * (one["snr"] - other["snr"]).to_numpy(float))


def known_noise(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """1 where enough shared seeds of both tell their noise, else NaN."""
    return 1.0 if seeds.enough(one["informative"].eq(True) & other["informative"].eq(True)) else np.nan


def _difference(name: str, p: str, d: Floats) -> dict[str, float]:
    """NaN where it is not known for every seed."""
    if not np.isfinite(d).all():
        return interval_columns(name, NOTHING) | {p: np.nan}
    return interval_columns(name, paired_tests.mean_difference(d)) | {p: paired_tests.paired_p_value(d)}


def better(row: pd.Series, column: str, p: str, middle: float, largest: bool) -> tuple[bool, bool]:
    """Of a row of `paired_differences`: whether the first cell is the better of the two by a column whose middle means
    no difference, and whether the test with this p-value, after Holm's correction, decides it."""
    return (row[column] < middle) != largest, bool(row[p] <= ALPHA and row[column] != middle)
