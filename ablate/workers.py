"""Processes that train seeds, and that stay for the next job of a sweep. Imports no torch; the processes do."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from multiprocessing.util import Finalize
from typing import Any

from ablate.store import Cell

SLOTS = 4096  # blocks that may be under way at once
INTERRUPTS = signal.SIGINT, signal.SIGTERM


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _context() -> BaseContext:
    """One server process imports torch once and forks the workers; where there is none, each worker starts anew."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes to come: their number, not their threads, fills the cores
    known = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in known else "spawn"
    if multiprocessing.get_start_method(allow_none=True) not in (None, *known):
        multiprocessing.set_start_method(method, force=True)  # inside joblib's processes: ours know nothing of its own
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["ablate.train"])
    return context


def _start_server() -> None:
    """Start the server process deaf to interrupts, and so all that it forks: Ctrl-C and a SIGTERM to the whole group
    are for the coordinating process, which stops the others in order."""
    resource_tracker.ensure_running()  # would lift the mask if it had to start below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


class Workers:
    """A pool of processes, one torch thread each. How far each block is, and whether to stop, is shared memory without
    locks, so that a killed process can hold nobody up."""

    def __init__(self, processes: int) -> None:
        context = _context()
        if context.get_start_method() == "forkserver":
            _start_server()
        self._progress: Any = context.RawArray("d", 3 * SLOTS)
        self._stop: Any = context.RawValue("b", 0)
        self._submitted = 0
        self._pool = ProcessPoolExecutor(processes, context, _begin, (self._progress, self._stop))
        # A launcher's process waits for ours as it ends: they are told to go first (100), while queues live (10).
        Finalize(None, self._pool.shutdown, exitpriority=100)

    def submit(self, cell: Cell, seeds: Sequence[int], checkpoint_seconds: float) -> "Ticket":
        slot = self._submitted % SLOTS
        self._submitted += 1
        self._progress[3 * slot : 3 * slot + 3] = [0.0, 0.0, float("nan")]
        try:
            future = self._pool.submit(_work, cell, seeds, checkpoint_seconds, slot)
        except BrokenProcessPool as error:  # a process was killed while it had nothing to do
            future = Future()
            future.set_exception(error)
        return Ticket(future, tuple(seeds), self, slot)

    def progress(self, slot: int) -> tuple[int, int, float]:
        done, steps, mean_return = self._progress[3 * slot : 3 * slot + 3]
        return int(done), int(steps), mean_return

    def stop(self) -> None:
        """Ask all blocks to save where they stand and to return; those not begun are dropped."""
        self._stop.value = 1
        self._pool.shutdown(wait=True, cancel_futures=True)


class Ticket:
    """A block that was handed in: its future, and how far it is."""

    def __init__(self, future: Future, seeds: tuple[int, ...], workers: Workers, slot: int) -> None:
        self.future, self.seeds, self._workers, self._slot = future, seeds, workers, slot

    def progress(self) -> tuple[int, int, float]:
        """Budget used and env steps taken by all its seeds, and their mean return now."""
        return self._workers.progress(self._slot)


class _Here:
    """What a worker process knows of itself."""

    progress: Any
    stop: Any
    at_work = terminated = False


def _begin(progress: Any, stop: Any) -> None:
    _Here.progress, _Here.stop = progress, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_sigterm)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_follow_parent, daemon=True).start()


def _on_sigterm(*_: Any) -> None:
    """End, after saving what is under way. The pool says so to all workers when one of them was killed."""
    _Here.terminated = True
    if not _Here.at_work:
        os._exit(1)


def _follow_parent() -> None:
    """End with the process that started us, however it ended."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(cell: Cell, seeds: Sequence[int], checkpoint_seconds: float, slot: int) -> dict:
    from ablate.train import train

    def report(done: int, steps: int, mean_return: float) -> None:
        _Here.progress[3 * slot : 3 * slot + 3] = [done, steps, mean_return]

    def stopping() -> bool:
        return _Here.terminated or bool(_Here.stop.value)

    _Here.at_work = True
    try:
        return train(cell, seeds, checkpoint_seconds, report, stopping)
    finally:
        _Here.at_work = False
        if _Here.terminated:
            os._exit(1)
