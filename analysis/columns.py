"""The columns of `analysis.tables` on a page: their headings, what they mean, and which of them say nothing."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from ablate.store import PROBE

from .excerpts import Excerpt
from .html_page import Table
from .tables import written

TITLES = {
    "mse": "mean squared error",
    "label": "variant",
    "env": "environment",
    "left_out": "left out",
    "iqr_across_seeds": "IQR across seeds",
    "iqr_along_run": "IQR along the run",
    "cvar_drawdown": "CVaR of drawdown",
    "auc": "area under the curve",
    "nsr": "noise-to-signal ratio",
    "nsr_first": "NSR, first policy",
    "nsr_last": "NSR, last policy",
    "trace_variance_first": "trace variance, first policy",
    "trace_variance_last": "trace variance, last policy",
    "spread_across_lr": "spread across learning rates",
    "work_variance": "variance × env steps",
    "optimizer_trace_variance": "in the optimizer's metric",
    "fisher_trace_variance": "in the Fisher metric",
    "split_directional_variance": "along the mean",
    "ratio": "ratio to reference",
    "final_return_difference": "difference of final returns",
    "final_return_p": "p of no difference",
    "final_return_detectable": "difference these seeds can find",
    "auc_difference": "difference of areas under the curve",
    "auc_p": "p of no difference",
    "auc_detectable": "difference these seeds can find",
    "sooner": "solves sooner",
    "sooner_p": "p of no difference",
    "noise_ratio": "ratio of trace variances",
    "noise_p": "p of no difference",
    "snr_difference": "difference of SNR",
    "snr_p": "p of no difference",
}
MEANINGS = {name: PROBE[name] for name in ("bias_squared", "mse", "v_s0", "v_action", "v_transition", "v_coupling")}
MEANINGS |= {
    "label": "Phi − baseline, and the settings that tell the cell from others of its name",
    "trained": "the cell that was trained while the probe measured",
    "runs": "complete runs, a seed each",
    "left_out": "runs that are not complete",
    "final_return": "interquartile mean over seeds of the mean return over the last 10% of the iterations",
    "final_return_mean": "the same, mean over seeds",
    "final_return_median": "the same, median over seeds",
    "threshold": "the mean return that counts as solved",
    "worst_quarter": "mean of the lowest quarter of the final returns (CVaR), which an interquartile mean leaves out",
    "optimality_gap": "mean shortfall of the final return from the threshold",
    "solved": "runs whose return, averaged over 5 iterations, reached the threshold",
    "share_solved": "share of the complete and diverged runs whose return, averaged over 5 iterations, reached the "
    "threshold; exact limits",
    "env_steps_to_solve": "environment steps by which half of the runs have solved the task; ∞ where fewer do within "
    "their budget",
    "auc": "interquartile mean over seeds of the mean return over the environment steps that all runs of the same "
    "budget have made; – where that would cut off more than half of one of them (env_steps= sets equal budgets)",
    "common_env_steps": "environment steps that every run of the environment with this budget has made",
    "evaluation_return": "return of the last evaluation without exploration",
    "iqr_across_seeds": "interquartile range of the final return",
    "iqr_along_run": "interquartile range of the differences between successive iterations",
    "cvar_drawdown": "mean of the largest quarter of the drops below the best return so far",
    "collapse": "share of the solved runs that lost half of their gain afterwards",
    "spread_across_lr": "largest less smallest final return over learning rates",
    "diverged": "runs that ended for want of finite numbers",
    "own": "whether it is the variant that was trained",
    "policy": "first or last of the run",
    "mode": "online: the run's own estimator; matched: all variants on shared trajectories; exact: computed",
    "trace_variance": "tr C, the summed variance of the gradient of one trajectory; median over seeds, limits 0 and ∞ "
    "where in too many of them the noise comes from fewer than 8 episodes",
    "trace_variance_first": "tr C of the run's own estimator, before any learning",
    "trace_variance_last": "tr C of the run's own estimator, at the end of its training",
    "nsr": "tr C / |mean|²; unbounded where the signal cannot be told from 0; limits 0 and ∞ where in too many seeds "
    "the noise comes from fewer than 8 episodes",
    "nsr_first": "tr C / |mean|² before any learning; unbounded where the signal cannot be told from 0",
    "nsr_last": "tr C / |mean|² at the end of training; unbounded where the signal cannot be told from 0",
    "ratio": "trace variance over that of the probe's reference, on the same trajectories",
    "work_variance": "trace variance × env steps of an episode: what a budget of env steps buys; median over seeds",
    "optimizer_trace_variance": "trace variance of g / (√v + eps), v the optimizer's second moments; median over seeds",
    "fisher_trace_variance": "tr(F⁺ C), F the Fisher information of a trajectory: the same for every parametrisation",
    "split_directional_variance": "the variance along the mean of one half of the episodes, in the other half",
    "against": "the variant that it is compared with, on the seeds that both have completed",
    "seeds": "complete in both",
    "final_return_difference": "mean over shared seeds of the final return less that of the other variant",
    "final_return_p": "of no difference: the larger of Student's t and the sign-flip test, after Holm's correction "
    "over the pairs of one problem; below 6 shared seeds it is above 5% whatever they show",
    "final_return_detectable": "the difference that so many seeds, with their spread, find with 80% power",
    "auc_difference": "the same of the area under the curve",
    "auc_p": "as for the final return",
    "auc_detectable": "as for the final return",
    "sooner": "share of the seeds on which the variant solves the task sooner than the other; ties, as of two that "
    "never do, count half",
    "sooner_p": "of one half: the sign test, after Holm's correction",
    "noise_ratio": "of the two variants' own estimators at the first policy, geometric mean over seeds",
    "noise_p": "as for the final return; none where the noise comes from fewer than 8 episodes",
    "snr_difference": "of the two variants' own estimators at the first policy, |mean|² / tr C",
    "snr_p": "as for the noise",
}
FORMATS = {"own": lambda own: "yes" if own else "no"}
FORMATS |= {name: lambda ratio: written("nsr", ratio) for name in ("nsr", "nsr_first", "nsr_last")}
LIMITS = "In brackets, 95% limits over seeds."
ALWAYS = ("label", "trained", "against", "policy", "runs")
HIDDEN = ("against_cell",)
SHARED = ("env", "mode", "own", "threshold", "common_env_steps")  # not shown where all are the same
QUIET = ("left_out", "diverged")  # not shown where all are 0

MANY = 20  # rows from which on a table is searched and gathered, as figures.js has it
FOREMOST = {
    "side_by_side": ("share_solved", "final_return", "env_steps_to_solve", "trace_variance_first", "nsr_first"),
    "paired_differences": ("against", "seeds", "final_return_difference", "final_return_p", "noise_ratio", "noise_p"),
    "sample_efficiency": ("runs", "final_return", "worst_quarter", "share_solved", "env_steps_to_solve", "auc"),
    "stability": ("runs", "iqr_across_seeds", "iqr_along_run", "cvar_drawdown", "collapse"),
    "noise": ("trained", "policy", "mode", "trace_variance", "nsr", "ratio"),
}
"""The columns of each table that are seen first."""


def table(name: str, rows: Excerpt, caption: str, groups: Mapping[str, pd.Series] = MappingProxyType({})) -> Table:
    """One of `analysis.tables` as a block: limits beside their value, and nothing that says the same in every row; of
    a long one the rows, which are cells, can be gathered."""
    made = _table(rows.frame, caption)
    foremost = ("label", "env", *FOREMOST[name])
    lesser = [column for column in made.columns if column not in foremost]
    gathered = {key: list(values[rows.frame.index]) for key, values in groups.items()} if len(made.frame) > MANY else {}
    return replace(made, lesser=lesser, printed=rows.printed, excerpt=rows.words, groups=gathered)


def _table(frame: pd.DataFrame, caption: str) -> Table:
    limits = {name: (f"{name}_low", f"{name}_high") for name in frame if f"{name}_low" in frame}
    shown = frame.drop(columns=[name for name in frame if _says_nothing(name, frame[name])])
    limits = {name: pair for name, pair in limits.items() if name in shown}
    pairs = [end for name in limits for end in limits[name]]
    kept = [name for name in frame if name in shown or name in pairs]
    if "trained" in kept and (frame["trained"] == frame["label"]).all():
        kept.remove("trained")
    lead = [name for name in ("trained", "label", "against", "policy") if name in kept]
    ordered = frame[[*lead, *(name for name in kept if name not in lead)]]
    titles = {name: TITLES.get(name, name.replace("_", " ")) for name in ordered}
    titles |= {"label": "variant judged", "trained": "variant trained"} if "trained" in ordered else {}
    return Table(ordered, f"{caption} {LIMITS}" if limits else caption, titles, MEANINGS, FORMATS, limits)


def _says_nothing(name: str, column: pd.Series) -> bool:
    if name in ALWAYS or name in HIDDEN:
        return name in HIDDEN
    if name in QUIET:
        return not column.any()
    return bool(column.isna().all() or (name in SHARED and len(column.unique()) < 2))
