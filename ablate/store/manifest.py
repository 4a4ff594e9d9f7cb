"""The manifest of a run: what it is, and the checksum of each file beside it and of itself."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from ablate.files import UnsafeFileError, read
from ablate.store.errors import CorruptFileError
from ablate.store.parquet import Columns, Rows, as_columns, table, to_parquet
from ablate.store.provenance import git_revision, processor, versions

SCHEMA = 2
READ = (1, 2)
"""Schemas that are read: 2 added the checksum of the manifest itself, and `config`."""

FIELDS = {"schema", "status", "seed", "iterations", "env_steps", "wall_time_s", "started", "finished", "files"}
TABLES = {"curves.parquet", "probe.parquet"}
LARGEST_MANIFEST, LARGEST_TABLE = 1 << 20, 1 << 30  # bytes
SEAL = re.compile(rb'(\{.*),\n "sha256": "([0-9a-f]{64})"\n\}', re.DOTALL)


def run_files(curves: Columns, probe: Rows, given: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a run by name, the manifest that vouches for the others last."""
    tables = {"curves.parquet": table(curves)} | ({"probe.parquet": table(as_columns(probe))} if probe else {})
    files = {name: to_parquet(table) for name, table in tables.items()}
    sums = {name: {"rows": tables[name].num_rows, "sha256": hashlib.sha256(files[name]).hexdigest()} for name in files}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    added = {
        "schema": SCHEMA,
        "finished": now,
        "versions": versions(),
        "processor": processor(),
        "git_revision": git_revision(),
        "files": sums,
    }
    full = added | dict(given)
    if missing := FIELDS - full.keys():
        raise ValueError(f"the manifest lacks {', '.join(sorted(missing))}")
    return files | {"manifest.json": sealed(full)}


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """As JSON that ends with the SHA-256 of all that stands before it."""
    text = json.dumps(manifest, indent=1, default=lambda scalar: scalar.item()).removesuffix("\n}").encode()
    return text + f',\n "sha256": "{hashlib.sha256(text).hexdigest()}"\n}}'.encode()


def read_manifest(path: Path, seed: int, digest: Callable[[], str | None]) -> dict[str, Any]:
    """The manifest of a run of `seed`, of the cell whose configuration has the digest, or begins with it.

    Raises CorruptFileError where it is anything else.
    """
    try:
        data = read(path, LARGEST_MANIFEST)
        manifest = json.loads(data)
        seal = SEAL.fullmatch(data)
        if seal and hashlib.sha256(seal[1]).hexdigest() != seal[2].decode():
            raise CorruptFileError(f"{path} is not as it was written")
        if not seal and manifest["schema"] != 1:
            raise CorruptFileError(f"{path} has no checksum")
        if problem := _problem(manifest, seed):
            raise CorruptFileError(f"{path} is not a manifest of seed {seed}: {problem}")
    except FileNotFoundError as error:
        raise CorruptFileError(f"{error.filename} is missing") from error
    except UnsafeFileError as error:
        raise CorruptFileError(str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path} is damaged") from error
    cell = manifest.get("config")
    if cell is not None and not (isinstance(cell, str) and cell.startswith(digest() or "")):
        raise CorruptFileError(f"{path} is of another cell")
    return manifest


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 100


VALUES: dict[str, Callable[[Any], bool]] = {
    "schema": _count,
    "status": lambda value: value in ("complete", "diverged"),
    "iterations": _count,
    "env_steps": _count,
    "wall_time_s": lambda value: isinstance(value, int | float) and isfinite(value) and abs(value) < 1e15,
    "started": _text,
    "finished": _text,
    "git_revision": lambda value: value is None or _text(value),
    "versions": lambda value: value is None or isinstance(value, dict),
    "reason": lambda value: isinstance(value, str),
    "files": lambda value: "curves.parquet" in value and value.keys() <= TABLES,
}
"""What the fields of a manifest may be; those that a run need not have are looked at where it has them."""


def _problem(manifest: Mapping[str, Any], seed: int) -> str | None:
    """What is not as the fields say; None where all is."""
    if missing := sorted(FIELDS - manifest.keys()):
        return f"it lacks {missing[0]}"
    if manifest["seed"] != seed or isinstance(manifest["seed"], bool):
        return "it is of another seed"
    wrong = [name for name, fits in VALUES.items() if name in manifest and not fits(manifest[name])]
    if wrong:
        return f"its {wrong[0]} cannot be"
    sums = manifest["files"].values()
    return None if all(_count(told["rows"]) and isinstance(told["sha256"], str) for told in sums) else "its files"


def sound(folder: Path, seed: int, digest: Callable[[], str | None]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A run's manifest, and the bytes of the files that it vouches for. Raises CorruptFileError where they differ."""
    manifest = read_manifest(folder / "manifest.json", seed, digest)
    files = {}
    for name, told in manifest["files"].items():
        try:
            files[name] = read(folder / name, LARGEST_TABLE)
        except FileNotFoundError as error:
            raise CorruptFileError(f"{folder / name} is missing") from error
        except UnsafeFileError as error:
            raise CorruptFileError(str(error)) from error
        if hashlib.sha256(files[name]).hexdigest() != told["sha256"]:
            raise CorruptFileError(f"{folder / name} is not the file that its manifest describes")
    return manifest, files


def flaw_of(folder: Path, seed: int, digest: Callable[[], str | None]) -> str | None:
    """What is wrong with a run, whose manifest vouches for the files beside it; None for a sound one."""
    try:
        sound(folder, seed, digest)
    except CorruptFileError as damage:
        return damage.flaw
    return None
