"""From a study on disk to one tidy table: a row for each cell, seed, iteration and variant that a probe measured.

| column                                  | meaning                                                              |
|-----------------------------------------|----------------------------------------------------------------------|
| cell, seed, iteration                   | where the row was measured                                           |
| env, env.KEY                            | the cell's environment, and each of its settings that is one value   |
| stage                                   | 0 at the first policy, 1 at the last, and the share of the way there |
| phi, baseline, critic                   | the variant, by the names of the command line                        |
| label, phi_order, baseline_order, needs | what the configuration says of it (`about`)                          |
| reference                               | the label of what it is held against, see `reference`                |
| all others                              | the columns of probe.parquet: `ablate.probe`, `ablate.exact_probe`   |
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ablate import store
from ablate.refusal import Refusal

Config = Mapping[str, Any]
Unfinished = list[tuple[str, int, store.Status]]


def probed(outputs: str, study: str) -> tuple[pd.DataFrame, Unfinished]:
    """The probe rows of all complete runs of a study; and (cell, seed, status) of every other run.

    Raises Refusal where there is no study, nothing in it that is complete, or nothing that was probed.
    """
    frames, unfinished = [], Unfinished()
    for cell in store.cells(outputs, study):
        config = cell.read_config()
        about = pd.DataFrame(_variants(config)).set_index(["phi", "baseline"])
        for seed in cell.seeds():
            if (status := cell.status(seed)) != "complete":
                unfinished.append((cell.name, seed, status))
            elif "probe.parquet" in cell.manifest(seed)["files"]:
                rows = cell.probe(seed).join(about, on=["phi", "baseline"])
                settings = {"cell": cell.name, "seed": seed} | _settings(config["env"])
                frames.append(rows.assign(**settings, stage=rows["iteration"] / config["iterations"]))
    if not frames:
        left = f"{len(unfinished)} of its runs are not complete" if unfinished else "no run of it was probed"
        raise Refusal(f"study {study!r} in {outputs} has nothing to show: {left}; finish it, or name another --study")
    table = pd.concat(frames, ignore_index=True)
    late = table["critic"] == "clockless"
    table["label"] = table["label"] + late.map({True: " (no clock)", False: ""})
    order = ["phi_order", "baseline_order"]
    return table.sort_values(["cell", "seed", "iteration", *order], kind="stable", ignore_index=True), unfinished


def _settings(env: Config) -> dict[str, Any]:
    plain = {f"env.{key}": value for key, value in env.items() if isinstance(value, int | float | str)}
    return {"env": env["name"]} | {
        key: value for key, value in plain.items() if key not in ("env.name", "env._target_")
    }


def _variants(config: Config) -> Iterator[dict[str, Any]]:
    """What the configuration says of each variant that its probe judged."""
    probe = config["probe"]
    nodes = probe.get("variants") or {"own": config}
    held = nodes.get(probe.get("reference") or "own", config)
    for node in nodes.values():
        yield _facts(node) | {"reference": reference(node, held)}


def reference(node: Config, held: Config) -> str:
    """What a variant is held against: the same Phi without a baseline, or without one itself the probe's reference."""
    if node["baseline"]["name"] == "none":
        return _facts(held)["label"]
    return node["phi"]["about"]["label"]


def _facts(node: Config) -> dict[str, Any]:
    phi, baseline = node["phi"]["about"], node["baseline"]["about"]
    bare = node["baseline"]["name"] == "none"
    return {
        "phi": node["phi"]["name"],
        "baseline": node["baseline"]["name"],
        "label": phi["label"] if bare else f"{phi['label']} − {baseline['label']}",
        "phi_order": phi["order"],
        "baseline_order": baseline["order"],
        "needs": " ".join(sorted({*phi["needs"], *baseline["needs"]})),
    }
