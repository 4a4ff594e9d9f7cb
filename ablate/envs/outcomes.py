"""Finite MDPs from a list of what may follow each state and action."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ablate.envs.base import need_count
from ablate.errors import UserError
from ablate.mdp import MDP, one_hot

MOST_STATES = 10_000  # that are seen one-hot: 400 MB of observations, one of each
Outcome = tuple[float, int, float, bool]  # probability, s', reward, is s' terminal? -- as in Gymnasium's tables `P`


def from_outcomes(
    outcomes: Callable[[int, int], Sequence[Outcome]],
    num_states: int,
    num_actions: int,
    start: int,
    horizon: int,
    gamma: float = 1.0,
    features: NDArray[np.float64] | None = None,
) -> MDP:
    """The MDP whose (s, a) has these outcomes. Outcomes with the same s' and reward are one, impossible ones go.

    A successor stands twice where it comes with two rewards. A terminal state leads to itself and earns nothing.
    """
    need_count("horizon", horizon)
    if num_states > MOST_STATES:
        remedy = f"make its length, rows or columns smaller, to {MOST_STATES} states at most"
        raise UserError(f"an environment of {num_states} states does not fit here; {remedy}")
    merged: list[list[dict[tuple[int, float], float]]] = []
    terminal = np.zeros(num_states, bool)
    for s in range(num_states):
        merged.append([{} for _ in range(num_actions)])
        for a, table in enumerate(merged[s]):
            for probability, successor, reward, ends in outcomes(s, a):
                if probability > 0:
                    key = (int(successor), float(reward))
                    table[key] = table.get(key, 0.0) + probability
                    terminal[successor] |= ends
    for s in range(num_states):
        if terminal[s]:
            merged[s] = [{(s, 0.0): 1.0} for _ in range(num_actions)]
    width = max(len(table) for row in merged for table in row)
    successors = np.zeros((num_states, num_actions, width), np.int64)
    probabilities, rewards = np.zeros(successors.shape), np.zeros(successors.shape)
    for s, row in enumerate(merged):
        for a, table in enumerate(row):
            for k, ((successor, reward), probability) in enumerate(sorted(table.items())):
                successors[s, a, k], rewards[s, a, k], probabilities[s, a, k] = successor, reward, probability
    return MDP(
        successors=successors,
        probabilities=probabilities,
        rewards=rewards,
        rho0=(np.arange(num_states) == start).astype(np.float64),
        horizon=horizon,
        gamma=gamma,
        terminal=terminal,
        features=one_hot(num_states) if features is None else features,
        logits=np.zeros((num_states, num_actions)),
    )
