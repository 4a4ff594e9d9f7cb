"""What a learning curve comes to, alike in the table of a sweep and in an analysis: the final return, and when the
threshold is reached. Iterations without a return, in which no episode ended, are to be left out before."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FINAL = 0.1  # the final return is the mean over this last share of the iterations
SMOOTHING = 5  # iterations averaged before a return is held against the threshold


def final_return(values: Floats) -> Floats:
    """The mean over the last tenth of the iterations, [..., T] to [...]."""
    return values[..., -max(1, round(FINAL * values.shape[-1])) :].mean(-1)


def smoothed(values: Floats, window: int = SMOOTHING) -> Floats:
    """The mean of each value and the window - 1 before it, of fewer at the start. [..., T]."""
    total, count = np.zeros_like(values), np.zeros(values.shape[-1])
    for back in range(min(window, values.shape[-1])):
        total[..., back:] += values[..., : values.shape[-1] - back]
        count[back:] += 1
    return total / count


def steps_to_threshold(env_steps: Floats, values: Floats, threshold: Floats | float) -> tuple[Floats, Bools]:
    """Env steps at which the smoothed curve first reaches the threshold, and whether it does.

    A run that does not is right-censored at its last env step. env_steps, values [R, T], threshold [R] or a number;
    results [R]. A threshold that is NaN is never reached.
    """
    above = smoothed(values) >= np.broadcast_to(np.asarray(threshold, float), values.shape[:1])[:, None]
    reached: Bools = np.any(above, axis=-1)
    first = np.where(reached, above.argmax(-1), values.shape[-1] - 1)
    return np.take_along_axis(env_steps, first[:, None], -1)[:, 0], reached


def kaplan_meier(times: ArrayLike, reached: ArrayLike) -> tuple[Floats, Floats]:
    """S(t) = prod_{t_i <= t, reached} (1 - 1 / n_i), n_i the runs that are still on the way just before their turn.

    The times in order, and S just after each; a time is counted before the censorings that fall on it, and the
    product over ties telescopes to the usual 1 - d/n. times, reached [..., n]; results [..., n]. Kaplan & Meier (1958).
    """
    t, event = np.asarray(times, float), np.asarray(reached, bool)
    order = np.lexsort((~event, t), axis=-1)
    t, event = np.take_along_axis(t, order, -1), np.take_along_axis(event, order, -1)
    left = np.arange(t.shape[-1], 0, -1, dtype=np.float64)
    return t, np.cumprod(1 - event / left, axis=-1, dtype=np.float64)


def survival_median(times: ArrayLike, reached: ArrayLike) -> Floats:
    """The smallest time with S(t) <= 1/2: when half the runs have got there; inf where that is past what was seen."""
    t, survival = kaplan_meier(times, reached)
    half = survival <= 0.5 + 1e-12
    middle = np.take_along_axis(t, half.argmax(-1)[..., None], -1)[..., 0]
    return np.where(half.any(-1), middle, np.inf)
