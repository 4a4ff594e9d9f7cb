"""What each complete run came to, a row a run: the numbers that tables and figures average over seeds.

| column            | meaning                                                                                       |
|-------------------|-----------------------------------------------------------------------------------------------|
| cell, seed, env   | which run                                                                                     |
| final_return      | mean return over the last 10% of the iterations in which an episode ended                     |
| evaluation_return | the last evaluation without exploration, NaN where the learner makes none                     |
| auc               | mean return over the first `common_env_steps`, see `statistics.area_under_curve`              |
| common_env_steps  | env steps that every run of this environment, with these settings, has made                   |
| env_steps         | of the whole run                                                                              |
| solve_steps       | env steps until the return, averaged over 5 iterations, reaches the threshold; the run's last |
|                   | env step where it does not; NaN without a threshold                                           |
| solved            | whether it does                                                                               |
| detrended_iqr     | IQR of the differences between successive iterations' returns                                 |
| drawdown_cvar     | mean of the largest quarter of the drawdowns from the best return so far                      |
| collapse          | 1 where the run, once solved, lost more than half of its gain, else 0; NaN where never solved |

Runs whose return is never known (TD, Bellman iteration) have no row.
"""

import json

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.curves import final_return, steps_to_threshold
from analysis import statistics as st
from analysis.frames import Runs, Study, side_by_side


def outcomes(study: Study) -> pd.DataFrame:
    """The rows of all complete runs, in the order of the cells and then the seeds."""
    blocks = [] if study.curves.empty else list(side_by_side(study.curves))
    if not blocks:
        return pd.DataFrame(columns=COLUMNS)
    ends = pd.concat([_frame(runs, env_steps=runs.env_steps[:, -1]) for runs in blocks])
    problem = problems(study.cells)
    ends = ends[ends["env_steps"] > 0]  # planning takes none
    until = problem.map(ends["env_steps"].groupby(ends["cell"].map(problem)).min())
    table = pd.concat([_block(runs, study.cells, until) for runs in blocks], ignore_index=True)
    table["evaluation_return"] = (
        _evaluation(study.curves).reindex(pd.MultiIndex.from_frame(table[["cell", "seed"]])).array
    )
    place = table["cell"].map({cell: number for number, cell in enumerate(study.cells.index)})
    order = np.lexsort((table["seed"], place))
    return table.iloc[order][COLUMNS].reset_index(drop=True)


COLUMNS = ["cell", "seed", "env", "final_return", "evaluation_return", "auc", "common_env_steps", "env_steps"]
COLUMNS += ["solve_steps", "solved", "detrended_iqr", "drawdown_cvar", "collapse"]


def problems(cells: pd.DataFrame) -> pd.Series:
    """What each cell tries to solve, its environment with all settings: cells compete within one problem only."""
    return cells["config"].map(lambda config: json.dumps(config.get("env")))


def _frame(runs: Runs, **columns: NDArray) -> pd.DataFrame:
    return pd.DataFrame({"cell": runs.cells, "seed": runs.seeds, **columns})


def _block(runs: Runs, cells: pd.DataFrame, until: pd.Series) -> pd.DataFrame:
    steps, values = runs.env_steps, runs.values
    threshold = cells["threshold"].loc[runs.cells].to_numpy()
    env = cells["env"].loc[runs.cells].to_numpy()
    window = until.loc[runs.cells].to_numpy(float)
    time, solved = steps_to_threshold(steps, values, threshold)
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
        solved=solved,
        detrended_iqr=st.detrended_iqr(values),
        drawdown_cvar=st.drawdown_cvar(values),
        collapse=st.collapses(values, threshold),
    ).assign(env=env)


def _evaluation(curves: pd.DataFrame) -> pd.Series:
    """The last evaluation of each run that has any, by (cell, seed)."""
    if "evaluation_return_mean" not in curves:
        return pd.Series(dtype=float, index=pd.MultiIndex.from_arrays([[], []], names=["cell", "seed"]))
    rows = curves.dropna(subset=["evaluation_return_mean"]).astype({"cell": str})
    return rows.groupby(["cell", "seed"])["evaluation_return_mean"].last()
