"""What a run comes to does not depend on who reads what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE, command, row

from ablate.standard_streams import SafeStream

INSTALL = "from ablate.standard_streams import install_safe_streams; install_safe_streams(); import sys;"
WORDS = "env=gym", "iterations=2", "episodes=2", "probe=off", "workers=1", "threshold=9"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
def test_a_character_that_cannot_be_shown_is_another(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding=encoding) as stream:
        SafeStream(stream).write("\u03b3 \u221e \udcff\U0001f600 x\n")
    shown = path.read_bytes().decode(encoding)
    assert shown.endswith(" x\n")
    assert "?" in shown


def test_what_nobody_takes_is_forgotten() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    safe = SafeStream(stream)
    for _ in range(3):
        assert safe.write("x" * 100_000) == 100_000
        safe.flush()
    stream.close()  # which flushes too


@pytest.mark.parametrize("shell", [">/dev/full", ">&-", "2>&-", ">&- 2>&- <&-", "| true", "2>/dev/full"])
def test_python_ends_with_the_exit_code_that_was_meant(shell: str) -> None:
    code = f"{INSTALL} print('x' * 100000); print('y', file=sys.stderr); sys.exit(7)"
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {shell}', sys.executable, code],
        timeout=PATIENCE,
        capture_output=True,
    )
    assert done.returncode == 7, done.stderr


def test_a_file_that_is_opened_does_not_become_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "file"
    code = f"{INSTALL} f = open({str(path)!r}, 'w'); print('shown'); import os; os.write(1, b'shown'); sys.exit(7)"
    assert subprocess.run(["bash", "-c", '"$0" -c "$1" >&-', sys.executable, code], timeout=PATIENCE).returncode == 7
    assert path.read_text() == ""


@pytest.mark.parametrize(("kind", "exit_code"), [("NanReward", 1), ("OneBuffer", 0)])
def test_the_command_ends_with_the_same_exit_code(kind: str, exit_code: int, tmp_path: Path) -> None:
    """The table has an infinity in it, and ASCII has none."""
    more = ["policy=gaussian"] if kind == "OneBuffer" else []
    words = command(*WORDS, f"env.id=odd_environments:{kind}-v0", *more)
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        ["bash", "-c", '"$0" "$@" >out 2>/dev/full', *words],
        cwd=tmp_path,
        env=env,
        timeout=PATIENCE,
        capture_output=True,
    )
    assert done.returncode == exit_code, done.stderr
    assert row((tmp_path / "out").read_text(), "env=gym") == [1 - exit_code, 0, exit_code]
