"""A budget in env steps: a run ends with the first iteration past it, and nothing else of it changes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import compose

from ablate.configuration import IncompatibleSettings
from ablate.errors import UserError
from ablate.runs.budget import Budget
from ablate.runs.train import train
from ablate.store import Cell, config_hash

CARTPOLE = "env=cartpole", "policy.hidden=[8]", "episodes=4", "probe.episodes=16", "probe.every=1000"
ENV_STEPS = 900
SEEDS = 0, 1, 2, 3


def trained(folder: Path, *words: str, seeds: tuple[int, ...] = SEEDS) -> dict[int, tuple[pd.DataFrame, pd.DataFrame]]:
    """Curves, less the wall time, and probe of each seed."""
    job = compose(*CARTPOLE, *words)
    cell = Cell.at(folder, "main", job.overrides, job.config)
    cell.prepare()
    outcomes = train(cell, seeds, 1e9, lambda *_: None, lambda: False)
    assert set(outcomes.values()) == {"complete"}
    return {seed: (cell.curves(seed).drop(columns="wall_time"), cell.probe(seed)) for seed in seeds}


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[pd.DataFrame, pd.DataFrame]]:
    return trained(tmp_path_factory.mktemp("budget"), f"env_steps={ENV_STEPS}", "evaluate.every=1000")


def test_units_by_hand() -> None:
    counted, stepped = Budget(10, False), Budget(100, True)
    assert counted.used(3, [70, 90]).tolist() == [3, 3]
    assert counted.spent(10, [70, 90]).tolist() == [True, True]
    assert stepped.used(3, [70, 130]).tolist() == [70, 100]
    assert stepped.spent(3, [99, 100]).tolist() == [False, True]


def test_a_run_ends_with_the_first_iteration_past_the_budget(budgeted: dict) -> None:
    for curves, _ in budgeted.values():
        assert curves["env_steps"].iloc[-1] >= ENV_STEPS > curves["env_steps"].iloc[-2]
    assert len({len(curves) for curves, _ in budgeted.values()}) > 1, "the seeds are to end apart"


def test_the_last_policy_of_each_seed_is_probed_and_evaluated(budgeted: dict) -> None:
    for curves, probe in budgeted.values():
        assert probe["iteration"].tolist() == [0, len(curves)]
        evaluated = curves["evaluation_return_mean"].notna()
        assert evaluated.tolist() == [False] * (len(curves) - 1) + [True]


def test_a_seed_has_the_same_bits_alone_and_among_seeds_that_end_before_it(budgeted: dict, tmp_path: Path) -> None:
    longest = max(budgeted, key=lambda seed: len(budgeted[seed][0]))
    alone = trained(tmp_path, f"env_steps={ENV_STEPS}", "evaluate.every=1000", seeds=(longest,))[longest]
    for one, among in zip(alone, budgeted[longest], strict=True):
        pd.testing.assert_frame_equal(one, among, check_exact=True)


def test_up_to_its_end_a_run_is_the_one_with_a_budget_in_iterations(budgeted: dict, tmp_path: Path) -> None:
    counted = trained(tmp_path, "iterations=60")
    for seed, (curves, _) in budgeted.items():
        shared = counted[seed][0]
        assert len(shared) > len(curves)
        np.testing.assert_array_equal(shared.iloc[: len(curves)], curves[shared.columns])


@pytest.mark.parametrize(
    ("words", "iterations"),
    [
        (("algorithm=td", "env=random_walk", "algorithm.steps=300", "env_steps=1000"), 4),
        (("algorithm=a2c", "env=cartpole", "env_steps=2000"), 2),
        (("algorithm=dqn", "env=cartpole", "env_steps=50000"), 196),
        (("algorithm=q_learning", "env=chain", "env_steps=500"), 1),
    ],
)
def test_where_an_iteration_is_a_known_number_of_steps_it_comes_to_iterations(words: tuple, iterations: int) -> None:
    config = compose(*words).config
    assert config["iterations"] == iterations
    assert config == compose(*words[:-1], f"iterations={iterations}").config


def test_two_budgets_are_refused() -> None:
    with pytest.raises(UserError, match=r"iterations=5 and env_steps=100 are two budgets; leave one out"):
        compose("env_steps=100", "iterations=5")
    with pytest.raises(IncompatibleSettings, match=r"algorithm=q_iteration makes no env steps; write iterations="):
        compose("algorithm=q_iteration", "env=chain", "env_steps=100")
    for bad in ("0", "-3"):
        with pytest.raises(UserError, match="env_steps="):
            compose(f"env_steps={bad}")


def test_without_it_a_configuration_keeps_its_hash() -> None:
    config = compose("env=chain").config
    assert "env_steps" not in config
    assert config_hash(config) != config_hash(compose("env=chain", "env_steps=100").config)
