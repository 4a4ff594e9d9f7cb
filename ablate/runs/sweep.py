"""A sweep as a whole: what is refused before it begins, and the table at its end."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate import store
from ablate.configuration import parse_seeds
from ablate.configuration.overrides import parsed, ranges
from ablate.configuration.ranges import TRACKERS
from ablate.errors import UserError, one_line
from ablate.runs import progress
from ablate.runs.pool import Pool
from ablate.runs.run import Summary
from ablate.statistics import seeds
from ablate.statistics.formatting import limits, number
from ablate.statistics.interval import Floats
from ablate.statistics.learning_curves import FINAL, SMOOTHING, final_return, steps_to_threshold

if TYPE_CHECKING:
    import pandas as pd

LOG_WIDTH = 160  # columns where there is no terminal
MOST = 30  # rows; of more cells the best and the worst are shown
BEST, WORST = 10, 5
NAME = 24  # columns of a name that goes on below; the columns of least interest give way to it
GAP = 2  # columns between two
NOISE = "noise", "NSR at start", "NSR at end"
QUIET = (*NOISE, "95% interval", "steps/s")  # not shown where nothing is known of any cell
TITLES = ("runs", "return", "95% interval", "worst quarter", "steps to solve", "solved", *NOISE, "steps/s")
FIRST = ("return", "steps to solve", "solved", "noise", "runs", "95% interval", "worst quarter", *NOISE[1:], "steps/s")
LEGEND = [
    ("runs", "runs: complete, of those asked for, and how many of them this command trained"),
    (
        "return",
        f"return: IQM over seeds of the last {FINAL:.0%} of the iterations (interval from {seeds.MIN_SEEDS} seeds on)",
    ),
    ("worst quarter", "worst quarter: mean of the lowest quarter of them, which the IQM leaves out"),
    (
        "steps to solve",
        f"steps to solve: env steps until half of the seeds have reached the threshold, {SMOOTHING} iterations "
        "averaged (∞: fewer do in their budget)",
    ),
    ("solved", "solved: how many ever do"),
]
NOISE_LEGEND = [
    ("noise", "noise: trace variance tr C of the one-trajectory gradient at the first policy"),
    ("NSR at start", "NSR: tr C / |mean|^2 (unbounded: a signal not told from 0)"),
    ("noise", "medians over seeds"),
]


class Sweep(Callback):
    """Hydra's hooks around a run or a multirun."""

    folder: Path | None = None  # of its records; None until it begins
    tracking: str | None = None
    pool = Pool(progress.ProgressReporter())

    def __init__(self, records: str) -> None:
        self.records = Path(records)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _refuse_early(config)
        Sweep.folder, Sweep.tracking = self.records, config.tracking

    on_multirun_start = on_run_start

    @classmethod
    def end(cls) -> int:
        """Bring its jobs to their ends and show what became of them; returns the exit code."""
        cls.pool.finish()
        if not cls.folder:
            return 0
        exit_code = conclude(cls.folder)
        if cls.tracking:
            _track(cls.folder, cls.tracking)
        return exit_code

    @classmethod
    def refused(cls) -> None:
        """Conclude a sweep that Hydra gave up: what ran is shown, and where nothing did nothing is left behind."""
        if cls.folder and any(not record["refused"] for record in store.read_jobs(cls.folder)):
            conclude(cls.folder)
        elif cls.folder:
            store.forget_jobs(cls.folder)


def _refuse_early(config: DictConfig) -> None:
    """What no job of the sweep can do with. Leaves by SystemExit: Hydra turns a callback's exceptions into warnings."""
    words: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    try:
        store.check_writable(config.outputs)
        if config.tracking in TRACKERS:
            import_module("ablate.analysis.export").needs(config.tracking)
        for override in filter(None, map(parsed, words)):
            if override.key_or_group == "seed" and override.is_sweep_override():
                parse_seeds([seed for part in override.sweep_iterator() for seed in parse_seeds(part)])
    except UserError as error:
        progress.error(str(error))
        raise SystemExit(2) from None


def _track(folder: Path, tool: str) -> None:
    """Export the studies in which a sweep has finished runs."""
    export, frames = (import_module(f"ablate.analysis.{name}") for name in ("export", "frames"))
    ran = [Summary(**record) for record in store.read_jobs(folder)]
    for outputs, study in sorted({(one.outputs, one.study) for one in ran if one.complete or one.skipped}):
        print(*export.export(frames.load(outputs, study), tool), sep="\n")


def conclude(folder: Path) -> int:
    """Print the table of the sweep whose jobs recorded their summaries in ``folder``; returns the exit code."""
    summaries = [Summary(**record) for record in store.read_jobs(folder)]
    ran = merge(summary for summary in summaries if not summary.refused)
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(highlight=False, width=None if terminal else LOG_WIDTH)
    if ran:
        shown, shared = table(ran, console.width)
        console.print(shown)
        if shared:
            console.print(f"all: {progress.plain(' '.join(shared))}", soft_wrap=True)
        heads = [str(column.header) for column in shown.columns]
        for words in filter(None, (_legend(LEGEND, heads), _legend(NOISE_LEGEND, heads))):
            console.print(words)
        for study in sorted({f"{summary.outputs}/{summary.study}" for summary in ran}):
            console.print(f"results: {escape(study)}/<cell>/seed=<k>/", soft_wrap=True)
    for summary in ran:
        troubles = summary.diverged | summary.failed
        for trouble in dict.fromkeys(text for _, text in sorted(troubles.items())):
            seeds = [seed for seed, text in sorted(troubles.items()) if text == trouble]
            log = _cell(summary).failure(seeds[0])
            more = f" (all of it in {log})" if seeds[0] in summary.failed and log.exists() else ""
            progress.error(f"{summary.label} seed={ranges(seeds)}: {trouble}{more}", longest=1000)
    refused = {summary.label: summary for summary in summaries if summary.refused}
    for reason in dict.fromkeys(summary.refused for summary in refused.values()):
        labels = [label for label, summary in refused.items() if summary.refused == reason]
        progress.error(f"skipped {one_line(', '.join(labels), 100)}: {reason}" if ran else str(reason))
    if not ran:
        store.forget_jobs(folder)
    if any(summary.diverged or summary.failed for summary in ran):
        return 1
    return 2 if not ran or any(not summary.impossible for summary in refused.values()) else 0


def merge(summaries: Iterable[Summary]) -> list[Summary]:
    """One summary a cell, of the jobs that had a share of its seeds."""
    cells: dict[tuple[str, str, str], Summary] = {}
    for summary in summaries:
        whole = cells.setdefault((summary.outputs, summary.study, summary.cell), Summary(summary.label))
        for name, value in asdict(summary).items():
            old = getattr(whole, name)
            match value:
                case dict():
                    setattr(whole, name, old | {int(seed): text for seed, text in value.items()})
                case str() | bool() | None:
                    setattr(whole, name, old or value)
                case _:
                    setattr(whole, name, old + value)
    return list(cells.values())


def table(summaries: Sequence[Summary], width: int = LOG_WIDTH) -> tuple[Table, list[str]]:
    """What a sweep came to, a row a cell, with as many columns as have room; and the words of the command line that all
    cells share, which are not in their names. Names go on below where they are long; numbers are never cut. Of many
    cells the best and the worst by return."""
    words = [summary.label.split(" ") for summary in summaries]
    shared = [word for word in words[0] if len(words) > 1 and all(word in others for others in words)]
    names = [" ".join(word for word in own if word not in shared) or "default" for own in words]
    returns, rows = map(list, zip(*map(_row, summaries), strict=True))
    order = np.argsort(np.negative(returns), kind="stable")
    left = len(rows) - BEST - WORST if len(rows) > MOST else 0
    if left:
        names, rows = ([listed[place] for place in (*order[:BEST], *order[-WORST:])] for listed in (names, rows))
    columns = [title for title in TITLES if any(row[title] != "-" for row in rows) or title not in QUIET]
    room = {title: max(len(title), *(len(row[title]) for row in rows)) + GAP for title in columns}
    least = min(max(map(len, [*names, "variant"])), NAME)
    while len(columns) > 1 and least + sum(room[title] for title in columns) > width:
        columns.remove(max(columns, key=FIRST.index))
    result = Table(box=None, pad_edge=False, header_style="bold")
    result.add_column("variant", overflow="fold", max_width=max(1, width - sum(room[title] for title in columns)))
    for title in columns:
        result.add_column(title, justify="right", no_wrap=True, min_width=room[title] - GAP)
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        if left and place == BEST:
            result.add_row(f"{left:,} more: ablate tables")
        result.add_row(progress.plain(name), *(row[title] for title in columns))
    return result, shared


def _row(summary: Summary) -> tuple[float, dict[str, str]]:
    """The return, below all others where there is none, and what is shown by the column's title."""
    cell = _cell(summary)
    own_noise = noise(cell, summary) or ("-",) * len(NOISE)
    curves = _readable(cell.curves, summary)
    new, done = len(summary.complete), len(summary.complete) + len(summary.skipped)
    known = [curve.dropna(subset=["return_mean"]) for curve in curves]
    known = [curve for curve in known if len(curve)]
    solved = solving(known, cell.read_config().get("threshold"), len(summary.diverged))
    rate = f"{summary.env_steps / summary.seconds:,.0f}" if summary.env_steps else "-"
    runs = f"{done}/{done + len(summary.diverged) + len(summary.failed)} ({new} new)"
    final = float(seeds.interquartile_mean(_final(known))) if known else -np.inf
    return final, dict(zip(TITLES, (runs, *ending(known), *solved, *own_noise, rate), strict=True))


def _legend(lines: Sequence[tuple[str, str]], heads: Sequence[str]) -> str:
    """What the columns that are shown mean."""
    return "; ".join(meaning for title, meaning in lines if title in heads)


def _readable(read: "Callable[[int], pd.DataFrame]", summary: Summary) -> "list[pd.DataFrame]":
    """What is read of each finished seed; one that is there no more, as another process runs it anew, has failed."""
    found = []
    for seed in sorted(summary.complete + summary.skipped):
        try:
            found.append(read(seed))
        except UserError:
            summary.failed[seed] = "finished, and then taken away or damaged by another process; run the command again"
            summary.complete, summary.skipped = (
                [left for left in seeds if left != seed] for seeds in (summary.complete, summary.skipped)
            )
    return found


def noise(cell: store.Cell, summary: Summary) -> tuple[str, ...]:
    """What the probe found of the cell's own estimator at the first policy and at the last: medians over seeds of tr C
    and of the signal-to-noise ratio, which is then inverted; where its 95% interval reaches down to 0, the noise for
    the signal has no bound that the sample could tell.

    Empty where there was no probe of it.
    """
    import pandas as pd

    config = cell.read_config()
    probes = _readable(cell.probe, summary) if config["probe"]["name"] != "off" else []
    own = [p[(p["phi"] == config["phi"]["name"]) & (p["baseline"] == config["baseline"]["name"])] for p in probes]
    own = [p[p["critic"] != "clockless"].sort_values("iteration") for p in own if len(p)]
    if not own:
        return ()
    first, last = (pd.concat([p.iloc[[end]] for p in own]) for end in (0, -1))
    ratios = [float(seeds.noise_to_signal(rows).value) for rows in (first, last)]
    shown = [number(x) if np.isfinite(x) else "unbounded" for x in ratios]
    return number(float(seeds.trace_variance(first).value)), *shown


def _cell(summary: Summary) -> store.Cell:
    return store.Cell(Path(summary.outputs) / summary.study / summary.cell)


def ending(curves: "list[pd.DataFrame]") -> tuple[str, str, str]:
    """IQM over seeds of the final return, its interval, and the mean of the worst quarter."""
    if not curves:
        return "-", "-", "-"
    last = _final(curves)
    found = seeds.over_seeds(last)
    return number(float(found.value)), limits(found) or "-", number(float(seeds.worst_quarter(last).value))


def _final(curves: "list[pd.DataFrame]") -> Floats:
    """The final return of each run."""
    return np.array([final_return(curve["return_mean"].to_numpy()) for curve in curves])


def solving(curves: "list[pd.DataFrame]", threshold: float | None, diverged: int = 0) -> tuple[str, str]:
    """Env steps within which half of the seeds reach the threshold, ∞ where fewer do; and how many do.

    A run that diverged has not solved anything, and counts."""
    if threshold is None or not len(curves) + diverged:
        return "-", "-"
    each = [curve[["env_steps", "return_mean"]].to_numpy(float).T[:, None] for curve in curves]  # [2, 1, T]
    times = np.array([*(steps_to_threshold(x, v, threshold)[0] for x, v in each), *[np.inf] * diverged])
    return number(float(seeds.until_half(times).value)), f"{np.isfinite(times).sum():.0f}/{len(times)}"
