"""Processes that train seeds, and that stay for the next job of a sweep. Imports no torch; the processes do.

A process that dies, however user code or the system ends it, takes down nothing but the block that it was at.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.util import Finalize
from typing import Any, Literal, NamedTuple, Protocol

from ablate.errors import UserError
from ablate.runs.server import INTERRUPTS, block_signals, context, without_main
from ablate.runs.worker import serve
from ablate.store import Cell

SLOTS = 4096  # blocks that may be under way at once
STARTS = 3  # tries to start a process, whose server may have been killed just now


def follow_parent() -> None:
    """In a launcher's process: end when the process that started it has ended, as by kill -9."""
    parent = os.getppid()

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting until the end of the block, where this thread has a say in them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


class TaskFailure(NamedTuple):
    """Why a block did not come to its end: it was refused, its code raised, or its process died."""

    kind: Literal["refused", "raised", "died"]
    text: str  # one line
    trace: str


class Slots(Protocol):
    """Who knows of each block that was handed in, by a number."""

    def progress(self, slot: int) -> tuple[int, int, float]: ...

    def divide(self, slot: int) -> None: ...


class TaskHandle:
    """A block that was handed in, what became of it, and how far it is."""

    def __init__(self, task: tuple[Cell, Sequence[int], float, int], workers: "Slots") -> None:
        self.task, self._workers = task, workers
        self.seeds: tuple[int, ...] = tuple(task[1])
        self.outcomes: dict[int, str] | None = None
        self.failure: TaskFailure | None = None
        self.began: float | None = None
        self.since: float | None = None  # when it began, or was last seen to get on
        self._seen = 0

    @property
    def pending(self) -> bool:
        return self.outcomes is None and self.failure is None

    def progress(self) -> tuple[int, int, float]:
        """Iterations done and env steps taken by all its seeds, and their mean return now."""
        done, steps, mean_return = self._workers.progress(self.task[-1])
        if done != self._seen:
            self._seen, self.since = done, time.monotonic()
        return done, steps, mean_return

    def divide(self) -> None:
        """Ask for its seeds: they are saved after their iteration, and come back as stopped."""
        self._workers.divide(self.task[-1])


class _Worker:
    """A process and the block that it is at."""

    def __init__(self, context: Any, shared: tuple[Any, Any, Any]) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *shared))
        try:
            with block_signals(), without_main():
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self.handle: TaskHandle | None = None

    def take(self, handle: TaskHandle) -> None:
        self.handle = handle
        handle.began = handle.since = time.monotonic()
        with suppress(OSError):  # it is dead, which `settle` sees
            self.connection.send(handle.task)

    def settle(self) -> bool:
        """Take what it has to say; whether it is still there."""
        with suppress(EOFError, OSError):
            if self.connection.poll():
                kind, said = self.connection.recv()
                handle, self.handle = self.handle, None
                if handle and kind == "done":
                    handle.outcomes = said
                elif handle:
                    handle.failure = TaskFailure(kind, *said)
                return True
            if self.process.exitcode is None:
                return True
        self.process.join(5)
        self.kill()
        self.process.join(5)
        if self.handle:
            said = ended(self.process.exitcode)
            self.handle.failure, self.handle = TaskFailure("died", said, said), None
        self.connection.close()
        return False

    def end(self) -> None:
        """Let it go, as it has nothing to do."""
        with suppress(OSError):
            self.connection.send(None)

    def kill(self) -> None:
        with suppress(OSError, AttributeError, ValueError):
            self.process.kill()


class Workers:
    """At most so many processes, one torch thread each. How far each block is, and whether to return its seeds or to
    stop altogether, is shared memory without locks, so that a killed process can hold nobody up."""

    def __init__(self, processes: int) -> None:
        self.processes, self._context = processes, context()
        self._progress: Any = self._context.RawArray("d", 3 * SLOTS)
        self._divided: Any = self._context.RawArray("b", SLOTS)
        self._stop: Any = self._context.RawValue("b", 0)
        self._submitted = 0
        self._waiting: deque[TaskHandle] = deque()
        self._workers: list[_Worker] = []
        # A launcher's process waits for ours as it ends: they are told to go first.
        self._finalize = Finalize(None, _let_go, (self._workers,), exitpriority=100)

    def submit(self, cell: Cell, seeds: Sequence[int], checkpoint_seconds: float) -> TaskHandle:
        slot = self._submitted % SLOTS
        self._submitted += 1
        self._progress[3 * slot : 3 * slot + 3] = [0.0, 0.0, float("nan")]
        self._divided[slot] = 0
        handle = TaskHandle((cell, tuple(seeds), checkpoint_seconds, slot), self)
        self._waiting.append(handle)
        return handle

    def progress(self, slot: int) -> tuple[int, int, float]:
        done, steps, mean_return = self._progress[3 * slot : 3 * slot + 3]
        return int(done), int(steps), mean_return

    def divide(self, slot: int) -> None:
        self._divided[slot] = 1

    def wait(self, seconds: float) -> None:
        """Hand out blocks to processes that are free, and take what has come to an end within so many seconds.

        Raises UserError where no process can be started.
        """
        self._hand_out()
        at_work = {worker.connection: worker for worker in self._workers}
        ends = {worker.process.sentinel: worker for worker in self._workers}
        for ready in connection.wait([*at_work, *ends], seconds):
            worker = at_work.get(ready) or ends.get(ready)
            if worker in self._workers and not worker.settle():
                self._workers.remove(worker)
        self._hand_out()

    def _hand_out(self) -> None:
        with uninterrupted():
            free = deque(worker for worker in self._workers if worker.handle is None)
            while self._waiting and (free or len(self._workers) < self.processes):
                if not free:
                    if not (worker := self._start()):
                        return
                    free.append(worker)
                free.popleft().take(self._waiting.popleft())

    def _start(self) -> _Worker | None:
        """Another process; None where there cannot be more than those that are at work."""
        for attempt in range(STARTS):
            try:
                self._workers.append(_Worker(self._context, (self._progress, self._divided, self._stop)))
                return self._workers[-1]
            except (EOFError, ConnectionError):  # the server was killed just now
                if attempt == STARTS - 1:
                    raise
            except OSError as error:
                if any(worker.handle for worker in self._workers):
                    return None
                raise UserError(
                    f"no process can be started: {error.strerror or error}; allow more (`ulimit -a` shows the limits), "
                    "or write workers=1"
                ) from error
        return None

    @property
    def at_work(self) -> list[TaskHandle]:
        return [worker.handle for worker in self._workers if worker.handle]

    def stop(self, seconds: float) -> list[TaskHandle]:
        """Ask all blocks to save where they stand and to return; those not begun are dropped. Returns those that do not
        within so many seconds; they are killed."""
        self._stop.value = 1
        self._waiting.clear()
        deadline = time.monotonic() + seconds
        try:
            while self.at_work and (left := deadline - time.monotonic()) > 0:
                self.wait(left)
            return self.at_work
        finally:
            self.kill()

    def kill(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.kill() if worker.handle else worker.end()
        for worker in self._workers:
            worker.process.join(5)
        self._workers.clear()


def _let_go(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.process.join(5)
        worker.kill()


def ended(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is None or exit_code >= 0:
        return f"its process ended with exit code {exit_code}, as by os._exit"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    why = {
        "SIGKILL": "was killed by SIGKILL, perhaps out of memory",
        "SIGSEGV": "was ended by SIGSEGV, a segmentation fault",
        "SIGABRT": "aborted (SIGABRT)",
    }
    return f"its process {why.get(name, f'was ended by {name}')}"
