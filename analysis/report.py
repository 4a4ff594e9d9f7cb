"""A study as one page to read: what was found in words, then tables, figures, and all that is needed to run it again.

    report(outputs, study, choice) -> Page      everything computed by `analysis.tables` and drawn by `analysis.plots`
    write(outputs, study, out, choice) -> Path  the page as one HTML file

The words are those of `analysis.headline`, the columns those of `analysis.columns`.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]
from matplotlib.figure import Figure

import ablate
from ablate import files
from ablate.configuration import CONF
from ablate.configuration.help import description
from ablate.configuration.settings import choices
from ablate.errors import UserError
from ablate.statistics.formatting import counted

from . import excerpts, frames, plots, tables
from .answer import answer
from .columns import table
from .excerpts import Excerpt
from .figures import FIGURES
from .frames import StudyFrames
from .headline import capital, in_letters, numbers, paragraphs, reservations
from .html_page import (
    Block,
    Code,
    Columns,
    Definitions,
    Details,
    Group,
    Note,
    Page,
    Picture,
    Section,
    Table,
    Text,
    Views,
    equation,
    render,
)
from .plots import groups, learning, overview, sweeps
from .run_summaries import parts
from .selection import EVERYTHING, CellFilter, chosen

YEAR = 2026  # of LICENSE


def report(outputs: str | Path, study: str, choice: CellFilter = EVERYTHING) -> Page:
    """The page of a study. Raises UserError where there is no such study, or nothing at all in it."""
    found = chosen(frames.load(outputs, study), choice)
    if found.cells.empty and found.runs.empty:
        if page := _lecture(outputs, study, None):
            return page
        raise UserError(f"study {study!r} in {outputs} is empty; run it first, or name another study")
    runs = found.runs
    complete = runs["status"] == "complete"
    revisions = [revision[:7] for revision in runs["git_revision"].dropna().unique()]
    byline = [counted(len(found.cells), "cell"), f"{complete.sum():,} of {counted(len(runs), 'run')} complete"]
    byline += [f"revision {', '.join(revisions)}"] if revisions else []
    results = [*_results(found)] if complete.any() else []
    after = [*results, _runs(found), _configurations(found), _reproduction(found), _citation()]
    byline = [f"study {study}", *byline]
    if page := _lecture(outputs, study, found):
        head, sections = [*page.headline, *reservations(found)], [*page.sections, *after]
        return replace(page, headline=head, sections=sections, byline=" · ".join(byline))
    if not complete.any():
        return Page(compared(found), [_none_complete(runs)], after, " · ".join(byline))
    seen = [*_glance(found)]
    words, more = _first_words(found)
    return Page(compared(found), words, [*more, *after], " · ".join(byline), seen, numbers(found))


def _none_complete(runs: pd.DataFrame) -> str:
    """Why nothing is compared, with the first reason that a run gives."""
    counts = [f"{number:,} {status}" for status, number in runs["status"].value_counts().items()]
    states = f" ({', '.join(counts)})" if counts else ""
    reasons = [str(reason) for reason in runs["reason"].dropna() if str(reason).strip()]
    reason = f" The first reason given: {reasons[0][:200].rstrip('.')}." if reasons else ""
    return f"No run of this study is complete{states}, so there is nothing to compare yet.{reason}"


def _first_words(study: StudyFrames) -> tuple[list[str], list[Section]]:
    """The one sentence to read, with what to beware of, and all that is left to say as a section."""
    first = " ".join(answer(study))
    left = [Text(text) for sentences in paragraphs(study) if (text := " ".join(sentences)) != first]
    return [first, *reservations(study)], [Section("In words", "words", left)] if left else []


def compared(study: StudyFrames) -> str:
    """What was compared, where, over how many seeds: "CartPole-v1: three Φ, 10 seeds"."""
    cells = study.cells
    places = list(dict.fromkeys(_place(config, env) for config, env in zip(cells["config"], cells["env"], strict=True)))
    where = places[0] if len(places) == 1 else f"{in_letters(len(places))} environments"
    seeds = cells["complete"][cells["complete"] > 0]
    runs = "no complete run" if seeds.empty else counted(int(seeds.max()), "seed")
    runs = f"up to {runs}" if len(seeds.unique()) > 1 else runs
    return f"{capital(where)}: {_varied(cells)}, {runs}"


def _place(config: dict, env: str) -> str:
    node = (config or {}).get("env") or {}
    return str(node.get("id") or _gymnasium_id(env) or env or "unknown environment")


def _gymnasium_id(env: str) -> str:
    """CartPole-v1 of `cartpole`: where Gymnasium has the environment, the line of its yaml begins with that name."""
    line = description(CONF / "env" / f"{env}.yaml") if env in choices("env") else ""
    found = re.match(r"\w+-v\d+(?=:)", line)
    return found[0] if found else ""


def _varied(cells: pd.DataFrame) -> str:
    """By how many variants, and of what, the cells differ."""
    nodes = [config or {} for config in cells["config"]]
    differ = {
        axis: {str((node.get(axis) or {}).get("name")) for node in nodes if node.get(axis)}
        for axis in ("algorithm", "phi", "baseline", "advantage")
    }
    several = [axis for axis, names in differ.items() if len(names) > 1]
    variants = cells["variant"].nunique()
    if len(several) == 1 and len(differ[several[0]]) == variants:
        return f"{in_letters(variants)} {'Φ' if several == ['phi'] else f'{several[0]}s'}"
    if several and variants > 1:
        what = "estimators" if "algorithm" not in several else "variants"
        named = f"{in_letters(variants)} {what}"
        settings = cells.groupby(cells["config"].map(lambda config: repr((config or {}).get("env")))).size().max()
        return f"{in_letters(settings)} settings of {named}" if settings > variants else named
    one = str(cells["label"].iloc[0])
    return f"{in_letters(len(cells))} settings of {cells['variant'].iloc[0]}" if len(cells) > 1 else one


def _glance(study: StudyFrames) -> Iterator[Block]:
    """Learning beside noise; of more cells than curves can show, the best beside noise against what is learnt, and the
    settings; of several problems, each."""
    problems = {repr((config or {}).get("env")) for config in study.cells["config"]}
    if not learning.no_learning(study) and len(problems) == 1:
        yield _curves(study)
    elif not sweeps.no_returns(study):
        one = len(parts(study.cells[study.cells["complete"] > 0]).unique()) == 1
        yield from _many(study) if one else _several(study)


def _curves(study: StudyFrames) -> Block:
    seen = "Learning curves to the end of the runs, one line with an interval band for each variant."
    alternative = plots.in_words(seen, study)
    pictures: list[Block] = [
        Views({axis: _picture(partial(overview.curves, study, axis), alternative) for axis in overview.axes_of(study)})
    ]
    if not overview.no_noise(study):
        seen = "Trace variance of each variant's gradient estimator at the first policy, with its limits."
        pictures.append(_seen(overview.noise, study, seen))
    return Columns(pictures)


def _many(study: StudyFrames) -> Iterator[Block]:
    """Of one problem with many cells."""
    pictures = [_seen(sweeps.ranked, study, "The cells with the highest final return, with intervals.")]
    if not overview.no_noise(study):
        seen = "Scatter plot: noise at the first policy against the final return, a point a cell."
        pictures.append(_seen(sweeps.noise_and_return, study, seen))
    yield Columns(pictures)
    if sweeps.settings(study):
        yield _seen(sweeps.by_setting, study, "The final return of every cell against each setting that is swept.")


def _several(study: StudyFrames) -> Iterator[Block]:
    """Of several problems: the noise by group size where that is what they differ in, and the final returns."""
    sizes = [] if groups.no_groups(study) else [_seen(groups.group_size, study, FIGURES["group_size"].alternative)]
    names = sweeps.problems(study)
    if len(names) > sweeps.PROBLEMS:
        yield from [*sizes, _seen(sweeps.problem_map, study, "The final return on each problem.")]
    else:
        finals = [_seen(partial(sweeps.problem, name=name), study, f"The final return on {name}.") for name in names]
        yield Columns([*sizes, *finals])


def _seen(draw: Callable[[StudyFrames], Figure], study: StudyFrames, seen: str) -> Picture:
    return _picture(partial(draw, study), plots.in_words(seen, study))


def _lecture(outputs: str | Path, study: str, found: StudyFrames | None) -> Page | None:
    """The page of a study of the lecture's claims, from its runs or, without them, from the verdicts that are kept of
    it. None for other studies, and where nothing is kept."""
    from .verdicts.claim import STUDIES, Scale

    if study not in STUDIES.values():
        return None
    from . import lecture_page

    scale: Scale = "full" if study == STUDIES["full"] else "quick"
    return lecture_page.page(str(outputs), scale, from_runs=found is not None)


def write(outputs: str | Path, study: str, out: Path | None, choice: CellFilter = EVERYTHING) -> Path:
    """Write the page to `out`, by default outputs/<study>/report.html. Raises UserError where it cannot be."""
    path = out or Path(outputs) / study / "report.html"
    plots.theme()
    html = render(report(outputs, study, choice))
    files.write(path, html, files.OUT)
    return path


# ------------------------------------------------------------------------------------------------ tables and figures

CAPTIONS = {
    "side_by_side": "What each variant learns, how steadily, and how noisy its own estimator is.",
    "paired_differences": "Does it matter? Each variant less each other one, seed by seed.",
    "sample_efficiency": "What is learnt, and at what cost in samples.",
    "stability": "How steadily: spread over seeds, and along a run. No measure is merged into another.",
    "noise": "What the probe measured of the gradient estimators.",
}
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C where it is there: of a thousand cells it matters
COMMANDS = 12  # that are shown without asking
NARROW = 5  # inches: one column of a paper


def _line(study: StudyFrames) -> str:
    """Where the pass line of the study lies, if all its cells have the same."""
    known = study.cells["threshold"].unique()
    one = len(known) == 1 and np.isfinite(known[0])
    return f" The line that solves, or passes, is a mean return of {known[0]:g}." if one else ""


def _results(study: StudyFrames) -> Iterator[Section]:
    made, gathered = {k: x for k, x in tables.tables(study).items() if not x.empty}, excerpts.groupings(study)
    drawn = {name: _picture(draw, alternative) for name, (draw, alternative) in plots.figures(study).items()}
    for name, caption in CAPTIONS.items():
        own = [drawn.pop(figure) for figure in [*drawn] if FIGURES[figure].section == name]
        words = f"{caption}{_line(study)}" if name == "sample_efficiency" else caption
        of_cells = {} if name == "paired_differences" else gathered
        blocks = [table(name, _rows(study, name, made[name]), words, of_cells)] if name in made else []
        if own or blocks:
            yield Section(capital(name.replace("_", " ")), name, [*blocks, *_arranged(own)])
    if drawn:
        yield Section("More figures", "figures", _arranged(list(drawn.values())))


def _rows(study: StudyFrames, name: str, frame: pd.DataFrame) -> Excerpt:
    return excerpts.of_pairs(frame) if name == "paired_differences" else excerpts.of_cells(study, frame)


def _picture(draw: Callable[[], Figure], alternative: str) -> Picture:
    figure = draw()
    plt.close(figure)  # pyplot would keep it
    return Picture(figure, alternative)


def _arranged(pictures: Sequence[Picture]) -> list[Block]:
    """Narrow figures side by side, before the wide ones."""
    narrow = [picture for picture in pictures if picture.figure.get_figwidth() < NARROW]
    wide = [picture for picture in pictures if picture not in narrow]
    return [*([Columns(narrow)] if narrow else []), *wide]


# ------------------------------------------------------------------------------------------------ how it was made


def _runs(study: StudyFrames) -> Section:
    left = study.left_out
    strays = [Table(study.strays, "Not a result, though it looks like one; nothing here counts it.")]
    strays = strays if len(study.strays) else []
    if left.empty:
        text = f"{counted(len(study.runs), 'run')}, complete: none is left out."
        return Section("Runs", "runs", [Text(text), *strays])
    labels = left["cell"].map(study.cells["label"]).fillna(left["cell"])
    listed = pd.DataFrame({"cell": labels, "seed": left["seed"], "status": left["status"], "reason": left["reason"]})
    meanings = {
        "status": "diverged: its numbers were no longer finite; failed: it ended with an error; unfinished: it has not "
        "ended yet; damaged: its files are not what was written; other schema: of another version of the store"
    }
    text = f"Not complete: {len(left):,} of {counted(len(study.runs), 'run')}. The same commands finish what can be."
    part = excerpts.first_rows(listed)
    caption = "Runs that are left out, with reasons."
    missing = Table(listed, caption, {}, meanings, printed=part.printed, excerpt=part.words)
    return Section("Runs", "runs", [Text(text), missing, *strays])


def _configurations(study: StudyFrames) -> Section:
    text = "The command that makes each cell's runs, and its whole resolved configuration."
    folded = [
        Details(f"{cell['label']} on {cell['env']}" if cell["env"] else str(cell["label"]), _configuration(name, cell))
        for name, cell in study.cells.iterrows()
    ]
    differ = _differences(study)
    return Section("Configurations", "configurations", [*_variants(study.cells), *differ, Text(text), *folded])


def _differences(study: StudyFrames) -> Iterator[Table]:
    """What each cell's command sets; nothing where no command is known."""
    known = study.cells[study.cells["command"] != ""]
    rows = [{"variant": cell["label"], **_overrides(cell["overrides"])} for _, cell in known.iterrows()]
    if any(len(row) > 1 for row in rows):
        part = excerpts.of_cells(study, pd.DataFrame(rows, known.index).fillna("–"))
        caption = "What differs from the defaults; all other settings are at theirs."
        yield Table(part.frame, caption, printed=part.printed, excerpt=part.words)


def _overrides(typed: Sequence[str]) -> dict[str, str]:
    words = [word.partition("=") for word in typed]
    return {key: value for key, _, value in words if key not in ("study", "study.name", "outputs", "seed")}


def _variants(cells: pd.DataFrame) -> Iterator[Table]:
    """What each variant of the policy gradient is; nothing where there is none whose configuration can be read."""
    variants = cells.loc[cells["symbol"] != "", ["variant", "symbol", "unbiased"]].drop_duplicates()
    if variants.empty:
        return
    caption = "What multiplies the score of step t, and when the mean of that is the gradient of J."
    titles = {"symbol": "Phi − baseline"}
    meanings = {
        "variant": "the estimator, by its name in tables and figures",
        "symbol": "as its yaml writes it; a whitened one is standardised over the batch",
        "unbiased": "exact critic: with the policy's true V or Q; if gamma=1: as discount_scores=false leaves out the "
        "weight γᵗ of step t, for gamma < 1 the mean is the usual discounted direction, which is not the gradient",
    }
    yield Table(variants.assign(symbol=variants["symbol"].map(equation)), caption, titles, meanings)


def _configuration(name: object, cell: pd.Series) -> list[Block]:
    if not cell["config"]:
        return [Note(f"config.yaml of {name} cannot be read.")]
    text = yaml.dump(cell["config"], Dumper=DUMPER, sort_keys=False, allow_unicode=True)
    return [Code(cell["command"]), Text(f"Folder {name}."), Code(text.rstrip())]


def _reproduction(study: StudyFrames) -> Section:
    blocks: list[Block] = [
        Text(
            "A run is a function of its configuration and its seed, and the same bits come out on the same kind of "
            "processor with the same versions. A command skips what is done and finishes what is not."
        )
    ]
    commands = [command for command in study.cells["command"] if command]
    if commands:
        page = [Text("This page:"), Code(_own_command(study))]
        blocks.append(Group("Commands", [*_commands(commands), *page]))
    blocks.append(Group("Versions", [Definitions(_versions(study.runs))]))
    return Section("How to reproduce it", "reproduce", blocks)


def _commands(commands: Sequence[str]) -> list[Block]:
    """All of them; of many the first, and the others on demand."""
    if len(commands) <= COMMANDS:
        return [Code("\n".join(commands))]
    words = "The command of the first cell; those of the others differ from it as the table under Configurations says."
    return [Text(words), Code(commands[0]), Details(f"All {len(commands):,} commands", [Code("\n".join(commands))])]


def _own_command(study: StudyFrames) -> str:
    place = [] if str(study.outputs) == "outputs" else ["--outputs", str(study.outputs)]
    return shlex.join(["python", "-m", "ablate", "report", study.name, *place])


def _versions(runs: pd.DataFrame) -> dict[str, str]:
    """Name -> the version that made the runs; where they differ, each with how many runs it made."""
    seen: dict[str, Counter[str]] = {}
    for text in runs["versions"].dropna():
        for name, version in (json.loads(text) or {}).items():
            seen.setdefault(name, Counter())[str(version)] += 1
    revisions = Counter(runs["git_revision"].dropna())
    if revisions:
        seen["git revision"] = revisions
    return {name: _one_or_each(versions) for name, versions in seen.items()} or {"versions": "no run has recorded any"}


def _one_or_each(versions: Counter[str]) -> str:
    if len(versions) == 1:
        return next(iter(versions))
    return ", ".join(f"{version} ({counted(times, 'run')})" for version, times in versions.most_common())


def _citation() -> Section:
    entry = f"""@software{{ablate,
  title   = {{ablate: variance studies of policy gradients}},
  author  = {{{{the ablate authors}}}},
  version = {{{ablate.__version__}}},
  year    = {{{YEAR}}},
  license = {{MIT}}
}}"""
    return Section("How to cite", "cite", [Code(entry)])
