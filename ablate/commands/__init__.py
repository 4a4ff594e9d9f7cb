"""Subcommands of `ablate`: the modules in this folder, each with a `main(arguments) -> exit code`, and the commands of
`analysis`, which read a study. Imports nothing heavy.
"""

import argparse
import ast
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from ablate.errors import UserError
from ablate.standard_streams import install_safe_streams

Main = Callable[[Sequence[str]], int]
OWN = {path.stem: path for path in sorted(Path(__file__).parent.glob("[!_]*.py"))}
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Bad words are told as everywhere else: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `python -m {self.prog} --help` tells what there is")


def names() -> list[str]:
    return [*OWN, *import_module("ablate.analysis.commands").COMMANDS]


def is_one(word: str) -> bool:
    return word in OWN or (word.isidentifier() and word in names())


def described() -> dict[str, str]:
    """Each subcommand and what it does, in a line; the figures together."""
    of_analysis = import_module("ablate.analysis.commands")
    found = {name: str(ast.get_docstring(ast.parse(path.read_text("utf-8")))) for name, path in OWN.items()}
    found = {name: text.splitlines()[0].partition(": ")[2].rstrip(".") for name, text in found.items()}
    found |= {name: command.help for name, command in of_analysis.COMMANDS.items()}
    figures = [found.pop(name) and name for name in of_analysis.HELP]
    return dict(sorted(found.items())) | {"NAME": f"one figure: {', '.join(figures)}"}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a subcommand; its exit code, 2 where it was refused and 130 where it was interrupted."""
    if name not in OWN:
        return run_of_analysis([name, *arguments])
    return _run(lambda: import_module(f"ablate.commands.{name}").main(arguments))


def run_of_analysis(words: Sequence[str]) -> int:
    return _run(lambda: import_module("ablate.analysis.commands").main(words))


def _run(command: Callable[[], int]) -> int:
    install_safe_streams()
    try:
        return command()
    except UserError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablate: interrupted; what is finished is kept, and the same command goes on", file=sys.stderr)
        return INTERRUPTED
