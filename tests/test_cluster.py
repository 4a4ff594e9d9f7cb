"""Seeds trained by a real Dask cluster: the same bits, whatever becomes of its workers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PATIENCE, Running, ablate, checkpoints, numbers, row
from conftest import compose

from ablate.errors import UserError
from ablate.runs import cluster, pool
from ablate.runs.pool import run
from ablate.runs.progress import ProgressReporter
from ablate.store import Cell, names_cell

pytest.importorskip("distributed")

SMALL = "probe=off", "policy.hidden=[8]", "seed=0-5"
LONG = ("-m", "env=chain,bandit", "iterations=150", "checkpoint_seconds=0.2", *SMALL)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a scheduler with two workers, started by Dask's own commands."""
    folder = tmp_path_factory.mktemp("dask")
    file, path = folder / "scheduler.json", os.pathsep.join(filter(None, sys.path))
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "DASK_DISTRIBUTED__WORKER__DAEMON": "true"}
    started = []

    def start(*words: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--scheduler-file", str(file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        started.append(subprocess.Popen(command, cwd=folder, env=os.environ | settings | {"PYTHONPATH": path}, **quiet))

    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    start("worker", "--nthreads", "1", "--nworkers", "2", "--no-dashboard", "--host", "127.0.0.1")
    yield file
    for process in reversed(started):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What this machine's processes record."""
    folder = tmp_path_factory.mktemp("whole")
    ablate(*LONG, cwd=folder)
    return numbers(folder / "outputs")


def workers_of(file: Path) -> dict[str, int]:
    """The processes that are workers now, by their addresses."""
    from distributed import Client

    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, PATIENCE)
        return client.run(os.getpid)


def test_a_killed_worker_costs_nothing_but_time(scheduler: Path, whole: dict, tmp_path: Path) -> None:
    address, pid = next(iter(workers_of(scheduler).items()))
    sweep = Running(*LONG, "workers=dask", f"dask.scheduler={scheduler}", cwd=tmp_path)
    try:
        sweep.until(lambda: checkpoints(tmp_path / "outputs") or sweep.process.poll() is not None)
        os.kill(pid, signal.SIGKILL)
        assert sweep.wait() == 0, sweep.output
    finally:
        sweep.kill()
    assert row(sweep.output, "env=chain") == row(sweep.output, "env=bandit") == [6, 0, 0]
    assert numbers(tmp_path / "outputs") == whole
    assert address not in workers_of(scheduler), "the worker was another's"


def test_an_interrupt_saves_what_is_under_way_and_the_same_command_goes_on(
    scheduler: Path, whole: dict, tmp_path: Path
) -> None:
    words = *LONG, "workers=dask", f"dask.scheduler={scheduler}"
    for _ in range(9):  # where one comes to its end before the signal, it is done anew
        shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
        sweep = Running(*words, cwd=tmp_path)
        try:
            sweep.until(lambda: checkpoints(tmp_path / "outputs") or sweep.process.poll() is not None)  # noqa: B023
            now = time.time() - 0.01  # the clock of a file system is coarser
            sweep.send(signal.SIGINT)
            if exit_code := sweep.wait():
                break
        finally:
            sweep.kill()
    assert exit_code == 130, sweep.output
    assert "saving" in sweep.output
    assert "Traceback" not in sweep.output
    assert max(path.stat().st_mtime for path in tmp_path.rglob("*.*") if path.is_file()) > now
    ablate(*words, cwd=tmp_path)
    assert numbers(tmp_path / "outputs") == whole


def test_a_cluster_of_this_machine_and_seeds_that_end_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Only the guilty fail; a block asked for its seeds returns them; and where machines differ, it is told."""
    monkeypatch.setattr(pool, "SPLIT_SECONDS", 0.0)
    monkeypatch.setattr(cluster, "cores", lambda: 2)
    monkeypatch.setattr(cluster, "machine", lambda: {"processor": f"kind {os.getpid()}"})
    odd = "env=gym", "env.id=odd_environments:Ends-v0", "+env.kwargs.kind=os._exit", "+env.kwargs.one_in=40"
    words = "iterations=3", "episodes=3", "probe=off", "policy.hidden=[]", "seed=1-2"
    both = pool.Pool(ProgressReporter(live=False))
    ends = both.add(compose(*words, *odd, f"outputs={tmp_path / 'dask'}", "workers=dask"), "odd")
    chain = "env=chain", "iterations=200", "episodes=3", "probe=off", "policy.hidden=[]", "seed=0-3"
    goes = both.add(compose(*chain, f"outputs={tmp_path / 'dask'}", "workers=dask"), "chain")
    both.finish()
    assert goes.complete == [0, 1, 2, 3]
    here = run(compose(*words, *odd, f"outputs={tmp_path / 'here'}", "workers=2"), "odd", ProgressReporter(live=False))
    assert ends.complete
    assert ends.failed
    assert (ends.complete, list(ends.failed)) == (here.complete, list(here.failed))
    assert all("its worker of Dask died" in text for text in ends.failed.values())
    run(compose(*chain, f"outputs={tmp_path / 'here'}", "workers=2"), "chain", ProgressReporter(live=False))
    assert numbers(tmp_path / "dask") == numbers(tmp_path / "here")
    assert "the workers differ in processor" in capsys.readouterr().err


REFUSED = {
    ("workers=dask", "dask.scheduler=tcp://127.0.0.1:9"): "dask.scheduler=tcp://127.0.0.1:9 does not answer",
    ("workers=dask", "dask.scheduler=nowhere.json"): "is neither an address such as tcp://host:8786 nor a scheduler",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_scheduler_that_is_not_there(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    work = compose("env=bandit", "iterations=1", *SMALL, *words, f"outputs={tmp_path}")
    refused = run(work, "bandit", ProgressReporter(live=False)).refused
    assert refused
    assert REFUSED[words] in refused


@pytest.mark.parametrize(
    "words", [("dask.scheduler=tcp://h:1",), ("workers=dask", "dask.scheduler=3"), ("workers=dusk",)]
)
def test_settings_that_do_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"dask\.scheduler|workers"):
        compose(*words)


def test_where_it_runs_is_no_part_of_a_cell(tmp_path: Path) -> None:
    there = compose("workers=dask", "dask.scheduler=tcp://host:8786")
    here = compose()
    at = [Cell.at(tmp_path, "main", job.overrides, job.config) for job in (here, there)]
    assert at[0] == at[1]
    assert not any(map(names_cell, there.overrides))
