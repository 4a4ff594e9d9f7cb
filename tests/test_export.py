"""A study for trackers of experiments: what their own readers find is what the store holds."""

import json
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ablate
from studies import STEPS, cell, online, run

from ablate.analysis import export, frames
from ablate.commands import run_of_analysis as main
from ablate.configuration.ranges import TRACKERS

Values = dict[tuple[str, int], float]  # by metric and step
LABELS = {"return": "phi=return", "reward-to-go": "phi=rtg"}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of two seeds, with numbers that float32 rounds, one that is missing and one without bound."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    for phi in ("return", "rtg"):
        made = cell(folder, f"phi={phi}")
        for seed in (0, 3):
            returns = [*rng.normal(100, 9, 2), np.nan, 1e30]
            run(
                made,
                seed,
                returns,
                online(1 / 3, 1e-9, 4, phi) if seed else [{**online(1.5, 2, 4, phi)[0], "nsr": np.inf}],
            )
    return folder


def stored(outputs: Path, phi: str, seed: int) -> Values:
    """What is in the files of a run and finite, by the name that it has in an export."""
    (folder,) = (outputs / "main").glob(f"phi={phi}-*/seed={seed}")
    curves, probe = (pd.read_parquet(folder / f"{name}.parquet") for name in ("curves", "probe"))
    found = {
        (f"curves/{name}", STEPS * row["iteration"]): float(row[name])
        for row in curves.to_dict("records")
        for name in curves
        if name != "iteration"
    }
    words = {"iteration", "mode", "phi", "baseline", "critic"}
    found |= {
        (f"probe/{phi}.none.none/{name}", STEPS * row["iteration"]): float(row[name])
        for row in probe.to_dict("records")
        for name in probe
        if name not in words
    }
    return {key: value for key, value in found.items() if np.isfinite(value)}


def of_tensorboard(out: Path, label: str, seed: int) -> Values:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (folder,) = out.glob(f"{LABELS[label]}-*/seed={seed}")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {(tag, each.step): each.value for tag in events.Tags()["scalars"] for each in events.Scalars(tag)}


def of_wandb(out: Path, label: str, seed: int) -> Values:
    from wandb.proto.wandb_internal_pb2 import Record

    for path in out.rglob("*.wandb"):
        name, found = "", {}
        for record in map(Record.FromString, logged(path.read_bytes())):
            name = name or record.run.display_name
            own = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            found |= {(key, own["_step"]): value for key, value in own.items() if not key.startswith("_")}
        if name == f"{label} seed={seed}":
            return found
    raise AssertionError(f"{label} seed={seed} is in no file")


def logged(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The records of a log of LevelDB's, as a .wandb file is after 7 bytes: checksum, length, kind, and a part of a
    record: all of it (1), its first (2), a middle (3) or its last (4) one; none crosses a block."""
    place, record = 7, b""
    while place + 7 <= len(data):
        if (left := block - place % block) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def of_mlflow(out: Path, label: str, seed: int) -> Values:
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    where = f"attributes.run_name = '{label} seed={seed}'"
    (made,) = client.search_runs([client.get_experiment_by_name("main").experiment_id], where)
    assert made.data.params["seed"] == str(seed)
    assert made.data.params["algorithm.name"] == "policy_gradient"
    history = [one for key in made.data.metrics for one in client.get_metric_history(made.info.run_id, key)]
    return {(one.key, one.step): one.value for one in history}


def of_trackio(out: Path, label: str, seed: int) -> Values:
    with sqlite3.connect(out / "main.db") as database:
        asked = "select step, metrics from metrics where run_name = ?"
        rows = database.execute(asked, [f"{label} seed={seed}"]).fetchall()
    return {(name, step): value for step, text in rows for name, value in json.loads(text).items()}


READERS: dict[str, Callable[[Path, str, int], Values]] = dict(
    zip(TRACKERS, (of_tensorboard, of_wandb, of_mlflow, of_trackio), strict=True)
)


@pytest.mark.parametrize("tool", TRACKERS)
def test_the_tool_reads_what_the_store_holds(
    tool: str, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find_spec(tool):
        pytest.skip(f"{tool} is not installed")
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(os.environ, "TRACKIO_DIR", str(tmp_path))
    assert main(["export", "--outputs", str(outputs), "--to", tool, "--out", str(tmp_path)]) == 0
    for label, phi in (("return", "return"), ("reward-to-go", "rtg")):
        for seed in (0, 3):
            wanted = stored(outputs, phi, seed)
            if tool == "tensorboard":
                wanted = {key: float(np.float32(value)) for key, value in wanted.items()}
            assert READERS[tool](tmp_path, label, seed) == wanted
    again = export.export(frames.load(outputs, "main"), tool, tmp_path)
    assert "0 runs written, 4 there already" in again[0]


def test_what_is_exported_can_be_imported(outputs: Path, tmp_path: Path) -> None:
    """Env steps and returns come back, up to float32."""
    pytest.importorskip("tensorboard")
    study = frames.load(outputs, "main")
    export.export(study, "tensorboard", tmp_path / "events")
    told = ["--env", "CartPole-v1", "--returns", "curves/return_mean", "--steps", "step", "--outputs", str(tmp_path)]
    (folder,) = (tmp_path / "events").glob("phi=rtg-*")
    assert main(["import", f"rtg={folder}", "--study", "back", *told]) == 0
    known = study.curves[study.curves["cell"] == folder.name].dropna(subset="return_mean")
    back = frames.load(tmp_path, "back").curves
    for column in ("seed", "env_steps"):
        assert back[column].tolist() == known[column].tolist()
    assert back["return_mean"].tolist() == known["return_mean"].astype(np.float32).tolist()


def test_a_missing_package_is_told_in_one_line(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert main(["export", "--outputs", str(outputs), "--to", "wandb"]) == 2
    assert capsys.readouterr().err.startswith("ablate: wandb is not installed; pip install wandb")


def test_at_the_end_of_a_sweep(tmp_path: Path) -> None:
    """The same runs as by the command afterwards, and a cell of the same name as without."""
    pytest.importorskip("tensorboard")
    words = ["env=chain", "iterations=2", "seed=0,1", "probe=off", "workers=1", f"outputs={tmp_path}", "study.name=s"]
    done = ablate("-m", *words, "tracking=tensorboard", cwd=tmp_path)
    assert "2 runs written" in done.stdout
    assert not any("tracking" in path.name for path in (tmp_path / "s").iterdir())
    (first,) = (tmp_path / "s" / "export").glob("tensorboard/*/seed=0/*")
    export.export(frames.load(tmp_path, "s"), "tensorboard", tmp_path / "again")
    assert first.read_bytes() == next((tmp_path / "again").glob("*/seed=0/*")).read_bytes()
