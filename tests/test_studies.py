"""Every study of conf/study composes with each of its sweep's values, and a small one of it runs."""

from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from commands import ablate
from conftest import choices, compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ablate.configuration import CONF, IncompatibleSettings
from ablate.configuration.help import description
from ablate.runs.train import train
from ablate.store import Cell, cells

STUDIES = [study for study in choices("study") if study not in ("main", "scratch")]
SMALL = {  # besides the first job of the sweep: what makes a study short
    "variance": ("env=frozenlake", "iterations=2", "probe.every=1", "probe.episodes=16", "seed=0"),
    "survey": ("iterations=2",),
    "rlhf": ("iterations=10",),
    "group_baselines": ("iterations=2", "probe.episodes=512"),
    "lecture": ("iterations=2", "env.horizon=20"),
    "cs285_cartpole": ("iterations=2", "batch_steps=100"),
    "cs285_cheetah": ("iterations=2", "env.horizon=10", "batch_steps=20"),
    "cs285_lander": ("iterations=2", "env.horizon=30", "batch_steps=60"),
    "cs285_pendulum": ("iterations=2", "env_steps=null", "batch_steps=20"),
}
EXTRAS = {"cs285_cheetah": "mujoco", "cs285_lander": "Box2D", "cs285_pendulum": "mujoco"}


def jobs(study: str) -> list[tuple[str, ...]]:
    """What each job of the study's sweep is told, as by Hydra's basic sweeper."""
    node = OmegaConf.load(CONF / "study" / f"{study}.yaml")
    params = [f"{key}={value}" for key, value in node.hydra.sweeper.params.items()]
    parsed = OverridesParser.create().parse_overrides(params)
    values = [
        [f"{o.get_key_element()}={x}" for x in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in parsed
    ]
    return list(product(*values))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_composes_and_bears_its_name(study: str) -> None:
    if study in EXTRAS:
        pytest.importorskip(EXTRAS[study])
    told = jobs(study)
    assert len(told) > 1
    composed = []
    for overrides in told if study == "lecture" else {told[0], told[-1]}:
        with suppress(IncompatibleSettings):  # a grid of Phi and baselines has cells that cannot be
            composed.append(compose(f"study={study}", *overrides).study)
    assert set(composed) == {study}
    assert len(composed) > 1
    assert description(CONF / "study" / f"{study}.yaml")


@pytest.mark.parametrize("study", STUDIES)
def test_a_small_version_runs(study: str, tmp_path: Path) -> None:
    if study in EXTRAS:
        pytest.importorskip(EXTRAS[study])
    job = compose(f"study={study}", *(jobs(study)[0]), *SMALL.get(study, ()))
    cell = Cell.at(tmp_path, job.study, job.overrides, job.config)
    cell.prepare()
    assert set(train(cell, job.seeds[:1], 1e9, lambda *_: None, lambda: False).values()) == {"complete"}
    assert len(cell.curves(job.seeds[0])) == job.config["iterations"]
    if job.config["probe"]["name"] == "off":
        return
    rows = cell.probe(job.seeds[0])
    assert rows["iteration"].max() == job.config["iterations"]
    assert rows["trace_variance"].notna().all()


def test_the_command_line_sweeps_over_what_the_study_says(tmp_path: Path) -> None:
    ablate("-m", "study=horizon", "env.horizon=8", "workers=1", cwd=tmp_path)
    assert sorted(cell.read_config()["env"]["name"] for cell in cells(tmp_path / "outputs", "horizon")) == [
        "chain",
        "gridworld",
    ]
