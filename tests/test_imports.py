"""Imports point one way: among the rooms there is no circle, and what needs no torch never loads it.

A room is a module or a package right under `ablate`. The rules are read from the sources, whatever rooms there are.
`analysis/` is imported by one name, `ablate.analysis`, in a checkout as in a wheel.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ablate
import ablate.analysis

WITHOUT_TORCH = ("__main__", "command_line", "configuration", "exact", "mdp", "phi", "baselines", "discounted_sums")
WITHOUT_TORCH += ("lqg", "errors", "exercises", "randomness", "statistics", "store")
ENGINE = {"ablate.runs", "ablate.learners", "ablate.probes", "ablate.episodes", "ablate.build"}


ROOT = Path(__file__).parents[1]


def modules(package) -> dict[str, Path]:
    root = Path(package.__path__[0])
    found = {
        ".".join((package.__name__, *path.relative_to(root).with_suffix("").parts)): path for path in root.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


SOURCES = modules(ablate) | modules(ablate.analysis)


def imported(name: str) -> set[str]:
    """What a module imports as it is loaded: imports inside functions and those for type checkers wait. A name that a
    package lends from one of its modules counts as the package's."""
    names: set[str] = set()
    for node in ast.parse(SOURCES[name].read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".") + ["__init__"] * (SOURCES[name].name == "__init__.py")
            module = ".".join([*above[: -node.level], *filter(None, [node.module])]) if node.level else str(node.module)
            inner = {f"{module}.{alias.name}" for alias in node.names}
            names |= (inner & set(SOURCES)) or {module}
    return names


def loaded(name: str) -> set[str]:
    """All that is loaded with a module, the packages that it lies in included."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        one = waiting.pop()
        found.add(one)
        packages = {".".join(one.split(".")[:k]) for k in range(1, one.count(".") + 1)} & set(SOURCES)
        waiting |= ((imported(one) if one in SOURCES else set()) | packages) - found
    return found


def room(name: str) -> str:
    """ablate.envs.base.Discrete is in the room ablate.envs."""
    return ".".join(name.split(".")[:2])


def test_among_the_rooms_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name in modules(ablate):
        below = {room(other) for other in imported(name) if other.startswith("ablate.")}
        graph.setdefault(room(name), set()).update(below - {room(name)})
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", [name for name in modules(ablate) if room(name).split(".")[-1] in WITHOUT_TORCH])
def test_what_needs_no_torch_does_not_load_it(name: str) -> None:
    assert not {other for other in loaded(name) if other.split(".")[0] == "torch"}


@pytest.mark.parametrize("name", modules(ablate.analysis))
def test_analysis_reads_the_store_and_never_the_engine(name: str) -> None:
    found = loaded(name)
    assert not {other for other in found if other.split(".")[0] == "torch"}
    assert not {room(other) for other in found} & ENGINE


@pytest.mark.parametrize("folder", ["ablate", "analysis", "benchmarks", "tests"])
def test_analysis_has_one_name(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not [x for x in names if x.split(".")[0] == "analysis"], f"{path}: write ablate.analysis"


def test_no_two_classes_share_a_name() -> None:
    where: dict[str, list[str]] = {}
    for name, path in SOURCES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(name)
    assert not {name: modules for name, modules in where.items() if len(modules) > 1}
