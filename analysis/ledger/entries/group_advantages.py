"""Advantages of one group, as their definitions have them."""

from collections.abc import Mapping

import numpy as np

from ablate.sequences import advantages

from ...verdicts.study import ClaimStudy
from ..entry import Measured, exactly

RIGHT, WRONG = 0, 7


def measure(study: ClaimStudy) -> Mapping[str, list[Measured]]:
    eight, one = np.array([1.0] * 3 + [0.0] * 5), np.array([1.0, 0.0, 0.0, 0.0])
    found = {
        "GRPO, ddof 1: right, wrong": advantages.group_standardised(eight, ddof=1, epsilon=0.0),
        "GRPO, ddof 0: right, wrong": advantages.group_standardised(eight, ddof=0, epsilon=0.0),
        "Dr. GRPO: right, wrong": advantages.group_mean(eight),
        "RLOO: right, wrong": advantages.leave_one_out(eight),
    }
    alone = advantages.leave_one_out_standardised(one, epsilon=1e-6)[0]
    pairs = {name: exactly(advantage[[RIGHT, WRONG]]) for name, advantage in found.items()}
    return pairs | {"leave-one-out standardised, the right one": exactly(alone)}
