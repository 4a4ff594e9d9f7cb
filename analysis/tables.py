"""Tables of a study as pandas frames, a row a cell or variant; `save` writes them, `show` puts them on the screen.

NAME_low and NAME_high are 95% limits of NAME. Rows are in the order of the study's cells; `env` and `label` lead.

sample_efficiency   runs, left_out          complete runs, and those that are not (see Study.left_out)
                    final_return            IQM over seeds of the last 10% of the iterations; also _mean and _median
                    optimality_gap          mean shortfall of the final return from the threshold
                    solved                  runs that reached the threshold
                    env_steps_to_solve      Kaplan-Meier median: half the runs get there; inf where fewer ever do
                    mean_env_steps_to_solve restricted to `common_env_steps`, which every run of the environment has
                                            made: a run not there by then counts as that
                    auc                     IQM of the mean return over the first `common_env_steps` env steps
                    evaluation_return       IQM of the last evaluation without exploration, where there are any

stability           iqr_across_seeds        of the final return
                    cvar_across_seeds       mean of the lowest quarter of the final returns
                    iqr_along_run           IQM over seeds of the IQR of differences between successive iterations
                    cvar_drawdown           IQM over seeds of the mean of the largest quarter of drawdowns
                    collapse                share of solved runs that lose half of their gain afterwards (Wilson limits)
                    spread_across_lr        largest less smallest IQM final return over the learning rates of a variant
                    diverged                runs that ended for want of finite numbers

noise               policy                  first or last of the run that it was measured on, `trained` by which label
                    own                     whether it is the estimator that the run trained with
                    trace_variance          tr C of the one-trajectory gradient: median over seeds; the limits are
                                            bootstrap ones, of a single seed the probe's
                    nsr                     tr C / |mean|^2, the inverse of the median SNR; inf is "unbounded"
                    ratio                   trace variance over that of the probe's reference, geometric mean over seeds
                    bias_squared, mse, v_s0, v_action, v_transition, v_coupling
                                            medians over seeds, where known

paired_differences  label, against          two cells of one problem, an environment with the same settings; a problem
                                            of more than 12 cells is left out
                    seeds                   that both have completed, at least 2; all below is over these
                    final_return_difference mean of the final return less that of `against`, limits of Student's t
                    final_return_p          of no difference: Student's t, corrected by Holm over the pairs of a problem
                    final_return_seeds_needed  to find such a difference with 80% power; where p is above 5%
                    auc_difference, ...     the same of each run's auc

side_by_side        final_return, env_steps_to_solve, auc; iqr_across_seeds, cvar_drawdown; trace_variance and nsr of
                    the run's own estimator at the first policy (a seed's variants share it) and the last
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.curves import survival_median
from ablate.noise import Interval, bootstrap_interval, holm, interquartile_mean, inverse
from ablate.refusal import Refusal
from analysis import statistics as st
from analysis.frames import Study, finished
from analysis.outcomes import outcomes, problems

SHOWN = 40  # rows on the screen
RESAMPLES = 1000
LEAD = ["env", "label", "runs", "left_out"]
ALPHA = 0.05
COMPARED = ("final_return", "auc")  # pair by pair
MOST = 12  # cells of a problem that are compared pair by pair
WORDS = ("env", "label", "against", "trained", "policy", "mode")  # columns of text
NAMES = {"iqr": "IQR", "cvar": "CVaR", "auc": "AUC", "nsr": "NSR", "lr": "learning rates", "mse": "MSE"}
QUIET = ("left_out", "diverged")  # not shown where all are 0
NOTHING = Interval(*(np.array(np.nan) for _ in range(3)))
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "∞": r"$\infty$"}
LATEX |= {"–": "--", "<": r"\textless{}", ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"}}
PARTS = ("v_s0", "v_action", "v_transition", "v_coupling")


def sample_efficiency(study: Study) -> pd.DataFrame:
    """Return, env steps to the threshold and area under the learning curve, a row a cell."""
    return _sample_efficiency(study, outcomes(finished(study)))


def _sample_efficiency(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    return _by_cell(study, runs, _efficiency_of)


def _efficiency_of(cell: pd.Series, runs: pd.DataFrame) -> dict[str, float]:
    final, threshold, common = runs["final_return"].to_numpy(), cell["threshold"], runs["common_env_steps"].iloc[0]
    row = _columns("final_return", _over_seeds(final)) | {
        "final_return_mean": final.mean(),
        "final_return_median": np.median(final),
        "threshold": threshold,
    }
    if np.isfinite(threshold):
        time, solved = runs["solve_steps"].to_numpy(), runs["solved"].to_numpy(bool)
        mean = partial(st.restricted_mean, until=common)
        row |= {"optimality_gap": st.optimality_gap(final, threshold), "solved": int(solved.sum())}
        row |= _columns("env_steps_to_solve", _censored(time, solved, survival_median))
        row |= _columns("mean_env_steps_to_solve", _censored(time, solved, mean))
    row |= _columns("auc", _over_seeds(runs["auc"].to_numpy())) | {"common_env_steps": common}
    evaluated = runs["evaluation_return"].dropna().to_numpy(float)
    return row | (_columns("evaluation_return", _over_seeds(evaluated)) if len(evaluated) else {})


def stability(study: Study) -> pd.DataFrame:
    """Every stability measure, side by side and not merged, a row a cell."""
    return _stability(study, outcomes(finished(study)))


def _stability(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    table = _by_cell(study, runs, _stability_of)
    table["spread_across_lr"] = _spread_across_learning_rates(study, runs).reindex(table.index)
    diverged = study.runs[study.runs["status"] == "diverged"].groupby("cell").size()
    table["diverged"] = diverged.reindex(table.index).fillna(0).astype(int)
    return table


def _stability_of(cell: pd.Series, runs: pd.DataFrame) -> dict[str, float]:
    final, several = runs["final_return"].to_numpy(), len(runs) > 1  # one seed says nothing of others
    row = _columns("iqr_across_seeds", _over_seeds(final, st.interquartile_range) if several else NOTHING)
    row |= _columns("cvar_across_seeds", _over_seeds(final, st.cvar) if several else NOTHING)
    row |= _columns("iqr_along_run", _over_seeds(runs["detrended_iqr"].to_numpy()))
    row |= _columns("cvar_drawdown", _over_seeds(runs["drawdown_cvar"].to_numpy()))
    fates = runs["collapse"].dropna().to_numpy()
    if not len(fates):
        return row | _columns("collapse", NOTHING)
    low, high = st.wilson(int(fates.sum()), len(fates))
    return row | {"collapse": fates.mean(), "collapse_low": low, "collapse_high": high}


def _spread_across_learning_rates(study: Study, runs: pd.DataFrame) -> pd.Series:
    """By cell; NaN where its configuration was run at one learning rate only."""
    final = runs.groupby("cell")["final_return"].agg(lambda x: float(interquartile_mean(x.to_numpy())))
    alike = study.cells["config"].loc[final.index].map(lambda config: repr(_without_learning_rate(config)))
    groups = final.groupby(alike.to_numpy())
    return (groups.transform("max") - groups.transform("min")).where(groups.transform("size") > 1)


def _without_learning_rate(config: Mapping) -> dict:
    """A configuration but for the step size of what is learnt last: optimizer.lr, or lr of the algorithm itself."""
    parts = {key: value for key, value in config.items() if key not in ("optimizer", "algorithm")}
    for key in ("optimizer", "algorithm"):
        parts[key] = {name: value for name, value in (config.get(key) or {}).items() if name != "lr"}
    return parts


def noise(study: Study) -> pd.DataFrame:
    """What the probe measured, a row for each cell, first and last policy, and variant that was judged."""
    if study.probe.empty:
        raise Refusal(f"no run of study {study.name!r} was probed; run it with probe=online, matched or exact")
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
    row = _columns("trace_variance", _median(group, "trace_variance"))
    row |= _columns("nsr", inverse(_median(group, "snr")))
    if "log_ratio" in group:
        row |= _columns("ratio", _ratio(group))
    for name in ("bias_squared", "mse", *PARTS):
        row |= {name: float(group[name].median())} if name in group else {}
    return row


def _median(group: pd.DataFrame, name: str) -> Interval:
    """Over seeds, with bootstrap limits; of one seed the probe's own limits, or the value itself where it is exact."""
    values = group[name].to_numpy(float)
    if len(values) > 1 and np.isfinite(values).all():
        return bootstrap_interval(values, np.random.default_rng(0), np.median, RESAMPLES)
    if len(values) > 1:  # some without any noise
        return Interval(*(np.asarray(np.quantile(values, q, method="lower")) for q in (0.5, 0.0, 1.0)))
    limits = (group[f"{name}_{end}"].iloc[0] if f"{name}_{end}" in group else np.nan for end in ("low", "high"))
    low, high = (values[0] if np.isnan(limit) and group["mode"].iloc[0] == "exact" else limit for limit in limits)
    return Interval(np.asarray(values[0]), np.asarray(low), np.asarray(high))


def _ratio(group: pd.DataFrame) -> Interval:
    """The geometric mean over seeds; its limits are about these policies. NaN where one has no noise at all."""
    value = group["log_ratio"].to_numpy(float)
    low, high = (
        group[f"log_ratio_{end}"].fillna(group["log_ratio"]).to_numpy(float) if f"log_ratio_{end}" in group else value
        for end in ("low", "high")
    )
    if not np.isfinite([value, low, high]).all():
        return NOTHING
    return Interval(*np.exp(st.pooled(value, low, high)))


def paired_differences(study: Study) -> pd.DataFrame:
    """Whether it matters, seed by seed: a row for every two cells of one problem, the later less the earlier."""
    return _paired_differences(study, outcomes(finished(study)))


def _paired_differences(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    groups = runs.groupby(runs["cell"].map(problems(study.cells)), sort=False)
    tables = [pairs for _, own in groups if not (pairs := _pairs(study.cells, own)).empty]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["env", "label", "against", "seeds"])


def _pairs(cells: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of one problem."""
    by_seed = {name: own.set_index("seed") for name, own in runs.groupby("cell", sort=False)}
    pairs = [
        (later, earlier, seeds)
        for earlier, later in (combinations(by_seed, 2) if len(by_seed) <= MOST else ())
        if len(seeds := by_seed[later].index.intersection(by_seed[earlier].index)) > 1
    ]
    rows = []
    for later, earlier, seeds in pairs:
        row = {"cell": later, "env": cells["env"][later], "label": cells["label"][later]}
        row |= {"against": cells["label"][earlier], "seeds": len(seeds)}
        for name in COMPARED:
            difference = (by_seed[later].loc[seeds, name] - by_seed[earlier].loc[seeds, name]).to_numpy()
            row |= _difference(name, difference, ALPHA / len(pairs))
        rows.append(row)
    table = pd.DataFrame(rows, columns=None if rows else ["cell"]).set_index("cell")
    for name in COMPARED if rows else ():
        table[f"{name}_p"] = holm(table[f"{name}_p"])
        table[f"{name}_seeds_needed"] = table[f"{name}_seeds_needed"].where(table[f"{name}_p"] > ALPHA)
    return table


def _difference(name: str, d: st.Floats, alpha: float) -> dict[str, float]:
    """alpha: the strictest level of Holm's correction."""
    deviation = d.std(ddof=1)
    needed = st.samples_to_decide(d.mean(), deviation, alpha)
    return _columns(f"{name}_difference", st.mean_difference(d)) | {
        f"{name}_p": st.student_p_value(d.mean(), deviation / np.sqrt(len(d)), len(d) - 1),
        f"{name}_seeds_needed": np.inf if needed is None else needed,
    }


def side_by_side(study: Study) -> pd.DataFrame:
    """What each cell learns, how steadily, and how noisy its own estimator is, a row a cell."""
    measured = None if study.probe.empty else noise(study)
    return _joined(sample_efficiency(study), stability(study), measured)


def _joined(learnt: pd.DataFrame, steady: pd.DataFrame, measured: pd.DataFrame | None) -> pd.DataFrame:
    names = ["final_return", "env_steps_to_solve", "auc", "iqr_across_seeds", "cvar_drawdown"]
    table = learnt.join(steady.filter(_with_limits(names[3:])))
    table = table.filter([*LEAD, "solved", *_with_limits(names)])
    if measured is None:
        return table
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


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """The tables that the study has data for. Raises Refusal where no run is complete."""
    runs = outcomes(finished(study))
    made = {"sample_efficiency": _sample_efficiency(study, runs), "stability": _stability(study, runs)}
    measured = None if study.probe.empty else noise(study)
    made |= {} if measured is None else {"noise": measured}
    made |= {"paired_differences": _paired_differences(study, runs)}
    made["side_by_side"] = _joined(made["sample_efficiency"], made["stability"], measured)
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
        if name == "own" or (name == "env" and frame[name].nunique() < 2):
            continue
        if name in QUIET and not frame[name].any():
            continue
        if name == "trained" and (frame["trained"] == frame["label"]).all():
            continue
        limits = [frame.get(f"{name}_{end}", pd.Series(np.nan, frame.index)) for end in ("low", "high")]
        columns[" ".join(NAMES.get(word, word) for word in name.split("_"))] = [
            _number(value) + (f" [{_number(low)}, {_number(high)}]" if pd.notna(low) and pd.notna(high) else "")
            for value, low, high in zip(frame[name], *limits, strict=True)
        ]
    return pd.DataFrame(columns)


def _number(value: object) -> str:
    if isinstance(value, str):
        return value
    x = float(value)  # type: ignore[arg-type]
    if not np.isfinite(x):
        return "–" if np.isnan(x) else ("∞" if x > 0 else "−∞")
    text = f"{x:,.0f}" if 1000 <= abs(x) < 1e6 or (x == int(x) and abs(x) < 1000) else f"{x:.3g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def markdown(frame: pd.DataFrame) -> str:
    """As a table of GitHub's Markdown."""
    lines = [list(frame.columns), *frame.itertuples(index=False)]
    cells = [[text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for text in line] for line in lines]
    rule = ["---" if name in WORDS else "---:" for name in frame.columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in (cells[0], rule, *cells[1:]))


def latex(frame: pd.DataFrame) -> str:
    """As a tabular for the package booktabs, escaped."""

    def line(texts: Sequence[str]) -> str:
        return "  " + " & ".join("".join(LATEX.get(sign, sign) for sign in text) for text in texts) + r" \\"

    columns = "".join("l" if name in WORDS else "r" for name in frame.columns)
    body = [line(row) for row in frame.itertuples(index=False)]
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    head = line(list(frame.columns))
    return "\n".join([begin, r"  \toprule", head, r"  \midrule", *body, r"  \bottomrule", end, ""])


def save(frame: pd.DataFrame, folder: Path, name: str) -> list[Path]:
    """Write NAME.csv (every column, full precision), NAME.md and NAME.tex (as `shown`); returns the paths.

    Raises Refusal where the folder does not take them.
    """
    read = shown(frame)
    texts = {"csv": frame.to_csv(), "md": markdown(read), "tex": latex(read)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in texts.items():
            (folder / f"{name}.{ending}").write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{folder}: {error.strerror}; choose another place with --out") from None
    return [folder / f"{name}.{ending}" for ending in texts]


def show(frame: pd.DataFrame, title: str, console: Console) -> None:
    """Put the first rows of a table on the screen."""
    read = shown(frame)
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in read:
        left = name in WORDS
        table.add_column(escape(name), justify="left" if left else "right", overflow="fold")
    for row in read.head(SHOWN).itertuples(index=False):
        table.add_row(*map(escape, row))
    console.print(table)
    if len(read) > SHOWN:
        console.print(f"... and {len(read) - SHOWN} rows more in the file")


# ------------------------------------------------------------------------------------------------ parts


def _by_cell(study: Study, runs: pd.DataFrame, describe: Callable[..., dict[str, Any]]) -> pd.DataFrame:
    rows = {}
    for name, own in runs.groupby("cell", sort=False):
        cell = study.cells.loc[name]
        lead = {"env": cell["env"], "label": cell["label"], "runs": len(own), "left_out": cell["left_out"]}
        rows[name] = lead | describe(cell, own)
    return pd.DataFrame.from_dict(rows, orient="index", columns=None if rows else LEAD).rename_axis("cell")


def _over_seeds(x: st.Floats, statistic: Callable[..., st.Floats] = interquartile_mean) -> Interval:
    """With bootstrap limits, the same at every call; no limits from a single seed."""
    if len(x) < 2:
        return NOTHING._replace(value=statistic(x))
    return bootstrap_interval(x, np.random.default_rng(0), statistic, RESAMPLES)


def _censored(time: st.Floats, solved: st.Bools, statistic: Callable[..., st.Floats]) -> Interval:
    if len(time) < 2:
        return NOTHING._replace(value=statistic(time, solved))
    return st.survival_interval(time, solved, np.random.default_rng(0), statistic, RESAMPLES)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: float(interval.value), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}
