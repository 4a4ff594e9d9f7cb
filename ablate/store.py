"""What is on disk: the only module that writes or reads outputs/.

A run = one configuration and one seed = one folder. A cell = one configuration without its seed.

    outputs/<study>/<cell>/config.yaml               resolved configuration, and the overrides that make the cell
    outputs/<study>/<cell>/seed=7/curves.parquet     a row per iteration
    outputs/<study>/<cell>/seed=7/probe.parquet      a row per (iteration, estimator), where there is a probe
    outputs/<study>/<cell>/seed=7/manifest.json      which run this is, and the checksum of each file beside it
    outputs/<study>/<cell>/.unfinished/seed=7/       checkpoint.npz; failed.txt; diverged/ with its curves and manifest
    outputs/<study>/<cell>/.damaged/seed=7-1/        what could not be read, set aside

A finished run is put together under .unfinished and renamed into place as a whole, a file likewise, so a kill at any
moment leaves nothing half-written in sight. There are no locks: processes may finish other seeds of the cell, or the
same seed, at the same time. Scratch names end in `~<process>-<random>` and go when their seed finishes. Nothing is
pickled, and every number is kept bit for bit.

Columns of curves.parquet (int64 for counts, float64 otherwise; those of the critic only where there is one):

    iteration                   from 1; a gradient step of policy_gradient, else a fixed number of env steps or a sweep
    env_steps                   valid environment steps so far
    episodes                    episodes so far
    return_mean, return_std     undiscounted return over the episodes that ended in this iteration, NaN where none did
    episode_length_mean         steps an episode, over the episodes of this iteration
    entropy                     of the policy, mean over the steps of this iteration
    grad_norm                   norm of the policy-gradient estimate, before clipping; of a2c that of actor and critic
                                as one, of q_actor_critic its mean step, of dqn the gradient of its loss; of td and
                                q_learning the root mean square TD error, of q_iteration the Bellman residual
    critic_loss                 mean squared error of the critic against its targets; of V where there are V and Q
    critic_explained_variance   1 - Var[target - value] / Var[target]
    evaluation_return_mean, evaluation_return_std
                                undiscounted return of the greedy policy on fresh episodes, where `evaluate.every` is
                                set; NaN after the other iterations
    value_rms_error             td: root mean square of V - V^pi over the states that the policy can reach, all alike
    visit_distance              td: total variation distance of the visits so far to the exact occupancy
    q_error                     q_iteration: sup norm of Q - Q*
    epsilon                     q_learning, dqn: the chance of a random action, at the end of the iteration
    wall_time                   seconds since the run began; the only column that differs from one repetition to another

Columns of probe.parquet, a row per (iteration, estimator); NAME_low and NAME_high are 95% limits of NAME:

    iteration, mode             of the policy that was judged; online, matched (on shared trajectories) or exact
    phi, baseline               the estimator
    critic                      where its V and Q came from: none, run (its own), fitted, exact, or clockless (exact
                                values averaged over time)
    return_mean, J              undiscounted return of the probe's episodes; J itself where mode is exact
    episodes, batch             episodes of the probe (none where exact); N, those of one gradient step
    trace_variance              tr C of the one-trajectory gradient; N Var of the estimate where episodes share b
    squared_signal              |mu|^2, unbiased and so at times negative
    snr, nsr                    |mu|^2 / tr C and its inverse, inf where the sample sets no bound
    pairwise_cosine             between the means of 16 batches of the probe's episodes
    log_ratio                   log of trace_variance over the reference's, on the same trajectories (matched, exact)
    log_ratio_unpaired          the same as if each had had trajectories of its own (matched)
    effective_rank              (tr C)^2 / tr C^2 (matched)
    bias_squared, mse           against grad J, where it is known; mse of the estimate of N episodes
    cosine                      of batch means to grad J;  directional_variance: the variance along grad J
    projection                  <mu, grad J> / |grad J|^2, 1 where unbiased;  wald_p: the p-value of mu = grad J
    v_s0, v_action, v_transition, v_coupling
                                the parts of the trace variance (exact), the last between the episodes of a batch

Fields of manifest.json: schema, status, seed, iterations, env_steps, wall_time_s, started and finished (ISO 8601),
versions, git_revision (None without a checkout), files (rows and sha256 of each); for a diverged run also iteration
and reason.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.metadata
import io
import itertools
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from ablate.refusal import Refusal

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
RUNTIME = frozenset({"seed", "workers", "outputs", "overwrite", "checkpoint_seconds", "study"})
PRESENTATION = frozenset({"label", "symbol", "order", "description"})
"""Keys that change no number of a run, so that they are not part of a cell: RUNTIME and `threshold` at the top level of
the configuration, PRESENTATION in what a choice says `about` itself."""

COUNTS = frozenset({"iteration", "env_steps", "episodes"})
NAME_LENGTH = 120
FIELDS = {"schema", "status", "seed", "iterations", "env_steps", "wall_time_s", "started", "finished", "files"}

Status = Literal["complete", "diverged", "unfinished", "missing", "damaged"]
Columns = Mapping[str, Sequence | np.ndarray]
Rows = Sequence[Mapping[str, Any]]


class Damaged(Refusal):
    """A file of the store is not what it should be: `flaw` says which and how."""

    def __init__(self, flaw: str) -> None:
        super().__init__(f"{flaw}; run the same command again, which makes it anew")
        self.flaw = flaw


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
        with _refusing(folder):
            known = sorted(path.name for path in _entries(folder) if _is_cell(path) and path.name.endswith(suffix))
        name = known[0] if known else _safe_name(",".join(kept))[: NAME_LENGTH - len(suffix)] + suffix
        return cls(folder / name, config, (*(typed for typed in overrides if typed.startswith("study=")), *kept))

    @property
    def name(self) -> str:
        return self.path.name

    def prepare(self) -> list[str]:
        """Write config.yaml where it is missing, damaged, or differs in presentation. Returns warnings, a line each."""
        path, warnings = self.path / "config.yaml", list[str]()
        with _refusing(self.path):
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
        with _reading(self.path / "config.yaml") as path:
            stored: Any = OmegaConf.to_container(OmegaConf.load(path))
            return stored["config"]

    def seeds(self) -> list[int]:
        """Every seed that has left anything here, in order."""
        folders = [*_entries(self.path), *_entries(self.path / ".unfinished")]
        return sorted({int(match[1]) for path in folders if (match := re.fullmatch(r"seed=(\d+)", path.name))})

    def status(self, seed: int) -> Status:
        """What a seed has on disk; only reads. "damaged" becomes one of the others by `repair`."""
        work = self._work(seed)
        with _refusing(self.path):
            for folder, status in self._published(seed).items():
                if folder.exists():
                    return "damaged" if _flaw(folder, seed) else status
            left = (work / "checkpoint.npz").exists() or (work / "failed.txt").exists()
            return "unfinished" if left else "missing"

    def repair(self, seed: int) -> list[str]:
        """Set aside whatever of a seed is damaged, the checkpoint included. Returns warnings, a line each."""
        warnings = []
        with _refusing(self.path):
            for folder in self._published(seed):
                if folder.exists() and (flaw := _flaw(folder, seed)):
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
        tables = {"curves": _table(curves), "probe": _table(_columns(probe))}
        members |= {name: np.frombuffer(_parquet(table), np.uint8) for name, table in tables.items()}
        buffer = io.BytesIO()
        np.savez(buffer, iteration=np.int64(iteration), **members)  # type: ignore[arg-type]
        self._write(self._work(seed) / "checkpoint.npz", f"seed={seed}", buffer.getvalue())

    def load_checkpoint(self, seed: int) -> Checkpoint | None:
        """The checkpoint of a seed, None where there is none. Raises Damaged where it cannot be read."""
        try:
            with _reading(self._work(seed) / "checkpoint.npz") as path:
                with zipfile.ZipFile(path) as archive:  # reading a member to its end checks its CRC
                    members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
                loaded = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
                curves, probe = (_from_parquet(loaded[name].tobytes()) for name in ("curves", "probe"))
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
        with _refusing(self.path):
            _retrying(functools.partial(self._leave, self._work(seed), seed))
            _retrying(functools.partial(self._leave, self._run(seed), seed))
            self._clear(seed)

    def contents(self, seed: int) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """The manifest of a complete or diverged run and the bytes of its files, checked; None where there is neither.

        Raises Damaged where a file is not what its manifest describes.
        """
        with _refusing(self.path):
            published = next((folder for folder in self._published(seed) if folder.exists()), None)
            return _sound(published, seed) if published else None

    def manifest(self, seed: int) -> dict[str, Any]:
        """What a complete or diverged run says of itself."""
        with _reading(self._home(seed) / "manifest.json") as path:
            return json.loads(path.read_bytes())

    def curves(self, seed: int) -> pd.DataFrame:
        """A row per iteration of a complete or diverged run."""
        return _frame(self._home(seed) / "curves.parquet")

    def probe(self, seed: int) -> pd.DataFrame:
        """A row per (iteration, estimator) of a complete or diverged run that was probed."""
        return _frame(self._home(seed) / "probe.parquet")

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
        for path in _entries(self.path / ".unfinished"):
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

        with _refusing(path):
            _retrying(attempt)

    def _publish(self, seed: int, folder: Path, curves: Columns, probe: Rows, manifest: Mapping[str, Any]) -> list[str]:
        """Put a run together out of sight, then rename it into place."""
        contents = _contents(curves, probe, {"seed": seed, **manifest})
        staging = self._scratch(f"seed={seed}")

        def attempt() -> None:
            try:
                staging.mkdir(parents=True)
                for name, data in contents.items():
                    (staging / name).write_bytes(data)
                folder.parent.mkdir(parents=True, exist_ok=True)
                if _flaw(staging, seed):  # another process clears it away as if we had been killed
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(staging))
                os.rename(staging, folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if _flaw(folder, seed):  # another process discards it just now
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error
            finally:
                shutil.rmtree(staging, ignore_errors=True)

        warnings = self.repair(seed)
        with _refusing(folder):
            _retrying(attempt)
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
    with _refusing(folder):
        if not folder.is_dir():
            raise Refusal(f"no study {study!r} in {folder.parent}: run it first, or name its folder with outputs=")
        return [Cell(path) for path in sorted(filter(_is_cell, folder.iterdir()))]


def record_job(folder: Path, summary: Mapping[str, Any]) -> None:
    """Keep what became of one job of a sweep, in the folder that Hydra gave the job."""
    scratch = folder / f"summary~{secrets.token_hex(4)}"
    with _refusing(folder):
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
    for path in (*filter(Path.is_dir, _entries(folder)), folder, folder.parent):
        with suppress(OSError):  # something else is in it
            path.rmdir()


def check_writable(outputs: str | Path) -> None:
    """Refuse an outputs folder that cannot be written, by writing to it."""
    root = _root(outputs)
    probe = root / f".writable~{os.getpid()}-{secrets.token_hex(4)}"
    with _refusing(root):
        try:
            root.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a file system that takes no folders, such as /proc
            raise PermissionError(errno.EACCES, "no folder can be made", str(root)) from error
        try:
            probe.write_bytes(os.urandom(1 << 16))
        finally:
            probe.unlink(missing_ok=True)


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


def _is_cell(path: Path) -> bool:
    return re.fullmatch(r"[^.].*-[0-9a-f]{8}", path.name) is not None and path.is_dir()


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, or not any more."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _safe_name(text: str) -> str:
    """A folder name of plain characters that needs no quotes and is not hidden."""
    return re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", text).lstrip(".-") or "default"


def _root(outputs: str | Path) -> Path:
    if not str(outputs).strip() or "\0" in str(outputs):
        raise Refusal(f"outputs={str(outputs)!r} is not a folder; type outputs=outputs or outputs=/somewhere/writable")
    return Path(outputs).expanduser()


def study_folder(outputs: str | Path, study: str) -> Path:
    """Where a study is, whether or not there is one. Raises Refusal for a name that no folder can have."""
    if not re.fullmatch(r"\w[\w.,=+ -]*", study):
        allowed = "letters, digits, spaces and _ . , = + - (not first)"
        raise Refusal(f"study={study!r} is not a folder name: {allowed}; type for example study=pilot")
    return _root(outputs) / study


def _column(name: str, values: Sequence | np.ndarray) -> pa.Array:
    """int64 for counts, float64 for other numbers, else what pyarrow makes of the values."""
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.int64() if name in COUNTS else pa.float64()) if number else column


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: _column(name, values) for name, values in columns.items()})


def _columns(rows: Rows) -> dict[str, list]:
    """Columns of dict rows, in order of first appearance, None where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def _from_parquet(data: bytes) -> pa.Table:
    # Without threads: a table this small gains nothing, and Arrow's pool at times aborts a process that is ending.
    return pq.read_table(pa.BufferReader(data), use_threads=False)


def _frame(path: Path) -> pd.DataFrame:
    with _reading(path):
        return pq.ParquetFile(path).read(use_threads=False).to_pandas(use_threads=False)


def _contents(curves: Columns, probe: Rows, given: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a run by name, the manifest that vouches for the others last."""
    tables = {"curves.parquet": _table(curves)} | ({"probe.parquet": _table(_columns(probe))} if probe else {})
    files = {name: _parquet(table) for name, table in tables.items()}
    sums = {name: {"rows": tables[name].num_rows, "sha256": hashlib.sha256(files[name]).hexdigest()} for name in files}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    added = {"schema": SCHEMA, "finished": now, "versions": versions(), "git_revision": git_revision(), "files": sums}
    full = added | dict(given)
    if missing := FIELDS - full.keys():
        raise ValueError(f"the manifest lacks {', '.join(sorted(missing))}")
    return files | {"manifest.json": json.dumps(full, indent=1, default=lambda scalar: scalar.item()).encode()}


def _sound(folder: Path, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
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


def _flaw(folder: Path, seed: int) -> str | None:
    """What is wrong with a run, whose manifest vouches for the files beside it; None for a sound one."""
    try:
        _sound(folder, seed)
    except Damaged as damage:
        return damage.flaw
    return None


@functools.cache
def versions() -> dict[str, str | None]:
    """What the numbers of a run may depend on, without importing any of it."""

    def version(package: str) -> str | None:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
        return None

    packages = ("ablate", "torch", "numpy", "gymnasium")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that ablate runs from, with -dirty where files differ; None elsewhere."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return None


TROUBLES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "no space is left"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "permission denied"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is in the way of a folder"),
    errno.ENAMETOOLONG: "the name is too long",
}


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what the user can mend about the outputs folder into a Refusal."""
    try:
        yield
    except OSError as error:
        if error.errno not in TROUBLES:
            raise
        where = error.filename or path
        raise Refusal(f"{TROUBLES[error.errno]}: {where}; type another folder: outputs=/somewhere/writable") from error


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Whatever a parser makes of a damaged file becomes Damaged; trouble with the machine stays what it is."""
    try:
        with _refusing(path):
            yield path
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing") from error
    except Exception as error:
        if isinstance(error, Refusal | MemoryError) or getattr(error, "errno", None):
            raise
        raise Damaged(f"{path} is damaged ({type(error).__name__})") from error


def _retrying(action: Callable[[], None]) -> None:
    """Try again when another process with the same seed moved the ground: swept our scratch, or a folder."""
    for _ in range(9):
        with suppress(FileNotFoundError, FileExistsError):
            return action()
    return action()
