"""A Dask cluster that trains seeds, in place of this machine's processes.

A worker of Dask trains one block at a time, and saves its seeds as any process does, so one that is lost costs what
came after its last checkpoints. Dask runs a task again whose worker it takes for lost: that is safe, as runs are
published once and have the same bits.
"""

import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from ablate.configuration.ranges import Dask
from ablate.errors import UserError, one_line
from ablate.resources import cores
from ablate.runs.progress import ProgressReporter
from ablate.runs.run import blocks, progress_of
from ablate.runs.server import block_signals
from ablate.runs.worker import run_and_capture
from ablate.runs.workers import TaskFailure, TaskHandle
from ablate.store import Cell, machine

CONNECT_SECONDS = 30  # for the scheduler to answer, and for a first worker to be there
LOOK_SECONDS = 2.0  # between two looks at which workers there are
TELL_SECONDS = 0.5  # between two messages of a worker, either way

_one_at_a_time = threading.Lock()


class Progress(NamedTuple):
    """Budget used and env steps taken by the seeds of a block, and their mean return now."""

    done: int = 0
    steps: int = 0
    mean_return: float = float("nan")


class Cluster:
    """The workers of a Dask cluster, with the verbs of `Workers`; where no scheduler is named, one on this machine.

    Raises UserError where Dask is not installed, where the scheduler does not answer, and where it has no worker.
    """

    def __init__(self, dask: Dask, reporter: ProgressReporter) -> None:
        self._reporter, self._name = reporter, f"ablate-{secrets.token_hex(8)}"
        self._client, self._local = _connected(dask)
        self._futures: dict[Any, TaskHandle] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._progress: dict[int, Progress] = {}
        self._machines: dict[str, dict[str, str | None]] = {}
        self._looked, self.processes = 0.0, 0
        self._client.subscribe_topic(self._name, self._on_progress)
        try:
            self._client.wait_for_workers(1, CONNECT_SECONDS)
        except TimeoutError as error:
            self.kill()
            raise UserError(
                f"{_typed(dask)} has no worker; start some, as by `dask worker ADDRESS --nthreads 1`"
            ) from error
        self._update_workers()

    def submit(self, cell: Cell, seeds: Sequence[int], checkpoint_seconds: float) -> TaskHandle:
        slot = len(self._progress)
        self._progress[slot] = Progress()
        there = replace(cell, path=cell.path.absolute())
        handle = TaskHandle((there, tuple(seeds), checkpoint_seconds, slot), self)
        handle.began = handle.since = time.monotonic()
        try:
            future = self._client.submit(train_block, *handle.task, self._name, pure=False, key=f"{self._name}-{slot}")
        except Exception as error:
            raise UserError(f"the scheduler is gone ({_reason(error)}); start it again and type the same") from error
        self._futures[future] = handle
        future.add_done_callback(self._ended.put)
        return handle

    def progress(self, slot: int) -> tuple[int, int, float]:
        return self._progress[slot]

    def divide(self, slot: int) -> None:
        from distributed import Event

        Event(_asked(self._name, slot), client=self._client).set()

    def wait(self, seconds: float) -> None:
        """Take what has come to an end within so many seconds."""
        with suppress(queue.Empty):
            self._collect(self._ended.get(timeout=seconds))
            while True:
                self._collect(self._ended.get_nowait())
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._update_workers()

    @property
    def at_work(self) -> list[TaskHandle]:
        return list(self._futures.values())

    def stop(self, seconds: float) -> list[TaskHandle]:
        """Ask all blocks to save where they stand and to return. Returns those that do not within so many seconds."""
        deadline = time.monotonic() + seconds
        try:
            for handle in self.at_work:
                handle.divide()
            while self._futures and (left := deadline - time.monotonic()) > 0:
                self.wait(left)
            return self.at_work
        finally:
            self.kill()

    def kill(self) -> None:
        """Leave the cluster; end it where it is our own."""
        with suppress(Exception):
            self._client.cancel(list(self._futures))
        for each in filter(None, (self._client, self._local)):
            with suppress(Exception):
                each.close(timeout=10)
        self._futures.clear()

    def _on_progress(self, event: tuple[float, Sequence[Any]]) -> None:
        slot, *progress = event[1]
        self._progress[slot] = Progress(*progress)

    def _collect(self, future: Any) -> None:
        from distributed import KilledWorker

        if not (handle := self._futures.pop(future, None)):
            return
        try:
            (kind, said), progress = future.result()
        except KilledWorker:
            text = "its worker of Dask died, as by a signal, by os._exit or out of memory; its log may say more"
            handle.failure = TaskFailure("died", text, text)
        except Exception as error:
            handle.failure = TaskFailure("died", f"Dask lost it: {_reason(error)}", "")
        else:
            self._progress[handle.task[-1]] = Progress(*progress)
            if kind == "done":
                handle.outcomes = said
            else:
                handle.failure = TaskFailure(kind, *said)

    def _update_workers(self) -> None:
        """See which workers there are, and tell where bits may differ."""
        self._looked = time.monotonic()
        with suppress(Exception):  # the scheduler may be gone; the next block tells
            threads = self._client.nthreads()
            self.processes = len(threads)
            new = [address for address in threads if address not in self._machines]
            if not new:
                return
            before = _differing(self._machines)
            self._machines |= self._client.run(machine, workers=new, on_error="ignore")
            if (after := _differing(self._machines)) != before:
                for name in after:
                    what = f"{name}: {' and '.join(after[name])}"
                    self._reporter.warning(
                        f"the workers differ in {what}; between those, last bits of a number may differ"
                    )
            if any(threads[address] > 1 for address in new):
                self._reporter.warning("a worker trains one block at a time; start workers with --nthreads 1")


def train_block(
    cell: Cell, seeds: Sequence[int], checkpoint_seconds: float, slot: int, name: str
) -> tuple[tuple[str, Any], Progress]:
    """In a worker of Dask: train a block; gives what became of it and how far it came.

    The seeds of a block whose worker was lost may stand at different iterations, or be done.
    """
    from distributed import Event, get_worker

    from ablate.runs.train import train

    worker, asked = get_worker(), Event(_asked(name, slot))
    ended = now = Progress()
    told = 0.0

    def report(done: int, steps: int, mean_return: float) -> None:
        nonlocal now, told
        now = Progress(ended.done + done, ended.steps + steps, mean_return)
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            worker.log_event(name, [slot, *now])

    def all_blocks() -> dict[int, str]:
        nonlocal ended
        outcomes, todo = progress_of(cell, seeds, ProgressReporter(live=False))
        for block in blocks(todo, len(seeds)):
            outcomes |= train(cell, block, checkpoint_seconds, report, _rate_limited(asked.is_set))
            ended = now
        return outcomes

    with _one_at_a_time:
        return run_and_capture(all_blocks), now


def _rate_limited(ask: Callable[[], bool]) -> Callable[[], bool]:
    """The answer as it was, but for a new one now and then; no where there is nobody to ask."""
    answer, asked = False, 0.0

    def answered() -> bool:
        nonlocal answer, asked
        if time.monotonic() - asked > TELL_SECONDS:
            with suppress(Exception):
                answer = ask()
            asked = time.monotonic()
        return answer

    return answered


def _asked(name: str, slot: int) -> str:
    return f"{name}-{slot}-asked-for"


def _connected(dask: Dask) -> tuple[Any, Any]:
    """A client, and the cluster where it is our own."""
    try:
        import dask.config as settings

        settings.set({"logging": dict.fromkeys(("distributed", "distributed.client", "tornado"), "critical")})
        settings.set({"distributed.scheduler.allowed-failures": 0})  # of our own scheduler; another has its own
        import distributed
    except ImportError as error:
        raise UserError('workers=dask needs Dask; type pip install -c constraints.txt -e ".[cluster]"') from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with block_signals():  # the threads of Dask, and so the processes that they start
        if dask.scheduler is None:
            local = distributed.LocalCluster(
                n_workers=cores(), threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
            )
            return distributed.Client(local), local
        is_file = "://" not in dask.scheduler
        if is_file and not os.path.isfile(dask.scheduler):
            raise UserError(f"{_typed(dask)} is neither an address such as tcp://host:8786 nor a scheduler file")
        where = {"scheduler_file": dask.scheduler} if is_file else {"address": dask.scheduler}
        try:
            return distributed.Client(timeout=CONNECT_SECONDS, **where), None
        except Exception as error:
            raise UserError(
                f"{_typed(dask)} does not answer ({_reason(error)}); is `dask scheduler` running?"
            ) from error


def _typed(dask: Dask) -> str:
    return f"dask.scheduler={one_line(dask.scheduler, 100)}" if dask.scheduler else "workers=dask"


def _reason(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}", 100)


def _differing(machines: dict[str, dict[str, str | None]]) -> dict[str, list[str]]:
    """What differs between machines, and the values that there are."""
    names = {name for machine in machines.values() for name in machine}
    found = {name: sorted({str(machine.get(name)) for machine in machines.values()}) for name in sorted(names)}
    return {name: values for name, values in found.items() if len(values) > 1}
