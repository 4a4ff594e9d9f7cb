"""What is seen while a sweep runs: a live line on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from ablate.errors import one_line

SECONDS = "ABLATE_PROGRESS_SECONDS"  # the variable that says how far two plain lines are apart
LOG_SECONDS = 10  # where it says nothing
WIDE = 100  # columns from which on the live line has room for all


class Line(Protocol):
    def update(self, ended: int, used: float, env_steps: int, mean_return: float) -> None:
        """Jobs at their end, budgets used of all seeds, and env steps taken since it began; of one job, the mean return
        of its seeds now, else NaN."""
        ...


class ProgressReporter:
    """Writes to standard error, so that the table alone is on standard output."""

    def __init__(self, live: bool | None = None) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = sys.stderr.isatty() if live is None else live  # rich also calls a pipe a terminal, for FORCE_COLOR

    def info(self, text: str) -> None:
        self.console.print(plain(text), soft_wrap=True)

    def warning(self, *lines: str) -> None:
        for line in lines:
            self.console.print(f"[yellow]warning:[/] {plain(line)}", soft_wrap=True)

    @contextmanager
    def sweep(self, label: str, jobs: int, total: float, used: float) -> Iterator[Line]:
        """So many jobs, whose budgets come to ``total`` (one a seed), ``used`` of them earlier."""
        if not self.live:
            self.info(f"{label}: training")
            log = _LogLine(self, label, jobs, total, used)
            yield log
            log.end()
            return
        wide = self.console.width >= WIDE
        columns = [
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=24 if wide else 8),
            TaskProgressColumn(),
            *([TextColumn("{task.fields[returns]}")] if jobs == 1 else []),
            *([TextColumn("{task.fields[rate]:>9,.0f} steps/s")] if wide else []),
            TextColumn("{task.fields[left]:>10}"),
        ]
        with Progress(*columns, console=self.console, refresh_per_second=5, expand=True) as progress:
            task = progress.add_task("", total=total, returns="", rate=0.0, left="")
            line = _LiveLine(progress, task, label, jobs)
            line.update(0, used, 0, float("nan"))
            yield line


class _LiveLine:
    def __init__(self, progress: Progress, task: TaskID, label: str, jobs: int) -> None:
        self.progress, self.task, self.label, self.jobs = progress, task, label, jobs
        self.began, self.before, self.total = time.monotonic(), 0.0, progress.tasks[0].total or 0.0

    def update(self, ended: int, used: float, env_steps: int, mean_return: float) -> None:
        elapsed = max(time.monotonic() - self.began, 1e-9)
        self.before = self.before if env_steps else used
        left = _clock(elapsed / (used - self.before) * (self.total - used)) + " left" if used > self.before else ""
        fields: dict[str, Any] = {"returns": _returns(mean_return), "rate": env_steps / elapsed, "left": left}
        told = plain(self.label) if self.jobs == 1 else f"{ended} of {self.label} done"
        self.progress.update(self.task, description=told, completed=used, **fields)


class _LogLine:
    def __init__(self, reporter: ProgressReporter, label: str, jobs: int, total: float, used: float) -> None:
        self.reporter, self.label, self.jobs, self.total, self.before = reporter, label, jobs, total, used
        self.began = self.last = time.monotonic()
        self.seconds = float(os.environ.get(SECONDS, LOG_SECONDS))
        self.ended, self.used, self.rate, self.mean_return = 0, used, 0.0, float("nan")

    def update(self, ended: int, used: float, env_steps: int, mean_return: float) -> None:
        now = time.monotonic()
        elapsed = max(now - self.began, 1e-9)
        self.ended, self.used, self.rate, self.mean_return = ended, used, env_steps / elapsed, mean_return
        if used > self.before and now - self.last >= self.seconds:
            self.last = now
            self._say(f"{_clock(elapsed / (used - self.before) * (self.total - used))} left")

    def end(self) -> None:
        if self.used > self.before:
            self._say("done")

    def _say(self, then: str) -> None:
        what = f"{self.label}:" if self.jobs == 1 else f"{self.ended} of {self.label}:"
        known = self.jobs == 1 and self.mean_return == self.mean_return
        returns = f" return {self.mean_return:.4g}," if known else ""
        self.reporter.info(f"{what} {self.used / self.total:.0%},{returns} {self.rate:,.0f} steps/s, {then}")


def _returns(mean: float) -> str:
    """Of as many letters whether or not it is known."""
    return f"return {f'{mean:.4g}' if mean == mean else '–':>8}"


def _clock(seconds: float) -> str:
    """0:07, 12:34 or 1:23:45."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(text: str) -> str:
    """Text for rich, of any length: no markup of its, and no order to the terminal."""
    return escape(one_line(text, max(1, len(text))))


def error(text: str, longest: int = 292) -> None:
    """One line on standard error, of 300 characters with what stands in front."""
    print(f"ablate: {one_line(text, longest)}", file=sys.stderr)
