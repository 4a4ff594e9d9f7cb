"""Pass rates of many prompts: dead groups, and the noise of group estimators at a fixed number of samples.

A prompt is solved with chance p. Its answers move its log-odds, z_i = r_i - p for a right-or-wrong answer r_i, along
one direction that all prompts share; prompts are drawn at random, G = M / N of them for M samples in groups of N. With
ghat = (1/N) sum_i A_i z_i of one group, m(p) = E ghat and q(p) = E ghat^2 (sums over the number of right answers)

    signal = E_p m,     noise of an update = (E_p q - (E_p m)^2) / G,     nsr = noise / signal^2

The scale of an estimator drops out of nsr, and it is the noise about the estimator's own mean: that GRPO weighs prompts
by difficulty is no noise. Observed rates k of n are shrunk: p ~ Beta(a, b) over prompts, fitted by
maximum likelihood, and Beta(a + k, b + n - k) for a prompt. All posteriors are taken at the same points p_j, the prior
having the mass m_j there: P(p_j | k, n) = m_j p_j^k (1 - p_j)^(n-k) / Z, so that the powers, which no resample changes,
are computed once. The bootstrap over prompts fits a and b anew in every
resample: shrunk rates vary less than what they estimate, so that resampling them alone covers 10% to 75%. Its quantiles
are expanded for few prompts; of fewer than 12 no limits are given, since those of 2, 3, 5 and 8 prompts held the ratio
of a Beta population in 41% to 77%, 58% to 90%, 68% to 91% and 79% to 90% of simulated files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from ablate.errors import UserError
from ablate.sequences import advantages
from ablate.sequences.exact import OfBatch
from ablate.statistics.formatting import counted
from ablate.statistics.seeds import expanded

Floats = NDArray[np.float64]

ESTIMATORS: dict[str, OfBatch] = {
    "RLOO": advantages.leave_one_out,
    "GRPO": partial(advantages.group_standardised, ddof=1, epsilon=1e-6),
    "Dr. GRPO": advantages.group_mean,
    "REINFORCE": advantages.none,
}
LOGS = -5.0, 12.0  # of a and b
RESAMPLES = 400
MOST = 1024  # answers in a group
FEWEST = 12  # prompts that have limits
CELLS = 2048
GRID = np.square(np.sin(np.linspace(0, np.pi / 2, CELLS + 1)))  # the points p_j
EDGES = np.square(np.sin((np.arange(1, CELLS + 1) - 0.5) * np.pi / 2 / CELLS))  # between them
AT_ONCE = 20_000_000  # numbers that are held at a time


@dataclass(frozen=True)
class Rates:
    """The pass rates p of a number of prompts.

    | field   | shape | meaning                                                                              |
    |---------|-------|--------------------------------------------------------------------------------------|
    | points  | [J]   | values of p                                                                          |
    | weights | [J]   | the share of each: of prompts where p is known, else of their posteriors             |
    | number  | [K]   | prompts of each kind: those with the same p, or the same k of n, are one             |
    | counts  | [K,2] | k and n of each kind; None where p is known                                          |
    | prior   | -     | (a, b) of the Beta distribution; None where p is known                               |
    """

    points: Floats
    weights: Floats
    number: NDArray[np.int64]
    counts: Floats | None = None
    prior: tuple[float, float] | None = None

    @property
    def prompts(self) -> int:
        return int(self.number.sum())

    def mean(self, values: Floats) -> float:
        """Over the prompts, of a function's values [J] at the points."""
        return float(self.weights @ values)


def read(path: str | Path) -> Rates:
    """A CSV with a row a prompt: prompt, k, n (k of n answers were right) or prompt, p.

    Raises UserError for other columns, a column named twice, a number out of its range, a prompt named twice, and an
    empty file.
    """
    table = _fields(path)
    columns = list(table.columns)
    if twice := [name for name in columns if columns.count(name) > 1 and name in ("prompt", "k", "n", "p")]:
        raise UserError(f"{path} has two columns {twice[0]}; keep one of them")
    counted = {"k", "n"} <= set(columns)
    if "prompt" not in columns or not (counted or "p" in columns):
        hint = "; part them by commas" if len(columns) == 1 else ""
        raise UserError(f"{path} has the columns {', '.join(columns)}; it needs prompt,k,n or prompt,p{hint}")
    if table.empty:
        raise UserError(f"{path} names no prompt; write a row a prompt")
    prompts = table["prompt"]
    if (prompts == "").any():
        raise UserError(f"{path} has a row without a prompt; write prompt,k,n or prompt,p in each")
    if twice := list(prompts[prompts.duplicated()]):
        raise UserError(f"{path} names prompt {twice[0]} twice; write a row a prompt")
    read = ["k", "n"] if counted else ["p"]
    numbers = table[read].apply(pd.to_numeric, errors="coerce").to_numpy(float).T
    if counted:
        k, n = numbers
        good = (n >= 1) & np.isfinite(n) & (k >= 0) & (k <= n) & (k == np.round(k)) & (n == np.round(n))
    else:
        good = (numbers[0] >= 0) & (numbers[0] <= 1)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        given = ", ".join(f"{name} is {table[name].iloc[row] or 'empty'}" for name in read)
        wanted = "whole numbers 0 <= k <= n, n >= 1" if counted else "0 <= p <= 1"
        raise UserError(f"{path}, prompt {prompts.iloc[row]}: {given}; {wanted} does not hold")
    return observed(*numbers) if counted else known(numbers[0])


def _fields(path: str | Path) -> pd.DataFrame:
    """The fields as they are written, blanks around them left out, under the names of the first line."""
    try:
        table = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as problem:
        told = " ".join(str(problem).split())
        if "fields in line" in told:
            raise UserError(f"{path} has rows with more fields than its first line names: {told}") from None
        raise UserError(f"{path} cannot be read as CSV: {told}") from None
    table = table.fillna("").apply(lambda column: column.str.strip())
    return table.iloc[1:].set_axis(list(table.iloc[0]), axis=1)


def known(rates: ArrayLike) -> Rates:
    """Prompts whose p is known, [P]."""
    points, number = np.unique(np.asarray(rates, np.float64), return_counts=True)
    return Rates(points, number / number.sum(), number)


def observed(right: ArrayLike, answers: ArrayLike) -> Rates:
    """Prompts of which k = `right` of n = `answers` were seen, [P] each, under the fitted Beta prior."""
    pairs = np.stack([np.asarray(right, np.float64), np.asarray(answers, np.float64)], 1)
    counts, number = np.unique(pairs, axis=0, return_counts=True)
    k, n = counts.T
    ab = prior(k, n, number)
    return Rates(GRID, posteriors(counts, number[None] / number.sum(), np.array([ab]))[0], number, counts, ab)


def posteriors(counts: Floats, shares: Floats, priors: Floats) -> Floats:
    """Weights of the points of GRID, [R, len(GRID)], in R mixtures of the posteriors of the kinds k, n of `counts`
    [K, 2], with `shares` of the kinds [R, K] under Beta `priors` [R, 2]. Up to 10^5 answers are resolved."""
    inside = special.betainc(*priors.T[:, :, None], EDGES)
    mass = np.diff(inside, axis=1, prepend=0.0, append=1.0)
    weights = np.zeros(mass.shape)
    step = AT_ONCE // len(GRID)
    for start in range(0, len(counts), step):
        likelihood = _likelihood(counts[start : start + step])
        total = mass @ likelihood.T
        weights += (shares[:, start : start + step] / total) @ likelihood
    return weights * mass


def _likelihood(counts: Floats) -> Floats:
    """p^k (1 - p)^(n-k) at the points of GRID, over the largest, [K, len(GRID)]."""
    k, n = counts.T[:, :, None]
    logs = special.xlogy(k, GRID) + special.xlog1py(n - k, -GRID)
    return np.exp(logs - logs.max(1, keepdims=True))


def prior(
    right: Floats, answers: Floats, weights: ArrayLike = 1.0, start: tuple[float, float] = (1.0, 1.0)
) -> tuple[float, float]:
    """a, b of the Beta distribution that makes k of n likeliest: argmax sum log BetaBinomial(k | n, a, b), each prompt
    counted `weights` times; looked for from `start`.

    log BetaBinomial = log (a)_k + log (b)_{n-k} - log (a+b)_n and what a and b are not in, (x)_j = x (x+1) .. (x+j-1),
    so that three lists of few values stand for all pairs k, n.
    """
    number = np.broadcast_to(np.asarray(weights, np.float64), right.shape)
    parts = [_counted(values, number) for values in (right, answers - right, answers)]

    def loss(logs: Floats) -> float:
        a, b = np.exp(np.clip(logs, *LOGS))
        right_part, wrong_part, whole = (
            times @ (special.gammaln(x + values) - special.gammaln(x))
            for x, (values, times) in zip((a, b, a + b), parts, strict=True)
        )
        return float(whole - right_part - wrong_part)

    found = optimize.minimize(loss, np.log(start), method="Nelder-Mead")
    a, b = np.exp(np.clip(found.x, *LOGS))
    return float(a), float(b)


def _counted(values: Floats, number: Floats) -> tuple[Floats, Floats]:
    """The values that occur, and how often."""
    unique, which = np.unique(values, return_inverse=True)
    return unique, np.asarray(np.bincount(which, number), np.float64)


def dead_share(rates: Rates, size: int) -> float:
    """E[p^N + (1-p)^N]: all right or all wrong, so that differences of rewards say nothing."""
    return rates.mean(rates.points**size + (1 - rates.points) ** size)


def group_moments(p: Floats, size: int, advantage: OfBatch) -> tuple[Floats, Floats]:
    """m(p) and q(p), in the shape of p."""
    return _moments(p, _chances(p, size), advantage)


def _chances(p: Floats, size: int) -> Floats:
    """P(k of N right), [..., N + 1]."""
    return stats.binom.pmf(np.arange(size + 1), size, p[..., None])


def _moments(p: Floats, chances: Floats, advantage: OfBatch) -> tuple[Floats, Floats]:
    """With k right ghat = u_k (1 - p) - v_k p, so that m and q are quadratic in p but for five sums over k."""
    size = chances.shape[-1] - 1
    rewards = (np.arange(size) < np.arange(size + 1)[:, None]).astype(np.float64)[:, None]  # [N + 1, 1, N]
    A = advantage(rewards)[:, 0] / size
    u, v = (A * rewards[:, 0]).sum(1), (A * (1 - rewards[:, 0])).sum(1)
    Eu, Ev, Euu, Euv, Evv = np.moveaxis(chances @ np.stack([u, v, u * u, u * v, v * v], 1), -1, 0)
    return (1 - p) * Eu - p * Ev, (1 - p) ** 2 * Euu - 2 * p * (1 - p) * Euv + p**2 * Evv


def by_group_size(rates: Rates, budget: int, sizes: Sequence[int]) -> pd.DataFrame:
    """A row for each group size and estimator, at `budget` samples an update.

    Columns: N, estimator, groups (budget / N), dead (share of groups), effective (groups that are not dead), nsr of an
    update, and nsr_low, nsr_high: 95% limits of a bootstrap over prompts, 0 and inf of fewer than FEWEST prompts, inf
    where the signal may be 0.

    Raises UserError for a size that is not from 2 to MOST or larger than the budget.
    """
    if budget < 2:
        raise UserError(f"--budget {budget} makes no group; write --budget 2 or more")
    if bad := [N for N in sizes if not 2 <= N <= min(MOST, budget)]:
        raise UserError(f"a group of {bad[0]} is not from 2 to {min(MOST, budget)} answers; the budget is {budget}")
    rows = []
    resamples = _resampled(rates) if rates.prompts >= FEWEST and _bounded(rates) else None
    for N in sizes:
        dead, groups = dead_share(rates, N), budget / N
        on_grid = _chances(GRID, N)
        chances = on_grid if rates.points is GRID else _chances(rates.points, N)
        for name, advantage in ESTIMATORS.items():
            m, q = map(rates.mean, _moments(rates.points, chances, advantage))
            value = _nsr(m, q, groups) if _bounded(rates) else np.inf
            low, high = 0.0, np.inf
            if resamples is not None:
                again = (resamples @ moment for moment in _moments(GRID, on_grid, advantage))
                ratios = [_nsr(m, q, groups) for m, q in zip(*again, strict=True)]
                low, high = np.quantile(ratios, expanded(rates.prompts), method="nearest")
            row = {"N": N, "estimator": name, "groups": groups, "dead": dead, "effective": groups * (1 - dead)}
            rows.append(row | {"nsr": value, "nsr_low": low, "nsr_high": high})
    return pd.DataFrame(rows)


def _resampled(rates: Rates) -> Floats:
    """Weights of the points of GRID in each resample of the prompts, [RESAMPLES, len(GRID)]: a moment's mean over a
    resample is the sum of weights times its values there. Observed rates are shrunk anew, by a prior of the
    resample."""
    rng, P = np.random.default_rng(0), rates.prompts
    step = max(1, AT_ONCE // len(rates.number))
    found = []
    for start in range(0, RESAMPLES, step):
        draws = rng.multinomial(P, rates.number / P, min(step, RESAMPLES - start))
        if rates.counts is None or rates.prior is None:
            found.append(_on_grid(rates.points, draws / P))
            continue
        k, n = rates.counts.T
        priors = [prior(k, n, draw, rates.prior) for draw in draws]
        found.append(posteriors(rates.counts, draws / P, np.array(priors)))
    return np.concatenate(found)


def _on_grid(points: Floats, shares: Floats) -> Floats:
    """Weights of the points of GRID, [R, len(GRID)], that have the means of `shares` [R, J] of the points [J] of any
    function, interpolated linearly."""
    above = np.searchsorted(GRID, points, side="right").clip(1, CELLS)
    part = (points - GRID[above - 1]) / (GRID[above] - GRID[above - 1])
    return np.stack(
        [
            np.bincount(above, part * own, CELLS + 1) + np.bincount(above - 1, (1 - part) * own, CELLS + 1)
            for own in shares
        ]
    )


def _bounded(rates: Rates) -> bool:
    """Whether the noise-to-signal ratio is: not where each prompt was always right or always wrong, which says nothing
    of how its answers differ."""
    return rates.counts is None or bool(((rates.counts[:, 0] > 0) & (rates.counts[:, 0] < rates.counts[:, 1])).any())


def _nsr(m: float, q: float, groups: float) -> float:
    return (q - m * m) / groups / (m * m) if m * m > 0 else np.inf


def best_sizes(table: pd.DataFrame) -> pd.Series:
    """The group size of least nsr for each estimator."""
    return table.loc[table.groupby("estimator", sort=False)["nsr"].idxmin()].set_index("estimator")["N"]


def paragraph(rates: Rates, table: pd.DataFrame, budget: int) -> str:
    """What the table says, in words."""
    if not np.isfinite(table["nsr"]).any():
        known = "All groups are dead" if _bounded(rates) else "No prompt was both right and wrong, so all may be dead"
        return f"{known}: no group size is better than another."
    best = best_sizes(table)
    first, last = table.iloc[0], table.iloc[-1]
    shrunk = "" if rates.prior is None else f" (shrunk towards Beta({rates.prior[0]:.3g}, {rates.prior[1]:.3g}))"
    sizes = ", ".join(f"{name} {N}" for name, N in best.items())
    mean = rates.mean(rates.points)
    few = f" Fewer than {FEWEST} prompts do not bound the ratio of others like them." * (rates.prompts < FEWEST)
    return (
        f"{counted(rates.prompts, 'prompt')} with a mean pass rate of {mean:.1%}{shrunk}. Of groups of "
        f"{first['N']:.0f}, {first['dead']:.1%} are dead; of groups of {last['N']:.0f}, {last['dead']:.1%}. At "
        f"{budget:,} samples an update the least noise-to-signal ratio is at group sizes: {sizes}. RLOO and Dr. GRPO "
        "differ by the factor 1 - 1/N alone, so that their ratios are the same; GRPO's ratio is of an objective of its "
        f"own, in which hard and easy prompts weigh more.{few}"
    )
