r"""The Phi_t of  grad J = E[ sum_t grad log pi(a_t|s_t) Phi_t ],  side by side as on the slide "Many forms".

Each is a function of the episodes' `Signals` and returns Phi [S,N,T]. Phi_t is measured from t: where the exact
discounted gradient is wanted (`discount_scores`), the weight gamma^t is applied outside, except to `total_return`,
which is measured from 0 already. To add a Phi: one function here or in a package of your own, one yaml in conf/phi.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy.typing import NDArray

from ablate.discounted_sums import discounted_sum, gae, td_errors

Floats = NDArray[np.float64]
Steps = Float[np.ndarray, "S N T"]


@dataclass(frozen=True)
class Signals:
    """What a Phi or a baseline may look at. All [S,N,T], float64, 0 where no step was taken, but for what says more.

    | field              | meaning                                                                               |
    |--------------------|---------------------------------------------------------------------------------------|
    | rewards            | r_t                                                                                   |
    | mask               | true where a step was taken                                                           |
    | gamma              | the discount, one number                                                              |
    | values             | V(s_t) of the critic, if there is one                                                 |
    | next_values        | V(s_{t+1}): 0 where the episode terminated, V of the final state where it was cut     |
    | action_values      | Q(s_t, a_t) of the critic, if there is one                                            |
    | next_action_values | Q(s_{t+1}, a_{t+1}): the same at the end, with a_T ~ pi(.|s_T)                        |
    | observations       | what the agent saw of s_t, [S,N,T,D] float32                                          |
    | actions            | a_t, [S,N,T] int64 or [S,N,T,A] float32                                               |
    | log_probs          | log pi(a_t|s_t) of the policy that acted, computed when it is first asked for         |
    """

    rewards: Steps
    mask: Bool[np.ndarray, "S N T"]
    gamma: float
    values: Steps | None = None
    next_values: Steps | None = None
    action_values: Steps | None = None
    next_action_values: Steps | None = None
    observations: Float[np.ndarray, "S N T D"] | None = None
    actions: Shaped[np.ndarray, "S N T *A"] | None = None
    log_prob: Callable[[], Steps] | None = None  # what `log_probs` is computed by

    @cached_property
    def log_probs(self) -> Steps:
        assert self.log_prob is not None
        return self.log_prob()

    @property
    def played(self) -> Bool[np.ndarray, "S N"]:
        """True where there is an episode: batches by steps have a number of them that is the seed's own."""
        return self.mask[..., 0]

    @property
    def returns(self) -> Float[np.ndarray, "S N"]:
        """R(tau) = sum_t gamma^t r_t, [S,N]."""
        return discounted_sum(self.rewards, self.gamma)[..., 0]

    def in_batches_of(self, size: int) -> "Signals":
        """Each `size` neighbouring episodes as a row of their own, [S,N,T] -> [S * N / size, size, T]."""

        def batched(x: NDArray | None) -> Any:
            return None if x is None else x.reshape(-1, size, *x.shape[2:])

        arrays = {f.name: batched(getattr(self, f.name)) for f in fields(self) if f.name not in ("gamma", "log_prob")}
        return replace(self, **arrays, log_prob=lambda: batched(self.log_probs))


def total_return(signals: Signals) -> Steps:
    """Phi_t = R(tau) = sum_{t'} gamma^t' r_t', the same at every step. Slide "REINFORCE"."""
    return signals.returns[..., None] * signals.mask


def reward_to_go(signals: Signals) -> Steps:
    """Phi_t = sum_{t' >= t} gamma^(t'-t) r_t': an action cannot change what was earned before it."""
    return discounted_sum(signals.rewards, signals.gamma)


def action_value(signals: Signals) -> Steps:
    """Phi_t = Q(s_t, a_t). With baseline=value this is the advantage A = Q - V of the slides."""
    assert signals.action_values is not None
    return signals.action_values


def td_error(signals: Signals) -> Steps:
    """Phi_t = delta_t = r_t + gamma V(s_{t+1}) - V(s_t); E[delta_t | s, a] = A(s, a) if V is exact. A2C."""
    assert signals.values is not None
    assert signals.next_values is not None
    return td_errors(signals.rewards, signals.values, signals.next_values, signals.gamma)


def advantage(signals: Signals, gae_lambda: float) -> Steps:
    """Phi_t = sum_k (gamma lambda)^k delta_{t+k} (GAE): lambda = 0 is `td_error`, lambda = 1 is G_t - V(s_t)."""
    return gae(td_error(signals), signals.gamma, gae_lambda)
