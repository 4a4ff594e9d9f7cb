"""Tables of a study as pandas frames, a row a cell or variant; `save` writes them, `show` puts them on the screen.

sample_efficiency   what is learnt, and at what cost in samples; a row a cell
stability           how steadily: spread over seeds, and along a run; a row a cell
noise               what the probe measured, a row a variant at the first and the last policy; `trained` is the label
                    of the cell that was trained; medians over seeds
paired_differences  each cell of one part (an environment with the same settings, and budget) less each other one, seed
                    by seed, over the seeds that both have completed; a part of more than 12 cells is left out:
                    see `analysis.paired_tests`
side_by_side        the measures of the three above that a reader compares first, and the noise of the run's own
                    estimator at the first policy and the last

NAME_low and NAME_high are 95% limits of NAME. `analysis.columns.MEANINGS` says what each column is. Rows are in the
order of the study's cells; `env` and `label` lead.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from ablate.errors import UserError
from ablate.files import OUT, write
from ablate.statistics import seeds
from ablate.statistics.formatting import counted, limits, number
from ablate.statistics.interval import Interval, bare, interval_columns

from . import escaping
from . import statistics as st
from .frames import StudyFrames, finished, once
from .paired_tests import paired_differences
from .run_summaries import outcomes

SHOWN = 40  # rows on the screen
LEAD = ["env", "label", "runs", "left_out"]
WORDS = ("env", "label", "against", "trained", "policy", "mode", "state")  # columns of text
NAMES = {"iqr": "IQR", "cvar": "CVaR", "auc": "AUC", "nsr": "NSR", "lr": "learning rates", "mse": "MSE"}
QUIET = ("left_out", "diverged")  # not shown where all are 0
TEN = 10  # seeds that a spread has limits of: those of a bootstrap cover less of fewer
NOTHING = bare(np.nan)
METRICS = "work_variance", "optimizer_trace_variance", "fisher_trace_variance", "split_directional_variance"
PARTS = ("v_s0", "v_action", "v_transition", "v_coupling")


@once
def sample_efficiency(study: StudyFrames) -> pd.DataFrame:
    """Return, env steps to the threshold and area under the learning curve, a row a cell."""
    diverged = study.runs.loc[study.runs["status"] == "diverged", "cell"].value_counts().to_dict()
    return _by_cell(study, outcomes(finished(study)), partial(_efficiency_of, diverged))


def _efficiency_of(
    diverged: Mapping[str, int], study: StudyFrames, cell: pd.Series, runs: pd.DataFrame
) -> dict[str, float]:
    final, threshold, common = runs["final_return"].to_numpy(), cell["threshold"], runs["common_env_steps"].iloc[0]
    row = interval_columns("final_return", seeds.over_seeds(final)) | {
        "final_return_mean": final.mean(),
        "final_return_median": np.median(final),
        "worst_quarter": float(seeds.worst_quarter(final).value),
        "threshold": threshold,
    }
    if np.isfinite(threshold):
        failures = [np.inf] * diverged.get(str(cell.name), 0)
        times = np.append(runs["solve_steps"].to_numpy(), failures)  # what diverged has not solved anything
        solved = int(np.isfinite(times).sum())
        row |= {"optimality_gap": st.optimality_gap(final, threshold), "solved": solved}
        row |= interval_columns("share_solved", seeds.share(solved, len(times)))
        row |= interval_columns("env_steps_to_solve", seeds.until_half(times))
    row |= interval_columns("auc", seeds.over_seeds(runs["auc"].to_numpy())) | {"common_env_steps": common}
    evaluated = runs["evaluation_return"].dropna().to_numpy(float)
    return row | (interval_columns("evaluation_return", seeds.over_seeds(evaluated)) if len(evaluated) else {})


@once
def stability(study: StudyFrames) -> pd.DataFrame:
    """Every stability measure, side by side and not merged, a row a cell."""
    runs = outcomes(finished(study))
    table = _by_cell(study, runs, _stability_of)
    table["spread_across_lr"] = _spread_across_learning_rates(study, runs).reindex(table.index)
    diverged = study.runs[study.runs["status"] == "diverged"].groupby("cell").size()
    table["diverged"] = diverged.reindex(table.index).fillna(0).astype(int)
    return table


def _stability_of(study: StudyFrames, cell: pd.Series, runs: pd.DataFrame) -> dict[str, float]:
    final = runs["final_return"].to_numpy()
    spread = seeds.over_seeds(final, st.interquartile_range) if len(final) > 1 else NOTHING  # one seed has none
    row = interval_columns("iqr_across_seeds", spread if len(final) >= TEN else bare(spread.value))
    row |= {"worst_quarter": float(seeds.worst_quarter(final).value) if len(final) > 1 else np.nan}
    row |= interval_columns("iqr_along_run", seeds.over_seeds(runs["detrended_iqr"].to_numpy()))
    row |= interval_columns("cvar_drawdown", seeds.over_seeds(runs["drawdown_cvar"].to_numpy()))
    fates = runs["collapse"].dropna().to_numpy()
    return row | interval_columns("collapse", seeds.share(int(fates.sum()), len(fates)) if len(fates) else NOTHING)


def _spread_across_learning_rates(study: StudyFrames, runs: pd.DataFrame) -> pd.Series:
    """By cell; NaN where its configuration was run at one learning rate only."""
    final = runs.groupby("cell")["final_return"].agg(lambda x: float(seeds.interquartile_mean(x.to_numpy())))
    alike = study.cells["config"].loc[final.index].map(lambda config: repr(_without_learning_rate(config)))
    groups = final.groupby(alike.to_numpy())
    return (groups.transform("max") - groups.transform("min")).where(groups.transform("size") > 1)


def _without_learning_rate(config: Mapping) -> dict:
    """A configuration but for the step size of what is learnt last: optimizer.lr, or lr of the algorithm itself."""
    parts = {key: value for key, value in config.items() if key not in ("optimizer", "algorithm")}
    for key in ("optimizer", "algorithm"):
        parts[key] = {name: value for name, value in (config.get(key) or {}).items() if name != "lr"}
    return parts


@once
def noise(study: StudyFrames) -> pd.DataFrame:
    """What the probe measured, a row for each cell, first and last policy, and variant that was judged."""
    if study.probe.empty:
        raise UserError(f"no run of study {study.name!r} was probed; run it with probe=online, matched or exact")
    ends = study.probe[study.probe["stage"].isin([0.0, 1.0])].copy()
    ends["trained"] = ends["cell"].astype(str).map(study.cells["label"])
    ends["place"] = ends["cell"].astype(str).map({cell: place for place, cell in enumerate(study.cells.index)})
    keys = ["place", "env", "trained", "stage", "phi_order", "baseline_order", "label", "mode"]
    rows = []
    for (_, env, trained, stage, _, _, label, mode), group in ends.groupby(keys, sort=True):
        named: dict[str, Any] = {
            "env": env,
            "trained": trained,
            "policy": "last" if stage else "first",
            "label": label,
            "mode": mode,
        }
        rows.append(
            named
            | {"cell": group["cell"].iloc[0], "runs": len(group), "own": bool(group["own"].iloc[0])}
            | _noise(group)
        )
    return pd.DataFrame(rows).set_index("cell")


def _noise(group: pd.DataFrame) -> dict[str, float]:
    row = interval_columns("trace_variance", seeds.trace_variance(group))
    row |= interval_columns("nsr", seeds.noise_to_signal(group))
    if "log_ratio" in group:
        row |= interval_columns("ratio", seeds.variance_ratio(group))
    for name in (*METRICS, "bias_squared", "mse", *PARTS):
        row |= {name: float(group[name].median())} if name in group and group[name].notna().any() else {}
    return row


@once
def side_by_side(study: StudyFrames) -> pd.DataFrame:
    """What each cell learns, how steadily, and how noisy its own estimator is, a row a cell."""
    names = ["share_solved", "final_return", "worst_quarter", "env_steps_to_solve", "auc"]
    steadiness = ["iqr_across_seeds", "cvar_drawdown"]
    table = sample_efficiency(study).join(stability(study).filter(_with_limits(steadiness)))
    table = table.filter([*LEAD, *_with_limits([*names, *steadiness])])
    if study.probe.empty:
        return table
    measured = noise(study)
    for policy in ("first", "last"):
        own = measured[measured["own"] & (measured["policy"] == policy)]
        own = own[~own.index.duplicated()]
        table = table.join(own.filter(_with_limits(["trace_variance", "nsr"])).rename(columns=partial(_when, policy)))
    return table


def _with_limits(names: Sequence[str]) -> list[str]:
    return [f"{name}{limit}" for name in names for limit in ("", "_low", "_high")]


def _when(policy: str, name: str) -> str:
    """trace_variance_first_low of trace_variance_low."""
    bare = name.removesuffix("_low").removesuffix("_high")
    return f"{bare}_{policy}{name[len(bare) :]}"


TABLES = {
    "sample_efficiency": sample_efficiency,
    "stability": stability,
    "noise": noise,
    "paired_differences": paired_differences,
    "side_by_side": side_by_side,
}


def tables(study: StudyFrames) -> dict[str, pd.DataFrame]:
    """The tables that the study has data for. Raises UserError where no run is complete."""
    unknown = ("noise",) if study.probe.empty else ()
    made = {name: table(finished(study)) for name, table in TABLES.items() if name not in unknown}
    return {name: frame for name, frame in made.items() if not frame.empty}


# ------------------------------------------------------------------------------------------------ on paper and screen


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as it is read: text throughout, a value with its limits in one column, words for names.

    What all rows share and says nothing is left out: one environment, no run left out.
    """
    columns = {}
    for name in frame.columns[frame.notna().any()]:
        if name.removesuffix("_low").removesuffix("_high") != name:
            continue
        if name in ("own", "against_cell") or (name == "env" and frame[name].nunique() < 2):
            continue
        if name in QUIET and not frame[name].any():
            continue
        if name == "trained" and (frame["trained"] == frame["label"]).all():
            continue
        ends = [frame.get(f"{name}_{end}", pd.Series(np.nan, frame.index)) for end in ("low", "high")]
        columns[" ".join(NAMES.get(word, word) for word in name.split("_"))] = [
            f"{written(name, value)} {limits(Interval(value, low, high))}".strip()
            for value, low, high in zip(frame[name], *ends, strict=True)
        ]
    return pd.DataFrame(columns)


def written(name: str, value: object) -> str:
    """A value of a column in words: noise for a signal that cannot be told from 0 is unbounded."""
    return "unbounded" if name.startswith("nsr") and value == np.inf else number(value)


def markdown(frame: pd.DataFrame) -> str:
    """As a table of GitHub's Markdown."""
    lines = [list(frame.columns), *frame.itertuples(index=False)]
    cells = [[*map(escaping.markdown, line)] for line in lines]
    rule = ["---" if name in WORDS else "---:" for name in frame.columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in (cells[0], rule, *cells[1:]))


def latex(frame: pd.DataFrame) -> str:
    """As a tabular for the package booktabs, escaped."""

    def line(texts: Sequence[str]) -> str:
        return "  " + " & ".join(map(escaping.latex, texts)) + r" \\"

    columns = "".join("l" if name in WORDS else "r" for name in frame.columns)
    body = [line(row) for row in frame.itertuples(index=False)]
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    head = line(list(frame.columns))
    return "\n".join([begin, r"  \toprule", head, r"  \midrule", *body, r"  \bottomrule", end, ""])


def save(frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write NAME.csv (every column, full precision), NAME.md and NAME.tex (as `shown`); returns the paths.

    Raises UserError where the folder does not take them.
    """
    read = shown(frame)
    texts = {"csv": frame.rename(escaping.csv).map(escaping.csv).to_csv(), "md": markdown(read), "tex": latex(read)}
    for ending, text in texts.items():
        write(folder / f"{name}.{ending}", text, OUT)
    return [folder / f"{name}.{ending}" for ending in texts]


def show(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Put the first rows of a table on the screen."""
    read = shown(frame)
    table = Table(title=escaping.terminal(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in read:
        left = name in WORDS
        table.add_column(escaping.terminal(name), justify="left" if left else "right", overflow="fold")
    for row in read.head(SHOWN).itertuples(index=False):
        table.add_row(*map(escaping.terminal, row))
    console.print(table)
    if len(read) > SHOWN:
        console.print(f"... and {counted(len(read) - SHOWN, 'more row')} in the file")


# ------------------------------------------------------------------------------------------------ parts


def _by_cell(study: StudyFrames, runs: pd.DataFrame, describe: Callable[..., dict[str, Any]]) -> pd.DataFrame:
    rows = {}
    for name, own in runs.groupby("cell", sort=False):
        cell = study.cells.loc[name]
        lead = {"env": cell["env"], "label": cell["label"], "runs": len(own), "left_out": cell["left_out"]}
        rows[name] = lead | describe(study, cell, own)
    return pd.DataFrame.from_dict(rows, orient="index", columns=None if rows else LEAD).rename_axis("cell")
