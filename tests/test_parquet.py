"""Tables of results as Parquet: the numbers that were given, in the types that readers count on."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ablate.store.columns import COUNTS
from ablate.store.parquet import KINDS, from_parquet, table, to_parquet

COUNT = min(COUNTS)
ONE = st.one_of(st.floats(width=64), st.integers(-(2**70), 2**70), st.booleans(), st.text(), st.none())
VALUES = st.one_of(
    st.lists(st.floats(width=64) | st.none()),
    st.lists(st.floats(width=64) | st.integers(-(2**53), 2**53) | st.none()),
    st.lists(st.integers(-(2**54), 2**54) | st.none()),
    st.lists(st.booleans() | st.none()),
    st.lists(st.text() | st.none()),
    st.lists(ONE, max_size=4),
    st.lists(ONE, max_size=4).map(lambda values: np.array(values, object)),
    st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda values: np.array(values, np.int64)),
    st.lists(st.floats(width=32)).map(lambda values: np.array(values, np.float32)),
    st.lists(st.booleans()).map(lambda values: np.array(values, bool)),
)


def through_pyarrow(name: str, values: list) -> pa.Array:
    column = pa.array(values)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)
    return column.cast(pa.int64() if name in COUNTS else pa.float64()) if number else column


def same(found: pa.ChunkedArray, wanted: pa.Array) -> bool:
    """With NaN equal to NaN."""
    return found.type == wanted.type and repr(found.to_pylist()) == repr(wanted.to_pylist())


@given(st.sampled_from(["x", COUNT]), VALUES)
@example("x", [])
@example(COUNT, [])
@example("x", [None])
@example("x", np.array([], bool))
@example("x", np.array([], object))
@example("x", np.ma.array([1.0, 2.0], mask=[False, True]))
@example("x", [2**53 + 1])
@example("x", np.array([-(2**63)]))
@example("x", [True, 0.5])
@example("x", ["a", float("nan")])
def test_a_column_is_what_pyarrow_makes_of_the_values(name: str, values: list) -> None:
    """What it refuses is refused; and what is read is what was written."""
    try:
        wanted = through_pyarrow(name, values)
    except (pa.ArrowException, OverflowError) as error:
        with pytest.raises(type(error)):
            table({name: values})
        return
    made = table({name: values})
    assert same(made[name], wanted)
    if wanted.type in KINDS and (name == "x" or wanted.type == pa.int64()):
        assert same(from_parquet(to_parquet(made))[name], wanted)


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
