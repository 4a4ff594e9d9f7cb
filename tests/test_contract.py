"""Every yaml in conf/: it composes, resolves, builds, trains an iteration, and says of itself what others read."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import choices, compose
from test_studies import EXTRAS

from ablate import build
from ablate.configuration import CONF, IncompatibleSettings, Job
from ablate.errors import UserError
from ablate.learners.base import part
from ablate.runs import train
from ablate.store import CURVES, PROBE, Cell

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
TWO_STATES = '{"P": [[[0.5, 0.5]], [[0.1, 0.9]]], "R": [[1], [0]], "rho0": [0.5, 0.5], "horizon": 6}'
SHORT = {"cartpole": 20, "pendulum": 20, "corridor": 30, "cliffwalking": 30, "frozenlake": 30, "gridworld": 30}


def node(group: str, choice: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())


def overrides_of(group: str, choice: str, folder: Path) -> list[str]:
    """What to write on the command line to have this choice used; a choice with wishes of its own gets a line here."""
    mdp = folder / "mdp.json"
    mdp.write_text(TWO_STATES)
    more = {
        ("env", "mdp"): [f"env.path={mdp}"],
        ("env", "gym"): ["env.id=Acrobot-v1", "env.horizon=20"],
        ("policy", "gaussian"): ["env=pendulum", "env.horizon=20"],
        ("policy", "gru"): ["env=tokens"],
        ("policy", "module"): ["policy.module=torch_modules:Net"],
        ("critic", "exact"): ["env=chain", "phi=q", "baseline=value"],
        ("probe", "exact"): ["env=chain"],
        ("optimizer", "natural"): ["env=chain"],
        ("algorithm", "td"): ["env=chain"],
        ("algorithm", "dqn"): ["algorithm.learning_starts=10"],
        ("algorithm", "q_learning"): ["env=chain"],
        ("algorithm", "sarsa"): ["env=chain"],
        ("algorithm", "monte_carlo"): ["env=random_walk"],
        ("algorithm", "q_iteration"): ["env=chain", "gamma=0.9"],
        ("study", "cs285_cheetah"): ["env.horizon=10", "batch_steps=20"],
        ("study", "cs285_lander"): ["env.horizon=30", "batch_steps=60"],
        ("study", "cs285_pendulum"): ["env_steps=null", "batch_steps=20"],
    }.get((group, choice), [])
    if group == "env" and choice in SHORT:
        more = [f"env.horizon={SHORT[choice]}"]
    if group == "critic" and not more:
        more = ["phi=advantage"]
    if group == "advantage" and choice != "none":
        more = ["phi=return"]
    if group not in ("env", "study") and not any(word.startswith("env=") for word in more):
        more = [*more, "env.horizon=20"]
    other = (group == "algorithm" and choice != "policy_gradient") or any("batch_steps=" in word for word in more)
    batches = [] if other else ["episodes=3"]
    return [f"{group}='{choice}'" if choice == "off" else f"{group}={choice}", *more, *batches]


def assert_trains(job: Job) -> None:
    train.probe(job.config)
    learner = build.learner(job.config)
    state = learner.initial([0, 1])
    state, record = learner.iterate(state, [0, 1], 1)
    assert all(x.shape[0] == 2 and x.isfinite().all() for x in state.values())
    for name in ("env_steps", "episodes", "return_mean", "grad_norm"):
        assert record[name].shape == (2,)
        assert np.isfinite(record[name]).all()
    own = node("algorithm", job.config["algorithm"]["name"])["about"].get("columns", {})
    assert record.keys() <= CURVES.keys() | own.keys()


def test_every_group_is_looked_at() -> None:
    """A folder in conf/ is a group of config.yaml's defaults, and the other way round."""
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    named = {key for entry in defaults if isinstance(entry, dict) for key in entry if "/" not in key}
    assert named == set(GROUPS)


CHOICES = [(group, choice) for group in GROUPS for choice in choices(group)]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_choice_says_what_it_is(group: str, choice: str) -> None:
    """In a comment on its first line of its own, which --help shows; and by its name, which is its file's."""
    lines = (CONF / group / f"{choice}.yaml").read_text().splitlines()
    first = lines[1] if lines[0] == "# @package _global_" else lines[0]
    assert first.startswith("# ")
    assert 5 < len(first) <= 120
    of = node(group, choice)
    assert (of[group] if lines[0] == "# @package _global_" else of)["name"] == choice


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_choice_composes_resolves_builds_and_trains(group: str, choice: str, tmp_path: Path) -> None:
    if choice in EXTRAS:
        pytest.importorskip(EXTRAS[choice])
    job = compose(*overrides_of(group, choice, tmp_path))
    assert job.config.get(group, {"name": choice})["name"] == choice
    assert_trains(job)
    cell = Cell.at(tmp_path, "main", job.overrides, job.config | {"probe": {"name": "off"}, "iterations": 1})
    cell.prepare()
    assert train.train(cell, [0, 1], 1e9, lambda *_: None, lambda: False) == {0: "complete", 1: "complete"}


@pytest.mark.parametrize("algorithm", choices("algorithm"))
def test_an_algorithm_says_the_range_of_each_of_its_settings(algorithm: str) -> None:
    of = node("algorithm", algorithm)
    assert of.keys() - {"name", "_target_", "about"} == of["about"].get("ranges", {}).keys()


@pytest.mark.parametrize("probe", [choice for choice in choices("probe") if choice != "off"])
def test_every_column_of_a_probe_is_described(probe: str) -> None:
    config = compose("env=chain", "episodes=4", "phi=td", f"probe={probe}", "policy.hidden=[]").config
    theta = build.learner(config).initial([0])["theta"]
    critic = part("critic", build.learner(config).initial([0]))
    columns = {name for row in train.probe(config).measure(theta, critic, [0], 0)[0] for name in row}
    plain = {re.sub("_(low|high)$", "", name) for name in columns}
    assert {name for name in plain if not re.fullmatch(r"share_layer_\d+", name)} <= PROBE.keys()


@pytest.mark.parametrize("phi", choices("phi"))
def test_a_phi_says_what_analysis_and_estimator_read(phi: str) -> None:
    about = node("phi", phi)["about"]
    assert set(about["needs"]) <= {"V", "Q"}
    assert about["unbiased"] in ("always", "exact critic", "never")
    assert about["measured_from"] in ("step", "start")
    assert isinstance(about["takes_baseline"], bool)


@pytest.mark.parametrize("baseline", choices("baseline"))
def test_a_baseline_says_what_analysis_and_configuration_read(baseline: str) -> None:
    about = node("baseline", baseline)["about"]
    assert set(about["needs"]) <= {"V", "Q"}
    assert about["unbiased"] in ("always", "exact critic", "never")
    assert about["fewest_episodes"] >= 1
    assert isinstance(about["couples"], bool)
    assert about["couples"] == (about["fewest_episodes"] > 1)


@pytest.mark.parametrize("group", ["phi", "baseline"])
def test_labels_symbols_and_places_in_plots_are_told_apart(group: str) -> None:
    for field in ("label", "symbol", "order"):
        said = [node(group, choice)["about"][field] for choice in choices(group)]
        assert len(set(said)) == len(said), field


@pytest.mark.parametrize("baseline", choices("baseline"))
@pytest.mark.parametrize("phi", choices("phi"))
def test_a_pair_is_refused_just_where_the_phi_takes_no_baseline(phi: str, baseline: str) -> None:
    if node("phi", phi)["about"]["takes_baseline"] or baseline == "none":
        job = compose(f"phi={phi}", f"baseline={baseline}")
        needed = {*node("phi", phi)["about"]["needs"], *node("baseline", baseline)["about"]["needs"]}
        assert build.needs(job.config) == needed
        assert (job.config["critic"] is not None) == bool(needed)
    else:
        with pytest.raises(IncompatibleSettings, match=f"phi={phi} baseline={baseline}"):
            compose(f"phi={phi}", f"baseline={baseline}")


@pytest.mark.parametrize("env", choices("env"))
@pytest.mark.parametrize("phi", ["rtg", "advantage"])
def test_every_environment_trains_with_and_without_a_critic(env: str, phi: str, tmp_path: Path) -> None:
    """Its own defaults of policy, critic and optimiser go with it; and the wrong policy does not."""
    words = overrides_of("env", env, tmp_path)
    job = compose(*words, f"phi={phi}")
    assert_trains(job)
    other = {"categorical": "gaussian", "gaussian": "categorical"}[job.config["policy"]["name"]]
    with pytest.raises(UserError, match=f"write policy={job.config['policy']['name']}"):
        compose(*words, f"phi={phi}", f"policy={other}")


@pytest.mark.parametrize("spread", ["constant", "learned", "state"])
def test_every_spread_of_a_gaussian_trains(spread: str) -> None:
    assert_trains(compose("env=lqg", f"policy.spread={spread}", "policy.hidden=[8]", "phi=q", "episodes=2"))


def test_a_function_of_ones_own_is_a_phi_with_nothing_but_its_name_given() -> None:
    """`_target_` may name anything importable: a package of the user's own extends the tool without a registry."""
    job = compose("phi=rtg", "phi._target_=test_contract.reward_alone", "env=chain", "episodes=2")
    assert build.estimator(job.config, job.config).phi.function.func is reward_alone
    assert_trains(job)


def reward_alone(signals: Any) -> np.ndarray:
    """Phi_t = r_t."""
    return signals.rewards
