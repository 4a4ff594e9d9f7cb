"""What each complete run came to, a row a run: the numbers that tables and figures average over seeds.

| column            | meaning                                                                                       |
|-------------------|-----------------------------------------------------------------------------------------------|
| cell, seed, env   | which run                                                                                     |
| final_return      | mean return over the last 10% of the iterations in which an episode ended                     |
| evaluation_return | the last evaluation without exploration, NaN where the learner makes none                     |
| auc               | mean return over the first `common_env_steps`, see `statistics.area_under_curve`              |
| common_env_steps  | env steps that every run of its part of the study has made, see `parts`; NaN, and auc with it, |
|                   | where that is less than half of what one of them has made                                     |
| env_steps         | of the whole run                                                                              |
| solve_steps       | env steps until the return, averaged over 5 iterations, reaches the threshold; inf where it   |
|                   | never does; NaN without a threshold                                                           |
| solved            | whether it does                                                                               |
| detrended_iqr     | IQR of the differences between successive iterations' returns                                 |
| drawdown_cvar     | mean of the largest quarter of the drawdowns from the best return so far; like detrended_iqr  |
|                   | NaN where there is one return only                                                            |
| collapse          | 1 where the run, once solved, lost more than half of its gain, else 0; NaN where never solved |

Runs whose return is never known (TD, Bellman iteration) have no row.
"""

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.statistics.learning_curves import final_return, steps_to_threshold

from . import statistics as st
from .frames import Runs, StudyFrames, labels, once, side_by_side


@once
def outcomes(study: StudyFrames) -> pd.DataFrame:
    """The rows of all complete runs, in the order of the cells and then the seeds."""
    blocks = [] if study.curves.empty else list(side_by_side(study.curves))
    if not blocks:
        return pd.DataFrame(columns=COLUMNS)
    ends = pd.concat([_frame(runs, env_steps=runs.env_steps[:, -1]) for runs in blocks])
    ends = ends[ends["env_steps"] > 0]  # planning takes none
    part = parts(study.cells)
    until = part.map(ends["env_steps"].groupby(ends["cell"].map(part)).agg(_common))
    table = pd.concat([_block(runs, study.cells, until) for runs in blocks], ignore_index=True)
    table["evaluation_return"] = (
        _evaluation(study.curves).reindex(pd.MultiIndex.from_frame(table[["cell", "seed"]])).array
    )
    place = table["cell"].map({cell: number for number, cell in enumerate(study.cells.index)})
    order = np.lexsort((table["seed"], place))
    return table.iloc[order][COLUMNS].reset_index(drop=True)


COLUMNS = ["cell", "seed", "env", "final_return", "evaluation_return", "auc", "common_env_steps", "env_steps"]
COLUMNS += ["solve_steps", "solved", "detrended_iqr", "drawdown_cvar", "collapse"]


LEAST = 0.5  # share of each run that a common horizon has to keep


def _common(ends: pd.Series) -> float:
    """The env steps that all have made; NaN where one has made more than twice as many."""
    return float(ends.min()) if ends.min() >= LEAST * ends.max() else np.nan


def parts(cells: pd.DataFrame) -> pd.Series:
    """What each cell competes in: its environment with all settings, and its budget. Others are not comparable.

    Budgets within a tenth of each other are one: learners end with the iteration past what was set, each its own.
    """
    kinds: dict[str, list[tuple[float, str]]] = {}
    for cell, config in cells["config"].items():
        unit, amount = budget(config)
        kinds.setdefault(json.dumps([config.get("env"), unit]), []).append((float(amount), str(cell)))
    found = {}
    for kind, budgets in kinds.items():
        first = -np.inf
        for amount, cell in sorted(budgets):
            first = first if amount <= 1.1 * first else amount
            found[cell] = f"{kind} {first:g}"
    return pd.Series(found, dtype=object).reindex(cells.index)


def part_names(cells: pd.DataFrame) -> pd.Series:
    """Each cell's part in words: its environment, the settings in which the study's problems of that name differ, and
    the budget where a problem was given several."""
    part, problem = parts(cells), cells["config"].map(lambda config: json.dumps(config.get("env")))
    keys = [key for key in cells if key.startswith("env.")]
    settings = {
        env: [key for key in keys if len(alike[key].unique()) > 1] for env, alike in cells.groupby("env", sort=False)
    }
    budgets = problem.map(part.groupby(problem).nunique())
    names = {}
    for cell, own in cells.iterrows():
        words = [own["env"], *(f"{key}={own[key]}" for key in settings[own["env"]])]
        if budgets[cell] > 1:
            unit, amount = budget(own["config"])
            words.append(f"({amount:,} {unit})")
        names[cell] = " ".join(words)
    return pd.Series(names, dtype=object).reindex(cells.index)


def names_within(cells: pd.DataFrame) -> pd.Series:
    """Each cell's name among those that it competes with: its variant, and in brackets what not all of them share."""
    found = [pd.Series(labels(own), own.index) for _, own in cells.groupby(parts(cells), sort=False)]
    return pd.concat(found).reindex(cells.index)


def budget(config: Mapping[str, Any]) -> tuple[str, Any]:
    """In env steps where it is set or every iteration takes the same number; in episodes where iterations are those."""
    if config.get("env_steps") is not None:
        return "env steps", config["env_steps"]
    iterations, algorithm = config.get("iterations") or 0, config.get("algorithm") or {}
    if config.get("batch_steps"):
        return "env steps", iterations * config["batch_steps"]
    if config.get("phi"):
        return "episodes", iterations * (config.get("episodes") or 0)
    online = ["updates", "n_steps"] if "n_steps" in algorithm else ["steps"]
    counted = (algorithm.get("about") or {}).get("iteration_steps", [*online, "environments"])
    return "env steps", iterations * prod(algorithm.get(key, 1) for key in counted)


def _frame(runs: Runs, **columns: NDArray) -> pd.DataFrame:
    return pd.DataFrame({"cell": runs.cells, "seed": runs.seeds, **columns})


def _block(runs: Runs, cells: pd.DataFrame, until: pd.Series) -> pd.DataFrame:
    steps, values = runs.env_steps, runs.values
    threshold = cells["threshold"].loc[runs.cells].to_numpy()
    env = cells["env"].loc[runs.cells].to_numpy()
    window = until.loc[runs.cells].to_numpy(float)
    time = steps_to_threshold(steps, values, threshold)
    areas = [
        st.area_under_curve(x, v, u) if u <= x[-1] else np.nan for x, v, u in zip(steps, values, window, strict=True)
    ]
    return _frame(
        runs,
        final_return=final_return(values),
        auc=np.array(areas),
        common_env_steps=window,
        env_steps=steps[:, -1],
        solve_steps=np.where(np.isfinite(threshold), time, np.nan),
        solved=np.isfinite(time),
        detrended_iqr=st.detrended_iqr(values),
        drawdown_cvar=st.drawdown_cvar(values) if values.shape[-1] > 1 else np.full(len(values), np.nan),
        collapse=st.collapses(values, threshold),
    ).assign(env=env)


def _evaluation(curves: pd.DataFrame) -> pd.Series:
    """The last evaluation of each run that has any, by (cell, seed)."""
    if "evaluation_return_mean" not in curves:
        return pd.Series(dtype=float, index=pd.MultiIndex.from_arrays([[], []], names=["cell", "seed"]))
    rows = curves.dropna(subset=["evaluation_return_mean"]).astype({"cell": str})
    return rows.groupby(["cell", "seed"])["evaluation_return_mean"].last()
