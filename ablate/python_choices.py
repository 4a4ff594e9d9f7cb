"""Python objects as choices of the command line: what can be imported, by a yaml that names it.

A function or class, or a `functools.partial` of one with keyword arguments: what a yaml can say. The worker processes
import it anew, so that what has no name in a module, as a lambda or what a notebook's cell defines, cannot be one.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ablate.configuration.settings import choices
from ablate.errors import UserError, shown
from ablate.user_code import GYMNASIUM, MODULE

Node = dict[str, Any]
PLAIN = bool | int | float | str | None
ABOUT: dict[str, Node] = {
    "phi": {"symbol": r"\Phi_t", "measured_from": "step", "takes_baseline": True},
    "baseline": {"symbol": "b_t", "fewest_episodes": 1, "couples": True},
}
"""What is said of a function that is given as a Phi or a baseline, besides its name; a yaml of its own says more."""
GIVEN = {"phi": 1, "baseline": 3}  # arguments that the engine gives to a function
RESERVED = {"name", "about"}  # what a yaml says beside arguments


def choice(group: str, given: Any, folder: Path) -> str:
    """The name of an object as a choice of its group, after writing its yaml into ``folder``.

    Raises UserError for what a worker process cannot import, what the group cannot take, arguments that a yaml cannot
    hold, and a name that is taken.
    """
    made, arguments = (given.func, given.keywords) if isinstance(given, partial) else (given, {})
    if group not in ("phi", "baseline", "env", "policy"):
        kind = f"the {type(given).__name__} {_called(given)}"
        raise UserError(
            f"{group} cannot take {kind}; give a number, a text or a list, or name it in a yaml of {group}/"
        )
    if isinstance(given, partial) and given.args:
        raise UserError(
            f"{group}={_called(made)} has arguments without names; write partial({_called(made)}, name=...)"
        )
    module, name = _importable(group, made)
    if name in choices(group):
        raise UserError(f"{group}={name} is a choice that is there already; give your {module}.{name} another name")
    for key, value in arguments.items():
        if not _is_plain(value) or key in RESERVED:
            why = "is a word of the yaml itself" if key in RESERVED else "is nothing that a yaml can hold"
            raise UserError(f"{group}={name}: {key}={shown(value)} {why}; give it numbers, texts, lists or dicts")
    text = _yaml(group, made, module, name, dict(arguments))
    path = folder / group / f"{name}.yaml"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{group} has two objects with the name {name}; sweep over an argument, as {group}.steps=[5, 50], "
            "or give one another name"
        )
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def _called(given: Any) -> str:
    return shown(getattr(given, "__qualname__", None) or f"{given!r}")


def _importable(group: str, made: Any) -> tuple[str, str]:
    """The module and the name of a function or class."""
    module, name = getattr(made, "__module__", None), getattr(made, "__qualname__", "")
    if not name and not isinstance(made, Callable | type):  # type: ignore[arg-type]
        raise UserError(
            f"{group}={_called(made)} is no choice: give a name, or a function or class that can be imported"
        )
    if not name:
        raise UserError(
            f"{group}={_called(made)} is an instance, which worker processes cannot import; give its class, or a "
            "function, with arguments by functools.partial"
        )
    if not module or module == "__main__" or "." in name:
        raise UserError(
            f"{group}={_called(made)} cannot be imported by the worker processes; define it at the top of a "
            "module of its own, in a file beside the notebook or script, and import it from there"
        )
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        found = None
    if found is not made:
        raise UserError(
            f"{group}={module}.{name} is not what is found under that name; define it at the top of its module, and "
            "import that anew after a change"
        )
    return module, name


def _yaml(group: str, made: Any, module: str, name: str, arguments: Node) -> str:
    """What a yaml of this choice says."""
    node: Node = {"name": name, "_target_": f"{module}.{name}"}
    if group in GIVEN:
        about = {"label": name.replace("_", " "), "order": 90, "needs": [], "unbiased": "never"} | ABOUT[group]
        called = {} if isinstance(made, type) else {"_partial_": True}
        return _dumped(node | called | _defaults(made, GIVEN[group]) | arguments | {"about": about})
    if group == "policy" and _is_module(made):
        return _dumped({"name": name, "_target_": MODULE, "module": f"{module}:{name}", "kwargs": arguments})
    if group == "policy":
        return _dumped(node | _defaults(made, 0) | arguments)
    if not all(hasattr(made, method) for method in ("reset", "step", "keep")):
        own = {"name": name, "_target_": GYMNASIUM, "id": f"{module}:{name}", "kwargs": arguments, "horizon": None}
        return "# @package _global_\n" + _dumped({"env": own, "threshold": None})
    return "# @package _global_\n" + _dumped({"env": node | _defaults(made, 0) | arguments, "threshold": None})


def _dumped(node: Node) -> str:
    text: str = yaml.safe_dump(node, sort_keys=False, allow_unicode=True)
    return text


def _is_module(made: Any) -> bool:
    """Whether it is a torch Module, or a function, which gives one; a class of another kind is a policy itself."""
    torch = sys.modules.get("torch")
    return not isinstance(made, type) or bool(torch and issubclass(made, torch.nn.Module))


def _defaults(made: Any, given: int) -> Node:
    """Arguments behind those that are given whose defaults a yaml can hold, so that they are settings, as phi.steps."""
    try:
        parameters = [*inspect.signature(made).parameters.values()][0 if isinstance(made, type) else given :]
    except (TypeError, ValueError):  # a function without a signature
        return {}
    named = (p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    kept = {p.name: p.default for p in named if p.default is not p.empty and _is_plain(p.default)}
    return {key: _listed(value) for key, value in kept.items() if key not in RESERVED}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, PLAIN)


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value
