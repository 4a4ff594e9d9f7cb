"""What was typed: Hydra composes the jobs, a pool runs them. Imports no torch."""

import multiprocessing
import os
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ablate.configuration import CONF, Job, resolve
from ablate.configuration.arguments import arranged
from ablate.configuration.hydra_errors import COMPOSING, is_bad_input, message_of
from ablate.configuration.overrides import key
from ablate.configuration.sweeper import compose_once
from ablate.errors import UserError
from ablate.runs.progress import ProgressReporter


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(composed: DictConfig) -> None:
    from ablate import store
    from ablate.runs.pool import Pool
    from ablate.runs.sweep import Sweep
    from ablate.runs.workers import follow_parent

    context = HydraConfig.get()
    os.chdir(context.runtime.cwd)  # paths are those of the folder where the command was typed, also for hydra.job.chdir
    overrides: Any = OmegaConf.to_container(context.overrides.task, resolve=False)  # their ${...} are not ours
    if context.mode == RunMode.RUN and composed.study.name == "main" and not any(map(_names_study, overrides)):
        composed.study.name = "scratch"  # a try, which is not to be among the results of sweeps
    label = " ".join(x for x in overrides if store.names_cell(x) and not _names_study(x)) or "default"
    launcher = context.launcher._target_
    if "joblib" in launcher and composed.workers == "auto":
        composed.workers = 1  # the launcher shares out this machine's cores already
    if multiprocessing.current_process().name != "MainProcess":
        follow_parent()
    number = str(context.job.num) if context.mode == RunMode.MULTIRUN else ""
    record = Path(context.callbacks["sweep"].records) / number
    here = launcher.endswith("BasicLauncher")  # it runs nothing at once: all jobs are composed first
    pool = Sweep.pool if here else Pool(ProgressReporter(live=False))
    pool.take(record, label, lambda: _resolved(composed, overrides, _own_folder(context)))
    if not here:
        pool.finish()


def _names_study(override: str) -> bool:
    return key(override) in ("study", "study.name")


def _own_folder(context: Any) -> list[str]:
    """The option --config-dir as it was typed, which is needed to make the same runs again."""
    found = [source.path for source in context.runtime.config_sources if source.provider == "command-line"]
    paths = [Path(path.removeprefix("file://")) for path in found]
    inside = [path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in paths]
    return [f"--config-dir={path}" for path in inside]


def _resolved(composed: DictConfig, overrides: list[str], own_folder: list[str]) -> Job:
    try:
        job = resolve(composed, overrides)
        return replace(job, overrides=(*own_folder, *job.overrides))
    except Exception as problem:
        if is_bad_input(problem, overrides):
            raise UserError(message_of(problem, overrides)) from problem
        raise


def complete(what: str, shell: str) -> None:
    """Print a shell's script of tab completion, or what it asks for: how the line that was typed can go on."""
    from ablate.commands import _completion

    def settings(line: str) -> list[str]:
        os.environ["COMP_LINE"] = f"ablate {line}"
        with redirect_stdout(StringIO()) as said, suppress(Exception):
            job()
        return said.getvalue().split()

    if what == "install":
        print(_completion.SCRIPTS[shell])
    else:
        print(" ".join(_completion.found(os.environ["COMP_LINE"], settings)))


def run(typed: list[str]) -> int:
    """Let Hydra compose all jobs, and then run them; none where one cannot be composed. Those that it took down before
    any other error run, too. Returns the exit code."""
    sys.argv[1:] = arranged(typed)
    compose_once()
    try:
        job()
    except COMPOSING:
        raise
    except Exception:
        if "ablate.runs.sweep" in sys.modules:
            sys.modules["ablate.runs.sweep"].Sweep.pool.finish()
        raise
    return sys.modules["ablate.runs.sweep"].Sweep.end() if "ablate.runs.sweep" in sys.modules else 0
