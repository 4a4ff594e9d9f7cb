"""Subcommands of `ablate`, a module each with a `main(arguments) -> exit code`: `ablate groups`, `ablate audit`."""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from ablate.refusal import Refusal

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


class Parser(argparse.ArgumentParser):
    """Bad words are told as everywhere else: in one line."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}; python -m {self.prog} --help tells what there is")


def run(name: str, arguments: Sequence[str]) -> int:
    return import_module(f"ablate.commands.{name}").main(arguments)
