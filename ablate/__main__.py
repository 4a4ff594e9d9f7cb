"""The command line as a process: what it starts with, how it is interrupted, and how it ends. Imports nothing heavy, so
that the engine loads in a process of its own from the first moment on.
"""

import atexit
import os
import re
import shlex
import signal
import sys
import threading
from contextlib import suppress

from ablate import commands
from ablate.errors import UserError
from ablate.runs import server
from ablate.standard_streams import install_safe_streams


def main() -> None:
    """Run the command line; exits with 0, 1 (something failed), 2 (refused) or 130 (interrupted)."""
    try:
        _main()
    except SystemExit as left:
        if isinstance(left.code, int):
            _end(left.code)
        raise


def _end(exit_code: int) -> None:
    """End without waiting for threads that user code has left where it was tried, before the workers got it. Those of
    joblib, a launcher, are told to end by the interpreter."""
    others = [x for x in threading.enumerate() if x is not threading.main_thread() and not x.daemon]
    if any(not type(x).__module__.startswith("joblib.") for x in others):
        with suppress(Exception):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(exit_code)


def _main() -> None:
    traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    install_safe_streams()
    typed = sys.argv[1:]
    if typed and commands.is_one(typed[0]):
        sys.exit(commands.run(typed[0], typed[1:]))
    try:
        exit_code = _run(typed)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # once more ends at once
        from ablate.runs.progress import error

        error("interrupted. What is finished is kept and what was under way is saved; the same command goes on:")
        again = [word for word in typed if not word.startswith("overwrite=")]  # that would begin anew
        print(f"  python -m ablate {shlex.join(again)}", file=sys.stderr)
        sys.exit(130)
    except Exception as problem:
        from ablate.configuration.hydra_errors import is_bad_input, message_of
        from ablate.runs.progress import error

        if not isinstance(problem, UserError) and (traces or not is_bad_input(problem, sys.argv[1:])):
            raise
        if "ablate.runs.sweep" in sys.modules:
            sys.modules["ablate.runs.sweep"].Sweep.refused()
        error(str(problem) if isinstance(problem, UserError) else message_of(problem, sys.argv[1:]))
        sys.exit(2)
    sys.exit(exit_code)


def _run(typed: list[str]) -> int:
    if trains(typed):
        server.start()
    from ablate import command_line

    asked = re.fullmatch("-sc (install|query)=(bash|zsh|fish)", " ".join(typed))
    if asked:
        command_line.complete(*asked.groups())
        return 0
    return command_line.run(typed)


def trains(typed: list[str]) -> bool:
    """Whether the words ask for runs in processes of this machine: no option but -m, and nothing of Hydra's own, which
    may be another launcher, or Dask."""
    plain = all(word in ("-m", "--multirun") or (word[:1] != "-" and "=" in word) for word in typed)
    return plain and not any(word.startswith(("hydra", "workers=dask")) for word in typed)


if __name__ == "__main__":
    main()
