"""What the jobs of a sweep recorded, and whether a folder takes results."""

import errno
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.errors import UserError
from ablate.files import OUTPUTS, create, entries, make_folder, read, user_errors, write
from ablate.store.layout import root_folder

LARGEST = 1 << 26  # bytes of a record
_kept: dict[Path, dict[str, Any]] = {}
"""Records that the disk did not take: a sweep whose jobs run in this process tells of them all the same."""


def record_job(folder: Path, summary: Mapping[str, Any]) -> None:
    """Keep what became of one job of a sweep, in a folder of the sweep's records; in memory where the disk is full."""
    try:
        write(folder / "summary.json", json.dumps(summary, indent=1), OUTPUTS)
    except UserError:
        _kept[folder] = json.loads(json.dumps(summary))


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """What the jobs of a sweep recorded, in their order; of a single run, its own record."""
    records = {at: _kept[at] for at in _kept if folder in (at, at.parent)}
    records |= {path.parent: json.loads(read(path, LARGEST)) for path in _paths(folder, "summary.json")}
    return [records[at] for at in sorted(records, key=lambda at: (len(at.name), at))]


def forget_jobs(folder: Path) -> None:
    """Remove what a sweep recorded that ran nothing, and the folders that were made for it."""
    for at in [at for at in _kept if folder in (at, at.parent)]:
        del _kept[at]
    if folder.parent.is_symlink():
        return
    for path in [*_paths(folder, "summary.json"), folder / "multirun.yaml"]:
        path.unlink(missing_ok=True)
    for path in (*_folders(folder), folder, folder.parent):
        with suppress(OSError):  # something else is in it
            path.rmdir()


def _folders(folder: Path) -> list[Path]:
    """Those inside a folder; what is reached through a link is not of the sweep."""
    return [] if folder.is_symlink() else [p for p in entries(folder) if p.is_dir() and not p.is_symlink()]


def _paths(folder: Path, name: str) -> list[Path]:
    """Files of that name in a folder and in those inside it."""
    places = [] if folder.is_symlink() else [folder, *_folders(folder)]
    return [place / name for place in places if (place / name).is_file()]


def check_writable(outputs: str | Path) -> None:
    """Refuse an outputs folder that cannot be written, by writing to it; and one whose records lead elsewhere."""
    root = root_folder(outputs)
    probe = root / f".writable~{os.getpid()}-{secrets.token_hex(4)}"
    with user_errors(root):
        if (root / ".sweeps").is_symlink():
            raise UserError(
                f"{root / '.sweeps'} is a link, and is left alone; remove the link, or type another outputs="
            )
        try:
            make_folder(root)
        except FileNotFoundError as error:  # a file system that takes no folders, such as /proc
            raise PermissionError(errno.EACCES, "no folder can be made", str(root)) from error
        try:
            create(probe, os.urandom(1 << 16))
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
