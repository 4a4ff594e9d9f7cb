"""A whole study as tables: every run read once and checked against its manifest, then kept as one compacted file.

    outputs/<study>/.compacted.arrow    four Arrow streams one after the other: runs, cells, curves, probe

The compacted file belongs to one state of the folder: as soon as any file of the study is new, gone, or has another
size or time, all is read anew. It is only a saving of time: it may be deleted, and where it cannot be written it is
left out. Unlike a pass of pyarrow.dataset, reading the files one by one checks their sums on the way, and takes half
the time.

runs     a row for each seed of each cell that has left anything

    cell, seed
    status          complete; diverged; failed or unfinished (no result yet); damaged (not what its manifest says);
                    other schema (written by another version of the store)
    reason          why it is not complete, in one line; "" for complete runs
    iterations, env_steps, wall_time_s, started, finished, git_revision, versions (JSON)
                    of its manifest, null where there is none
    schema          of its manifest

cells    a row a cell: cell; overrides (JSON, as typed, without the seeds); config (JSON, resolved); "null" twice where
         config.yaml cannot be read

curves, probe    those of the complete runs, led by cell and seed, columns as in `ablate.store`; a column that only some
                 runs have is null in the others. All other runs are in `runs` alone.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml  # type: ignore[import-untyped]

from ablate import store

COMPACTED = ".compacted.arrow"
FORMAT = f"1 of schema {store.SCHEMA}"  # another number makes older compacted files stale
PART = 256  # runs whose tables are made one: ten thousand small ones take several times the memory of their numbers
KEY = b"ablate: state of the folder"

RUNS = pa.schema(
    [("cell", pa.string()), ("seed", pa.int64()), ("status", pa.string()), ("reason", pa.string())]
    + [("iterations", pa.int64()), ("env_steps", pa.int64()), ("wall_time_s", pa.float64())]
    + [(name, pa.string()) for name in ("started", "finished", "git_revision", "versions", "schema")]
)
CELLS = pa.schema([(name, pa.string()) for name in ("cell", "overrides", "config")])


@dataclass(frozen=True)
class Tables:
    """The four tables of a study; the columns are told above."""

    runs: pa.Table
    cells: pa.Table
    curves: pa.Table
    probe: pa.Table


def load(outputs: str | Path, study: str) -> Tables:
    """The tables of a study, from its compacted file where that is up to date; writes it where it is not.

    Raises Refusal where there is no such study or it may not be read.
    """
    cells = store.cells(outputs, study)
    folder = store.study_folder(outputs, study)
    state = _state(cells)
    kept = _read(folder / COMPACTED, state)
    if kept is None:
        kept = _tables(cells)
        _write(folder / COMPACTED, state, kept)
    return kept


def _state(cells: Sequence[store.Cell]) -> bytes:
    """Stands for the names, sizes and times of all files of the cells, set-aside and scratch ones left out."""
    listed = sorted(file for cell in cells for file in _listing(os.fspath(cell.path)))
    return hashlib.sha256(f"{FORMAT} {listed}".encode(errors="surrogateescape")).hexdigest().encode()


def _listing(folder: str) -> Iterator[tuple[str, int, int]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == ".damaged" or "~" in entry.name:
                continue
            if entry.is_dir():
                yield from _listing(entry.path)
            else:
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield entry.path, found.st_size, found.st_mtime_ns


# ------------------------------------------------------------------------------------------- from the runs


def _tables(cells: Sequence[store.Cell]) -> Tables:
    runs, curves, probes = list[dict[str, Any]](), _Rows(), _Rows()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # reading, checksums and Parquet let other threads run meanwhile
        for cell in cells:
            for row, tables in pool.map(partial(_run, cell), cell.seeds()):
                runs += [row] if row else []
                for name, rows in (("curves.parquet", curves), ("probe.parquet", probes)):
                    if name in tables:
                        rows.add(cell.name, row["seed"], tables[name])
    described = pa.Table.from_pylist([_description(cell) for cell in cells], CELLS)
    return Tables(pa.Table.from_pylist(runs, RUNS), described, curves.table(), probes.table())


def _run(cell: store.Cell, seed: int) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """The row of a run, empty where the seed has left nothing, and its tables if it is complete."""
    row, files = _contents(cell, seed)
    try:
        return row, {name: _parquet(data) for name, data in files.items()}
    except (pa.ArrowException, OSError) as error:
        return row | {"status": "damaged", "reason": f"its tables cannot be read ({type(error).__name__})"}, {}


def _contents(cell: store.Cell, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    name: dict[str, Any] = {"cell": cell.name, "seed": seed, "reason": ""}
    try:
        found = cell.contents(seed)
    except store.Damaged as damage:
        return name | {"status": "damaged", "reason": damage.flaw}, {}
    if found is None:
        if cell.status(seed) == "missing":
            return {}, {}
        failure = _last_line(cell.failure(seed))
        return name | {"status": "failed" if failure else "unfinished", "reason": failure}, {}
    manifest, files = found
    name["schema"] = str(manifest["schema"])
    if manifest["schema"] != store.SCHEMA:
        reason = f"its files are of schema {manifest['schema']}, this version reads {store.SCHEMA}"
        return name | {"status": "other schema", "reason": reason}, {}
    told = {key: manifest.get(key) for key in RUNS.names if key not in name}
    row = name | told | {"reason": manifest.get("reason", ""), "versions": json.dumps(manifest.get("versions"))}
    return row, files if manifest["status"] == "complete" else {}


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else "it left no message"


def _description(cell: store.Cell) -> dict[str, str]:
    """OmegaConf writes the file and takes 13 times as long to read it."""
    stored: Mapping[str, Any] = {}
    with suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
        found = yaml.load((cell.path / "config.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        stored = found if isinstance(found, Mapping) else {}
    return {"cell": cell.name, **{key: json.dumps(stored.get(key)) for key in ("overrides", "config")}}


def _parquet(data: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


class _Rows:
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
        with pa.memory_map(os.fspath(path)) as source:
            tables = list[pa.Table]()
            while len(tables) < 4:
                stream = pa.ipc.open_stream(source)
                if (stream.schema.metadata or {}).get(KEY) != state:
                    return None
                tables.append(stream.read_all())
    except (OSError, pa.ArrowException):
        return None
    return Tables(*tables)


def _write(path: Path, state: bytes, tables: Tables) -> None:
    """By temporary file and rename; not at all where the folder does not take it."""
    scratch = path.with_name(f"{path.name}~{os.getpid()}-{secrets.token_hex(4)}")
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    try:
        with suppress(OSError):
            with pa.OSFile(os.fspath(scratch), "wb") as sink:
                for table in (tables.runs, tables.cells, tables.curves, tables.probe):
                    stamped = table.replace_schema_metadata({KEY: state})
                    with pa.ipc.new_stream(sink, stamped.schema, options=options) as stream:
                        stream.write_table(stamped)
            os.replace(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
