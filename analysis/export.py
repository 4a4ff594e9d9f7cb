"""A study for trackers of experiments: `ablate export STUDY --to TOOL`, and at the end of a run `tracking=TOOL`.

| tool        | what is written, in outputs/<study>/export/<tool> or --out                                          |
|-------------|-----------------------------------------------------------------------------------------------------|
| tensorboard | an event file a run, in <cell>/seed=<k>; numbers are float32, as TensorBoard keeps them             |
| wandb       | an offline run each, which `wandb sync` uploads; with WANDB_MODE=online they are uploaded at once   |
| mlflow      | a run each in mlflow.db, or where MLFLOW_TRACKING_URI leads                                         |
| trackio     | a run each in a project of the study's name, where Trackio keeps its projects (TRACKIO_DIR)         |

A complete run becomes a run with the cell's resolved configuration and its seed. Its metrics are curves/COLUMN and
probe/PHI.BASELINE.CRITIC/COLUMN with the columns of `ablate.store`, at step = env steps, or the iteration where env
steps do not grow in each. NaN and infinities are left out: no tool tells them from numbers. A run that a folder has
been given already is not written again.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]

from ablate import files
from ablate.configuration.ranges import TRACKERS
from ablate.errors import UserError
from ablate.statistics.formatting import counted

from .frames import StudyFrames, finished

DONE = ".exported"  # in the folder: a line for each run that it was given
BATCH = 1000, 100  # metrics and parameters that MLflow takes at once
LONGEST = 6000  # letters of a parameter that MLflow takes
SHOW = {
    "tensorboard": "tensorboard --logdir {out}",
    "wandb": "wandb sync {out}/wandb/offline-run-*",
    "mlflow": "mlflow ui --backend-store-uri sqlite:///{out}/mlflow.db",
    "trackio": "trackio show --project {study}",
}
KEYS = ["phi", "baseline", "critic"]
PLACES = {"seed", "iteration", "stage", "phi_order", "baseline_order"}  # of a row, which is no measure


@dataclass(frozen=True)
class ExportedRun:
    """A complete run; points are (step, seconds since 1970, values by metric), steps rising."""

    key: str
    label: str
    seed: int
    config: Mapping[str, Any]
    points: list[tuple[int, float, dict[str, float]]]

    @property
    def name(self) -> str:
        return f"{self.label} seed={self.seed}"


def export(study: StudyFrames, to: str, out: Path | None = None) -> list[str]:
    """Write the complete runs for a tool; returns lines that say what was done. Raises UserError where the tool is not
    installed."""
    needs(to)
    out = out or study.outputs / study.name / "export" / to
    folder = out.absolute()
    with files.user_errors(folder, files.OUT):
        folder.mkdir(parents=True, exist_ok=True)
        done = folder / DONE
        known = done.read_text("utf-8").split("\n") if done.exists() else []
        new = [run for run in runs(finished(study)) if run.key not in known]
        for run in WRITERS[to](study.name, folder, new):
            known.append(run.key)
            files.write(done, "\n".join(known), files.OUT)
    show = SHOW[to].format(out=shlex.quote(str(out)), study=shlex.quote(study.name))
    return [f"{to}: {counted(len(new), 'run')} written, {len(known) - len(new)} there already; to see them: {show}"]


def needs(to: str) -> None:
    """Raises UserError where the package of a tool is missing."""
    found = find_spec(to)
    if found is None or found.origin is None:  # the latter is a folder of that name, as ./wandb of other runs
        raise UserError(
            f"{to} is not installed; pip install {to}, or this package with its extra: pip install '.[{to}]'"
        )


# ------------------------------------------------------------------------------------------------ what is written


def runs(study: StudyFrames) -> Iterator[ExportedRun]:
    recorded = study.runs.astype({"cell": str}).set_index(["cell", "seed"])
    probes = {key: rows for key, rows in study.probe.groupby(["cell", "seed"], observed=True)}
    places = study.cells["env"].nunique()
    for (cell, seed), curves in study.curves.groupby(["cell", "seed"], observed=True):
        about = study.cells.loc[cell]
        began = _began(recorded.loc[(str(cell), seed)])
        label = f"{about['label']} on {about['env']}" if places > 1 else str(about["label"])
        points = _points(curves.sort_values("iteration"), probes.get((cell, seed)), began)
        yield ExportedRun(f"{cell}/seed={seed}", label, int(seed), about["config"], points)


def _began(run: pd.Series) -> float:
    """Seconds since 1970 at which a run began; 0 where that is not known, as of runs that were imported."""
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(run["started"]).timestamp()
    return 0.0


def _points(curves: pd.DataFrame, probe: pd.DataFrame | None, began: float) -> list[tuple[int, float, dict]]:
    iterations, env_steps = (curves[name].to_numpy(int) for name in ("iteration", "env_steps"))
    steps = env_steps if (np.diff(env_steps) > 0).all() else iterations
    at = {0: 0} | dict(zip(iterations.tolist(), steps.tolist(), strict=True))
    times = curves["wall_time"].fillna(0.0).to_numpy(float) if "wall_time" in curves else np.zeros(len(curves))
    seconds = {0: began} | dict(zip(steps.tolist(), (began + times).tolist(), strict=True))
    found: dict[int, dict[str, float]] = {}
    for iteration, row in zip(iterations.tolist(), _rows(curves), strict=True):
        found[at[iteration]] = {f"curves/{name}": value for name, value in row.items()}
    if probe is not None:
        judged = [".".join(map(str, keys)) for keys in probe[KEYS].to_numpy()]
        for iteration, names, row in zip(probe["iteration"], judged, _rows(probe), strict=True):
            values = found.setdefault(at[int(iteration)], {})
            values |= {f"probe/{names}/{name}": value for name, value in row.items()}
    return [(step, seconds[step], found[step]) for step in sorted(found)]


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, float]]:
    """The finite numbers of each row that were measured, by column."""
    columns = [name for name in frame.select_dtypes("number") if name not in PLACES and not name.startswith("env.")]
    for values in frame[columns].to_numpy(float):
        yield {name: float(value) for name, value in zip(columns, values, strict=True) if np.isfinite(value)}


# ------------------------------------------------------------------------------------------------ where it is written


def _tensorboard(study: str, out: Path, new: Iterable[ExportedRun]) -> Iterator[ExportedRun]:
    """An event file each, whose bytes say nothing of when or where it was exported."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    for run in new:
        events = [Event(wall_time=run.points[0][1], file_version="brain.Event:2")]
        text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
        markdown = f"{run.name}\n\n```yaml\n{text}```"
        events.append(Event(wall_time=run.points[0][1], summary=text_pb("configuration", markdown)))
        for step, seconds, values in run.points:
            event = Event(wall_time=seconds, step=step)
            for name, value in values.items():
                event.summary.value.add(tag=name, simple_value=value)
            events.append(event)
        buffer = BytesIO()
        writer = RecordWriter(buffer)
        for event in events:
            writer.write(event.SerializeToString())
        files.write(out / run.key / "events.out.tfevents.0.ablate", buffer.getvalue(), files.OUT)
        yield run


def _wandb(study: str, out: Path, new: Iterable[ExportedRun]) -> Iterator[ExportedRun]:
    import wandb

    mode = os.environ.get("WANDB_MODE", "offline")
    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True)
    for run in new:
        about = {"project": study, "group": run.label, "name": run.name, "config": {**run.config, "seed": run.seed}}
        one = hashlib.sha256(run.key.encode()).hexdigest()[:16]
        with wandb.init(**about, id=one, dir=str(out), mode=mode, settings=quiet, reinit="finish_previous") as made:
            for step, _, values in run.points:
                made.log(values, step=step)
        yield run


def _mlflow(study: str, out: Path, new: Iterable[ExportedRun]) -> Iterator[ExportedRun]:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{out / 'mlflow.db'}"))
    known = client.get_experiment_by_name(study)
    experiment = known.experiment_id if known else client.create_experiment(study, (out / "artifacts").as_uri())
    for run in new:
        began = int(1000 * run.points[0][1])
        one = client.create_run(experiment, began, {"cell": run.label}, run.name).info.run_id
        settings = [Param(name, value[:LONGEST]) for name, value in _flat({**run.config, "seed": run.seed})]
        metrics = [
            Metric(name, value, int(1000 * seconds), step)
            for step, seconds, values in run.points
            for name, value in values.items()
        ]
        for some in _batches(settings, BATCH[1]):
            client.log_batch(one, params=some)
        for some in _batches(metrics, BATCH[0]):
            client.log_batch(one, metrics=some)
        client.set_terminated(one, end_time=int(1000 * run.points[-1][1]))
        yield run


def _trackio(study: str, out: Path, new: Iterable[ExportedRun]) -> Iterator[ExportedRun]:
    with redirect_stdout(StringIO()):  # it tells of each run
        import trackio

        quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        for run in new:
            about = {"name": run.name, "group": run.label, "config": {**run.config, "seed": run.seed}}
            made = trackio.init(project=study, **about, **quiet)
            for step, _, values in run.points:
                made.log(values, step=step)
            made.finish()
            yield run


def _batches(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _flat(node: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each setting by its dotted name, in the letters that MLflow takes."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield re.sub(r"[^\w./: -]", "_", name), str(node)


WRITERS: dict[str, Callable[[str, Path, Iterable[ExportedRun]], Iterator[ExportedRun]]] = dict(
    zip(TRACKERS, (_tensorboard, _wandb, _mlflow, _trackio), strict=True)
)
