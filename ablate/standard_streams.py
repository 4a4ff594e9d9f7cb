"""Standard output and error that cannot fail: the result of a run does not depend on who reads what it prints."""

import os
import sys
from contextlib import suppress
from typing import Any


class SafeStream:
    """A text stream that shows another character for one that it cannot, and forgets what nobody takes any more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._forget()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._forget()

    def _forget(self) -> None:
        """From now on nothing is written; else Python would try again as it ends, and change the exit code."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def install_safe_streams() -> None:
    """Put a SafeStream in the place of both, and open those that are closed, whose numbers another file would get."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, SafeStream):
            setattr(sys, name, SafeStream(stream or open(os.devnull, "w")))  # noqa: SIM115
