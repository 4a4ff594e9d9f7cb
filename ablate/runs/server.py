"""The process that loads the engine once and forks the workers. Imports nothing but the standard library, as it is
started before all else.

It is the fork server of `multiprocessing`; where there is none, each worker starts anew.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from types import ModuleType

INTERRUPTS = signal.SIGINT, signal.SIGTERM
SOCKET_FOLDER = 70  # characters of a folder in which the server can still have its socket


@cache
def context() -> BaseContext:
    """How workers are started."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes to come: their number, not their threads, fills the cores
    known = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in known and len(tempfile.gettempdir()) <= SOCKET_FOLDER else "spawn"
    if multiprocessing.get_start_method(allow_none=True) not in (None, *known):
        multiprocessing.set_start_method(method, force=True)  # inside joblib's processes: ours know nothing of its own
    made = multiprocessing.get_context(method)
    if method == "forkserver":
        made.set_forkserver_preload(["ablate.runs.preload"])
    return made


def start() -> None:
    """Start the server, if there is to be one, and do not wait for what it loads. It starts with the first worker
    else, which also says why it cannot."""
    if context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        with suppress(OSError), block_signals(), without_main():
            forkserver.ensure_running()


@contextmanager
def block_signals() -> Iterator[None]:
    """Block interrupts in processes that start here, the server and so all that it forks: Ctrl-C and a SIGTERM to the
    whole group are for the coordinating process, which stops the others in order."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would lift the mask if it had to start below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_main() -> Iterator[None]:
    """Let a process that starts load nothing of the main module, which may be a script from a pipe."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
