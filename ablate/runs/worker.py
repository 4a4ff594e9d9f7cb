"""What a worker process does: one block of seeds after another, until it is told to go or its coordinator is gone."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ablate.child_processes import end_with_parent
from ablate.errors import UserError, message_of
from ablate.standard_streams import install_safe_streams
from ablate.store import Cell

GRACE = 2.0  # seconds for an iteration to come to its end when all is to stop


class _Here:
    """What a worker process knows of itself."""

    progress: Any
    divided: Any
    stop: Any
    at_work = terminated = False
    save: Callable[[], None] | None = None  # keeps the seeds as they stand after their last whole iteration


def serve(tasks: Any, progress: Any, divided: Any, stop: Any) -> None:
    """Train the blocks that come through a connection, and answer with what became of each."""
    _begin(progress, divided, stop)
    with suppress(EOFError, OSError):
        while (task := tasks.recv()) is not None:
            tasks.send(_work(*task))
    _end(0)


def _begin(progress: Any, divided: Any, stop: Any) -> None:
    _Here.progress, _Here.divided, _Here.stop = progress, divided, stop
    install_safe_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_sigterm)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    end_with_parent()
    for watch in (_follow_parent, _follow_stop):
        threading.Thread(target=watch, daemon=True).start()


def _end(exit_code: int) -> None:
    """End without waiting for threads that user code has left."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(exit_code)


def _on_sigterm(*_: Any) -> None:
    """End, after saving what is under way."""
    _Here.terminated = True
    if not _Here.at_work:
        _terminate()


def _terminate() -> None:
    """End as SIGTERM ends a process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _follow_parent() -> None:
    """End with the process that started us, however it ended."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _follow_stop() -> None:
    """When all is to stop and an iteration takes long, as an exact probe may, save what was before it and end."""
    while not _stopping():
        time.sleep(0.5)
    time.sleep(GRACE)
    if _Here.at_work:
        if _Here.save:
            _Here.save()
        _end(128 + signal.SIGTERM)


def _stopping() -> bool:
    return _Here.terminated or bool(_Here.stop.value)


def _work(cell: Cell, seeds: Sequence[int], checkpoint_seconds: float, slot: int) -> tuple[str, Any]:
    def report(done: int, steps: int, mean_return: float) -> None:
        _Here.progress[3 * slot : 3 * slot + 3] = [done, steps, mean_return]

    def returning() -> bool:
        return _stopping() or bool(_Here.divided[slot])

    def hold(save: Callable[[], None]) -> None:
        _Here.save = save

    from ablate.runs.train import train

    _Here.at_work, _Here.save = True, None
    try:
        return run_and_capture(lambda: train(cell, seeds, checkpoint_seconds, report, returning, hold))
    finally:
        _Here.at_work = False
        if _Here.terminated:
            _terminate()


def run_and_capture(call: Callable[[], Any]) -> tuple[str, Any]:
    """Call it; done with what it returned, or refused or raised with the reason and a stack trace."""
    try:
        return "done", call()
    except UserError as error:  # a full disk, say, which another try does not mend
        return "refused", (str(error), "")
    except BaseException as error:  # user code may raise SystemExit and the like
        return "raised", (_one_line(error), traceback.format_exc())


def _one_line(error: BaseException) -> str:
    kind, told = type(error).__name__, message_of(error)
    if isinstance(error, Exception):
        return (f"{kind}: {told}" if told else kind)[:200]
    return f"its code raised {kind}({told[:100]})" + (", as sys.exit does" if kind == "SystemExit" else "")
