"""Where numbers come from: the file that a configuration names is the one that is read, and the revision is ours."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import compose

from ablate.configuration.file_digests import held
from ablate.errors import UserError
from ablate.runs.train import train
from ablate.store import Cell
from ablate.store.provenance import git_revision

MODEL = {"P": [[[1.0], [1.0]]], "R": [[0.0, 1.0]], "rho0": [1.0], "horizon": 2}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(MODEL))
    return path


@pytest.mark.parametrize("how", ["another reward", "gone", "a space", "a folder"])
def test_a_block_stops_where_its_model_is_another(tmp_path: Path, model: Path, how: str) -> None:
    job = compose("env=mdp", f"env.path={model}", "iterations=2", "episodes=4", "probe=off")
    cell = Cell.at(tmp_path, "s", job.overrides, job.config)
    cell.prepare()
    train(cell, [0], 1e9, lambda *_: None, lambda: False)
    text = model.read_text()
    model.unlink()
    if how == "a folder":
        model.mkdir()
    elif how != "gone":
        model.write_text(text + " " if how == "a space" else json.dumps(MODEL | {"R": [[0.0, 2.0]]}))
    with pytest.raises(UserError, match=r"model\.json") as error:
        train(cell, [1], 1e9, lambda *_: None, lambda: False)
    assert len(str(error.value)) <= 300
    assert (cell.status(0), cell.status(1)) == ("complete", "missing")


def test_a_file_that_changes_while_it_is_read_stops_the_block_too(model: Path) -> None:
    config = compose("env=mdp", f"env.path={model}").config
    with held(config):
        pass
    with pytest.raises(UserError, match="changed"), held(config):
        model.write_text("{}")


def test_the_environment_cannot_name_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x"
    subprocess.run(commit, shell=True, cwd=tmp_path, check=True)
    ours = git_revision.__wrapped__()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
    assert git_revision.__wrapped__() == ours
