"""What the pages of the site say of the code, read from the code as the site is built, as Markdown.

A page asks for a piece by its name, and `filled` writes it in the place of the block:

    ```{generated} settings
    ```

Each module writes the pieces of one subject.
"""

import re
from collections.abc import Callable

from generated import claims, columns, command_line, configuration, lecture, python

BLOCK = re.compile(r"^```\{generated\} ([\w.-]+)\n```$", re.MULTILINE)

PIECES: dict[str, Callable[..., str]] = {
    "general-settings": configuration.general_settings,
    "groups": configuration.groups,
    "choices": configuration.settings_of,
    "layout": columns.layout,
    "columns": columns.columns,
    "algorithm-columns": columns.algorithm_columns,
    "tree": python.tree,
    "table-columns": columns.table_columns,
    "command-line": command_line.command_line,
    "api": python.api,
    "signals": python.signals,
    "verdicts": claims.verdicts,
    "claims": claims.all_claims,
    "explorable": claims.explorable,
    "ledger": claims.ledger,
    "homework": claims.homework,
    "expected": lecture.expected,
}


def filled(text: str) -> str:
    """A page with its `{generated}` blocks written out."""
    return BLOCK.sub(lambda match: generate(match[1]), text)


def generate(name: str) -> str:
    """One piece. `settings.phi` is the piece `settings` of `phi`."""
    piece, _, argument = name.partition(".")
    return PIECES[piece](argument) if argument else PIECES[piece]()
