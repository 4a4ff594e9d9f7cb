"""One job: its seeds, less those that are done, in blocks, on the workers, into the store."""

import time
import traceback
from collections.abc import Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import groupby

from ablate.config import Job
from ablate.refusal import Refusal
from ablate.screen import Line, Screen
from ablate.store import Cell, check_writable
from ablate.workers import Ticket, Workers, cores

LARGEST_BLOCK = 32  # seeds; more gain no speed


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
    stopped: list[int] = field(default_factory=list)
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
    todo: dict[int, int] = {}  # seed -> the iteration where it stands
    for seed in job.seeds:
        screen.warn(*cell.repair(seed))
        match cell.status(seed):
            case "complete":
                summary.skipped.append(seed)
            case "diverged":
                summary.diverged[seed] = _divergence(cell, seed) + "; overwrite=true tries again"
            case _:
                checkpoint = cell.load_checkpoint(seed)
                todo[seed] = checkpoint.iteration if checkpoint else 0
    if todo:
        _train(cell, todo, job, summary, screen)
    return summary


def _train(cell: Cell, todo: dict[int, int], job: Job, summary: Summary, screen: Screen) -> None:
    processes = job.workers or cores()
    iterations = job.config["iterations"]
    began = time.monotonic()
    with screen.job(summary.label, iterations * len(todo), sum(todo.values())) as line:
        handed = _Handed(cell, job.checkpoint_seconds, processes, line)
        try:
            handed.work(blocks(todo, processes))
            # What took a process or a block down is tried once more, a seed at a time: then only the guilty fail.
            for seed in list(handed.again):
                handed.work([(seed,)])
        finally:
            summary.env_steps += handed.env_steps
            summary.seconds += time.monotonic() - began
    for seed, outcome in sorted(handed.outcomes.items()):
        if outcome == "complete":
            summary.complete.append(seed)
        elif outcome == "diverged":
            summary.diverged[seed] = _divergence(cell, seed)
    for seed, trouble in sorted(handed.troubles.items()):
        summary.failed[seed] = trouble


class _Handed:
    """The blocks of one job, handed to the workers and waited for."""

    def __init__(self, cell: Cell, checkpoint_seconds: float, processes: int, line: Line) -> None:
        self.cell, self.checkpoint_seconds, self.processes, self.line = cell, checkpoint_seconds, processes, line
        self.outcomes: dict[int, str] = {}
        self.troubles: dict[int, str] = {}
        self.again: list[int] = []
        self.done = self.env_steps = 0

    def work(self, blocks: Sequence[tuple[int, ...]]) -> None:
        workers = _workers.get(self.processes) or _workers.setdefault(self.processes, Workers(self.processes))
        tickets = [workers.submit(self.cell, seeds, self.checkpoint_seconds) for seeds in blocks]
        pending = {ticket.future for ticket in tickets}
        try:
            while pending:
                _, pending = wait(pending, timeout=0.1)
                self._show(tickets)
        except KeyboardInterrupt:
            del _workers[self.processes]
            workers.stop()
            raise
        for ticket in tickets:
            self._settle(ticket)
        done, steps, _ = _total(tickets)
        self.done, self.env_steps = self.done + done, self.env_steps + steps

    def _show(self, tickets: Sequence[Ticket]) -> None:
        done, steps, mean_return = _total(tickets)
        self.line.update(self.done + done, self.env_steps + steps, mean_return)

    def _settle(self, ticket: Ticket) -> None:
        try:
            self.outcomes |= ticket.future.result()
            for seed in ticket.seeds:
                self.troubles.pop(seed, None)
        except Exception as error:
            if isinstance(error, Refusal):
                self.troubles |= dict.fromkeys(ticket.seeds, str(error))
                return
            if isinstance(error, BrokenProcessPool):
                _workers.pop(self.processes, None)
                error = RuntimeError("its process was killed (out of memory?)")
            self.again += [seed for seed in ticket.seeds if seed not in self.troubles]
            line = " ".join(f"{type(error).__name__}: {error}".split())
            for seed in ticket.seeds:
                self.troubles[seed] = f"{line[:200]} (all of it in {self.cell.path}/.unfinished/seed={seed}/failed.txt)"
                self.cell.fail(seed, "".join(traceback.format_exception(error)))


def blocks(todo: dict[int, int], processes: int) -> list[tuple[int, ...]]:
    """Seeds that stand at the same iteration, in blocks that share the work out evenly."""
    size = min(LARGEST_BLOCK, -(-len(todo) // processes))
    result = []
    for _, group in groupby(sorted(todo, key=lambda seed: (todo[seed], seed)), key=todo.__getitem__):
        seeds = list(group)
        parts = -(-len(seeds) // size)
        result += [tuple(seeds[k::parts]) for k in range(parts)]
    return result


def _total(tickets: Sequence[Ticket]) -> tuple[int, int, float]:
    done, steps, returns = zip(*(ticket.progress() for ticket in tickets), strict=True)
    known = [r for r in returns if r == r]
    return sum(done), sum(steps), sum(known) / len(known) if known else float("nan")


def _divergence(cell: Cell, seed: int) -> str:
    manifest = cell.manifest(seed)
    return f"diverged at iteration {manifest['iteration']}: {manifest['reason']}"
