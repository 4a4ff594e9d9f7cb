"""What the tests of the store keep: a configuration, a run of it, and how to list what is there."""

from pathlib import Path
from typing import Any

import numpy as np

CONFIG: dict[str, Any] = {
    "phi": {"_target_": "ablate.phi.Advantage", "order": 3, "about": {"label": "A", "needs": ["V"], "order": 3}},
    "env": {"id": "CartPole-v1", "horizon": 500, "kwargs": {"order": 2}},
    "episodes": 16,
    "gamma": 0.99,
    "threshold": 400,
    "seed": "0-9",
    "workers": "auto",
    "outputs": "outputs",
    "overwrite": False,
    "checkpoint_seconds": 30,
    "study": "pilot",
}
MANIFEST = {"iterations": 3, "env_steps": 90, "wall_time_s": 1.5, "started": "2026-01-01T00:00:00+00:00"}
CURVES = {
    "iteration": [1, 2, 3],
    "env_steps": np.array([30, 60, 90]),
    "episodes": [1, 2, 3],
    "return_mean": np.array([1.0, np.nan, -np.inf]),
    "wall_time": [0.1, 0.2, 0.3],
}
PROBE = [{"iteration": 1, "estimator": "rtg", "variance": 0.5}, {"iteration": 2, "estimator": "rtg", "bias": np.nan}]
ARRAYS = {"weights/0": np.arange(6.0).reshape(2, 3), "file": np.array(7, np.uint64), "empty": np.zeros((0, 2))}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
