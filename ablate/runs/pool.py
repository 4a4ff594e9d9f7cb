"""The cells of a sweep as one pool of work: blocks of seeds go to whichever process is free, wide and long ones first.

Seeds side by side share the overhead of every step, so a block has all seeds of its cell while there is enough for
every process. The tail is split: where a process has nothing to do, the block with most left saves its seeds, returns
them, and is shared out. No number depends on how the work is cut.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from ablate.configuration import IncompatibleSettings, Job
from ablate.configuration.overrides import ranges
from ablate.configuration.ranges import Dask
from ablate.errors import UserError
from ablate.resources import cores
from ablate.runs.cluster import Cluster
from ablate.runs.progress import Line, ProgressReporter
from ablate.runs.run import CellScheduler, SeedBlock, Summary
from ablate.runs.workers import TaskHandle, Workers, uninterrupted
from ablate.store import Cell, check_writable, record_job

TICK = 0.1  # seconds between two looks at the workers
PATIENCE_SECONDS = 30.0  # without an iteration, before it is said who is waited for
STOP_SECONDS = 20.0  # for the workers to save what is under way
SPLIT_SECONDS = 2.0  # that a block must have left for its split to be worth the saving and loading

_workers: dict[int | Dask, Workers | Cluster] = {}  # started by the first pool that trains, kept for the next


def run(job: Job, label: str, reporter: ProgressReporter) -> Summary:
    """Bring every seed of one job to its end, and tell what became of each. What is done already is left alone.

    Raises UserError where the outputs folder cannot be written, KeyboardInterrupt after saving all that is under way.
    """
    pool = Pool(reporter)
    summary = pool.add(job, label)
    pool.finish()
    return summary


class Pool:
    """The jobs of a sweep that were taken on and not run yet."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self.reporter = reporter
        self._processes: int | Dask = 1
        self._schedulers: dict[Path, CellScheduler] = {}
        self._taken: list[tuple[Path, str, Job | UserError]] = []
        self._records: dict[Path, Summary] = {}

    def take(self, record: Path, label: str, resolved: Callable[[], Job]) -> None:
        """Take down a job of the sweep, or why it is refused; a folder is for the record of what became of it. Writes
        nothing."""
        try:
            self._taken.append((record, label, resolved()))
        except UserError as error:
            self._taken.append((record, label, error))

    def _take_on(self) -> None:
        """The jobs that were taken down; those of one cell have one record."""
        told = set[int]()
        for record, label, job in self._taken:
            summary = self._added(job, label)
            if id(summary) not in told:
                self._records[record] = summary
            told.add(id(summary))
        self._taken = []

    def _added(self, job: Job | UserError, label: str) -> Summary:
        try:
            if isinstance(job, UserError):
                raise job
            return self.add(job, label)
        except UserError as error:
            return Summary(label, refused=str(error), impossible=isinstance(error, IncompatibleSettings))
        except SystemExit as left:  # user code is tried before the workers get it
            return Summary(label, refused=f"its code raised SystemExit({left}), as sys.exit does, as it was set up")

    def add(self, job: Job, label: str) -> Summary:
        """Take on a job; jobs of the same cell are one. Raises UserError where it cannot be run."""
        check_writable(job.outputs)
        cell = Cell.at(job.outputs, job.study, job.overrides, job.config)
        processes = job.workers or cores()
        if not isinstance(self._processes, Dask):
            self._processes = processes if isinstance(processes, Dask) else max(self._processes, processes)
        scheduler = self._schedulers.get(cell.path) or CellScheduler(cell, job, label, self.reporter)
        scheduler.add(job)
        self.reporter.warning(*cell.prepare())  # now that it fits in memory
        self._schedulers[cell.path] = scheduler
        return scheduler.summary

    def finish(self) -> None:
        """Bring all seeds to their ends, and record what became of each job."""
        try:
            self._take_on()
            if todo := [scheduler for scheduler in self._schedulers.values() if scheduler.at]:
                _Training(todo, _started(self._processes, self.reporter), self.reporter).run()
        except UserError as error:  # nothing can be started
            for scheduler in todo:
                scheduler.summary.refused = str(error)
        finally:
            for folder, summary in self._records.items():
                record_job(folder, asdict(summary))
            self._schedulers, self._records = {}, {}
            for kept in [kept for kept in _workers if isinstance(kept, Dask)]:
                _workers.pop(kept).kill()


def _started(processes: int | Dask, reporter: ProgressReporter) -> Workers | Cluster:
    with uninterrupted():
        if processes not in _workers:
            made = Cluster(processes, reporter) if isinstance(processes, Dask) else Workers(processes)
            _workers[processes] = made
    return _workers[processes]


def _begins(block: SeedBlock) -> tuple[int, bool]:
    """Wide blocks begin first, and of those as wide the ones that train a critic too: begun last, the longest would
    have to be cut for the other processes, and seeds side by side gain speed."""
    return -len(block.seeds), not block.scheduler.cell.config.get("critic")


class _Training:
    """Blocks that wait, and blocks that are under way."""

    def __init__(
        self, schedulers: Sequence[CellScheduler], workers: Workers | Cluster, reporter: ProgressReporter
    ) -> None:
        self.schedulers, self.workers, self.reporter = schedulers, workers, reporter
        self.label = schedulers[0].summary.label if len(schedulers) == 1 else f"{len(schedulers)} jobs"
        blocks = [block for scheduler in schedulers for block in scheduler.blocks()]
        self.waiting = deque(sorted(blocks, key=_begins))
        self.at_work: dict[TaskHandle, SeedBlock] = {}
        self.divided: set[TaskHandle] = set()  # asked to return their seeds
        self.used = sum(scheduler.share for scheduler in schedulers)  # counted in seeds
        self.env_steps = self.ended = 0
        self.mean_return = float("nan")  # of the seeds under way, where there is one job
        self.under_way = Counter(block.scheduler for block in blocks)  # blocks of each cell

    def run(self) -> None:
        seeds = sum(len(scheduler.at) for scheduler in self.schedulers)
        patience, seen = _Patience(self.reporter), time.monotonic()
        with self.reporter.sweep(self.label, len(self.schedulers), seeds, self.used) as line:
            try:
                while self.waiting or self.at_work:
                    self._hand_out()
                    self.workers.wait(TICK)
                    before, seen = seen, time.monotonic()
                    for scheduler in {block.scheduler for block in self.at_work.values()}:
                        scheduler.summary.seconds += seen - before
                    self._show(line)
                    self._collect()
                    patience.look({handle: self.at_work[handle] for handle in self.workers.at_work})
                self._show(line)
            except UserError as error:  # no process can be started
                self._drop()
                for scheduler in {block.scheduler for block in (*self.waiting, *self.at_work.values())}:
                    scheduler.summary.refused = str(error)
            except BaseException:
                self._drop()
                raise
        for scheduler in self.schedulers:
            scheduler.conclude()

    def _hand_out(self) -> None:
        while self.waiting and (free := self.workers.processes - len(self.at_work)) > 0:
            block = self.waiting.popleft()
            if len(self.waiting) + 1 < free:
                seeds = len(block.seeds) + sum(len(other.seeds) for other in self.waiting)
                block, *left = block.cut(-(-seeds // free))
                self.waiting.extendleft(left)
                self.under_way[block.scheduler] += len(left)
            self.at_work[self.workers.submit(block.scheduler.cell, block.seeds, block.scheduler.checkpoint_seconds)] = (
                block
            )
        if not self.waiting and len(self.at_work) < self.workers.processes and not self.divided:
            self._divide()

    def _divide(self) -> None:
        """Ask the block with most left for its seeds, to share them out."""
        left = {
            handle: self._seconds_left(handle, block)
            for handle, block in self.at_work.items()
            if len(block.seeds) > 1 and block.scheduler.divisible
        }
        if left and max(left.values()) > SPLIT_SECONDS:
            longest = max(left, key=lambda handle: left[handle])
            longest.divide()
            self.divided.add(longest)

    def _seconds_left(self, handle: TaskHandle, block: SeedBlock) -> float:
        done, began = handle.progress()[0], handle.began
        return (time.monotonic() - began) * (block.scheduler.left(block.seeds) / done - 1) if done and began else 0.0

    def _collect(self) -> None:
        for handle in [handle for handle in self.at_work if not handle.pending]:
            block, steps = self.at_work.pop(handle), handle.progress()[1]
            self.divided.discard(handle)
            self.env_steps += steps
            block.scheduler.summary.env_steps += steps
            self.used -= block.scheduler.share
            again = block.scheduler.settle(block, handle)
            self.used += block.scheduler.share
            self.waiting.extend(again)
            self.under_way[block.scheduler] += len(again) - 1
            self.ended += not self.under_way[block.scheduler]

    def _show(self, line: Line) -> None:
        used, steps, returns = self.used, self.env_steps, []
        for handle, block in self.at_work.items():
            done, taken, mean_return = handle.progress()
            used, steps = used + done / block.scheduler.budget.size, steps + taken
            returns += [mean_return] if mean_return == mean_return else []
        if returns and len(self.schedulers) == 1:
            self.mean_return = sum(returns) / len(returns)
        line.update(self.ended, used, steps, self.mean_return)

    def _drop(self) -> None:
        """Save what is under way; a second interrupt ends it as it is."""
        for processes in [processes for processes, kept in _workers.items() if kept is self.workers]:
            del _workers[processes]
        seeds = [seed for handle in self.workers.at_work for seed in handle.seeds]
        try:
            if seeds:
                what = (
                    f"seeds {ranges(sorted(seeds))}" if len(self.schedulers) == 1 else f"{len(seeds)} seeds under way"
                )
                self.reporter.info(f"{self.label}: saving {what}; once more stops at once")
            if left := self.workers.stop(STOP_SECONDS):
                told = "; ".join(self.at_work[handle].name for handle in left)
                self.reporter.warning(f"{told} did not answer in {STOP_SECONDS} s; they go on where they were saved")
        except KeyboardInterrupt:
            self.workers.kill()
            raise


class _Patience:
    """Tells of blocks that have not finished an iteration for long, and then at ever longer intervals."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self.reporter = reporter
        self.told: dict[TaskHandle, float] = {}

    def look(self, at_work: dict[TaskHandle, SeedBlock]) -> None:
        now = time.monotonic()
        for handle, block in at_work.items():
            waited = now - (handle.since or now)
            if waited < PATIENCE_SECONDS:
                self.told.pop(handle, None)
            elif waited >= 2 * self.told.get(handle, 0.0):
                self.told[handle] = waited
                began = f"{datetime.now() - timedelta(seconds=waited):%H:%M:%S}"
                self.reporter.info(
                    f"{block.name} are at the same iteration since {began}, for {waited:.0f} s; Ctrl-C stops"
                )
