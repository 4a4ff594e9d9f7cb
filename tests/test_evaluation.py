"""Evaluation of the greedy policy: what it measures, when, and that training does not notice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose

from ablate import build
from ablate.configuration import IncompatibleSettings
from ablate.errors import UserError
from ablate.networks import Network
from ablate.policies import Categorical, Gaussian, Greedy, GreedyValues
from ablate.probes.greedy import GreedyEvaluation, evaluation
from ablate.runs.train import train
from ablate.store import Cell

SMALL = "env=chain", "probe=off", "iterations=7", "episodes=4"


def trained(folder: Path, *words: str) -> Cell:
    job = compose(*SMALL, *words)
    cell = Cell.at(folder, "main", (), job.config)
    cell.prepare()
    train(cell, [3, 5], 100, lambda *_: None, lambda: False)
    return cell


def test_it_is_measured_at_its_interval_and_at_the_end(tmp_path: Path) -> None:
    curves = trained(tmp_path, "evaluate.every=3").curves(5)
    measured = curves["evaluation_return_mean"].notna()
    assert list(curves["iteration"][measured]) == [3, 6, 7]
    assert (curves["evaluation_return_std"].notna() == measured).all()


def test_training_does_not_notice(tmp_path: Path) -> None:
    with_it, without = (trained(tmp_path, *words).curves(3) for words in (["evaluate.every=2"], []))
    assert not any(name.startswith("evaluation") for name in without)
    own = [name for name in without if name != "wall_time"]
    assert with_it[own].equals(without[own])


def test_it_plays_the_greedy_policy() -> None:
    """A bandit whose arms pay 0, 3 and 1 for sure: 3 an episode where arm 1 is the likeliest."""
    job = compose("env=bandit", "env.arms=[1,1,1]", "+env.rewards=[0,3,1]", "evaluate.every=1", "evaluate.episodes=5")
    learner, greedy = build.learner(job.config), evaluation(job.config)
    assert greedy
    theta = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.1, 0.0]])
    record = greedy.measure(learner, {"theta": theta}, [0, 1], 1, np.zeros(2, bool))
    assert record["evaluation_return_mean"].tolist() == [3.0, 0.0]
    assert record["evaluation_return_std"].tolist() == [0.0, 0.0]


def test_greedy_actions_are_the_modes() -> None:
    outputs = torch.tensor([[[0.1, 0.7, 0.7], [3.0, -1.0, 2.0]]])
    nothing = np.empty((1, 2, 0))
    assert Greedy(Categorical(4, 3)).sample(outputs, nothing).tolist() == [[1, 0]]
    assert GreedyValues(Network((4, 3))).sample(outputs, nothing).tolist() == [[1, 0]]
    gaussian = Greedy(Gaussian(4, 1, spread="learned"))
    assert gaussian.sample(outputs[..., :2], nothing).tolist() == [[[outputs[0, 0, 0].item()], [3.0]]]


@pytest.mark.parametrize("word", ["evaluate.every=0", "evaluate.every=2.5", "evaluate.episodes=0"])
def test_bad_settings_are_refused(word: str) -> None:
    with pytest.raises(UserError, match=word.partition("=")[0]):
        compose(*SMALL, word)


def test_what_an_algorithm_does_not_use_is_left_out_and_refused_by_name() -> None:
    assert compose("algorithm=td", "env=random_walk").config["phi"] is None
    with pytest.raises(IncompatibleSettings, match=r"algorithm=td uses no phi; leave out phi=rtg"):
        compose("algorithm=td", "env=random_walk", "phi=rtg")
    with pytest.raises(IncompatibleSettings, match=r"uses no evaluate; leave out evaluate\.every=3"):
        compose("algorithm=td", "env=random_walk", "evaluate.every=3")
    compose("algorithm=td", "env=random_walk", "probe=off")


def test_an_environment_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(IncompatibleSettings, match="algorithm=td needs a finite known model") as refused:
        compose("algorithm=td", "env=cartpole")
    said = str(refused.value)
    assert "chain" in said
    assert "lqg" not in said
    assert "corridor" not in said  # it hides its states
    assert "env=cartpole" in said


@pytest.mark.parametrize("algorithm", ["policy_gradient", "q_actor_critic"])
def test_where_episodes_come_in_groups_each_is_evaluated_by_itself(algorithm: str) -> None:
    """Contexts won for sure by action 0 or by action 1: the greedy action 0 wins half of 400 episodes, give or take 5
    standard deviations (false-alarm rate 1e-6); with one context for all it would win all or none."""
    job = compose(f"algorithm={algorithm}", "env=contextual_bandit", "env.success=[[1,0],[0,1]]", "evaluate.every=1")
    learner = build.learner(job.config)
    state = {"theta": torch.tensor([1.0, 0.0]).repeat(3).reshape(1, 6)}
    record = GreedyEvaluation(1, 400).measure(learner, state, [0], 1, np.ones(1, bool))
    assert abs(record["evaluation_return_mean"].item() - 0.5) < 5 * 0.5 / 20


def test_groups_are_refused_where_nothing_takes_them() -> None:
    with pytest.raises(IncompatibleSettings, match="takes no groups"):
        compose("algorithm=a2c", "env=contextual_bandit", "env.group=4")
