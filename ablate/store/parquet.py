"""Rows of numbers as Parquet, every one kept bit for bit, and read with bounds."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.store.columns import COUNTS

LARGEST = 10**8  # numbers of one file
KINDS = pa.int64(), pa.float64(), pa.bool_(), pa.string()

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
    """The table of a file that `to_parquet` made. Raises ValueError, or whatever pyarrow does, for any other."""
    # Without threads: a table this small gains nothing, and Arrow's pool at times aborts a process that is ending.
    file = pq.ParquetFile(pa.BufferReader(data))
    schema = file.schema_arrow
    if file.metadata.num_rows * max(1, len(schema)) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} numbers")
    if len(set(schema.names)) < len(schema):
        raise ValueError("two columns have one name")
    for column in schema:
        wanted = (pa.int64(),) if column.name in COUNTS else KINDS
        if column.type not in wanted:
            raise ValueError(f"column {column.name[:40]!r} holds {column.type}")
    return file.read(use_threads=False)
