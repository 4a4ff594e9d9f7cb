"""Disks that fail: after a loss of power or on a full disk there is what was or what was to be, and never a half."""

import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from disks import PowerLoss, full_from

from ablate import store
from ablate.analysis.tables import save
from ablate.errors import UserError
from ablate.files import make_folder, write
from ablate.store import Cell
from ablate.store.parquet import from_parquet

CONFIG = {"gamma": 0.9, "about": {"label": "first"}}
MANIFEST = {"iterations": 3, "env_steps": 30, "wall_time_s": 0.5, "started": "2026-01-01T00:00:00+00:00"}
CURVES = {"iteration": [1, 2, 3], "return_mean": [0.1, 0.2, 0.3]}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where it is at hand: fsync and removal are quick there."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def cell_in(outputs: Path, label: str = "first") -> Cell:
    return Cell.at(outputs, "s", ["gamma=0.9"], CONFIG | {"about": {"label": label}})


def refusal_of(act: Callable[[], object]) -> str | None:
    try:
        act()
    except UserError as error:
        return str(error)
    return None


def life(outputs: Path) -> Iterator[str]:
    """A seed from its first checkpoint to its result, another that diverges, a third that fails; where each stands."""
    cell = cell_in(outputs)
    cell.prepare()
    yield "prepared"
    for iteration in (1, 2):
        cell.save_checkpoint(7, iteration, {"w": np.full(50, float(iteration))}, CURVES, [])
        yield f"saved {iteration}"
    cell.fail(6, "Traceback")
    cell.diverge(5, 1, "NaN", CURVES, [], MANIFEST)
    yield "diverged"
    cell_in(outputs, "second").prepare()
    cell.finish(7, CURVES, [{"iteration": 0, "v": 1.0}], MANIFEST)
    yield "finished"
    cell.discard(7)
    yield "discarded"
    cell.finish(7, CURVES, [], MANIFEST)


def assert_whole(outputs: Path) -> str:
    """Whatever is in sight is whole; returns what it is."""
    cell = cell_in(outputs)
    if (cell.path / "config.yaml").exists():
        assert cell.read_config()["about"]["label"] in ("first", "second")
    for seed in (5, 6, 7):
        status = cell.status(seed)
        assert status != "damaged", (seed, cell.repair(seed))
        if status in ("complete", "diverged"):
            contents = cell.contents(seed)
            assert contents is not None
            assert from_parquet(contents[1]["curves.parquet"])["return_mean"].to_pylist() == CURVES["return_mean"]
    checkpoint = cell.load_checkpoint(7)
    if checkpoint:
        assert checkpoint.arrays["w"].tolist() == [float(checkpoint.iteration)] * 50
    return f"{cell.status(7)} {checkpoint.iteration if checkpoint else ''}".strip()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_loss_of_power_before_any_file_operation(memory: Path) -> None:
    """Files have the bytes of their last fsync, folders the names of theirs, or those that they had at the end."""
    dice, seen, count = random.Random(0), list[str](), 0

    def crashed(disk: PowerLoss) -> None:
        nonlocal count
        count += 1
        for drawn in (None, dice):
            with tempfile.TemporaryDirectory(dir=memory.parent) as folder:
                disk.state(Path(folder), drawn)
                seen.append(assert_whole(Path(folder)))

    disk = PowerLoss(memory, crashed)
    kept = {}
    with disk.watched():
        for done in life(memory):
            with tempfile.TemporaryDirectory(dir=memory.parent) as folder:
                disk.state(Path(folder), None)
                kept[done] = assert_whole(Path(folder))
    assert count > 100
    assert {"missing", "unfinished 1", "unfinished 2", "complete"} <= set(seen)
    # What a call has promised is on the disk once it has returned.
    assert (kept["saved 1"], kept["saved 2"], kept["finished"]) == ("unfinished 1", "unfinished 2", "complete")


@pytest.mark.parametrize("once", [True, False])
def test_a_disk_that_is_full_from_any_operation_on(memory: Path, once: bool) -> None:
    """One line is said, nothing is half-written, and once there is room the same calls go through."""
    for number in range(200):
        outputs = memory / str(number)
        with full_from(number, outputs, once) as failed:
            for act in acts(outputs):
                assert "no space is left" in (refusal_of(act) or "no space is left")
        if outputs.exists():
            assert_whole(outputs)
        if not failed:
            break
        for act in acts(outputs):
            act()
        assert assert_whole(outputs) == "complete"
        names = {str(path.relative_to(outputs / "s")).partition("/")[2] for path in outputs.rglob("*")}
        assert not any("~" in name for name in names), names
        shutil.rmtree(outputs)
    assert number > 40


def acts(outputs: Path) -> list[Callable[[], object]]:
    cell = cell_in(outputs)
    return [
        cell.prepare,
        lambda: cell.save_checkpoint(7, 1, {"w": np.full(50, 1.0)}, CURVES, []),
        lambda: cell.fail(7, "text"),
        lambda: cell.diverge(5, 1, "NaN", CURVES, [], MANIFEST),
        lambda: cell.finish(7, CURVES, [], MANIFEST),
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    for number in range(20):
        with full_from(number, tmp_path) as failed:
            said = refusal_of(lambda: write(path, "after" * 1000))
        assert (said is None) == (not failed)
        assert "~" not in (said or "").replace(str(tmp_path), "")
        assert [found.name for found in tmp_path.iterdir()] == ["page.html"]
        if not failed:
            break
    assert path.read_text() == "after" * 1000
    assert number == 5  # open, write, fsync, rename, fsync of the folder


def test_no_table_is_empty_on_a_full_disk(tmp_path: Path) -> None:
    frame = pd.DataFrame({"env": ["chain"], "runs": [3]})
    for number in range(12):
        with full_from(number, tmp_path), pytest.raises(UserError, match="--out"):
            save(frame, tmp_path, "table")
        assert all(path.stat().st_size for path in tmp_path.iterdir())


def test_a_sweep_remembers_what_a_full_disk_does_not_take(tmp_path: Path) -> None:
    folder = tmp_path / ".sweeps" / "now"
    store.record_job(folder / "0", {"label": "a", "failed": {3: "x"}})
    with full_from(0, tmp_path):
        store.record_job(folder / "1", {"label": "b", "failed": {}})
    assert [record["label"] for record in store.read_jobs(folder)] == ["a", "b"]
    store.forget_jobs(folder)
    assert store.read_jobs(folder) == []
    assert not (tmp_path / ".sweeps").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a few files."""
    options = "size=4m,nr_inodes=24"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here; the disks of tests/disks.py stand for it")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_without_inodes_is_a_full_disk(small_disk: Path) -> None:
    for act in acts(small_disk / "outputs")[:3]:
        act()
    ballast = []
    try:
        while True:
            ballast.append(small_disk / f"ballast{len(ballast)}")
            ballast[-1].touch()
    except OSError:
        ballast.pop()
    with pytest.raises(UserError, match="no space is left"):
        store.check_writable(small_disk / "outputs")
    for act in acts(small_disk / "outputs")[1:]:
        with pytest.raises(UserError, match="no space is left"):
            act()
    assert assert_whole(small_disk / "outputs") == "unfinished 1"
    for path in ballast:
        path.unlink()
    for act in acts(small_disk / "outputs"):
        act()
    assert assert_whole(small_disk / "outputs") == "complete"


def test_a_folder_that_another_process_removes_and_makes_again_is_no_file_in_the_way(tmp_path: Path) -> None:
    folder, ended = tmp_path / "a" / "b", threading.Event()

    def churn() -> None:
        while not ended.is_set():
            for change in (folder.parent.mkdir, folder.mkdir, folder.rmdir, folder.parent.rmdir):
                with suppress(OSError):
                    change()

    others = [threading.Thread(target=churn) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(40_000):
            with suppress(FileNotFoundError):
                make_folder(folder)
    finally:
        ended.set()
        for other in others:
            other.join()
