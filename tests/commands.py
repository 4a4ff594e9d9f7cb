"""What the tests of the command line share: `python -m ablate` in a process of its own, and what it left on disk."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pyarrow.parquet as pq

from ablate.store import Cell, cells

PATIENCE = 240  # seconds; nothing here is about speed
Numbers = dict[tuple[str, int], dict[str, object]]


def command(*words: str) -> list[str]:
    """`python -m ablate WORDS`; of one job, into the study of sweeps."""
    named = any(word.startswith(("-", "study")) for word in words) or not any("=" in word for word in words)
    return [sys.executable, "-m", "ablate", *words, *([] if named else ["study=main"])]


def ablate(*words: str, cwd: Path, exit_code: int = 0, **env: str) -> subprocess.CompletedProcess:
    """Run a command to its end, which must be the given exit code and must not show a stack trace."""
    typed, more = command(*words), os.environ | {"COLUMNS": "160"} | env
    if any(word.startswith(("hydra/launcher=", "workers=dask")) for word in words):  # whose processes start anew
        done = subprocess.run(typed, cwd=cwd, env=more, capture_output=True, text=True, timeout=PATIENCE)
    else:
        done = forked.run(typed[3:], cwd, more, PATIENCE)
    assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


class Running:
    """A command under way in a process group of its own, its output in files so that no pipe holds it up."""

    def __init__(self, *words: str, cwd: Path, **more: Any) -> None:
        # Ctrl-C is heard even where the tests themselves run in the background of a shell, which ignores it.
        more = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | more
        self.signalled = 0  # when it was interrupted, in nanoseconds
        self.log = cwd / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command(*words), cwd=cwd, stdout=log, stderr=log, start_new_session=True, **more
            )
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something holds; returns it. The command must not end before."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None  # before the look: what it did last still counts
            if found := condition():
                return found
            assert not ended, f"ended too early\n{self.output}"
            assert time.monotonic() < deadline, f"waited in vain\n{self.output}"
            time.sleep(0.02)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def send_to_group(self, number: int) -> None:
        os.killpg(self.pid, number)

    def wait(self) -> int:
        """The exit code, once the command and all processes of its group have ended by themselves."""
        exit_code = self.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while alive := self.group():
            assert time.monotonic() < deadline, f"still alive: {alive}\n{self.output}"
            time.sleep(0.05)
        return exit_code

    def group(self) -> dict[int, str]:
        """The command lines of the processes of the group that are alive, by process id."""
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,pgid=,stat=,args="], capture_output=True, text=True
        ).stdout
        rows = [line.split(None, 3) for line in listing.splitlines()]
        return {
            int(row[0]): row[-1] for row in rows if len(row) == 4 and int(row[1]) == self.pid and row[2][0] not in "ZX"
        }

    def workers(self) -> list[int]:
        """The worker processes: forked by the server, so of its command line, and started after it."""
        servers = [pid for pid, line in self.group().items() if "multiprocessing.forkserver" in line]
        return sorted(servers)[1:]

    def kill(self) -> None:
        """End whatever is left, at the end of a test."""
        if self.process.poll() is None or self.group():
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)


def numbers(outputs: Path) -> Numbers:
    """All that was recorded of every finished run but the wall time, numbers in bytes."""
    runs = {(cell.name, seed): manifest_of(cell, seed) for cell in cells(outputs, "main") for seed in cell.seeds()}
    return {run: columns(manifest.parent) for run, manifest in runs.items() if manifest}


def columns(run: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(run.glob("*.parquet")):
        table = pq.ParquetFile(path).read()
        for name in table.column_names:
            values = table[name].to_numpy()
            found[f"{path.stem} {name}"] = values.tolist() if values.dtype == object else values.tobytes()
    assert found, f"{run} has no tables"
    del found["curves wall_time"]
    return found


def manifest_of(cell: Cell, seed: int) -> Path | None:
    """Of a complete or diverged run, which must be sound."""
    status = cell.status(seed)
    assert status != "damaged", (cell, seed)
    home = {"complete": f"seed={seed}", "diverged": f".unfinished/seed={seed}/diverged"}
    return cell.path / home[status] / "manifest.json" if status in home else None


def at_seed(seed: int, found: Numbers) -> Numbers:
    return {run: tables for run, tables in found.items() if run[1] == seed}


def manifests(outputs: Path) -> dict[Path, tuple[int, bytes]]:
    """When each finished run was written, and what its manifest says."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(outputs.glob("main/*/seed=*/*.json"))}


def checkpoints(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("main/*/.unfinished/seed=*/checkpoint.npz"))


def row(printed: str, label: str) -> list[int]:
    """Runs trained, done before and failed, as the last table that was printed has it for a cell; long names are
    folded, and what all cells share is said below."""
    lines = printed[printed.rfind("variant ") :].splitlines()[1:]
    shared = next((line.removeprefix("all: ") for line in lines if line.startswith("all: ")), "")
    rows: list[tuple[str, list[int]]] = []
    for line in lines:
        if counts := re.match(r"(.*?\S)\s{2,}(\d+)/(\d+) \((\d+) new\)\s", line):
            done, asked, new = map(int, counts.groups()[1:])
            rows.append((counts[1], [new, done - new, asked - done]))
        elif line.startswith(("return: ", "runs: ", "all: ")):
            break
        elif rows:
            rows[-1] = f"{rows[-1][0]} {line.strip()}", rows[-1][1]
    found = [counts for name, counts in rows if set(label.split()) <= {*name.split(), *shared.split()}]
    assert found, printed
    return found[0]
