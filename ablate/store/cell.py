"""A cell and its seeds on disk."""

from __future__ import annotations

import errno
import functools
import io
import itertools
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from omegaconf import OmegaConf

from ablate.refusal import Refusal
from ablate.store.files import Damaged, entries, reading, refusing, retrying
from ablate.store.manifest import flaw_of, run_files, sound
from ablate.store.naming import NAME_LENGTH, RUNTIME, config_hash, names_cell, safe_name, study_folder
from ablate.store.tables import Columns, Rows, as_columns, frame, from_parquet, table, to_parquet

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["complete", "diverged", "unfinished", "missing", "damaged"]


@dataclass(frozen=True)
class Checkpoint:
    """Where a seed stands: its arrays, and the rows that it has recorded so far."""

    iteration: int
    arrays: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    probe: list[dict[str, Any]]


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
        suffix = f"-{config_hash(config)}"
        with refusing(folder):
            known = sorted(path.name for path in entries(folder) if is_cell(path) and path.name.endswith(suffix))
        name = known[0] if known else safe_name(",".join(kept))[: NAME_LENGTH - len(suffix)] + suffix
        return cls(folder / name, config, (*(typed for typed in overrides if typed.startswith("study=")), *kept))

    @property
    def name(self) -> str:
        return self.path.name

    def prepare(self) -> list[str]:
        """Write config.yaml where it is missing, damaged, or differs in presentation. Returns warnings, a line each."""
        path, warnings = self.path / "config.yaml", list[str]()
        with refusing(self.path):
            try:
                stored = self.read_config()
                if stored == {key: value for key, value in self.config.items() if key not in RUNTIME}:
                    return []
                if not self.name.endswith(config_hash(stored)):
                    warnings = self._set_aside(path, "config.yaml", f"{path} is another configuration")
            except Damaged as damage:
                if path.exists():
                    warnings = self._set_aside(path, "config.yaml", damage.flaw)
            config = {key: value for key, value in self.config.items() if key not in RUNTIME}
            text = OmegaConf.to_yaml(OmegaConf.create({"overrides": list(self.overrides), "config": config}))
            self._write(path, "config.yaml", text.encode())
        return warnings

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration on disk. Raises Damaged where it cannot be read."""
        with reading(self.path / "config.yaml") as path:
            stored: Any = OmegaConf.to_container(OmegaConf.load(path))
            return stored["config"]

    def seeds(self) -> list[int]:
        """Every seed that has left anything here, in order."""
        folders = [*entries(self.path), *entries(self.path / ".unfinished")]
        return sorted({int(match[1]) for path in folders if (match := re.fullmatch(r"seed=(\d+)", path.name))})

    def status(self, seed: int) -> Status:
        """What a seed has on disk; only reads. "damaged" becomes one of the others by `repair`."""
        work = self._work(seed)
        with refusing(self.path):
            for folder, status in self._published(seed).items():
                if folder.exists():
                    return "damaged" if flaw_of(folder, seed) else status
            left = (work / "checkpoint.npz").exists() or (work / "failed.txt").exists()
            return "unfinished" if left else "missing"

    def repair(self, seed: int) -> list[str]:
        """Set aside whatever of a seed is damaged, the checkpoint included. Returns warnings, a line each."""
        warnings = []
        with refusing(self.path):
            for folder in self._published(seed):
                if folder.exists() and (flaw := flaw_of(folder, seed)):
                    warnings += self._set_aside(folder, f"seed={seed}", flaw)
            try:
                self.load_checkpoint(seed)
            except Damaged as damage:
                warnings += self._set_aside(self._work(seed) / "checkpoint.npz", f"seed={seed}", damage.flaw)
            if self.status(seed) == "complete":
                self._clear(seed)
        return warnings

    def save_checkpoint(
        self, seed: int, iteration: int, arrays: Mapping[str, np.ndarray], curves: Columns, probe: Rows
    ) -> None:
        """Replace the checkpoint of a seed: one npz file, the recorded rows inside it as Parquet."""
        members = {f"array/{name}": np.asarray(array) for name, array in arrays.items()}
        if opaque := [name for name, array in members.items() if array.dtype.hasobject]:
            raise TypeError(f"a checkpoint holds no Python objects: {opaque}")
        tables = {"curves": table(curves), "probe": table(as_columns(probe))}
        members |= {name: np.frombuffer(to_parquet(table), np.uint8) for name, table in tables.items()}
        buffer = io.BytesIO()
        np.savez(buffer, iteration=np.int64(iteration), **members)  # type: ignore[arg-type]
        self._write(self._work(seed) / "checkpoint.npz", f"seed={seed}", buffer.getvalue())

    def load_checkpoint(self, seed: int) -> Checkpoint | None:
        """The checkpoint of a seed, None where there is none. Raises Damaged where it cannot be read."""
        try:
            with reading(self._work(seed) / "checkpoint.npz") as path:
                with zipfile.ZipFile(path) as archive:  # reading a member to its end checks its CRC
                    members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
                loaded = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
                curves, probe = (from_parquet(loaded[name].tobytes()) for name in ("curves", "probe"))
                return Checkpoint(
                    iteration=int(loaded["iteration"]),
                    arrays={k.removeprefix("array/"): v for k, v in loaded.items() if k.startswith("array/")},
                    curves={name: curves[name].to_numpy() for name in curves.column_names},
                    probe=probe.to_pylist(),
                )
        except Damaged as damage:
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
        with refusing(self.path):
            retrying(functools.partial(self._leave, self._work(seed), seed))
            retrying(functools.partial(self._leave, self._run(seed), seed))
            self._clear(seed)

    def contents(self, seed: int) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """The manifest of a complete or diverged run and the bytes of its files, checked; None where there is neither.

        Raises Damaged where a file is not what its manifest describes.
        """
        with refusing(self.path):
            published = next((folder for folder in self._published(seed) if folder.exists()), None)
            return sound(published, seed) if published else None

    def manifest(self, seed: int) -> dict[str, Any]:
        """What a complete or diverged run says of itself."""
        with reading(self._home(seed) / "manifest.json") as path:
            return json.loads(path.read_bytes())

    def curves(self, seed: int) -> pd.DataFrame:
        """A row per iteration of a complete or diverged run."""
        return frame(self._home(seed) / "curves.parquet")

    def probe(self, seed: int) -> pd.DataFrame:
        """A row per (iteration, estimator) of a complete or diverged run that was probed."""
        return frame(self._home(seed) / "probe.parquet")

    def _run(self, seed: int) -> Path:
        return self.path / f"seed={seed}"

    def _work(self, seed: int) -> Path:
        return self.path / ".unfinished" / f"seed={seed}"

    def _published(self, seed: int) -> dict[Path, Status]:
        """The two folders that a manifest vouches for."""
        return {self._run(seed): "complete", self._work(seed) / "diverged": "diverged"}

    def _home(self, seed: int) -> Path:
        return next((folder for folder in self._published(seed) if folder.exists()), self._run(seed))

    def _scratch(self, owner: str) -> Path:
        """A path that no other process uses, on the file system of the cell."""
        return self.path / ".unfinished" / f"{owner}~{os.getpid()}-{secrets.token_hex(4)}"

    def _leave(self, folder: Path, seed: int) -> None:
        """Move a folder out of sight by one rename, for `_clear` to remove: one that goes file by file would look
        damaged to another process."""
        if folder.exists():
            (self.path / ".unfinished").mkdir(exist_ok=True)
            os.rename(folder, self._scratch(f"seed={seed}"))

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
            try:
                for folder in (scratch.parent, path.parent):
                    folder.mkdir(parents=True, exist_ok=True)
                scratch.write_bytes(data)
                os.replace(scratch, path)
            finally:
                scratch.unlink(missing_ok=True)

        with refusing(path):
            retrying(attempt)

    def _publish(self, seed: int, folder: Path, curves: Columns, probe: Rows, manifest: Mapping[str, Any]) -> list[str]:
        """Put a run together out of sight, then rename it into place."""
        contents = run_files(curves, probe, {"seed": seed, **manifest})
        staging = self._scratch(f"seed={seed}")

        def attempt() -> None:
            try:
                staging.mkdir(parents=True)
                for name, data in contents.items():
                    (staging / name).write_bytes(data)
                folder.parent.mkdir(parents=True, exist_ok=True)
                if flaw_of(staging, seed):  # another process clears it away as if we had been killed
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(staging))
                os.rename(staging, folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if flaw_of(folder, seed):  # another process discards it just now
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error
            finally:
                shutil.rmtree(staging, ignore_errors=True)

        warnings = self.repair(seed)
        with refusing(folder):
            retrying(attempt)
        return warnings

    def _set_aside(self, path: Path, owner: str, flaw: str) -> list[str]:
        """Move a damaged file or folder to .damaged/; nothing where another process has moved it already."""
        for number in itertools.count(1):
            aside = self.path / ".damaged" / f"{owner}-{number}"
            with suppress(FileExistsError):
                aside.mkdir(parents=True)
                break
        try:
            os.rename(path, aside if path.is_dir() else aside / path.name)
        except FileNotFoundError:
            aside.rmdir()
            return []
        return [f"{flaw}; set aside in {aside}"]


def cells(outputs: str | Path, study: str) -> list[Cell]:
    """The cells of a study, by name."""
    folder = study_folder(outputs, study)
    with refusing(folder):
        if not folder.is_dir():
            raise Refusal(f"no study {study!r} in {folder.parent}: run it first, or name its folder with outputs=")
        return [Cell(path) for path in sorted(filter(is_cell, folder.iterdir()))]


def is_cell(path: Path) -> bool:
    return re.fullmatch(r"[^.].*-[0-9a-f]{8}", path.name) is not None and path.is_dir()
