"""A cell and its seeds on disk."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ablate.errors import UserError
from ablate.files import create, entries, make_folder, move_folder, put, retrying, sync_folder, user_errors
from ablate.store import checkpoint as npz
from ablate.store.checkpoint import Checkpoint
from ablate.store.config_file import Description, read_description, written
from ablate.store.errors import CorruptFileError, reading
from ablate.store.layout import (
    CONFIG_DIR,
    HASH_LENGTH,
    HASH_LENGTHS,
    RUNTIME,
    cell_name,
    config_digest,
    hash_in,
    names_cell,
    seed_in,
    study_folder,
)
from ablate.store.manifest import flaw_of, run_files, sound
from ablate.store.parquet import Columns, Rows, from_parquet

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["complete", "diverged", "unfinished", "missing", "damaged"]


@dataclass(frozen=True)
class Cell:
    """One configuration without its seed: the folder outputs/<study>/<cell>."""

    path: Path
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    overrides: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def at(cls, outputs: str | Path, study: str, overrides: Sequence[str], config: Mapping[str, Any]) -> Cell:
        """The cell of a resolved configuration: the folder that has it already, else a name made of the overrides."""
        folder, kept = study_folder(outputs, study), tuple(sorted(filter(names_cell, overrides)))
        digest = config_digest(config)
        with user_errors(folder):
            ranks = [_rank(path, kept, digest) for path in _named(folder, digest)]
        known = min(filter(None, ranks), default=None)
        name = known[-1] if known else cell_name(kept, digest[:HASH_LENGTH])
        return cls(
            folder / name,
            config,
            (*(typed for typed in overrides if typed.startswith(("study=", f"{CONFIG_DIR}="))), *kept),
        )

    @property
    def name(self) -> str:
        return self.path.name

    @functools.cached_property
    def digest(self) -> str:
        """The digest of its configuration, or as many digits of it as are known: those in the cell's name."""
        if self.config:
            return config_digest(self.config)
        digits = hash_in(self.name) or ""
        if len(digits) < HASH_LENGTH:
            with suppress(UserError):
                return self.read_description().digest
        return digits

    def prepare(self) -> list[str]:
        """Write config.yaml where it is missing, damaged, or differs in presentation. Returns warnings, a line each."""
        path, warnings = self.path / "config.yaml", list[str]()
        config = {key: value for key, value in self.config.items() if key not in RUNTIME}
        with self._refusing():
            try:
                stored = self.read_description()
                if stored.config == config and stored.covered:
                    return []
                if stored.digest != self.digest:
                    warnings = self._set_aside(path, "config.yaml", f"{path} is another configuration")
            except CorruptFileError as damage:
                if os.path.lexists(path):
                    warnings = self._set_aside(path, "config.yaml", damage.flaw)
            self._write(path, "config.yaml", written(self.overrides, config))
        return warnings

    def read_description(self) -> Description:
        """The overrides and the resolved configuration on disk. Raises CorruptFileError where they are not as written,
        or are of another cell than the folder's name says."""
        with self._refusing():
            found = read_description(self.path / "config.yaml")
        if not found.digest.startswith(hash_in(self.name) or ""):
            raise CorruptFileError(f"{self.path / 'config.yaml'} is another configuration than the folder's name says")
        return found

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration on disk. Raises as `read_description`."""
        return self.read_description().config

    def seeds(self) -> list[int]:
        """Every seed that has left anything here, in order."""
        work = self.path / ".unfinished"
        with user_errors(self.path):
            folders = [*entries(self.path), *([] if work.is_symlink() else entries(work))]
        return sorted({seed for path in folders if (seed := seed_in(path.name)) is not None})

    def status(self, seed: int) -> Status:
        """What a seed has on disk; only reads. "damaged" becomes one of the others by `repair`, links apart."""
        work = self._work(seed)
        with user_errors(self.path):
            if self._link(seed):
                return "damaged"
            for folder, status in self._published(seed).items():
                if folder.exists():
                    return "damaged" if self._flaw(folder, seed) else status
            left = os.path.lexists(work / "checkpoint.npz") or (work / "failed.txt").exists()
            return "unfinished" if left else "missing"

    def repair(self, seed: int) -> list[str]:
        """Set aside whatever of a seed is damaged, the checkpoint included. Returns warnings, a line each.

        Raises UserError where a folder is a link, which is left alone."""
        warnings = []
        with self._refusing(seed):
            for folder in self._published(seed):
                if folder.exists() and (flaw := self._flaw(folder, seed)):
                    warnings += self._set_aside(folder, f"seed={seed}", flaw)
            try:
                self.load_checkpoint(seed)
            except CorruptFileError as damage:
                warnings += self._set_aside(self._work(seed) / "checkpoint.npz", f"seed={seed}", damage.flaw)
            if self.status(seed) == "complete":
                self._clear(seed)
        return warnings

    def save_checkpoint(
        self, seed: int, iteration: int, arrays: Mapping[str, np.ndarray], curves: Columns, probe: Rows
    ) -> None:
        """Replace the checkpoint of a seed."""
        data = npz.dump(iteration, arrays, curves, probe, seed, self.digest)
        self._write(self._work(seed) / "checkpoint.npz", f"seed={seed}", data)

    def load_checkpoint(self, seed: int) -> Checkpoint | None:
        """The checkpoint of a seed, None where there is none. Raises CorruptFileError where it cannot be read, or is
        of another cell or seed."""
        try:
            with self._refusing(seed), reading(self._work(seed) / "checkpoint.npz") as path:
                return npz.load(path, seed, self.digest)
        except CorruptFileError as damage:
            if isinstance(damage.__cause__, FileNotFoundError):
                return None
            raise

    def finish(self, seed: int, curves: Columns, probe: Rows, manifest: Mapping[str, Any]) -> list[str]:
        """Publish a complete run. `manifest` gives iterations, env_steps, wall_time_s and started; the rest is added.

        A run that is complete already stays: another process finished the same seed, with the same numbers. A damaged
        one is set aside; returns warnings, a line each.
        """
        warnings = self._publish(seed, self._run(seed), curves, probe, {"status": "complete", **manifest})
        self._clear(seed)
        return warnings

    def diverge(
        self, seed: int, iteration: int, reason: str, curves: Columns, probe: Rows, manifest: Mapping[str, Any]
    ) -> list[str]:
        """Record that a seed cannot go on: iteration, reason and the rows so far; else like `finish`."""
        given = {"status": "diverged", "iteration": iteration, "reason": reason, **manifest}
        return self._publish(seed, self._work(seed) / "diverged", curves, probe, given)

    def fail(self, seed: int, text: str) -> None:
        """Keep what went wrong with a seed. It counts as unfinished and is tried again."""
        self._write(self.failure(seed), f"seed={seed}", text.encode(errors="replace"))

    def failure(self, seed: int) -> Path:
        """Where `fail` keeps it."""
        return self._work(seed) / "failed.txt"

    def discard(self, seed: int) -> None:
        """Forget a seed, to run it anew: the unfinished work before the result."""
        with self._refusing(seed):
            retrying(functools.partial(self._leave, self._work(seed), seed))
            retrying(functools.partial(self._leave, self._run(seed), seed))
            self._clear(seed)

    def contents(self, seed: int) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """The manifest of a complete or diverged run and the bytes of its files, checked; None where there is neither.

        Raises CorruptFileError where a file is not what its manifest describes.
        """
        with self._refusing(seed):
            published = next((folder for folder in self._published(seed) if folder.exists()), None)
            return sound(published, seed, lambda: self.digest) if published else None

    def manifest(self, seed: int) -> dict[str, Any]:
        """What a complete or diverged run says of itself. Raises CorruptFileError."""
        return self._sound(seed)[0]

    def curves(self, seed: int) -> pd.DataFrame:
        """A row per iteration of a complete or diverged run. Raises CorruptFileError."""
        return self._frame(seed, "curves.parquet")

    def probe(self, seed: int) -> pd.DataFrame:
        """A row per (iteration, estimator) of a complete or diverged run that was probed. Raises CorruptFileError."""
        return self._frame(seed, "probe.parquet")

    def _sound(self, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        found = self.contents(seed)
        if found is None:
            raise CorruptFileError(f"{self._run(seed)} is missing")
        return found

    def _frame(self, seed: int, name: str) -> pd.DataFrame:
        _, files = self._sound(seed)
        with reading(self._run(seed) / name):
            if name not in files:
                raise CorruptFileError(f"{self._run(seed) / name} is missing")
            return from_parquet(files[name]).to_pandas(use_threads=False)

    def _flaw(self, folder: Path, seed: int) -> str | None:
        return flaw_of(folder, seed, lambda: self.digest)

    def _link(self, seed: int | None = None) -> Path | None:
        """A folder of the cell, or of a seed of it, that is a link."""
        folders = [self.path.parent, self.path, self.path / ".unfinished", self.path / ".damaged"]
        if seed is not None:
            folders += [self._run(seed), self._work(seed), self._work(seed) / "diverged"]
        return next((folder for folder in folders if os.path.islink(folder)), None)

    @contextmanager
    def _refusing(self, seed: int | None = None) -> Iterator[None]:
        """Refuse links, through which nothing is read, written, moved or removed, and what the user can mend."""
        if link := self._link(seed):
            raise UserError(f"{link} is a link, and is left alone; put the folder itself there, or remove the link")
        with user_errors(self.path):
            yield

    def _run(self, seed: int) -> Path:
        return self.path / f"seed={seed}"

    def _work(self, seed: int) -> Path:
        return self.path / ".unfinished" / f"seed={seed}"

    def _published(self, seed: int) -> dict[Path, Status]:
        """The two folders that a manifest vouches for."""
        return {self._run(seed): "complete", self._work(seed) / "diverged": "diverged"}

    def _scratch(self, owner: str) -> Path:
        """A path that no other process uses, on the file system of the cell."""
        return self.path / ".unfinished" / f"{owner}~{os.getpid()}-{secrets.token_hex(4)}"

    def _leave(self, folder: Path, seed: int) -> None:
        """Move a folder out of sight by one rename, for `_clear` to remove: one that goes file by file would look
        damaged to another process."""
        if folder.exists():
            make_folder(self.path / ".unfinished")
            os.rename(folder, self._scratch(f"seed={seed}"))
            sync_folder(folder.parent)  # before its files go: else a loss of power would leave it in place without them

    def _clear(self, seed: int) -> None:
        """Remove the unfinished work of a seed and its scratch, also of processes that were killed."""
        with suppress(OSError):
            self._leave(self._work(seed), seed)
        for path in entries(self.path / ".unfinished"):
            if path.name.startswith((f"seed={seed}~", "config.yaml~")):
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):
                    path.unlink()
        with suppress(OSError):
            (self.path / ".unfinished").rmdir()

    def _write(self, path: Path, owner: str, data: bytes) -> None:
        """Write a file in one step: all of it, or nothing."""
        scratch = self._scratch(owner)

        def attempt() -> None:
            for folder in (scratch.parent, path.parent):
                make_folder(folder)
            put(scratch, path, data)

        with self._refusing(seed_in(owner)):
            retrying(attempt)

    def _publish(self, seed: int, folder: Path, curves: Columns, probe: Rows, manifest: Mapping[str, Any]) -> list[str]:
        """Put a run together out of sight, then rename it into place."""
        contents = run_files(curves, probe, {"seed": seed, "config": self.digest, **manifest})
        staging = self._scratch(f"seed={seed}")

        def attempt() -> None:
            try:
                make_folder(staging)
                for name, data in contents.items():
                    create(staging / name, data)
                make_folder(folder.parent)
                if self._flaw(staging, seed):  # another process clears it away as if we had been killed
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(staging))
                move_folder(staging, folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if self._flaw(folder, seed):  # another process discards it just now
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error
            finally:
                shutil.rmtree(staging, ignore_errors=True)

        warnings = self.repair(seed)
        with self._refusing(seed):
            retrying(attempt)
        return warnings

    def _set_aside(self, path: Path, owner: str, flaw: str) -> list[str]:
        """Move a damaged file or folder to .damaged/; nothing where another process has moved it already."""
        for number in itertools.count(1):
            aside = self.path / ".damaged" / f"{owner}-{number}"
            make_folder(aside.parent)
            with suppress(FileExistsError):
                os.mkdir(aside)
                break
        try:
            os.rename(path, aside if path.is_dir() and not path.is_symlink() else aside / path.name)
        except FileNotFoundError:
            aside.rmdir()
            return []
        return [f"{flaw}; set aside in {aside}"]


def _named(folder: Path, digest: str) -> list[Path]:
    """The folders that are named as the cell of a configuration, none where there is no folder.

    Each job of a sweep asks, of a folder with as many names as there are jobs: others are told by their ends alone.
    """
    ends = tuple(f"-{digest[:length]}" for length in HASH_LENGTHS)
    try:
        likely = [folder / name for name in os.listdir(folder) if name.endswith(ends)]
    except FileNotFoundError:
        return []
    return [path for path in likely if hash_in(path.name) and not path.is_symlink() and path.is_dir()]


def _rank(path: Path, overrides: Sequence[str], digest: str) -> tuple[bool, bool, str] | None:
    """How well a folder fits a configuration, the lowest best, None where it has another: of copies, the one whose name
    is made of the overrides; then one whose config.yaml can be read."""
    try:
        found = read_description(path / "config.yaml")
    except UserError:
        return not is_original(path.name, overrides), True, path.name
    return (not is_original(path.name, found.overrides), False, path.name) if found.digest == digest else None


def is_original(name: str, overrides: Sequence[str]) -> bool:
    """Whether a folder has the name that its own overrides make, rather than one that a copy was given."""
    return name == cell_name(overrides, hash_in(name) or "")
