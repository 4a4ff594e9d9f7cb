"""Runs as a whole, in real processes: equal bits however the work is cut, and no kill, interruption or damage tells."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from commands import Running, ablate, at_seed, checkpoints, manifests, numbers, row
from conftest import choices

from ablate.runs.run import SeedProgress, blocks
from ablate.store import cells

LONG = ("-m", "env=chain", "phi=td,advantage", "seed=0-3", "iterations=400", "episodes=8", "probe=off")
SAVING = (*LONG, "critic.updates=2", "critic.batch_size=32", "checkpoint_seconds=0.2")
SHORT = ("env=bandit", "phi=rtg", "iterations=5", "probe=off")
KILLS = int(os.environ.get("ABLATE_KILLS", "3"))


# Bits


SOME = ("phi=q,return",)
CRITICS = ("phi=q",)
WAYS = {
    ("seed=7", "workers=1"): SOME,
    ("seed=0-9", "workers=1"): CRITICS,
    ("seed=0-9", "workers=2"): SOME,
    ("seed=5-24", "workers=2"): CRITICS,
    ("seed=range(5,10)",): CRITICS,
    ("seed=6-8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"): CRITICS,
}
"""Ways to come by seed 7; of every other Phi, and of every baseline, test_learner.py has the bits."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], dict]:
    """What each of the ways recorded, on CartPole and on a tabular environment."""

    def run(way: tuple[str, ...]) -> dict:
        folder = tmp_path_factory.mktemp("bits")
        sizes = "iterations=2", "episodes=4", "probe.episodes=16", "policy.hidden=[8]"
        ablate("-m", "env=cartpole,chain", *WAYS[way], *sizes, *way, cwd=folder)
        return numbers(folder / "outputs")

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(WAYS, pool.map(run, WAYS), strict=True))


@pytest.mark.parametrize("way", list(WAYS)[1:], ids=" ".join)
def test_seed_7_is_the_same_in_any_company(found: dict, way: tuple[str, ...]) -> None:
    alone, among = found["seed=7", "workers=1"], at_seed(7, found[way])
    assert len(among) == 2 * (WAYS[way][0].count(",") + 1)
    assert among == {run: alone[run] for run in among}


def test_every_seed_is_the_same_with_one_worker_and_with_two(found: dict) -> None:
    one, two = found["seed=0-9", "workers=1"], found["seed=0-9", "workers=2"]
    assert len(one) == 2 * 10
    assert one.items() <= two.items()
    assert len(two) == 2 * 2 * 10
    cartpole = [tables["curves return_mean"] for (cell, _), tables in two.items() if "cartpole" in cell]
    assert len(set(cartpole)) > len(cartpole) / 10, "seeds are to differ"


def test_blocks_share_out_all_seeds_that_stand_at_the_same_iteration() -> None:
    todo = dict.fromkeys(range(10), SeedProgress(0, 0)) | dict.fromkeys(range(20, 23), SeedProgress(5, 5))
    assert sorted(seed for block in blocks(todo, 4) for seed in block) == sorted(todo)
    assert all(len({todo[seed] for seed in block}) == 1 for block in blocks(todo, 4))
    assert sorted(map(len, blocks(todo, 4))) == [3, 3, 3, 4]


# The other algorithms: bits, kills and resuming, all of them in one sweep

OTHERS = (
    "-m", f"algorithm={','.join(name for name in choices('algorithm') if name != 'policy_gradient')}", "env=chain",
    "gamma=0.9", "iterations=4", "checkpoint_seconds=0.001",
)  # fmt: skip


def test_every_algorithm_has_its_bits_in_any_company_and_after_a_kill(tmp_path: Path, running: list[Running]) -> None:
    """Seed 7 alone, among three on two workers, and killed while that sweep is under way."""
    ablate(*OTHERS, "seed=7", "outputs=alone", cwd=tmp_path)
    alone = numbers(tmp_path / "alone")
    assert len(alone) == len(choices("algorithm")) - 1
    outputs, dice = tmp_path / "killed", random.Random(1)
    sweep = start(running, *OTHERS, "seed=6-8", "workers=2", f"outputs={outputs}", cwd=tmp_path)
    sweep.until(lambda: saved(outputs) or sweep.process.poll() is not None)
    time.sleep(dice.uniform(0, 0.5))
    sweep.kill()
    readable(outputs)
    ablate(*OTHERS, "seed=6-8", "workers=2", "outputs=killed", cwd=tmp_path)
    assert at_seed(7, numbers(outputs)) == alone


# Kills and interruptions


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What an uninterrupted sweep records."""
    folder = tmp_path_factory.mktemp("whole")
    assert row(ablate(*SAVING, cwd=folder).stdout, "env=chain phi=td") == [4, 0, 0]
    return numbers(folder / "outputs")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for process in started:
        process.kill()


def start(running: list[Running], *words: str, **more: object) -> Running:
    cwd = more.pop("cwd")
    assert isinstance(cwd, Path)
    running.append(Running(*words, cwd=cwd, **more))
    return running[-1]


def readable(outputs: Path) -> None:
    """Every file that is in sight can be read."""
    if (outputs / "main").exists():
        for cell in cells(outputs, "main"):
            for seed in cell.seeds():
                assert cell.status(seed) != "damaged", (cell, seed)
                cell.load_checkpoint(seed)
            assert not (cell.path / ".damaged").exists()


def saved(outputs: Path) -> dict[Path, int]:
    """When each unfinished seed was last saved."""
    times = {}
    for path in checkpoints(outputs):
        with suppress(FileNotFoundError):  # it has just finished
            times[path] = path.stat().st_mtime_ns
    return times


def test_kills_leave_no_trace(tmp_path: Path, whole: dict, running: list[Running]) -> None:
    """kill -9 of the whole process group at random moments, then the same command, again and again."""
    outputs, dice = tmp_path / "outputs", random.Random(0)
    done: dict = {}
    under_way = 0
    for kill in range(KILLS):
        sweep = start(running, *SAVING, cwd=tmp_path)
        if kill % 3:  # the others while it starts
            written = saved(outputs)
            sweep.until(lambda: saved(outputs) != written or sweep.process.poll() is not None)  # noqa: B023
        time.sleep(dice.uniform(0, 0.6))
        under_way += sweep.process.poll() is None
        sweep.kill()
        readable(outputs)
        assert done.items() <= manifests(outputs).items(), "a finished run was run again"
        done = manifests(outputs)
    print(f"{under_way} of {KILLS} kills hit a sweep under way, {len(done)} runs were finished by then")
    ablate(*SAVING, cwd=tmp_path)
    assert done.items() <= manifests(outputs).items(), "a finished run was run again"
    assert numbers(outputs) == whole
    assert not list(outputs.glob("main/*/.unfinished")), "scratch is left behind"


def test_interruptions_save_what_is_under_way(tmp_path: Path, whole: dict, running: list[Running]) -> None:
    """Ctrl-C, SIGTERM to the group or to the command alone, its death, a worker's death: the same command goes on."""
    outputs = tmp_path / "outputs"

    def interrupt(number: int, group: bool, exit_code: int, **more: object) -> Running:
        """A sweep that ended by the signal; where one came to its end before, it is done anew."""
        for _ in range(9):
            before = saved(outputs)
            sweep = start(running, *SAVING, cwd=tmp_path, **more)
            sweep.until(lambda: saved(outputs).items() - before.items() or sweep.process.poll() is not None)  # noqa: B023
            sweep.signalled = time.time_ns() - 10**7  # the clock of a file system is coarser
            with suppress(ProcessLookupError):
                (sweep.send_to_group if group else sweep.send)(number)
            if (ended := sweep.wait()) == exit_code:
                return sweep
            assert ended == 0, sweep.output
            shutil.rmtree(outputs)
        raise AssertionError("each sweep ended before the signal")

    for number, group in [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)]:
        # A shell starts commands in the background with SIGINT ignored: SIGTERM must do all the same.
        deaf = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)} if not group else {}
        sweep = interrupt(number, group, 130, **deaf)
        assert "interrupted" in sweep.output
        assert "python -m ablate -m env=chain phi=td,advantage" in sweep.output
        assert "Traceback" not in sweep.output
        left = [*saved(outputs).values(), *(written for written, _ in manifests(outputs).values())]
        assert max(left) > sweep.signalled, "it was neither saved where it stood nor brought to its end"
        readable(outputs)
    interrupt(signal.SIGKILL, False, -signal.SIGKILL)  # and the workers ended by themselves
    readable(outputs)
    done = manifests(outputs)

    sweep = start(running, *SAVING, cwd=tmp_path)
    found = sweep.until(lambda: sweep.workers() or sweep.process.poll() is not None)
    with suppress(TypeError, ProcessLookupError):  # it has ended
        os.kill(found[0], signal.SIGKILL)
    assert sweep.wait() == 0, sweep.output
    assert "Traceback" not in sweep.output
    assert done.items() <= manifests(outputs).items()
    assert numbers(outputs) == whole


def test_interrupted_with_overwrite_goes_on_without_it(tmp_path: Path, running: list[Running]) -> None:
    sweep = start(running, *SAVING, "overwrite=true", cwd=tmp_path)
    sweep.until(lambda: any("multiprocessing.forkserver" in line for line in sweep.group().values()))
    time.sleep(0.3)
    sweep.send_to_group(signal.SIGINT)  # while the processes start
    assert sweep.wait() == 130
    assert "Traceback" not in sweep.output
    assert "overwrite" not in sweep.output.partition("goes on:")[2]


# The same command again


def test_finish_skip_widen_overwrite_and_mend(tmp_path: Path, running: list[Running]) -> None:
    outputs = tmp_path / "outputs"
    halves = [start(running, *SHORT, seeds, cwd=tmp_path) for seeds in ("seed=0-4", "seed=5-9")]
    assert [half.wait() for half in halves] == [0, 0], [half.output for half in halves]  # at the same time
    first = manifests(outputs)
    assert len(first) == 10

    assert row(ablate(*SHORT, "seed=0-11", cwd=tmp_path).stdout, "env=bandit") == [2, 10, 0]
    assert first.items() <= manifests(outputs).items()
    every, wanted = manifests(outputs), numbers(outputs)

    again = ablate(*SHORT, "seed=0-11", cwd=tmp_path)
    assert row(again.stdout, "env=bandit") == [0, 12, 0]
    assert manifests(outputs) == every
    assert "training" not in again.stderr

    assert row(ablate(*SHORT, "seed=0-5", "overwrite=true", cwd=tmp_path).stdout, "env=bandit") == [6, 0, 0]
    kept = {path for path, written in manifests(outputs).items() if every[path] == written}
    assert {path.parent.name for path in every.keys() - kept} == {f"seed={k}" for k in range(6)}
    assert numbers(outputs) == wanted

    (cell,) = cells(outputs, "main")
    (cell.path / "seed=0" / "manifest.json").write_text('{"schema": 1,')
    curves = cell.path / "seed=1" / "curves.parquet"
    curves.write_bytes(curves.read_bytes()[:-9] + b"123456789")
    cell.discard(2)
    cell.save_checkpoint(2, 1, {}, {"iteration": [1]}, [])
    checkpoint = cell.path / ".unfinished" / "seed=2" / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    (cell.path / "config.yaml").write_text("overrides: [")
    mended = ablate(*SHORT, "seed=0-11", cwd=tmp_path)
    assert row(mended.stdout, "env=bandit") == [3, 9, 0]
    for what in ("seed=0/manifest.json", "seed=1/curves.parquet", "seed=2/checkpoint.npz", "config.yaml"):
        assert any(what in line and "set aside" in line for line in mended.stderr.splitlines()), mended.stderr
    assert len(list((cell.path / ".damaged").iterdir())) == 4
    assert numbers(outputs) == wanted
