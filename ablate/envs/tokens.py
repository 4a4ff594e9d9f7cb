"""Autoregressive generation as a finite MDP: a prompt and the tokens so far are the state, a token is the action."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ablate.envs.base import need, need_count
from ablate.envs.outcomes import MOST_STATES, Outcome, from_outcomes
from ablate.mdp import MDP
from ablate.sequences.problem import END, Answer, TokenProblem, answers


def tokens(vocabulary: int, horizon: int, right: Sequence[Sequence[int]], gamma: float = 1.0) -> MDP:
    """Prompts x, all alike likely, each with one right answer right[x]: reward 1 at its end, else 0.

    An answer ends with token 0 or after `horizon` tokens. Tokens are 0 .. vocabulary - 1. The state is one-hot, so that
    a linear softmax policy is tabular by prefix. Exact values of group and sequence estimators: `ablate.sequences`.
    """
    need(_lists(right), "right", right, "a list of answers, one a prompt, each a list of tokens: [[1, 0], [2, 1, 0]]")
    _fits(vocabulary, horizon, len(right))
    try:
        problem = TokenProblem.exact_match(vocabulary, horizon, [tuple(y) for y in right])
    except ValueError as wrong:
        need(False, "right", right, str(wrong))
    return mdp_of(problem, gamma)


def rewarded_tokens(vocabulary: int, horizon: int, rewards: Sequence[Sequence[Any]], gamma: float = 1.0) -> MDP:
    """The same with a table: rewards[x] lists [answer, reward] of the answers to prompt x that earn something."""
    shape = "a list of prompts, each a list of [answer, reward]: [[[[0], 0.4], [[1, 0], 1]]]"
    whole = _lists(rewards) and all(_lists(own) and all(_is_pair(pair) for pair in own) for own in rewards)
    need(whole, "rewards", rewards, shape)
    _fits(vocabulary, horizon, len(rewards))
    table = [{tuple(answer): float(reward) for answer, reward in own} for own in rewards]
    known = set(answers(vocabulary, horizon))
    for answer in (y for own in table for y in own):
        need(
            answer in known,
            "rewards",
            list(answer),
            f"an answer of {horizon} tokens of {vocabulary}, {END} the last one",
        )
    return mdp_of(TokenProblem.of(vocabulary, horizon, len(table), lambda x, y: table[x].get(y, 0.0)), gamma)


def checked_tokens(
    vocabulary: int, horizon: int, prompts: int, checker: Callable[[int, Answer], float], gamma: float = 1.0
) -> MDP:
    """The same with a function: checker(prompt, answer) is the reward of an answer, a tuple of tokens, its end token
    too where there is one."""
    need_count("prompts", prompts)
    _fits(vocabulary, horizon, prompts)
    try:
        problem = TokenProblem.of(vocabulary, horizon, prompts, checker)
    except (ValueError, TypeError) as wrong:
        need(False, "checker", checker, f"a function of prompt and answer that returns a finite number ({wrong})")
    return mdp_of(problem, gamma)


def sum_is(prompt: int, answer: Answer) -> float:
    """1 where the tokens of an answer that ends add up to the prompt's number: many right answers, short and long."""
    return float(answer[-1] == END and sum(answer) == prompt)


def mdp_of(problem: TokenProblem, gamma: float = 1.0) -> MDP:
    """States are prompt x prefixes + prefix, and one that is terminal."""
    prefixes, places = list(problem.prefixes), {y: k for k, y in enumerate(problem.answers)}
    rows = len(prefixes)
    over = problem.prompts * rows

    def outcomes(s: int, a: int) -> list[Outcome]:
        if s == over:
            return [(1.0, over, 0.0, True)]
        x, prefix = s // rows, prefixes[s % rows]
        answer = (*prefix, a)
        if a == END or len(answer) == problem.horizon:
            return [(1.0, over, float(problem.rewards[x, places[answer]]), True)]
        return [(1.0, x * rows + problem.prefixes[answer], 0.0, False)]

    mdp = from_outcomes(outcomes, over + 1, problem.vocabulary, start=0, horizon=problem.horizon, gamma=gamma)
    starts = np.arange(over + 1) % rows == 0
    starts[over] = False
    return replace(mdp, rho0=starts / starts.sum())


def problem_of(mdp: MDP) -> TokenProblem | None:
    """The token problem that `mdp_of` made a model of; None where it is the model of none."""
    V, H = mdp.num_actions, mdp.horizon
    rows = _prefixes(V, H) if V > 1 else 0
    prompts = (mdp.num_states - 1) // rows if rows else 0
    if not prompts or mdp.num_states != prompts * rows + 1 or mdp.successors.shape[2] != 1:
        return None
    prefixes = TokenProblem.of(V, H, 1, lambda x, y: 0.0).prefixes
    problem = TokenProblem.of(V, H, prompts, lambda x, y: float(mdp.rewards[x * rows + prefixes[y[:-1]], y[-1], 0]))
    again = mdp_of(problem, mdp.gamma)
    same = all(
        np.array_equal(getattr(mdp, name), getattr(again, name))
        for name in ("successors", "rewards", "terminal", "rho0")
    )
    return problem if same else None


def _lists(x: Any) -> bool:
    """A list of lists, none of them empty."""
    return isinstance(x, Sequence) and len(x) > 0 and all(isinstance(y, Sequence) and len(y) > 0 for y in x)


def _is_pair(pair: Any) -> bool:
    """[answer, reward]."""
    return (
        len(pair) == 2 and isinstance(pair[0], Sequence) and isinstance(pair[1], int | float) and np.isfinite(pair[1])
    )


def _fits(vocabulary: int, horizon: int, prompts: int) -> None:
    need_count("horizon", horizon)
    need_count("vocabulary", vocabulary)
    if (states := prompts * _prefixes(vocabulary, horizon)) > MOST_STATES:
        fits = f"a smaller vocabulary or horizon; at most {MOST_STATES} prefixes fit, this has {states} or more"
        need(False, "horizon", horizon, fits)


def _prefixes(vocabulary: int, horizon: int) -> int:
    """sum_{t < H} (V - 1)^t, or a part of it that is too much already."""
    total = level = 1
    for _ in range(1, min(horizon, MOST_STATES + 1)):
        level *= vocabulary - 1
        total += level
        if total > MOST_STATES:
            break
    return total
