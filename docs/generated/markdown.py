"""Text as Markdown: escaped signs, sentences, tables and docstrings."""

import inspect
import re
from typing import Any


def sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "?", ")")) else f"{text}."


def escaped(text: str, keep_spaces: bool = False) -> str:
    """Text that Markdown takes as it stands."""
    return re.sub(r"([\\`*_$<|\[\]{}^#~])", r"\\\1", text if keep_spaces else " ".join(text.split()))


def table(heads: tuple[str, ...], rows: Any) -> str:
    """A Markdown table; a bar inside code is written so that it is no border."""

    def line(cells: Any) -> str:
        return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", str(cell)) for cell in cells) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def literal(text: str) -> str:
    return f"```text\n{text}\n```" if text else ""


def prose(text: str) -> str:
    """A docstring as Markdown: tables and lists as they are, indented lines as they stand, the rest as text."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        if not paragraph.strip():
            continue
        if all(line.startswith("    ") for line in lines):
            parts.append(literal(inspect.cleandoc("\n" + paragraph)))
        elif all(line.lstrip().startswith("|") for line in lines):
            heads, rows = cells(lines[0]), [cells(line) for line in lines[2:]]
            parts.append(table(tuple(map(spans, heads)), ([*map(spans, row)] for row in rows)))
        elif any(line.startswith("    ") for line in lines):
            parts.append(literal(paragraph))
        else:
            parts.append("\n".join(spans(line) if line[:2] != "* " else f"* {spans(line[2:])}" for line in lines))
    return "\n\n".join(parts)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\|) \| |^\||\|$", line.strip())[1:-1]]


def spans(line: str) -> str:
    """A line whose `code` stays code and whose other signs are no Markdown."""
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(part if k % 2 else escaped(part, keep_spaces=True) for k, part in enumerate(parts))
