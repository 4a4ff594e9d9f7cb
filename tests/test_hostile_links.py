"""Links in a study: nothing outside is written, moved or deleted."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import compose
from test_hostile import CURVES, MANIFEST, complete, good

from ablate import store
from ablate.analysis.frames import load
from ablate.errors import UserError
from ablate.store import Cell


@pytest.mark.parametrize(
    "at", ["..", ".", ".unfinished", ".damaged", "seed=0", ".unfinished/seed=0", ".unfinished/seed=0/diverged"]
)
def test_nothing_is_touched_through_a_link(tmp_path: Path, at: str) -> None:
    outside, outputs = tmp_path / "outside", tmp_path / "outputs"
    for inner in ("seed=0", "seed=0~1-ab", "seed=1", "diverged", "config.yaml~1-ab", "seed=0-1"):
        (outside / inner).mkdir(parents=True)
        (outside / inner / "precious").write_text("kept")
    job = compose("env=bandit", "episodes=4")
    cell = Cell.at(outputs, "main", job.overrides, job.config)
    link = Path(os.path.normpath(cell.path / at))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in outside.rglob("*"))
    acts: list[Callable[[], object]] = [
        lambda: Cell.at(outputs, "main", job.overrides, job.config).prepare(),
        lambda: cell.repair(0),
        lambda: cell.save_checkpoint(0, 1, {}, CURVES, []),
        lambda: cell.fail(0, "text"),
        lambda: cell.diverge(0, 1, "NaN", CURVES, [], MANIFEST),
        lambda: cell.finish(0, CURVES, [], MANIFEST),
        lambda: cell.discard(0),
    ]
    refusals = []
    for act in acts:
        with contextlib.suppress(UserError):
            act()
            continue
        refusals.append(act)
    assert refusals
    assert cell.status(0) in ("damaged", "missing")
    with contextlib.suppress(UserError):
        load(outputs, "main")
    assert sorted((str(path), path.stat().st_mtime_ns) for path in outside.rglob("*")) == before
    assert link.is_symlink()


def test_a_linked_seed_is_told_and_the_others_are_shown(tmp_path: Path) -> None:
    cell = good(tmp_path)
    (cell.path / "seed=2").symlink_to(cell.path / "seed=1")
    with pytest.raises(UserError, match=r"seed=2 is a link"):
        cell.repair(2)
    found = load(tmp_path, "main")
    assert complete(found) == [(cell.name, 0), (cell.name, 1)]
    assert "is a link" in found.left_out["reason"].item()


def test_outputs_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    store.check_writable(tmp_path / "outputs")
    assert len(complete(load(good(tmp_path / "outputs").path.parent.parent, "main"))) == 2


def test_the_records_of_sweeps_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside" / "1").mkdir(parents=True)
    (tmp_path / "outside" / "1" / "summary.json").write_text("{}")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / ".sweeps").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link"):
        store.check_writable(tmp_path / "outputs")
    store.forget_jobs(tmp_path / "outputs" / ".sweeps" / "1")
    assert (tmp_path / "outside" / "1" / "summary.json").exists()
