"""The share of groups that teach nothing."""

from collections.abc import Mapping

import numpy as np

from ablate.sequences.pass_rates import Rates, dead_share

from ...verdicts.study import Study
from ..entry import Measured, exactly


def measure(study: Study) -> Mapping[str, list[Measured]]:
    rates = Rates(np.array([[0.1819]]), None)
    return {"share of dead groups": exactly([dead_share(rates, size)[0] for size in (2, 4, 8, 16)])}
