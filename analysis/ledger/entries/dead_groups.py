"""The share of groups that teach nothing."""

from collections.abc import Mapping

from ablate.sequences.pass_rates import dead_share, known

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    rates = known([0.1819])
    return {"share of dead groups": exactly([dead_share(rates, size) for size in (2, 4, 8, 16)])}
