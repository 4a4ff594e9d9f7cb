"""Tab completion, typed into real shells: of `ablate` and of `python -m ablate`."""

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ablate.commands._completion import found

PATIENCE = 240  # seconds
SHELLS = {
    "bash": ("--norc", "--noprofile", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--no-config", "-i"),
}
INSTALL = {
    "bash": 'eval "$(ablate -sc install=bash)"',
    "zsh": 'eval "$(ablate -sc install=zsh)"',
    "fish": "function fish_prompt; echo '$ '; end; ablate -sc install=fish | source",
}
CONTROLS = re.compile(r"\x1b\[[0-9;?>=]*[a-zA-Z]|\x1b[=>]|\x1b\][^\a]*\a|[\a\r]|.\x08")


class Shell:
    """An interactive shell at a terminal, in a folder where a study `pilot` is."""

    def __init__(self, name: str, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        for program, words in (("ablate", "-m ablate"), ("python", "")):
            (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (programs / program).chmod(0o755)
        (folder / "outputs" / "pilot").mkdir(parents=True)
        ours, theirs = pty.openpty()
        home = {"HOME": str(folder), "PS1": "$ ", "TERM": "dumb" if name != "fish" else "xterm", "COLUMNS": "500"}
        self.process = subprocess.Popen(
            [str(shutil.which(name)), *SHELLS[name]],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # fish wants a terminal of its own
            env=os.environ | home | {"PATH": f"{programs}:{os.environ['PATH']}"},
        )  # fmt: skip
        os.close(theirs)
        self.terminal = ours
        self.type(f'{INSTALL[name]}; echo rea""dy\n')
        self.until("ready")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def until(self, text: str) -> str:
        seen, deadline = "", time.monotonic() + PATIENCE
        while text not in CONTROLS.sub("", seen):
            assert time.monotonic() < deadline, seen
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 1 << 16).decode(errors="replace")
        return seen


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    shell = Shell(request.param, tmp_path_factory.mktemp(request.param))
    yield shell
    shell.process.kill()
    shell.process.wait()
    with suppress(OSError):
        os.close(shell.terminal)


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
def test_a_word_is_completed(shell: Shell, typed: str, completed: str) -> None:
    shell.type(f"{typed}\t")
    shell.until(completed)
    shell.type("\x15")  # forget the line


def test_what_follows_a_command_is_its_own() -> None:
    def settings(line: str) -> list[str]:
        raise AssertionError("Hydra was asked")

    assert "--horizon" in found("ablate exact --", settings)
    assert "--horizon" not in found("ablate exact --horizon 3 --", settings)
    assert found("ablate exact prize", settings) == []
