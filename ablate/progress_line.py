"""One line that changes in place while a command runs: a bar in a notebook, a line on a terminal."""

import re
import sys
from collections.abc import Callable
from html import escape
from typing import Any

LIVE_SECONDS = 0.5  # between two states of the line
PROGRESS = re.compile(r".*: (\d+)%,.* steps/s, .+\n?")  # of `runs.progress`


def is_progress(line: str) -> bool:
    return PROGRESS.fullmatch(line) is not None


def live_line() -> Callable[[str], None] | None:
    """What shows a line of progress in place of the one before; None where neither a notebook nor a terminal is."""
    if _kernel():
        return _Bar()
    return _on_terminal if sys.stderr.isatty() else None


def _kernel() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def _on_terminal(line: str) -> None:
    print(f"\r{line}\x1b[K", end="\n" if line.endswith("done") else "", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, line: str) -> None:
        from IPython.display import display

        match = PROGRESS.fullmatch(line)
        assert match is not None
        bar = f'<progress value="{match[1]}" max="100" style="width: 16em"></progress> {escape(line)}'
        data = {"text/plain": line, "text/html": bar}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
