"""Where everything lies under outputs/, and how studies and cells are named.

A run = one configuration and one seed = one folder. A cell = one configuration without its seed.

    outputs/<study>/<cell>/config.yaml               the overrides, the resolved configuration, a checksum
    outputs/<study>/<cell>/seed=7/curves.parquet     a row per iteration
    outputs/<study>/<cell>/seed=7/probe.parquet      a row per (iteration, estimator), where there is a probe
    outputs/<study>/<cell>/seed=7/manifest.json      which run this is, checksums of the files beside it and of itself
    outputs/<study>/<cell>/.unfinished/seed=7/       checkpoint.npz; failed.txt; diverged/ with its curves and manifest
    outputs/<study>/<cell>/.damaged/seed=7-1/        what could not be read, set aside

A cell is what its config.yaml says. Its name ends in the first 16 digits of the SHA-256 of all in it that may change a
number (8 in earlier versions, which are found and gone on with); manifests and checkpoints name the whole digest. A
folder whose configuration is another than its name says, a copy of a cell, a link, and whatever does not fit is listed
(`scan`) and counts for nothing. outputs may be a link; nothing inside it is read, written or removed through one.

A finished run is put together under .unfinished and renamed into place as a whole, a file likewise; files and folders
are brought to the disk before and after. So a kill or a loss of power at any moment leaves nothing half-written in
sight, and what a call has published or saved when it returns is there after it. There are no locks: processes may
finish other seeds of the cell, or the same seed, at the same time. Scratch names end in `~<process>-<random>` and go
when their seed finishes. Nothing is pickled, and every number is kept bit for bit. Only regular files of bounded size
are read: results may be of others.

Columns: `store.columns` says what each of them means.

Fields of manifest.json: schema, status, seed, config (the digest of the configuration), iterations, env_steps,
wall_time_s, started and finished (ISO 8601), versions, git_revision (None without a checkout), files (rows and sha256
of each); for a diverged run also iteration and reason; last sha256, of all that stands before it. Schema 1 had neither
config nor sha256.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.errors import UserError

RUNTIME = frozenset({"seed", "workers", "outputs", "overwrite", "checkpoint_seconds", "study", "dask", "tracking"})
PRESENTATION = frozenset({"label", "symbol", "order", "description"})
"""Keys that change no number of a run, so that they are not part of a cell: RUNTIME and `threshold` at the top level of
the configuration, PRESENTATION in what a choice says `about` itself."""

CONFIG_DIR = "--config-dir"  # the option that a command needs for yamls of the user's own
NAME_LENGTH = 120
HASH_LENGTH = 16
HASH_LENGTHS = HASH_LENGTH, 8  # earlier versions wrote 8 digits
CELL = re.compile(r"[^.].*-([0-9a-f]{16}|[0-9a-f]{8})")
SEED = re.compile(r"seed=(0|[1-9][0-9]{0,18})")


def config_digest(config: Mapping[str, Any]) -> str:
    """The SHA-256, as 64 hexadecimal digits, of all of a resolved configuration that may change a number."""
    ignored = {*RUNTIME, "threshold"}
    meant = _without_presentation({key: value for key, value in config.items() if key not in ignored})
    canonical = json.dumps(meant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def config_hash(config: Mapping[str, Any]) -> str:
    """The first digits of it, which end the cell's name."""
    return config_digest(config)[:HASH_LENGTH]


def _without_presentation(node: Any, about: bool = False) -> Any:
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if not (about and key in PRESENTATION)}
        return {key: _without_presentation(value, key == "about") for key, value in kept.items()}
    return [_without_presentation(value) for value in node] if isinstance(node, list | tuple) else node


def names_cell(override: str) -> bool:
    """Whether a typed override tells one cell from another."""
    key = override.lstrip("+~").partition("=")[0]
    outer, _, last = key.rpartition(".")
    return key not in {*RUNTIME, "threshold", "dask.scheduler", CONFIG_DIR} and not (
        outer.endswith("about") and last in PRESENTATION
    )


def hash_in(name: str) -> str | None:
    """The digits of the configuration's digest in the name of a cell's folder; None where no cell has such a name."""
    match = CELL.fullmatch(name)
    return match[1] if match else None


def cell_name(overrides: Sequence[str], digits: str) -> str:
    """The folder's name: the overrides that tell the cell from others in plain characters, and the hash."""
    text = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", ",".join(sorted(filter(names_cell, overrides)))).lstrip(".-")
    return f"{(text or 'default')[: NAME_LENGTH - len(digits) - 1]}-{digits}"


def seed_in(name: str) -> int | None:
    """The seed in the name of a run's folder, None where it is no such name."""
    match = SEED.fullmatch(name)
    return int(match[1]) if match and int(match[1]) < 1 << 63 else None


def root_folder(outputs: str | Path) -> Path:
    if not str(outputs).strip() or "\0" in str(outputs):
        raise UserError(
            f"outputs={str(outputs)!r} is not a folder; type outputs=outputs or outputs=/somewhere/writable"
        )
    return Path(outputs).expanduser()


def study_folder(outputs: str | Path, study: str) -> Path:
    """Where a study is, whether or not there is one. Raises UserError for a name that no folder can have, and for a
    link: outputs may be one, nothing inside it."""
    if not re.fullmatch(r"\w[\w.,=+ -]*", study):
        allowed = "letters, digits, spaces and _ . , = + - (not first)"
        raise UserError(f"study={study!r} is not a folder name: {allowed}; type for example study=pilot")
    folder = root_folder(outputs) / study
    if os.path.islink(folder):
        raise UserError(f"{folder} is a link; name the folder that holds the study itself with outputs=")
    return folder
