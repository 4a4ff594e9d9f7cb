"""Every episode of a small MDP, with its probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ablate import exact
from ablate.mdp import MDP

Floats = NDArray[np.float64]

GAMMA = 0.9


def known_mdp() -> MDP:
    """Three states and an end, two actions, 3 steps; episodes of 2 or 3 steps, rewards -1 to 4."""
    P = np.zeros((4, 2, 4))
    P[0, 0, [1, 2]] = 0.7, 0.3
    P[0, 1, [1, 2]] = 0.2, 0.8
    P[1, 0, 2] = P[1, 1, 3] = P[2, 1, 3] = 1.0
    P[2, 0, [0, 1]] = 0.5
    P[3, :, 3] = 1.0
    R = [[1.0, 2.0], [-1.0, 4.0], [3.0, 0.5], [0.0, 0.0]]
    logits = [[0.3, 0.0], [0.0, 0.2], [-0.2, 0.1], [0.0, 0.0]]
    return MDP.from_dense(P, R, [1, 0, 0, 0], 3, GAMMA, terminal=[False, False, False, True], logits=logits)


@dataclass(frozen=True)
class KnownEpisodes:
    """All M episodes of the first `steps` steps of an MDP under its policy, T steps at most; 0 after the end.

    | field      | shape   | meaning                                                        |
    |------------|---------|----------------------------------------------------------------|
    | chances    | [M]     | the probability of each                                        |
    | lengths    | [M]     | steps taken                                                    |
    | rewards    | [M,T]   | r_t                                                            |
    | values     | [M,T+1] | the exact V_t(s_t): 0 where the episode is over, not where cut |
    | advantages | [M,T]   | the exact A_t(s_t, a_t)                                        |
    | scores     | [M,T,d] | z_t                                                            |
    """

    chances: Floats
    lengths: NDArray[np.int64]
    rewards: Floats
    values: Floats
    advantages: Floats
    scores: Floats

    @classmethod
    def of(cls, mdp: MDP, steps: int) -> "KnownEpisodes":
        pi = exact.softmax(mdp.logits)
        known, listed = exact.exact_critic(mdp, pi), exact.enumerate_trajectories(mdp.with_horizon(steps))
        s, a, alive = listed.states, listed.actions, listed.alive
        t = np.arange(steps + 1)
        return cls(
            chances=np.exp(listed.log_prob(pi)),
            lengths=alive.sum(1),
            rewards=np.where(alive, mdp.rewards[s[:, :-1], a, listed.outcomes], 0.0),
            values=np.where(mdp.terminal[s], 0.0, known.V[t, s]),
            advantages=np.where(alive, known.advantage[t[:-1], s[:, :-1], a], 0.0),
            scores=exact.scores(pi, mdp.features)[s[:, :-1], a] * alive[..., None],
        )

    @cached_property
    def gradient(self) -> Floats:
        """E[sum_t gamma^t z_t A_t], [d]: grad J, or what these steps add to it."""
        mean: Floats = self.chances @ self.estimates(self.advantages)
        return mean

    def estimates(self, weights: Floats) -> Floats:
        """sum_t gamma^t z_t w_t of each episode, for w [M,T]: [M,d]."""
        return np.einsum("mt,mtd->md", weights * GAMMA ** np.arange(weights.shape[1]), self.scores)

    def moments(self, answers: Sequence[Floats]) -> tuple[float, float]:
        """Of the estimate with these weights, an array [T] an episode: see `bias_and_variance`."""
        weights = np.zeros_like(self.rewards)
        for row, answer in zip(weights, answers, strict=True):
            row[: len(answer)] = answer
        return bias_and_variance(self.chances, self.estimates(weights), self.gradient)


def bias_and_variance(chances: Floats, g: Floats, gradient: Floats) -> tuple[float, float]:
    """|E g - grad J|^2 and E|g - E g|^2, of g [M,d] with their chances."""
    mean = chances @ g
    return float(np.square(mean - gradient).sum()), float(chances @ np.square(g - mean).sum(1))
