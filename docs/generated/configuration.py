"""The settings, from conf/ and the remarks in it."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ablate.configuration import CONF
from ablate.configuration.help import ORDER, description
from ablate.configuration.ranges import RANGES, range_of
from ablate.configuration.settings import choices, node, settings
from generated.markdown import escaped, sentence, table


def comments(path: Path) -> dict[str, str]:
    """The remark behind each setting of a yaml: `lr` of conf/optimizer/adam.yaml, `env.slip` of conf/env/chain.yaml."""
    found, parent = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"( *)(\w+):([^#]*)(?:# (.*))?$", line)
        if match and not match[1]:
            parent = match[2] if not match[3].strip() else ""
        if match and match[4]:
            found[f"{parent}.{match[2]}" if match[1] and parent else match[2]] = match[4]
    return found


@cache
def meaning(name: str) -> str:
    """What a setting means: the remark behind it in conf/, in whichever choice of its group has one."""
    group, _, key = name.rpartition(".")
    folder = CONF / group
    if not group or not folder.is_dir():
        return comments(CONF / "config.yaml").get(name, "")
    remarks = (comments(path) for path in sorted(folder.glob("*.yaml")))
    return next((found for each in remarks if (found := each.get(key) or each.get(name))), "")


def general_settings() -> str:
    """The settings that belong to no choice."""
    config = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    config["study"] = node("study", "main")
    rows = []
    for name, owners in settings().items():
        value: Any = config
        for key in () if owners else name.split("."):
            value = value[key]
        rows += [] if owners or isinstance(value, dict) else [row(name, value, meaning(name))]
    return table(("setting and default", "meaning"), rows)


def about(group: str, choice: str) -> dict[str, Any]:
    """What a yaml says of its choice."""
    return yaml.safe_load((CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")).get("about", {})


def row(name: str, default: object, text: str, ranges: dict[str, Any] | None = None) -> tuple[str, str]:
    """A setting as one types its default, what it means and what it may be."""
    key = name.rpartition(".")[2]
    allowed = RANGES[name][1] if name in RANGES else range_of(ranges[key])[1] if ranges and key in ranges else ""
    return f"`{name}={written(default)}`", escaped(text) + (f"; *{allowed}*" if allowed and allowed not in text else "")


def written(value: object) -> str:
    """A default as one types it."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return re.sub(r"[\s\"]", "", json.dumps(value)) if isinstance(value, list | dict) else str(value)


def settings_of(group: str) -> str:
    """The choices of a group, each with its settings."""
    parts = []
    for choice in choices(group):
        path = CONF / group / f"{choice}.yaml"
        parts.append(f"`{group}={choice}`\n: {sentence(description(path))}\n")
        remarks = comments(path)
        rows = []
        for name, default in node(group, choice).items():
            setting = f"{group}.{name}"
            if choice in settings().get(setting, ()) and not (isinstance(default, dict) and "_target_" in default):
                remark = remarks.get(name) or remarks.get(setting) or meaning(setting)
                rows.append(row(setting, default, remark, about(group, choice).get("ranges")))
        if rows:
            parts.append(table(("setting and default", "meaning"), rows) + "\n")
    return "\n".join(parts)


def built() -> list[str]:
    """What a yaml builds an object of, which is no value to type."""
    return [
        name
        for name, owners in settings().items()
        for value in [node(name.partition(".")[0], owner).get(name.partition(".")[2]) for owner in owners[:1]]
        if isinstance(value, dict) and "_target_" in value
    ]


def groups() -> str:
    """Every group of conf/, with its choices and their settings."""
    found = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    ordered = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return "\n".join(f"## {group}\n\n{settings_of(group)}" for group in ordered)
