"""What the server loads once, before it forks the workers."""

import gc
import sys
from importlib import import_module
from types import TracebackType

from ablate.child_processes import end_with_parent, outlive_parent


def _quiet(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A process whose coordinator is killed while it starts has nobody to tell."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet
end_with_parent()  # while it loads, it does not see that nobody is left to fork for
gc.disable()  # all that is loaded stays: a sixth of the time is saved
import_module("ablate.runs.train")
gc.freeze()
gc.enable()
outlive_parent()
