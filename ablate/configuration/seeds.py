"""Which seeds a job has."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ablate.errors import UserError, shown

MOST = 100_000


def parse_seeds(value: Any) -> tuple[int, ...]:
    """The seeds that `seed=` names: 3, "0-9", "0-4,7" or [0,1,"4-6"], in the order given.

    Raises UserError on anything else, on a range that runs backwards, and on a seed named twice.
    """
    seeds: list[int] = []
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else str(value).split(",")
    for part in parts:
        text = str(part).strip()
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
        if isinstance(part, bool) or match is None:
            hint = f"write seed={text}9 or the like" if re.fullmatch(r"\d+-", text) else "write seed=3, 0-9 or [0,1,7]"
            raise UserError(f"seed={shown(text)} is not a seed or a range of seeds (whole numbers from 0); {hint}")
        digits = match[1], match[2] or match[1]
        first, last = (int(number) if len(number.lstrip("0")) < 20 else 1 << 63 for number in digits)
        if max(first, last) >= 1 << 63:
            raise UserError(f"seed={shown(text)} is not below 2^63; write a smaller seed")
        if last < first:
            raise UserError(f"seed={text} runs backwards; write seed={last}-{first}")
        if len(seeds) + last - first >= MOST:
            raise UserError(f"seed={shown(value)} is more than the {MOST} seeds of a job; name fewer")
        seeds += range(first, last + 1)
    if not seeds:
        raise UserError("seed names no seed; write seed=3, 0-9 or [0,1,7]")
    if len(set(seeds)) < len(seeds):
        twice = Counter(seeds).most_common(1)[0][0]
        raise UserError(f"seed={shown(value)} names seed {twice} twice; name each seed once")
    return tuple(seeds)
