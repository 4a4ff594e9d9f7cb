"""What the figures need to know, in numpy: no drawing here, and no computing there."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.groups import ADVANTAGES, Bandit, group_moments

Floats = NDArray[np.float64]
Z = 1.959963984540054  # of 95% intervals


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95% limits of a share. Wilson (1927): it stays in [0, 1] and holds for few trials, and at 0 and 1."""
    p, n = successes / trials, trials
    centre, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return float((centre - half) / (1 + Z**2 / n)), float((centre + half) / (1 + Z**2 / n))


def pooled(values: Floats, low: Floats, high: Floats) -> tuple[float, float, float]:
    """The mean of independent estimates x_k with symmetric 95% intervals, and its own: sqrt(sum half_k^2) / n.

    It is about these policies; how policies differ from seed to seed shows in the x_k.
    """
    mean, half = values.mean(), np.sqrt(np.square((high - low) / 2).sum()) / len(values)
    return float(mean), float(mean - half), float(mean + half)


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
    in units of the gradient (1 is unbiased), and `nsr`, tr Cov g / |E g|^2. Exact, by `ablate.groups`."""
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
