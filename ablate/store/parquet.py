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
    """int64 for counts, float64 for other numbers, else booleans or strings; null where a value is None.

    From buffers: `pa.array` imports pandas, which takes a process as long as it takes to train for some iterations.
    """
    kind = pa.int64() if name in COUNTS else pa.float64()
    known = np.array([value is not None for value in values], bool)
    found = np.asarray(values if known.all() else [value for value in values if value is not None])
    if found.dtype.kind == "U":
        strings = pa.lib.StringBuilder()
        strings.append_values(values)
        return strings.finish()
    if found.dtype.kind == "b":
        data, kind = np.zeros(len(known), bool), pa.bool_()
    elif found.dtype.kind == "i" or (found.dtype.kind == "f" and (kind == pa.float64() or not len(found))):
        data = np.zeros(len(known), kind.to_pandas_dtype())
    else:  # numbers that need a check, and what has no place in a table
        return pa.array(values).cast(kind)
    data[known] = found
    buffers = [None if known.all() else _bits(known), _bits(data) if kind == pa.bool_() else pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(known), buffers)


def _bits(x: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(x, bitorder="little"))


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
