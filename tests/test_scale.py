"""What must not grow faster than the work: sweeps of many cells."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE, ablate

COUNTING = """
import sys
from hydra._internal.config_loader_impl import ConfigLoaderImpl
own, composed = ConfigLoaderImpl.load_sweep_config, []
def load_sweep_config(self, master_config, sweep_overrides):
    composed.append(sweep_overrides)
    return own(self, master_config, sweep_overrides)
ConfigLoaderImpl.load_sweep_config = load_sweep_config
from ablate.__main__ import main
try:
    main()
finally:
    print("composed", len(composed))
"""
TINY = "env=bandit", "iterations=1", "episodes=2", "probe=off"


@pytest.mark.parametrize("batch", [(), ("hydra.sweeper.max_batch_size=1",)])
def test_each_job_is_composed_once(batch: tuple[str, ...], tmp_path: Path) -> None:
    words = ["-m", *TINY, "phi=return,rtg", "seed=0", *batch]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *words], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout.splitlines()[-1] == "composed 2", done.stderr
    assert len(list(tmp_path.glob("outputs/main/*/seed=0/manifest.json"))) == 2


def test_a_job_that_cannot_be_composed_leaves_nothing_of_those_before_it(tmp_path: Path) -> None:
    done = ablate("-m", *TINY, "phi=return,rtg,retrun", cwd=tmp_path, exit_code=2)
    assert done.stderr.startswith("ablate: phi=retrun is not a choice; did you mean phi=return?")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_process_that_trains_loads_nothing_that_it_does_not_need() -> None:
    code = "import sys, ablate.runs.preload; print(*{'scipy.stats', 'pandas', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.split() == []
