"""What a claim may look at: the sizes that its yaml sets, and the runs of a study, chosen by their configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from ablate import store
from ablate.refusal import Refusal

Wanted = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """A study on disk, `outputs/name`, and the numbers of a claim's yaml under `size` for it."""

    outputs: str
    name: str
    size: Mapping[str, Any]

    def curves(self, wanted: Wanted, keep: Sequence[str] = ()) -> pd.DataFrame:
        """Curves of the complete runs whose configuration has the `wanted` settings; see `_runs` for both arguments."""
        return self._table(wanted, keep, "curves")

    def probes(self, wanted: Wanted, keep: Sequence[str] = ()) -> pd.DataFrame:
        """Probe rows of the same."""
        return self._table(wanted, keep, "probe")

    def _table(self, wanted: Wanted, keep: Sequence[str], kind: str) -> pd.DataFrame:
        """Rows of all chosen runs with their `seed` and the settings `keep`, a column each by its dotted name.

        wanted: {"env.name": "chain", "env.slip": [0.2, 0.4]}: one value, or any of a list. Raises Refusal where nothing
        is found: a verdict on no data would look like one on data.
        """
        frames = []
        for cell, config in _cells(self.outputs, self.name):
            if not all(_matches(_get(config, key), value) for key, value in wanted.items()):
                continue
            settings = {key: _get(config, key) for key in keep}
            for seed in cell.seeds():
                if cell.status(seed) == "complete":
                    rows = cell.curves(seed) if kind == "curves" else cell.probe(seed)
                    frames.append(rows.assign(seed=seed, **settings))
        if not frames:
            chosen = ", ".join(f"{key}={value}" for key, value in wanted.items())
            raise Refusal(f"no complete run with {chosen} in {self.outputs}/{self.name}; run the claim's command again")
        return pd.concat(frames, ignore_index=True)


@cache
def _cells(outputs: str, name: str) -> list[tuple[store.Cell, dict[str, Any]]]:
    return [(cell, cell.read_config()) for cell in store.cells(outputs, name)]


def forget() -> None:
    """Look at the disk again: new runs have come."""
    _cells.cache_clear()


def manifests(outputs: str, name: str) -> Iterator[str]:
    """cell/seed=k of every complete run of a study; nothing where there is no such study."""
    try:
        found = store.cells(outputs, name)
    except Refusal:
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
