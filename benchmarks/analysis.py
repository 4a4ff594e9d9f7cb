"""How long does a big study take to load and to put into tables, and with how much memory?

    python benchmarks/analysis.py [--runs 10000] [--rows 200] [--cells 100] [--keep DIR]

Made-up runs with the columns and the configuration of the main command, written by the store itself, so that every
file has its manifest and checksum. Each load is a process of its own: the first reads and checks every run and writes
the compacted file, the second reads that. Then the tables are made (all statistics, bootstrap included). Seconds are
from the start of the process, imports included; processor seconds tell a busy machine from a slow program; memory is
the peak resident set.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np


def build(outputs: Path, runs: int, rows: int, cells: int) -> None:
    from hydra import compose, initialize_config_dir

    from ablate.configuration import CONF, resolve
    from ablate.store import Cell

    rng = np.random.default_rng(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for number in range(cells):
            overrides = ["phi=rtg", f"iterations={rows}", f"optimizer.lr={(number + 1) * 1e-5:g}"]
            job = resolve(compose("config", overrides), overrides)
            cell = Cell.at(outputs, "big", job.overrides, job.config)
            cell.prepare()
            for seed in range(runs // cells):
                publish(cell, seed, rows, rng)


def publish(cell, seed: int, rows: int, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    """A run whose return rises to 500 with noise; nothing in it compresses well, as in a real one."""
    iteration = np.arange(1, rows + 1)
    rise = 500 / (1 + np.exp(-(iteration - rows * rng.uniform(0.2, 0.8)) / 10))
    names = ["return_std", "episode_length_mean", "entropy", "grad_norm", "wall_time"]
    curves = {"iteration": iteration, "env_steps": np.cumsum(rng.integers(300, 8000, rows)), "episodes": 16 * iteration}
    curves |= {"return_mean": rise + 20 * rng.standard_normal(rows)} | {x: rng.standard_normal(rows) for x in names}
    probe = [
        {"iteration": at, "mode": "online", "phi": "rtg", "baseline": "none", "critic": "none", "episodes": 64}
        | {name: float(x) for name, x in zip(NOISE, rng.lognormal(size=len(NOISE)), strict=True)}
        for at in (0, rows // 2, rows)
    ]
    told = {"iterations": rows, "env_steps": int(curves["env_steps"][-1]), "wall_time_s": 1.0, "started": "2026"}
    cell.finish(seed, curves, probe, told)


NOISE = [f"{name}{end}" for name in ("trace_variance", "snr", "nsr", "squared_signal") for end in ("", "_low", "_high")]


def load(outputs: Path) -> None:
    """Load, make tables; prints seconds of either since the start, and the peak memory in MB."""
    began = time.perf_counter()
    from ablate.analysis import frames, tables

    study = frames.load(outputs, "big")
    loaded = time.perf_counter() - began
    made = tables.tables(study)
    done = time.perf_counter() - began
    assert sum(len(frame) for frame in made.values()) > 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(loaded, done, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, len(study.curves))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="build the store here, or use the one that is here")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        return load(options.load)

    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        began = time.perf_counter()
        if not (outputs / "big").exists():
            build(outputs, options.runs, options.rows, options.cells)
            print(f"built {options.runs:,} runs x {options.rows} rows in {time.perf_counter() - began:.0f} s")
        (outputs / "big" / ".compacted.arrow").unlink(missing_ok=True)
        line = [sys.executable, "-P", __file__, "--load", str(outputs)]  # -P: this file is not the package analysis
        for name in ("first", "second"):
            said = subprocess.run(line, check=True, capture_output=True, text=True).stdout
            loaded, done, busy, memory, rows = map(float, said.split())
            times = f"load {loaded:.1f} s, with tables {done:.1f} s (processor {busy:.1f} s)"
            print(f"{name} time: {times}, peak {memory:.0f} MB, {rows:,.0f} rows")


if __name__ == "__main__":
    main()
