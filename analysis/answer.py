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
    at_most,
    in_letters,
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
    first = _one(found[0][0]) if len(found) == 1 else _several([returns for returns, _ in found], _places(study))
    return [first, *_noise(study, found)]


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
        return f"Which variant is best is not settled: {highest}, but a test needs two seeds that both variants have."
    if count > paired_tests.MOST:
        return _many(asked, f"paired tests over {counted(seeds, 'seed')}, corrected for all {_pairs(count):,} pairs,")
    tests = f"{'paired tests' if count > 2 else 'a paired test'} over {counted(seeds, 'seed')}"
    decided = [pair for pair in asked.pairs.values() if pair.ahead]
    if not decided:
        needed = _needed(count)
        enough = f"; at least {needed} seeds are needed to decide between {in_letters(count)} variants"
        level, more = "any two variants" if count > 2 else "the two", enough if seeds < needed else ""
        return f"Which variant is best is not settled: {highest}, but {tests} {_do(count)} not separate {level}{more}."
    if asked.leader:
        others = "every other variant" if count > 2 else next(name for name in asked.names if name != asked.leader)
        worst = max(pair.p for pair in decided if pair.ahead == asked.leader)
        return f"The best variant is {asked.leader}: it ends above {others} in {tests} ({at_most(worst, count - 1)})."
    first, behind = asked.unbeaten, [name for name in asked.names if name not in asked.unbeaten]
    if len(first) < 2:
        return f"Which variant is best is not settled: {highest}, but {tests} do not put it above every other."
    whole = all(asked.ahead(one, other) for one in first for other in behind)
    below = all(any(asked.ahead(one, other) for one in first) for other in behind)
    if len(first) == 2:
        which, end, these = f"whether {first[0]} or {first[1]} is best", "both end", "the two"
    else:
        which, end, these = (
            f"which of {listed(shortened(first))} is best",
            "each ends",
            f"these {in_letters(len(first))}",
        )
    rest = "every other variant" if len(behind) > 1 else behind[0]
    lower = f"{rest} ends below {'one of them' if below else 'another'}"
    above = f"{end} above {listed(shortened(behind))}" if whole else lower
    return f"It is not settled {which}: {above}, but {tests} do not separate {these}."


def _do(count: int) -> str:
    return "do" if count > 2 else "does"


def _many(asked: Answer, tests: str) -> str:
    """Of more cells than are compared pair by pair: the best, those from which no test separates it, and the closest of
    those that are behind."""
    best, *others = asked.names
    rows = asked.rows.set_index("label")
    final = {name: number(rows[BEST.column][name]) for name in asked.names}
    highest = f"the highest final return, {final[best]}, is that of {best}"
    which = f"Which of the {len(asked.names):,} cells is best is not settled"
    behind = [name for name in others if asked.ahead(best, name)]
    level = [name for name in others if not asked.ahead(best, name)]
    if not behind:
        return f"{which}: {highest}, and {tests} separate it from no other."
    closest = f"{behind[0]}, {final[behind[0]]} ({p_value(asked.pairs[frozenset((best, behind[0]))].p)})"
    if not level:
        return (
            f"The best of the {len(asked.names):,} cells is {best}: with a final return of {final[best]} it ends above "
            f"every other in {tests} the closest being {closest}."
        )
    named = listed(level) if len(level) <= MAX_VARIANTS_IN_SENTENCE else f"{len(level):,} others"
    kinds = set(rows["variant"][[best, *level]])
    alike = f" (all of them {kinds.pop()})" if len(kinds) == 1 and len(set(rows["variant"])) > 1 else ""
    rest = f"the other {len(behind):,}, the closest being" if len(behind) > 1 else "the last one,"
    return f"{which}: {highest}, which {tests} do not separate from {named}{alike}. It does end above {rest} {closest}."


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _needed(count: int) -> int:
    """Seeds from which on a sign-flip test of all pairs can decide: 2^(1 - n) times the pairs is 5% at most."""
    return 1 + ceil(log2(_pairs(count) / paired_tests.ALPHA))


def _places(study: StudyFrames) -> str:
    """In what the parts of a study differ."""
    return "problem" if len({repr((config or {}).get("env")) for config in study.cells["config"]}) > 1 else "budget"


def _several(asked: Sequence[Answer], place: str) -> str:
    """Of several parts."""
    leaders = [_variant(each, each.leader) for each in asked if each.leader is not None]
    tests, problems = "paired tests of the final return over shared seeds", counted(len(asked), place)
    if not leaders:
        highest = Counter(_variant(each, each.names[0]) for each in asked).most_common()
        who = [f"{name} on {number(times) if times < len(asked) else 'all'}" for name, times in highest]
        return (
            f"Which variant is best is not settled on any of {problems}: highest is {listed(shortened(who))}, but "
            f"{tests} put none above every other."
        )
    who = [f"{name} on {number(times)}" for name, times in Counter(leaders).most_common()]
    where = f"{len(leaders)} of {problems}" if len(leaders) < len(asked) else f"all {problems}"
    left = len(asked) - len(leaders)
    rest = f"; on the other{f' {left}' if left > 1 else ''} it is not settled" if left else ""
    return f"The best variant is settled on {where}, by {tests}: {listed(shortened(who))}{rest}."


def _variant(asked: Answer, label: str) -> str:
    return str(asked.rows["variant"][asked.rows["label"] == label].iloc[0])


def _noise(study: StudyFrames, found: Sequence[Asked]) -> Iterator[str]:
    """Whether noise is a reason for what is decided."""
    decided = [(pair, noise) for returns, noise in found for pair in returns.pairs.values() if pair.ahead]
    if study.probe.empty:
        yield "Whether noise is the reason is not known: these runs did not measure it."
        return
    if not decided:
        yield "No difference is settled yet that noise could explain."
        return
    if not any(noise and frozenset((pair.better, pair.worse)) in noise.pairs for pair, noise in decided):
        yield (
            "Whether noise is the reason is not known: the noise that was measured comes from fewer than 8 episodes, "
            f"too few to compare it{_more(study)}."
        )
        return
    same = opposite = 0
    for pair, noise in decided:
        ahead = noise.winner(pair.better, pair.worse) if noise else None
        same += ahead == pair.better
        opposite += ahead == pair.worse
    one, total = len(decided) == 1, counted(len(decided), "settled pair")
    if opposite == len(decided):
        where = "the better variant" if one else "in every settled pair the better variant"
        yield f"Noise is not the reason: {where} has more gradient noise at the first policy."
    elif opposite:
        yield (
            f"Noise is not the only reason: in {opposite} of {total} the better variant has more gradient noise at the "
            "first policy."
        )
    elif same == len(decided):
        where = "the better variant" if one else "in every settled pair the better variant"
        yield f"Noise may be the reason: {where} also has less gradient noise at the first policy."
    elif same:
        yield (
            f"Noise may be part of the reason: in {same} of {total} the better variant also has less gradient noise at "
            "the first policy; in the others no test separates the noise."
        )
    else:
        yield "Whether noise is the reason is not settled: no test separates the gradient noise at the first policy."


def _more(study: StudyFrames) -> str:
    """What measures more episodes, where some were."""
    probes = [(config or {}).get("probe") or {} for config in study.cells["config"]]
    episodes = max((int(probe.get("episodes") or 0) for probe in probes), default=0)
    return f"; probe.episodes={4 * episodes} measures {4 * episodes:,}" if episodes else ""
