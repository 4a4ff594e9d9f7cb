"""Runs that others' tools have logged: what is read, with which seeds, and what is refused because nothing compares."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import pytest

from ablate.analysis import frames, plan, report, tables
from ablate.commands import run_of_analysis as main
from ablate.store import cells


def tidy(path: Path, variants: dict[str, float], seeds: range, rows: int = 40) -> Path:
    """Each variant climbs to a height, by a little more at each later seed."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"algo": name, "seed": seed, "global_step": 100 * np.arange(1, rows + 1 - seed)}).assign(
            episodic_return=lambda part, height=height: height * part["global_step"] / 4000 + rng.normal(size=len(part))
        )
        for name, height in variants.items()
        for seed in seeds
    ]
    pd.concat(parts).to_csv(path, index=False)
    return path


def taken(folder: Path, *words: str) -> frames.StudyFrames:
    assert main(["import", *words, "--study", "theirs", "--outputs", str(folder)]) == 0
    return frames.load(folder, "theirs")


def test_a_tidy_csv_becomes_a_study_with_tables_tests_plan_and_report(tmp_path: Path) -> None:
    file = tidy(tmp_path / "runs.csv", {"PPO": 100.0, "SAC": 50.0}, range(8))
    study = taken(tmp_path, str(file), "--env", "Hopper", "--threshold", "60")
    assert list(study.cells["label"]) == ["PPO", "SAC"]
    read = pd.read_csv(file)
    for cell, label in study.cells["label"].items():
        for seed in range(8):
            own = study.curves[(study.curves["cell"] == cell) & (study.curves["seed"] == seed)]
            wanted = read[(read["algo"] == label) & (read["seed"] == seed)]
            np.testing.assert_array_equal(own["env_steps"], wanted["global_step"])
            np.testing.assert_array_equal(own["return_mean"], wanted["episodic_return"])
    (pair,) = tables.paired_differences(study).to_dict("records")
    assert (pair["label"], pair["against"], pair["seeds"]) == ("SAC", "PPO", 8)
    assert pair["final_return_difference"] < 0 < 0.05 - pair["final_return_p"]
    assert len(plan.of_seeds(study, plan.Aim(20.0))) == 1
    page = report.report(tmp_path, "theirs")
    assert page.sections
    assert not any(study.cells["command"]), "no command of ours makes these runs"
    versions = json.loads(study.runs["versions"].iloc[0])
    assert versions == {"imported from": "a tidy CSV"}


def test_seeds_may_be_missing_and_lengths_unequal(tmp_path: Path) -> None:
    one = tidy(tmp_path / "one.csv", {"A": 9.0}, range(0, 6))
    two = tidy(tmp_path / "two.csv", {"B": 3.0}, range(3, 9))
    study = taken(tmp_path, str(one), str(two), "--env", "E")
    (pair,) = tables.paired_differences(study).to_dict("records")
    assert pair["seeds"] == 3, "those that both have"


def test_the_same_import_again_changes_nothing_and_more_seeds_join(tmp_path: Path) -> None:
    file = tidy(tmp_path / "runs.csv", {"A": 9.0}, range(3))
    before = taken(tmp_path, str(file), "--env", "E")
    after = taken(tmp_path, str(file), "--env", "E")
    assert before.curves.equals(after.curves)
    more = taken(tmp_path, str(tidy(tmp_path / "more.csv", {"A": 9.0}, range(3, 5))), "--env", "E")
    assert len(cells(tmp_path, "theirs")) == 1
    assert sorted(more.runs["seed"]) == [0, 1, 2, 3, 4]


def test_monitor_files_of_stable_baselines3(tmp_path: Path) -> None:
    """Written by its own Monitor."""
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    totals = {}
    for seed in (4, 7):
        folder = tmp_path / "logs" / f"ppo_seed_{seed}"
        folder.mkdir(parents=True)
        env = monitor.Monitor(gymnasium.make("CartPole-v1"), str(folder / "0.monitor.csv"))
        env.action_space.seed(seed)
        for episode in range(30):
            env.reset(seed=seed * 100 + episode)
            while not (ended := env.step(env.action_space.sample())[2:4])[0] and not ended[1]:
                pass
        totals[seed] = env.get_total_steps()
        returns = env.get_episode_rewards()
        env.close()
    study = taken(tmp_path, f"PPO={tmp_path / 'logs'}")
    assert list(study.cells["env"]) == ["CartPole-v1"], "the file says it"
    assert dict(zip(study.runs["seed"], study.runs["env_steps"], strict=True)) == totals
    last = study.curves[study.curves["seed"] == 7]
    assert (last["return_mean"] * np.diff(last["episodes"], prepend=0)).sum() == pytest.approx(sum(returns))


def test_progress_files_of_stable_baselines3(tmp_path: Path) -> None:
    """Written by its own logger, with rows that lack a return."""
    logger = pytest.importorskip("stable_baselines3.common.logger")
    made = logger.configure(str(tmp_path / "a2c" / "seed=3"), ["csv"])
    for row in range(4):
        made.record("time/total_timesteps", 500 * (row + 1))
        if row:
            made.record("rollout/ep_rew_mean", 10.0 * row)
        made.dump(row)
    made.close()
    study = taken(tmp_path, f"A2C={tmp_path / 'a2c'}", "--env", "CartPole-v1")
    assert study.curves["env_steps"].tolist() == [1000, 1500, 2000]
    assert study.curves["return_mean"].tolist() == [10.0, 20.0, 30.0]
    assert study.runs["seed"].tolist() == [3]


def test_an_export_of_weights_and_biases(tmp_path: Path) -> None:
    columns = {"global_step": [100, 200, 300]}
    for name, seed in (("dqn", 1), ("dqn", 2), ("ppo", 1)):
        run = f"CartPole-v1__{name}__{seed}__1672531200 - charts/episodic_return"
        columns |= {run: [seed, np.nan, 9.0 + seed], f"{run}__MIN": [0, 0, 0], f"{run}__MAX": [99, 99, 99]}
    pd.DataFrame(columns).to_csv(tmp_path / "wandb.csv", index=False)
    study = taken(tmp_path, str(tmp_path / "wandb.csv"), "--env", "CartPole-v1")
    assert study.cells["label"].tolist() == ["dqn", "ppo"]
    assert sorted(study.runs["seed"]) == [1, 1, 2]
    assert study.curves["return_mean"].tolist() == [1.0, 10.0, 2.0, 11.0, 1.0, 10.0]


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        ("Step,reward\n1,2\n", [], "no column of env steps"),
        ("epoch,loss\n1,2\n", [], "no column of env steps"),
        ("global_step,loss\n1,2\n", [], "no column of returns"),
        ("global_step,reward\n1,2\n", ["--returns", "score"], "there is no column 'score'"),
        ("global_step,reward\n1,nan\n", [], "no row with a number"),
        ("global_step,reward\n1,inf\n", [], "finite return"),
        ("global_step,reward\n1,2\n", ["--env", ""], "--env"),
        ("", [], "cannot be read"),
        ("global_step,reward,seed\n", [], "has no rows"),
        ("global_step,reward,seed\n1,2,one\n", [], "seed 'one'"),
        ("global_step,reward,seed\n1,2,1.5\n", [], "seed '1.5'"),
        ("global_step,reward,seed\n1,2,-1\n", [], "whole numbers from 0 on"),
        ("global_step,reward\n1,2,3\n", [], "cannot be read"),
        ("global_step,reward\n1,2\n", ["--threshold", "nan"], "--threshold"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys, text: str, words: list[str], told: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    command = ["import", str(tmp_path / "log.csv"), "--study", "s", "--outputs", str(tmp_path / "o"), "--env", "E"]
    assert main([*command, *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert not (tmp_path / "o").exists(), "nothing is half imported"


@pytest.mark.parametrize(
    ("mark", "point", "encoding"), [(";", ".", "utf-8"), (";", ",", "utf-8-sig"), ("\t", ".", "utf-8")]
)
def test_semicolons_tabs_and_decimal_commas_are_read(tmp_path: Path, mark: str, point: str, encoding: str) -> None:
    """A run without a seed is counted, and none is left out."""
    rows = [["algo", "seed", "global_step", "reward"], ["a, b", "", "100", f"1{point}5"], ["a, b", "", "200", "2"]]
    (tmp_path / "log.csv").write_text("".join(f"{mark.join(row)}\n" for row in rows), encoding=encoding)
    study = taken(tmp_path, str(tmp_path / "log.csv"), "--env", "E")
    assert (study.cells["label"].tolist(), study.runs["seed"].tolist()) == (["a, b"], [0])
    assert study.curves["return_mean"].tolist() == [1.5, 2.0]


def test_two_runs_of_one_name_are_two(tmp_path: Path) -> None:
    """As an export of Weights & Biases has them: two columns with one head."""
    (tmp_path / "wandb.csv").write_text('"global_step","run - ep_rew_mean","run - ep_rew_mean"\n10,1,3\n20,2,4\n')
    study = taken(tmp_path, str(tmp_path / "wandb.csv"), "--env", "E")
    assert study.runs["seed"].tolist() == [0, 1]
    assert study.curves["return_mean"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_file_that_is_named_twice_or_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("global_step,reward\n1,2\n")
    (tmp_path / "b.csv").write_text("global_step,reward\n1,2\n", encoding="utf-16")
    for files, told in ((["x=a.csv", "x=a.csv"], "named twice"), (["b.csv"], "saved in UTF-8")):
        words = [
            word.replace("a.csv", str(tmp_path / "a.csv")).replace("b.csv", str(tmp_path / "b.csv")) for word in files
        ]
        assert main(["import", *words, "--study", "s", "--outputs", str(tmp_path / "o"), "--env", "E"]) == 2
        assert told in capsys.readouterr().err


def test_two_logs_of_one_seed_are_refused(tmp_path: Path, capsys) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}_seed_1.csv").write_text("global_step,reward\n1,2\n")
    files = [str(tmp_path / f"{name}_seed_1.csv") for name in ("a", "b")]
    assert main(["import", *files, "--study", "s", "--outputs", str(tmp_path / "o"), "--env", "E"]) == 2
    assert "are both seed 1" in capsys.readouterr().err
    assert (
        main(["import", f"A={files[0]}", f"B={files[1]}", "--study", "s", "--outputs", str(tmp_path), "--env", "E"])
        == 0
    )


def events(folder: Path, tag: str, rows: list[tuple[int, float]], **others: list[tuple[int, float]]) -> Path:
    """An event file that torch's SummaryWriter has written, as CleanRL does."""
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, points in ({tag: rows} | others).items():
            for step, value in points:
                writer.add_scalar(name, value, step)
    return folder


def test_event_files_of_cleanrl(tmp_path: Path) -> None:
    """A row an episode, several at one step; the folder says env, name and seed; lengths differ, a seed is missing."""
    written = {}
    for name, seed, episodes in (("ppo", 1, 300), ("ppo", 2, 200), ("my_dqn", 2, 250)):
        rows = [(25 * (k // 2 + 1), float(k % 7 + seed)) for k in range(episodes)]
        events(tmp_path / "runs" / f"CartPole-v1__{name}__{seed}__1700000000", "charts/episodic_return", rows)
        written[name, seed] = rows
    study = taken(tmp_path, str(tmp_path / "runs"))
    assert set(study.cells["env"]) == {"CartPole-v1"}
    labels = study.cells["label"]
    found = {(labels[run.cell], run.seed): run.env_steps for run in study.runs.itertuples()}
    assert found == {key: rows[-1][0] for key, rows in written.items()}
    for (name, seed), rows in written.items():
        own = study.curves[(study.curves["cell"].map(labels).astype(str) == name) & (study.curves["seed"] == seed)]
        assert own["episodes"].iloc[-1] == len(rows)
        ended = np.diff(own["episodes"], prepend=0)
        assert (own["return_mean"] * ended).sum() == pytest.approx(sum(value for _, value in rows))
    assert json.loads(study.runs["versions"].iloc[0]) == {"imported from": "CleanRL events"}


def test_event_files_of_stable_baselines3(tmp_path: Path) -> None:
    """Written by its own logger; the number of its folders counts runs and is no seed."""
    logger = pytest.importorskip("stable_baselines3.common.logger")
    pytest.importorskip("tensorboard")
    for run in (1, 2):
        made = logger.configure(str(tmp_path / "logs" / f"A2C_{run}"), ["tensorboard"])
        for row in range(1, 4):
            made.record("rollout/ep_rew_mean", 8.0 * row + run)
            made.dump(500 * row)
        made.close()
    study = taken(tmp_path, str(tmp_path / "logs"), "--env", "CartPole-v1")
    assert study.cells["label"].tolist() == ["A2C"]
    assert study.curves["env_steps"].tolist() == [500, 1000, 1500] * 2
    assert study.curves["return_mean"].tolist() == [9.0, 17.0, 25.0, 10.0, 18.0, 26.0]


def test_the_steps_of_another_tag_may_count_anything(tmp_path: Path, capsys) -> None:
    points = [(1, 2.0), (2, 4.0)]
    folder = events(tmp_path / "log" / "seed=3", "score", points, frames=[(1, 400.0), (2, 800.0)])
    command = ["import", f"A={folder}", "--study", "theirs", "--outputs", str(tmp_path / "o"), "--env", "E"]
    for words, told in (
        ([], "no tag of returns"),
        (["--returns", "score"], "--steps step"),
        (["--returns", "scores"], "no tag 'scores'"),
        (["--returns", "score", "--steps", "frame"], "no tag 'frame'"),
    ):
        assert main([*command, *words]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    study = taken(tmp_path, f"A={folder}", "--env", "E", "--returns", "score", "--steps", "frames")
    assert study.curves["env_steps"].tolist() == [400, 800]
    assert study.runs["seed"].tolist() == [3]
    themselves = taken(tmp_path / "p", f"A={folder}", "--env", "E", "--returns", "score", "--steps", "step")
    assert themselves.curves["env_steps"].tolist() == [1, 2]


def test_a_file_that_is_no_event_file_is_refused(tmp_path: Path, capsys) -> None:
    pytest.importorskip("tensorboard")
    for content in (b"", b"junk" * 99):
        (tmp_path / "events.out.tfevents.1").write_bytes(content)
        assert main(["import", str(tmp_path), "--study", "s", "--outputs", str(tmp_path / "o"), "--env", "E"]) == 2
        assert "no tag of returns" in capsys.readouterr().err


def test_two_event_files_in_a_folder_are_refused(tmp_path: Path, capsys) -> None:
    folder = events(tmp_path / "a", "charts/episodic_return", [(1, 1.0)])
    (file,) = folder.iterdir()
    (folder / f"{file.name}.1").write_bytes(file.read_bytes())
    assert main(["import", str(folder), "--study", "s", "--outputs", str(tmp_path / "o"), "--env", "E"]) == 2
    assert "2 event files" in capsys.readouterr().err


def test_what_is_imported_can_be_chosen_and_renamed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = str(tidy(tmp_path / "runs.csv", {"PPO": 100.0, "SAC": 50.0, "DQN": 20.0}, range(2)))
    study = taken(tmp_path, file, "--env", "Hopper", "--drop", "DQN", "--rename", "SAC=soft actor-critic")
    assert list(study.cells["label"]) == ["PPO", "soft actor-critic"]
    other = ["import", file, "--study", "other", "--outputs", str(tmp_path), "--env", "Hopper"]
    assert main([*other, "--only", "A2C"]) == 2
    assert "--only 'A2C': no such variant; choose from PPO, SAC, DQN" in capsys.readouterr().err
    assert main([*other, "--rename", "SAC=PPO"]) == 2
    assert "are both seed 0 of PPO" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_name_that_holds_a_comma_or_an_equals_sign_is_one(tmp_path: Path) -> None:
    """As in a study on disk."""
    file = str(tidy(tmp_path / "runs.csv", {"lr=0.1": 100.0, "a, b": 50.0, "DQN": 20.0}, range(2)))
    study = taken(tmp_path, file, "--env", "Hopper", "--only", "a, b", "--only", "lr=0.1", "--rename", "lr=0.1=large")
    assert set(study.cells["label"]) == {"a, b", "large"}


def test_figures_of_too_many_cells_say_how_to_choose_some(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """More than can be told apart in one panel; of the first twelve there are figures."""
    file = tidy(tmp_path / "runs.csv", {f"method {k}": 10.0 * k for k in range(13)}, range(3), rows=10)
    taken(tmp_path, str(file), "--env", "Hopper")
    told = ["figures", "theirs", "--outputs", str(tmp_path), "--formats", "png"]
    assert main(told) == 2
    assert "shows at most 12 cells of an environment; choose some with --only or --drop" in capsys.readouterr().err
    assert not (tmp_path / "theirs" / "figures").exists()
    assert main([*told, "--drop", "method 0"]) == 0
    assert (tmp_path / "theirs" / "figures" / "learning.png").exists()
