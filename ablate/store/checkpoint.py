"""The checkpoint of a seed: one npz file, uncompressed, the recorded rows inside it as Parquet. Nothing is pickled."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.files import opened
from ablate.store.errors import CorruptFileError
from ablate.store.parquet import Columns, Rows, as_columns, from_parquet, table, to_parquet

LARGEST = 1 << 36  # bytes: the replay buffer of a DQN is in it


@dataclass(frozen=True)
class Checkpoint:
    """Where a seed stands: its arrays, and the rows that it has recorded so far."""

    iteration: int
    arrays: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    probe: list[dict[str, Any]]


def dump(
    iteration: int, arrays: Mapping[str, np.ndarray], curves: Columns, probe: Rows, seed: int, digest: str
) -> bytes:
    """The file of a checkpoint, which names its seed and the digest of its configuration."""
    members = {f"array/{name}": np.asarray(array) for name, array in arrays.items()}
    if opaque := [name for name, array in members.items() if array.dtype.hasobject]:
        raise TypeError(f"a checkpoint holds no Python objects: {opaque}")
    tables = {"curves": table(curves), "probe": table(as_columns(probe))}
    members |= {name: np.frombuffer(to_parquet(table), np.uint8) for name, table in tables.items()}
    members |= {"iteration": np.array(iteration, np.int64), "seed": np.array(seed), "config": np.array(digest)}
    buffer = io.BytesIO()
    np.savez(buffer, **members)  # type: ignore[arg-type]
    return buffer.getvalue()


def load(path: Path, seed: int, digest: str) -> Checkpoint:
    """Raises CorruptFileError where it is of another seed or configuration; whatever a damaged file may raise, too."""
    with opened(path, LARGEST) as file, zipfile.ZipFile(file) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("a compressed member, which may be of any size")
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}  # checks the CRC
    loaded = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
    if not str(loaded.get("config", digest)).startswith(digest) or int(loaded.get("seed", seed)) != seed:
        raise CorruptFileError(f"{path} is of another cell or seed")  # earlier versions named neither
    curves, probe = (from_parquet(loaded[name].tobytes()) for name in ("curves", "probe"))
    return Checkpoint(
        iteration=int(loaded["iteration"]),
        arrays={k.removeprefix("array/"): v for k, v in loaded.items() if k.startswith("array/")},
        curves={name: curves[name].to_numpy() for name in curves.column_names},
        probe=probe.to_pylist(),
    )
