"""How much smaller an expected estimate is whose baseline contains the sample itself."""

from collections.abc import Mapping

from ablate.exact.groups import Bandit, group_moments
from ablate.sequences.advantages import group_mean, leave_one_out

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

SIZES = 2, 4, 8, 16


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    bandit = Bandit.bernoulli([[0.9, 0.3, 0.1]], [[0.2, -0.4, 1.0]])
    of = {"group mean over gradient": group_mean, "leave-one-out over gradient": leave_one_out}
    return {
        name: exactly([group_moments(bandit, size, advantage).context_weight[0] for size in SIZES])
        for name, advantage in of.items()
    }
