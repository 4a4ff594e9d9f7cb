"""Pass rates of many prompts: dead groups, and the noise of group estimators at a fixed number of samples.

A prompt is solved with chance p. Its answers move its log-odds, z_i = r_i - p for a right-or-wrong answer r_i, along
one direction that all prompts share; prompts are drawn at random, G = M / N of them for M samples in groups of N. With
ghat = (1/N) sum_i A_i z_i of one group, m(p) = E ghat and q(p) = E ghat^2 (sums over the number of right answers)

    signal = E_p m,     noise of an update = (E_p q - (E_p m)^2) / G,     nsr = noise / signal^2

The scale of an estimator drops out of nsr, and it is the noise about the estimator's own mean: that GRPO weighs prompts
by difficulty is no noise. Observed rates k of n are shrunk: p ~ Beta(a, b) over prompts, fitted by
maximum likelihood, and Beta(a + k, b + n - k) for a prompt. The bootstrap over prompts fits a and b anew in every
resample: shrunk rates vary less than what they estimate, so that resampling them alone covers 10% to 75%.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from ablate.refusal import Refusal
from ablate.sequences import advantages
from ablate.sequences.exact import OfBatch
from ablate.statistics.formatting import counted

Floats = NDArray[np.float64]

ESTIMATORS: dict[str, OfBatch] = {
    "RLOO": advantages.leave_one_out,
    "GRPO": partial(advantages.group_standardised, ddof=1, epsilon=1e-6),
    "Dr. GRPO": advantages.group_mean,
    "REINFORCE": advantages.none,
}
NODES = 16  # quantiles that stand for a prompt's posterior
LOGS = -5.0, 12.0  # of a and b: quantiles of a smaller a underflow
RESAMPLES = 400
MOST = 1024  # answers in a group
GRID = np.square(np.sin(np.linspace(0, np.pi / 2, 2049)))  # p at which the resamples' moments are looked up


@dataclass(frozen=True)
class Rates:
    """Pass rates of P prompts: `nodes` [P, J] are equally likely values of p, one where it is known, quantiles of its
    posterior where it was observed; `prior` is (a, b) and `counts` [P, 2] has k and n, None where rates are known."""

    nodes: Floats
    prior: tuple[float, float] | None
    counts: Floats | None = None


def read(path: str | Path) -> Rates:
    """A CSV with a row a prompt: prompt, k, n (k of n answers were right) or prompt, p.

    Raises Refusal for other columns, a number out of its range, a prompt named twice, and an empty file.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as problem:
        raise Refusal(f"{path} cannot be read as CSV: {problem}") from None
    table.columns = table.columns.map(lambda column: str(column).strip())
    columns = set(table.columns)
    if not ({"prompt", "k", "n"} <= columns or {"prompt", "p"} <= columns):
        raise Refusal(f"{path} has the columns {', '.join(map(str, table.columns))}; it needs prompt,k,n or prompt,p")
    if table.empty:
        raise Refusal(f"{path} names no prompt; write a row a prompt")
    if not isinstance(table.index, pd.RangeIndex):  # pandas then takes the first column for labels
        raise Refusal(f"{path} has rows with more fields than its first line names; name every column")
    if twice := list(table["prompt"][table["prompt"].duplicated()]):
        raise Refusal(f"{path} names prompt {twice[0]} twice; write a row a prompt")
    counted = {"k", "n"} <= columns
    numbers = table[["k", "n"] if counted else ["p"]].apply(pd.to_numeric, errors="coerce")
    if counted:
        k, n = numbers["k"].to_numpy(float), numbers["n"].to_numpy(float)
        good = (n >= 1) & np.isfinite(n) & (k >= 0) & (k <= n) & (k == np.round(k)) & (n == np.round(n))
    else:
        p = numbers["p"].to_numpy(float)
        good = (p >= 0) & (p <= 1)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        wanted = "whole numbers 0 <= k <= n, n >= 1" if counted else "0 <= p <= 1"
        raise Refusal(f"{path}, prompt {table['prompt'].iloc[row]}: {wanted} does not hold")
    return observed(k, n) if counted else Rates(p[:, None], None)


def observed(right: ArrayLike, answers: ArrayLike) -> Rates:
    """The posteriors of prompts with k = `right` of n = `answers`, [P] each, under the fitted Beta prior."""
    k, n = np.asarray(right, np.float64), np.asarray(answers, np.float64)
    a, b = prior(k, n)
    return Rates(_posterior(k, n, a, b), (a, b), np.stack([k, n], 1))


def _posterior(right: Floats, answers: Floats, a: float, b: float) -> Floats:
    """NODES quantiles of Beta(a + k, b + n - k), [P, NODES]."""
    places = (np.arange(NODES) + 0.5) / NODES
    return special.betaincinv((a + right)[:, None], (b + answers - right)[:, None], places)


def prior(
    right: Floats, answers: Floats, weights: Floats | float = 1.0, start: tuple[float, float] = (1.0, 1.0)
) -> tuple[float, float]:
    """a, b of the Beta distribution that makes k of n likeliest: argmax sum log BetaBinomial(k | n, a, b), each prompt
    counted `weights` times; looked for from `start`."""

    def loss(logs: Floats) -> float:
        a, b = np.exp(np.clip(logs, *LOGS))
        chances = special.betaln(a + right, b + answers - right) - special.betaln(a, b)
        return -float((weights * chances).sum())

    found = optimize.minimize(loss, np.log(start), method="Nelder-Mead")
    a, b = np.exp(np.clip(found.x, *LOGS))
    return float(a), float(b)


def dead_share(rates: Rates, size: int) -> Floats:
    """E[p^N + (1-p)^N] of each prompt, [P]: all right or all wrong, so that differences of rewards say nothing."""
    p = rates.nodes
    return (p**size + (1 - p) ** size).mean(1)


def group_moments(p: Floats, size: int, advantage: OfBatch) -> tuple[Floats, Floats]:
    """m(p) and q(p), in the shape of p."""
    k = np.arange(size + 1)
    rewards = (np.arange(size) < k[:, None]).astype(np.float64)[:, None]  # [N + 1, 1, N]: the right answers first
    A = advantage(rewards)[:, 0]
    right, wrong = (A * rewards[:, 0]).sum(1), (A * (1 - rewards[:, 0])).sum(1)
    ghat = (right * (1 - p[..., None]) - wrong * p[..., None]) / size
    chances = stats.binom.pmf(k, size, p[..., None])
    return (chances * ghat).sum(-1), (chances * ghat**2).sum(-1)


def by_group_size(rates: Rates, budget: int, sizes: Sequence[int]) -> pd.DataFrame:
    """A row for each group size and estimator, at `budget` samples an update.

    Columns: N, estimator, groups (budget / N), dead (share of groups), effective (groups that are not dead), nsr of an
    update, and nsr_low, nsr_high: 95% limits of a bootstrap over prompts, inf where the signal may be 0.

    Raises Refusal for a size that is not from 2 to MOST or larger than the budget.
    """
    if budget < 2:
        raise Refusal(f"--budget {budget} makes no group; write --budget 2 or more")
    if bad := [N for N in sizes if not 2 <= N <= min(MOST, budget)]:
        raise Refusal(f"a group of {bad[0]} is not from 2 to {min(MOST, budget)} answers; the budget is {budget}")
    rows = []
    drawn = list(_resampled(rates))
    for N in sizes:
        dead, groups = float(dead_share(rates, N).mean()), budget / N
        for name, advantage in ESTIMATORS.items():
            m, q = (moment.mean(1) for moment in group_moments(rates.nodes, N, advantage))
            value = _nsr(m.mean(), q.mean(), groups) if _bounded(rates) else np.inf
            grid = group_moments(GRID, N, advantage)
            again = [[w @ np.interp(p, GRID, f).mean(1) for f in grid] for w, p in drawn]
            low, high = np.quantile([_nsr(m, q, groups) for m, q in again], [0.025, 0.975], method="nearest")
            low, high = (low, high) if _bounded(rates) else (0.0, np.inf)
            row = {"N": N, "estimator": name, "groups": groups, "dead": dead, "effective": groups * (1 - dead)}
            rows.append(row | {"nsr": value, "nsr_low": low, "nsr_high": high})
    return pd.DataFrame(rows)


def _resampled(rates: Rates) -> Iterator[tuple[Floats, Floats]]:
    """Shares [U] of the kinds of prompt in each resample of the prompts, and their nodes [U, J] under the prior that is
    fitted to that resample: prompts with the same k of n are one kind."""
    rng = np.random.default_rng(0)
    P = len(rates.nodes)
    if rates.counts is None or rates.prior is None:
        for draw in rng.multinomial(P, np.full(P, 1 / P), RESAMPLES):
            yield draw / P, rates.nodes
        return
    kinds, number = np.unique(rates.counts, axis=0, return_counts=True)
    k, n = kinds.T
    for draw in rng.multinomial(P, number / P, RESAMPLES):
        yield draw / P, _posterior(k, n, *prior(k, n, draw, rates.prior))


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
    return (
        f"{counted(len(rates.nodes), 'prompt')} with a mean pass rate of {rates.nodes.mean():.1%}{shrunk}. Of groups "
        f"of {first['N']:.0f}, {first['dead']:.1%} are dead; of groups of {last['N']:.0f}, {last['dead']:.1%}. At "
        f"{budget:,} samples an update the least noise-to-signal ratio is at group sizes: {sizes}. RLOO and Dr. GRPO "
        "differ by the factor 1 - 1/N alone, so that their ratios are the same; GRPO's ratio is of an objective of its "
        "own, in which hard and easy prompts weigh more."
    )
