"""Rows of numbers as Parquet, every one kept bit for bit, and read with bounds."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.store.columns import COUNTS

LARGEST = 10**8  # numbers of one file
BOOLEANS, INTEGERS, FLOATS = {bool, np.bool_}, {int, np.int64, np.int32}, {float, np.float64, np.float32}
KINDS = pa.int64(), pa.float64(), pa.bool_(), pa.string()

Columns = Mapping[str, Sequence | np.ndarray]
Rows = Sequence[Mapping[str, Any]]


def _column(name: str, values: Sequence | np.ndarray) -> pa.Array:
    """int64 for counts, float64 for other numbers, else what pyarrow makes of the values; null where one is None.

    From buffers where it can be: `pa.array` imports pandas, which takes as long as some iterations of training.
    """
    kind, largest = (pa.int64(), 2**63 - 1) if name in COUNTS else (pa.float64(), 2**53)  # what it holds exactly
    listed: Any = values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind in "bif" else values
    types = set(map(type, listed))
    known = [value for value in listed if value is not None] if type(None) in types else listed
    types.discard(type(None))
    if types == {str}:
        strings = pa.lib.StringBuilder()
        strings.append_values(listed)
        return strings.finish()
    if types and types <= BOOLEANS:
        return _from_buffers(pa.bool_(), listed, np.array(known, bool))
    whole = types <= INTEGERS and (not types or -largest <= min(known) <= max(known) <= largest)
    if (whole or (types <= FLOATS and name not in COUNTS)) and (types or isinstance(values, list)):
        return _from_buffers(kind, listed, np.array(known, kind.to_pandas_dtype()))
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(kind) if number else column


def _from_buffers(kind: pa.DataType, listed: Sequence | np.ndarray, data: np.ndarray) -> pa.Array:
    """The data, and null where a value that is listed is None."""
    missing = None
    if len(data) < len(listed):
        there = np.array([value is not None for value in listed])
        known, data, missing = data, np.zeros(len(there), data.dtype), _bits(there)
        data[there] = known
    return pa.Array.from_buffers(kind, len(data), [missing, _bits(data) if kind == pa.bool_() else pa.py_buffer(data)])


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
