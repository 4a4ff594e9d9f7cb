"""What a learning curve comes to, alike in the table of a sweep and in an analysis: the final return, and when the
threshold is reached. Iterations without a return, in which no episode ended, are to be left out before."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
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


def steps_to_threshold(env_steps: Floats, values: Floats, threshold: Floats | float) -> Floats:
    """Env steps at which the smoothed curve of a complete run first reaches the threshold; inf where it never does.

    Never, and not censored: a run that has used up its budget without getting there has given its answer. env_steps,
    values [R, T], threshold [R] or a number; result [R]. A threshold that is NaN is never reached.
    """
    above = smoothed(values) >= np.broadcast_to(np.asarray(threshold, float), values.shape[:1])[:, None]
    first = np.take_along_axis(env_steps, above.argmax(-1)[:, None], -1)[:, 0]
    return np.where(above.any(-1), first, np.inf)
