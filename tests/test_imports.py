"""Imports point downwards only: maths <- torch parts <- rollout <- learners and probe <- run <- the command line."""

import ast
from pathlib import Path

import pytest

import ablate
import analysis

LAYERS = (
    "refusal words files named_files budget returns curves randomness statistics lqg groups mdp phi baselines "
    "estimator trajectories exact finite user_code global_generators standard_streams resources schedules sequences",
    "envs networks optimizers",
    "policies",
    "gradients functional models",
    "critics rollout online",
    "learners build evaluation configuration",
    "probe probes exact_probe store",
    "apart",
    "train screen worker memory",
    "workers served",
    "run",
    "sweep audit commands",
)
HEIGHT = {f"ablate.{name}": height for height, names in enumerate(LAYERS) for name in names.split()}
TORCHLESS = {name for name in HEIGHT if HEIGHT[name] == 0}
KNOWN_PROBLEMS = "exact mdp lqg randomness envs"  # in numpy
READ_BY_ANALYSIS = {
    f"ablate.{name}"
    for name in f"store files words standard_streams curves statistics groups refusal {KNOWN_PROBLEMS}".split()
}


def modules(package) -> dict[str, Path]:
    root = Path(package.__file__).parent
    found = {
        ".".join((package.__name__, *path.relative_to(root).with_suffix("").parts)): path for path in root.rglob("*.py")
    }
    return {name: path for name, path in found.items() if not name.endswith(("__main__", "ablate.__init__"))}


def imported(path: Path) -> set[str]:
    """What a module imports as it is loaded: imports inside functions wait until they are needed."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str:
    """ablate.envs.base.Discrete is in the room ablate.envs."""
    return ".".join(name.split(".")[:2])


@pytest.mark.parametrize("name", modules(ablate))
def test_a_module_imports_nothing_from_above(name: str) -> None:
    for other in map(room, imported(modules(ablate)[name])):
        if other.startswith("ablate."):
            assert HEIGHT[other] <= HEIGHT[room(name)], f"{name} imports {other}"
        if room(name) in TORCHLESS:
            assert not other.startswith("torch"), f"{name} is maths, and imports torch"


@pytest.mark.parametrize("name", modules(analysis))
def test_analysis_reads_the_store_and_never_the_engine(name: str) -> None:
    for other in imported(modules(analysis)[name]):
        assert not other.startswith("torch")
        if other.startswith("ablate."):
            assert room(other) in READ_BY_ANALYSIS, f"{name} imports {other}"
