"""A study on disk as tidy pandas frames: `load(outputs, study)` gives a `StudyFrames` of five.

runs     a row for each cell and seed: the columns of `ablate.store.study` (cell, seed, status, reason, iterations,
         env_steps, wall_time_s, started, finished, git_revision, versions, schema). Only those with status
         "complete" are in the frames of results; every other one is here with its reason, and nowhere averaged.

cells    a row a cell, in the order of figures and tables; the index is `cell`

| column                          | meaning                                                                           |
|---------------------------------|-----------------------------------------------------------------------------------|
| variant                         | what trains: "reward-to-go − V", or the name of another algorithm                 |
| label                           | the same, with the settings that tell it from others of its name and environment  |
| algorithm, env                  | the choices of the command line                                                   |
| phi, baseline, critic           | the same, "" where there is none                                                  |
| phi_order, baseline_order       | place of the variant; other algorithms come after every Phi                       |
| needs                           | "", "V", "Q" or "Q V": the critics that Phi and baseline look at                  |
| symbol                          | Phi - baseline in TeX, "" for other algorithms                                    |
| unbiased                        | when its mean is grad J: always, exact critic, if gamma=1, both, never; or ""     |
| threshold                       | the return that counts as solved, NaN where none is known                         |
| iterations                      | of a complete run                                                                 |
| env.KEY                         | each setting of the environment that is one value                                 |
| overrides                       | the settings that were typed, as a list of texts                                  |
| command                         | what makes the cell's runs, as far as they have left anything: a command line, or |
|                                 | Python where objects were given as choices                                        |
| config                          | the resolved configuration, a dict                                                |
| complete, left_out              | how many runs are complete, and how many are not                                  |
| repeated                        | how many cells before it have its variant and environment                         |

Seeds from 100 on that choose step sizes (`tuning`) are in no frame but `tuning_runs`.

curves   cell, seed (int64), and the columns of curves.parquet, see `ablate.store`; NaN where a run has no such column

probe    a row for each cell, seed, iteration and variant that a probe measured; may be empty

| column                      | meaning                                                                           |
|-----------------------------|-----------------------------------------------------------------------------------|
| cell, seed, iteration       | where the row was measured                                                        |
| env, env.KEY                | as in cells                                                                       |
| stage                       | 0 at the first policy, 1 at the last, and the share of the way there              |
| phi, baseline, critic       | the variant that was judged, by the names of the command line                     |
| label, phi_order, baseline_order, needs | what the configuration says of it (`about`)                           |
| own                         | whether it is the variant that the run trained with                               |
| reference                   | the label of what it is held against, see `reference`                             |
| all others                  | the columns of probe.parquet, see `ablate.store`                                  |

`cell` is a category in curves and probe.

strays   path and reason of what looks like a result and is none: copies, links, cells whose config.yaml is damaged or
         does not say what is shown of a cell. Nothing of them is in the other frames.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.configuration.defaults import names, variants
from ablate.errors import UserError
from ablate.statistics.formatting import counted
from ablate.store import study as stored

from .configurations import misfit
from .escaping import clean, printable
from .reproduction import how_to_run

Config = Mapping[str, Any]
TUNING = 100  # seeds from this one on choose step sizes
GROUPED = 20  # added to the order of an advantage of groups, which makes it a Phi of its own
OTHER = 100  # the phi_order of the first algorithm that has no Phi
VARIANT = ("phi", "baseline", "label", "phi_order", "baseline_order", "needs", "own", "reference")
EMPTY = ["cell", "variant", "algorithm", "env", "phi", "baseline", "critic", "phi_order", "baseline_order", "needs"]
EMPTY += ["symbol", "unbiased", "threshold", "iterations", "overrides", "command", "config", "complete", "left_out"]
NAMED = ("phi", "baseline", "algorithm", "env", "study", "--config-dir")  # overrides that a label has said already


@dataclass(frozen=True)
class StudyFrames:
    """The frames of one study; the columns are told above. tuning_runs has the rows of runs that are left out of them
    because their seeds choose step sizes."""

    name: str
    outputs: Path
    runs: pd.DataFrame
    cells: pd.DataFrame
    curves: pd.DataFrame
    probe: pd.DataFrame
    tuning_runs: pd.DataFrame
    strays: pd.DataFrame

    @property
    def left_out(self) -> pd.DataFrame:
        """The runs that are not complete."""
        return self.runs[self.runs["status"] != "complete"]

    def own_noise(self) -> pd.DataFrame:
        """The rows of the probe about the variant that the run trained with."""
        return self.probe[self.probe["own"]]


def once(of: Callable[[StudyFrames], pd.DataFrame]) -> Callable[[StudyFrames], pd.DataFrame]:
    """A function of a study that is worked out once for each study, and then remembered with it; a study that is cut or
    renamed is another one. What it gives is to be read, not written into."""

    @wraps(of)
    def remembered(study: StudyFrames) -> pd.DataFrame:
        known: dict[str, pd.DataFrame] = study.__dict__.setdefault("_known", {})
        if of.__qualname__ not in known:
            known[of.__qualname__] = of(study)
        return known[of.__qualname__]

    return remembered


def load(outputs: str | Path, study: str) -> StudyFrames:
    """Everything a study has on disk. Raises UserError where there is no such study; an empty one has empty frames."""
    tables = stored.load(outputs, study)
    runs, curves, probe = (getattr(tables, name).to_pandas(split_blocks=True) for name in ("runs", "curves", "probe"))
    strays, described = tables.strays.to_pandas(), list[Mapping[str, Any]]()
    for entry in tables.cells.to_pylist():
        config, overrides = json.loads(entry["config"]), json.loads(entry["overrides"])
        if wrong := misfit(config):
            reason = f"its config.yaml says nothing that can be shown of {wrong}"
            strays.loc[len(strays)] = [str(Path(outputs) / study / entry["cell"]), reason]
        else:
            described.append({"cell": entry["cell"], "config": config, "overrides": overrides})
    if len(described) < len(tables.cells):
        known = [entry["cell"] for entry in described]
        runs, curves, probe = (frame[frame["cell"].isin(known)] for frame in (runs, curves, probe))
        curves = curves.assign(cell=curves["cell"].cat.remove_unused_categories())
    cells = _cells(described, runs, study, str(outputs))
    apart = tuning(runs["seed"])
    runs["reason"] = runs["reason"].map(printable, na_action="ignore")
    if apart.any():
        curves, probe = (rows[rows["seed"] < TUNING] if len(rows) else rows for rows in (curves, probe))
    return StudyFrames(
        study, Path(outputs), runs[~apart], cells, curves, _probe(probe, cells, runs), runs[apart], strays
    )


def left_for_tuning(study: StudyFrames) -> str:
    """That seeds from 100 on are in no number, and why; empty where there are none."""
    if not (apart := len(study.tuning_runs)):
        return ""
    one = apart == 1
    return (
        f"{counted(apart, 'run')} of seeds from {TUNING} on {'is' if one else 'are'} in no number: in a study without "
        f"seed {TUNING - 1} {'it counts' if one else 'they count'} as one{'' if one else 's'} that chose a step size"
    )


def tuning(seeds: pd.Series) -> pd.Series:
    """Which seeds choose step sizes and report nothing: those from 100 on, where a study has seeds below 100 too, but
    not 99, which a range of seeds (0-149) would have."""
    apart = seeds >= TUNING
    return apart & bool((~apart).any() and not (seeds == TUNING - 1).any())


def finished(study: StudyFrames) -> StudyFrames:
    """The same study. Raises UserError where no run of it is complete: there is nothing to average or to draw."""
    if study.curves.empty:
        states = ", ".join(f"{count} {state}" for state, count in study.runs["status"].value_counts().items())
        left = f"its runs: {states}; run it again" if states else "it is empty; run it first"
        raise UserError(f"study {study.name!r} in {study.outputs} has nothing to show: {left}, or name another --study")
    return study


@dataclass(frozen=True)
class Runs:
    """Runs of one length side by side, T rows each: cells [R], seeds [R], env_steps and values [R, T]."""

    cells: NDArray[np.object_]
    seeds: NDArray[np.int64]
    env_steps: NDArray[np.float64]
    values: NDArray[np.float64]


def side_by_side(curves: pd.DataFrame, column: str = "return_mean") -> Iterator[Runs]:
    """A column of all runs, as few arrays: runs of the same length share one. Rows where it is NaN are left out, as in
    an iteration where no episode ended, and with them the runs that have no other."""
    rows = curves[["cell", "seed", "env_steps", column]].dropna(subset=[column])
    cell, seed = rows["cell"].cat.codes.to_numpy(), rows["seed"].to_numpy()
    starts = np.flatnonzero(np.r_[True, (cell[1:] != cell[:-1]) | (seed[1:] != seed[:-1])][: len(rows)])
    lengths = np.diff(np.r_[starts, len(rows)])
    names = rows["cell"].cat.categories.to_numpy(object)
    steps, values = rows["env_steps"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
    for length in np.unique(lengths):
        first = starts[lengths == length]
        places = first[:, None] + np.arange(length)
        yield Runs(names[cell[first]], seed[first], steps[places], values[places])


# ------------------------------------------------------------------------------------------------ cells


def _cells(described: Sequence[Mapping[str, Any]], runs: pd.DataFrame, study: str, outputs: str) -> pd.DataFrame:
    apart = tuning(runs["seed"]).any()
    states = {cell: own for cell, own in runs.groupby("cell")[["seed", "status"]]}
    rows = []
    for entry in described:
        config, overrides = clean(entry["config"]), clean(entry["overrides"])
        own = states.get(entry["cell"], runs.iloc[:0])
        reported = own[own["seed"] < TUNING] if apart else own
        complete = int((reported["status"] == "complete").sum())
        rows.append(
            {"cell": entry["cell"], **_choices(config, entry["cell"]), **_settings(config)}
            | {"threshold": config.get("threshold"), "iterations": config.get("iterations"), "overrides": overrides}
            | {"command": "" if "imported" in config else how_to_run(config, overrides, own["seed"], study, outputs)}
            | {"config": config}
            | {"complete": complete, "left_out": len(reported) - complete}
        )
    frame = pd.DataFrame(rows, columns=None if rows else EMPTY).set_index("cell")
    frame["threshold"] = frame["threshold"].astype(float)
    frame.insert(1, "label", labels(frame))
    order = sorted(frame.index, key=lambda cell: _place(frame.loc[cell]))
    frame = frame.loc[order]
    return frame.assign(repeated=frame.groupby(["env", "variant"]).cumcount())


def _choices(config: Config, cell: str) -> dict[str, Any]:
    """What trains, by name and as the configuration describes it; the cell's own name where that cannot be read."""
    names = {key: (config.get(key) or {}).get("name", "") for key in ("algorithm", "env", "phi", "baseline", "critic")}
    if config.get("phi") and config.get("baseline"):
        facts = _facts(config)
        named = {"variant": ", ".join([facts.pop("label"), *(["whitened"] if config.get("whiten") else [])])}
        return named | names | facts | {"symbol": _symbol(config), "unbiased": _unbiased(config)}
    about = (config.get("algorithm") or {}).get("about") or {}
    orders = {"phi_order": OTHER + int(about.get("order", 0)), "baseline_order": 0}
    variant = about.get("label") or names["algorithm"].replace("_", " ") or cell
    return {"variant": variant, **names, **orders, "needs": "", "symbol": "", "unbiased": ""}


def _symbol(variant: Config) -> str:
    phi, baseline = (str(variant[key]["about"]["symbol"]) for key in ("phi", "baseline"))
    return phi if variant["baseline"]["name"] == "none" else f"{phi} - {baseline}"


def _unbiased(config: Config) -> str:
    """The weakest of what Phi and baseline say of themselves, which they say of scores that are weighed by gamma^t;
    a critic only says where it is never."""
    parts = [config[key] for key in ("phi", "baseline", "advantage", "aggregation") if config.get(key)]
    conditions = {part["about"]["unbiased"] for part in parts}
    critic = (config.get("critic") or {}).get("about")
    biased = isinstance(critic, Mapping) and critic.get("unbiased") == "never"
    if config["whiten"] or biased or conditions - {"always", "exact critic"}:
        return "never"
    weighed = config["discount_scores"] or config["phi"]["about"]["measured_from"] == "start" or config["gamma"] == 1
    asked = {"exact critic": "exact critic" in conditions, "if gamma=1": not weighed}
    return ", ".join(condition for condition, needed in asked.items() if needed) or "always"


def labels(cells: pd.DataFrame) -> list[str]:
    """The variant, and in brackets the overrides that not all of these cells of that variant and environment share."""
    texts = dict[str, str]()
    for (variant, _), group in cells.groupby(["variant", "env"], sort=False):
        common = set.intersection(*map(set, group["overrides"]))
        for cell, overrides in group["overrides"].items():
            own = [text for text in overrides if text not in common and text.partition("=")[0] not in NAMED]
            texts[cell] = f"{variant} ({' '.join(own)})" if own else variant
    repeated = pd.Series(texts)[pd.Series(texts).groupby([cells["env"], pd.Series(texts)]).transform("size") > 1].index
    return [texts[cell] + (f" [{cell[-8:]}]" if cell in repeated else "") for cell in cells.index]


def _place(cell: pd.Series) -> tuple:
    """By environment, variant, and label, numbers in it by their size."""
    parts = re.split(r"(\d+(?:\.\d+)?)", cell["label"])
    natural = [(float(part), "") if k % 2 else (0.0, part) for k, part in enumerate(parts)]
    return cell["env"], cell["phi_order"], cell["baseline_order"], natural, cell.name


def _settings(config: Config) -> dict[str, Any]:
    """Each setting of the environment that is one value, as env.KEY."""
    plain = {f"env.{key}": value for key, value in (config.get("env") or {}).items()}
    kept = {key: value for key, value in plain.items() if isinstance(value, int | float | str)}
    return {key: value for key, value in kept.items() if key not in ("env.name", "env._target_")}


# ------------------------------------------------------------------------------------------------ the probe


def _probe(rows: pd.DataFrame, cells: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return pd.DataFrame(columns=["cell", "seed", "iteration", "mode", *VARIANT, "critic", "env", "stage"])
    about = pd.DataFrame([fact for cell, config in cells["config"].items() for fact in _variants(cell, config)])
    settings = cells[["env", *(key for key in cells if key.startswith("env."))]]
    joined = rows.astype({"cell": str}).merge(about, on=["cell", "phi", "baseline"], how="left")
    table = joined.join(settings, on="cell")
    last = runs.astype({"cell": str}).set_index(["cell", "seed"])["iterations"]
    table["stage"] = table["iteration"] / last.reindex(pd.MultiIndex.from_frame(table[["cell", "seed"]])).to_numpy()
    table["label"] = table["label"] + (table["critic"] == "clockless").map({True: " (no clock)", False: ""})
    table["own"] &= table["critic"] != "clockless"
    table["cell"] = table["cell"].astype("category")
    order = ["cell", "seed", "iteration", "phi_order", "baseline_order"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def _variants(cell: str, config: Config) -> Iterator[dict[str, Any]]:
    """What the configuration says of each variant that its probe judged."""
    if not (config.get("phi") and config.get("baseline")):
        return
    for node in variants(config).values():
        phi, baseline = names(node, config)
        own = (phi, baseline) == names(config, config)
        facts = _facts(node) | {"phi": phi, "baseline": baseline}
        yield {"cell": cell} | facts | {"reference": reference(node, _held(config)), "own": own}


def held(config: Config) -> str:
    """The label of what the log ratios of a probe are against."""
    return _facts(_held(config))["label"]


def _held(config: Config) -> Config:
    probe = config.get("probe") or {}
    return (probe.get("variants") or {}).get(probe.get("reference") or "own", config)


def reference(node: Config, held: Config) -> str:
    """What a variant is held against: the same Phi without a baseline, or without one itself the probe's reference."""
    if node["baseline"]["name"] == "none":
        return _facts(held)["label"]
    return node["phi"]["about"]["label"]


def _facts(node: Config) -> dict[str, Any]:
    phi, baseline = node["phi"]["about"], node["baseline"]["about"]
    bare = node["baseline"]["name"] == "none"
    axes = [node[axis]["about"] for axis in ("advantage", "aggregation") if node.get(axis)]
    label, order = phi["label"] if bare else f"{phi['label']} − {baseline['label']}", phi["order"]
    if node.get("advantage") and bare:
        order = GROUPED + int(axes[0]["order"])
        if known := axes[0].get("description"):  # what the literature calls it, which says Phi too
            label, axes = known, axes[1:]
    return {
        "phi": node["phi"]["name"],
        "baseline": node["baseline"]["name"],
        "label": ", ".join([label, *(about["label"] for about in axes)]),
        "phi_order": order,
        "baseline_order": baseline["order"],
        "needs": " ".join(sorted({*phi["needs"], *baseline["needs"]})),
    }
