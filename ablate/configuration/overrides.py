"""The words of a command line: `KEY=VALUE` in Hydra's grammar, text as it is meant, seeds as ranges."""

import os
import shlex
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # analysis shows commands only at times
    from hydra.core.override_parser.types import Override

GROUPS = (
    "policy", "optimizer", "critic", "algorithm", "phi", "baseline", "advantage", "aggregation", "probe", "env", "study"
)  # fmt: skip
PATHS = "outputs", "env.path"
TEXTS = (*PATHS, "env.id", "study.name")  # settings whose values are text, whatever it looks like
SYNTAX = set("()[]{}\"'")


def parsed(word: str) -> "Override | None":
    """An override as Hydra reads it, or None where it cannot."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # ValueError: a number of more than 4300 digits
        return None


def key(word: str) -> str:
    """The setting that an override is about: `optimizer.lr` of `++optimizer.lr=0.1`."""
    return word.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    """Text in quotes, which Hydra's grammar and OmegaConf read as that text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text.replace("${", "\\${"), Quote.double).with_quotes()


def override(name: str, text: str) -> str:
    """NAME=TEXT, in quotes where it would be read as something else without."""
    read = parsed(f"{name}={text}")
    plain = read is not None and not read.is_sweep_override() and read.value() == text and "$" not in text
    return f"{name}={text if plain else quoted(text)}"


def as_text(word: str, sweeping: bool = False) -> str:
    """An override of a choice or of text, quoted where Hydra would take the value for a number or not take it at all:
    `outputs=2024`, `study.name=naïve`, `outputs=~/runs` (~ is the home folder). All others as they are."""
    start, equals, value = word.partition("=")
    name = key(word)
    if name == "seed" and equals and parsed(word) is None:
        return f"{start}={quoted(value)}"
    if not equals or word.startswith("~") or name not in (*TEXTS, *GROUPS):
        return word
    several = sweeping and not SYNTAX & set(value)
    return f"{start}={','.join(_as_text(name, part) for part in (value.split(',') if several else [value]))}"


def _as_text(name: str, value: str) -> str:
    read = parsed(f"{name}={value}")
    if (read is not None and read.is_sweep_override()) or "${" in value:
        return value
    meant = value if read is None else read.value()
    if name in PATHS and isinstance(meant, str) and meant.startswith("~"):
        return quoted(os.path.expanduser(meant))
    another = isinstance(meant, int | float) or (name in GROUPS and not isinstance(meant, str))
    return quoted(value) if read is None or another else value


def ranges(seeds: Iterable[int]) -> str:
    """Seeds as they are typed: 0-4,7."""
    ordered = sorted(seeds)
    ends = [k for k in range(1, len(ordered)) if ordered[k] != ordered[k - 1] + 1]
    parts = [ordered[i:j] for i, j in pairwise([0, *ends, len(ordered)])]
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts if part)


def command(words: Sequence[str]) -> str:
    """`python -m ablate WORDS`, to be pasted into a shell."""
    return shlex.join(["python", "-m", "ablate", *words])
