"""Every trajectory of a small MDP, one by one: P(tau), grad log P(tau) and R(tau), the slides' Facts 1 to 4.

The number of trajectories grows as (A K)^H: this is the definition, to hold faster ways against on tiny problems.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.exact.evaluation import two_point
from ablate.mdp import MDP

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Enumeration:
    """The M trajectories tau = (s_0, a_0, s_1, ...) that are possible under some policy, up to the horizon.

    | field    | shape   | meaning                                                                          |
    |----------|---------|----------------------------------------------------------------------------------|
    | states   | [M,H+1] | s_t; a terminal state goes on to stand there after the end                       |
    | actions  | [M,H]   | a_t, 0 after the end                                                             |
    | outcomes | [M,H]   | which successor followed: s_{t+1} = mdp.successors[s_t, a_t, outcome]            |
    | alive    | [M,H]   | true where the step was taken                                                    |
    """

    mdp: MDP
    states: Integers
    actions: Integers
    outcomes: Integers
    alive: NDArray[np.bool_]

    def log_prob(self, pi: Floats) -> Floats:
        """log P(tau) = log rho_0(s_0) + sum_t [log pi(a_t|s_t) + log P(s_{t+1}|s_t, a_t)], [M]; -inf where pi is 0.

        Differentiable by complex step: a complex pi stays complex. Slide "Preliminaries".
        """
        s, a = self.states[:, :-1], self.actions
        with np.errstate(divide="ignore"):
            steps = np.log(pi[s, a]) + np.log(self.mdp.probabilities[s, a, self.outcomes])
            return np.log(self.mdp.rho0[self.states[:, 0]]) + np.where(self.alive, steps, 0).sum(-1)

    def scores(self, z: Floats) -> Floats:
        """grad_theta log P(tau) = sum_t z(s_t, a_t): the dynamics have no theta in them. z [S,A,d] to [M,d].

        Slides "Facts 1-4".
        """
        return (self.alive[..., None] * z[self.states[:, :-1], self.actions]).sum(1)

    @property
    def returns(self) -> Floats:
        """R(tau) = sum_t gamma^t r_t, [M]."""
        rewards = self.mdp.rewards[self.states[:, :-1], self.actions, self.outcomes] * self.alive
        return rewards @ self.mdp.gamma ** np.arange(self.mdp.horizon)

    def J(self, pi: Floats) -> Floats:
        """J = sum_tau P(tau) R(tau). Differentiable by complex step."""
        return np.exp(self.log_prob(pi)) @ self.returns

    def gradient(self, pi: Floats, z: Floats) -> Floats:
        """grad J = E[grad log P(tau) R(tau)] = sum_tau P(tau) sum_t z_t R(tau), the log-derivative trick: [d]."""
        return (np.exp(self.log_prob(pi)) * self.returns) @ self.scores(z)


def enumerate_trajectories(mdp: MDP) -> Enumeration:
    """All trajectories whose first state and transitions are possible; of Gaussian rewards those of `two_point`."""
    mdp = two_point(mdp)
    states = np.flatnonzero(mdp.rho0 > 0)[:, None]
    nothing = np.zeros((len(states), 0), np.int64)
    actions, outcomes, alive = nothing, nothing, nothing.astype(bool)
    branches = mdp.probabilities > 0
    only = np.zeros_like(branches[0])
    only[0, 0] = True  # after the end: nothing to choose, nothing to happen
    for _ in range(mdp.horizon):
        last = states[:, -1]
        over = mdp.terminal[last]
        path, a, k = np.nonzero(np.where(over[:, None, None], only, branches[last]))
        successor = np.where(over[path], last[path], mdp.successors[last[path], a, k])
        states = np.column_stack([states[path], successor])
        actions, outcomes = np.column_stack([actions[path], a]), np.column_stack([outcomes[path], k])
        alive = np.column_stack([alive[path], ~over[path]])
    return Enumeration(mdp, states, actions, outcomes, alive)
