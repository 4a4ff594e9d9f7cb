"""Values of a finite MDP without its horizon, which do not depend on the time: V^pi(s) and Q*(s, a).

With gamma = 1 they exist only where the rewards still to come have a finite sum: where every episode ends, or ends up
going round where nothing is earned. pi is [S,A], as in `ablate.exact.evaluation`.
"""

import numpy as np
from numpy.typing import NDArray

from ablate.errors import UserError
from ablate.exact.evaluation import expect, transitions
from ablate.mdp import MDP

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ROUNDING = 1e-13  # of the largest value: an action better by less is not better


def backup(mdp: MDP, V: Floats) -> Floats:
    """Q(s,a) = sum_s' P(s'|s,a) [R(s,a,s') + gamma V(s')]: [S] to [S,A], 0 in terminal states."""
    P = transitions(mdp)
    return (P * mdp.rewards).sum(-1) + mdp.gamma * expect(mdp.successors, P, V)


def stationary_values(mdp: MDP, pi: Floats) -> Floats:
    """V = (I - gamma P_pi)^-1 r_pi, the V^pi(s) of an endless horizon, by a linear solve: [S].

    Raises UserError with gamma = 1 where a state never comes to an end and goes on to earn something.
    Source: Sutton & Barto (2018), eq. 4.4.
    """
    flow = pi[..., None] * transitions(mdp)  # [S,A,K]
    r = (flow * mdp.rewards).sum((1, 2))
    P = np.zeros((mdp.num_states, mdp.num_states))
    np.add.at(P, (np.arange(mdp.num_states)[:, None, None], mdp.successors), flow)
    going = ~mdp.terminal
    if mdp.gamma == 1:
        going = _reaching(((flow > 0) & (mdp.rewards != 0)).any((1, 2)), P > 0)  # elsewhere nothing is earned any more
        if not (ends := _reaching(~going, P > 0)).all():
            raise UserError(
                f"with gamma=1 the values are not finite: from state {int(ends.argmin())} on nothing ends and rewards "
                "go on; write gamma=0.99"
            )
    V = np.zeros(mdp.num_states)
    V[going] = np.linalg.solve(np.eye(int(going.sum())) - mdp.gamma * P[np.ix_(going, going)], r[going])
    return V


def optimal_values(mdp: MDP) -> Floats:
    """Q*(s,a) = sum_s' P(s'|s,a) [R(s,a,s') + gamma max_a' Q*(s',a')], the limit of Bellman iteration from 0: [S,A].

    By policy iteration: V of a policy by a linear solve, then the best action wherever it is better than the policy's
    own. With gamma = 1 it starts from a policy that comes to an end, or to a place to stay at no cost, from wherever
    that is possible. An improvement on such a policy is another one, unless it found a round trip that pays for ever.
    Raises UserError with gamma = 1 where there is such a trip, or no such policy.
    Source: Howard (1960); Bertsekas & Tsitsiklis (1991), stochastic shortest paths.
    """
    states, every = np.arange(mdp.num_states), np.eye(mdp.num_actions)
    actions = _ending(mdp) if mdp.gamma == 1 else np.zeros(mdp.num_states, np.int64)
    V = stationary_values(mdp, every[actions])
    while True:
        Q = backup(mdp, V)
        rounding = ROUNDING * np.abs(Q).max()
        actions = np.where(Q.max(-1) > Q[states, actions] + rounding, Q.argmax(-1), actions)
        before, V = V, stationary_values(mdp, every[actions])
        if (V - before).max() <= rounding:
            return backup(mdp, V)


def _ending(mdp: MDP) -> NDArray[np.int64]:
    """An action a state [S]: stay where that costs and earns nothing, elsewhere go towards an end or such a place."""
    possible = transitions(mdp) > 0
    free = ~(possible & (mdp.rewards != 0)).any(-1)  # [S,A]: nothing is earned
    stay = ~mdp.terminal
    while True:  # the largest set that one can stay in
        staying = free & (stay[mdp.successors] | ~possible).all(-1) & ~mdp.terminal[:, None]
        if (staying.any(-1) == stay).all():
            break
        stay = staying.any(-1)
    actions = staying.argmax(-1)
    there = mdp.terminal | stay
    while not there.all():
        towards = (possible & there[mdp.successors]).any(-1)  # [S,A]
        new = towards.any(-1) & ~there
        if not new.any():
            raise UserError(
                f"with gamma=1 the values are not finite: from state {int(there.argmin())} on no episode ever ends; "
                "write gamma=0.99"
            )
        actions = np.where(new, towards.argmax(-1), actions)
        there = there | new
    return actions


def _reaching(goal: Bools, edges: Bools) -> Bools:
    """The states [S] from which `goal` [S] can be reached over edges [S,S]."""
    while True:
        wider = goal | (edges & goal).any(-1)
        if (wider == goal).all():
            return goal
        goal = wider
