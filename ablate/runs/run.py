"""One job: its seeds, less those that are done, in blocks, on the workers, into the store."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from ablate import build
from ablate.configuration import Job
from ablate.configuration.words import ranges
from ablate.refusal import Refusal
from ablate.runs import memory, resources
from ablate.runs.budget import Budget
from ablate.runs.resources import cores
from ablate.runs.screen import Line, Screen
from ablate.runs.workers import Ticket, Workers, uninterrupted
from ablate.store import Cell, check_writable

LARGEST_BLOCK = 32  # seeds; more gain no speed
MEMORY_SHARE = 0.9  # of the memory at hand, which a job may take
TICK = 0.1  # seconds between two looks at the workers
PATIENCE_SECONDS = 30.0  # without an iteration, before it is said who is waited for
STOP_SECONDS = 20.0  # for the workers to save what is under way


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


_workers: dict[int, Workers] = {}  # started by the first job that trains, kept for the next


def run(job: Job, label: str, screen: Screen) -> Summary:
    """Bring every seed of a job to its end, and tell what became of each. What is done already is left alone.

    Raises Refusal where the outputs folder cannot be written, KeyboardInterrupt after saving all that is under way.
    """
    check_writable(job.outputs)
    cell = Cell.at(job.outputs, job.study, job.overrides, job.config)
    summary = Summary(label, cell.name, job.outputs, job.study)
    screen.warn(*cell.prepare())
    if job.overwrite:
        for seed in job.seeds:
            cell.discard(seed)
    outcomes, todo = _standing(cell, job.seeds, screen)
    for seed, outcome in outcomes.items():
        if outcome == "complete":
            summary.skipped.append(seed)
        else:
            summary.diverged[seed] = _divergence(cell, seed) + "; overwrite=true tries again"
    if todo:
        processes = min(len(todo), job.workers or cores())
        block = min(LARGEST_BLOCK, -(-len(todo) // processes))
        at_hand = None if (left := resources.memory()) is None else MEMORY_SHARE * left
        memory.check(job.config, build.environment(job.config), block, processes, at_hand)
        _train(cell, todo, job, summary, screen)
    return summary


class Standing(NamedTuple):
    """Where a seed that is not done stands."""

    iteration: int
    used: int  # of its budget


def _standing(cell: Cell, seeds: Iterable[int], screen: Screen) -> tuple[dict[int, str], dict[int, Standing]]:
    """What became of the seeds that are done, and where each of the others stands."""
    outcomes: dict[int, str] = {}
    todo: dict[int, Standing] = {}
    budget = Budget.of(cell.config)
    for seed in seeds:
        screen.warn(*cell.repair(seed))
        status = cell.status(seed)
        if status in ("complete", "diverged"):
            outcomes[seed] = status
        else:
            checkpoint = cell.load_checkpoint(seed)
            iteration, steps = (checkpoint.iteration, checkpoint.curves["env_steps"][-1]) if checkpoint else (0, 0)
            todo[seed] = Standing(iteration, int(budget.used(iteration, steps)))
    return outcomes, todo


def _train(cell: Cell, todo: dict[int, Standing], job: Job, summary: Summary, screen: Screen) -> None:
    began = time.monotonic()
    with screen.job(summary.label, Budget.of(job.config).size * len(todo), _used(todo)) as line:
        handed = _Handed(cell, job, summary.label, screen, line)
        try:
            handed.train(todo)
        finally:
            summary.env_steps += handed.env_steps
            summary.seconds += time.monotonic() - began
    for seed, outcome in sorted(handed.outcomes.items()):
        if outcome == "complete":
            summary.complete.append(seed)
        elif outcome == "diverged":
            summary.diverged[seed] = _divergence(cell, seed)
    summary.failed |= dict(sorted(handed.troubles.items()))


class _Handed:
    """The seeds of one job, handed to the workers and waited for."""

    def __init__(self, cell: Cell, job: Job, label: str, screen: Screen, line: Line) -> None:
        self.cell, self.checkpoint_seconds, self.screen, self.line = cell, job.checkpoint_seconds, screen, line
        self.label, self.processes = label, job.workers or cores()
        self.outcomes: dict[int, str] = {}
        self.troubles: dict[int, str] = {}
        self.budget = Budget.of(job.config)
        self.at: dict[int, Standing] = {}  # where each seed stands that is not under way
        self.before = self.env_steps = 0

    def train(self, todo: dict[int, Standing]) -> None:
        """All seeds side by side. The seeds of a block that raised are tried once more, each by itself. Those whose
        process died, as they were: it may have been killed by mistake. If it dies again, one at a time, so that only
        the guilty fail."""
        self.at, self.before = dict(todo), _used(todo)
        again = self._work(blocks(todo, self.processes))
        alone = [(seed,) for seed in self._unfinished(again.raised)]
        again = self._work(alone + blocks(self._unfinished(again.died), self.processes))
        self._work([(seed,) for seed in self._unfinished(again.died + again.raised)])

    def _unfinished(self, seeds: Iterable[int]) -> dict[int, Standing]:
        """Those that were not done before their block came down, and where each stands."""
        outcomes, todo = _standing(self.cell, seeds, self.screen)
        self._note(outcomes)
        self.at |= todo
        return todo

    def _note(self, outcomes: dict[int, str]) -> None:
        self.outcomes |= outcomes
        for seed in outcomes:
            self.at[seed] = Standing(0, self.budget.size)
            self.troubles.pop(seed, None)

    def _work(self, blocks: Sequence[tuple[int, ...]]) -> "_Again":
        again = _Again()
        if not blocks:
            return again
        with uninterrupted():
            workers = _workers.get(self.processes) or _workers.setdefault(self.processes, Workers(self.processes))
        tickets = [workers.submit(self.cell, seeds, self.checkpoint_seconds) for seeds in blocks]
        patience = _Patience(self.label, self.screen)
        try:
            while any(ticket.pending for ticket in tickets):
                workers.wait(TICK)
                self._show(tickets)
                patience.look(workers.at_work)
        except BaseException:
            _workers.pop(self.processes)
            self._stop(workers)
            raise
        self.env_steps += _total(tickets)[1]
        for ticket in tickets:
            self._settle(ticket, again)
        return again

    def _stop(self, workers: Workers) -> None:
        """Save what is under way; a second interrupt ends it as it is."""
        seeds = [seed for ticket in workers.at_work for seed in ticket.seeds]
        try:
            if seeds:
                self.screen.say(f"{self.label}: saving seeds {ranges(sorted(seeds))}; once more stops at once")
            if left := workers.stop(STOP_SECONDS):
                seeds = sorted(seed for ticket in left for seed in ticket.seeds)
                self.screen.warn(
                    f"seeds {ranges(seeds)} did not answer in {STOP_SECONDS} s; they go on where they were saved"
                )
        except KeyboardInterrupt:
            workers.kill()
            raise

    def _show(self, tickets: Sequence[Ticket]) -> None:
        done, steps, mean_return = _total(tickets)
        self.line.update(_used(self.at) - self.before + done, self.env_steps + steps, mean_return)

    def _settle(self, ticket: Ticket, again: "_Again") -> None:
        if ticket.trouble is None:
            self._note(ticket.outcomes or {})
            return
        kind, text, trace = ticket.trouble
        self.troubles |= dict.fromkeys(ticket.seeds, text)
        if kind == "died":
            again.died += ticket.seeds
        elif kind == "raised" and len(ticket.seeds) > 1:
            again.raised += ticket.seeds
        for seed in ticket.seeds if trace else ():
            self.cell.fail(seed, trace)


@dataclass
class _Again:
    """Seeds that did not come to their end: their process died, or their block raised."""

    died: list[int] = field(default_factory=list)
    raised: list[int] = field(default_factory=list)


def _used(standing: Mapping[int, Standing]) -> int:
    return sum(each.used for each in standing.values())


def blocks(todo: Mapping[int, Standing], processes: int) -> list[tuple[int, ...]]:
    """Seeds that stand at the same iteration, in blocks that share the work out evenly."""
    size = min(LARGEST_BLOCK, -(-len(todo) // processes))
    result = []
    for _, group in groupby(sorted(todo, key=lambda seed: (todo[seed].iteration, seed)), lambda s: todo[s].iteration):
        seeds = list(group)
        parts = -(-len(seeds) // size)
        result += [tuple(seeds[k::parts]) for k in range(parts)]
    return result


def _total(tickets: Sequence[Ticket]) -> tuple[int, int, float]:
    progress = [ticket.progress() for ticket in tickets]
    known = [mean_return for _, _, mean_return in progress if mean_return == mean_return]
    done, steps = sum(each[0] for each in progress), sum(each[1] for each in progress)
    return done, steps, sum(known) / len(known) if known else float("nan")


class _Patience:
    """Tells of blocks that have not finished an iteration for long, and then at ever longer intervals."""

    def __init__(self, label: str, screen: Screen) -> None:
        self.label, self.screen = label, screen
        self.told: dict[Ticket, float] = {}

    def look(self, at_work: Sequence[Ticket]) -> None:
        now = time.monotonic()
        for ticket in at_work:
            waited = now - (ticket.since or now)
            if waited < PATIENCE_SECONDS:
                self.told.pop(ticket, None)
            elif waited >= 2 * self.told.get(ticket, 0.0):
                self.told[ticket] = waited
                began = f"{datetime.now() - timedelta(seconds=waited):%H:%M:%S}"
                self.screen.say(
                    f"{self.label}: seeds {ranges(sorted(ticket.seeds))} are at the same iteration since {began}, for "
                    f"{waited:.0f} s; Ctrl-C stops"
                )


def _divergence(cell: Cell, seed: int) -> str:
    try:
        manifest = cell.manifest(seed)
    except Refusal:
        return "diverged, and was then taken away by another process; run the command again"
    return f"diverged at iteration {manifest['iteration']}: {manifest['reason']}"
