"""What an advantage is that equals no definition and none with a mistake: found by measuring it, and told in words.

Answers of one token have the same weight in every aggregation, so that of an advantage and of a loss alike A is read
off up to a factor. Each description is a form with free numbers or functions in it:

    linear               A_i = a (r_i - b mean - c mean of the other prompts)
    of other rewards     A = D(f(r)) of a known D, f(r) = (A(r) - A(0)) / (A(1) - A(0)) of rewards 0, r, 1
    changed afterwards   A = h(D(r)), such as its sign
    centre and scale     A_i = (r_i - centre) / scale, both of the group
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ablate.sequences.advantages import takes
from ablate.sequences.definitions import ADVANTAGES, SAME, Multipliers

Floats = NDArray[np.float64]
Advantage = Callable[[Floats], Floats]  # [B, N] -> [B, N]
Told = tuple[str, bool]  # in words, and whether it is a mistake; "" where it is not of that form
CLOSE = 2e-3  # relative: whatever epsilon is in use
NOT: Told = ("", False)
UNNAMED = "of the group that has no name here"


def described(multipliers: Multipliers) -> Told:
    """The first form that it has."""

    def of(rewards: Floats) -> Floats:
        return multipliers(rewards, np.ones((*rewards.shape, 1), bool))[..., 0] * rewards.size

    for form in (
        _rounded,
        partial(_tokens, multipliers),
        _alike,
        _linear,
        _of_other_rewards,
        _changed_afterwards,
        _centre_and_scale,
        _silent,
        _one_signed,
    ):
        told, wrong = form(of)
        if told:
            return told, wrong
    return NOT


def _tokens(multipliers: Multipliers, A: Advantage) -> Told:
    """Of a loss with a known advantage: how the tokens of an answer of 6 weigh, by their place."""
    trials = [0.3 * _draws(2, 3), _draws(2, 4), 9 * _draws(2, 5)]
    a, known = [A(rewards) for rewards in trials], _known().items()
    equal = [name for name, of in known if all(map(_near, a, map(of, trials)))]
    equal += [name for name, of in known if _proportional(a, [of(rewards) for rewards in trials])]
    if not equal:
        return NOT
    c = multipliers(trials[1], np.ones((2, 4, 6), bool))
    w = c / np.maximum(np.abs(c).max(-1, keepdims=True), 1e-300) * np.sign(c.sum(-1, keepdims=True)) + 0.0
    told = f"{_plain(equal[0])}; the tokens of an answer weigh {' '.join(f'{x:.3g}' for x in w[0, 0])}"
    if np.ptp(w) <= SAME:
        told = f"{_plain(equal[0])} on answers of one length"
    if np.ptp(w, axis=(0, 1)).max() > SAME:
        told = f"{_plain(equal[0])} on answers of one token; how the tokens of longer ones weigh differs"
    return told, False


def _plain(name: str) -> str:
    """Without the epsilon, which is not looked at here."""
    return name.split(", epsilon")[0]


def _draws(*shape: int, seed: int = 0) -> Floats:
    """Rewards of either sign, from -1 to 2."""
    return np.random.default_rng(seed).uniform(-1, 2, shape)


def _near(a: Floats, b: Floats, to: float = SAME) -> bool:
    return bool(np.isfinite(a).all() and np.abs(a - b).max() <= to * max(np.abs(b).max(), 1e-300))


def _known() -> dict[str, Advantage]:
    """Those of the rewards alone."""
    return {name: of for name, of in ADVANTAGES.items() if not takes(of)}


def _alike(A: Advantage) -> Told:
    found = A(_draws(3, 4))
    if not found.any() or np.ptp(found, axis=1).max() > SAME * np.abs(found).max():
        return NOT
    return "the same for all answers of a prompt: which of them was right does not matter", True


def _rounded(A: Advantage) -> Told:
    """Blind to a difference of 1e-5 in the rewards, and near a known one."""
    rewards = np.abs(_draws(3, 5)) + 0.1
    if any(not np.array_equal(A(rewards), A(rewards * (1 + sign * 1e-5))) for sign in (-1, 1)):
        return NOT
    off = {name: np.abs(A(rewards) - of(rewards)).max() / np.abs(of(rewards)).max() for name, of in _known().items()}
    name = min(off, key=lambda each: off[each])
    return (f"{_plain(name)}, to about 3 digits: is it in half precision?", True) if off[name] < 0.02 else NOT


@np.errstate(divide="ignore", invalid="ignore")
def _linear(A: Advantage) -> Told:
    found = {}
    for N in (3, 5):
        r, s = _draws(2, N), _draws(2, N, seed=1)
        if not (_near(A(r + s), A(r) + A(s)) and _near(A(3 * r), 3 * A(r))):
            return NOT
        unit = np.stack([A(row.reshape(2, N)) for row in np.eye(2 * N)]).reshape(2, N, 2, N)  # of rewards [2, N]
        own = unit[0, 0, 0, 0]
        within, across = unit[0, 0, 0, 1], unit[1, 0, 0, 0]
        pattern = np.full((2, N, 2, N), across)
        for b in range(2):
            pattern[b, :, b] = within
            np.fill_diagonal(pattern[b, :, b], own)
        if not _near(unit, pattern) or own <= within:
            return NOT
        a = own - within
        found[N] = np.array([-within * N / a, -within * (N - 1) / own, -across * N / a])
    (mean, others, across), last = found[3], found[5]
    if abs(across - last[2]) > SAME:
        return NOT
    if abs(mean - last[0]) <= SAME:
        own, of = mean, f"{mean:.4g} times the mean of the group"
    elif abs(others - last[1]) <= SAME:
        own, of = others, f"{others:.4g} times the mean of the others"
    else:
        summed = abs(mean - 3) + abs(last[0] - 5) < SAME
        own, of = mean, "the sum of the group" if summed else f"{mean:.4g} times the mean of the group, at N = 3"
    parts = [of] * bool(abs(own) > SAME) + [f"{across:.4g} times the mean of other prompts"] * bool(abs(across) > SAME)
    partly = bool(min(abs(own + across), abs(own + across - 1)) > SAME)
    shifted = "; a shift of all rewards changes the advantages" * partly
    return f"the reward less {' and '.join(parts)}{shifted}", partly


CHANGES: dict[str, Advantage] = {
    "put through tanh": np.tanh,
    "put through a sigmoid": lambda r: 1 / (1 + np.exp(-r)),
    "put through exp": np.exp,
    "squared": np.square,
    "without their sign": np.abs,
    "cubed": lambda r: r**3,
}


def _of_other_rewards(A: Advantage) -> Told:
    at = np.array([-2.0, -0.5, 0.25, 0.5, 0.75, 2.0])

    def changed(rewards: Floats) -> Floats:
        """f, from groups of rewards 0, r and 1."""
        found = []
        for r in rewards.ravel():
            zero, own, one = A(np.array([[0.0, r, 1.0]] * 2))[0]
            found.append((own - zero) / (one - zero) if one != zero else np.nan)
        return np.array(found).reshape(rewards.shape)

    f = changed(at)
    if not np.isfinite(f).all() or _near(f, at, CLOSE):
        return NOT
    trials = [_draws(2, 3), _draws(2, 5, seed=1), _draws(3, 4, seed=2)]
    a, others = [A(r) for r in trials], [changed(r) for r in trials]
    for name, of in _known().items():
        if _proportional(a, [of(r) for r in others]):
            return f"{_plain(name)}, of rewards that are {_change(f, at, changed)}", True
    return NOT


def _proportional(a: Sequence[Floats], b: Sequence[Floats]) -> bool:
    """Whether each a is the b of the same place, times a positive factor that all have."""
    if not all(np.isfinite(x).all() and y.any() for x, y in zip(a, b, strict=True)):
        return False
    factors = [float(np.vdot(x, y) / np.vdot(y, y)) for x, y in zip(a, b, strict=True)]
    alike = min(factors) > 0 and max(factors) - min(factors) <= CLOSE * max(factors)
    return alike and all(_near(x, factors[0] * y, CLOSE) for x, y in zip(a, b, strict=True))


def _change(f: Floats, at: Floats, of: Advantage) -> str:
    """f in words, known up to f(0) = 0 and f(1) = 1."""
    for told, h in CHANGES.items():
        low, high = h(np.array([0.0, 1.0]))
        if high != low and _near(f, (h(at) - low) / (high - low), CLOSE):
            return told
    if set(np.round(f, 9)) <= {0.0, 1.0}:
        low, high = 0.0, 1.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (low, middle) if of(np.array([middle]))[0] else (middle, high)
        return f"1 above {high:.4g} and 0 below"
    told = " ".join(f"{x + 0.0:.3g}" for x in np.round(f, 9))
    return f"bent: 0 and 1 as they are, -2 -.5 .25 .5 .75 2 count as {told}"


AFTERWARDS: dict[str, Advantage] = {
    "of which only the sign is kept": np.sign,
    "without their sign": np.abs,
    "put through tanh": np.tanh,
    "squared, with their sign": lambda A: A * np.abs(A),
    "truncated to whole numbers": np.trunc,
    "rounded to whole numbers": np.round,
}


def _changed_afterwards(A: Advantage) -> Told:
    trials = [_draws(2, 3), 5 * _draws(2, 5, seed=1), _draws(3, 4, seed=2)]
    a = [A(r) for r in trials]
    for name, of in _known().items():
        for told, h in AFTERWARDS.items():
            if all(_near(found, h(of(r)), CLOSE) for found, r in zip(a, trials, strict=True)):
                return f"{_plain(name)}, {told}", True
    return NOT


def _positive_mean(r: Floats) -> Floats:
    return r.clip(min=0).sum(1) / np.maximum((r > 0).sum(1), 1)


CENTRES: dict[str, Advantage] = {
    "the mean": lambda r: r.mean(1),
    "the largest": lambda r: r.max(1),
    "the smallest": lambda r: r.min(1),
    "the median": lambda r: np.median(r, axis=1),
    "the median, of two the lower": lambda r: np.sort(r, axis=1)[:, (r.shape[1] - 1) // 2],
    "the mean of the largest and the smallest": lambda r: (r.max(1) + r.min(1)) / 2,
    "the mean of the positive rewards": _positive_mean,
    "nothing": lambda r: 0 * r[:, 0],
}
SCALES: dict[str, Advantage] = {
    "": lambda r: 1 + 0 * r[:, 0],
    "the deviation": lambda r: r.std(1, ddof=1),
    "the inverse of the deviation": lambda r: 1 / r.std(1, ddof=1),
    "the range": lambda r: np.ptp(r, axis=1),
    "the mean absolute deviation": lambda r: np.abs(r - r.mean(1, keepdims=True)).mean(1),
    "the root of the sum of squares": lambda r: r.std(1) * np.sqrt(r.shape[1]),
    "the deviation over the root of N": lambda r: r.std(1, ddof=1) / np.sqrt(r.shape[1]),
    "the median absolute deviation": lambda r: np.median(np.abs(r - np.median(r, axis=1, keepdims=True)), axis=1),
}


def _centre_and_scale(A: Advantage) -> Told:
    trials = [_draws(3, N, seed=N) * np.array([[0.3], [1.0], [9.0]]) for N in (4, 5, 8)]
    centres, scales = [], []
    for r in trials:
        a = A(r)
        if not np.isfinite(a).all():
            return NOT
        slope = ((a - a.mean(1, keepdims=True)) * r).sum(1) / ((r - r.mean(1, keepdims=True)) * r).sum(1)
        if not (slope > 0).all():
            return NOT
        centre = r.mean(1) - a.mean(1) / slope
        if not _near(a, slope[:, None] * (r - centre[:, None]), 1e-6):
            return NOT
        centres.append(centre)
        scales.append(1 / slope)
    found = [name for name, of in CENTRES.items() if all(map(_agree, centres, map(of, trials)))]
    told = f"the reward less {[*found, f'a centre {UNNAMED}'][0]}{_scale(scales, trials)}"
    never, wrong = _one_signed(A)
    return "; ".join(filter(None, (told, never))), wrong


def _scale(scales: list[Floats], trials: list[Floats]) -> str:
    for name, of in SCALES.items():
        if _same_ratio(scales, [of(r) for r in trials]):
            return f", over {name}" * bool(name)
    deviation, scale = np.concatenate([r.std(1, ddof=1) for r in trials]), np.concatenate(scales)
    if _near(scale, np.maximum(deviation, scale.min()), CLOSE):
        return f", over the deviation, but at least {scale.min():.4g}"
    for ddof in (1, 0):
        more = scale - np.concatenate([r.std(1, ddof=ddof) for r in trials])
        if np.ptp(more) <= CLOSE * np.abs(more).max():
            return f", over the deviation with ddof {ddof} plus {more.mean():.4g}"
    return f", over a scale {UNNAMED}"


def _agree(a: Floats, b: Floats) -> bool:
    return bool(np.abs(a - b).max() <= 1e-6 * max(1.0, np.abs(b).max()))


def _same_ratio(a: list[Floats], b: list[Floats]) -> bool:
    ratios = np.concatenate(a) / np.concatenate(b)
    return bool(np.ptp(ratios) <= CLOSE * np.abs(ratios).max())


def _silent(A: Advantage) -> Told:
    """Answers whose reward is not positive have no advantage, and the others have."""
    rewards = _draws(3, 5)
    if not np.array_equal(A(rewards) != 0, rewards > 0):
        return NOT
    return "; ".join(filter(None, ("only answers of a positive reward count", _one_signed(A)[0]))), False


def _one_signed(A: Advantage) -> Told:
    found = np.concatenate([A(_draws(3, 4, seed=seed)).ravel() for seed in range(4)])
    if not np.isfinite(found).all() or not found.any():
        return NOT
    if (found <= 0).all():
        return "no advantage is ever positive, so that no answer is reinforced", True
    return ("no advantage is ever negative, so that every answer is reinforced", True) if (found >= 0).all() else NOT
