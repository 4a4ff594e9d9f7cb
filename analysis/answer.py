"""What a study says first: which variant is best, whether that is settled, and whether noise is the reason.

Best is whose final return is ahead of every other's in a paired test over shared seeds, after Holm's correction over
all pairs of the part (`analysis.headline`). Noise is the trace variance of each variant's own estimator at the first
policy, which all share; it can be a reason only where the better of two, by one test, has less of it, by another.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from ablate.statistics.formatting import counted, number

from . import paired_tests
from .frames import StudyFrames
from .headline import BEST, NOISE, Answer, answers, capital, listed, named_parts, nothing, p_value, shortened

Asked = tuple[Answer, Answer | None]  # of one part: final returns, noise


def answer(study: StudyFrames) -> list[str]:
    """The sentences to read first."""
    paired = paired_tests.paired_differences(study)
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
    if count > paired_tests.MOST:
        return (
            f"Which of {count:,} cells is best is not settled: {best} has the highest final return, "
            f"{number(asked.rows[BEST.column].iloc[0])}, but a correction over all {count * (count - 1) // 2:,} pairs "
            f"leaves no test much to decide, and none is made of more than {paired_tests.MOST} cells "
            "(name fewer by --only)."
        )
    seeds = int(asked.rows["runs"].min())
    if not asked.pairs:
        return (
            f"Which variant is best is not settled: {best} has the highest final return, "
            f"{number(asked.rows[BEST.column].iloc[0])}, and a test takes two seeds that both have."
        )
    over = f"in a paired test over {counted(seeds, 'seed')}"
    decided = [pair for pair in asked.pairs.values() if pair.ahead]
    if not decided:
        return f"Which variant is best is not settled: none ends above another {over}."
    if asked.leader:
        others = "every other variant" if count > 2 else next(name for name in asked.names if name != asked.leader)
        worst = max(pair.p for pair in decided if pair.ahead == asked.leader)
        return capital(
            f"{asked.leader} is best, and that is settled: it ends above {others} {over} ({p_value(worst)})."
        )
    first, behind = asked.unbeaten, [name for name in asked.names if name not in asked.unbeaten]
    whole = all(asked.ahead(one, other) for one in first for other in behind)
    verb = "each end above" if whole else "are ahead of some,"
    others = listed(shortened(behind)) if whole else "and none is ahead of them"
    which = "the two" if len(first) == 2 else "these"
    return capital(f"{listed(shortened(first))} {verb} {others} {over}; which of {which} is best is not settled.")


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
