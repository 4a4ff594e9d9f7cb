"""Where a setting lives, for who has typed it in another place or with a slip."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import yaml  # type: ignore[import-untyped]

from ablate.configuration.overrides import GROUPS
from ablate.configuration.schema import CONF, Config

Setting = str  # as it is typed: optimizer.lr


@cache
def choices(group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


@cache
def node(group: str, choice: str) -> Mapping[str, Any]:
    """What a yaml of conf/ says of its own group."""
    text = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(text)
    own = found.get(group, {}) if text.startswith("# @package _global_") else found
    return {name: value for name, value in own.items() if name != "defaults"}


@cache
def settings() -> dict[Setting, tuple[str, ...]]:
    """Every setting, and the choices of its group that have it; none for those that are always there."""
    found: dict[Setting, tuple[str, ...]] = {name: () for name in Config.__dataclass_fields__ if name not in GROUPS}
    found |= {"evaluate.every": (), "evaluate.episodes": (), "study.name": (), "dask.scheduler": ()}
    for group in GROUPS:
        for choice in choices(group):
            for name in node(group, choice).keys() - {"name", "about", "_target_", "_partial_"}:
                found[f"{group}.{name}"] = (*found.get(f"{group}.{name}", ()), choice)
    return found


def meant(name: str, value: str) -> str:
    """What was probably meant by NAME=VALUE, as it is typed; "" where nothing comes to mind."""
    known, group = settings(), name.partition(".")[0]
    if name in known:
        return " or ".join(f"{group}={choice} {name}={value}" for choice in known[name][:3]) or f"{name}={value}"
    leaf = name.rpartition(".")[2]
    if same := [setting for setting in known if setting.rpartition(".")[2] == leaf]:
        return " or ".join(f"{setting}={value}" for setting in same[:3])
    leaves = {setting.rpartition(".")[2]: setting for setting in known if setting.startswith(f"{group}.")}
    if "." in name and (close := get_close_matches(leaf, leaves, n=1)):
        return f"{leaves[close[0]]}={value}"
    if "." not in name and (close := get_close_matches(name, [*Config.__dataclass_fields__], n=1)):
        return f"{close[0]}={value}"
    if fitting := [group for group in GROUPS if len(name) > 2 and (group.startswith(name) or name.startswith(group))]:
        return f"{fitting[0]}={value}"
    everywhere = {setting.rpartition(".")[2]: setting for setting in known}
    return next((f"{everywhere[close]}={value}" for close in get_close_matches(leaf, everywhere, n=1)), "")


def meant_choice(group: str, choice: str, options: Sequence[str]) -> str:
    """What was probably meant by GROUP=CHOICE."""
    found = [f"{group}={close}" for close in get_close_matches(choice, options, n=1)]
    found += [f"env=gym env.id={choice}"] if group == "env" and choice.rpartition("-v")[2].isdigit() else []
    found += [f"study.name={choice}"] if group == "study" else []
    return " or ".join(found or [f"{other}={choice}" for other in GROUPS if choice in choices(other)])
