"""How studies and cells are named: a cell by its overrides and a hash of all that may change a number."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.refusal import Refusal

RUNTIME = frozenset({"seed", "workers", "outputs", "overwrite", "checkpoint_seconds", "study"})
PRESENTATION = frozenset({"label", "symbol", "order", "description", "iteration_steps"})
"""Keys that change no number of a run, so that they are not part of a cell: RUNTIME and `threshold` at the top level of
the configuration, PRESENTATION in what a choice says `about` itself."""


NAME_LENGTH = 120


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal characters that stand for all of a resolved configuration that may change a number."""
    ignored = {*RUNTIME, "threshold"}
    meant = _without_presentation({key: value for key, value in config.items() if key not in ignored})
    canonical = json.dumps(meant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _without_presentation(node: Any, about: bool = False) -> Any:
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if not (about and key in PRESENTATION)}
        return {key: _without_presentation(value, key == "about") for key, value in kept.items()}
    return [_without_presentation(value) for value in node] if isinstance(node, list | tuple) else node


def names_cell(override: str) -> bool:
    """Whether a typed override tells one cell from another."""
    key = override.lstrip("+~").partition("=")[0]
    outer, _, last = key.rpartition(".")
    return key not in {*RUNTIME, "threshold"} and not (outer.endswith("about") and last in PRESENTATION)


def is_cell(path: Path) -> bool:
    return re.fullmatch(r"[^.].*-[0-9a-f]{8}", path.name) is not None and path.is_dir()


def safe_name(text: str) -> str:
    """A folder name of plain characters that needs no quotes and is not hidden."""
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text).lstrip(".-") or "default"


def root_folder(outputs: str | Path) -> Path:
    if not str(outputs).strip() or "\0" in str(outputs):
        raise Refusal(f"outputs={str(outputs)!r} is not a folder; type outputs=outputs or outputs=/somewhere/writable")
    return Path(outputs).expanduser()


def study_folder(outputs: str | Path, study: str) -> Path:
    """Where a study is, whether or not there is one. Raises Refusal for a name that no folder can have."""
    if not re.fullmatch(r"\w[\w.,=+ -]*", study):
        allowed = "letters, digits, spaces and _ . , = + - (not first)"
        raise Refusal(f"study={study!r} is not a folder name: {allowed}; type for example study=pilot")
    return root_folder(outputs) / study
