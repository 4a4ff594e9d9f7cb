"""The help of every command."""

import io
import os
from collections.abc import Callable
from contextlib import redirect_stdout, suppress

from ablate import commands
from ablate.configuration import CONF
from generated.markdown import table


def help_of(main: Callable[[list[str]], object], *words: str) -> str:
    """What a command prints for --help."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with redirect_stdout(io.StringIO()) as printed, suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return f"```text\n{printed.getvalue().strip()}\n```"


def command_line() -> str:
    """The help of every command but the figures, whose options are those of `figures`."""
    from ablate.analysis.figures import HELP
    from ablate.configuration import help

    parts = ["## python -m ablate", f"```text\n{help.text(CONF).strip()}\n```"]
    for name in sorted(set(commands.names()) - set(HELP)):
        parts += [f"## ablate {name}", help_of(lambda words, name=name: commands.run(name, words))]
    figures = table(("figure", "what it shows"), ((f"`ablate {name}`", text) for name, text in HELP.items()))
    return "\n\n".join([*parts, "## The figures by their names", figures])
