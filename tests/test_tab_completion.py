"""Tab completion, typed into a real bash: of `ablate` and of `python -m ablate`."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ablate.commands._completion import found

PATIENCE = 240  # seconds
BASH = shutil.which("bash")


class Bash:
    """An interactive bash at a terminal, in a folder where a study `pilot` is."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        for name, words in (("ablate", "-m ablate"), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (programs / name).chmod(0o755)
        (folder / "outputs" / "pilot").mkdir(parents=True)
        ours, theirs = pty.openpty()
        env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb", "COLUMNS": "500"}
        self.process = subprocess.Popen(
            [str(BASH), "--norc", "--noprofile", "-i"],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.terminal = ours

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def until(self, text: str) -> str:
        seen, deadline = "", time.monotonic() + PATIENCE
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 1 << 16).decode(errors="replace").replace("\a", "")
        return seen


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bash]:
    shell = Bash(tmp_path_factory.mktemp("bash"))
    shell.type('eval "$(ablate -sc install=bash)"; echo rea""dy\n')
    shell.until("ready")
    yield shell
    shell.process.kill()
    shell.process.wait()
    with suppress(OSError):
        os.close(shell.terminal)


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ablate rep", "ablate report "),
        ("python -m ablate rep", "python -m ablate report "),
        ("ablate report --ou", "ablate report --out"),
        ("ablate report pi", "ablate report pilot "),
        ("ablate -m phi=return,adv", "ablate -m phi=return,advantage "),
        ("python -m ablate optimizer=sgd optimizer.l", "python -m ablate optimizer=sgd optimizer.lr="),
        ("python -m ablate.exact --hor", "python -m ablate.exact --horizon "),
    ],
)
def test_a_word_is_completed(bash: Bash, typed: str, completed: str) -> None:
    bash.type(f"{typed}\t")
    bash.until(completed)
    bash.type("\x15")  # forget the line


def test_what_follows_a_command_is_its_own() -> None:
    def settings(line: str) -> list[str]:
        raise AssertionError("Hydra was asked")

    assert "--horizon" in found("ablate exact --", settings)
    assert "--horizon" not in found("ablate exact --horizon 3 --", settings)
    assert found("ablate exact prize", settings) == []
