"""What a claim may look at: the sizes that its yaml sets, and the runs of a study, chosen by their configuration."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Any

import pandas as pd
import yaml  # type: ignore[import-untyped]

from ablate import store
from ablate.errors import UserError

Wanted = Mapping[str, Any]


@dataclass(frozen=True)
class ClaimStudy:
    """A study on disk, `outputs/name`; the numbers of a claim's yaml under `size`; and the yaml's `commands`, which say
    whose runs are looked at: what else lies in the folder, as of an older yaml, is another experiment."""

    outputs: str
    name: str
    size: Mapping[str, Any]
    commands: tuple[str, ...] = ()

    def curves(self, wanted: Wanted, keep: Sequence[str] = ()) -> pd.DataFrame:
        """Curves of the complete runs whose configuration has the `wanted` settings; see `_table`."""
        return self._table(wanted, keep, "curves")

    def probes(self, wanted: Wanted, keep: Sequence[str] = ()) -> pd.DataFrame:
        """Probe rows of the same."""
        return self._table(wanted, keep, "probe")

    def runs(self, wanted: Wanted | None = None) -> Iterator[tuple[store.Cell, dict[str, Any], int]]:
        """(cell, configuration, seed) of every complete run that one of the commands asks for and that has the `wanted`
        settings; none without a study."""
        asked = [asked_for(command) for command in self.commands]
        try:
            cells = _cells(self.outputs, self.name)
        except UserError:
            return
        for cell, config in cells:
            if not all(_matches(_get(config, key), value) for key, value in (wanted or {}).items()):
                continue
            fitting = [seeds for settings, seeds in asked if _fits(config, settings)]
            for seed in cell.seeds() if fitting else ():
                if any(seed in seeds for seeds in fitting) and cell.status(seed) == "complete":
                    yield cell, config, seed

    def missing(self) -> int:
        """How many runs the commands ask for that are not complete."""
        asked = 0
        for settings, seeds in map(asked_for, self.commands):
            asked += prod(map(len, settings.values())) * len(seeds)
        return max(0, asked - sum(1 for _ in self.runs()))

    def _table(self, wanted: Wanted, keep: Sequence[str], kind: str) -> pd.DataFrame:
        """Rows of all chosen runs with their `seed` and the settings `keep`, a column each by its dotted name.

        wanted: {"env.name": "chain", "env.slip": [0.2, 0.4]}: one value, or any of a list. Raises UserError where
        nothing is found: a verdict on no data would look like one on data.
        """
        frames = []
        for cell, config, seed in self.runs(wanted):
            rows = cell.curves(seed) if kind == "curves" else cell.probe(seed)
            frames.append(rows.assign(seed=seed, **{key: _get(config, key) for key in keep}))
        if not frames:
            chosen = ", ".join(f"{key}={value}" for key, value in wanted.items())
            raise UserError(f"no complete run with {chosen} in study {self.name}; run the claim's command again")
        return pd.concat(frames, ignore_index=True)


def asked_for(command: str) -> tuple[dict[str, list[Any]], set[int]]:
    """What a command line asks for: the values of each setting, and the seeds."""
    settings: dict[str, list[Any]] = {}
    seeds = {0}
    for word in shlex.split(command):
        key, _, value = word.partition("=")
        if key == "seed":
            seeds = _seeds(value.strip('"[]'))
        else:
            settings[key.lstrip("+")] = [_value(part) for part in _parts(value)]
    return settings, seeds


def _parts(value: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    depth, parts = 0, [""]
    for letter in value:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _seeds(ranges: str) -> set[int]:
    """{0, 1, 2, 7} of 0-2,7."""
    ends = [part.partition("-") for part in ranges.split(",")]
    return {seed for first, _, last in ends for seed in range(int(first), int(last or first) + 1)}


def _value(text: str) -> Any:
    """A number, a list, or a word, as Hydra reads it; YAML would take 2e-3 for a word, and off for false."""
    try:
        return float(text)
    except ValueError:
        words = {"true": True, "false": False, "null": None}
        return yaml.safe_load(text) if text.startswith("[") else words.get(text, text)


def _fits(config: Mapping[str, Any], settings: Mapping[str, list[Any]]) -> bool:
    """Whether a configuration has one of the values of each setting."""
    return all(
        _set(config, key) in [_asked(config, key, value) for value in values] for key, values in settings.items()
    )


def _set(config: Mapping[str, Any], key: str) -> Any:
    """What a configuration has for a setting; a group's value is its name."""
    value = _get(config, "iterations" if key == "env_steps" and _iteration_steps(config) else key)
    return value.get("name") if isinstance(value, Mapping) else value


def _asked(config: Mapping[str, Any], key: str, value: Any) -> Any:
    """The value as it stands in a configuration: env steps are iterations where these have a known number of steps."""
    steps = _iteration_steps(config)
    return ceil(value / steps) if key == "env_steps" and steps else value


def _iteration_steps(config: Mapping[str, Any]) -> int | None:
    """Env steps of an iteration of the configuration's algorithm, where they are known beforehand."""
    names = _get(config, "algorithm.about.iteration_steps")
    return prod(config["algorithm"][name] for name in names) if names else None


@cache
def _cells(outputs: str, name: str) -> list[tuple[store.Cell, dict[str, Any]]]:
    return [(cell, dict(cell.config)) for cell in store.cells(outputs, name)]


def forget() -> None:
    """Look at the disk again: new runs have come."""
    _cells.cache_clear()


def manifests(outputs: str, name: str) -> Iterator[str]:
    """cell/seed=k of every complete run of a study; nothing where there is no such study."""
    try:
        found = store.cells(outputs, name)
    except UserError:
        return
    for cell in found:
        for seed in cell.seeds():
            if (cell.path / f"seed={seed}" / "manifest.json").exists():
                yield f"{cell.name}/seed={seed}"


def _get(config: Mapping[str, Any], key: str) -> Any:
    """config["a"]["b"] for "a.b"; None where there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _matches(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list | tuple) else value == wanted
