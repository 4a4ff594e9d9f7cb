"""Runs that others' tools have logged, as a study: `ablate import FILES --study NAME --env ENV`.

| file                          | what is read                                                                         |
|-------------------------------|--------------------------------------------------------------------------------------|
| monitor.csv                   | Stable-Baselines3: r and l of each episode; rows are the means of so many env steps  |
| progress.csv                  | Stable-Baselines3: rollout/ep_rew_mean at time/total_timesteps                       |
| an export of Weights & Biases | a column "RUN - METRIC" a run, at global_step                                        |
| a tidy CSV                    | columns of env steps and return; variant, seed and env where there are such          |
| events.out.tfevents.*         | TensorBoard: charts/episodic_return of CleanRL, rollout/ep_rew_mean of SB3           |

Seeds are read from a column, from the path (seed=3, seed_3, CleanRL's env__name__3__time), else counted. Runs may have
unequal lengths and seeds may be missing: paired tests take the seeds that two variants share. The step of an event is
a number of env steps with the tags of CleanRL and Stable-Baselines3; with another tag it may count anything.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.errors import UserError, one_line
from ablate.store import Cell

from .selection import EVERYTHING, CellFilter, chosen_names

STEPS = ("env_steps", "global_step", "time/total_timesteps", "total_timesteps", "timesteps", "env_step", "steps")
RETURNS: tuple[str, ...] = (
    "return",
    "return_mean",
    "episodic_return",
    "charts/episodic_return",
    "rollout/ep_rew_mean",
    "ep_rew_mean",
)
RETURNS += ("eval/mean_reward", "episode_reward", "reward")
VARIANTS = ("variant", "algorithm", "algo", "agent", "method")
SEED = re.compile(r"seed[=_-]?(\d{1,9})(?!\d)|__(\d{1,9})__\d+", re.IGNORECASE)
ROWS = 100  # of the longest run, where a file has a row an episode
NAMES = ("monitor.csv", "*.monitor.csv", "progress.csv", "*.tfevents.*")  # looked for in a folder
EVENTS = {  # tags whose step counts env steps, and who writes them
    "charts/episodic_return": "CleanRL",
    "charts/episode_return": "CleanRL",
    "rollout/ep_rew_mean": "Stable-Baselines3",
    "eval/mean_reward": "Stable-Baselines3",
}
STEP = "step"  # --steps step: the step of an event counts env steps


@dataclass(frozen=True)
class Log:
    """One run: env_steps and return_mean, a row a point; seed None where the file does not say."""

    variant: str
    env: str
    seed: int | None
    tool: str
    source: Path
    rows: pd.DataFrame


def import_runs(
    words: Sequence[str],
    outputs: str | Path,
    study: str,
    env: str,
    threshold: float | None,
    steps: str,
    returns: str,
    choice: CellFilter = EVERYTHING,
) -> list[str]:
    """Import FILE or VARIANT=FILE; returns a line a variant. Raises UserError for what cannot be read or compared."""
    if threshold is not None and not np.isfinite(threshold):
        raise UserError(f"--threshold {threshold} is no return; write a number, or leave it out")
    named_files = [(name, file) for word in words for name, file in _named_files(word)]
    files = [file.resolve() for _, file in named_files]
    if twice := next((file for file in files if files.count(file) > 1), None):
        raise UserError(f"{one_line(str(twice), 100)} is named twice, and would count as two runs; name it once")
    read = [log for name, file in named_files for log in _read(file, name, env, steps, returns)]
    names = chosen_names(list(dict.fromkeys(log.variant for log in read)), choice, "variant")
    logs = [replace(log, variant=names[log.variant]) for log in read if log.variant in names]
    longest = max(float(log.rows["env_steps"].iloc[-1]) for log in logs)
    named = list(dict.fromkeys((log.env, log.variant) for log in logs))
    numbered = [(log, seed, counted) for log, (seed, counted) in zip(logs, _seeds(logs), strict=True)]
    taken: dict[tuple[str, str, int], Path] = {}
    for log, seed, _ in numbered:
        key = log.env, log.variant, seed
        if key in taken:
            raise UserError(f"{taken[key]} and {log.source} are both seed {seed} of {log.variant}; write NAME=FILE")
        taken[key] = log.source
    summary = []
    for place, (where, variant) in enumerate(named):
        own = [(log, seed, counted) for log, seed, counted in numbered if (log.env, log.variant) == (where, variant)]
        about = {"label": variant, "order": place, "iteration_steps": []}
        config = {"algorithm": {"name": variant, "about": about}, "env": {"name": where}, "probe": {"name": "off"}}
        config |= {"imported": {"tool": own[0][0].tool}, "threshold": threshold, "iterations": None}
        cell = Cell.at(outputs, study, [f"algorithm={variant}", f"env={where}"], config)
        cell.prepare()
        for log, seed, _ in own:
            _finish(cell, seed, log, longest / ROWS)
        seeds = ", ".join(f"{seed}" for _, seed, _ in own)
        guess = " (the files do not say: counted)" if any(counted for _, _, counted in own) else ""
        ends = [int(log.rows["env_steps"].iloc[-1]) for log, _, _ in own]
        span = f"{min(ends):,} to {max(ends):,}" if min(ends) < max(ends) else f"{ends[0]:,}"
        summary.append(f"{variant} on {where}: seeds {seeds}{guess}, {span} env steps, from {own[0][0].tool}")
    return summary


def _seeds(logs: Sequence[Log]) -> list[tuple[int, bool]]:
    """(seed, whether it was counted) of each."""
    count: dict[tuple[str, str], int] = {}
    found = []
    for log in logs:
        key = log.env, log.variant
        found.append((count.get(key, 0), True) if log.seed is None else (log.seed, False))
        count[key] = count.get(key, 0) + 1
    return found


def _finish(cell: Cell, seed: int, log: Log, width: float) -> None:
    """Publish a run. A file with a row an episode is averaged over `width` env steps."""
    rows = log.rows
    if "episodes" in rows:
        bins = np.ceil(rows["env_steps"] / max(width, 1.0))
        mean, last = rows.groupby(bins)["return_mean"].mean(), rows.groupby(bins)["env_steps"].last()
        counts = rows.groupby(bins)["episodes"].sum().cumsum()
        rows = pd.DataFrame({"env_steps": last, "return_mean": mean, "episodes": counts})
    curves = {"iteration": np.arange(1, len(rows) + 1)} | {name: rows[name].to_numpy() for name in rows}
    steps = int(rows["env_steps"].iloc[-1])
    source = {"file": str(log.source), "sha256": hashlib.sha256(log.source.read_bytes()).hexdigest()}
    made = {"iterations": len(rows), "env_steps": steps, "wall_time_s": 0.0, "started": "", "imported": source}
    cell.discard(seed)
    cell.finish(seed, curves, [], made | {"git_revision": None, "versions": {"imported from": log.tool}})


def _named_files(word: str) -> list[tuple[str, Path]]:
    """The files of FILE, VARIANT=FILE or a folder, each with the name that was given."""
    variant, equals, rest = word.partition("=")
    path = Path(word) if not equals or Path(word).exists() else Path(rest)
    name = variant if equals and not Path(word).exists() else ""
    files = [path] if path.is_file() else sorted({file for ending in NAMES for file in path.rglob(ending)})
    if not files:
        what = f"has no {', '.join(NAMES)}" if path.is_dir() else "is not a file"
        raise UserError(f"{one_line(str(path), 100)} {what}; name a log, or NAME=FILE with the variant's name")
    return [(name, file) for file in files]


def _events(file: Path, name: str, env: str, steps: str, returns: str) -> Log:
    """The run of a file of TensorBoard's. CleanRL's folders, env__name__seed__time, name it."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise UserError(f"{file} is a file of TensorBoard's; to read it: pip install tensorboard") from error
    if len(others := sorted(file.parent.glob("*.tfevents.*"))) > 1:
        raise UserError(f"{file.parent} has {len(others)} event files, of one run or of several; keep one in a folder")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0})  # 0: all of them
    events.Reload()
    tags = events.Tags()["scalars"]
    known = ", ".join(sorted(tags)) or "no scalars"
    tag = returns or next((tag for tag in EVENTS if tag in tags), "")
    if tag not in tags:
        missing = f"no tag {one_line(tag, 40)!r}" if tag else f"no tag of returns ({', '.join(EVENTS)})"
        raise UserError(f"{missing} in {file}; name it with --returns TAG; there are {one_line(known, 80)}")
    if tag not in EVENTS and not steps:
        raise UserError(
            f"what the steps of {one_line(tag, 40)} count is not told; runs are compared at equal env steps: if they "
            f"are, add --steps step; if another tag counts them, --steps TAG ({file})"
        )
    rows = pd.DataFrame([(event.step, event.value) for event in events.Scalars(tag)], columns=["at", "return_mean"])
    if steps in ("", STEP):
        rows["env_steps"] = rows["at"]
    elif steps in tags:
        counted = {event.step: event.value for event in events.Scalars(steps)}
        rows["env_steps"] = rows["at"].map(counted)
    else:
        raise UserError(f"no tag {one_line(steps, 40)!r} in {file}; there are {one_line(known, 80)}")
    if tag.startswith("charts/"):
        rows["episodes"] = 1
    tool, folder = EVENTS.get(tag, "TensorBoard"), file.parent.name
    parts = re.fullmatch(r"(.+?)__(.+)__\d+__\d+", folder)
    label = parts[2] if parts else re.sub(r"_\d+$", "", SEED.sub("", folder)).strip("_- ") or folder
    where = env or (parts[1] if parts else "")
    return _log(rows.drop(columns="at"), name or label, where, _seed(file), f"{tool} events", file)


def _read(file: Path, name: str, env: str, steps: str, returns: str) -> Iterator[Log]:
    if ".tfevents." in file.name:
        yield _events(file, name, env, steps, returns)
        return
    try:
        text = file.read_text(encoding="utf-8-sig")
        first, _, after = text.partition("\n")
        table = _table(after if first.startswith("#") else text)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8; name a log in CSV, saved in UTF-8") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(f"{file} cannot be read as CSV: {one_line(str(error), 80)}; name a log in CSV") from error
    if first.startswith("#") and {"r", "l"} <= set(table):
        known = re.search(r'"env_id": *"([^"]+)"', first)
        rows = pd.DataFrame({"env_steps": table["l"].cumsum(), "return_mean": table["r"], "episodes": 1})
        where = env or (known[1] if known else "")
        yield _log(rows, name or file.parent.name, where, _seed(file), "Stable-Baselines3 monitor.csv", file)
        return
    if table.empty:
        raise UserError(f"{file} has no rows; name a log in CSV with a row for each point")
    at = _column(table, STEPS, steps)
    if at is None:
        raise UserError(
            f"{file} has no column of env steps ({', '.join(STEPS[:4])}), without which runs cannot be compared at one "
            "budget; name it with --steps COLUMN if one of its columns counts them"
        )
    runs = [column for column in table if " - " in str(column) and not str(column).endswith(("__MIN", "__MAX"))]
    if runs and _column(table, RETURNS, returns) is None:
        # pandas numbers columns of one name, as of two runs that are called the same
        wanted = {column: re.sub(r"\.\d+$", "", str(column)).rpartition(" - ") for column in runs}
        for column, (run, _, metric) in wanted.items():
            if metric in ((returns,) if returns else RETURNS):
                rows = pd.DataFrame({"env_steps": table[at], "return_mean": table[column]})
                own = name or re.sub(r"^.*?__(.+?)__\d+__\d+$", r"\1", run)
                yield _log(rows, SEED.sub("", own).strip("_- ") or own, env, _seed(Path(run)), "Weights & Biases", file)
        return
    value = _column(table, RETURNS, returns)
    if value is None:
        raise UserError(f"{file} has no column of returns ({', '.join(RETURNS[:4])}); name it with --returns COLUMN")
    keys = [key for key in (_column(table, VARIANTS, ""), "seed", "env") if key and key in table]
    tool = "Stable-Baselines3 progress.csv" if "time/total_timesteps" in table else "a tidy CSV"
    for _, own in table.groupby(keys, sort=False, dropna=False) if keys else [((), table)]:
        first_row = own.iloc[0]
        label = str(first_row[keys[0]]) if keys and keys[0] in VARIANTS else ""
        seed = first_row.get("seed")
        number = _seed(file) if seed is None or pd.isna(seed) else _whole(seed, file)
        rows = pd.DataFrame({"env_steps": own[at], "return_mean": own[value]})
        yield _log(rows, name or label or file.parent.name, env or str(first_row.get("env", "")), number, tool, file)


def _table(text: str) -> pd.DataFrame:
    """A CSV with commas, or else with semicolons, beside which numbers may have a decimal comma, or tabs."""
    head = text.partition("\n")[0]
    mark = next((mark for mark in ",;\t" if mark in head), ",")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the head
        table = pd.read_csv(io.StringIO(text), sep=mark, index_col=False)
    if mark == ";":
        for name in table.columns[table.map(lambda value: isinstance(value, str)).any()]:
            numbers = pd.to_numeric(table[name].astype(str).str.replace(",", ".", regex=False), errors="coerce")
            table[name] = numbers if (numbers.notna() | table[name].isna()).all() else table[name]
    return table


def _whole(seed: object, file: Path) -> int:
    try:
        number = float(str(seed))
    except ValueError:
        number = -1.0
    if number < 0 or number != int(number):
        raise UserError(f"{file} has the seed {one_line(str(seed), 40)!r}; seeds are whole numbers from 0 on")
    return int(number)


def _log(rows: pd.DataFrame, variant: str, env: str, seed: int | None, tool: str, source: Path) -> Log:
    known = rows.apply(pd.to_numeric, errors="coerce").dropna().sort_values("env_steps", kind="stable")
    if not env:
        raise UserError(f"{source} does not say which environment it is of; name it with --env")
    if known.empty or known["env_steps"].iloc[0] < 0 or not np.isfinite(known.to_numpy()).all():
        raise UserError(
            f"{source} has no row with a number of env steps and a finite return for {variant or 'its run'}"
        )
    known["env_steps"] = known["env_steps"].round().astype(np.int64)
    return Log(variant or "imported", env, seed, tool, source, known.reset_index(drop=True))


def _seed(path: Path) -> int | None:
    """Of seed=3, seed_3 or env__name__3__time, the last that the path has."""
    found = [int(one or other) for one, other in SEED.findall(str(path))]
    return found[-1] if found else None


def _column(table: pd.DataFrame, names: Sequence[str], asked: str) -> str | None:
    if asked and asked not in table:
        few = ", ".join(map(str, table.columns[:8]))
        raise UserError(f"there is no column {one_line(asked, 40)!r}; the file has {one_line(few, 120)}")
    return asked or next((name for name in names if name in table), None)
