"""What a study says first: which variant is best, whether that is settled, and whether noise is the reason.

Best is whose final return is ahead of every other's in a paired test over shared seeds, corrected for all pairs of the
part: after Holm (`analysis.headline`), of more than 12 cells after Bonferroni (`analysis.leading`). Noise is the trace
variance of each variant's own estimator at the first policy, which all share; it can be a reason only where the better
of two, by one test, has less of it, by another.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil, log2

from ablate.statistics.formatting import counted, number

from . import paired_tests
from .frames import StudyFrames
from .headline import (
    BEST,
    MAX_VARIANTS_IN_SENTENCE,
    NOISE,
    Answer,
    answers,
    listed,
    named_parts,
    nothing,
    p_value,
    shortened,
)
from .leading import differences

Asked = tuple[Answer, Answer | None]  # of one part: final returns, noise


def answer(study: StudyFrames) -> list[str]:
    """The sentences to read first."""
    paired = differences(study)
    found = [own for _, rows in named_parts(study) if len(rows) > 1 and (own := _asked(answers(rows, paired)))]
    if not found:
        return [nothing(study)]
    first = _one(found[0][0]) if len(found) == 1 else _several([returns for returns, _ in found])
    return [first, *_noise(found, measured=not study.probe.empty)]


def _asked(own: Sequence[Answer]) -> Asked | None:
    by_question = {each.question.column: each for each in own}
    returns = by_question.get(BEST.column)
    return (returns, by_question.get(NOISE.column)) if returns else None


def _one(asked: Answer) -> str:
    """Of one part."""
    best, count = asked.names[0], len(asked.names)
    seeds = int(asked.rows["runs"].min())
    highest = f"{best} has the highest final return, {number(asked.rows[BEST.column].iloc[0])}"
    if not asked.pairs:
        return f"Which variant is best is not settled: {highest}, and a test takes two seeds that both have."
    if count > paired_tests.MOST:
        return _many(
            asked, highest, f"paired tests over {counted(seeds, 'seed')}, corrected for all {_pairs(count):,} pairs"
        )
    over = f"in a paired test over {counted(seeds, 'seed')}"
    decided = [pair for pair in asked.pairs.values() if pair.ahead]
    if not decided:
        needed = _needed(count)
        more = f"; to decide any of {counted(_pairs(count), 'pair')} it takes {needed} seeds" if seeds < needed else ""
        return f"Which variant is best is not settled: none ends above another {over}{more}."
    if asked.leader:
        others = "every other variant" if count > 2 else next(name for name in asked.names if name != asked.leader)
        worst = max(pair.p for pair in decided if pair.ahead == asked.leader)
        return f"Best is {asked.leader}, and that is settled: it ends above {others} {over} ({p_value(worst)})."
    first, behind = asked.unbeaten, [name for name in asked.names if name not in asked.unbeaten]
    whole = all(asked.ahead(one, other) for one in first for other in behind)
    verb = "each end above" if whole else "are ahead of some,"
    others = listed(shortened(behind)) if whole else "and none is ahead of them"
    which = "the two" if len(first) == 2 else "these"
    return f"Not settled is which of {which} is best: {listed(shortened(first))} {verb} {others} {over}."


def _many(asked: Answer, highest: str, tests: str) -> str:
    """Of more cells than are compared pair by pair: the best, those that are not told apart from it, and the first that
    is."""
    best, *others = asked.names
    which = f"{len(asked.names):,} cells"
    beaten = [name for name in others if asked.ahead(best, name)]
    level = [name for name in others if not asked.ahead(best, name)]
    if not beaten:
        return f"Which of {which} is best is not settled: {highest}, and no other is told apart from it by {tests}."
    rows = asked.rows.set_index("label")
    p = asked.pairs[frozenset((best, beaten[0]))].p
    nearest = f"the first of them {beaten[0]}, {number(rows[BEST.column][beaten[0]])} ({p_value(p)})"
    if not level:
        return f"Best of {which} is {best}, and that is settled: it ends above every other, {nearest}, by {tests}."
    named = listed(level) if len(level) <= MAX_VARIANTS_IN_SENTENCE else f"{len(level):,} others"
    kinds = set(rows["variant"][[best, *level]])
    alike = f", all of them {kinds.pop()}," if len(kinds) == 1 and len(set(rows["variant"])) > 1 else ""
    return (
        f"Which of {which} is best is not settled: {highest}, and {named}{alike} "
        f"{'are' if len(level) > 1 else 'is'} not told apart from it; settled is that it ends above "
        f"{counted(len(beaten), 'other')}, {nearest}. By {tests}."
    )


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _needed(count: int) -> int:
    """Seeds from which on a sign-flip test of all pairs can decide: 2^(1 - n) times the pairs is 5% at most."""
    return 1 + ceil(log2(_pairs(count) / paired_tests.ALPHA))


def _several(asked: Sequence[Answer]) -> str:
    """Of several parts."""
    leaders = [
        str(each.rows["variant"][each.rows["label"] == each.leader].iloc[0])
        for each in asked
        if each.leader is not None
    ]
    who = [f"{name} on {number(times)}" for name, times in Counter(leaders).most_common()]
    left = len(asked) - len(leaders)
    over = f"Of {counted(len(asked), 'problem')}, by paired tests over shared seeds of the final return: "
    best = f"best, and settled, is {listed(shortened(who))}" if who else "no variant is best on any"
    return f"{over}{best}; not settled on {number(left)}." if left else f"{over}{best}."


def _noise(found: Sequence[Asked], measured: bool) -> Iterator[str]:
    """Whether noise is a reason for what is decided."""
    decided = [(pair, noise) for returns, noise in found for pair in returns.pairs.values() if pair.ahead]
    if not measured:
        yield "Whether noise is the reason is not known: no run was probed."
        return
    if not decided:
        yield "So there is no difference yet that noise could explain."
        return
    same = opposite = 0
    for pair, noise in decided:
        ahead = noise.told_ahead(pair.better, pair.worse) if noise else None
        same += ahead == pair.better
        opposite += ahead == pair.worse
    if opposite:
        yield (
            f"Noise is not the only reason: in {opposite} of {counted(len(decided), 'pair')} that are decided the "
            "better one has more noise at the first policy."
        )
    elif same == len(decided):
        yield "Noise may be the reason: whoever ends above another has less noise at the first policy, too."
    elif same:
        yield (
            f"Noise may be a reason: in {same} of {counted(len(decided), 'pair')} that are decided the better one has "
            "less noise at the first policy, too; of the others no test tells the noise apart."
        )
    else:
        yield "Whether noise is the reason is not settled: no test tells their noise at the first policy apart."
