"""Rows of numbers as Parquet, every one kept bit for bit."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.store.files import reading

if TYPE_CHECKING:
    import pandas as pd

COUNTS = frozenset({"iteration", "env_steps", "episodes"})


Columns = Mapping[str, Sequence | np.ndarray]
Rows = Sequence[Mapping[str, Any]]


def _column(name: str, values: Sequence | np.ndarray) -> pa.Array:
    """int64 for counts, float64 for other numbers, else what pyarrow makes of the values."""
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.int64() if name in COUNTS else pa.float64()) if number else column


def table(columns: Columns) -> pa.Table:
    return pa.table({name: _column(name, values) for name, values in columns.items()})


def as_columns(rows: Rows) -> dict[str, list]:
    """Columns of dict rows, in order of first appearance, None where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    # Without threads: a table this small gains nothing, and Arrow's pool at times aborts a process that is ending.
    return pq.read_table(pa.BufferReader(data), use_threads=False)


def frame(path: Path) -> pd.DataFrame:
    with reading(path):
        return pq.ParquetFile(path).read(use_threads=False).to_pandas(use_threads=False)
