"""Tables of results as Parquet: the numbers that were given, in the types that readers count on."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.store.columns import COUNTS
from ablate.store.parquet import from_parquet, table, to_parquet

COUNT = min(COUNTS)
NUMBERS = st.floats(width=64) | st.none()
VALUES = st.one_of(
    st.lists(NUMBERS),
    st.lists(NUMBERS | st.integers(-(2**53), 2**53)),
    st.lists(st.booleans() | st.none()),
    st.lists(st.text() | st.none()),
)


def through_pyarrow(name: str, values: list) -> pa.Array:
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.int64() if name in COUNTS else pa.float64()) if number else column


def same(found: pa.ChunkedArray, wanted: pa.Array) -> bool:
    """With NaN equal to NaN."""
    return found.type == wanted.type and repr(found.to_pylist()) == repr(wanted.to_pylist())


@given(VALUES)
def test_a_column_is_what_pyarrow_makes_of_the_values(values: list) -> None:
    """And what is read is what was written."""
    made = table({"x": values})
    assert same(made["x"], through_pyarrow("x", values))
    assert same(from_parquet(to_parquet(made))["x"], through_pyarrow("x", values))


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()))
def test_counts_are_whole_numbers(values: list) -> None:
    assert same(table({COUNT: values})[COUNT], through_pyarrow(COUNT, values))
    if None not in values:
        assert same(table({COUNT: np.array(values, np.int64)})[COUNT], through_pyarrow(COUNT, values))


def test_whole_floats_count_and_others_are_refused() -> None:
    assert table({COUNT: [1.0, None, 3.0]})[COUNT].to_pylist() == [1, None, 3]
    with pytest.raises(pa.ArrowInvalid):
        table({COUNT: [0.5]})


def test_writing_a_table_does_not_import_pandas() -> None:
    """It would take each process of a sweep as long as some iterations of training."""
    code = """
import sys, numpy as np
from ablate.store.parquet import table, to_parquet
to_parquet(table({"x": np.arange(3.0), "y": [1.0, None, 2.0], "z": ["a", None, "c"], "t": [True, False, None]}))
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
