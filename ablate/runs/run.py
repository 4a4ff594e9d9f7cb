"""One cell of a sweep: its seeds, less those that are done, in blocks, and what becomes of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ablate import build, resources
from ablate.configuration import Job
from ablate.configuration.overrides import ranges
from ablate.configuration.ranges import Dask
from ablate.errors import UserError
from ablate.runs import memory
from ablate.runs.budget import Budget
from ablate.runs.progress import ProgressReporter
from ablate.runs.workers import TaskHandle
from ablate.store import Cell
from ablate.user_code import runs_users

LARGEST_BLOCK = 32  # seeds; more gain no speed
MEMORY_SHARE = 0.9  # of the memory at hand, which a sweep may take


@dataclass
class Summary:
    """What became of one job: its cell, and its seeds by outcome."""

    label: str
    cell: str = ""
    outputs: str = ""
    study: str = ""
    complete: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)  # done before
    diverged: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    refused: str | None = None
    impossible: bool = False  # refused because such a cell cannot be, not because of a wrong value
    env_steps: int = 0
    seconds: float = 0.0


class SeedProgress(NamedTuple):
    """Where a seed stands."""

    iteration: int
    used: int  # of its budget


def progress_of(
    cell: Cell, seeds: Iterable[int], reporter: ProgressReporter
) -> tuple[dict[int, str], dict[int, SeedProgress]]:
    """What became of the seeds that are done, and where each of the others stands."""
    outcomes: dict[int, str] = {}
    todo: dict[int, SeedProgress] = {}
    budget = Budget.of(cell.config)
    for seed in seeds:
        reporter.warning(*cell.repair(seed))
        status = cell.status(seed)
        if status in ("complete", "diverged"):
            outcomes[seed] = status
        else:
            checkpoint = cell.load_checkpoint(seed)
            iteration, steps = (checkpoint.iteration, checkpoint.curves["env_steps"][-1]) if checkpoint else (0, 0)
            todo[seed] = SeedProgress(iteration, int(budget.used(iteration, steps)))
    return outcomes, todo


class SeedBlock(NamedTuple):
    """Seeds of one cell that stand at the same iteration and go to one process."""

    scheduler: "CellScheduler"
    seeds: tuple[int, ...]
    deaths: int = 0  # of processes that were at these seeds

    @property
    def name(self) -> str:
        return f"{self.scheduler.summary.label}: seeds {ranges(sorted(self.seeds))}"

    def cut(self, most: int) -> "list[SeedBlock]":
        """Blocks of at most so many seeds, as even as can be; the first of them and what is left, if anything is."""
        parts = -(-len(self.seeds) // most)
        first = self.seeds[::parts]
        left = tuple(seed for k, seed in enumerate(self.seeds) if k % parts)
        return [self._replace(seeds=seeds) for seeds in (first, left) if seeds]


class CellScheduler:
    """What is left to do of one cell. The seeds of a block that raised are tried once more, each by itself. Those whose
    process died, as they were: it may have been killed by mistake. If it dies again, each by itself, so that only the
    guilty fail."""

    def __init__(self, cell: Cell, job: Job, label: str, reporter: ProgressReporter) -> None:
        self.cell, self.checkpoint_seconds, self.reporter = cell, job.checkpoint_seconds, reporter
        self.summary = Summary(label, cell.name, job.outputs, job.study)
        self.budget = Budget.of(job.config)
        self.divisible = not runs_users(job.config)  # while it is under way; user code need not know how to go on
        self.at: dict[int, SeedProgress] = {}  # where each seed stood before the block that it is in now
        self.outcomes: dict[int, str] = {}

    def add(self, job: Job) -> None:
        """Take on the seeds of a job of this cell. Raises UserError where they do not fit in memory."""
        seeds = [seed for seed in job.seeds if seed not in self.at]
        if job.overwrite:
            for seed in seeds:
                self.cell.discard(seed)
        outcomes, todo = progress_of(self.cell, seeds, self.reporter)
        if todo:
            env = build.environment(job.config)
            processes = job.workers if isinstance(job.workers, int) else resources.cores()
            left = None if isinstance(job.workers, Dask) and job.workers.scheduler else resources.memory()
            at_hand = None if left is None else MEMORY_SHARE * left  # of another machine, nothing is known
            share = min(LARGEST_BLOCK, -(-len(todo) // processes))
            memory.check(job.config, env, share, min(len(todo), processes), at_hand)
            self.widest = max(share, memory.widest(job.config, env, LARGEST_BLOCK, processes, at_hand))
        self.at |= todo
        for seed, outcome in outcomes.items():
            if outcome == "complete":
                self.summary.skipped.append(seed)
            else:
                self.summary.diverged[seed] = _divergence(self.cell, seed) + "; overwrite=true tries again"

    def blocks(self) -> list[SeedBlock]:
        """All its seeds, in blocks as wide as they gain speed and fit in memory."""
        return [SeedBlock(self, seeds) for seeds in blocks(self.at, self.widest)]

    @property
    def share(self) -> float:
        """How much of the budgets of its seeds is used, counted in seeds; that of blocks under way apart."""
        return sum(each.used for each in self.at.values()) / self.budget.size

    def left(self, seeds: Iterable[int]) -> int:
        """Budget that these seeds had left before their block."""
        return sum(self.budget.size - self.at[seed].used for seed in seeds)

    def settle(self, block: SeedBlock, handle: TaskHandle) -> list[SeedBlock]:
        """Take what became of a block; returns the blocks in which its seeds are to go on."""
        if handle.failure is None:
            outcomes = handle.outcomes or {}
            self._note({seed: outcome for seed, outcome in outcomes.items() if outcome != "stopped"})
            stopped = self._unfinished(seed for seed, outcome in outcomes.items() if outcome == "stopped")
            return self._again(stopped, self.widest, block.deaths)
        kind, text, trace = handle.failure
        self.summary.failed |= dict.fromkeys(handle.seeds, text)
        for seed in handle.seeds if trace else ():
            self.cell.fail(seed, trace)
        if kind == "died" and not block.deaths:
            return self._again(self._unfinished(handle.seeds), len(handle.seeds), 1)
        if kind != "refused" and len(handle.seeds) > 1:
            return self._again(self._unfinished(handle.seeds), 1, block.deaths)
        return []

    def conclude(self) -> None:
        """Fill in the summary, once there is no more to be done."""
        for seed, outcome in sorted(self.outcomes.items()):
            if outcome == "complete":
                self.summary.complete.append(seed)
            elif outcome == "diverged":
                self.summary.diverged[seed] = _divergence(self.cell, seed)
        self.summary.failed = dict(sorted(self.summary.failed.items()))

    def _again(self, todo: Mapping[int, SeedProgress], widest: int, deaths: int) -> list[SeedBlock]:
        return [SeedBlock(self, seeds, deaths) for seeds in blocks(todo, widest)]

    def _unfinished(self, seeds: Iterable[int]) -> dict[int, SeedProgress]:
        """Those that were not done before their block came down, and where each stands."""
        outcomes, todo = progress_of(self.cell, seeds, self.reporter)
        self._note(outcomes)
        self.at |= todo
        return todo

    def _note(self, outcomes: Mapping[int, str]) -> None:
        self.outcomes |= outcomes
        for seed in outcomes:
            self.at[seed] = SeedProgress(0, self.budget.size)
            self.summary.failed.pop(seed, None)


def blocks(todo: Mapping[int, SeedProgress], widest: int) -> list[tuple[int, ...]]:
    """Seeds that stand at the same iteration, in blocks of at most so many, as even as can be."""
    result = []
    for _, group in groupby(sorted(todo, key=lambda seed: (todo[seed].iteration, seed)), lambda s: todo[s].iteration):
        seeds = list(group)
        parts = -(-len(seeds) // widest)
        result += [tuple(seeds[k::parts]) for k in range(parts)]
    return result


def _divergence(cell: Cell, seed: int) -> str:
    try:
        manifest = cell.manifest(seed)
    except UserError:
        return "diverged, and was then taken away by another process; run the command again"
    return f"diverged at iteration {manifest['iteration']}: {manifest['reason']}"
