"""The command line: Hydra composes, run() runs. Imports no torch."""

import multiprocessing
import os
import re
import shlex
import signal
import sys
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ablate.configuration import CONF, RANGES, Config, Impossible, resolve
from ablate.refusal import Refusal
from ablate.screen import Screen, error
from ablate.standard_streams import steady

NO_CHOICE = "Config group override must be"  # the one bad input that Hydra answers with an exception of Python's own


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(composed: DictConfig) -> None:
    from ablate import store
    from ablate.run import Summary, run
    from ablate.workers import follow_parent

    context = HydraConfig.get()
    overrides = list(context.overrides.task)
    label = " ".join(filter(store.names_cell, overrides)) or "default"
    launcher = context.launcher._target_
    screen = Screen(live=None if launcher.endswith("BasicLauncher") else False)
    if "joblib" in launcher and composed.workers == "auto":
        composed.workers = 1  # the launcher shares out this machine's cores already
    if multiprocessing.current_process().name != "MainProcess":
        follow_parent()
    try:
        summary = run(resolve(composed, overrides), label, screen)
    except Refusal as refusal:
        summary = Summary(label, refused=str(refusal), impossible=isinstance(refusal, Impossible))
    except SystemExit as left:  # user code is tried before the workers get it
        summary = Summary(label, refused=f"its code raised SystemExit({left}), as sys.exit does, as it was set up")
    store.record_job(Path(context.runtime.output_dir), asdict(summary))


def main() -> None:
    """Run the command line; exits with 0, 1 (something failed), 2 (refused) or 130 (interrupted)."""
    traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # Hydra wants it first
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    steady()
    try:
        job()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # once more ends at once
        error("interrupted. What is finished is kept and what was under way is saved; the same command goes on:")
        again = [word for word in sys.argv[1:] if not word.startswith("overwrite=")]  # that would begin anew
        print(f"  python -m ablate {shlex.join(again)}", file=sys.stderr)
        sys.exit(130)
    except (HydraException, OmegaConfBaseException, Refusal, ValueError) as problem:
        if traces or (isinstance(problem, ValueError) and not str(problem).startswith(NO_CHOICE)):
            raise
        if "ablate.sweep" in sys.modules:
            sys.modules["ablate.sweep"].Sweep.refused()
        error(_one_line(problem))
        sys.exit(2)
    if "ablate.sweep" in sys.modules:
        sweep = sys.modules["ablate.sweep"].Sweep
        if sweep.error:
            raise sweep.error
        sys.exit(sweep.exit_code)


def _one_line(problem: Exception) -> str:
    """What Hydra says of a command line that it cannot compose, in one line with the remedy."""
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file and problem.options:
        group, _, choice = problem.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is not a choice; write {group}= one of {', '.join(problem.options)}"
    said = " ".join(str(problem).split())
    cause = " ".join(str(problem.__cause__ or "").split("full_key")[0].split())
    if match := re.match(r"Ambiguous value for argument '(.*?)'", said):
        key, _, value = match[1].partition("=")
        return f"{match[1]} is several values: add -m to sweep over them, or write '{key}=\"{value}\"' for one job"
    if match := re.match(r"Could not override '(.*?)'", said):
        close = get_close_matches(match[1], Config.__dataclass_fields__, n=1) if "." not in match[1] else []
        meant = f"did you mean {close[0]}? " if close else ""
        return (
            f"{match[1]} is not a setting here; {meant}`python -m ablate --help` lists them, `--cfg job` shows them all"
        )
    if match := re.match(r"Error merging override ((.*?)=.*)", said):
        if match[2] in RANGES:
            _, what, example = RANGES[match[2]]
            return f"{match[1]} is not {what}; write for example {match[2]}={example}"
        return f"{match[1]}: {cause}" + ("; write true or false" if "bool" in cause else "")
    return f"{said} ({cause})" if cause else said


if __name__ == "__main__":
    main()
