"""The modules, functions and classes that are lent, from their docstrings and signatures."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from generated.markdown import prose, table

ROOT = Path(__file__).parents[2]
WIDTH = 88
MODULES = (
    "ablate",
    "ablate.phi",
    "ablate.baselines",
    "ablate.critics",
    "ablate.policies",
    "ablate.optimizers",
    "ablate.estimator",
    "ablate.gradients",
    "ablate.discounted_sums",
    "ablate.mdp",
    "ablate.envs.base",
    "ablate.learners.base",
    "ablate.study",
    "ablate.exact",
    "ablate.exact.estimators",
    "ablate.exact.batch_covariance",
    "ablate.exact.groups",
    "ablate.exercises",
    "ablate.lqg",
    "ablate.probes.module",
    "ablate.sequences",
    "ablate.sequences.advantages",
    "ablate.sequences.aggregations",
    "ablate.sequences.exact",
    "ablate.sequences.problem",
    "ablate.sequences.kl",
    "ablate.statistics.noise",
    "ablate.statistics.resampling",
    "ablate.statistics.bias",
    "ablate.statistics.seeds",
    "ablate.statistics.paired_tests",
    "ablate.statistics.sequential",
    "ablate.store",
    "ablate.analysis.frames",
    "ablate.analysis.tables",
    "ablate.analysis.paired_tests",
    "ablate.analysis.plots",
)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module lends: those of __all__, or else its own."""
    names = getattr(module, "__all__", None)
    for name in names if names is not None else vars(module):
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if names is not None or value.__module__ == module.__name__:
            yield name, value


def python(name: str) -> str:
    """A module: what it says of itself, and each of its functions and classes."""
    module = importlib.import_module(name)
    parts = [f"## {name}", prose(inspect.getdoc(module) or "")]
    for own, value in public(module):
        parts += [f"### {name}.{own}", f"```python\n{signature(own, value)}\n```", prose(own_doc(value))]
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            function = function.fget if isinstance(function, property) else getattr(function, "__func__", function)
            if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                parts.append(f"```python\n{signature(f'{own}.{method}', function)}\n```")
                parts.append(prose(inspect.getdoc(function) or ""))
    return "\n\n".join(part for part in parts if part)


def own_doc(value: Any) -> str:
    """The docstring, but not what dataclasses, protocols and enumerations write by themselves."""
    text = inspect.getdoc(value) if value.__doc__ and "__doc__" in dir(value) else ""
    made = inspect.isclass(value) and (value.__doc__ or "").startswith(f"{value.__name__}(")
    return "" if made or not text else text


def signature(name: str, value: Any) -> str:
    """`def name(...)` or `class Name(...)`, with types as short as in the sources, in lines that fit."""
    try:
        found = str(inspect.signature(value))
    except (ValueError, TypeError):
        found = "(...)"
    found = re.sub(r"<(?:function|class) '?([\w.]+)'?[^>]*>", r"\1", found)
    found = re.sub(r"(?:[a-z_]+[.])+(?=[A-Za-z_])", "", found)
    found = re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"array[\1]", found)
    line = f"{'class' if inspect.isclass(value) else 'def'} {name}{found}"
    if len(line) <= WIDTH:
        return line
    head, _, rest = line.partition("(")
    inside, _, end = rest.rpartition(")")
    return f"{head}(\n    " + ",\n    ".join(apart(inside)) + f",\n){end}"


def apart(parameters: str) -> Iterator[str]:
    """Parameters, cut at the commas that are in no bracket."""
    depth, start = 0, 0
    for k, sign in enumerate(parameters):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            yield parameters[start:k].strip()
            start = k + 1
    yield parameters[start:].strip()


def api() -> str:
    return "\n\n".join(python(name) for name in MODULES)


def signals() -> str:
    """The fields of `ablate.phi.Signals`."""
    from ablate.phi import Signals

    rows = re.findall(r"^ *\| *(\w+) *\| *(.+?) *\|$", Signals.__doc__ or "", re.MULTILINE)
    return table(("field", "meaning"), ((f"`{name}`", f"{text}") for name, text in rows if name != "field"))


def tree() -> str:
    """The rooms of the two packages, each with the first sentence that it says of itself."""
    lines = []
    for package in ("ablate", "analysis"):
        lines.append(f"{package}/")
        for path in sorted((ROOT / package).iterdir()):
            source = path / "__init__.py" if path.is_dir() else path
            if source.suffix == ".py" and source.is_file() and path.name != "__init__.py":
                text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
                first = re.split(r"(?<=[.])\s|\n\n", text.strip() + " ")[0]
                name = f"{path.name}/" if path.is_dir() else path.name
                lines.append(f"  {name:<22}  {' '.join(first.split()).rstrip('.:')}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```"
