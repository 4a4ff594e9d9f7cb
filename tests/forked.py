"""Commands in processes that are forked from one which has loaded the engine: what a command costs is its own work.

    python tests/forked.py         serves commands over its standard input, a socket; ends with it

A command is `python -m ablate` as it is typed, in its own folder and environment, but that the interpreter and its
imports are there already; so is the server that forks its workers. `Running` starts commands from nothing.
"""

import atexit
import gc
import json
import multiprocessing.forkserver
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import resource_tracker, util
from pathlib import Path
from types import ModuleType
from typing import Any

LOCK = threading.Lock()  # one command at a time: a test process has one core


@cache
def _server() -> socket.socket:
    """The serving process, one for this one."""
    ours, theirs = socket.socketpair()
    subprocess.Popen([sys.executable, __file__], stdin=theirs, start_new_session=True)
    theirs.close()
    return ours


def run(words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess:
    """`python -m ablate WORDS` to its end, with what it wrote."""
    with LOCK, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        server = _server()
        server.settimeout(timeout)
        request = json.dumps({"words": [*words], "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(server, [len(request).to_bytes(8)], [out.fileno(), err.fileno()])
        server.sendall(request)
        code = int.from_bytes(server.recv(4, socket.MSG_WAITALL), signed=True)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(
            ["python", "-m", "ablate", *words], code, out.read().decode(), err.read().decode()
        )


def _serve() -> None:
    import ablate.command_line
    import ablate.runs.train  # noqa: F401

    gc.collect()
    gc.freeze()  # what is loaded is not looked at again, and so not copied
    asked = socket.socket(fileno=os.dup(0))
    while True:
        length, descriptors, _, _ = socket.recv_fds(asked, 8, 2)
        if not length:
            return
        request = json.loads(asked.recv(int.from_bytes(length), socket.MSG_WAITALL))
        child = os.fork()
        if not child:
            asked.close()
            _become(request, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asked.sendall(code.to_bytes(4, signed=True))


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be the command: of the process that served nothing is left but what it has loaded."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    before = set(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:1] = [os.getcwd(), *(folder for folder in path if folder and folder not in before)]
    util.spawnv_passfds = _spawn
    sys.argv = ["ablate", *request["words"]]
    try:
        runpy.run_module("ablate", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


def _spawn(path: Any, args: Sequence[Any], passfds: Sequence[int], start: Any = util.spawnv_passfds) -> int:
    """Fork the server of workers in place of starting it; all else is started."""
    *_, code = map(os.fsdecode, args)
    if not code.startswith("from multiprocessing.forkserver import main"):
        return start(path, args, passfds)
    child = os.fork()
    if child:
        return child
    code_of_exit = 1
    try:
        keep = sorted({0, 1, 2, *passfds})
        for low, high in zip(keep, [*keep[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, high)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        multiprocessing.forkserver._forkserver.__init__()
        resource_tracker._resource_tracker.__init__()
        sys.modules["__main__"] = ModuleType("__main__")
        exec(code, {})
        code_of_exit = 0
    finally:
        os._exit(code_of_exit)


if __name__ == "__main__":
    _serve()
