"""Studies for the tests of reports: runs of made-up returns, whose configurations the engine resolves."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import compose

from ablate.store import Cell

ROWS = 10
STARTED = {"iterations": ROWS, "wall_time_s": 0.5, "started": "2026-01-01T00:00:00+00:00"}


def cell(outputs: Path, study: str, *overrides: str, **about: str) -> Cell:
    """Its Phi may say other things of itself."""
    job = compose(f"study.name={study}", f"iterations={ROWS}", "env=chain", "threshold=50", *overrides)
    config = json.loads(json.dumps(job.config))
    if about:
        config["phi"]["about"] |= about
    made = Cell.at(outputs, study, job.overrides, config)
    made.prepare()
    return made


def finish(
    made: Cell, seed: int, returns: Sequence[float], noise: float | None = None, informative: float = 64.0
) -> None:
    """A complete run of 100 env steps an iteration with these returns, whose first probe saw this trace variance, made
    by so many episodes."""
    steps = 100 * np.arange(1, ROWS + 1)
    rows = {"iteration": np.arange(1, ROWS + 1), "env_steps": steps, "episodes": steps // 10, "return_mean": returns}
    probe = {"mode": "online", "phi": made.config["phi"]["name"], "baseline": "none", "critic": "none"}
    seen = {**limits("trace_variance", noise), **ratios(noise), "informative": informative} if noise is not None else {}
    measured = [{"iteration": 0, **probe, **seen}] if seen else []
    made.finish(seed, rows, measured, STARTED | {"env_steps": int(steps[-1])})


def limits(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_low": 0.9 * value, f"{name}_high": 1.1 * value}


def ratios(noise: float) -> dict[str, float]:
    """Of a signal of length 1."""
    return limits("snr", 1 / noise) | {"nsr": noise, "nsr_low": noise / 1.1, "nsr_high": noise / 0.9}


def climb(top: float, seed: int) -> np.ndarray:
    """From 0 to `top`, give or take one."""
    return np.linspace(0, top, ROWS) + seed % 3 - 1


def many(outputs: Path, study: str, cells: int, variant: str = "phi=rtg") -> None:
    """One variant at so many step sizes, with three seeds each; cell k, from 1 on, ends at k."""
    job = compose(f"study.name={study}", f"iterations={ROWS}", "env=chain", variant)
    for k in range(1, cells + 1):
        config = copy.deepcopy(job.config)
        config["optimizer"]["lr"] = k / 1000
        made = Cell.at(outputs, study, [*job.overrides, f"optimizer.lr={k / 1000}"], config)
        made.prepare()
        for seed in range(3):
            finish(made, seed, climb(k, seed), 10.0)
