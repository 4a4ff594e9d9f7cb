"""A study as one page to read: what was found in words, then tables, figures, and all that is needed to run it again.

    report(outputs, study) -> Page      everything computed by `analysis.tables` and drawn by `analysis.plots`
    write(outputs, study, out) -> Path  the page as one HTML file

The words of the headline come from the tables: who leads, by how much, and whether the 95% intervals of the first two
overlap. Cells compete only within one problem: the same environment with the same settings.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]
from matplotlib.figure import Figure

import ablate
from ablate.refusal import Refusal
from analysis import frames, plots, tables
from analysis.frames import Study
from analysis.outcomes import parts
from analysis.page import (
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
    equation,
    number,
    render,
)

PROBLEMS = 3  # told one by one; of more only how often each variant leads
YEAR = 2026  # of LICENSE


def report(outputs: str | Path, study: str) -> Page:
    """The page of a study. Raises Refusal where there is no such study, or nothing at all in it."""
    found = frames.load(outputs, study)
    if found.cells.empty and found.runs.empty:
        raise Refusal(f"study {study!r} in {outputs} is empty; run it first, or name another study")
    runs = found.runs
    complete = runs["status"] == "complete"
    revisions = [revision[:7] for revision in runs["git_revision"].dropna().unique()]
    byline = [_count(len(found.cells), "cell"), f"{complete.sum():,} of {_count(len(runs), 'run')} complete"]
    byline += [f"revision {', '.join(revisions)}"] if revisions else []
    if complete.any():
        words, results = headline(found), [*_results(found)]
    else:
        words, results = ["No run of this study is complete, so there is nothing to compare yet."], []
    told, answers = _claims(str(outputs), study)
    return Page(
        title=f"Study {study}",
        byline=" · ".join(byline),
        headline=[*told, *_reservations(found)] if told else words,
        sections=[
            *answers,
            *results,
            _runs(found),
            _configurations(found),
            _reproduction(found),
            _citation(),
        ],
    )


def _claims(outputs: str, study: str) -> tuple[list[str], list[Section]]:
    """What a study of the lecture's claims says of them: in words, and claim by claim. Nothing for other studies."""
    from analysis.verdicts.claim import STUDIES, Scale

    if study not in STUDIES.values():
        return [], []
    from analysis.verdicts.command import known
    from analysis.verdicts.page import headline, sections

    scale: Scale = "full" if study == STUDIES["full"] else "quick"
    shown = known(outputs, scale)
    return headline(shown), sections(shown, outputs, scale)


def write(outputs: str | Path, study: str, out: Path | None) -> Path:
    """Write the page to `out`, by default outputs/<study>/report.html. Raises Refusal where it cannot be."""
    path = out or Path(outputs) / study / "report.html"
    plots.theme()
    html = render(report(outputs, study))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}; choose another file with --out") from None
    return path


# ------------------------------------------------------------------------------------------------ in words


@dataclass(frozen=True)
class Contest:
    """The first and the second of the rows of a table by one of its columns; `tied` shares the first value."""

    first: pd.Series
    second: pd.Series | None
    tied: Sequence[str]
    column: str

    @property
    def separate(self) -> bool | None:
        """Whether the intervals of the two lie apart; None where one has no interval."""
        assert self.second is not None
        (low, high), (other_low, other_high) = (_limits(row, self.column) for row in (self.first, self.second))
        if pd.isna([low, high, other_low, other_high]).any():
            return None
        return bool(high < other_low or other_high < low)

    @property
    def lead(self) -> str:
        if len(self.tied) > 1:
            return f"{_listed(self.tied)} tie"
        return f"{self.tied[0]} before {self.second['label']}" if self.second is not None else self.tied[0]

    @property
    def clear(self) -> bool:
        """One leader, apart from the next."""
        return len(self.tied) == 1 and self.second is not None and self.separate is True


def contest(table: pd.DataFrame, column: str, largest: bool = False) -> Contest | None:
    """Who leads by a column, by its smallest value or its largest; None where fewer than two rows have any value."""
    if column not in table or table[column].notna().sum() < 2:
        return None
    ranked = table[table[column].notna()].sort_values(column, ascending=not largest, kind="stable")
    if not np.isfinite(ranked[column].iloc[0]):
        return None
    tied = ranked["label"][ranked[column] == ranked[column].iloc[0]]
    after = ranked.iloc[len(tied) :]
    return Contest(ranked.iloc[0], after.iloc[0] if len(after) else None, list(tied), column)


@dataclass(frozen=True)
class Question:
    """A column, which end of it is good, and how its answer is told: {who}, {value}, {threshold}."""

    column: str
    largest: bool
    answer: str
    short: str


SOONEST = Question(
    "env_steps_to_solve",
    False,
    "{who} needs the fewest samples: half of its runs reach a mean return of {threshold} within {value} environment "
    "steps",
    "the fewest environment steps to the threshold",
)
FASTEST = Question(
    "auc",
    True,
    "{who} learns fastest, by the area under its learning curve: {value}",
    "the largest area under the learning curve",
)
BEST = Question("final_return", True, "{who} ends with the highest return: {value}", "the highest final return")
NOISE = Question(
    "trace_variance_first",
    False,
    "{who} has the least noise at the first policy: its gradient of one trajectory has a trace variance of {value}",
    "the least noise at the first policy",
)
RATIO = Question(
    "nsr_first",
    False,
    "{who} has the least noise for its signal at the first policy: a noise-to-signal ratio of {value}",
    "the lowest noise-to-signal ratio at the first policy",
)


def headline(study: Study) -> list[str]:
    """What was found, in words, a string a paragraph."""
    table = tables.side_by_side(study)
    if table.empty:
        return ["The runs of this study record no return, so no variant is put before another.", *_reservations(study)]
    table = table.assign(threshold=study.cells["threshold"].reindex(table.index))
    problems = dict(_problems(study, table))
    if len(problems) == 1:
        told = [text for rows in problems.values() for text in [*_summary("", rows), *_told(rows)]]
    elif len(problems) <= PROBLEMS:
        told = [text for name, rows in problems.items() for text in _summary(f"on {name}, ", rows)]
    else:
        told = list(_tally(list(problems.values())))
    if not told and len(table) == 1:
        told = [f"One cell only, {table['label'].iloc[0]} on {table['env'].iloc[0]}, so there is nothing to compare."]
    return [*(told or ["No two variants met on one problem, so none is put before another."]), *_reservations(study)]


def _problems(study: Study, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, rows) of what competes: the cells of one environment with the same settings."""
    settings = [name for name in study.cells if name.startswith("env.")]
    for _, rows in table.groupby(parts(study.cells.loc[table.index]), sort=False):
        cell = study.cells.loc[rows.index[0]]
        alike = study.cells[study.cells["env"] == cell["env"]]
        varying = [name for name in settings if len(alike[name].unique()) > 1]
        variants = study.cells["variant"].loc[rows.index]
        named = rows.assign(label=variants) if variants.is_unique else rows
        yield " ".join([cell["env"], *(f"{name}={cell[name]}" for name in varying)]), named.assign(variant=variants)


def _questions(rows: pd.DataFrame) -> list[tuple[Question, Contest]]:
    """What is told of a problem: samples, final return, noise, and noise for signal, as far as they are known."""
    learning = SOONEST if contest(rows, SOONEST.column) else FASTEST
    asked = [
        (question, contest(rows, question.column, question.largest)) for question in (learning, BEST, NOISE, RATIO)
    ]
    return [(question, answer) for question, answer in asked if answer]


def _summary(place: str, rows: pd.DataFrame) -> Iterator[str]:
    """Which questions have an answer whose interval lies apart from the next one's, and which are open."""
    asked = _questions(rows)
    clear = [(question, answer) for question, answer in asked if answer.clear]
    told = []
    for who in dict.fromkeys(answer.tied[0] for _, answer in clear):
        led = [question.short for question, answer in clear if answer.tied[0] == who]
        told.append(f"{who} has {_listed(led)}, with a 95% interval apart from the next one's.")
    if asked and not clear:
        told.append("by no measure does the leader's 95% interval lie apart from the next one's.")
    if unsettled := [f"{question.short} ({answer.lead})" for question, answer in asked if not answer.clear]:
        told.append(f"Not settled: {_listed(unsettled)}.")
    if told:
        yield _capital(place + " ".join(told))


def _told(rows: pd.DataFrame) -> Iterator[str]:
    for question, answer in _questions(rows):
        value = _with_interval(answer.first, question.column)
        filled = {"value": value, "threshold": number(answer.first["threshold"])}
        if len(answer.tied) > 1:
            text = f"{_listed(answer.tied)} tie for {question.short}: {number(answer.first[question.column])}"
        else:
            text = question.answer.format(who=answer.tied[0], **filled)
        yield _capital(text) + _next(answer) + _never(question, rows)


def _next(answer: Contest) -> str:
    if answer.second is None:
        return "."
    second = f"; next comes {answer.second['label']} with {_with_interval(answer.second, answer.column)}. "
    if np.isinf(answer.second[answer.column]):
        second = f"; for {answer.second['label']} it has no bound. "
    return (
        second
        + {
            True: "Their 95% intervals do not overlap.",
            False: "Their 95% intervals overlap, so this alone does not settle which of the two is ahead.",
            None: "Without an interval for both, the order of the two is one observation and no finding.",
        }[answer.separate]
    )


def _never(question: Question, rows: pd.DataFrame) -> str:
    if question is not SOONEST:
        return ""
    never = list(rows["label"][np.isinf(rows[question.column])])
    return f" With {_listed(never)}, fewer than half of the runs get there." if never else ""


def _tally(problems: Sequence[pd.DataFrame]) -> Iterator[str]:
    """Over many problems: how often each variant leads, and how often clearly."""
    asked = [(question, answer) for rows in problems for question, answer in _questions(rows)]
    for question in (SOONEST, FASTEST, BEST, NOISE, RATIO):
        answers = [answer for other, answer in asked if other is question and len(answer.tied) == 1]
        if not answers:
            continue
        leads = Counter(str(answer.first["variant"]) for answer in answers).most_common()
        clear = sum(answer.clear for answer in answers)
        who = ", ".join(f"{variant} on {count}" for variant, count in leads)
        yield (
            f"Over {_count(len(answers), 'problem')} with one leader, {question.short}: {who}. On {clear} of them the "
            "leader's 95% interval lies apart from the next one's."
        )


def _reservations(study: Study) -> Iterator[str]:
    """What the reader must know before believing any of it."""
    seeds = study.cells["complete"][study.cells["complete"] > 0]
    if (seeds == 1).all():
        yield (
            "Each cell has one seed only: there is no spread over seeds, and a difference between two cells may be "
            "chance. Widen the seed range before you conclude anything."
        )
    elif (seeds < 5).any():
        yield f"Some cells have no more than {_count(int(seeds.min()), 'seed')}; intervals over so few are rough."
    if len(study.left_out):
        yield (
            f"{len(study.left_out):,} of {_count(len(study.runs), 'run')} are not complete and are left out of every "
            "number and figure; they are listed under Runs. If a variant lost runs because they failed, its numbers "
            "flatter it."
        )
    if study.probe.empty:
        yield "No run was probed, so this page says nothing about the noise of the estimators."


def _limits(row: pd.Series, column: str) -> tuple[float, float]:
    return row.get(f"{column}_low", np.nan), row.get(f"{column}_high", np.nan)


def _with_interval(row: pd.Series, column: str) -> str:
    low, high = _limits(row, column)
    known = not pd.isna([low, high]).any()
    return number(row[column]) + (f" [{number(low)}, {number(high)}]" if known else "")


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _count(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ------------------------------------------------------------------------------------------------ tables and figures

TITLES = {
    "label": "variant",
    "env": "environment",
    "left_out": "left out",
    "iqr_across_seeds": "IQR across seeds",
    "iqr_along_run": "IQR along the run",
    "cvar_drawdown": "CVaR of drawdown",
    "auc": "area under the curve",
    "nsr": "noise-to-signal ratio",
    "nsr_first": "NSR, first policy",
    "nsr_last": "NSR, last policy",
    "trace_variance_first": "trace variance, first policy",
    "trace_variance_last": "trace variance, last policy",
    "spread_across_lr": "spread across learning rates",
    "mse": "mean squared error",
    "ratio": "ratio to reference",
    "final_return_difference": "difference of final returns",
    "final_return_p": "p of no difference",
    "final_return_detectable": "difference these seeds can find",
    "auc_difference": "difference of areas under the curve",
    "auc_p": "p of no difference",
    "auc_detectable": "difference these seeds can find",
    "sooner": "solves sooner",
    "sooner_p": "p of no difference",
    "noise_ratio": "ratio of trace variances",
    "noise_p": "p of no difference",
    "snr_difference": "difference of SNR",
    "snr_p": "p of no difference",
}
MEANINGS = {
    "label": "Phi − baseline, and the settings that tell the cell from others of its name",
    "trained": "the cell that was trained while the probe measured",
    "runs": "complete runs, a seed each",
    "left_out": "runs that are not complete",
    "final_return": "interquartile mean over seeds of the mean return over the last 10% of the iterations",
    "final_return_mean": "the same, mean over seeds",
    "final_return_median": "the same, median over seeds",
    "threshold": "the mean return that counts as solved",
    "worst_quarter": "mean of the lowest quarter of the final returns (CVaR), which an interquartile mean leaves out",
    "optimality_gap": "mean shortfall of the final return from the threshold",
    "solved": "runs whose return, averaged over 5 iterations, reached the threshold",
    "share_solved": "share of the complete and diverged runs whose return, averaged over 5 iterations, reached the "
    "threshold; exact limits",
    "env_steps_to_solve": "environment steps by which half of the runs have solved the task; ∞ where fewer do within "
    "their budget",
    "auc": "interquartile mean over seeds of the mean return over the environment steps that all runs of the same "
    "budget have made; – where that would cut off more than half of one of them (env_steps= sets equal budgets)",
    "common_env_steps": "environment steps that every run of the environment with this budget has made",
    "evaluation_return": "return of the last evaluation without exploration",
    "iqr_across_seeds": "interquartile range of the final return",
    "iqr_along_run": "interquartile range of the differences between successive iterations",
    "cvar_drawdown": "mean of the largest quarter of the drops below the best return so far",
    "collapse": "share of the solved runs that lost half of their gain afterwards",
    "spread_across_lr": "largest less smallest final return over learning rates",
    "diverged": "runs that ended for want of finite numbers",
    "own": "whether it is the variant that was trained",
    "policy": "first or last of the run",
    "mode": "online: the run's own estimator; matched: all variants on shared trajectories; exact: computed",
    "trace_variance": "tr C, the summed variance of the gradient of one trajectory; median over seeds",
    "trace_variance_first": "tr C of the run's own estimator, before any learning",
    "trace_variance_last": "tr C of the run's own estimator, at the end of its training",
    "nsr": "tr C / |mean|²; ∞ where the signal cannot be told from 0",
    "nsr_first": "tr C / |mean|² before any learning; ∞ where the signal cannot be told from 0",
    "nsr_last": "tr C / |mean|² at the end of training; ∞ where the signal cannot be told from 0",
    "ratio": "trace variance over that of the probe's reference, on the same trajectories",
    "bias_squared": "|mean − grad J|²",
    "mse": "of the estimate of a whole batch, bias included",
    "v_s0": "the part of the trace variance that comes from the first state",
    "v_action": "the part that comes from the actions: all that a baseline can lower",
    "v_transition": "the part that comes from the transitions",
    "v_coupling": "the part that comes from the baseline's use of the other episodes",
    "against": "the variant that it is compared with, on the seeds that both have completed",
    "seeds": "complete in both",
    "final_return_difference": "mean over shared seeds of the final return less that of the other variant",
    "final_return_p": "of no difference: the larger of Student's t and the sign-flip test, after Holm's correction "
    "over the pairs of one problem; below 6 shared seeds it is above 5% whatever they show",
    "final_return_detectable": "the difference that so many seeds, with their spread, find with 80% power",
    "auc_difference": "the same of the area under the curve",
    "auc_p": "as for the final return",
    "auc_detectable": "as for the final return",
    "sooner": "share of the seeds on which the variant solves the task sooner than the other; ties, as of two that "
    "never do, count half",
    "sooner_p": "of one half: the sign test, after Holm's correction",
    "noise_ratio": "of the two variants' own estimators at the first policy, geometric mean over seeds",
    "noise_p": "as for the final return",
    "snr_difference": "of the two variants' own estimators at the first policy, |mean|² / tr C",
    "snr_p": "as for the final return",
}
FORMATS = {"own": lambda own: "yes" if own else "no"}
CAPTIONS = {
    "side_by_side": "What each variant learns, how steadily, and how noisy its own estimator is.",
    "paired_differences": "Does it matter? Each variant less each other one, seed by seed.",
    "sample_efficiency": "What is learnt, and at what cost in samples.",
    "stability": "How steadily: spread over seeds, and along a run. No measure is merged into another.",
    "noise": "What the probe measured of the gradient estimators.",
}
FIGURES = {
    "side_by_side": ["trade"],
    "sample_efficiency": ["learning", "profiles", "improvement"],
    "noise": ["noise", "variance", "split", "horizon", "survey"],
}
NARROW = 5  # inches: one column of a paper
LIMITS = "In brackets, 95% limits over seeds."
ALWAYS = ("label", "trained", "against", "policy", "runs")
HIDDEN = ("against_cell",)
SHARED = ("env", "mode", "own", "threshold", "common_env_steps")  # not shown where all are the same
QUIET = ("left_out", "diverged")  # not shown where all are 0


def table(frame: pd.DataFrame, caption: str) -> Table:
    """One of `analysis.tables` as a block: limits beside their value, and nothing that says the same in every row."""
    limits = {name: (f"{name}_low", f"{name}_high") for name in frame if f"{name}_low" in frame}
    shown = frame.drop(columns=[name for name in frame if _says_nothing(name, frame[name])])
    limits = {name: pair for name, pair in limits.items() if name in shown}
    pairs = [end for name in limits for end in limits[name]]
    kept = [name for name in frame if name in shown or name in pairs]
    if "trained" in kept and (frame["trained"] == frame["label"]).all():
        kept.remove("trained")
    lead = [name for name in ("trained", "label", "against", "policy") if name in kept]
    ordered = frame[[*lead, *(name for name in kept if name not in lead)]]
    titles = {name: TITLES.get(name, name.replace("_", " ")) for name in ordered}
    titles |= {"label": "variant judged", "trained": "variant trained"} if "trained" in ordered else {}
    return Table(ordered, f"{caption} {LIMITS}" if limits else caption, titles, MEANINGS, FORMATS, limits)


def _says_nothing(name: str, column: pd.Series) -> bool:
    if name in ALWAYS or name in HIDDEN:
        return name in HIDDEN
    if name in QUIET:
        return not column.any()
    return bool(column.isna().all() or (name in SHARED and len(column.unique()) < 2))


def _results(study: Study) -> Iterator[Section]:
    made = {name: frame for name, frame in tables.tables(study).items() if not frame.empty}
    drawn = {name: _picture(draw, alternative) for name, (draw, alternative) in plots.figures(study).items()}
    for name, caption in CAPTIONS.items():
        own = [drawn.pop(figure) for figure in FIGURES.get(name, ()) if figure in drawn]
        blocks = [table(made[name], caption)] if name in made else []
        if own or blocks:
            yield Section(_capital(name.replace("_", " ")), name, [*blocks, *_arranged(own)])
    if drawn:
        yield Section("More figures", "figures", _arranged(list(drawn.values())))


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


def _runs(study: Study) -> Section:
    left = study.left_out
    strays = [Table(study.strays, "Not a result, though it looks like one; nothing here counts it.")]
    strays = strays if len(study.strays) else []
    if left.empty:
        said = f"All {_count(len(study.runs), 'run')} are complete; none is left out."
        return Section("Runs", "runs", [Text(said), *strays])
    labels = left["cell"].map(study.cells["label"]).fillna(left["cell"])
    listed = pd.DataFrame({"cell": labels, "seed": left["seed"], "status": left["status"], "reason": left["reason"]})
    meanings = {
        "status": "diverged: its numbers were no longer finite; failed: it ended with an error; unfinished: it has not "
        "ended yet; damaged: its files are not what was written; other schema: of another version of the store"
    }
    said = f"{len(left):,} of {_count(len(study.runs), 'run')} are not complete. The same commands finish what can be."
    missing = Table(listed, "Runs that are left out, with reasons.", {}, meanings)
    return Section("Runs", "runs", [Text(said), missing, *strays])


def _configurations(study: Study) -> Section:
    said = "The command that makes each cell's runs, and its whole resolved configuration."
    folded = [
        Details(f"{cell['label']} on {cell['env']}" if cell["env"] else str(cell["label"]), _configuration(name, cell))
        for name, cell in study.cells.iterrows()
    ]
    return Section("Configurations", "configurations", [*_variants(study.cells), Text(said), *folded])


def _variants(cells: pd.DataFrame) -> Iterator[Table]:
    """What each variant of the policy gradient is; nothing where there is none whose configuration can be read."""
    told = cells.loc[cells["symbol"] != "", ["variant", "symbol", "unbiased"]].drop_duplicates()
    if told.empty:
        return
    caption = "What multiplies the score of step t, and when the mean of that is the gradient of J."
    titles = {"symbol": "Phi − baseline"}
    meanings = {
        "variant": "the estimator, by its name in tables and figures",
        "symbol": "as its yaml writes it; a whitened one is standardised over the batch",
        "unbiased": "exact critic: with the policy's true V or Q; if gamma=1: as discount_scores=false leaves out the "
        "weight γᵗ of step t, for gamma < 1 the mean is the usual discounted direction, which is not the gradient",
    }
    yield Table(told.assign(symbol=told["symbol"].map(equation)), caption, titles, meanings)


def _configuration(name: object, cell: pd.Series) -> list[Block]:
    if not cell["config"]:
        return [Note(f"config.yaml of {name} cannot be read.")]
    text = yaml.safe_dump(cell["config"], sort_keys=False, allow_unicode=True)
    return [Code(cell["command"]), Text(f"Folder {name}."), Code(text.rstrip())]


def _reproduction(study: Study) -> Section:
    blocks: list[Block] = [
        Text(
            "A run is a function of its configuration and its seed, and the same bits come out on the same kind of "
            "processor with the same versions. A command skips what is done and finishes what is not."
        )
    ]
    commands = [command for command in study.cells["command"] if command]
    if commands:
        blocks.append(Group("Commands", [Code("\n".join(commands)), Text("This page:"), Code(_own_command(study))]))
    blocks.append(Group("Versions", [Definitions(_versions(study.runs))]))
    return Section("How to reproduce it", "reproduce", blocks)


def _own_command(study: Study) -> str:
    place = "" if str(study.outputs) == "outputs" else f" --outputs {study.outputs}"
    return f"python -m analysis report {study.name}{place}"


def _versions(runs: pd.DataFrame) -> dict[str, str]:
    """Name -> the version that made the runs; where they differ, each with how many runs it made."""
    seen: dict[str, Counter[str]] = {}
    for text in runs["versions"].dropna():
        for name, version in (json.loads(text) or {}).items():
            seen.setdefault(name, Counter())[str(version)] += 1
    revisions = Counter(runs["git_revision"].dropna())
    if revisions:
        seen["git revision"] = revisions
    told = {name: _one_or_each(versions) for name, versions in seen.items()}
    return told or {"versions": "no run has recorded any"}


def _one_or_each(versions: Counter[str]) -> str:
    if len(versions) == 1:
        return next(iter(versions))
    return ", ".join(f"{version} ({_count(count, 'run')})" for version, count in versions.most_common())


def _citation() -> Section:
    entry = f"""@software{{ablate,
  title   = {{ablate: variance studies of policy gradients}},
  author  = {{{{the ablate authors}}}},
  version = {{{ablate.__version__}}},
  year    = {{{YEAR}}},
  license = {{MIT}}
}}"""
    return Section("How to cite", "cite", [Code(entry)])
