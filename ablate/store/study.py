"""A whole study as tables: every run read once and checked against its manifest, then kept as one compacted file.

    outputs/<study>/.compacted.arrow    a line with a checksum of the state of the folder and of what follows: five
                                        Arrow streams one after the other: runs, cells, curves, probe, strays

The compacted file belongs to one state of the folder: as soon as any file of the study is new, gone, or has another
size or time, all is read anew. It is only a saving of time: it may be deleted; where its checksum does not hold, it is
made anew before Arrow has seen it; where it cannot be written, it is left out. Unlike a pass of pyarrow.dataset,
reading the files one by one checks their sums on the way, and takes half the time.

runs     a row for each seed of each cell that has left anything

    cell, seed
    status          complete; diverged; failed or unfinished (no result yet); damaged (not what its manifest says);
                    other schema (written by another version of the store)
    reason          why it is not complete, in one line; "" for complete runs
    iterations, env_steps, wall_time_s, started, finished, git_revision, versions (JSON)
                    of its manifest, null where there is none
    schema          of its manifest

cells    a row a cell: cell; overrides (JSON, as typed, without the seeds); config (JSON, resolved)

strays   a row for each thing in the study that looks like a result and is none, as a copy of a cell, or one whose
         config.yaml is damaged: path; reason

curves, probe    those of the complete runs, led by cell and seed, columns as in `ablate.store`; a column that only some
                 runs have is null in the others. All other runs are in `runs` alone.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ablate import store
from ablate.errors import UserError
from ablate.files import UnsafeFileError, opened, put, read, scratch_name
from ablate.store.columns import COUNTS
from ablate.store.parquet import from_parquet
from ablate.store.scan import Stray, scan

COMPACTED = ".compacted.arrow"
SHOWN = ("figures", "tables", "export")  # folders of what is made from the study
FORMAT = f"2 of schema {store.SCHEMA}"  # another number makes older compacted files stale
LARGEST = 1 << 40  # bytes of a compacted file
PART = 256  # runs whose tables are made one: ten thousand small ones take several times the memory of their numbers
TEXTS = frozenset({"mode", "phi", "baseline", "critic"})
"""Columns of probe.parquet that hold words; all others hold numbers."""

RUNS = pa.schema(
    [("cell", pa.string()), ("seed", pa.int64()), ("status", pa.string()), ("reason", pa.string())]
    + [("iterations", pa.int64()), ("env_steps", pa.int64()), ("wall_time_s", pa.float64())]
    + [(name, pa.string()) for name in ("started", "finished", "git_revision", "versions", "schema")]
)
CELLS = pa.schema([(name, pa.string()) for name in ("cell", "overrides", "config")])
STRAYS = pa.schema([(name, pa.string()) for name in ("path", "reason")])


@dataclass(frozen=True)
class Tables:
    """The tables of a study; the columns are told above."""

    runs: pa.Table
    cells: pa.Table
    curves: pa.Table
    probe: pa.Table
    strays: pa.Table


def load(outputs: str | Path, study: str) -> Tables:
    """The tables of a study, from its compacted file where that is up to date; writes it where it is not.

    Raises UserError where there is no such study or it may not be read.
    """
    folder = store.study_folder(outputs, study)
    state = _state(folder)
    kept = _read(folder / COMPACTED, state)
    if kept is None:
        kept = _tables(*scan(outputs, study))
        _write(folder / COMPACTED, state, kept)
    return kept


def _state(folder: Path) -> bytes:
    """Stands for the names, sizes and times of all files in the folders of a study, set-aside and scratch ones and
    those of figures and tables left out."""
    with suppress(FileNotFoundError, NotADirectoryError):
        paths = [entry for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.name not in SHOWN]
        listed = sorted(file for entry in paths for file in _entry(entry, inside=False))
        return hashlib.sha256(f"{FORMAT} {listed}".encode(errors="surrogateescape")).digest()
    return b""


def _listing(folder: str) -> Iterator[tuple[str, int, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != ".damaged" and "~" not in entry.name:
                    yield from _entry(entry)
    except OSError as error:  # what may not be read is part of the state, too
        yield folder, -1, error.errno or 0


def _entry(entry: os.DirEntry[str], inside: bool = True) -> Iterator[tuple[str, int, int]]:
    if entry.is_dir(follow_symlinks=False):
        yield entry.path, -1, 0
        yield from _listing(entry.path)
    elif inside or entry.is_symlink():  # files beside the cells, as a report, are no results
        with suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            yield entry.path, found.st_size, found.st_mtime_ns


# ------------------------------------------------------------------------------------------- from the runs


def _tables(cells: Sequence[store.Cell], strays: Sequence[Stray]) -> Tables:
    runs, curves, probes = list[dict[str, Any]](), _Table(), _Table()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # reading, checksums and Parquet let other threads run meanwhile
        for cell in cells:
            for row, tables in pool.map(partial(_run, cell), cell.seeds()):
                runs += [row] if row else []
                for name, rows in (("curves.parquet", curves), ("probe.parquet", probes)):
                    if name in tables:
                        rows.add(cell.name, row["seed"], tables[name])
    described = [
        {"cell": cell.name, "overrides": json.dumps(cell.overrides), "config": json.dumps(cell.config)}
        for cell in cells
    ]
    left = [{"path": _text(stray.path), "reason": _text(stray.reason)} for stray in strays]
    return Tables(
        pa.Table.from_pylist(runs, RUNS),
        pa.Table.from_pylist(described, CELLS),
        curves.table(),
        probes.table(),
        pa.Table.from_pylist(left, STRAYS),
    )


def _text(told: Path | str) -> str:
    """A name may hold bytes that are no text."""
    return (
        os.fsencode(told).decode(errors="replace") if isinstance(told, Path) else told.encode(errors="replace").decode()
    )


def _run(cell: store.Cell, seed: int) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """The row of a run, empty where the seed has left nothing, and its tables if it is complete."""
    row, files = _contents(cell, seed)
    try:
        return row, {name: _numbers(name, from_parquet(data)) for name, data in files.items()}
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        why = f" ({error})" if type(error) is ValueError else f" ({type(error).__name__})"
        return row | {"status": "damaged", "reason": f"its tables cannot be read{why}"}, {}


def _numbers(name: str, table: pa.Table) -> pa.Table:
    """The same. Raises ValueError where words stand in a column of numbers, or the other way round."""
    words = TEXTS if name == "probe.parquet" else frozenset()
    for column in table.schema:
        if (column.type == pa.string()) != (column.name in words):
            raise ValueError(f"column {column.name[:40]!r} holds {column.type}")
    if table.num_rows and not COUNTS & set(table.column_names):
        raise ValueError("no column counts anything")
    return table


def _contents(cell: store.Cell, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    name: dict[str, Any] = {"cell": cell.name, "seed": seed, "reason": ""}
    try:
        found = cell.contents(seed)
        if found is None:
            if cell.status(seed) == "missing":
                return {}, {}
            failure = _last_line(cell.failure(seed))
            return name | {"status": "failed" if failure else "unfinished", "reason": failure}, {}
    except store.CorruptFileError as damage:
        return name | {"status": "damaged", "reason": _text(damage.flaw)}, {}
    except UserError as error:
        return name | {"status": "damaged", "reason": _text(str(error))}, {}
    manifest, files = found
    name["schema"] = str(manifest["schema"])
    if manifest["schema"] not in store.READ:
        reason = f"its files are of schema {manifest['schema']}, this version reads {store.SCHEMA}"
        return name | {"status": "other schema", "reason": reason}, {}
    told = {key: manifest.get(key) for key in RUNS.names if key not in name}
    row = name | told | {"reason": manifest.get("reason", ""), "versions": json.dumps(manifest.get("versions"))}
    return row, files if manifest["status"] == "complete" else {}


def _last_line(path: Path) -> str:
    try:
        lines = read(path, 1 << 24).decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    except (UnsafeFileError, OSError):
        lines = []
    return lines[-1][:1000] if lines else "it left no message"


class _Table:
    """Tables of many runs, to be one table."""

    def __init__(self) -> None:
        self._cells: list[str] = []
        self._seeds: list[int] = []
        self._lengths: list[int] = []
        self._tables: list[pa.Table] = []
        self._parts: list[pa.Table] = []

    def add(self, cell: str, seed: int, table: pa.Table) -> None:
        self._cells.append(cell)
        self._seeds.append(seed)
        self._lengths.append(len(table))
        self._tables.append(table)
        if len(self._tables) == PART:
            self._merge()

    def _merge(self) -> None:
        self._parts.append(_one(self._tables).combine_chunks())
        self._tables = []

    def table(self) -> pa.Table:
        self._merge()
        names = list(dict.fromkeys(self._cells))
        place = {name: number for number, name in enumerate(names)}
        codes = np.repeat(np.array([place[name] for name in self._cells], np.int32), self._lengths)
        cell = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
        seed = pa.array(np.repeat(np.array(self._seeds, np.int64), self._lengths), pa.int64())
        rows = _one(self._parts)
        return pa.table({"cell": cell, "seed": seed} | {name: rows[name] for name in rows.column_names})


def _one(tables: list[pa.Table]) -> pa.Table:
    """With the columns of all, null where a table has not got one."""
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


# ----------------------------------------------------------------------------------------- the compacted file


def _read(path: Path, state: bytes) -> Tables | None:
    """The tables of a compacted file; None where there is none, or it is of another state, or damaged."""
    try:
        with opened(path, LARGEST) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            content = memoryview(mapped)[HEAD:]
            if mapped[:HEAD] != _head(state, content):
                return None
            source = pa.BufferReader(pa.py_buffer(content))
            return Tables(*(pa.ipc.open_stream(source).read_all() for _ in Tables.__dataclass_fields__))
    except (OSError, ValueError, pa.ArrowException):
        return None


HEAD = 65  # bytes: 64 digits and the end of the line


def _head(state: bytes, content: bytes | memoryview) -> bytes:
    """The line before the tables: nothing is believed, nor given to Arrow, that does not have it."""
    return hashlib.sha256(state + hashlib.sha256(content).digest()).hexdigest().encode() + b"\n"


def _write(path: Path, state: bytes, tables: Tables) -> None:
    """Whole, or not at all where the folder does not take it."""
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    sink = pa.BufferOutputStream()
    for table in vars(tables).values():
        with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write_table(table)
    content = memoryview(sink.getvalue())
    with suppress(OSError):
        put(scratch_name(path), path, _head(state, content), content)
