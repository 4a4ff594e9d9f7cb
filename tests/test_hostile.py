"""What lies in a study and is no result, by damage, accident or intent: told and left alone, the rest is shown."""

import hashlib
import io
import json
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import studies
from commands import PATIENCE
from conftest import compose

from ablate import store
from ablate.analysis import plots
from ablate.analysis.frames import StudyFrames, load
from ablate.analysis.report import write
from ablate.runs.train import train
from ablate.store import Cell, config_digest, scan
from ablate.store import study as tables
from ablate.store.config_file import read_description, written
from ablate.store.manifest import sealed
from ablate.store.parquet import to_parquet
from ablate.store.study import COMPACTED
from ablate.store.study import load as load_tables

MANIFEST = {"iterations": 3, "env_steps": 30, "wall_time_s": 0.5, "started": "2026-01-01T00:00:00+00:00"}
CURVES = {"iteration": [1, 2, 3], "env_steps": [10, 20, 30], "episodes": [1, 2, 3], "return_mean": [0.1, 0.2, 0.3]}
FILES = ("manifest.json", "curves.parquet", "probe.parquet")
OLD = Path(__file__).parent / "data" / "schema1"  # a study written before manifests had a checksum


def good(outputs: Path) -> Cell:
    made = studies.cell(outputs, "env=bandit", "episodes=4")
    for seed in (0, 1):
        studies.run(made, seed, [1.0, 2.0, 3.0], studies.online(4.0, 2.0, 3))
    return made


def other(outputs: Path) -> Cell:
    """A second cell, to be spoilt."""
    made = studies.cell(outputs, "env=bandit", "episodes=5")
    studies.run(made, 0, [5.0, 6.0, 7.0], studies.online(4.0, 2.0, 3))
    return made


def told(study: StudyFrames) -> bool:
    return len(study.strays) > 0 or bool((study.runs["status"] != "complete").any())


def complete(study: StudyFrames) -> list[tuple[str, int]]:
    runs = study.runs[study.runs["status"] == "complete"]
    return list(zip(runs["cell"], runs["seed"], strict=True))


# Damage: no byte of a finished cell may change in silence


def flips(data: bytes, count: int) -> list[bytes]:
    dice = random.Random(0)
    places = sorted(
        {*range(40), *dice.sample(range(len(data)), min(count, len(data))), *range(len(data) - 90, len(data), 4)}
    )
    flipped = []
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << dice.randrange(8)
        flipped.append(bytes(changed))
    return flipped


@pytest.mark.parametrize(
    "name", ["config.yaml", "seed=0/manifest.json", "seed=0/curves.parquet", "seed=0/probe.parquet"]
)
def test_a_flipped_bit_is_told(tmp_path: Path, name: str) -> None:
    cell = other(tmp_path)
    path = cell.path / name
    whole = path.read_bytes()
    for data in flips(whole, 60):
        path.write_bytes(data)
        cells, strays = scan(tmp_path, "main")
        if name == "config.yaml":
            assert not cells
            assert str(path) in strays[0].reason
            with pytest.raises(store.CorruptFileError):
                cell.read_config()
        else:
            assert cell.status(0) == "damaged"
            with pytest.raises(store.CorruptFileError):
                cell.curves(0)
    assert told(load(tmp_path, "main"))
    if name == "config.yaml":
        assert len(Cell.at(tmp_path, "main", cell.overrides, cell.config).prepare()) == 1
    else:
        assert len(cell.repair(0)) == 1
        studies.run(cell, 0, [5.0, 6.0, 7.0], studies.online(4.0, 2.0, 3))
    assert not told(load(tmp_path, "main"))


def test_a_flipped_bit_of_the_compacted_file_changes_nothing(tmp_path: Path) -> None:
    good(tmp_path)
    path = tmp_path / "main" / COMPACTED
    before = load_tables(tmp_path, "main")
    state, whole = tables._state(tmp_path / "main"), path.read_bytes()
    assert tables._read(path, state) is not None
    for data in flips(whole, 300):
        path.write_bytes(data)
        assert tables._read(path, state) is None
    after = load_tables(tmp_path, "main")
    assert all(x.equals(y) for x, y in zip(vars(before).values(), vars(after).values(), strict=True))
    assert path.read_bytes() == whole


def test_another_state_of_the_folder_makes_the_compacted_file_anew(tmp_path: Path) -> None:
    """Its checksum is over the state, too: a file of another study is not taken."""
    good(tmp_path / "a")
    other(tmp_path / "b")
    load_tables(tmp_path / "a", "main")
    wanted = load_tables(tmp_path / "b", "main")
    shutil.copy(tmp_path / "a" / "main" / COMPACTED, tmp_path / "b" / "main" / COMPACTED)
    assert load_tables(tmp_path / "b", "main").runs.equals(wanted.runs)


# A cell is what its configuration says


def test_a_copy_of_a_cell_counts_once_and_gets_no_new_seeds(tmp_path: Path) -> None:
    cell = good(tmp_path)
    for name in (f"0-{cell.name[-16:]}", f"zzz-{cell.name[-16:]}"):
        shutil.copytree(cell.path, cell.path.with_name(name))
    found = load(tmp_path, "main")
    assert complete(found) == [(cell.name, 0), (cell.name, 1)]
    assert found.strays["reason"].tolist() == [f"it is a copy of {cell.name}"] * 2
    assert Cell.at(tmp_path, "main", cell.overrides, cell.config) == cell
    (cell.path / "config.yaml").unlink()
    assert Cell.at(tmp_path, "main", cell.overrides, cell.config) == cell


@pytest.mark.parametrize("name", ["backup", "cell (copy)", "x-1234567", "x-{hash}.bak"])
def test_a_cell_renamed_out_of_the_pattern_is_listed(tmp_path: Path, name: str) -> None:
    good(tmp_path)
    cell = other(tmp_path)
    renamed = cell.path.rename(cell.path.with_name(name.format(hash=cell.name[-16:])))
    (stray,) = load(tmp_path, "main").strays.to_dict("records")
    assert stray["path"] == str(renamed)
    assert "name" in stray["reason"]


@pytest.mark.parametrize("name", ["x", "{cell}"])
def test_a_cell_moved_into_another_is_listed(tmp_path: Path, name: str) -> None:
    cell = good(tmp_path)
    moved = other(tmp_path)
    moved = moved.path.rename(cell.path / name.format(cell=moved.name))
    found = load(tmp_path, "main")
    assert found.strays["path"].tolist() == [str(moved)]
    assert complete(found) == [(cell.name, 0), (cell.name, 1)]


def test_a_cell_with_another_first_half_of_its_name_is_the_same_cell(tmp_path: Path) -> None:
    cell = good(tmp_path)
    renamed = cell.path.rename(cell.path.with_name(f"mine-{cell.name[-16:]}"))
    assert complete(load(tmp_path, "main")) == [(renamed.name, 0), (renamed.name, 1)]
    assert Cell.at(tmp_path, "main", cell.overrides, cell.config).path == renamed


def test_a_run_copied_into_another_cell_is_refused(tmp_path: Path) -> None:
    cell, second = good(tmp_path), other(tmp_path)
    shutil.copytree(cell.path / "seed=1", second.path / "seed=1")
    cell.save_checkpoint(2, 1, {}, CURVES, [])
    shutil.copytree(cell.path / ".unfinished", second.path / ".unfinished")
    assert second.status(1) == "damaged"
    with pytest.raises(store.CorruptFileError, match="another cell"):
        second.load_checkpoint(2)
    shutil.copytree(cell.path / ".unfinished" / "seed=2", cell.path / ".unfinished" / "seed=3")
    with pytest.raises(store.CorruptFileError, match="another cell or seed"):
        cell.load_checkpoint(3)
    assert (second.name, 1) not in complete(load(tmp_path, "main"))


def test_a_configuration_of_another_cell_is_not_believed(tmp_path: Path) -> None:
    cell, second = good(tmp_path), other(tmp_path)
    shutil.copy(cell.path / "config.yaml", second.path / "config.yaml")
    found = load(tmp_path, "main")
    assert {name for name, _ in complete(found)} == {cell.name}
    assert "another configuration" in found.strays["reason"].item()
    assert len(second.prepare()) == 1
    assert not told(load(tmp_path, "main"))


def test_two_configurations_whose_short_hashes_agree_are_two_cells(tmp_path: Path) -> None:
    """A name of 8 digits, as earlier versions wrote, may stand for another configuration with the same ones."""
    first, second = compose("env=bandit"), compose("env=bandit", "episodes=7")
    taken = tmp_path / "s" / f"default-{config_digest(second.config)[:8]}"
    taken.mkdir(parents=True)
    (taken / "config.yaml").write_bytes(written([], first.config))
    cell = Cell.at(tmp_path, "s", second.overrides, second.config)
    assert cell.path != taken
    assert cell.prepare() == []
    assert read_description(taken / "config.yaml").config == first.config


# Studies of earlier versions


def test_a_study_of_an_earlier_version_is_shown_and_resumed(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "old")
    found = load(tmp_path, "old")
    assert found.strays.empty
    assert found.runs["status"].tolist() == ["complete", "complete", "unfinished", "failed"]
    assert len(found.probe) == 2
    (name,) = (name for name in found.cells.index if "probe=off" in name)
    stored = Cell(tmp_path / "old" / name).read_description()
    cell = Cell.at(tmp_path, "old", stored.overrides, stored.config)
    assert cell.name == name
    assert cell.prepare() == []
    assert Cell(cell.path).read_description().covered
    before = cell.load_checkpoint(1)
    assert before is not None
    assert before.iteration == 2
    train(cell, [1], 1e9, lambda *_: None, lambda: False)
    assert cell.status(1) == "complete"
    assert len(cell.curves(1)) == 3
    assert cell.curves(1)["return_mean"][:2].tolist() == before.curves["return_mean"].tolist()


# Results of others


def remade(folder: Path, **changes: Any) -> None:
    """A manifest whose own checksum is right, as whoever changes it on purpose would make it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["sha256"]
    path.write_bytes(sealed(manifest | changes))


def tabled(folder: Path, **columns: Any) -> None:
    """Other curves, with a right checksum."""
    data = to_parquet(pa.table(columns))
    (folder / "curves.parquet").write_bytes(data)
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    files["curves.parquet"] = {"rows": 3, "sha256": hashlib.sha256(data).hexdigest()}
    remade(folder, files=files)


def configured(cell: Cell, change: Callable[[dict[str, Any]], None]) -> None:
    """What a configuration says about itself is no part of its hash, so that the name still fits."""
    config = json.loads(json.dumps(cell.read_config()))
    change(config)
    (cell.path / "config.yaml").write_bytes(written(cell.overrides, config))


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def big(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk


SUM = "0" * 64
BOMB = "a: &a [x, x]\n" + "".join(f"b{k}: &b{k} [*{'a' if not k else f'b{k - 1}'}, *a]\n" for k in range(40))
SPOILT: dict[str, Callable[[Cell, Path], object]] = {
    "text iterations": lambda cell, run: remade(run, iterations="three"),
    "env_steps of 10^30": lambda cell, run: remade(run, env_steps=10**30),
    "true for a number": lambda cell, run: remade(run, env_steps=True),
    "a list for a date": lambda cell, run: remade(run, started=[1]),
    "an infinite time": lambda cell, run: remade(run, wall_time_s=float("inf")),
    "another seed": lambda cell, run: remade(run, seed=5),
    "an unknown status": lambda cell, run: remade(run, status="great"),
    "a file from elsewhere": lambda cell, run: remade(run, files={"/dev/zero": {"rows": 1, "sha256": SUM}}),
    "a file above": lambda cell, run: remade(run, files={"../x": {"rows": 1, "sha256": SUM}}),
    "no files": lambda cell, run: remade(run, files=None),
    "a manifest that is a list": lambda cell, run: (run / "manifest.json").write_text("[]"),
    "a number of 5,000 digits": lambda cell, run: (run / "manifest.json").write_text("1" * 5000),
    "words for numbers": lambda cell, run: tabled(run, iteration=[1, 2, 3], return_mean=["a", "b", "c"]),
    "lists for numbers": lambda cell, run: tabled(run, iteration=[1, 2, 3], return_mean=[[1.0], [2.0], [3.0]]),
    "fractions for counts": lambda cell, run: tabled(run, iteration=[0.5, 1.5, 2.5], return_mean=[1.0, 2.0, 3.0]),
    "a pipe for curves": lambda cell, run: replaced(run / "curves.parquet", os.mkfifo),
    "a pipe for a manifest": lambda cell, run: replaced(run / "manifest.json", os.mkfifo),
    "a pipe for a configuration": lambda cell, run: replaced(cell.path / "config.yaml", os.mkfifo),
    "a device": lambda cell, run: replaced(run / "curves.parquet", lambda path: path.symlink_to("/dev/zero")),
    "a loop of links": lambda cell, run: replaced(run / "curves.parquet", lambda path: path.symlink_to(path)),
    "an endless manifest": lambda cell, run: replaced(run / "manifest.json", big),
    "an endless table": lambda cell, run: replaced(run / "curves.parquet", big),
    "an endless configuration": lambda cell, run: replaced(cell.path / "config.yaml", big),
    "an alias bomb": lambda cell, run: (cell.path / "config.yaml").write_text(BOMB),
    "a bomb in the configuration": lambda cell, run: (cell.path / "config.yaml").write_text(
        "overrides: []\nconfig:\n" + "".join(f"  {line}\n" for line in BOMB.splitlines())
    ),
    "deep brackets": lambda cell, run: (cell.path / "config.yaml").write_text("[" * 100_000),
    "a tag": lambda cell, run: (cell.path / "config.yaml").write_text("!!python/object/apply:os.getcwd []"),
    "no label": lambda cell, run: configured(cell, lambda config: config["phi"]["about"].pop("label")),
    "a number for a label": lambda cell, run: configured(cell, lambda config: config["phi"]["about"].update(label=3)),
    "text for an order": lambda cell, run: configured(cell, lambda config: config["phi"]["about"].update(order="x")),
    "an order of 10^30": lambda cell, run: configured(cell, lambda config: config["phi"]["about"].update(order=10**30)),
    "text for a threshold": lambda cell, run: configured(cell, lambda config: config.update(threshold="high")),
    "a list for a threshold": lambda cell, run: configured(cell, lambda config: config.update(threshold=[1])),
    "a seed of 30 digits": lambda cell, run: run.rename(run.with_name("seed=" + "9" * 30)),
    "a seed past 2^63": lambda cell, run: run.rename(run.with_name(f"seed={1 << 63}")),
    "a seed with zeros": lambda cell, run: run.rename(run.with_name("seed=007")),
    "a seed in other digits": lambda cell, run: run.rename(run.with_name("seed=٣")),
    "a copied seed": lambda cell, run: run.rename(run.with_name("seed=4")),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_does_not_fit_is_listed_and_the_rest_is_shown(tmp_path: Path, how: str) -> None:
    cell, spoilt = good(tmp_path), other(tmp_path)
    SPOILT[how](spoilt, spoilt.path / "seed=0")
    found: list[StudyFrames] = []
    reader = threading.Thread(target=lambda: found.append(load(tmp_path, "main")), daemon=True)
    reader.start()
    reader.join(PATIENCE)
    assert found, "it hangs, or ended in a traceback"
    assert complete(found[0]) == [(cell.name, 0), (cell.name, 1)]
    assert told(found[0])
    assert set(found[0].curves["cell"]) == {cell.name}


def test_a_report_of_a_study_with_many_of_them(tmp_path: Path) -> None:
    cell, spoils = good(tmp_path), list(SPOILT.values())[::3]
    for number, spoil in enumerate(spoils):
        spoilt = studies.cell(tmp_path, "env=bandit", f"episodes={10 + number}")
        studies.run(spoilt, 0, [5.0, 6.0, 7.0])
        spoil(spoilt, spoilt.path / "seed=0")
    found = load(tmp_path, "main")
    assert complete(found) == [(cell.name, 0), (cell.name, 1)]
    assert len(found.strays) + len(found.left_out) == len(spoils)
    page = write(tmp_path, "main", None).read_text()
    assert "Not a result" in page
    assert cell.name in page


@pytest.mark.parametrize("text", [r"$\frac{$", r"$x$ and $\frac$", "$", r"\$", "a\x00\x1bb"])
def test_a_label_that_is_no_formula_is_drawn_as_it_stands(tmp_path: Path, text: str) -> None:
    cell = good(tmp_path)
    configured(cell, lambda config: config["phi"]["about"].update(label=text, symbol=text))
    plots.draw("learning", load(tmp_path, "main")).savefig(io.BytesIO(), format="svg")


@pytest.mark.parametrize("name", ["checkpoint.npz", "failed.txt"])
@pytest.mark.parametrize("make", [os.mkfifo, big, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_unfinished_work_that_is_no_file_is_told(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    cell = good(tmp_path)
    (cell.path / ".unfinished" / "seed=5").mkdir(parents=True)
    make(cell.path / ".unfinished" / "seed=5" / name)
    assert told(load(tmp_path, "main"))
    if name == "checkpoint.npz":
        assert len(cell.repair(5)) == 1
        assert cell.load_checkpoint(5) is None


def test_a_checkpoint_that_unpacks_to_more_than_its_size_is_damaged(tmp_path: Path) -> None:
    cell = good(tmp_path)
    folder = cell.path / ".unfinished" / "seed=5"
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "checkpoint.npz", iteration=1, zeros=np.zeros(1 << 20))
    with pytest.raises(store.CorruptFileError):
        cell.load_checkpoint(5)
