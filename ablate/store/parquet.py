"""Rows of numbers as Parquet, every one kept bit for bit, and read with bounds."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ablate.store.columns import COUNTS

LARGEST = 10**8  # numbers of one file
INTEGERS = {int, np.int64, np.int32}
NUMBERS = {pa.int64(): INTEGERS, pa.float64(): INTEGERS | {float, np.float64, np.float32}}
LARGEST_INTEGER = {pa.int64(): 2**63 - 1, pa.float64(): 2**53}  # beyond which a number might be another one
KINDS = pa.int64(), pa.float64(), pa.bool_(), pa.string()

Columns = Mapping[str, Sequence | np.ndarray]
Rows = Sequence[Mapping[str, Any]]


def _column(name: str, values: Sequence | np.ndarray) -> pa.Array:
    """int64 for counts, float64 for other numbers, else what pyarrow makes of the values; null where one is None.

    From buffers where it can be: `pa.array` imports pandas, which takes as long as some iterations of training.
    """
    kind = pa.int64() if name in COUNTS else pa.float64()
    largest = LARGEST_INTEGER[kind]
    known = [value for value in values if value is not None]
    there, types = np.array([value is not None for value in values], bool), {type(value) for value in known}
    if types and types <= {str}:
        strings = pa.lib.StringBuilder()
        strings.append_values(values)
        return strings.finish()
    if types and types <= {bool, np.bool_}:
        return _from_buffers(pa.bool_(), there, np.array(known, bool))
    exact = all(-largest <= value <= largest for value in known if type(value) in INTEGERS)
    if types <= NUMBERS[kind] and exact and (types or isinstance(values, list)):
        return _from_buffers(kind, there, np.array(known, kind.to_pandas_dtype()))
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(kind) if number else column


def _from_buffers(kind: pa.DataType, there: np.ndarray, known: np.ndarray) -> pa.Array:
    """`known` at the places that are `there`, null at the others."""
    data = np.zeros(len(there), known.dtype)
    data[there] = known
    buffers = [None if there.all() else _bits(there), _bits(data) if kind == pa.bool_() else pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(there), buffers)


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
