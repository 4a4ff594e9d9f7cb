"""What the store endures: kills, losses of power, full disks, overwriting races and flipped bits, as a Markdown table.

    python benchmarks/endurance.py [--share 0.1] [ATTACK ...]

An attempt fails if a result is lost, changed or half-written, if damage is not told, or if a stack trace is seen.
`--share` makes fewer attempts of each attack. Mounting a small disk takes root; without it that attack is left out.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.parquet as pq

from ablate import store
from ablate.errors import UserError
from ablate.store import Cell, study

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # in place of benchmarks/, where a module is called analysis, too
from disks import PowerLoss, full_from  # noqa: E402
from test_disk import acts, assert_whole, life  # noqa: E402
from test_store_kills import hammer, judge  # noqa: E402

SWEEP = ("-m", "phi=return,rtg", "env=chain", "iterations=60", "episodes=8", "seed=0-3", "workers=2")
WORDS = (*SWEEP, "checkpoint_seconds=0.01", "probe.episodes=64")
Failures = list[str]


def start(outputs: Path, *more: str, words: Sequence[str] = WORDS) -> subprocess.Popen:
    command = [sys.executable, "-m", "ablate", *words, f"outputs={outputs}", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)  # type: ignore[call-overload]


def finish(outputs: Path, *more: str, words: Sequence[str] = WORDS, timeout: float = 300) -> tuple[int, str]:
    process = start(outputs, *more, words=words)
    said, _ = process.communicate(timeout=timeout)
    return process.returncode, said


def numbers(outputs: Path) -> dict[str, object]:
    """All that was recorded but the wall time, by file and column."""
    found: dict[str, object] = {}
    for path in sorted((outputs / "main").glob("*/seed=*/*.parquet")):
        table = pq.ParquetFile(path).read()
        for name in table.column_names:
            if name != "wall_time":
                values = table[name].to_numpy()
                key = f"{path.relative_to(outputs)} {name}"
                found[key] = values.tolist() if values.dtype == object else values.tobytes()
    return found


def traces(said: str) -> Failures:
    shown = [text for text in ("Traceback", "Error executing job", "Error in call") if text in said]
    return [f"{shown[0]}: {said[-2000:]}"] if shown else []


def damaged(outputs: Path) -> Failures:
    if not (outputs / "main").is_dir():
        return []
    cells, strays = store.scan(outputs, "main")
    found = [f"{stray.path}: {stray.reason}" for stray in strays if "config.yaml is missing" not in stray.reason]
    return found + [
        f"{cell.name} {s} is damaged" for cell in cells for s in cell.seeds() if cell.status(s) == "damaged"
    ]


def unfinished(outputs: Path, wanted: Mapping[str, object]) -> Failures:
    """What is wrong once the same command has gone on to the end: what it says, its exit code, its numbers."""
    code, said = finish(outputs)
    failures = traces(said) + ([f"exit code {code}"] if code else [])
    return failures + ([] if numbers(outputs) == wanted else ["other bits at the end"])


@contextmanager
def folder(memory: bool = False) -> Iterator[Path]:
    """An empty one; in memory where that is at hand, since an fsync is quick there."""
    place = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as made:
        yield Path(made)


# --------------------------------------------------------------------------------------------- the attacks


def kills_of_the_store(attempts: int) -> tuple[int, Failures]:
    """A process that writes checkpoints, results and failures of a seed is killed at a random moment."""
    dice, failures = random.Random(0), []
    with folder() as outputs, hammer(outputs, "time") as strike:
        for _ in range(attempts):
            strike(dice.uniform(0, 0.08))
            try:
                judge(outputs)
            except AssertionError as error:
                failures.append(str(error))
    return attempts, failures


def kills_of_the_command(attempts: int) -> tuple[int, Failures]:
    """A sweep and its workers are killed at a random moment, again and again, until it is done; bits are compared."""
    dice, failures = random.Random(1), Failures()
    with folder() as undisturbed, folder() as outputs:
        finish(undisturbed)
        wanted = numbers(undisturbed)
        for _ in range(attempts):
            process = start(outputs)
            try:
                said, _ = process.communicate(timeout=dice.uniform(1.5, 7))
                failures += traces(said)
                if numbers(outputs) != wanted:
                    failures.append("other bits")
                shutil.rmtree(outputs / "main", ignore_errors=True)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                failures += traces(process.communicate()[0])
            failures += damaged(outputs)
        failures += unfinished(outputs, wanted)
    return attempts, failures


def losses_of_power(attempts: int) -> tuple[int, Failures]:
    """Before each file operation of a seed's life, the disk as it may be found: files at their last fsync, the names in
    each folder at theirs or as they are."""
    states, failures, dice = 0, Failures(), random.Random(2)

    def crashed(disk: PowerLoss) -> None:
        nonlocal states
        for drawn in (None, *[dice] * attempts):
            with folder(memory=True) as found:
                disk.state(found, drawn)
                states += 1
                try:
                    assert_whole(found)
                except (AssertionError, UserError) as error:
                    failures.append(str(error))

    with folder(memory=True) as outputs:
        disk = PowerLoss(outputs, crashed)
        with disk.watched():
            for _ in life(outputs):
                pass
    return states, failures


def full_disks_at_any_operation(attempts: int) -> tuple[int, Failures]:
    """The n-th file operation that takes room and all after it find none, or the n-th alone, for every n; then the same
    calls with room."""
    tried, failures = 0, Failures()
    for once in (True, False):
        for number in range(attempts):
            with folder(memory=True) as outputs:
                tried += 1
                with full_from(number, outputs, once) as failed:
                    for act in acts(outputs):
                        try:
                            act()
                        except UserError as error:
                            failures += [] if "no space is left" in str(error) else [str(error)]
                        except Exception as error:
                            failures.append(repr(error))
                for act in acts(outputs):
                    act()
                try:
                    assert assert_whole(outputs) == "complete"
                except AssertionError as error:
                    failures.append(str(error))
            if not failed:
                break
    return tried, failures


def full_small_disks(attempts: int) -> tuple[int, Failures]:
    """A sweep on a disk of a few blocks or inodes; then the same command on the same disk, made larger."""
    failures, dice = Failures(), random.Random(3)
    with folder() as undisturbed, folder() as disk:
        finish(undisturbed)
        wanted = numbers(undisturbed)
        for attempt in range(attempts):
            blocks, inodes = (dice.randrange(17, 90), 0) if attempt % 2 else (0, dice.randrange(3, 45))
            options = f"size={blocks * 4}k" if blocks else f"size=64m,nr_inodes={inodes}"
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], capture_output=True
            ).returncode:
                return 0, []
            try:
                code, said = finish(disk / "outputs")
                failures += [f"{options}: {trace}" for trace in traces(said)]
                done = (disk / "outputs").exists() and numbers(disk / "outputs") == wanted
                failures += [f"{options}: exit code 0"] if code == 0 and not done else []
                failures += [f"{options}: {text}" for text in damaged(disk / "outputs")]
                subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=9999", str(disk)], check=True)
                code, said = finish(disk / "outputs")
                failures += [f"{options}, enlarged: {trace}" for trace in traces(said)]
                failures += [] if code == 0 and numbers(disk / "outputs") == wanted else [f"{options}: not finished"]
            finally:
                subprocess.run(["umount", str(disk)], check=True)
    return attempts, failures


def overwriting_races(attempts: int) -> tuple[int, Failures]:
    """A second process runs the same seeds anew (overwrite=true) while the first trains them."""
    failures, dice = Failures(), random.Random(4)
    with folder() as undisturbed:
        finish(undisturbed)
        wanted = numbers(undisturbed)
        for _ in range(attempts):
            with folder() as outputs:
                first = start(outputs)
                time.sleep(dice.uniform(1.5, 6))
                second = start(outputs, "overwrite=true")
                for process in (first, second):
                    failures += traces(process.communicate(timeout=300)[0])
                failures += damaged(outputs) + unfinished(outputs, wanted)
    return attempts, failures


def flipped_bits(attempts: int) -> tuple[int, Failures]:
    """A bit of every n-th byte of every file of a finished study: told, or nothing changes."""
    tried, failures, dice = 0, Failures(), random.Random(5)
    with folder(memory=True) as outputs:
        finish(outputs)
        kept = study.load(outputs, "main")
        cell = store.cells(outputs, "main")[0]
        for name in ("config.yaml", "seed=0/manifest.json", "seed=0/curves.parquet", "seed=0/probe.parquet"):
            path = cell.path / name
            for data in _flipped(path, dice, attempts):
                path.write_bytes(data)
                tried += 1
                try:
                    told = not any(cell == found for found in store.cells(outputs, "main"))
                    told |= Cell(cell.path).status(0) == "damaged"
                except UserError:
                    told = True
                failures += [] if told else [f"a flip of {name} is not told"]
            path.write_bytes(_whole[path])
        path = outputs / "main" / study.COMPACTED
        study.load(outputs, "main")
        state = study._state(outputs / "main")
        for data in _flipped(path, dice, attempts):
            path.write_bytes(data)
            tried += 1
            failures += [] if study._read(path, state) is None else ["a flip of the compacted file is believed"]
        after = study.load(outputs, "main")
        same = all(x.equals(y) for x, y in zip(vars(kept).values(), vars(after).values(), strict=True))
        failures += [] if same else ["the study changed"]
    return tried, failures


_whole: dict[Path, bytes] = {}


def _flipped(path: Path, dice: random.Random, attempts: int) -> Iterator[bytes]:
    whole = _whole[path] = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // attempts)):
        data = bytearray(whole)
        data[place] ^= 1 << dice.randrange(8)
        yield bytes(data)


@contextmanager
def dask(workers: int) -> Iterator[tuple[Path, list[subprocess.Popen]]]:
    """The file of a scheduler on this machine, and the processes of its workers, which nobody starts again."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    started: list[subprocess.Popen] = []

    def begin(kind: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words, "--scheduler-file", str(file)]
        started.append(subprocess.Popen(command, cwd=ROOT, **quiet))  # type: ignore[call-overload]

    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "scheduler.json"
        here = ("--host", "127.0.0.1", "--no-dashboard")
        begin("scheduler", *here, "--port", "0")
        for _ in range(workers):
            begin("worker", *here, "--no-nanny", "--nthreads", "1", "--local-directory", made)
        try:
            yield file, started[1:]
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def killed_dask_workers(attempts: int) -> tuple[int, Failures]:
    """So many runs, 10 seeds a cell, by 8 workers of Dask, two of which are killed when a third and two thirds of the
    cells are begun, and stay away; bits are compared with those of a plain sweep."""
    cells, failures = max(3, attempts // 10), Failures()
    rates = ",".join(f"{(k + 1) / 1e4:.4f}" for k in range(cells))
    tiny = ("-m", f"optimizer.lr={rates}", "env=bandit", "iterations=2", "episodes=2", "probe=off", "seed=0-9")
    with folder() as undisturbed, folder() as outputs, dask(8) as (scheduler, workers):
        began = time.monotonic()
        finish(undisturbed, words=tiny, timeout=3600)
        plain, began = time.monotonic() - began, time.monotonic()
        process = start(outputs, "workers=dask", f"dask.scheduler={scheduler}", words=tiny)
        marks, peak = [cells / 3, 2 * cells / 3], ""
        while process.poll() is None:
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                peak = next((line.split(":")[1].strip() for line in status if line.startswith("VmHWM")), peak)
            if marks and sum(1 for _ in outputs.glob("main/*/seed=9/manifest.json")) >= marks[0]:
                workers.pop().kill()
                marks.pop(0)
            time.sleep(0.1)
        said, seconds = process.communicate()[0], time.monotonic() - began
        failures += traces(said) + ([f"exit code {process.returncode}: {said[-500:]}"] if process.returncode else [])
        failures += ["all was done before two workers were killed"] if marks else []
        found = numbers(outputs)
        failures += [] if found == numbers(undisturbed) else ["other bits, or a run is lost"]
        runs = sum(1 for _ in outputs.glob("main/*/seed=*/manifest.json"))
        failures += [] if runs == 10 * cells else [f"{runs} runs of {10 * cells}"]
        files = sum(1 for path in outputs.rglob("*"))
    print(
        f"Dask: {runs:,} runs in {seconds:.0f} s, a plain sweep {plain:.0f} s; memory of the command at most {peak}, "
        f"{files:,} files and folders, {len(said.splitlines())} lines on the screen",
        flush=True,
    )
    return 10 * cells, failures


ATTACKS: dict[str, tuple[Callable[[int], tuple[int, Failures]], int]] = {
    "kills of a process that writes, at random moments": (kills_of_the_store, 500),
    "kills of a sweep and its workers, at random moments": (kills_of_the_command, 40),
    "losses of power, at every file operation": (losses_of_power, 10),
    "a full disk from every file operation on": (full_disks_at_any_operation, 200),
    "sweeps on a small disk, of blocks or inodes": (full_small_disks, 20),
    "overwrite=true while another process trains": (overwriting_races, 12),
    "flipped bits, over every file of a study": (flipped_bits, 4000),
    "Dask: runs, two of 8 workers killed on the way": (killed_dask_workers, 10_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--share", type=float, default=1.0, help="of the attempts (default: 1)")
    parser.add_argument("attack", nargs="*", help="words of the attacks to make (default: all)")
    options = parser.parse_args()
    rows, seen = [], Failures()
    for name, (attack, count) in ATTACKS.items():
        if options.attack and not any(word in name for word in options.attack):
            continue
        tried, failures = attack(max(1, round(count * options.share)))
        rows.append(f"| {name} | {tried:,} | {len(failures)} |")
        print(rows[-1], flush=True)
        seen += failures
    print("\n| attack | attempts | failures |\n|---|---:|---:|", *rows, sep="\n")
    for failure in dict.fromkeys(seen):
        print(f"\n{failure}", file=sys.stderr)
    sys.exit(1 if seen else 0)


if __name__ == "__main__":
    main()
