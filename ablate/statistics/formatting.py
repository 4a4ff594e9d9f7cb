"""How a number is written, alike on the screen, in a table and on a page."""

import math
from numbers import Integral, Real
from typing import Any

from ablate.statistics.interval import Interval

MISSING = "–"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> str:
    """Four significant digits, or a whole number in full; powers of ten beyond 10^6 and below 10^-3; text as it is."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return MISSING if str(value) in ("None", "<NA>") else str(value)  # pandas writes NA so
    x = float(value)
    if math.isnan(x):
        return MISSING
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if isinstance(value, Integral):
        text = f"{int(value):,}"
    elif x.is_integer() and abs(x) < 1e9:
        text = f"{x:,.0f}"
    elif 1e-3 <= abs(x) < 1e6:
        text = f"{x:,.0f}" if abs(x) >= 1000 else f"{x:,.4g}"
    else:
        mantissa, power = f"{x:.2e}".split("e")
        text = f"{mantissa}×10{str(int(power)).translate(SUPERSCRIPTS)}"
    return text.replace("-", "−")


def counted(amount: int, noun: str) -> str:
    """1 claim, 2 claims."""
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def limits(interval: Interval) -> str:
    """[low, high], or nothing where there are none."""
    low, high = float(interval.low), float(interval.high)
    return "" if math.isnan(low) or math.isnan(high) else f"[{number(low)}, {number(high)}]"
