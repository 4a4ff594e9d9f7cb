"""config.yaml of a cell: the overrides that make it, the resolved configuration, and the checksum of both.

The last line is `sha256: ` and the SHA-256 of all lines above it; earlier versions wrote no such line.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from ablate.files import read
from ablate.store.errors import CorruptFileError, reading
from ablate.store.layout import config_digest

LARGEST = 1 << 23  # bytes
DEEPEST = 100  # levels of nesting
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # OmegaConf writes the file and takes 13 times as long to read
SEAL = re.compile(rb"(.*\n)sha256: ([0-9a-f]{64})\n", re.DOTALL)


class Description(NamedTuple):
    """What a cell's config.yaml says, and whether a checksum covers it."""

    overrides: list[str]
    config: dict[str, Any]
    covered: bool

    @property
    def digest(self) -> str:
        return config_digest(self.config)


def written(overrides: Sequence[str], config: Mapping[str, Any]) -> bytes:
    text = OmegaConf.to_yaml(OmegaConf.create({"overrides": list(overrides), "config": dict(config)})).encode()
    return text + f"sha256: {hashlib.sha256(text).hexdigest()}\n".encode()


def _check_shape(text: bytes) -> None:
    """Raises ValueError for aliases, few of which stand for as much as one likes, and for depth that overflows the
    stack of the parser."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("too deep")


def read_description(path: Path) -> Description:
    """Raises CorruptFileError where it is not as it was written, or is no configuration."""
    with reading(path):
        data = read(path, LARGEST)
        seal = SEAL.fullmatch(data)
        if seal and hashlib.sha256(seal[1]).hexdigest() != seal[2].decode():
            raise CorruptFileError(f"{path} is not as it was written")
        text = seal[1] if seal else data
        _check_shape(text)
        stored = yaml.load(text, LOADER)
        if not isinstance(stored, dict) or stored.keys() != {"overrides", "config"}:
            raise CorruptFileError(f"{path} is damaged")
        overrides, config = stored["overrides"], stored["config"]
        if not isinstance(config, dict) or not isinstance(overrides, list):
            raise CorruptFileError(f"{path} is damaged")
        if not all(isinstance(override, str) for override in overrides):
            raise CorruptFileError(f"{path} is damaged")
        found = Description(overrides, config, seal is not None)
        found.digest  # noqa: B018  what JSON cannot hold, as a date, has no place in it
        return found
