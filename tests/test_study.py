"""A whole study as tables: what is read, what is listed instead, and when the compacted file is believed."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import compose

from ablate import store
from ablate.errors import UserError
from ablate.store import Cell, study

CONFIG = {"phi": {"name": "rtg"}, "gamma": 0.99, "study": {"name": "s"}}
CURVES = {"iteration": [1, 2, 3], "env_steps": [10, 20, 30], "episodes": [1, 2, 3], "return_mean": [0.1, 0.2, 0.3]}
MANIFEST = {"iterations": 3, "env_steps": 30, "wall_time_s": 0.5, "started": "2026-01-01T00:00:00+00:00"}
PROBE = [{"iteration": 0, "phi": "rtg", "trace_variance": 2.0}, {"iteration": 3, "phi": "rtg", "trace_variance": 1.0}]


def built(outputs: Path) -> tuple[Cell, Cell]:
    """Two cells: three complete runs, and one each that is diverged, failed, unfinished, damaged and of schema 99."""
    plain = Cell.at(outputs, "s", [], CONFIG)
    critic = Cell.at(outputs, "s", ["study=s", "critic=v"], CONFIG | {"critic": "v"})
    for cell in (plain, critic):
        cell.prepare()
    for seed in (10, 2):
        plain.finish(seed, CURVES, [], MANIFEST)
    critic.finish(2, CURVES | {"critic_loss": [1, 2, 3]}, PROBE, MANIFEST)
    plain.save_checkpoint(3, 1, {"x": np.zeros(1)}, CURVES, [])
    critic.diverge(4, 1, "not finite", CURVES, PROBE, MANIFEST)
    critic.finish(5, CURVES, [], MANIFEST)
    damage(critic.path / "seed=5" / "curves.parquet")
    critic.fail(6, "Traceback\n...\nValueError: boom")
    critic.finish(7, CURVES, [], MANIFEST | {"schema": 99})
    return plain, critic


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def same(a: study.Tables, b: study.Tables) -> bool:
    return all(x.equals(y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_complete_runs_are_read_and_all_others_listed(tmp_path: Path) -> None:
    plain, critic = built(tmp_path)
    tables = study.load(tmp_path, "s")
    curves = tables.curves.to_pandas()
    runs = [(critic.name, 2), (plain.name, 2), (plain.name, 10)]
    assert list(zip(curves["cell"], curves["seed"], strict=True)) == [run for run in runs for _ in range(3)]
    assert curves["critic_loss"].isna().tolist() == [False] * 3 + [True] * 6
    assert curves["env_steps"].dtype == curves["seed"].dtype == np.int64
    for cell, seed in ((critic, 2), (plain, 10)):
        own = curves[(curves["cell"] == cell.name) & (curves["seed"] == seed)].drop(columns=["cell", "seed"])
        pd.testing.assert_frame_equal(own.reset_index(drop=True)[[*cell.curves(seed)]], cell.curves(seed))
    assert tables.probe.to_pandas()[["cell", "seed", "trace_variance"]].to_numpy().tolist() == [
        [critic.name, 2, 2.0],
        [critic.name, 2, 1.0],
    ]
    states = {(row["cell"], row["seed"]): (row["status"], row["reason"]) for row in tables.runs.to_pylist()}
    assert {key: status for key, (status, _) in states.items()} == {
        (critic.name, 2): "complete",
        (critic.name, 4): "diverged",
        (critic.name, 5): "damaged",
        (critic.name, 6): "failed",
        (critic.name, 7): "other schema",
        (plain.name, 2): "complete",
        (plain.name, 3): "unfinished",
        (plain.name, 10): "complete",
    }
    assert states[critic.name, 4][1] == "not finite"
    assert states[critic.name, 6][1] == "ValueError: boom"
    assert "curves.parquet" in states[critic.name, 5][1]
    assert "99" in states[critic.name, 7][1]
    assert [row["wall_time_s"] for row in tables.runs.to_pylist() if row["status"] == "complete"] == [0.5] * 3


def test_the_second_load_reads_one_file_and_gives_the_same(tmp_path: Path) -> None:
    _, critic = built(tmp_path)
    first = study.load(tmp_path, "s")
    os.chmod(critic.path / "seed=2" / "curves.parquet", 0o600)  # changes neither size nor time
    hidden = [path for path in (tmp_path / "s").rglob("*") if path.name.startswith(study.COMPACTED)]
    assert hidden == [tmp_path / "s" / study.COMPACTED]
    written = hidden[0].stat().st_mtime_ns
    assert same(first, study.load(tmp_path, "s"))
    assert hidden[0].stat().st_mtime_ns == written


def seeds(outputs: Path) -> list[int]:
    return sorted(row["seed"] for row in study.load(outputs, "s").runs.to_pylist() if row["status"] == "complete")


def test_whatever_changes_in_the_study_is_seen(tmp_path: Path) -> None:
    plain, critic = built(tmp_path)
    assert seeds(tmp_path) == [2, 2, 10]
    plain.finish(3, CURVES, [], MANIFEST)
    assert seeds(tmp_path) == [2, 2, 3, 10]
    damage(critic.path / "seed=2" / "probe.parquet")
    assert seeds(tmp_path) == [2, 3, 10]
    plain.discard(10)
    assert seeds(tmp_path) == [2, 3]
    plain.finish(10, CURVES | {"return_mean": [7, 8, 9]}, [], MANIFEST)
    assert study.load(tmp_path, "s").curves.to_pandas()["return_mean"].max() == 9
    again = Cell.at(tmp_path, "s", ["threshold=7"], CONFIG | {"threshold": 7})
    again.prepare()
    configs = [json.loads(row["config"]) for row in study.load(tmp_path, "s").cells.to_pylist()]
    assert sorted(config.get("threshold", 0) for config in configs) == [0, 7]


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, -1])
def test_a_damaged_compacted_file_is_made_anew(tmp_path: Path, cut: float) -> None:
    built(tmp_path)
    before = study.load(tmp_path, "s")
    path = tmp_path / "s" / study.COMPACTED
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut) if cut == 0.5 else int(cut)])
    assert same(before, study.load(tmp_path, "s"))
    assert path.read_bytes() == data


def test_where_no_file_can_be_written_the_study_is_read_all_the_same(tmp_path: Path) -> None:
    built(tmp_path)
    (tmp_path / "s" / study.COMPACTED).mkdir()  # in the way of the rename
    tables = study.load(tmp_path, "s")
    assert tables.curves.num_rows == 9
    assert [path.name for path in (tmp_path / "s").iterdir() if "~" in path.name] == []


def test_configurations_are_those_that_the_store_reads(tmp_path: Path) -> None:
    for overrides in (("probe=matched", "env=lqg"), ("study=survey", "env.index=3"), ("optimizer.lr=1e-5",)):
        job = compose(*overrides)
        Cell.at(tmp_path, "s", job.overrides, job.config).prepare()
    read = {row["cell"]: row for row in study.load(tmp_path, "s").cells.to_pylist()}
    cells = store.cells(tmp_path, "s")
    assert len(cells) == 3
    for cell in cells:
        assert json.loads(read[cell.name]["config"]) == cell.read_config()
    assert sorted(json.loads(row["overrides"]) for row in read.values())[-1] == ["study=survey", "env.index=3"]


def test_a_cell_whose_configuration_is_damaged_is_listed(tmp_path: Path) -> None:
    plain, critic = built(tmp_path)
    (plain.path / "config.yaml").write_bytes(b"\xff{[")
    tables = study.load(tmp_path, "s")
    assert {row["cell"] for row in tables.runs.to_pylist()} == {critic.name}
    (stray,) = tables.strays.to_pylist()
    assert stray["path"] == str(plain.path)
    assert "config.yaml is damaged" in stray["reason"]


def test_a_missing_study_is_refused_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study 'nope'"):
        study.load(tmp_path, "nope")
    (tmp_path / "empty").mkdir()
    tables = study.load(tmp_path, "empty")
    assert [table.num_rows for table in vars(tables).values()] == [0, 0, 0, 0, 0]
    assert tables.runs.column_names[:4] == ["cell", "seed", "status", "reason"]
    assert same(tables, study.load(tmp_path, "empty"))
