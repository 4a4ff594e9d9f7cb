"""The settings of a run, as Hydra is told of them. Imports nothing heavy."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from ablate.configuration import help

# In a checkout conf/ stands beside the package, in a wheel inside it.
PACKAGE = Path(__file__).parents[1]
CONF = next(p for p in (PACKAGE / "conf", PACKAGE.parent / "conf") if p.is_dir())


@dataclass
class Config:
    """The types of conf/config.yaml, which has the defaults and says what each setting means."""

    seed: Any = MISSING
    iterations: int = MISSING
    env_steps: int | None = MISSING
    episodes: int = MISSING
    batch_steps: int | None = MISSING
    gamma: float = MISSING
    discount_scores: bool = MISSING
    whiten: bool = MISSING
    threshold: float | None = MISSING
    workers: Any = MISSING
    outputs: str = MISSING
    overwrite: bool = MISSING
    checkpoint_seconds: float = MISSING
    tracking: str | None = MISSING
    dask: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    critic: dict[str, Any] = field(default_factory=dict)
    algorithm: dict[str, Any] = field(default_factory=dict)
    phi: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    advantage: dict[str, Any] = field(default_factory=dict)
    aggregation: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)


def records(outputs: str) -> str:
    """Where a sweep keeps what became of its jobs: named by when it began, and by what no other sweep draws, on
    whatever machine. OmegaConf calls it once a sweep, also where its jobs have several `outputs`."""
    return f"{outputs}/.sweeps/{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(4)}"


def help_text() -> str:
    return help.text(CONF).replace("$", "$$")  # Hydra fills in $names


ConfigStore.instance().store(name="schema", node=Config, provider="ablate")
OmegaConf.register_new_resolver("ablate.records", records, replace=True, use_cache=True)
OmegaConf.register_new_resolver("ablate.help", help_text, replace=True)
