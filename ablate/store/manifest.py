"""The manifest of a run: what it is, and the checksum of each file beside it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablate.store.files import Damaged
from ablate.store.provenance import git_revision, versions
from ablate.store.tables import Columns, Rows, as_columns, table, to_parquet

SCHEMA = 1


FIELDS = {"schema", "status", "seed", "iterations", "env_steps", "wall_time_s", "started", "finished", "files"}


def run_files(curves: Columns, probe: Rows, given: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a run by name, the manifest that vouches for the others last."""
    tables = {"curves.parquet": table(curves)} | ({"probe.parquet": table(as_columns(probe))} if probe else {})
    files = {name: to_parquet(table) for name, table in tables.items()}
    sums = {name: {"rows": tables[name].num_rows, "sha256": hashlib.sha256(files[name]).hexdigest()} for name in files}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    added = {"schema": SCHEMA, "finished": now, "versions": versions(), "git_revision": git_revision(), "files": sums}
    full = added | dict(given)
    if missing := FIELDS - full.keys():
        raise ValueError(f"the manifest lacks {', '.join(sorted(missing))}")
    return files | {"manifest.json": json.dumps(full, indent=1, default=lambda scalar: scalar.item()).encode()}


def sound(folder: Path, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest of a run, and the bytes of the files that it vouches for. Raises Damaged where they differ."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        if FIELDS - manifest.keys() or "curves.parquet" not in manifest["files"] or manifest["seed"] != seed:
            raise Damaged(f"{path} is not a manifest of seed {seed}")
        files = {name: (folder / name).read_bytes() for name in manifest["files"]}
        for name, stated in manifest["files"].items():
            if hashlib.sha256(files[name]).hexdigest() != stated["sha256"]:
                raise Damaged(f"{folder / name} is not the file that its manifest describes")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Damaged(f"{error.filename} is missing") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} is damaged") from error
    return manifest, files


def flaw_of(folder: Path, seed: int) -> str | None:
    """What is wrong with a run, whose manifest vouches for the files beside it; None for a sound one."""
    try:
        sound(folder, seed)
    except Damaged as damage:
        return damage.flaw
    return None
