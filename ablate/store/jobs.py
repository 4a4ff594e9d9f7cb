"""What the jobs of a sweep recorded, and whether a folder takes results."""

import errno
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.files import entries, refusing
from ablate.store.naming import root_folder


def record_job(folder: Path, summary: Mapping[str, Any]) -> None:
    """Keep what became of one job of a sweep, in the folder that Hydra gave the job."""
    scratch = folder / f"summary~{secrets.token_hex(4)}"
    with refusing(folder):
        scratch.write_text(json.dumps(summary, indent=1), encoding="utf-8")
        os.replace(scratch, folder / "summary.json")


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """What the jobs of a sweep recorded, in their order; of a single run, its own record."""
    paths = [*folder.glob("summary.json"), *folder.glob("*/summary.json")]
    return [json.loads(path.read_bytes()) for path in sorted(paths, key=lambda path: (len(path.parent.name), path))]


def forget_jobs(folder: Path) -> None:
    """Remove what a sweep recorded that ran nothing, and the folders that were made for it."""
    for path in [*folder.glob("summary.json"), *folder.glob("*/summary.json"), *folder.glob("multirun.yaml")]:
        path.unlink(missing_ok=True)
    for path in (*filter(Path.is_dir, entries(folder)), folder, folder.parent):
        with suppress(OSError):  # something else is in it
            path.rmdir()


def check_writable(outputs: str | Path) -> None:
    """Refuse an outputs folder that cannot be written, by writing to it."""
    root = root_folder(outputs)
    probe = root / f".writable~{os.getpid()}-{secrets.token_hex(4)}"
    with refusing(root):
        try:
            root.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a file system that takes no folders, such as /proc
            raise PermissionError(errno.EACCES, "no folder can be made", str(root)) from error
        try:
            probe.write_bytes(os.urandom(1 << 16))
        finally:
            probe.unlink(missing_ok=True)
