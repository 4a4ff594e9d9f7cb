"""What the server process loads once, before it forks the workers."""

import sys
from types import TracebackType

import ablate.runs.train  # noqa: F401


def _quiet(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A process whose coordinator is killed while it starts has nobody to tell."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet
