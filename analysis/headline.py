"""What a study found, in words, each of them decided by a paired test of `analysis.paired_tests`. A report's first
sentence is `answer.answer`; these follow.

A variant is called ahead of another only where the paired test over their shared seeds says so, after Holm's correction
over all pairs of the part; it has the most or the least of something only where it is ahead of every other, so that
picking the leader first cannot favour it. Cells compete within one part: an environment with the same settings, and one
budget.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from ablate.statistics.formatting import counted, number

from . import paired_tests, tables
from .frames import StudyFrames, left_for_tuning
from .run_summaries import names_within, part_names, parts

MAX_PARTS_IN_FULL = 3  # described one by one; of more only how often each variant is ahead
MAX_VARIANTS_IN_SENTENCE = 3  # variants that a sentence names; the table has them all
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ENOUGH = 6  # shared seeds below which no paired test reaches 5%


@dataclass(frozen=True)
class ComparisonMetric:
    """A column of `side_by_side`; the columns of `paired_differences` that decide it, and where its middle is; which
    end is good; and the words."""

    column: str
    difference: str
    p: str
    middle: float
    largest: bool
    what: str
    short: str
    ahead: str


SOONEST = ComparisonMetric(
    "env_steps_to_solve",
    "sooner",
    "sooner_p",
    0.5,
    True,
    "Environment steps by which half of the runs reach a mean return of {threshold}",
    "the fewest environment steps to the threshold",
    "solves sooner than",
)
FASTEST = ComparisonMetric(
    "auc",
    "auc_difference",
    "auc_p",
    0.0,
    True,
    "Mean return over the environment steps that all runs have made",
    "the largest area under the learning curve",
    "learns faster than",
)
BEST = ComparisonMetric(
    "final_return",
    "final_return_difference",
    "final_return_p",
    0.0,
    True,
    "Final return",
    "the highest final return",
    "ends above",
)
NOISE = ComparisonMetric(
    "trace_variance_first",
    "noise_ratio",
    "noise_p",
    1.0,
    False,
    "Trace variance of the gradient of one trajectory, at the first policy",
    "the least noise at the first policy",
    "has less noise than",
)
RATIO = ComparisonMetric(
    "nsr_first",
    "snr_difference",
    "snr_p",
    0.0,
    True,
    "Noise-to-signal ratio at the first policy",
    "the lowest noise-to-signal ratio at the first policy",
    "has less noise for its signal than",
)
METRICS = (SOONEST, FASTEST, BEST, NOISE, RATIO)
FIRST = (SOONEST, BEST, NOISE)  # whose numbers are seen first


@dataclass(frozen=True)
class PairedComparison:
    """Two variants and their test: `ahead` is the better one where it is decided, else None."""

    better: str
    worse: str
    p: float
    ahead: str | None


@dataclass(frozen=True)
class Answer:
    """A question's rows of one part, best first, and the tests between any two of them."""

    question: ComparisonMetric
    rows: pd.DataFrame
    pairs: Mapping[frozenset[str], PairedComparison]

    @property
    def names(self) -> list[str]:
        return list(self.rows["label"])

    @property
    def leader(self) -> str | None:
        """Who is ahead of every other."""
        for name in self.names:
            others = [other for other in self.names if other != name]
            if others and all(self.ahead(name, other) for other in others):
                return name
        return None

    @property
    def unbeaten(self) -> list[str]:
        """Whom no other is ahead of."""
        return [name for name in self.names if not any(self.ahead(other, name) for other in self.names)]

    def ahead(self, one: str, other: str) -> bool:
        """Whether the test between them puts one before the other."""
        return self.winner(one, other) == one

    def winner(self, one: str, other: str) -> str | None:
        """Whom the test between two puts before the other, if any."""
        pair = self.pairs.get(frozenset((one, other)))
        return pair.ahead if pair else None

    def reported(self) -> Iterator[PairedComparison]:
        """The pairs that a sentence is about: all of three variants, else the first against each."""
        few = len(self.names) <= MAX_VARIANTS_IN_SENTENCE
        for two in combinations(self.names, 2) if few else ((self.names[0], other) for other in self.names[1:]):
            if pair := self.pairs.get(frozenset(two)):
                yield pair


def paragraphs(study: StudyFrames) -> list[list[str]]:
    """What was found, as paragraphs of sentences; a report opens with `answer.answer`."""
    found = {
        name: answers(rows, paired_tests.paired_differences(study))
        for name, rows in named_parts(study)
        if len(rows) > 1
    }
    if len(found) == 1:
        texts = [text for own in found.values() for text in [_summary("", own), *([_sentence(x)] for x in own)]]
    elif len(found) <= MAX_PARTS_IN_FULL:
        texts = [_summary(f"on {name}, ", own) for name, own in found.items()]
    else:
        texts = [[text] for text in _tally(list(found.values()))]
    return [text for text in texts if text] or [[nothing(study)]]


def nothing(study: StudyFrames) -> str:
    """Why there is nothing to tell."""
    table = tables.side_by_side(study)
    if table.empty:
        return "The runs of this study record no return, so no variant can be compared with another."
    if len(table) == 1:
        row, cells = table.iloc[0], len(study.cells)
        final = f" Its final return is {_value(BEST, row)}." if np.isfinite(row.get("final_return", np.nan)) else ""
        which = f"Of {cells:,} cells one has complete runs" if cells > 1 else "This study has one cell"
        return f"{which}, {row['label']} on {row['env']}, so there is nothing to compare.{final}"
    return "No two variants share a problem, so none can be compared with another."


def named_parts(study: StudyFrames) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, rows) of what competes."""
    table = tables.side_by_side(study)
    if table.empty:
        return
    table = table.assign(threshold=study.cells["threshold"].reindex(table.index))
    names, shown = part_names(study.cells), names_within(study.cells)
    for _, rows in table.groupby(parts(study.cells).loc[table.index], sort=False):
        yield names[rows.index[0]], rows.assign(variant=study.cells["variant"], label=shown[rows.index])


def numbers(study: StudyFrames) -> list[tuple[str, str, str]]:
    """(value, its limits, what it is) of the first variant by each question, where all cells are of one part."""
    found = [rows for _, rows in named_parts(study)]
    asked = answers(found[0], paired_tests.paired_differences(study)) if len(found) == 1 else []
    return [
        (*_bare(answer.question, answer.rows.iloc[0]), _what(answer)) for answer in asked if answer.question in FIRST
    ]


def _what(answer: Answer) -> str:
    what = answer.question.what.format(threshold=number(answer.rows["threshold"].iloc[0]))
    return f"{what}, {answer.names[0]}"


def answers(rows: pd.DataFrame, paired: pd.DataFrame) -> list[Answer]:
    """Of one part: samples (or areas, where none solves the task), final return, noise, and noise for signal, as far as
    two cells have them."""
    own = paired[paired.index.isin(rows.index) & paired.get("against_cell", pd.Series(dtype=object)).isin(rows.index)]
    found = {question.column: made for question in METRICS if (made := _answer(question, rows, own))}
    if SOONEST.column in found:
        found.pop(FASTEST.column, None)
    return list(found.values())


def _answer(question: ComparisonMetric, rows: pd.DataFrame, paired: pd.DataFrame) -> Answer | None:
    if question.column not in rows or rows[question.column].notna().sum() < 2:
        return None
    least = question.column in (SOONEST.column, NOISE.column, RATIO.column)
    ranked = rows[rows[question.column].notna()].sort_values(question.column, ascending=least, kind="stable")
    if not np.isfinite(ranked[question.column].iloc[0]):
        return None
    name = ranked["label"]
    pairs = {}
    for cell, row in paired.iterrows():
        if question.p not in row or pd.isna(row[question.p]) or {cell, row["against_cell"]} - set(name.index):
            continue
        one, other = name[cell], name[row["against_cell"]]
        first, decided = paired_tests.better(row, question.difference, question.p, question.middle, question.largest)
        one, other = (one, other) if first else (other, one)
        pairs[frozenset((one, other))] = PairedComparison(one, other, float(row[question.p]), one if decided else None)
    return Answer(question, ranked, pairs)


def _summary(place: str, asked: Sequence[Answer]) -> list[str]:
    """Which questions one variant answers before every other, and which are open; a string a sentence. Nothing where no
    pair is tested."""
    if not any(answer.pairs for answer in asked):
        return []
    leaders = list(dict.fromkeys(answer.leader for answer in asked if answer.leader))
    led = [(who, listed([answer.question.short for answer in asked if answer.leader == who])) for who in leaders]
    first = listed([f"{who} has {what}" for who, what in led]) if led else "no variant is ahead of every other"
    sentences = [capital(f"{place}by paired tests over shared seeds, {first}.")]
    unsettled = [
        f"{answer.question.short} (unbeaten: {listed(shortened(answer.unbeaten))})"
        for answer in asked
        if not answer.leader
    ]
    return [*sentences, f"It is not settled which has {listed(unsettled, 'or')}."] if unsettled else sentences


def _sentence(answer: Answer) -> str:
    """The values of a question, and what the tests between them decide."""
    question, rows = answer.question, answer.rows
    values = [f"{row['label']} {_value(question, row)}" for _, row in rows.head(MAX_VARIANTS_IN_SENTENCE).iterrows()]
    left = len(rows) - len(values)
    text = f"{question.what.format(threshold=number(rows['threshold'].iloc[0]))}: {'; '.join(values)}"
    text += f"; and {left} more in the table." if left > 0 else "."
    pairs = list(answer.reported())
    decided = [f"{pair.better} {question.ahead} {pair.worse} ({p_value(pair.p)})" for pair in pairs if pair.ahead]
    undecided = [f"{pair.better} and {pair.worse} ({p_value(pair.p)})" for pair in pairs if not pair.ahead]
    if decided:
        text += f" By paired tests, {listed(decided)}."
    if undecided:
        text += f" No test separates {listed(undecided)}."
    if pairs:
        return text
    if len(rows) > paired_tests.MOST:
        return f"{text} More than {paired_tests.MOST} cells are not tested pair by pair."
    few = ", and noise that comes from 8 episodes or more" if question in (NOISE, RATIO) else ""
    return f"{text} Not tested: a paired test needs two seeds that both have{few}."


def _bare(question: ComparisonMetric, row: pd.Series) -> tuple[str, str]:
    """The value and its limits, "" where there are none."""
    low, high = (row.get(f"{question.column}_{end}", np.nan) for end in ("low", "high"))
    limits = "" if pd.isna([low, high]).any() else f"[{number(low)}, {number(high)}]"
    return tables.written(question.column, row[question.column]), limits


def _value(question: ComparisonMetric, row: pd.Series) -> str:
    value = " ".join(filter(None, _bare(question, row)))
    if question is BEST:
        value += f" (worst quarter {number(row['worst_quarter'])})"
    if question is SOONEST:
        value += f" ({100 * row['share_solved']:.0f}% of the runs solve it)"
    return value


def p_value(p: float) -> str:
    return "p ≤ 0.001" if p <= 0.001 else f"p = {p:.2g}"


def at_most(largest: float, tests: int) -> str:
    """What the largest of several p-values says of all of them."""
    return p_value(largest).replace("=", "≤") if tests > 1 else p_value(largest)


def _tally(found: Sequence[Sequence[Answer]]) -> Iterator[str]:
    """Over many parts: on how many each variant is ahead of every other."""
    for question in METRICS:
        asked = [answer for own in found for answer in own if answer.question is question]
        if not asked:
            continue
        leaders = [
            str(answer.rows["variant"][answer.rows["label"] == answer.leader].iloc[0])
            for answer in asked
            if answer.leader
        ]
        who = [f"{name} on {number(times)}" for name, times in Counter(leaders).most_common()]
        left = len(asked) - len(leaders)
        best = f"{capital(question.short)}, by paired tests over shared seeds on"
        ahead = listed(who) if who else "no variant ahead of every other on any"
        which = f"{best} {counted(len(asked), 'problem')}: {ahead}"
        yield f"{which}; not settled on {number(left)}." if who and left else f"{which}."


def reservations(study: StudyFrames) -> Iterator[str]:
    """What the reader must know before believing any of it."""
    seeds = study.cells["complete"][study.cells["complete"] > 0]
    if (seeds == 1).all():
        yield (
            "Each cell has one seed only: there is no spread over seeds, and a difference between two cells may be "
            "chance. Widen the seed range before you conclude anything."
        )
    elif (seeds < ENOUGH).any():
        yield (
            f"Some cells have no more than {counted(int(seeds.min()), 'seed')}; below {ENOUGH} shared seeds no paired "
            "test can decide, and below 5 there are no intervals."
        )
    if len(study.left_out):
        verb = "is" if len(study.left_out) == 1 else "are"
        yield (
            f"{len(study.left_out):,} of {counted(len(study.runs), 'run')} {verb} not complete and left out of every "
            "number and figure; the list is under Runs. A run that diverged counts as one that does not solve the "
            "task. If a variant lost runs because they failed, its other numbers flatter it."
        )
    if apart := left_for_tuning(study):
        yield f"{apart}."
    named = study.cells[study.cells["complete"] > 0]
    if len(named) and parts(named).nunique() > named["config"].map(lambda config: repr(config.get("env"))).nunique():
        yield "Cells of different budgets are not compared; env_steps= gives learners equal ones."


def shortened(names: Sequence[str]) -> list[str]:
    left = len(names) - MAX_VARIANTS_IN_SENTENCE
    return [*names[:MAX_VARIANTS_IN_SENTENCE], f"{left} more"] if left > 1 else list(names)


def listed(words: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]


def in_letters(amount: int) -> str:
    return WORDS[amount] if amount < len(WORDS) else f"{amount:,}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
