"""The store: what is written is read back bit for bit, and no kill, damage or full disk goes unnoticed."""

import contextlib
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import ARRAYS, CONFIG, CURVES, MANIFEST, PROBE, files

from ablate import store
from ablate.errors import UserError
from ablate.store import Cell, CorruptFileError, cells


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    cell = Cell.at(tmp_path / "outputs", "pilot", ["phi=advantage"], CONFIG)
    assert cell.prepare() == []
    return cell


@contextlib.contextmanager
def fresh_cell() -> Iterator[Cell]:
    """A cell of its own for every example of hypothesis."""
    with tempfile.TemporaryDirectory() as folder:
        yield Cell.at(folder, "pilot", [], CONFIG)


# Round trips

bits = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1 << 63, 0x7FF0 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + 1])
floats = bits.map(lambda word: struct.unpack("<d", struct.pack("<Q", word))[0])
dtypes = st.sampled_from(["<f8", "<f4", ">f8", "<i8", "|u1", "|b1", "<u8", "<U3"])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any bits in any shape, so that every NaN is among them."""
    dtype, shape = np.dtype(draw(dtypes)), tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    if dtype.kind == "U":
        return np.full(shape, draw(st.text("aé∇", max_size=3)), dtype)
    count = int(np.prod(shape))
    data = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    array = np.frombuffer(bytes(byte & 1 for byte in data) if dtype.kind == "b" else data, dtype).reshape(shape)
    return np.asfortranarray(array) if draw(st.booleans()) else array


@settings(max_examples=60, deadline=None)
@given(
    named=st.dictionaries(st.text("abc/_.é", min_size=1, max_size=5), arrays(), max_size=4),
    values=st.lists(floats, max_size=20),
    iteration=st.integers(0, 2**62),
)
def test_a_checkpoint_comes_back_bit_for_bit(named: dict[str, np.ndarray], values: list[float], iteration: int) -> None:
    with fresh_cell() as cell:
        curves = {"iteration": list(range(len(values))), "return_mean": values}
        rows = [{"iteration": k, "variance": value} for k, value in enumerate(values)]
        cell.save_checkpoint(3, iteration, named, curves, rows)
        loaded = cell.load_checkpoint(3)
    assert loaded is not None
    assert loaded.iteration == iteration
    assert loaded.arrays.keys() == named.keys()
    for name, array in named.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].shape == array.shape
        assert loaded.arrays[name].tobytes() == array.tobytes()
    packed = np.array(values, np.float64).tobytes()
    assert loaded.curves["return_mean"].tobytes() == packed
    assert loaded.curves["iteration"].tolist() == curves["iteration"]
    assert np.array([row["variance"] for row in loaded.probe], np.float64).tobytes() == packed


@settings(max_examples=40, deadline=None)
@given(values=st.lists(floats, min_size=1, max_size=40))
def test_a_finished_run_comes_back_bit_for_bit(values: list[float]) -> None:
    with fresh_cell() as cell:
        rows = [{"iteration": k, "estimator": "td", "variance": value} for k, value in enumerate(values)]
        cell.finish(3, {"iteration": range(len(values)), "return_mean": values}, rows, MANIFEST)
        curves, probe = cell.curves(3), cell.probe(3)
    packed = np.array(values, np.float64).tobytes()
    assert curves["return_mean"].to_numpy().tobytes() == packed
    assert probe["variance"].to_numpy().tobytes() == packed
    assert curves["iteration"].tolist() == list(range(len(values)))


@settings(max_examples=25, deadline=None)
@given(values=st.lists(floats, min_size=2, max_size=20), cut=st.integers(0, 20))
def test_rows_that_passed_through_a_checkpoint_make_the_same_file(values: list[float], cut: int) -> None:
    """A resumed run and an uninterrupted one write equal bytes, whatever kinds of row the probe has."""
    rows = [
        {"iteration": k, "name": "x", "v": v, "few": k if k % 2 else None, "flag": True} for k, v in enumerate(values)
    ]
    rows.append({"iteration": len(values), "new": 1})
    head, tail = rows[:cut], rows[cut:]
    with fresh_cell() as cell:
        cell.save_checkpoint(0, cut, {}, {"return_mean": values[:cut], "iteration": np.arange(len(values[:cut]))}, head)
        resumed = cell.load_checkpoint(0)
        assert resumed is not None
        curves = {"return_mean": [*resumed.curves["return_mean"], *values[cut:]], "iteration": np.arange(len(values))}
        cell.finish(0, curves, resumed.probe + tail, MANIFEST)
        cell.finish(1, {"return_mean": values, "iteration": np.arange(len(values))}, rows, MANIFEST)
        for name in ("curves.parquet", "probe.parquet"):
            assert (cell.path / "seed=0" / name).read_bytes() == (cell.path / "seed=1" / name).read_bytes()


def test_columns_are_counts_or_floats(cell: Cell) -> None:
    cell.finish(7, CURVES | {"entropy": [1, 2, 3], "grad_norm": np.float32([1, 2, 3])}, PROBE, MANIFEST)
    types = {field.name: field.type for field in pq.read_schema(cell.path / "seed=7" / "curves.parquet")}
    assert {name for name, kind in types.items() if kind == pa.int64()} == {"iteration", "env_steps", "episodes"}
    assert {name for name, kind in types.items() if kind == pa.float64()} == types.keys() - store.COUNTS
    probe = {field.name: field.type for field in pq.read_schema(cell.path / "seed=7" / "probe.parquet")}
    assert probe == {"iteration": pa.int64(), "estimator": pa.string(), "variance": pa.float64(), "bias": pa.float64()}


def test_a_fraction_is_not_a_count(cell: Cell) -> None:
    with pytest.raises(pa.ArrowInvalid):
        cell.finish(7, CURVES | {"episodes": [1.0, 2.5, 3.0]}, [], MANIFEST)
    assert cell.status(7) == "missing"


def test_a_checkpoint_is_never_pickled(cell: Cell) -> None:
    with pytest.raises(TypeError, match="objects"):
        cell.save_checkpoint(7, 1, {"bad": np.array([{}], object)}, {}, [])
    assert files(cell.path) == {"config.yaml"}


# The life of a run


def test_the_layout_of_a_finished_run(cell: Cell) -> None:
    cell.save_checkpoint(7, 1, ARRAYS, CURVES, PROBE)
    cell.fail(7, "Traceback")
    cell.finish(7, CURVES, PROBE, MANIFEST)
    cell.finish(8, CURVES, [], MANIFEST)
    run = {"seed=7/curves.parquet", "seed=7/probe.parquet", "seed=7/manifest.json"}
    assert files(cell.path) == run | {"config.yaml", "seed=8/curves.parquet", "seed=8/manifest.json"}
    assert not (cell.path / ".unfinished").exists()


def test_what_a_manifest_says(cell: Cell) -> None:
    cell.finish(7, CURVES, PROBE, MANIFEST | {"env_steps": np.int64(90), "note": np.float64(0.5)})
    manifest = cell.manifest(7)
    assert manifest["seed"] == 7
    assert manifest["status"] == "complete"
    assert manifest["env_steps"] == 90
    assert manifest["note"] == 0.5
    assert manifest["schema"] == store.SCHEMA
    assert manifest["versions"]["python"] == sys.version.split()[0]
    assert manifest["versions"]["numpy"] == np.__version__
    assert {"torch", "gymnasium", "ablate"} < manifest["versions"].keys()
    assert manifest["git_revision"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", manifest["git_revision"])
    assert manifest["started"] < manifest["finished"]
    assert manifest["files"]["curves.parquet"]["rows"] == 3
    assert manifest["files"]["probe.parquet"]["rows"] == 2


def test_a_manifest_that_lacks_a_field_is_a_bug_and_leaves_nothing(cell: Cell) -> None:
    with pytest.raises(ValueError, match="started"):
        cell.finish(7, CURVES, [], {key: value for key, value in MANIFEST.items() if key != "started"})
    assert files(cell.path) == {"config.yaml"}


def test_states_follow_one_another(cell: Cell) -> None:
    assert (cell.status(7), cell.load_checkpoint(7), cell.seeds()) == ("missing", None, [])
    cell.fail(7, "Traceback \udcff")
    assert cell.status(7) == "unfinished"
    cell.save_checkpoint(7, 2, ARRAYS, CURVES, PROBE)
    assert cell.status(7) == "unfinished"
    cell.diverge(7, 2, "the gradient is NaN", CURVES, PROBE, MANIFEST)
    assert cell.status(7) == "diverged"
    assert cell.manifest(7)["reason"] == "the gradient is NaN"
    assert cell.manifest(7)["iteration"] == 2
    assert len(cell.curves(7)) == 3
    assert not (cell.path / "seed=7").exists()
    cell.discard(7)
    assert cell.status(7) == "missing"
    cell.finish(7, CURVES, [], MANIFEST)
    assert cell.status(7) == "complete"
    cell.discard(7)
    assert (cell.status(7), files(cell.path)) == ("missing", {"config.yaml"})


def test_a_second_process_that_finishes_the_same_seed_changes_nothing(cell: Cell) -> None:
    cell.finish(7, CURVES, [], MANIFEST)
    before = (cell.path / "seed=7" / "manifest.json").read_bytes()
    cell.save_checkpoint(7, 1, ARRAYS, CURVES, PROBE)
    assert cell.status(7) == "complete"
    assert cell.finish(7, CURVES | {"wall_time": [9, 9, 9]}, [], MANIFEST) == []
    assert (cell.path / "seed=7" / "manifest.json").read_bytes() == before
    assert not (cell.path / ".unfinished").exists()


def test_scratch_of_killed_processes_goes_when_the_seed_finishes(cell: Cell) -> None:
    unfinished = cell.path / ".unfinished"
    (unfinished / "seed=7~1-ab").mkdir(parents=True)
    for name in ("seed=7~1-ab/curves.parquet", "seed=7~2-cd", "seed=70~2-cd"):
        (unfinished / name).write_bytes(b"half")
    assert (cell.status(7), cell.seeds()) == ("missing", [])
    cell.finish(7, CURVES, [], MANIFEST)
    assert files(unfinished) == {"seed=70~2-cd"}
    cell.finish(70, CURVES, [], MANIFEST)
    assert not unfinished.exists()


# Damage


def garble(path: Path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    new = {
        "empty": b"",
        "truncated": data[:-5],
        "garbage": b"\x00\xff" * middle,
        "zeros": bytes(len(data)),
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "half": data[:middle],
        "longer": data + b"}",
        "deep": b"[" * 200_000,
        "other": b"[1, 2]",
        "null": b'{"files": null}',
    }
    path.unlink() if how == "gone" else path.write_bytes(new[how])


@pytest.mark.parametrize("how", ["gone", "empty", "truncated", "garbage", "zeros", "flipped", "longer", "deep"])
@pytest.mark.parametrize("name", ["curves.parquet", "probe.parquet"])
@pytest.mark.parametrize("state", ["complete", "diverged"])
def test_damaged_results_are_told_set_aside_and_run_again(cell: Cell, name: str, how: str, state: str) -> None:
    def record() -> list[str]:
        if state == "complete":
            return cell.finish(7, CURVES, PROBE, MANIFEST)
        return cell.diverge(7, 3, "NaN", CURVES, PROBE, MANIFEST)

    record()
    folder = cell.path / ("seed=7" if state == "complete" else ".unfinished/seed=7/diverged")
    garble(folder / name, how)
    kept = files(folder)
    assert cell.status(7) == "damaged"
    (warning,) = cell.repair(7)
    assert str(folder / name) in warning
    assert str(cell.path / ".damaged" / "seed=7-1") in warning
    assert "\n" not in warning
    assert files(cell.path / ".damaged" / "seed=7-1") == kept
    assert (cell.status(7), cell.repair(7)) == ("missing", [])
    assert record() == []
    assert cell.status(7) == state
    garble(folder / name, how)
    assert len(record()) == 1  # found in the way of a new result
    assert cell.status(7) == state
    assert (cell.path / ".damaged" / "seed=7-2").is_dir()


@pytest.mark.parametrize("how", ["gone", "empty", "truncated", "garbage", "zeros", "longer", "deep", "other", "null"])
def test_a_damaged_manifest_is_told_and_set_aside(cell: Cell, how: str) -> None:
    cell.finish(7, CURVES, PROBE, MANIFEST)
    garble(cell.path / "seed=7" / "manifest.json", how)
    assert cell.status(7) == "damaged"
    (warning,) = cell.repair(7)
    assert "manifest.json" in warning
    assert cell.status(7) == "missing"


@pytest.mark.parametrize("key", sorted(store.FIELDS))
def test_a_manifest_without_a_field_or_of_another_seed_is_damaged(cell: Cell, key: str) -> None:
    cell.finish(7, CURVES, [], MANIFEST)
    shutil.copytree(cell.path / "seed=7", cell.path / "seed=8")
    path = cell.path / "seed=7" / "manifest.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    assert (cell.status(7), cell.status(8)) == ("damaged", "damaged")


@pytest.mark.parametrize("how", ["empty", "truncated", "garbage", "zeros", "flipped"])
def test_a_damaged_checkpoint_is_told_and_set_aside(cell: Cell, how: str) -> None:
    cell.save_checkpoint(7, 1, ARRAYS, CURVES, PROBE)
    path = cell.path / ".unfinished" / "seed=7" / "checkpoint.npz"
    garble(path, how)
    with pytest.raises(CorruptFileError, match="checkpoint"):
        cell.load_checkpoint(7)
    (warning,) = cell.repair(7)
    assert str(path) in warning
    assert files(cell.path / ".damaged") == {"seed=7-1/checkpoint.npz"}
    assert (cell.status(7), cell.load_checkpoint(7)) == ("missing", None)


def test_any_flipped_byte_of_a_checkpoint_is_found_or_harmless(cell: Cell) -> None:
    cell.save_checkpoint(7, 5, ARRAYS, CURVES, PROBE)
    path = cell.path / ".unfinished" / "seed=7" / "checkpoint.npz"
    data, found = path.read_bytes(), 0
    for position in random.Random(0).sample(range(len(data)), 400):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            loaded = cell.load_checkpoint(7)
        except CorruptFileError:
            found += 1
            continue
        assert loaded is not None
        assert loaded.iteration == 5
        assert {name: array.tobytes() for name, array in loaded.arrays.items()} == {
            name: array.tobytes() for name, array in ARRAYS.items()
        }
        assert loaded.curves["return_mean"].tobytes() == CURVES["return_mean"].tobytes()  # type: ignore[attr-defined]
    assert found > 200


@pytest.mark.parametrize("how", ["gone", "empty", "half", "garbage", "zeros", "other"])
def test_a_damaged_configuration_is_written_again(cell: Cell, how: str) -> None:
    path = cell.path / "config.yaml"
    before = path.read_bytes()
    garble(path, how)
    if how != "half":
        with pytest.raises(CorruptFileError, match=r"config\.yaml.*same command"):
            Cell(cell.path).read_config()
    warnings = cell.prepare()
    assert len(warnings) == (how != "gone")
    assert path.read_bytes() == before


def test_resuming_after_damage_keeps_the_checkpoint(cell: Cell) -> None:
    cell.finish(7, CURVES, [], MANIFEST)
    cell.save_checkpoint(7, 2, ARRAYS, CURVES, PROBE)
    garble(cell.path / "seed=7" / "curves.parquet", "truncated")
    assert len(cell.repair(7)) == 1
    assert cell.status(7) == "unfinished"


# Reading


def test_an_unknown_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no study 'nope' in .*--outputs"):
        cells(tmp_path, "nope")


def test_the_store_imports_no_engine() -> None:
    code = "import ablate.store, sys; print({'torch', 'pandas', 'gymnasium'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
