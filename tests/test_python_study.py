"""`ablate.run`, `ablate.load` and `ablate.exact`: the command line's runs and numbers, from Python."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import ablate as command
from hypothesis import given
from hypothesis import strategies as st

import ablate
from ablate.configuration.overrides import parsed
from ablate.exact import GroundTruth, scores, softmax
from ablate.mdp import MDP
from ablate.python_choices import choice
from ablate.study import _words

ROOT = Path(__file__).parents[1]
SMALL = {"env": "chain", "iterations": 3, "episodes": 4, "probe": {"episodes": 64}, "workers": 1}


def test_the_same_bits_the_same_store_and_the_same_resumption_as_on_the_command_line(tmp_path: Path) -> None:
    study = ablate.run(phi=["return", "rtg"], seed="0-1", outputs=str(tmp_path / "python"), **SMALL)
    words = "phi=return,rtg", "seed=0-1", "env=chain", "iterations=3", "episodes=4", "probe.episodes=64", "workers=1"
    command("-m", *words, "outputs=typed", cwd=tmp_path)
    typed = ablate.load(tmp_path / "typed", "main")
    for name in ("curves", "probe"):
        ours, theirs = (getattr(x.frames, name).drop(columns="wall_time", errors="ignore") for x in (study, typed))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert study.table()["label"].tolist() == ["return", "reward-to-go"]
    assert "∞" in study._repr_html_()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "python").rglob("curves.parquet")}
    wider = ablate.run("phi=rtg", seed=range(3), outputs=str(tmp_path / "python"), **SMALL)
    assert len(wider.frames.runs) == 5
    assert all(path.stat().st_mtime_ns == made for path, made in before.items())
    assert wider.plot("learning")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert wider.report(tmp_path / "page.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    with pytest.raises(ablate.UserError, match="no table 'nois'; did you mean 'noise'"):
        wider.table("nois")
    with pytest.raises(ablate.UserError, match="no figure 'lerning'; did you mean 'learning'"):
        wider.plot("lerning")
    with pytest.raises(ablate.UserError, match="figure horizon needs"):
        wider.plot("horizon")
    assert wider.plot("intuition").axes


def test_what_the_command_line_refuses_is_an_exception_with_the_same_line(tmp_path: Path) -> None:
    said = command("-m", "phi=retrun", cwd=tmp_path, exit_code=2).stderr
    with pytest.raises(ablate.Refusal) as refused:  # its name before
        ablate.run(phi="retrun", outputs=str(tmp_path))
    assert f"ablate: {refused.value}" in said
    with pytest.raises(ablate.UserError, match="cannot be imported"):
        ablate.run(phi=lambda signals: signals.rewards)


MINE = '''
import gymnasium as gym
import torch


def late(signals, steps=1):
    return signals.rewards * steps


def td(signals):
    return signals.rewards


def first(phi, signals, score_products):
    return signals.rewards[:, :, :1]


class Walk(gym.Env):
    """Left or right from the middle of a line; the right end pays 1."""

    observation_space = gym.spaces.Discrete(5)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, prize=1.0):
        self.prize = prize

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 2
        return self.place, {}

    def step(self, action):
        self.place += 1 if action else -1
        return self.place, self.prize * (self.place == 4), self.place in (0, 4), False, {}


class Net(torch.nn.Module):
    def __init__(self, observation_size, action_size, width=6):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(observation_size, width), torch.nn.Tanh(), torch.nn.Linear(width, action_size)
        )

    def forward(self, x):
        return self.layers(x)
'''


PROBE = "probe=matched", "probe.episodes=16", "critic.updates=2"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "my_objects.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("my_objects")
    del sys.modules["my_objects"]


def test_objects_of_a_module_stand_for_choices_as_a_yaml_would(tmp_path: Path, mine: Any) -> None:
    """In one study: a Phi with an argument, a baseline, an environment and a policy, judged among the listed ones."""
    words = {"phi": [partial(mine.late, steps=2), "rtg"], "baseline": mine.first, "policy": partial(mine.Net, width=5)}
    words |= {"env": partial(mine.Walk, prize=3.0), "seed": [0, 2], "iterations": 2, "episodes": 4, "workers": 1}
    place = {"outputs": tmp_path / "outputs"}
    study = ablate.run("env.horizon=4", *PROBE, **words, **place)
    assert {*study.frames.runs["status"]} == {"complete"}
    assert {*study.frames.runs["seed"]} == {0, 2}
    configs = [*study.frames.cells["config"]]
    assert {config["phi"].get("steps") for config in configs} == {2, None}
    assert {config["policy"]["kwargs"]["width"] for config in configs} == {5}
    assert {config["env"]["kwargs"]["prize"] for config in configs} == {3.0}
    judged = study.frames.probe[study.frames.probe["own"]]
    assert {*judged["phi"]} == {"late", "rtg"}
    assert {*judged["baseline"]} == {"first"}

    for group in ("phi", "baseline", "policy", "env"):  # the same by yamls of one's own
        folder = tmp_path / "conf" / group
        folder.mkdir(parents=True)
        own = {"phi": partial(mine.late, steps=2), "baseline": mine.first} | {k: words[k] for k in ("policy", "env")}
        choice(group, own[group], tmp_path / "conf")
    line = "phi=late,rtg", "baseline=first", "policy=Net", "env=Walk", "seed=[0,2]", "iterations=2", "episodes=4"
    rest = "env.horizon=4", *PROBE, "workers=1", "outputs=outputs"
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    command("-m", "--config-dir", "conf", *line, *rest, "study.name=typed", cwd=tmp_path, PYTHONPATH=path)
    typed = ablate.load(tmp_path / "outputs", "typed")
    for one, other in ((study.frames.curves, typed.frames.curves), (study.frames.probe, typed.frames.probe)):
        pd.testing.assert_frame_equal(*(x.drop(columns="wall_time", errors="ignore") for x in (one, other)))
    assert {*typed.frames.cells.index} == {*study.frames.cells.index}

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "outputs").rglob("curves.parquet")}
    assert len(before) == 8
    shown = typed.frames.cells["command"].iloc[0]  # by a report, and made to run as it is shown
    assert "--config-dir=conf" in shown
    command("-m", *shlex.split(shown)[3:], cwd=tmp_path, PYTHONPATH=path)
    (late,) = [cell["command"] for _, cell in study.frames.cells.iterrows() if cell["phi"] == "late"]
    assert "phi=functools.partial(my_objects.late, steps=2), baseline=my_objects.first, env=" in late
    exec(late)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "outputs").rglob("curves.parquet")}


def test_what_no_worker_process_can_import_is_refused(tmp_path: Path, mine: Any) -> None:
    import torch

    def inside(signals: Any) -> Any:
        return signals.rewards

    main = type("Net", (torch.nn.Module,), {"__module__": "__main__", "__qualname__": "Net"})
    cases: list[tuple[str, Any, str]] = [
        ("phi", lambda signals: signals.rewards, "cannot be imported by the worker processes"),
        ("phi", inside, "cannot be imported by the worker processes"),
        ("policy", main, "cannot be imported by the worker processes"),
        ("baseline", partial(inside), "cannot be imported by the worker processes"),
        ("policy", mine.Net(2, 2), "is an instance"),
        ("env", mine.Walk(), "is an instance|is no choice"),
        ("phi", mine.td, "phi=td is a choice that is there already"),
        ("phi", partial(mine.late, steps=np.zeros(2)), "is nothing that a yaml can hold"),
        ("phi", partial(mine.late, name="x"), "is a word of the yaml itself"),
        ("phi", partial(mine.late, 3), "arguments without names"),
        ("critic", mine.late, "critic cannot take the function late"),
        ("optimizer.lr", np.zeros(3), "optimizer.lr cannot take the ndarray"),
    ]
    for group, one, words in cases:
        with pytest.raises(ablate.UserError, match=words) as refused:
            ablate.run(**{group: one, "outputs": tmp_path / "outputs"})
        assert len(str(refused.value)) < 290
        assert "\n" not in str(refused.value)
    with pytest.raises(ablate.UserError, match="two objects with the name late"):
        ablate.run(phi=[mine.late, partial(mine.late, steps=3)])
    changed, mine.late = mine.late, mine.td
    with pytest.raises(ablate.UserError, match="not what is found under that name"):
        ablate.run(phi=changed)
    assert not (tmp_path / "outputs").exists()


def test_numbers_paths_and_ranges_are_written_as_they_are_typed(tmp_path: Path) -> None:
    settings = {
        "optimizer.lr": np.float32(0.5),
        "episodes": range(2, 4),
        "outputs": tmp_path,
        "iterations": np.int64(3),
    }
    words = ["optimizer.lr=0.5", "episodes=2,3", f"outputs={tmp_path}", "iterations=3"]
    assert [*_words(settings, Path("nowhere"))] == words


@given(
    st.dictionaries(
        st.sampled_from(["outputs", "env.path", "study.name", "env.id"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
        min_size=1,
    )
)
def test_any_text_arrives_as_it_is(settings: dict[str, str]) -> None:
    for word, (name, value) in zip(_words(settings, Path("nowhere")), settings.items(), strict=True):
        read = parsed(word)
        assert read is not None
        assert (read.key_or_group, str(read.value()).replace("\\${", "${")) == (name, value)


def test_words_of_settings() -> None:
    settings = {
        "seed": [0, 1, 2, 7],
        "phi": ["rtg", "td"],
        "policy": {"hidden": (8, 8)},
        "whiten": True,
        "threshold": None,
    }
    assert [*_words(settings, Path("nowhere"))] == [
        "seed=[0,1,2,7]", "phi=rtg,td", "policy.hidden=[8,8]", "whiten=true", "threshold=null",
    ]  # fmt: skip
    assert [*_words({"seed": range(10), "optimizer": {"lr": 0.1}}, Path("nowhere"))] == ["seed=0-9", "optimizer.lr=0.1"]


def test_exact_moments_by_one_call() -> None:
    rng = np.random.default_rng(0)
    P, R, logits = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    table = ablate.exact(P, R, [1, 0, 0], 4, logits=logits, gamma=0.9)
    mdp = MDP.from_dense(P, R, [1, 0, 0], 4, 0.9, logits=logits)
    pi = softmax(mdp.logits)
    found = GroundTruth(mdp, pi, scores(pi, mdp.features)).moments("rtg", "none", "none")
    (row,) = table[(table["phi"] == "rtg") & (table["baseline"] == "none")].to_dict("records")
    assert row["v_action"] + row["v_s0"] + row["v_transition"] == pytest.approx(row["trace_variance"])
    assert row["mean_bias_squared"] == pytest.approx(found.bias_squared, abs=1e-15)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"horizon": 0}, "horizon is 0; give a whole number of steps"),
        ({"rho0": [0.5, 0.1]}, "rho0 sums to 0.6"),
        ({"R": [1.0, 2.0]}, "R has shape 2; the other keys ask for 2x2"),
        ({"P": [[1, 2], [3]]}, "P is not a regular array"),
        ({"gamma": 2}, "gamma is 2; give a discount"),
        ({"R": [[1e200, 1], [2, -1e200]]}, "give smaller rewards, or a shorter horizon"),
    ],
)
def test_exact_refuses_in_the_words_of_python(given: dict[str, Any], words: str) -> None:
    whole: dict[str, Any] = {"P": np.full((2, 2, 2), 0.5), "R": np.eye(2), "rho0": [1, 0], "horizon": np.int64(2)}
    with pytest.raises(ablate.UserError, match=words) as refused:
        ablate.exact(**whole | given)
    assert "--" not in str(refused.value)


def test_importing_ablate_loads_nothing_heavy() -> None:
    heavy = "torch", "numpy", "pandas", "hydra"
    code = f"import sys, ablate; dir(ablate); print([x for x in {heavy} if x in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
