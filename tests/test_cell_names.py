"""What a cell is called: one configuration has one name and one hash, however it is spelt."""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import CONFIG

from ablate import store
from ablate.store import Cell, cells, config_hash


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
