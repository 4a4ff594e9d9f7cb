"""How many independent values decide a mean, by a declared smallest effect: never by the one that was observed.

The test is Student's t of n values x_k, two-sided at level alpha; its statistic is non-central t with n - 1 degrees of
freedom and non-centrality effect sqrt(n) / deviation.
"""

from math import ceil, inf

import numpy as np
from scipy import special

POWER = 0.8
LARGE = 100_000  # from here on the normal approximation is right to 1 in n


def power(effect: float, deviation: float, n: int, alpha: float) -> float:
    """P(|t| > t_{1 - alpha/2}) where the mean is `effect`."""
    if n < 2 or deviation <= 0:
        return float(n >= 2 and effect != 0)
    critical = special.stdtrit(n - 1, 1 - alpha / 2)
    shift = abs(effect) * np.sqrt(n) / deviation
    found = 1 - special.nctdtr(n - 1, shift, critical) + special.nctdtr(n - 1, shift, -critical)
    if np.isnan(found):  # scipy's series fails at some large shifts; t^2 is non-central F, whose fails where it is 0
        found = 1 - np.nan_to_num(special.ncfdtr(1, n - 1, shift**2, critical**2), nan=0.0)
    return float(found)


def samples_needed(effect: float, deviation: float, alpha: float, wanted: float = POWER) -> float:
    """The smallest n >= 3 whose test finds `effect` with the wanted power; inf where the effect is 0 or not finite."""
    if not effect or not np.isfinite(effect) or not np.isfinite(deviation):
        return inf
    z = special.ndtri(1 - alpha / 2) + special.ndtri(wanted)
    n = max(3, ceil((z * deviation / effect) ** 2))
    while n < LARGE and power(effect, deviation, n, alpha) < wanted:
        n += 1
    return n


def detectable(deviation: float, n: int, alpha: float, wanted: float = POWER) -> float:
    """The smallest effect that n values find with the wanted power: it depends on their spread, not on their mean."""
    if n < 2:
        return inf
    critical = special.stdtrit(n - 1, 1 - alpha / 2)
    return float(special.nctdtrinc(n - 1, 1 - wanted, critical) * deviation / np.sqrt(n))
