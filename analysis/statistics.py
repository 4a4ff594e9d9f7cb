"""What tables and figures need to know, in numpy: no drawing here, and no computing there.

Intervals are at 95%. What single numbers over seeds come to is in `ablate.statistics.seeds`, where the table of a sweep
finds it too; `ablate.statistics.learning_curves` has the final return and the steps to a threshold. In this module,

    learning curves     on_grid, area_under_curve
    over seeds          band, optimality_gap, improvement_interval
    stability           interquartile_range, detrended_iqr, drawdown_cvar, collapses
                        (Chan et al. 2020, Measuring the reliability of RL algorithms)
    decisions           student_p_value, wilson
    ranks               kendall_tau, kendall_interval, kendall_over_variants
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ablate.exact.groups import ADVANTAGES, Bandit, group_moments
from ablate.statistics.interval import LEVEL, Floats, Interval
from ablate.statistics.learning_curves import smoothed
from ablate.statistics.seeds import MIN_SEEDS, cvar, expanded, interquartile_mean, probability_of_improvement
from ablate.statistics.seeds import QUARTER as TAIL

Z = float(stats.norm.ppf((1 + LEVEL) / 2))
BLOCK = 1 << 22  # numbers drawn at once


# ------------------------------------------------------------------------------------------------ learning curves


def on_grid(env_steps: ArrayLike, values: ArrayLike, grid: ArrayLike) -> Floats:
    """A curve at the env steps of a grid: linear between its points, constant before the first, NaN after the last.

    env_steps, values [T]; grid [G]; result [G].
    """
    return np.interp(np.asarray(grid, float), np.asarray(env_steps, float), np.asarray(values, float), right=np.nan)


def area_under_curve(env_steps: ArrayLike, values: ArrayLike, until: float) -> float:
    """(1/U) integral_0^U v(x) dx, the mean of a curve over its first U env steps; in the unit of the curve.

    The curve is that of `on_grid`, integrated exactly. Runs are compared over the same U, and U may not be past the
    end of one of them: raises ValueError.
    """
    x, v = np.asarray(env_steps, float), np.asarray(values, float)
    if not 0 < until <= x[-1]:
        raise ValueError(f"a curve of {x[-1]:g} env steps has no area up to {until:g}")
    inside = x < until
    edges = np.concatenate([[0.0], x[inside], [until]])
    heights = np.concatenate([[v[0]], v[inside], [np.interp(until, x, v)]])
    return float(np.trapezoid(heights, edges) / until)


# ------------------------------------------------------------------------------------------------ over seeds


def optimality_gap(x: ArrayLike, target: float = 1.0, axis: int = -1) -> Floats:
    """mean max(target - x, 0): how far runs fall short of the target, what is above it not counted."""
    return np.maximum(target - np.asarray(x, float), 0.0).mean(axis)


def band(
    x: ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[..., Floats] = interquartile_mean,
    resamples: int = 1000,
) -> Interval:
    """statistic over seeds at each point, with pointwise `expanded` percentile limits. x [seeds, points]; results
    [points]. NaN limits of fewer than 5 seeds. A resample draws whole seeds: the same ones at every point.
    """
    table = np.asarray(x, float)
    if len(table) < MIN_SEEDS:
        value = statistic(table, axis=0)
        return Interval(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    rows = rng.integers(len(table), size=(resamples, len(table)))
    width = max(1, BLOCK // rows.size)
    parts = [table[:, start : start + width] for start in range(0, table.shape[1], width)]
    limits = [np.quantile(statistic(part[rows], axis=1), expanded(len(table)), axis=0) for part in parts]
    low, high = np.concatenate(limits, axis=1) if limits else np.empty((2, 0))
    return Interval(statistic(table, axis=0), low, high)


def improvement_interval(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, resamples: int = 2000) -> Interval:
    """P(X > Y) + P(X = Y) / 2 with `expanded` percentile limits from resampling the runs of each, NaN below 5 runs of
    either. x [n], y [k]."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    won = 0.5 * (np.greater.outer(x, y).astype(float) + np.greater_equal.outer(x, y))
    drawn = [rng.multinomial(len(z), np.full(len(z), 1 / len(z)), size=resamples) for z in (x, y)]
    shares = ((drawn[0] @ won) * drawn[1]).sum(-1) / won.size
    fewer = min(len(x), len(y))
    low, high = np.quantile(shares, expanded(fewer)) if fewer >= MIN_SEEDS else (np.nan, np.nan)
    return Interval(probability_of_improvement(x, y), np.asarray(low), np.asarray(high))


# ------------------------------------------------------------------------------------------------ stability


def interquartile_range(x: ArrayLike, axis: int = -1) -> Floats:
    """The third quartile less the first."""
    first, third = np.quantile(np.asarray(x, float), [0.25, 0.75], axis=axis)
    return third - first


def detrended_iqr(values: Floats) -> Floats:
    """IQR of v_t - v_{t-1}, the jumps from one iteration to the next; NaN for a single one. [..., T] to [...]."""
    return interquartile_range(np.diff(values)) if values.shape[-1] > 1 else np.full(values.shape[:-1], np.nan)


def drawdown_cvar(values: Floats, share: float = TAIL) -> Floats:
    """Mean of the largest share of the drawdowns D_t = max_{k <= t} v_k - v_t. [..., T] to [...]."""
    return -cvar(values - np.maximum.accumulate(values, axis=-1), share)


def collapses(values: Floats, threshold: Floats) -> Floats:
    """1 where a run collapses: its smoothed curve, having once reached the threshold, falls below the middle between
    its first value and the threshold. 0 where it does not; NaN where it never gets there, or began there.

    Half of the gain, and not of the return, so that it means the same for negative returns. values [R, T]; result [R].
    """
    curve, level = smoothed(values), np.asarray(threshold, float).reshape(-1, 1)
    above = curve >= level
    since = np.maximum.accumulate(above, axis=-1)
    floor = (curve[:, :1] + level) / 2
    counted = above.any(-1) & ~above[:, 0]
    return np.where(counted, (since & (curve < floor)).any(-1), np.nan)


# ------------------------------------------------------------------------------------------------ decisions


def student_p_value(distance: float, error: float, degrees: float) -> float:
    """P(|T| >= distance / error) of Student's t, two-sided; without any error 0, or 1 if there is no distance."""
    if error == 0:
        return 0.0 if distance else 1.0
    return float(2 * stats.t.sf(abs(distance / error), degrees))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95% limits of a share. Wilson (1927): it stays in [0, 1] and holds for few trials, and at 0 and 1."""
    limits = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return float(limits.low), float(limits.high)


# ------------------------------------------------------------------------------------------------ ranks


def kendall_tau(x: ArrayLike, y: ArrayLike) -> Floats:
    """tau-b: (concordant - discordant pairs) / sqrt(pairs not tied in x * pairs not tied in y). [..., n] to [...].

    NaN where all x or all y are equal. Kendall (1945). Ours, since scipy's takes one pair of samples at a time, and a
    bootstrap has thousands.
    """
    first, second = np.triu_indices(np.shape(x)[-1], 1)
    dx, dy = (np.sign(z[..., first] - z[..., second]) for z in (np.asarray(x, float), np.asarray(y, float)))
    both, pairs = (dx * dy).sum(-1), np.abs(dx).sum(-1) * np.abs(dy).sum(-1)
    return np.divide(both, np.sqrt(pairs), out=np.full_like(both, np.nan), where=pairs > 0)


def kendall_interval(
    x: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[..., Floats] = interquartile_mean,
    resamples: int = 2000,
) -> Interval:
    """Kendall's tau between two measures of these variants, with limits from resampling each variant's seeds.

    x, y [variants, seeds]: tau of statistic(x, axis=-1) and statistic(y, axis=-1). A seed brings its x and its y. It
    tells how sure the ranks are, and nothing of other variants: for that, `kendall_over_variants`. Resamples without
    ranks are passed over; NaN where all are.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    rows = rng.integers(x.shape[1], size=(resamples, *x.shape))
    along = np.arange(len(x))[:, None]
    taus = kendall_tau(statistic(x[along, rows], axis=-1), statistic(y[along, rows], axis=-1))
    known = taus[np.isfinite(taus)]
    low, high = np.quantile(known if len(known) else np.nan, expanded(max(2, x.shape[1])))
    return Interval(kendall_tau(statistic(x, axis=-1), statistic(y, axis=-1)), low, high)


def kendall_over_variants(x: ArrayLike, y: ArrayLike) -> Interval:
    """Kendall's tau of n variants as a sample of more: tanh(atanh tau +- z sqrt(0.437 / (n - 4))).

    Fieller, Hartley & Pearson (1957), good for n >= 10 and |tau| < 0.8; no bound, (-1, 1), below 5 variants.
    """
    tau, n = kendall_tau(x, y), np.shape(x)[-1]
    reach = Z * np.sqrt(0.437 / (n - 4)) if n > 4 else np.inf
    centre = np.arctanh(np.clip(tau, -1 + 1e-15, 1 - 1e-15))
    return Interval(tau, np.tanh(centre - reach), np.tanh(centre + reach))


# ------------------------------------------------------------------------------------------------ noise


def against_reference(frame: pd.DataFrame) -> pd.DataFrame:
    """Every row with `ratio`, its trace variance over that of its reference in the same run at the same iteration.

    Rows that are their own reference are left out, as are those of a reference without noise.
    """
    keys = ["cell", "seed", "iteration"]
    noise = frame.drop_duplicates([*keys, "label"]).set_index([*keys, "label"])["trace_variance"]
    places = pd.MultiIndex.from_frame(frame[[*keys, "reference"]])
    ratio = frame["trace_variance"].to_numpy() / noise.reindex(places).replace(0, np.nan).to_numpy()
    kept = (frame["label"] != frame["reference"]) & np.isfinite(ratio)
    return frame.assign(ratio=ratio)[kept]


def group_curves(sizes: list[int], chances: list[float]) -> pd.DataFrame:
    """Each group estimator on a prompt that is answered rightly with probability p, at group size N: `scale`, its mean
    in units of the gradient (1 is unbiased), and `nsr`, tr Cov g / |E g|^2. Exact, by `ablate.exact.groups`."""
    rows = []
    for p in chances:
        prompt = Bandit.deterministic([[1.0, 0.0]], [[np.log(p / (1 - p)), 0.0]])
        for N in sizes:
            for place, (name, advantage) in enumerate(ADVANTAGES.items()):
                if name.endswith("loo") and N < 2:
                    continue
                found = group_moments(prompt, N, advantage)
                nsr = found.variance / np.square(found.mean).sum()
                scale = found.context_weight[0]
                rows.append({"estimator": name, "order": place, "N": N, "p": p, "scale": scale, "nsr": nsr})
    return pd.DataFrame(rows)
