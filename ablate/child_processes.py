"""What a process that others depend on owes them."""

import ctypes
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when the one that forked it ends


def end_with_parent() -> None:
    """Have this process killed when the one that forked it ends, however that ends and whatever this one is at; only
    on Linux."""
    _on_end_of_parent(signal.SIGKILL)


def outlive_parent() -> None:
    """Take `end_with_parent` back."""
    _on_end_of_parent(0)


def _on_end_of_parent(number: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
