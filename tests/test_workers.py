"""However user code ends a process, it is its seed's failure, told as it was; and an interrupt never waits for it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import PATIENCE, Running, ablate, columns, row
from conftest import compose

from ablate.__main__ import trains
from ablate.configuration import Job
from ablate.runs import pool, workers
from ablate.runs.pool import run
from ablate.runs.progress import ProgressReporter
from ablate.runs.run import CellScheduler
from ablate.runs.workers import ended
from ablate.store import Cell

SMALL = "iterations=3", "episodes=3", "probe=off", "policy.hidden=[]"


@pytest.fixture(autouse=True)
def _no_workers_are_left() -> Iterator[None]:
    yield
    for kept in pool._workers.values():
        kept.kill()
    pool._workers.clear()


def job(tmp_path: Path, *words: str, seeds: str = "0-3") -> Job:
    return compose(*SMALL, f"outputs={tmp_path}", f"seed={seeds}", "workers=2", *words)


def odd(tmp_path: Path, kind: str, one_in: int, seeds: str = "0-3") -> Job:
    more = f"+env.kwargs.kind={kind}", f"+env.kwargs.one_in={one_in}"
    return job(tmp_path, "env=gym", "env.id=odd_environments:Ends-v0", *more, seeds=seeds)


ENDS = {
    "exit": "its code raised SystemExit(), as sys.exit does",
    "interrupt": "its code raised KeyboardInterrupt()",
    "os._exit": "its process ended with exit code 0, as by os._exit",
    "crash": "its process was ended by SIGSEGV, a segmentation fault",
    "abort": "its process aborted (SIGABRT)",
    "silent": "Silent",
    "killed": "its process was killed by SIGKILL, perhaps out of memory",
}


@pytest.mark.parametrize("kind", ENDS)
def test_every_end_is_its_seeds_failure_and_told_as_it_was(kind: str, tmp_path: Path) -> None:
    """Of seeds 0 to 3 some are guilty; the others come to their end, and so does the next job."""
    summary = run(odd(tmp_path, kind, 40), "odd", ProgressReporter(live=False))
    assert summary.failed
    assert summary.complete
    assert sorted([*summary.failed, *summary.complete]) == [0, 1, 2, 3]
    assert set(summary.failed.values()) == {ENDS[kind]}
    assert run(job(tmp_path, "env=bandit"), "next", ProgressReporter(live=False)).complete == [0, 1, 2, 3]


def test_only_sigkill_may_be_memory() -> None:
    told = {code: ended(code) for code in (*range(-64, 256), None) if code}
    assert [code for code, text in told.items() if "memory" in text] == [-signal.SIGKILL]
    assert told[3] == "its process ended with exit code 3, as by os._exit"
    assert told[-signal.SIGBUS] == "its process was ended by SIGBUS"


class Interrupting(ProgressReporter):
    """Ctrl-C, as by the user who has just been told that a block is at the same iteration for long."""

    def info(self, line: str) -> None:
        super().info(line)
        if "seeds 0,2 are at the same iteration since " in line:
            signal.setitimer(signal.ITIMER_REAL, 0.01)


def test_an_interrupt_of_what_hangs_is_heard_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """It is said who is waited for, since when, and that all is being saved; and no process is left."""
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(pool, "STOP_SECONDS", PATIENCE)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(odd(tmp_path, "hangs", 1), "odd", Interrupting(live=False))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    said = capsys.readouterr().err
    assert "odd: seeds 0,2 are at the same iteration since " in said
    assert "odd: saving seeds 0" in said
    assert "; once more stops at once" in said
    assert not pool._workers


def test_a_stop_in_the_middle_of_an_iteration_keeps_those_before_it(tmp_path: Path) -> None:
    """The second iteration hangs; what is saved on request is the state after the first."""
    work = odd(tmp_path, "hangs", 30, seeds="1")
    cell = Cell.at(tmp_path, "main", work.overrides, work.config)
    cell.prepare()
    processes = workers.Workers(1)
    handle = processes.submit(cell, (1,), 1e9)
    deadline = time.monotonic() + PATIENCE
    while handle.progress()[0] < 1 and time.monotonic() < deadline:
        processes.wait(0.1)
    time.sleep(0.5)  # so that the second has begun; had it not, the same were saved
    assert processes.stop(PATIENCE) == []
    saved = cell.load_checkpoint(1)
    assert saved is not None
    assert saved.iteration == handle.progress()[0] == len(saved.curves["iteration"]) == 1


def test_another_process_may_finish_the_seeds_of_a_block_that_failed_here(tmp_path: Path) -> None:
    """They are done, and no failures."""
    work = job(tmp_path, "env=bandit")
    cell = Cell.at(tmp_path, "main", work.overrides, work.config)
    here = CellScheduler(cell, work, "here", ProgressReporter(live=False))
    here.add(work)
    (block,) = here.blocks()
    failed = workers.TaskHandle((cell, block.seeds, 1e9, 0), None)
    failed.failure = workers.TaskFailure("raised", "a bug", "")
    assert run(work, "there", ProgressReporter(live=False)).complete == [0, 1, 2, 3]
    assert here.settle(block, failed) == []
    here.conclude()
    assert here.summary.complete == [0, 1, 2, 3]
    assert not here.summary.failed


@pytest.mark.parametrize("shared", [True, False])
def test_a_process_that_is_free_gets_a_share_of_a_block_under_way(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the numbers are those of seeds that stayed together. The long job ends long after: it is interrupted once the
    short ones have ended and each process has got on with its share, or was left without one for a while."""
    monkeypatch.setattr(pool, "SPLIT_SECONDS", 0.0 if shared else float("inf"))
    monkeypatch.setattr(pool, "STOP_SECONDS", PATIENCE)
    handed: list[workers.TaskHandle] = []
    looks = 0
    submit, wait = workers.Workers.submit, workers.Workers.wait

    def submitted(self: workers.Workers, *task: Any) -> workers.TaskHandle:
        handed.append(submit(self, *task))
        return handed[-1]

    def waited(self: workers.Workers, seconds: float) -> None:
        nonlocal looks
        wait(self, seconds)
        seeds = [handle.seeds for handle in self.at_work if handle.progress()[0]]
        if looks < 3 and len(handed) >= 3 and sorted(seeds) == ([(0, 2), (1, 3)] if shared else [(0, 1, 2, 3)]):
            looks += 1
            if looks == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(workers.Workers, "submit", submitted)
    monkeypatch.setattr(workers.Workers, "wait", waited)
    long = job(tmp_path, "env=chain", "iterations=1000000")
    short = [job(tmp_path, "env=bandit", f"optimizer.lr={lr}") for lr in (0.1, 0.2)]
    both = pool.Pool(ProgressReporter(live=False))
    for k, work in enumerate((long, *short)):
        both.add(work, f"{k}")
    with pytest.raises(KeyboardInterrupt):
        both.finish()
    assert [handle.outcomes for handle in handed if handle.task[0] != handed[0].task[0]]
    assert [handle.seeds for handle in handed[:2]] == [(0, 1, 2, 3)] * 2, "one block while there is enough for all"
    assert any(len(handle.seeds) < 4 for handle in handed) == shared
    cell = Cell.at(tmp_path, "main", long.overrides, long.config)
    parts = [cell.load_checkpoint(seed) for seed in range(4)]
    assert all(parts)
    whole = job(tmp_path, "env=chain", f"iterations={max(part.iteration for part in parts)}")
    assert run(whole, "whole", ProgressReporter(live=False)).complete == [0, 1, 2, 3]
    found = Cell.at(tmp_path, "main", whole.overrides, whole.config)
    for seed, part in enumerate(parts):
        wanted = columns(found.path / f"seed={seed}")
        for name in set(part.curves) - {"wall_time"}:
            value = np.asarray(part.curves[name])
            assert wanted[f"curves {name}"].startswith(value.tobytes()), (seed, name)


def test_of_equally_wide_blocks_those_with_a_critic_begin_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[str, int]] = []
    submit = workers.Workers.submit

    def submitted(self: workers.Workers, cell: Cell, seeds: Sequence[int], checkpoint_seconds: float) -> Any:
        handed.append((cell.config["phi"]["name"], len(seeds)))
        return submit(self, cell, seeds, checkpoint_seconds)

    monkeypatch.setattr(workers.Workers, "submit", submitted)
    sweep = pool.Pool(ProgressReporter(live=False))
    for phi, seeds in {"rtg": "0-1", "return": "0-3", "td": "0-3", "advantage": "0-1"}.items():
        sweep.add(job(tmp_path, "env=bandit", f"phi={phi}", seeds=seeds), phi)
    sweep.finish()
    assert handed == [("td", 4), ("return", 4), ("advantage", 2), ("rtg", 2)]


def test_jobs_of_one_cell_share_a_block(tmp_path: Path) -> None:
    """`seed=0,1` of Hydra is two jobs of one cell."""
    one = pool.Pool(ProgressReporter(live=False))
    summaries = [one.add(job(tmp_path, "env=bandit", seeds=seeds), "cell") for seeds in ("0", "1-2", "2")]
    one.finish()
    assert summaries[0] is summaries[1] is summaries[2]
    assert summaries[0].complete == [0, 1, 2]


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_the_death_of_the_command_leaves_no_process(launcher: tuple[str, ...], tmp_path: Path) -> None:
    """kill -9 of the command alone, while its workers are in an iteration that does not end."""
    words = "-m", "env=gym", "env.id=odd_environments:Ends-v0", "+env.kwargs.kind=hangs", "episodes=3,4", "probe=off"
    path = os.pathsep.join(filter(None, sys.path))
    sweep = Running(*words, "seed=0-3", *launcher, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    try:
        sweep.until(lambda: len(sweep.workers()) >= 1)
        time.sleep(1)  # to be in an iteration, by and large; what is asserted holds at any moment
        sweep.send(signal.SIGKILL)
        assert sweep.wait() == -signal.SIGKILL
    finally:
        sweep.kill()


@pytest.mark.parametrize("kind", ["thread", "thread at birth"])
def test_threads_that_user_code_leaves_hold_nothing_up(kind: str, tmp_path: Path) -> None:
    words = "env=gym", "env.id=odd_environments:Ends-v0", f"+env.kwargs.kind={kind!r}", "iterations=1", "episodes=2"
    path = os.pathsep.join(filter(None, sys.path))
    done = ablate(*words, "probe=off", "seed=0", cwd=tmp_path, PYTHONPATH=path)
    assert row(done.stdout, "env=gym") == [1, 0, 0]


def test_a_script_from_a_pipe_and_a_long_temporary_folder(tmp_path: Path) -> None:
    """Workers load nothing of the main module, and where a socket's name would be too long they need none."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    script = "import sys; sys.argv[1:] = sys.argv[2:]; from ablate.__main__ import main; main()"
    words = [sys.executable, "-", "-", "env=bandit", "iterations=2", "probe=off", "workers=2", "seed=0-1"]
    env = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(
        words, input=script, cwd=tmp_path, env=env, timeout=PATIENCE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "env=bandit") == [2, 0, 0]


@pytest.mark.parametrize("refused", [False, True])
def test_a_command_that_ends_while_the_engine_loads_leaves_no_process(refused: bool, tmp_path: Path) -> None:
    started = Running("env=chian" if refused else "env=chain", "seed=0", cwd=tmp_path)
    try:
        if not refused:
            started.until(lambda: any("multiprocessing.forkserver" in line for line in started.group().values()))
            started.send(signal.SIGKILL)
        assert started.wait() == (2 if refused else -signal.SIGKILL)
    finally:
        started.kill()


def test_the_engine_loads_early_only_for_runs_here() -> None:
    assert all(map(trains, ([], ["-m", "phi=return,rtg", "seed=0-9"], ["seed=0", "--multirun"])))
    others = "--help", "--cfg=job", "--info", "report", "-sc", "hydra/launcher=joblib", "workers=dask", "workers=dask-2"
    assert not any(trains(["-m", word, "seed=0"]) for word in others)
