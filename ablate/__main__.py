"""The command line: Hydra composes, run() runs. Imports no torch."""

import os
import shlex
import signal
import sys
from dataclasses import asdict
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate import help
from ablate.config import CONF, Config, Impossible, resolve
from ablate.refusal import Refusal
from ablate.screen import Screen, error


@cache
def _now() -> str:
    """The folder of this sweep's record: when it began, and which process."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}"


OmegaConf.register_new_resolver("ablate.now", _now, replace=True, use_cache=True)
OmegaConf.register_new_resolver("ablate.help", lambda: help.text(CONF).replace("$", "$$"), replace=True)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def job(composed: DictConfig) -> None:
    from ablate import store
    from ablate.run import Summary, run

    context = HydraConfig.get()
    overrides = list(context.overrides.task)
    label = " ".join(filter(store.names_cell, overrides)) or "default"
    alone = context.launcher._target_.endswith("BasicLauncher")
    screen = Screen(live=None if alone else False)
    try:
        summary = run(resolve(composed, overrides), label, screen)
    except Refusal as refusal:
        summary = Summary(label, refused=str(refusal), impossible=isinstance(refusal, Impossible))
    store.record_job(Path(context.runtime.output_dir), asdict(summary))


def main() -> None:
    """Run the command line; exits with 0, 1 (something failed), 2 (refused) or 130 (interrupted)."""
    traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        job()
    except KeyboardInterrupt:
        error("interrupted. What is finished is kept and what was under way is saved; the same command goes on:")
        print(f"  python -m ablate {shlex.join(sys.argv[1:])}", file=sys.stderr)
        sys.exit(130)
    except (HydraException, OmegaConfBaseException, Refusal) as problem:
        if traces:
            raise
        error(_one_line(problem))
        sys.exit(2)
    if "ablate.sweep" in sys.modules:
        sys.exit(sys.modules["ablate.sweep"].Sweep.exit_code)


def _one_line(problem: Exception) -> str:
    """What Hydra says of a command line that it cannot compose, in one line with the remedy."""
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file and problem.options:
        group, _, choice = problem.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is not a choice; write {group}= one of {', '.join(problem.options)}"
    said = " ".join(str(problem).split())
    match said.split("'"):
        case ["Could not override ", key, *_]:
            return f"{key} is not a setting{_meant(key)}; `python -m ablate --help` lists them"
    cause: Any = problem.__cause__
    return said + (f" ({' '.join(str(cause).split('full_key')[0].split())})" if cause else "")


def _meant(key: str) -> str:
    names = [
        *Config.__dataclass_fields__,
        "phi.gae_lambda",
        "optimizer.lr",
        "critic.lr",
        "critic.td_lambda",
        "policy.hidden",
    ]
    close = get_close_matches(key, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


if __name__ == "__main__":
    main()
