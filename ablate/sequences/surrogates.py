"""What a loss makes of answers that an older policy wrote: the importance ratio, its clipping, and mistakes in them.

A token whose log-probability is log rho above that of the policy that wrote it has the multiplier m(rho) w A in place
of w A. Of the clipped surrogate sum min(rho A, clip(rho, 1 - low, 1 + high) A) (Schulman et al. 2017)

    m(rho) = rho where A > 0 and rho <= 1 + high, or A < 0 and rho >= 1 - low; else 0

as in `exact.Surrogate`. Here m is measured: of answers of one token at ratios from e^-5 to e^5, of either sign of A,
then whether rho is that of the token, of the answer, or the geometric mean of the answer's; and at last all of it is
held against answers whose tokens have ratios of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.sequences.definitions import SAME
from ablate.sequences.findings import Finding
from ablate.sequences.subject import OLD, Floats, Mask, Subject

HALF = np.geomspace(1e-5, 5.0, 60)
GRID = np.concatenate([-HALF[::-1], [0.0], HALF])  # log rho
LAWS: dict[str, Callable[[Floats], Floats]] = {
    "the ratio": np.exp,
    "0": np.zeros_like,
    "1": np.ones_like,
    "1 over the ratio": lambda x: np.exp(-x),
    "the ratio squared": lambda x: np.exp(2 * x),
}
RATIOS: dict[str, Callable[[Floats, Mask], Floats]] = {
    "each token": lambda x, taken: x,
    "the whole answer": lambda x, taken: np.broadcast_to((x * taken).sum(-1, keepdims=True), x.shape),
    "the whole answer, the geometric mean of its tokens (GSPO)": lambda x, taken: np.broadcast_to(
        (x * taken).sum(-1, keepdims=True) / taken.sum(-1, keepdims=True), x.shape
    ),
    "each token and those before it": lambda x, taken: (x * taken).cumsum(-1),
}
"""log rho of log pi - log behaviour [..., L] and of what is no padding."""


@dataclass(frozen=True)
class Piece:
    """m between two ratios: a law of LAWS, or a constant `value`."""

    law: str
    low: float  # of log rho; infinite at either end of GRID
    high: float
    value: float = np.nan

    def __call__(self, x: Floats) -> Floats:
        return LAWS[self.law](x) if self.law in LAWS else np.full_like(x, self.value)


Profile = list[Piece]


def surrogate(subject: Subject) -> list[Finding]:
    """The findings about the importance ratio and its clipping, of a loss that takes OLD."""
    if OLD not in subject.takes:
        return []
    ratio, clipping = "importance ratio", "clipping"
    above, below = (_profile(subject, sign) for sign in (1, -1))
    if above is None or below is None:
        if left_out := _left_out(subject):
            return [Finding(ratio, left_out, True)]
        one = "; ".join(f"{piece.law} {_between(piece)}" for piece in above or below or [])
        return [Finding(ratio, f"advantages have one sign; a token counts by {one or 'nothing'}")]
    laws = {piece.law for piece in above + below}
    if laws == {"1"}:
        told = f"{OLD} has no influence: answers of an older policy count as if the present one had written them"
        return [Finding(ratio, told, True)]
    if "1 over the ratio" in laws:
        return [Finding(ratio, "it is turned round, old over new: a token counts by 1 over its ratio", True)]
    if "the ratio squared" in laws:
        return [Finding(ratio, "it counts twice: a token counts by the square of its ratio", True)]
    if "1" in laws:
        told = "clipped, and 1 within the clipping where it should be the ratio: is exp missing?"
        if "0" not in laws:
            told = f"{OLD} has no influence where A {'>' if above[0].law == '1' else '<'} 0"
        return [Finding(ratio, told, True)]
    if "?" in laws:
        return [Finding(ratio, f"no clipped ratio: {_values(subject)}", False)]
    of = _ratio_of(subject, above, below)
    told = f"of {of}" if of else "neither of each token nor of the whole answer"
    if of and not _holds(subject, of, above, below):
        told += "; weights differ from that where the ratios of a batch differ"
    x, _, mask = _spread(1.0)
    if not np.array_equal(subject.penalty(mask, log_ratio=x), subject.penalty(mask)):
        told += f"; besides there is a term in {OLD} that the rewards do not enter"
    return [Finding(ratio, told), Finding(clipping, *_clipping(subject, above, below))]


def _clipping(subject: Subject, above: Profile, below: Profile) -> tuple[str, bool]:
    """In words, of A > 0 and of A < 0, and whether it is a mistake."""
    laws = [[piece.law for piece in profile] for profile in (above, below)]
    low, high = _end(below, -1), _end(above, 1)
    caught, freed = _end(above, -1), _end(below, 1)
    if laws == [["the ratio"], ["the ratio"]]:
        return "none", False
    if any(piece.law == "constant" for piece in above + below):
        bounds = " and ".join(f"at {_short(piece.value)}" for piece in above if piece.law == "constant")
        told = f"truncated {bounds}, with its gradient kept (CISPO, truncated importance sampling)"
        return told, laws[0] != laws[1]
    positive = f"A > 0: counts {_range(above)}"
    negative = f"A < 0: counts {_range(below)}"
    if caught is None and (freed is None or (low is not None and freed != high)):
        ends = (("A > 0", "above", high, ""), ("A < 0", "below", low, ""), ("A < 0", "above", freed, " (dual clip)"))
        cut = [f"{A} is cut {side} {_short(end)}{name}" for A, side, end, name in ends if end is not None]
        return ", ".join(cut), False
    if caught is not None and freed is not None and high is None and low is None:
        told = "on the wrong side, as max in place of min does: what has moved furthest goes on without bound"
        return f"{told}; {positive}, {negative}", True
    if _range(above) == _range(below):
        if _masked(subject, above):
            return f"tokens count {_range(above)} and are left out beyond, whatever their sign (a mask, IcePop)", False
        told = "without min(rho A, ...): an answer that has moved the wrong way is not drawn back"
        return f"{told}; a token counts {_range(above)}, whatever the sign of A", True
    wrong = [f"A > 0 below {_short(caught)}"] * (caught is not None) + [f"A < 0 above {_short(freed)}"] * (
        freed is not None
    )
    return f"on the wrong side for {' and '.join(wrong)}; {positive}, {negative}", True


def _end(profile: Profile, side: int) -> float | None:
    """The ratio beyond which, below (-1) or above (1), there is no gradient; None where there is none such."""
    at = profile[0] if side < 0 else profile[-1]
    return None if at.law != "0" else float(np.exp(at.high if side < 0 else at.low))


def _range(profile: Profile) -> str:
    low, high = _end(profile, -1), _end(profile, 1)
    ends = [f"from {_short(low)}"] * (low is not None) + [f"up to {_short(high)}"] * (high is not None)
    return " ".join(ends) or "at every ratio"


def _between(piece: Piece) -> str:
    ends = [f"from {np.exp(piece.low):.5g}"] * bool(np.isfinite(piece.low))
    return " ".join(ends + [f"up to {np.exp(piece.high):.5g}"] * bool(np.isfinite(piece.high))) or "at every ratio"


def _short(x: float | None) -> str:
    return "" if x is None else f"{x:.5g}"


def _one_token(subject: Subject) -> tuple[Floats, Mask, Floats]:
    """Rewards [2, 4], a mask of one token, and the multipliers at ratio 1, [2, 4]."""
    rewards, mask = np.random.default_rng(1).uniform(-1, 1, (2, 4)), np.ones((2, 4, 1), bool)
    return rewards, mask, subject.multipliers(rewards, mask)[..., 0]


def _measure(subject: Subject, sign: int, log_ratios: ArrayLike) -> Floats:
    """m at each ratio, the mean over the answers with A of a sign; nan where they do not agree."""
    rewards, mask, at_one = _one_token(subject)
    chosen = sign * at_one > SAME * np.abs(at_one).max()
    grid = np.asarray(log_ratios, np.float64)
    found = np.full(len(grid), np.nan)
    for k, x in enumerate(grid):
        m = subject.multipliers(rewards, mask, log_ratio=np.full(mask.shape, x))[..., 0][chosen] / at_one[chosen]
        if m.size and np.ptp(m) <= SAME * max(1.0, np.abs(m).max()):
            found[k] = m.mean()
    return found


def _profile(subject: Subject, sign: int) -> Profile | None:
    """The pieces of m, from small ratios to large ones; None where there is no answer with A of that sign."""
    _, _, at_one = _one_token(subject)
    if not (sign * at_one > SAME * np.abs(at_one).max()).any():
        return None
    m = _measure(subject, sign, GRID)
    fits = {law: _near(m, of(GRID)) for law, of in LAWS.items()}
    pieces, start = [], 0
    while start < len(GRID):
        runs = {law: _run(fits[law], start) for law in fits}
        runs["constant"] = _run(_near(m, np.full_like(m, m[start])), start)
        law = max(runs, key=lambda each: runs[each])
        last = start + runs[law]
        law = law if runs[law] > (1 if start and last < len(GRID) else 0) else "?"
        pieces.append((law, start, max(last, start + 1), float(m[start])))
        start = max(last, start + 1)
    ends = [-np.inf, *(_border(subject, sign, a, b) for a, b in pairwise(pieces)), np.inf]
    return [Piece(law, ends[k], ends[k + 1], value) for k, (law, _, _, value) in enumerate(pieces)]


def _near(m: Floats, wanted: Floats) -> NDArray[np.bool_]:
    return np.abs(m - wanted) <= SAME * np.maximum(np.abs(wanted), 1e-3)


def _run(fits: NDArray[np.bool_], start: int) -> int:
    """How many points from `start` on fit."""
    return int(np.argmin(np.append(fits[start:], False)))


def _border(
    subject: Subject, sign: int, left: tuple[str, int, int, float], right: tuple[str, int, int, float]
) -> float:
    """log rho at which the left piece ends, by halving."""
    law, _, last, value = left
    inside, outside = float(GRID[last - 1]), float(GRID[right[1]])
    for _ in range(40):
        middle = (inside + outside) / 2
        wanted = LAWS[law](np.array([middle])) if law in LAWS else np.array([value])
        if _near(_measure(subject, sign, [middle]), wanted)[0]:
            inside = middle
        else:
            outside = middle
    return inside


def _left_out(subject: Subject) -> str:
    """Of answers without a gradient at ratio 1: at which ratio they have one; else ""."""
    rewards, mask, at_one = _one_token(subject)
    silent = np.abs(at_one) <= SAME * np.abs(at_one).max()
    for x in sorted(GRID, key=abs):
        c = subject.multipliers(rewards, mask, log_ratio=np.full(mask.shape, x))[..., 0]
        if np.abs(c[silent]).max(initial=0.0) > SAME * np.abs(at_one).max():
            return (
                f"answers of one sign of A count at {np.exp(x):.4g} and not at 1, which clipping has to leave as it is"
            )
    return ""


def _values(subject: Subject) -> str:
    at = np.log([0.5, 0.8, 1.25, 2.0])
    above, below = (" ".join(f"{m:.4g}" for m in _measure(subject, sign, at)) for sign in (1, -1))
    return f"at ratios .5 .8 1.25 2 a token weighs {above} where A > 0 and {below} where A < 0"


def _ratio_of(subject: Subject, above: Profile, below: Profile) -> str:
    """The one of RATIOS that it is, from small ratios that nothing clips; else ""."""
    ends = [abs(end) for piece in above + below for end in (piece.low, piece.high) if np.isfinite(end) and end != 0]
    x, rewards, mask = _spread(0.9 * min([*ends, 0.6]) / 6)
    at_one = subject.multipliers(rewards, mask)
    m = subject.multipliers(rewards, mask, log_ratio=x) / np.where(mask, at_one, 1.0)
    for name, of in RATIOS.items():
        wanted = np.exp(of(x, mask))
        off = np.abs(m - wanted)[mask].max()
        if off <= 1e-6 + 0.02 * np.abs(wanted - 1)[mask].max():
            return name
    return ""


def _spread(width: float) -> tuple[Floats, Floats, Mask]:
    """Log-ratios of up to +-width that are all different, rewards [2, 4], and a mask of answers of 1 to 6 tokens."""
    rng = np.random.default_rng(3)
    mask = np.arange(6) < np.array([[1, 4, 2, 3], [6, 5, 6, 4]])[..., None]
    return np.where(mask, rng.uniform(-width, width, mask.shape), 0.0), rng.uniform(-1, 1, (2, 4)), mask


def _holds(subject: Subject, of: str, above: Profile, below: Profile) -> bool:
    """Whether the profiles, at the ratio of RATIOS, are the multipliers of answers whose tokens' ratios differ."""
    x, rewards, mask = _spread(1.0)
    at_one = subject.multipliers(rewards, mask)
    log_rho = RATIOS[of](x, mask)
    m = np.where(at_one > 0, _at(above, log_rho), _at(below, log_rho))
    found = subject.multipliers(rewards, mask, log_ratio=x)
    return bool(np.abs(found - m * at_one)[mask].max() <= 10 * SAME * np.abs(at_one).max() * np.exp(6))


def _at(profile: Profile, x: Floats) -> Floats:
    return np.select([(x > piece.low) & (x <= piece.high) for piece in profile], [piece(x) for piece in profile])


def _masked(subject: Subject, above: Profile) -> bool:
    """Whether a token beyond the upper end of `above` is left out of the loss, where clipping leaves a constant."""
    rewards, mask, at_one = _one_token(subject)
    which = np.unravel_index(np.argmax(at_one), at_one.shape)
    x = np.zeros(mask.shape)
    x[which] = above[-1].low + 0.5 if above[-1].law == "0" else above[0].high - 0.5
    values = [subject.gradient(rewards, mask, log_ratio=each)[0] for each in (np.zeros(mask.shape), x)]
    return bool(abs(at_one[which] - (values[1] - values[0])) <= 1e-3 * at_one[which])
