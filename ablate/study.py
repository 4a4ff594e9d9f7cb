"""A study from Python: `ablate.run` is the command `python -m ablate -m`, `ablate.load` reads what commands have left.

    study = ablate.run(phi=["return", "rtg", "advantage"], seed="0-9", env="cartpole")
    study.table()
    study.plot("learning")
    study.report("main.html")

The command runs in a process of its own: the same store, bits and resumption, no guard of `__main__`, in notebooks too.
"""

import io
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.configuration import CONF
from ablate.configuration.overrides import as_text, key, override, parsed, quoted, ranges
from ablate.errors import UserError, shown
from ablate.progress_line import LIVE_SECONDS, is_progress, live_line
from ablate.python_choices import choice
from ablate.runs.progress import SECONDS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def run(*overrides: str, **settings: Any) -> "Study":
    """Train what is not done yet, and give the study back.

    Overrides are those of the command line. Of settings, a list is swept over (but of seeds, which are one job's), a
    tuple is one value that is a list, and a dict holds the settings of a group (`optimizer={"lr": 0.1}`). What can be
    imported stands for a choice of one's own, as a yaml would: a function or class as phi or baseline, a Gymnasium
    class as env, a torch Module as policy, with arguments by `functools.partial`. The study is called main, as on the
    command line.

    Raises UserError with the line that the command line would show; KeyboardInterrupt after Ctrl-C, when what was under
    way is saved. Warns where runs failed or diverged.
    """
    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        words = [*overrides, *_words(settings, Path(folder))]
        own = [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"] if any(Path(folder).iterdir()) else []
        exit_code, said = _command(["-m", *own, *words])
    told = "\n".join(line.removeprefix("ablate: ") for line in said if line.startswith("ablate: "))
    if exit_code == 130:
        raise KeyboardInterrupt
    if exit_code == 1 and told:
        warnings.warn(told, stacklevel=2)
    elif exit_code:
        raise UserError(told or "\n".join(said[-20:]) or f"the command ended with exit code {exit_code}")
    return load(_value(words, "outputs") or "outputs", _value(words, "study.name", "study") or "main")


def load(outputs: str | Path = "outputs", study: str = "main") -> "Study":
    """The study `outputs/<study>`. Raises UserError where there is none."""
    return Study(_analysis("frames").load(outputs, study))


@dataclass(frozen=True, repr=False)
class Study:
    """The results of a study; `frames` has its runs, cells, curves and probe as tidy frames (`analysis/frames.py`)."""

    frames: Any

    def table(self, name: str = "side_by_side") -> "pd.DataFrame":
        """A table by its name: side_by_side, paired_differences, sample_efficiency, stability or noise; in a notebook
        its numbers are shown as in the report. Raises UserError for another name."""
        made = _analysis("tables").tables(self.frames)
        if name not in made:
            raise _unknown("table", name, made)
        return _as_shown(made[name])

    def plot(self, name: str = "learning") -> "Figure":
        """A figure by its name, see `ablate --help`. Raises UserError for another name, and with the reason where the
        study has not what it shows."""
        plots, figures = _analysis("plots"), _analysis("figures")
        if name not in (known := {**figures.FIGURES, **figures.COMPUTED}):
            raise _unknown("figure", name, known)
        plots.theme()
        computed = name in figures.COMPUTED
        figure: Figure = plots.compute(name) if computed else plots.draw(name, self.frames)
        figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined] # drawn off screen, shown in a notebook
        return figure

    def report(self, path: str | Path | None = None) -> Path:
        """Write the study as one page of HTML, by default to outputs/<study>/report.html; returns where it is."""
        place = None if path is None else Path(path)
        written: Path = _analysis("report").write(self.frames.outputs, self.frames.name, place)
        return written

    def __repr__(self) -> str:
        runs = self.frames.runs
        complete = int((runs["status"] == "complete").sum())
        return f"<study {self.frames.name}: {len(self.frames.cells)} cells, {complete} of {len(runs)} runs complete>"

    def _repr_html_(self) -> str:
        return str(self.table()._repr_html_())


def _unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    close = get_close_matches(str(name), known := [*known], n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return UserError(f"there is no {what} {shown(name)!r}; {guess}there are {', '.join(known)}")


def _png(figure: "Figure") -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


def _analysis(module: str) -> Any:
    """A module of the analysis, which lies in a folder of its own in a checkout."""
    return import_module(f"ablate.analysis.{module}")


def _as_shown(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same frame, which a notebook shows as it is read: no number is cut, a value has its limits beside it."""
    import pandas as pd

    tables = _analysis("tables")

    class Table(pd.DataFrame):
        @property
        def _constructor(self) -> Callable[..., pd.DataFrame]:
            return pd.DataFrame

        def _repr_html_(self) -> str:
            with pd.option_context("display.max_colwidth", None):
                return str(tables.shown(self).to_html(index=False, border=0))

    return Table(frame)


def _command(words: Sequence[str]) -> tuple[int, list[str]]:
    """Run the command line with what it says on the way shown here; its exit code, and the lines that it said."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    progress = live_line()
    if progress:
        environment[SECONDS] = str(LIVE_SECONDS)
    with tempfile.TemporaryFile() as table:
        process = subprocess.Popen(
            [sys.executable, "-m", "ablate", *words],
            stdout=table,  # the study has it
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # Ctrl-C comes from here, in terminals as in notebooks
        )
        said: list[str] = []
        assert process.stderr is not None
        while True:
            try:
                for line in process.stderr:
                    said.append(line.rstrip("\n"))
                    if progress and is_progress(line):
                        progress(line.rstrip("\n"))
                    elif not line.startswith("ablate: "):
                        print(line, end="", file=sys.stderr, flush=True)
                return process.wait(), said
            except KeyboardInterrupt:  # it saves what is under way; the second one ends it at once
                process.send_signal(signal.SIGINT)
            except BaseException:
                process.kill()
                raise


def _words(settings: Mapping[str, Any], folder: Path) -> Iterator[str]:
    for name, value in settings.items():
        if name == "study" and isinstance(value, str) and not (CONF / "study" / f"{value}.yaml").exists():
            yield override("study.name", value)
        elif isinstance(value, Mapping):
            yield from _words({f"{name}.{inner}": one for inner, one in value.items()}, folder)
        elif name == "seed" and isinstance(value, list | range):
            together = isinstance(value, range) and value and value.step == 1
            yield f"seed={ranges(value) if together else _listed(value)}"
        elif isinstance(value, list | range):
            if not value:
                raise UserError(f"{name}=[] sweeps over nothing; give at least one value, or a tuple for an empty list")
            yield f"{name}={','.join(_text(name, one, folder) for one in value)}"
        else:
            yield f"{name}={_text(name, value, folder)}"


def _text(name: str, value: Any, folder: Path) -> str:
    """A value in the grammar of the command line."""
    if getattr(value, "shape", None) == ():  # a number of NumPy's or torch's
        value = value.item()
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple):
        return _listed(_text(name, one, folder) for one in value)
    if isinstance(value, os.PathLike):
        value = str(value)
    if not isinstance(value, int | float | str):
        return choice(name, value, folder)
    if name == "seed" or not isinstance(value, str):
        return str(value)
    return override(name, value).removeprefix(f"{name}=")


def _listed(values: Iterable[Any]) -> str:
    return f"[{','.join(map(str, values))}]"


def _value(words: Sequence[str], *names: str) -> str | None:
    """What the last override of one of these settings says, read as the command line reads it."""
    found = [as_text(word) for word in words if key(word) in names]
    read = parsed(found[-1]) if found else None
    return None if read is None else str(read.value())
