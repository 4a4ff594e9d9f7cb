"""`ablate COMMAND [--study NAME] [--outputs DIR] [--out DIR]`: the tables and figures of a study.

A command is a function of the parsed options with a line in `COMMANDS`; it imports what it needs when it runs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ablate.commands import Parser
from ablate.configuration.ranges import TRACKERS
from ablate.errors import UserError

from .escaping import printable
from .figures import FIGURES, HELP

if TYPE_CHECKING:
    from .frames import StudyFrames
    from .selection import CellFilter

SCRATCH = "scratch"  # the study of what belongs to none


def figure(options: argparse.Namespace) -> None:
    """One figure by its name."""
    from . import plots

    endings = _look(options)
    name = options.command
    if name in FIGURES:
        options.study = options.study or FIGURES[name].study
        picture = plots.draw(name, _load(options))
    elif options.study:
        raise UserError(f"figure {name} is computed, not run; leave out --study {options.study}")
    else:
        options.study = SCRATCH
        picture = plots.compute(name)
    print(*plots.save(picture, _folder(options, "figures"), name, endings), sep="\n")


def figures(options: argparse.Namespace) -> None:
    """All figures that the study has data for."""
    import matplotlib.pyplot as plt

    from . import plots

    endings = _look(options)
    study = _load(options)
    drawn = plots.figures(study)
    if not drawn:
        why = plots.lacks("learning", study)
        raise UserError(f"study {study.name!r} has data for no figure ({why}); python -m ablate tables shows it")
    for name, (draw, _) in drawn.items():
        picture = draw()
        print(*plots.save(picture, _folder(options, "figures"), name, endings), sep="\n")
        plt.close(picture)


def _look(options: argparse.Namespace) -> list[str]:
    """Prepare for what figures are made for; returns the formats."""
    from .plots import formats, made_for, theme

    theme(made_for(options.width, options.font, options.title))
    return formats(options.formats)


def tables(options: argparse.Namespace) -> None:
    """All tables of the study, on the screen and as CSV, Markdown and LaTeX."""
    from rich.console import Console

    from . import tables

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    study = _load(options)
    made = tables.tables(study)
    if not made:
        raise UserError(f"study {study.name!r} has data for no table: its runs record no return")
    saved = {name: tables.save(frame, _folder(options, "tables"), name) for name, frame in made.items()}
    for name, frame in made.items():
        tables.show(frame, name.replace("_", " "), console)
        print(*saved[name], "", sep="\n")


def grading(options: argparse.Namespace) -> None:
    """Who passes a line, and how often the grades of two seeds rank two variants wrongly."""
    from rich.console import Console

    from ablate.files import write

    from . import grading, plots, tables

    endings = _look(options)
    if options.within is not None and options.within < 1:
        raise UserError(f"--within {options.within} is no number of iterations; write --within 50")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    study = _load(options)
    line = grading.lines(study, options.line)
    passed, ranked = grading.passing(study, line, options.within), grading.rankings(study)
    tables.show(passed, "passing", console)
    if len(ranked):
        tables.show(ranked, "wrong rankings by one seed of each", console)
    if options.json is not None:
        write(options.json, grading.as_json(study, passed, ranked))
        print(options.json)
    print(*plots.save(grading.figure(passed, ranked), _folder(options, "figures"), "grading", endings), sep="\n")


def plan(options: argparse.Namespace) -> None:
    """How many seeds or trajectories decide, and in sequential mode whether to go on."""
    from rich.console import Console

    from . import plan

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    study = _load(options)
    aim = plan.Aim(options.effect, options.measure, options.alpha, options.power)
    if options.sequential:
        plan.show_sequential(study, aim, options.most, options.looks, options.spending, console)
    else:
        plan.show(study, aim, console)


def report(options: argparse.Namespace) -> None:
    """The study as one HTML page."""
    from .report import write

    print(write(options.outputs, options.study or "main", options.out, _cell_filter(options)))


def export(options: argparse.Namespace) -> None:
    """The runs of a study for trackers of experiments."""
    from .export import export, needs

    needs(options.to)
    print(*export(_load(options), options.to, options.out), sep="\n")


def import_runs(options: argparse.Namespace) -> None:
    """Runs that other tools have logged, as a study."""
    from .import_logs import import_runs

    study = (options.outputs, options.study, options.env, options.threshold, options.steps, options.returns)
    print(
        *import_runs(options.files, *study, _cell_filter(options)),
        f"results: {options.outputs}/{options.study}/",
        sep="\n",
    )


def claims(options: argparse.Namespace) -> None:
    """The lecture's claims as verdicts."""
    from .verdicts.claim import Scale
    from .verdicts.claim import claims as every
    from .verdicts.command import run

    scale: Scale = "full" if options.full else "quick"
    only = _names(options, "claim", [claim.id for claim in every()])
    files = options.json, options.markdown, options.page, options.pictures
    run(options.outputs, scale, only, *files, options.width, options.formats)


def ledger(options: argparse.Namespace) -> None:
    """Published numbers beside ours."""
    from .ledger.command import run
    from .ledger.entry import entries

    only = _names(options, "entry", [entry.name for entry in entries()])
    run(options.outputs, only, options.json, options.markdown)


def _of_ledger(part: argparse.ArgumentParser) -> None:
    _of_names(part, "these entries alone: their names, as in the table")
    part.add_argument("--json", metavar="FILE", help="write numbers, limits and verdicts there")
    part.add_argument("--markdown", metavar="FILE", help="write a section an entry there, as Markdown")
    part.add_argument("--outputs", metavar="DIR", default="outputs", help="where studies are (default: outputs)")


def _of_claims(part: argparse.ArgumentParser) -> None:
    scale = part.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick", action="store_true", help="five minutes on two cores, study lecture_quick (the default)"
    )
    scale.add_argument("--full", action="store_true", help="under an hour, study lecture; after a kill it goes on")
    _of_names(part, "these claims alone, such as C4,C7")
    part.add_argument("--json", metavar="FILE", help="write the verdicts there")
    part.add_argument("--markdown", metavar="FILE", help="write the table there, as Markdown")
    part.add_argument("--pictures", metavar="DIR", help="write each claim's picture there")
    part.add_argument("--width", metavar="column|page|slide|CM", help="of these pictures; slides are 16:9")
    part.add_argument(
        "--formats", metavar="LIST", default="png,svg", help="theirs, of png, svg, pdf (default: png,svg)"
    )
    part.add_argument("--page", metavar="FILE", help="write the page of claims there, one HTML file")
    part.add_argument("--outputs", metavar="DIR", default="outputs", help="where studies are (default: outputs)")


def _of_study(part: argparse.ArgumentParser, text: str) -> None:
    """A study, by itself or as --study, where it is, and what of it is shown under which names."""
    part.add_argument("named", metavar="STUDY", nargs="?", help=text)
    part.add_argument("--study", metavar="STUDY", help="the same")
    part.add_argument("--outputs", metavar="DIR", default="outputs", help="where studies are (default: outputs)")
    _of_names(part, "these alone: a variant, a label, or a setting such as phi=rtg", "another name for one")


RENAME_ELSEWHERE = "not taken: these names are fixed; ablate report and ablate figures rename what a study shows"


def _of_names(part: argparse.ArgumentParser, only: str, rename: str = RENAME_ELSEWHERE) -> None:
    """What of all there is, and under which names."""
    choice = part.add_argument_group("what is shown", "each may be given several times; * stands for any letters")
    choice.add_argument("--only", metavar="NAME,...", action="append", default=[], help=only)
    choice.add_argument("--drop", metavar="NAME,...", action="append", default=[], help="all but these")
    choice.add_argument("--rename", metavar="OLD=NEW", action="append", default=[], help=rename)


def _of_files(part: argparse.ArgumentParser) -> None:
    """The options of a command that writes several files."""
    _of_study(part, "the study to show (default: main, or the figure's own)")
    part.add_argument(
        "--out", metavar="DIR", type=Path, help="where files go (default: figures or tables, in the study's folder)"
    )


def _of_figures(part: argparse.ArgumentParser) -> None:
    """The options of a command that draws."""
    _of_files(part)
    look = part.add_argument_group("what it is made for")
    look.add_argument("--width", metavar="column|page|slide|CM", help="of the figure; slides are 16:9")
    look.add_argument("--font", metavar="NAME", help="a family of letters, such as 'serif' or 'DejaVu Serif'")
    look.add_argument("--formats", metavar="LIST", default="png,svg,pdf", help="of png, svg, pdf (default: all)")
    look.add_argument("--title", choices=("on", "off"), default="on", help="off where a caption says it")


def _of_import(part: argparse.ArgumentParser) -> None:
    """The names are those of the variants in the files, or what is written before a file."""
    part.add_argument("files", metavar="[VARIANT=]FILE", nargs="+", help="a log, or a folder of them")
    part.add_argument("--study", metavar="STUDY", required=True, help="where they go, such as theirs")
    part.add_argument("--env", metavar="NAME", default="", help="the environment, where the files do not say")
    part.add_argument("--threshold", metavar="X", type=float, help="the mean return that counts as solved")
    part.add_argument("--steps", metavar="COLUMN", default="", help="the column of env steps, where it is not found")
    part.add_argument("--returns", metavar="COLUMN", default="", help="the column of returns, where it is not found")
    _of_names(part, "these variants of the files alone", "another name for one, in the study")
    part.add_argument("--outputs", metavar="DIR", default="outputs", help="where studies are (default: outputs)")


def _of_plan(part: argparse.ArgumentParser) -> None:
    _of_study(part, "the pilot study (default: main)")
    part.add_argument(
        "--effect",
        metavar="X",
        type=float,
        required=True,
        help="the smallest difference that matters, in the unit of the return; of noise a ratio, such as 1.25",
    )
    measures = ("final_return", "auc", "noise")
    part.add_argument("--measure", choices=measures, default="final_return", help="(default: final_return)")
    part.add_argument("--power", metavar="P", type=float, default=0.8, help="chance to find it (default: 0.8)")
    part.add_argument("--alpha", metavar="A", type=float, default=0.05, help="false alarms (default: 0.05)")
    part.add_argument("--sequential", action="store_true", help="look several times, and stop when decided or futile")
    part.add_argument("--most", metavar="N", type=int, help="seeds at the last look (default: from the pilot)")
    part.add_argument("--looks", metavar="K", type=int, default=4, help="how many looks (default: 4)")
    spending = ("obrien-fleming", "pocock")
    part.add_argument("--spending", choices=spending, default=spending[0], help=f"of alpha (default: {spending[0]})")


def _of_grading(part: argparse.ArgumentParser) -> None:
    _of_figures(part)
    part.add_argument("--line", metavar="X", type=float, help="mean return of a batch that passes (default: threshold)")
    part.add_argument("--within", metavar="K", type=int, help="iterations in which it is to be reached (default: all)")
    part.add_argument("--json", metavar="FILE", type=Path, help="write the numbers there")


def _of_export(part: argparse.ArgumentParser) -> None:
    _of_study(part, "the study to export (default: main)")
    part.add_argument("--to", choices=TRACKERS, required=True, help="whose runs they become")
    part.add_argument("--out", metavar="DIR", type=Path, help="where (default: DIR/STUDY/export/TOOL)")


def _of_report(part: argparse.ArgumentParser) -> None:
    _of_study(part, "the study to show (default: main)")
    part.add_argument("--out", metavar="FILE", type=Path, help="the page (default: DIR/STUDY/report.html)")


class Command(NamedTuple):
    run: Callable[[argparse.Namespace], None]
    help: str
    arguments: Callable[[argparse.ArgumentParser], None] = _of_files


COMMANDS = {
    "tables": Command(tables, "sample efficiency, stability and noise: screen, CSV, Markdown, LaTeX"),
    "figures": Command(figures, "every figure that the study has data for", _of_figures),
    "report": Command(report, "the study as one HTML page: words, tables, figures, commands", _of_report),
    "plan": Command(plan, "how many seeds or trajectories decide, from a pilot and a smallest effect", _of_plan),
    "grading": Command(grading, "the share of seeds that pass a line, and how far one seed's grade holds", _of_grading),
    "export": Command(export, "the runs of a study for TensorBoard, W&B, MLflow or Trackio", _of_export),
    "import": Command(
        import_runs, "runs logged by Stable-Baselines3, CleanRL, TensorBoard, W&B or as a CSV", _of_import
    ),
    "claims": Command(claims, "the lecture's claims C1 to C21 as verdicts, running what is missing", _of_claims),
    "ledger": Command(ledger, "published numbers of the field beside ours, with limits and verdicts", _of_ledger),
} | {name: Command(figure, text, _of_figures) for name, text in HELP.items()}


def parser() -> argparse.ArgumentParser:
    whole = Parser(prog="ablate", description="Tables and figures of a study.", allow_abbrev=False)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for name, command in COMMANDS.items():
        part = commands.add_parser(name, help=command.help, description=command.help, allow_abbrev=False)
        command.arguments(part)
        part.set_defaults(run=command.run)
    return whole


def _folder(options: argparse.Namespace, what: str) -> Path:
    return options.out or Path(options.outputs) / (options.study or "main") / what


def _cell_filter(options: argparse.Namespace) -> "CellFilter":
    from .selection import CellFilter

    return CellFilter(options.only, options.drop, options.rename)


def _names(options: argparse.Namespace, what: str, names: Sequence[str]) -> str | None:
    """The names that were asked for, with commas between; None for all. Raises UserError for --rename."""
    from .selection import chosen_names

    if options.rename:
        raise UserError(f"--rename {options.rename[0]} is {RENAME_ELSEWHERE}")
    return ",".join(chosen_names(names, _cell_filter(options), what)) if options.only or options.drop else None


def _load(options: argparse.Namespace) -> "StudyFrames":
    """What was asked for of the study; says on stderr what of it is left out."""
    from . import frames
    from .selection import chosen

    study = chosen(frames.load(options.outputs, options.study or "main"), _cell_filter(options))
    if apart := frames.left_for_tuning(study):
        print(f"left out: {apart}", file=sys.stderr)
    for run in study.left_out.itertuples():
        reason = f": {run.reason}" if run.reason else ""
        print(f"left out: {printable(run.cell)} seed={run.seed} is {run.status}{reason}", file=sys.stderr)
    for stray in study.strays.itertuples():
        print(f"not a result: {printable(f'{stray.path}: {stray.reason}')}", file=sys.stderr)
    return study


def main(arguments: Sequence[str]) -> int:
    """Run a command. Raises UserError on bad input."""
    options = parser().parse_args(arguments)
    if named := getattr(options, "named", None):
        if options.study not in (None, named):
            raise UserError(f"{named} and --study {options.study} are two studies; leave one out")
        options.study = named
    options.run(options)
    return 0
