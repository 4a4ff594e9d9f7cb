"""Folders that cannot be used, disks that are full, and names that are none: one line each."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stored import CONFIG, CURVES, MANIFEST, PROBE, files

from ablate.errors import UserError
from ablate.store import Cell, check_writable


def assert_one_line(error: pytest.ExceptionInfo[UserError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(part in text for part in (*parts, "outputs=")), text


@pytest.mark.parametrize("study", ["", "a/b", "..", ".hidden", "/abs", "a\n", "a\0", "-x"])
def test_a_study_is_one_plain_folder(tmp_path: Path, study: str) -> None:
    with pytest.raises(UserError, match="type for example study="):
        Cell.at(tmp_path, study, [], CONFIG)


@pytest.mark.parametrize("outputs", ["", " ", "a\0b"])
def test_outputs_must_be_a_folder_name(outputs: str) -> None:
    with pytest.raises(UserError, match="type outputs="):
        check_writable(outputs)


def test_outputs_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    for outputs in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError) as error:
            check_writable(outputs)
        assert_one_line(error, str(tmp_path / "file"), "file is in the way")
        with pytest.raises(UserError) as error:
            Cell.at(outputs, "s", [], CONFIG).prepare()
        assert_one_line(error, str(tmp_path / "file"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_file_system_that_takes_no_folders_is_refused() -> None:
    with pytest.raises(UserError) as error:
        check_writable("/proc/outputs")
    assert_one_line(error, "permission denied", "/proc/outputs")


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    for act in (lambda: check_writable(tmp_path / ("x" * 300)), lambda: Cell.at(tmp_path, "x" * 300, [], CONFIG)):
        with pytest.raises(UserError) as error:
            act()
        assert_one_line(error, "too long")


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
            with pytest.raises(UserError) as error:
                act()
            assert_one_line(error, folder, "permission denied")
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
        with pytest.raises(UserError) as error:
            act()
        assert_one_line(error, str(cell.path), "no space is left")
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
        with pytest.raises(UserError) as error:
            check_writable(tmp_path)
        assert_one_line(error, "no space is left")
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
