"""How the runs of a cell are made again: as a command, or in Python where an object was given as a choice.

python -m ablate phi=rtg env=chain study=main seed=0-4
import ablate, functools, mine; ablate.run("env=chain", phi=functools.partial(mine.late, steps=2), seed="0-4")
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.configuration.overrides import command, override, ranges
from ablate.configuration.settings import choices
from ablate.store.layout import CONFIG_DIR

Config = Mapping[str, Any]
OBJECTS = ("phi", "baseline", "env", "policy")  # what `ablate.run` takes as an object


def how_to_run(config: Config, overrides: Sequence[str], seeds: Iterable[int], study: str, outputs: str | Path) -> str:
    """What trains these seeds of a cell, to be typed."""
    named = any(word.startswith(("study=", "study.name=")) for word in overrides)
    elsewhere = str(outputs) != "outputs"
    seed_range = ranges(seeds)
    if objects := _objects(config, overrides):
        words = [repr(word) for word in overrides if word.partition("=")[0] not in objects]
        words += [f"{group}={made}" for group, (_, made) in objects.items()]
        words += [] if named or study == "main" else [f"study={study!r}"]
        words += [f"outputs={str(outputs)!r}"] if elsewhere else []
        words += [f"seed={seed_range!r}"] if seed_range else []
        used = {module for module, _ in objects.values()}
        used |= {"functools"} if any("functools." in made for _, made in objects.values()) else set()
        return f"import {', '.join(['ablate', *sorted(used)])}; ablate.run({', '.join(words)})"
    words = [*overrides]
    if not named:
        words.append("study=main" if study == "main" else override("study.name", study))
    if elsewhere:
        words.append(override("outputs", str(outputs)))
    if seed_range:
        words.append(f'seed="{seed_range}"' if "," in seed_range else f"seed={seed_range}")
    return command(words)


def _objects(config: Config, overrides: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Group -> module and text of the object that was given as its choice, which neither the program nor a yaml has."""
    if any(word.startswith(f"{CONFIG_DIR}=") for word in overrides):
        return {}
    typed = {group for word in overrides for group, _, name in [word.partition("=")] if group in OBJECTS}
    typed = {group for group in typed if (config.get(group) or {}).get("name") not in choices(group)}
    found = {group: _object(config.get(group) or {}) for group in OBJECTS if group in typed}
    return {group: made for group, made in found.items() if made}


def _object(node: Config) -> tuple[str, str] | None:
    """Module and text of what a node of the configuration makes, an object or a partial of one; None of our own."""
    place = str(node.get("module") or node.get("id") or "")
    if ":" in place:  # a torch Module or a Gymnasium class
        (module, _, name), arguments = place.partition(":"), node.get("kwargs") or {}
    else:
        module, _, name = str(node.get("_target_", "")).rpartition(".")
        arguments = {key: value for key, value in node.items() if key not in ("name", "about") and key[:1] != "_"}
    if not module or module.partition(".")[0] == "ablate":
        return None
    keywords = "".join(f", {key}={value!r}" for key, value in arguments.items())
    return module, f"functools.partial({module}.{name}{keywords})" if keywords else f"{module}.{name}"
