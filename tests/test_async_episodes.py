"""Episodes in processes: the bits of those that are stepped one by one, errors as they are, and no process left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import odd_environments
import pytest
import torch
from conftest import compose
from test_envs import one_line, random_actions, streams

from ablate import build
from ablate.envs import async_episodes
from ablate.envs.gym import Gymnasium
from ablate.errors import UserError

MODES = "sync", "async"
SOME = np.zeros((2, 3), int)


@pytest.mark.parametrize(("id", "policy"), [("Pendulum-v1", "gaussian"), ("FrozenLake-v1", "categorical")])
def test_training_has_the_same_bits_in_either_mode(id: str, policy: str) -> None:
    """Small batches after large ones and the other way round, as a probe's between those of training."""
    words = "env=gym", f"env.id={id}", "env.horizon=12", f"policy={policy}", "episodes=5", "phi=advantage"
    learners = [build.learner(compose(*words, f"env.vectorization_mode={mode}").config) for mode in MODES]
    for seeds in ([3], [1, 2, 3], [3, 9]):
        states = [learner.initial(seeds) for learner in learners]
        for iteration in (1, 2):
            (one, told), (other, heard) = (
                learner.iterate(state, seeds, iteration) for learner, state in zip(learners, states, strict=True)
            )
            assert all(torch.equal(one[name], other[name]) for name in one)
            assert all(np.array_equal(told[name], heard[name], equal_nan=True) for name in told)
            states = [one, other]
    processes = running(learners[1].env)
    learners[1].env._vector.close()
    assert all(process.exitcode == 0 for process in processes)


@pytest.mark.parametrize("cores", [1, 3, 5, 50])
def test_episodes_are_the_same_however_many_processes_share_them(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_episodes, "cores", lambda: cores)
    both = [Gymnasium("CartPole-v1", horizon=30, vectorization_mode=mode) for mode in MODES]
    actions = random_actions(both[0], np.random.default_rng(0), (30, 2, 4))
    np.testing.assert_array_equal(*(env.reset(streams(5, 6), 4) for env in both))
    assert len(running(both[1])) == min(cores, 8)
    going = np.ones((2, 4), bool)
    for action in actions:
        for one, other in zip(*(env.step(action) for env in both), strict=True):
            np.testing.assert_array_equal(one[going], other[going])
            ended = one if one.dtype == bool else np.zeros_like(going)
            going = going & ~ended
    both[1]._vector.close()


def running(env: Any) -> list[Any]:
    return list(env._vector._vector.processes)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("exit", SystemExit, ""),
        ("interrupt", KeyboardInterrupt, ""),
        ("os._exit", RuntimeError, "ended the process that it ran in (exit code 0)"),
        ("killed", RuntimeError, "(exit code -9)"),
    ],
)
def test_what_an_environment_raises_arrives_and_ends_the_processes(kind: str, error: Any, said: str) -> None:
    env = Gymnasium("Ends-v0", {"kind": kind}, vectorization_mode="async")
    env.reset(streams(0, 1), 3)
    processes = running(env)
    env.step(SOME)
    env.step(SOME)
    with pytest.raises(error) as raised:
        env.step(SOME)
    assert said in str(raised.value)
    assert all(process.exitcode is not None for process in processes)
    assert error is RuntimeError or "odd_environments.py" in raised.value.__notes__[0]


@pytest.mark.parametrize("kind", ["NumPys", "Pythons", "Torchs", "Modules", "AtReset", "AtBirth"])
def test_generators_that_environments_share_are_refused(kind: str) -> None:
    def play() -> None:
        env = Gymnasium(f"{odd_environments.__name__}:{kind}", horizon=9, vectorization_mode="async")
        env.reset(streams(0, 1), 3)
        for _ in range(5):
            env.step(SOME)

    with pytest.raises(UserError) as refused:
        play()
    assert one_line(refused).endswith("write env.vectorization_mode=sync")


def test_other_modes_are_refused_and_the_usual_one_leaves_cells_their_names() -> None:
    with pytest.raises(UserError, match="give sync or async"):
        Gymnasium("CartPole-v1", vectorization_mode="vector_entry_point")
    assert "vectorization_mode" not in compose("env=gym", "env.id=CartPole-v1").config["env"]


SCRIPT = """
import os
import signal
import time
import gymnasium
import numpy as np
from ablate.envs.gym import Gymnasium
from odd_environments import Five

class Hangs(Five):
    def step(self, action):
        os.write(1, b"at work\\n")  # at once: two processes share this pipe
        time.sleep(3600)

gymnasium.register("Hangs-v0", entry_point=Hangs, max_episode_steps=5)
env = Gymnasium("Hangs-v0", vectorization_mode="async")
env.reset([np.random.default_rng(0)], 4)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background inherits as ignored
print(*(process.pid for process in env._vector._vector.processes), flush=True)
env.step(np.zeros((1, 4), int))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's end is Linux's")
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_go_with_the_one_that_started_them(ends: signal.Signals) -> None:
    """Though their environments are in the middle of a step that takes an hour."""
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as script:
        try:
            assert script.stdout is not None
            processes = [int(pid) for pid in script.stdout.readline().split()]
            assert processes
            for _ in processes:
                assert script.stdout.readline() == "at work\n"
            script.send_signal(ends)
            script.wait()
        finally:
            script.kill()  # also where a line above fails
    patience = time.monotonic() + 100
    while any(map(is_running, processes)):
        assert time.monotonic() < patience, "they were left behind"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
