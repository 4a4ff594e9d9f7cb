"""Bellman iteration: Q made consistent with itself, on a known MDP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import build, exact
from ablate.envs.tabular import Tabular
from ablate.errors import UserError
from ablate.learners.base import Record, State
from ablate.networks import Network
from ablate.policies import GreedyValues

Floats = NDArray[np.float64]


def learner(config: Mapping[str, Any]) -> "QIteration":
    """The learner of a resolved configuration. Refuses where no finite Q* exists, and where states are hidden."""
    env = with_states_seen(build.environment(config), config)
    mdp = replace(env.mdp, gamma=config["gamma"])
    return QIteration(env, mdp.gamma, exact.optimal_values(mdp))


def with_states_seen(env: Any, config: Mapping[str, Any]) -> Tabular:
    """The same MDP with the state itself, one-hot, for an observation. Refuses where states in which one acts look
    alike: what is computed of the states would be out of an agent's reach."""
    if not env.mdp.states_are_seen:
        raise UserError(
            f"algorithm={config['algorithm']['name']} needs to see the state, which env={config['env']['name']} "
            "hides; write algorithm=q_learning, or env=chain"
        )
    return Tabular(replace(env.mdp, features=np.eye(env.mdp.num_states)), env.time_limit)


@dataclass(frozen=True)
class QIteration:
    """Q_{k+1}(s,a) = sum_s' P(s'|s,a) [R(s,a,s') + gamma max_a' Q_k(s',a')], Q_0 = 0; an iteration is a sweep.

    The horizon is left out: Q does not see the time. Nothing is sampled, so all seeds are alike, env_steps and episodes
    are 0, and of a record

        q_error      max |Q_{k+1} - Q*|, the error in the sup norm: at most gamma times that of the last sweep
        grad_norm    max |Q_{k+1} - Q_k|, the Bellman residual of Q_k
        return_mean  E[sum_{t < horizon} r_t] of the greedy policy, exactly

    Slide "Learn Q-values"; Sutton & Barto (2018), eq. 4.10.
    """

    env: Tabular
    gamma: float
    optimum: Floats  # Q*, [states, A]

    def initial(self, seeds: Sequence[int]) -> State:
        return {"q": torch.zeros(len(seeds), *self.optimum.shape, dtype=torch.float64)}

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        mdp, S = self.env.mdp, len(seeds)
        before = state["q"][0].numpy()
        q = exact.backup(replace(mdp, gamma=self.gamma), before.max(-1))
        greedy = np.eye(mdp.num_actions)[q.argmax(-1)]
        record = {
            "env_steps": np.zeros(S, np.int64),
            "episodes": np.zeros(S, np.int64),
            "return_mean": np.full(S, exact.J(replace(mdp, gamma=1.0), greedy)),
            "q_error": np.full(S, np.abs(q - self.optimum).max()),
            "grad_norm": np.full(S, np.abs(q - before).max()),
        }
        return {"q": torch.from_numpy(np.repeat(q[None], S, axis=0))}, record

    def deterministic(self, state: State) -> tuple[Tabular, GreedyValues, Tensor]:
        """argmax_a Q(s,a), the first of equals."""
        network = Network(self.optimum.shape, bias=False)
        return self.env, GreedyValues(network), (state["q"] - state["q"].amax(-1, keepdim=True)).flatten(1).float()
