"""What is seen while a job runs: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ablate.refusal import one_line

LOG_SECONDS = 10  # between two plain lines


class Line(Protocol):
    def update(self, done: int, env_steps: int, mean_return: float) -> None:
        """Budget used and env steps taken by all seeds of the job since it began, and their mean return now."""
        ...


class Screen:
    """Writes to standard error, so that the table alone is on standard output."""

    def __init__(self, live: bool | None = None) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal if live is None else live

    def say(self, text: str) -> None:
        self.console.print(plain(text), soft_wrap=True)

    def warn(self, *lines: str) -> None:
        for line in lines:
            self.console.print(f"[yellow]warning:[/] {plain(line)}", soft_wrap=True)

    @contextmanager
    def job(self, label: str, total: int, done: int) -> Iterator[Line]:
        """A job of ``total`` iterations (or env steps) over all its seeds, ``done`` of them earlier."""
        if not self.live:
            self.say(f"{label}: training")
            line = _LogLine(self, label, total, done)
            yield line
            line.end()
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("return {task.fields[mean_return]:>7.4g}"),
            TextColumn("{task.fields[rate]:>9,.0f} steps/s"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console, refresh_per_second=5) as progress:
            task = progress.add_task(plain(label), total=total, completed=done, mean_return=float("nan"), rate=0.0)
            yield _LiveLine(progress, task, done)


class _LiveLine:
    def __init__(self, progress: Progress, task: TaskID, before: int) -> None:
        self.progress, self.task, self.before, self.began = progress, task, before, time.monotonic()

    def update(self, done: int, env_steps: int, mean_return: float) -> None:
        rate = env_steps / max(time.monotonic() - self.began, 1e-9)
        self.progress.update(self.task, completed=self.before + done, mean_return=mean_return, rate=rate)


class _LogLine:
    def __init__(self, screen: Screen, label: str, total: int, before: int) -> None:
        self.screen, self.label, self.total, self.before = screen, label, total, before
        self.began = self.last = time.monotonic()
        self.done, self.rate, self.mean_return = 0, 0.0, float("nan")

    def update(self, done: int, env_steps: int, mean_return: float) -> None:
        now = time.monotonic()
        elapsed = max(now - self.began, 1e-9)
        self.done, self.rate, self.mean_return = done, env_steps / elapsed, mean_return
        if done > 0 and now - self.last >= LOG_SECONDS:
            self.last = now
            self._say(f"about {elapsed / done * (self.total - self.before - done):.0f} s left")

    def end(self) -> None:
        if self.done > 0:
            self._say("done")

    def _say(self, then: str) -> None:
        share = (self.before + self.done) / self.total
        self.screen.say(f"{self.label}: {share:.0%}, return {self.mean_return:.4g}, {self.rate:,.0f} steps/s, {then}")


def plain(text: str) -> str:
    """Text for rich, of any length: no markup of its, and no order to the terminal."""
    return escape(one_line(text, max(1, len(text))))


def error(text: str, longest: int = 292) -> None:
    """One line on standard error, of 300 characters with what stands in front."""
    print(f"ablate: {one_line(text, longest)}", file=sys.stderr)
