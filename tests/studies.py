"""Studies on disk whose numbers the tests of the analysis make up, with configurations that the engine resolves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from conftest import compose

from ablate.store import Cell

STEPS = 10  # env steps an iteration


def cell(outputs: Path, *overrides: str, study: str = "main") -> Cell:
    job = compose(*overrides)
    made = Cell.at(outputs, study, job.overrides, job.config)
    made.prepare()
    return made


def run(made: Cell, seed: int, returns: Sequence[float], probe: Sequence[Mapping] = (), **columns: Sequence) -> None:
    """A complete run with a return an iteration, of STEPS env steps each."""
    number = np.arange(1, len(returns) + 1)
    curves = {"iteration": number, "env_steps": STEPS * number, "episodes": number, "return_mean": list(returns)}
    rest = {"grad_norm": np.ones(len(number)), "wall_time": 0.1 * number}
    manifest = {"iterations": len(number), "env_steps": STEPS * len(number), "wall_time_s": 1.0, "started": "2026"}
    made.finish(seed, curves | rest | columns, list(probe), manifest)


def online(trace: float, snr: float, last: int, phi: str = "rtg", baseline: str = "none") -> list[dict]:
    """Rows of an online probe at the first and the last policy."""
    limits = {
        "trace_variance_low": trace / 2,
        "trace_variance_high": 2 * trace,
        "snr_low": snr / 2,
        "snr_high": 2 * snr,
    }
    noise = {"trace_variance": trace, "snr": snr, "nsr": 1 / snr, **limits, "critic": "none"}
    named = {"mode": "online", "phi": phi, "baseline": baseline}
    return [{"iteration": iteration, **named, **noise} for iteration in (0, last)]
