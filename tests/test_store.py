"""The store: what is written is read back bit for bit, and no kill, damage or full disk goes unnoticed."""

import contextlib
import json
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate import store
from ablate.refusal import Refusal
from ablate.store import Cell, Damaged, cells, check_writable, config_hash

CONFIG: dict[str, Any] = {
    "phi": {"_target_": "ablate.phi.Advantage", "order": 3, "about": {"label": "A", "needs": ["V"], "order": 3}},
    "env": {"id": "CartPole-v1", "horizon": 500, "kwargs": {"order": 2}},
    "episodes": 16,
    "gamma": 0.99,
    "threshold": 400,
    "seed": "0-9",
    "workers": "auto",
    "outputs": "outputs",
    "overwrite": False,
    "checkpoint_seconds": 30,
    "study": "pilot",
}
MANIFEST = {"iterations": 3, "env_steps": 90, "wall_time_s": 1.5, "started": "2026-01-01T00:00:00+00:00"}
CURVES = {
    "iteration": [1, 2, 3],
    "env_steps": np.array([30, 60, 90]),
    "episodes": [1, 2, 3],
    "return_mean": np.array([1.0, np.nan, -np.inf]),
    "wall_time": [0.1, 0.2, 0.3],
}
PROBE = [{"iteration": 1, "estimator": "rtg", "variance": 0.5}, {"iteration": 2, "estimator": "rtg", "bias": np.nan}]
ARRAYS = {"weights/0": np.arange(6.0).reshape(2, 3), "file": np.array(7, np.uint64), "empty": np.zeros((0, 2))}


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


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


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
    with pytest.raises(Damaged, match="checkpoint"):
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
        except Damaged:
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
        with pytest.raises(Damaged, match=r"config\.yaml.*same command"):
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


# Names


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["seed=0-9", "workers=2", "outputs=/x", "overwrite=true", "checkpoint_seconds=1", "study=s"], "default"),
        (["phi.about.label=x", "+env.about.description=y", "threshold=3"], "default"),
        (["phi.threshold=3"], "phi.threshold=3"),
        (["phi=rtg", "env=cartpole"], "env=cartpole,phi=rtg"),
        (["env.id=ALE/Pong-v5"], "env.id=ALE_Pong-v5"),
        (["+a.b='c d'", "~critic"], "+a.b=_c_d_,_critic"),
        (["../../etc"], "_.._etc"),
        (["x=\n\t\0ü∇"], "x=_"),
        (["....", "--"], ",...."),
        (["x=" + "y" * 300], "x=" + "y" * 101),
    ],
)
def test_cell_names(tmp_path: Path, overrides: list[str], name: str) -> None:
    cell = Cell.at(tmp_path, "s", overrides, CONFIG)
    assert cell.name == f"{name}-{config_hash(CONFIG)}"
    assert len(cell.name) <= 120
    cell.prepare()
    assert [found.name for found in cells(tmp_path, "s")] == [cell.name]


@settings(max_examples=60, deadline=None)
@given(overrides=st.lists(st.text(max_size=60), max_size=8))
def test_any_override_makes_one_plain_folder_inside_the_study(overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cell = Cell.at(folder, "s", overrides, CONFIG)
        assert re.fullmatch(r"[A-Za-z0-9_,=+][A-Za-z0-9_.,=+-]*", cell.name)
        assert len(cell.name) <= 120
        (cell.path).mkdir(parents=True)
        assert os.listdir(Path(folder) / "s") == [cell.name]
        assert Cell.at(folder, "s", ["spelled=otherwise"], CONFIG) == cell


def test_another_spelling_of_a_configuration_is_the_same_cell(tmp_path: Path) -> None:
    first = Cell.at(tmp_path, "s", ["phi=rtg"], CONFIG)
    first.prepare()
    again = Cell.at(tmp_path, "s", ["gamma=0.99", "phi=rtg"], dict(reversed(CONFIG.items())))
    assert again == first
    assert again.prepare() == []
    assert Cell.at(tmp_path, "s", ["gamma=0.9", "phi=rtg"], CONFIG | {"gamma": 0.9}) != first
    assert Cell.at(tmp_path, "other", ["gamma=0.99", "phi=rtg"], CONFIG).name.startswith("gamma=")


def test_what_is_shown_follows_the_last_command(tmp_path: Path) -> None:
    first = Cell.at(tmp_path, "s", [], CONFIG)
    first.prepare()
    again = Cell.at(tmp_path, "s", ["threshold=7"], CONFIG | {"threshold": 7})
    assert (again, again.prepare()) == (first, [])
    assert first.read_config()["threshold"] == 7


def paths_of(node: Any, at: tuple = ()) -> Iterator[tuple]:
    """The path of every leaf of a nested dict."""
    for key, value in node.items():
        yield from paths_of(value, (*at, key)) if isinstance(value, dict) else [(*at, key)]


def changed(path: tuple) -> dict[str, Any]:
    config = json.loads(json.dumps(CONFIG))
    node = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = ["changed"]
    return config


@pytest.mark.parametrize("path", list(paths_of(CONFIG)), ids=".".join)
def test_the_hash_sees_every_key_that_may_change_a_number(path: tuple) -> None:
    ignored = path[0] in {*store.RUNTIME, "threshold"} or path in {("phi", "about", "label"), ("phi", "about", "order")}
    assert (config_hash(changed(path)) == config_hash(CONFIG)) == ignored


def test_runtime_keys_are_ignored_at_the_top_only() -> None:
    assert config_hash({"env": {"seed": 1}}) != config_hash({"env": {"seed": 2}})
    assert config_hash({"a": [{"about": {"label": 1}}]}) == config_hash({"a": [{"about": {"label": 2}}]})
    assert config_hash({"phi": {"threshold": 1}}) != config_hash({"phi": {"threshold": 2}})
    assert config_hash({"a": 1}) != config_hash({"a": 1.0}) != config_hash({"a": "1.0"})
    assert config_hash({"a": (1, 2)}) == config_hash({"a": [1, 2]})


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1e.:#'\"- \n∇~", max_size=6)
trees = st.dictionaries(
    st.text("abc_", min_size=1, max_size=4),
    st.recursive(leaves, lambda node: st.lists(node, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), node)),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(config=trees)
def test_a_configuration_on_disk_has_the_hash_of_its_cell(config: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cell = Cell.at(folder, "s", ["a=1"], config | {"seed": 3})
        cell.prepare()
        (found,) = cells(folder, "s")
        assert config_hash(found.read_config()) == cell.name[-16:]
        assert "seed" not in found.read_config()
        assert cell.prepare() == []
        assert re.search(r"^overrides:\n- a=1$", (cell.path / "config.yaml").read_text(), re.M)


# Reading


def test_an_unknown_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"no study 'nope' in .*--outputs"):
        cells(tmp_path, "nope")


def test_the_store_imports_no_engine() -> None:
    code = "import ablate.store, sys; print({'torch', 'pandas', 'gymnasium'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# Folders that do not take it


def assert_one_line(refusal: pytest.ExceptionInfo[Refusal], *parts: str) -> None:
    text = str(refusal.value)
    assert "\n" not in text
    assert all(part in text for part in (*parts, "outputs=")), text


@pytest.mark.parametrize("study", ["", "a/b", "..", ".hidden", "/abs", "a\n", "a\0", "-x"])
def test_a_study_is_one_plain_folder(tmp_path: Path, study: str) -> None:
    with pytest.raises(Refusal, match="type for example study="):
        Cell.at(tmp_path, study, [], CONFIG)


@pytest.mark.parametrize("outputs", ["", " ", "a\0b"])
def test_outputs_must_be_a_folder_name(outputs: str) -> None:
    with pytest.raises(Refusal, match="type outputs="):
        check_writable(outputs)


def test_outputs_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    for outputs in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Refusal) as refusal:
            check_writable(outputs)
        assert_one_line(refusal, str(tmp_path / "file"), "file is in the way")
        with pytest.raises(Refusal) as refusal:
            Cell.at(outputs, "s", [], CONFIG).prepare()
        assert_one_line(refusal, str(tmp_path / "file"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_file_system_that_takes_no_folders_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        check_writable("/proc/outputs")
    assert_one_line(refusal, "permission denied", "/proc/outputs")


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    for act in (lambda: check_writable(tmp_path / ("x" * 300)), lambda: Cell.at(tmp_path, "x" * 300, [], CONFIG)):
        with pytest.raises(Refusal) as refusal:
            act()
        assert_one_line(refusal, "too long")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may write anywhere; then act as somebody else."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_read_only_folder_is_refused(request: pytest.FixtureRequest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cell = Cell.at(folder, "s", [], CONFIG)
        cell.prepare()
        cell.finish(7, CURVES, [], MANIFEST)
        before = files(Path(folder))
        for path in (Path(folder), cell.path.parent, cell.path):
            path.chmod(0o555)
        request.getfixturevalue("unprivileged")
        assert (cell.status(7), cell.prepare()) == ("complete", [])
        for act in (
            lambda: check_writable(folder),
            lambda: check_writable(f"{folder}/new"),
            lambda: cell.save_checkpoint(8, 1, {}, {}, []),
            lambda: cell.finish(8, CURVES, [], MANIFEST),
            lambda: cell.diverge(8, 1, "NaN", CURVES, [], MANIFEST),
            lambda: cell.fail(8, "text"),
            lambda: cell.discard(7),
        ):
            with pytest.raises(Refusal) as refusal:
                act()
            assert_one_line(refusal, folder, "permission denied")
        assert files(Path(folder)) == before
        if os.getuid() == 0:
            os.seteuid(0)
        for path in (Path(folder), cell.path.parent, cell.path):
            path.chmod(0o755)


def overfill(folder: Path, big: np.ndarray) -> None:
    """Every kind of write meets a disk that has no room for it: refused, and what was there stays as it was."""
    cell = Cell.at(folder, "s", [], CONFIG)
    cell.prepare()
    cell.save_checkpoint(7, 1, {"small": np.ones(3)}, CURVES, PROBE)
    cell.finish(6, CURVES, [], MANIFEST)
    before = files(folder)
    curves = {"iteration": np.arange(len(big)), "return_mean": big}
    for act in (
        lambda: cell.save_checkpoint(7, 2, {"big": big}, {}, []),
        lambda: cell.save_checkpoint(8, 2, {"big": big}, {}, []),
        lambda: cell.finish(7, curves, [], MANIFEST),
        lambda: cell.diverge(7, 2, "NaN", curves, [], MANIFEST),
        lambda: cell.fail(7, "x" * big.nbytes),
    ):
        with pytest.raises(Refusal) as refusal:
            act()
        assert_one_line(refusal, str(cell.path), "no space is left")
        assert files(folder) == before
    loaded = cell.load_checkpoint(7)
    assert loaded is not None
    assert (loaded.iteration, cell.status(6), cell.status(7), cell.status(8)) == (
        1,
        "complete",
        "unfinished",
        "missing",
    )


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting is not permitted here; the limit on file size stands for it")
    try:
        overfill(tmp_path, np.random.default_rng(0).standard_normal(100_000))
        (tmp_path / "ballast").write_bytes(bytes(shutil.disk_usage(tmp_path).free))
        with pytest.raises(Refusal) as refusal:
            check_writable(tmp_path)
        assert_one_line(refusal, "no space is left")
        (tmp_path / "ballast").unlink()
        check_writable(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"s"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_limit_on_file_size_is_refused(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores SIGXFSZ, so that the write fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        overfill(tmp_path, np.random.default_rng(0).standard_normal(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# Kills

HAMMER = """
import os, signal, sys, time
import numpy as np
from ablate.store import Cell

outputs, mode = sys.argv[1:]
cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
manifest = {"iterations": 5, "env_steps": 5, "wall_time_s": 0.0, "started": "2026"}


def live(seed):
    rows = [{"iteration": k, "estimator": "td", "variance": np.nan} for k in range(5)]
    curves = {"iteration": np.arange(5), "return_mean": np.arange(5.0)}
    for step in range(2):
        cell.save_checkpoint(seed, step, {"w": np.full(5000, float(step))}, curves, rows)
        checkpoint = cell.load_checkpoint(seed)  # None: another process has finished this seed, or discards it
        assert checkpoint is None or mode == "race" or checkpoint.iteration == step


def loop(seed, forever=True):
    while True:
        cell.prepare()
        live(seed)
        cell.fail(seed, "text")
        cell.diverge(seed, 3, "NaN", {"iteration": [0]}, [], manifest)
        cell.discard(seed)
        live(seed)
        cell.finish(seed, {"iteration": np.arange(5), "return_mean": np.arange(5.0)}, [{"v": 1}] * 5, manifest)
        assert mode == "race" or cell.status(seed) == "complete"
        if not forever:
            return
        cell.discard(seed)


def die_at(event):
    left = event

    def hook(name, arguments):
        nonlocal left
        if name == "open" and not str(arguments[0]).startswith(outputs):
            return
        if name in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.scandir"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if mode == "race":
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        loop(7, forever=False)
        cell.discard(7)
    sys.exit()
cell.save_checkpoint(7, 0, {}, {"a": np.ones(1)}, [])  # pyarrow imports pandas now, rather than in every child
cell.discard(7)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            if mode == "event":
                die_at(int(line))
            loop(7, forever=mode == "time")
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if mode == "time":
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def hammer(outputs: Path, mode: str) -> Iterator[Any]:
    """A function that has a process use seed 7 until it is killed: after a while, or before its n-th file operation."""
    command = [sys.executable, "-c", HAMMER, str(outputs), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def strike(when: float) -> int:
            process.stdin.write(f"{when}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return int(process.stdout.readline())  # type: ignore[union-attr]

        yield strike
        process.stdin.close()


def judge(outputs: Path) -> str:
    """Check that everything in sight is whole; return the status."""
    cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
    status = cell.status(7)
    assert status != "damaged"
    assert cell.repair(7) == []
    if (cell.path / "config.yaml").exists():
        assert cell.read_config() == {"a": 1}
    if status == "complete":
        assert cell.curves(7)["return_mean"].tolist() == [0, 1, 2, 3, 4]
        assert cell.probe(7)["v"].tolist() == [1] * 5
        assert files(cell.path / "seed=7") == {"curves.parquet", "probe.parquet", "manifest.json"}
    else:
        assert not (cell.path / "seed=7").exists()
    if status == "diverged":
        assert cell.manifest(7)["reason"] == "NaN"
    checkpoint = cell.load_checkpoint(7)
    if checkpoint is not None:
        assert checkpoint.arrays["w"].tolist() == [float(checkpoint.iteration)] * 5000
        assert len(checkpoint.probe) == len(checkpoint.curves["iteration"]) == 5
    if outputs.exists():
        assert all(path.name in ("s", cell.name) for path in [*outputs.glob("*"), *outputs.glob("*/*")])
    return status


def tidy(outputs: Path) -> None:
    """After any kills, one uninterrupted run leaves no trace of them."""
    cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
    cell.discard(7)
    cell.prepare()
    cell.finish(7, CURVES, [], MANIFEST)
    assert files(outputs / "s") == {
        f"{cell.name}/{n}" for n in ("config.yaml", "seed=7/curves.parquet", "seed=7/manifest.json")
    }


def test_kills_at_random_moments(tmp_path: Path) -> None:
    outputs, clock, seen = tmp_path / "outputs", random.Random(time.time_ns()), set()
    with hammer(outputs, "time") as strike:
        for _ in range(60):
            assert strike(clock.uniform(0, 0.08)) == -9
            seen.add(judge(outputs))
    assert "unfinished" in seen, "no kill fell into the work"
    tidy(outputs)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_kill_before_every_change_to_the_disk(tmp_path: Path, fresh: bool) -> None:
    """One whole life of a seed, killed before its first file operation, its second, ... until it survives."""
    outputs, seen = tmp_path / "outputs", set()
    with hammer(outputs, "event") as strike:
        for event in range(500):
            code = strike(event)
            seen.add(judge(outputs))
            if code == 0:
                break
            assert code == -9
            if fresh:
                shutil.rmtree(outputs, ignore_errors=True)
    assert event > 60
    assert code == 0
    assert seen == {"missing", "unfinished", "diverged", "complete"}
    tidy(outputs)


@pytest.mark.parametrize("act", ["prepare", "save_checkpoint", "finish", "diverge"])
def test_a_write_outlives_the_sweep_of_another_process(tmp_path: Path, monkeypatch: Any, act: str) -> None:
    """Another process finishes the same seed, and clears .unfinished, just before our rename."""
    cell, sweeps = Cell.at(tmp_path, "s", [], CONFIG), []

    def swept(name: str) -> None:
        move = getattr(os, name)

        def rename(source: Path, target: Path) -> None:
            if len(sweeps) < 3:
                sweeps.append(name)
                shutil.rmtree(cell.path / ".unfinished")
            move(source, target)

        monkeypatch.setattr(os, name, rename)

    swept("replace")
    swept("rename")
    if act == "prepare":
        cell.prepare()
        assert cell.read_config()["gamma"] == 0.99
    elif act == "save_checkpoint":
        cell.save_checkpoint(7, 1, ARRAYS, CURVES, PROBE)
        assert cell.status(7) == "unfinished"
    elif act == "finish":
        cell.finish(7, CURVES, PROBE, MANIFEST)
        assert cell.status(7) == "complete"
    else:
        cell.diverge(7, 1, "NaN", CURVES, PROBE, MANIFEST)
        assert cell.status(7) == "diverged"
    assert len(sweeps) == 3


def test_processes_that_share_a_seed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAMMER, str(tmp_path / "outputs"), "race"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert "Traceback" not in process.communicate()[1]
        assert process.returncode == 0
    tidy(tmp_path / "outputs")
