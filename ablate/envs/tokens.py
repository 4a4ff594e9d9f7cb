"""Autoregressive generation as a finite MDP: a prompt and the tokens so far are the state, a token is the action."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ablate.envs.base import need, need_count
from ablate.envs.tabular import MOST_STATES, Outcome, from_outcomes
from ablate.mdp import MDP
from ablate.sequences.problem import END, TokenProblem


def tokens(vocabulary: int, horizon: int, right: Sequence[Sequence[int]], gamma: float = 1.0) -> MDP:
    """Prompts x, all alike likely, each with one right answer right[x]: reward 1 at its end, else 0.

    An answer ends with token 0 or after `horizon` tokens. Tokens are 0 .. vocabulary - 1. The state is one-hot, so that
    a linear softmax policy is tabular by prefix. Exact values of group and sequence estimators: `ablate.sequences`.
    """
    need_count("horizon", horizon)
    need_count("vocabulary", vocabulary)
    lists = isinstance(right, Sequence) and len(right) > 0 and all(isinstance(y, Sequence) and y for y in right)
    need(lists, "right", right, "a list of answers, one a prompt, each a list of tokens: [[1, 0], [2, 1, 0]]")
    if (states := len(right) * _prefixes(vocabulary, horizon)) > MOST_STATES:
        fits = f"a smaller vocabulary or horizon; at most {MOST_STATES} prefixes fit, this has {states} or more"
        need(False, "horizon", horizon, fits)
    try:
        problem = TokenProblem.exact_match(vocabulary, horizon, [tuple(y) for y in right])
    except ValueError as wrong:
        need(False, "right", right, str(wrong))
    prefixes = list(problem.prefixes)
    rows = len(prefixes)
    over = problem.prompts * rows

    def outcomes(s: int, a: int) -> list[Outcome]:
        if s == over:
            return [(1.0, over, 0.0, True)]
        x, prefix = s // rows, prefixes[s % rows]
        answer = (*prefix, a)
        if a == END or len(answer) == horizon:
            return [(1.0, over, float(answer == tuple(right[x])), True)]
        return [(1.0, x * rows + problem.prefixes[answer], 0.0, False)]

    mdp = from_outcomes(outcomes, over + 1, vocabulary, start=0, horizon=horizon, gamma=gamma)
    starts = np.arange(over + 1) % rows == 0
    starts[over] = False
    return replace(mdp, rho0=starts / starts.sum())


def _prefixes(vocabulary: int, horizon: int) -> int:
    """sum_{t < H} (V - 1)^t, or a part of it that is too much already."""
    total = level = 1
    for _ in range(1, min(horizon, MOST_STATES + 1)):
        level *= vocabulary - 1
        total += level
        if total > MOST_STATES:
            break
    return total
