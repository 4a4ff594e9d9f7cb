"""A small MDP whose updates are worked by hand."""

from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular


def two_states(time_limit: bool = True, horizon: int = 100) -> Tabular:
    """States 0 and 1 and the end, 2. Sure transitions, (next state, reward) of a = 0 and a = 1:
    from 0: (1, 3) and (0, -1); from 1: (0, 1) and (end, 4)."""
    table = {0: [(1, 3.0), (0, -1.0)], 1: [(0, 1.0), (2, 4.0)], 2: [(2, 0.0), (2, 0.0)]}
    return Tabular(
        from_outcomes(lambda s, a: [(1.0, *table[s][a], table[s][a][0] == 2)], 3, 2, start=0, horizon=horizon),
        time_limit,
    )
