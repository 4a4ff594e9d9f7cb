"""From what Hydra composed to a job: each setting in its range, what was left open filled in, and all held together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ablate.configuration.allowed_settings import check_shape
from ablate.configuration.checks import check
from ablate.configuration.defaults import complete
from ablate.configuration.file_digests import digest
from ablate.configuration.ranges import Dask, check_ranges, processes
from ablate.configuration.seeds import parse_seeds
from ablate.errors import UserError


@dataclass(frozen=True)
class Job:
    """One job, checked: a resolved configuration, the seeds to run it with, and how."""

    config: dict[str, Any]
    overrides: tuple[str, ...]  # what was typed, for the name of the cell
    seeds: tuple[int, ...]
    workers: int | Dask | None  # processes; None: one a core
    outputs: str
    study: str
    overwrite: bool
    checkpoint_seconds: float


def resolve(composed: DictConfig, overrides: Sequence[str]) -> Job:
    """The job of a configuration that Hydra composed of the typed `overrides`.

    Raises UserError on every setting that is out of its range or goes with nothing.
    """
    if missing := sorted(OmegaConf.missing_keys(composed)):
        raise UserError(f"{missing[0]} has no value; add {missing[0]}=...")
    asked: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    check_shape(asked, overrides)
    check_ranges(asked)
    seeds, workers = parse_seeds(asked.pop("seed")), processes(asked.pop("workers"), asked.pop("dask"))
    outputs, study, overwrite = asked.pop("outputs"), asked.pop("study")["name"], asked.pop("overwrite")
    checkpoint_seconds, _ = asked.pop("checkpoint_seconds"), asked.pop("tracking")  # which is of the sweep
    config = complete(asked)
    check(asked, config, overrides)
    if digests := {path: digest(path) for path in _paths(config["env"])}:
        config["files"] = digests
    return Job(config, tuple(overrides), seeds, workers, outputs, study, overwrite, checkpoint_seconds)


def _paths(node: Any) -> list[str]:
    """The files that an environment is read from."""
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key == "path" and isinstance(value, str)]
    return own + [path for key, value in node.items() if key != "kwargs" for path in _paths(value)]
