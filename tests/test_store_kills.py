"""Kills at any moment and processes that share a seed: the store is whole, and nothing is left behind."""

import contextlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored import ARRAYS, CONFIG, CURVES, MANIFEST, PROBE, files

from ablate.store import Cell

HAMMER = """
import os, signal, sys, time
import numpy as np
from ablate.store import Cell

outputs, mode = sys.argv[1:]
cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
manifest = {"iterations": 5, "env_steps": 5, "wall_time_s": 0.0, "started": "2026"}


def live(seed):
    rows = [{"iteration": k, "estimator": "td", "variance": np.nan} for k in range(5)]
    curves = {"iteration": np.arange(5), "return_mean": np.arange(5.0)}
    for step in range(2):
        cell.save_checkpoint(seed, step, {"w": np.full(5000, float(step))}, curves, rows)
        checkpoint = cell.load_checkpoint(seed)  # None: another process has finished this seed, or discards it
        assert checkpoint is None or mode == "race" or checkpoint.iteration == step


def loop(seed, forever=True):
    while True:
        cell.prepare()
        live(seed)
        cell.fail(seed, "text")
        cell.diverge(seed, 3, "NaN", {"iteration": [0]}, [], manifest)
        cell.discard(seed)
        live(seed)
        cell.finish(seed, {"iteration": np.arange(5), "return_mean": np.arange(5.0)}, [{"v": 1}] * 5, manifest)
        assert mode == "race" or cell.status(seed) == "complete"
        if not forever:
            return
        cell.discard(seed)


def die_at(event):
    left = event

    def hook(name, arguments):
        nonlocal left
        if name == "open" and not str(arguments[0]).startswith(outputs):
            return
        if name in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.scandir"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if mode == "race":
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        loop(7, forever=False)
        cell.discard(7)
    sys.exit()
cell.save_checkpoint(7, 0, {}, {"a": np.ones(1)}, [])  # pyarrow imports pandas now, rather than in every child
cell.discard(7)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            if mode == "event":
                die_at(int(line))
            loop(7, forever=mode == "time")
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if mode == "time":
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def hammer(outputs: Path, mode: str) -> Iterator[Any]:
    """A function that has a process use seed 7 until it is killed: after a while, or before its n-th file operation."""
    command = [sys.executable, "-c", HAMMER, str(outputs), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def strike(when: float) -> int:
            process.stdin.write(f"{when}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return int(process.stdout.readline())  # type: ignore[union-attr]

        yield strike
        process.stdin.close()


def judge(outputs: Path) -> str:
    """Check that everything in sight is whole; return the status."""
    cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
    status = cell.status(7)
    assert status != "damaged"
    assert cell.repair(7) == []
    if (cell.path / "config.yaml").exists():
        assert cell.read_config() == {"a": 1}
    if status == "complete":
        assert cell.curves(7)["return_mean"].tolist() == [0, 1, 2, 3, 4]
        assert cell.probe(7)["v"].tolist() == [1] * 5
        assert files(cell.path / "seed=7") == {"curves.parquet", "probe.parquet", "manifest.json"}
    else:
        assert not (cell.path / "seed=7").exists()
    if status == "diverged":
        assert cell.manifest(7)["reason"] == "NaN"
    checkpoint = cell.load_checkpoint(7)
    if checkpoint is not None:
        assert checkpoint.arrays["w"].tolist() == [float(checkpoint.iteration)] * 5000
        assert len(checkpoint.probe) == len(checkpoint.curves["iteration"]) == 5
    if outputs.exists():
        assert all(path.name in ("s", cell.name) for path in [*outputs.glob("*"), *outputs.glob("*/*")])
    return status


def tidy(outputs: Path) -> None:
    """After any kills, one uninterrupted run leaves no trace of them."""
    cell = Cell.at(outputs, "s", ["a=1"], {"a": 1})
    cell.discard(7)
    cell.prepare()
    cell.finish(7, CURVES, [], MANIFEST)
    assert files(outputs / "s") == {
        f"{cell.name}/{n}" for n in ("config.yaml", "seed=7/curves.parquet", "seed=7/manifest.json")
    }


def test_kills_at_random_moments(tmp_path: Path) -> None:
    outputs, clock, seen = tmp_path / "outputs", random.Random(time.time_ns()), set()
    with hammer(outputs, "time") as strike:
        for kill in itertools.count():
            longest = 0.08 * 2 ** min(kill // 60, 6)  # more, where none fell into the work
            assert strike(clock.uniform(0, longest)) == -9
            seen.add(judge(outputs))
            if kill >= 60 and "unfinished" in seen:
                break
    tidy(outputs)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_kill_before_every_change_to_the_disk(tmp_path: Path, fresh: bool) -> None:
    """One whole life of a seed, killed before its first file operation, its second, ... until it survives."""
    outputs, seen = tmp_path / "outputs", set()
    with hammer(outputs, "event") as strike:
        for event in range(500):
            code = strike(event)
            seen.add(judge(outputs))
            if code == 0:
                break
            assert code == -9
            if fresh:
                shutil.rmtree(outputs, ignore_errors=True)
    assert event > 60
    assert code == 0
    assert seen == {"missing", "unfinished", "diverged", "complete"}
    tidy(outputs)


@pytest.mark.parametrize("act", ["prepare", "save_checkpoint", "finish", "diverge"])
def test_a_write_outlives_the_sweep_of_another_process(tmp_path: Path, monkeypatch: Any, act: str) -> None:
    """Another process finishes the same seed, and clears .unfinished, just before our rename."""
    cell, sweeps = Cell.at(tmp_path, "s", [], CONFIG), []

    def swept(name: str) -> None:
        move = getattr(os, name)

        def rename(source: Path, target: Path) -> None:
            if len(sweeps) < 3:
                sweeps.append(name)
                shutil.rmtree(cell.path / ".unfinished")
            move(source, target)

        monkeypatch.setattr(os, name, rename)

    swept("replace")
    swept("rename")
    if act == "prepare":
        cell.prepare()
        assert cell.read_config()["gamma"] == 0.99
    elif act == "save_checkpoint":
        cell.save_checkpoint(7, 1, ARRAYS, CURVES, PROBE)
        assert cell.status(7) == "unfinished"
    elif act == "finish":
        cell.finish(7, CURVES, PROBE, MANIFEST)
        assert cell.status(7) == "complete"
    else:
        cell.diverge(7, 1, "NaN", CURVES, PROBE, MANIFEST)
        assert cell.status(7) == "diverged"
    assert len(sweeps) == 3


def test_processes_that_share_a_seed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAMMER, str(tmp_path / "outputs"), "race"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert "Traceback" not in process.communicate()[1]
        assert process.returncode == 0
    tidy(tmp_path / "outputs")
