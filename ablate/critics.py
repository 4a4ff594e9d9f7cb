"""Critics: V_w(s) and Q_w(s, a), learnt from the policy's own episodes, after the policy step that used them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.discounted_sums import first_plus_mean, lambda_returns, ordered_sum
from ablate.envs.base import Continuous, Discrete, Environment
from ablate.episodes.trajectories import Rows, Trajectories
from ablate.errors import UserError
from ablate.models import Model, known
from ablate.networks import Initializer, Network
from ablate.optimizers import Adam
from ablate.phi import Signals
from ablate.policies import Policy
from ablate.randomness import streams

Floats = NDArray[np.float64]
State = dict[str, Tensor]


class Critic(Protocol):
    def initial(self, seeds: Sequence[int]) -> State:
        """Parameters and moments, [S, ...] each."""
        ...

    def evaluate(
        self, state: State, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals
    ) -> Signals:
        """The signals with V and Q of each step and of the step after it filled in, as far as they are wanted."""
        ...

    def fit(
        self, state: State, episodes: Trajectories, signals: Signals, seeds: Sequence[int], iteration: int
    ) -> tuple[State, dict[str, Floats]]:
        """The state after learning from episodes that it has judged, and what to record of it, [S] each."""
        ...


@dataclass(frozen=True)
class Approximator:
    """V_w(s) where ``actions`` is None, else Q_w(s, a): one output an action, or the action among the inputs."""

    network: Network
    actions: Discrete | Continuous | None

    @classmethod
    def build(
        cls,
        features: int,
        hidden: Sequence[int],
        actions: Discrete | Continuous | None,
        initializer: Initializer = "uniform",
    ) -> Self:
        match actions:
            case None:
                ends = features, 1
            case Discrete(n):
                ends = features, n
            case Continuous(size):
                ends = features + size, 1
        return cls(Network((ends[0], *hidden, ends[1]), bias=bool(hidden), initializer=initializer), actions)

    def predict(self, w: Tensor, x: Tensor, a: Tensor) -> tuple[Tensor, list[Tensor]]:
        """V_w or Q_w at each row [S, R], and the layer inputs that `gradient` takes."""
        outputs, inputs = self.network.forward(w, torch.cat([x, a], -1) if isinstance(self.actions, Continuous) else x)
        index = (
            a[..., None]
            if isinstance(self.actions, Discrete)
            else torch.zeros_like(outputs[..., :1], dtype=torch.int64)
        )
        return outputs.gather(-1, index)[..., 0], inputs

    def gradient(self, w: Tensor, inputs: list[Tensor], a: Tensor, errors: Tensor) -> Tensor:
        """sum over rows of error * grad_w (V_w or Q_w), [S, P]."""
        if isinstance(self.actions, Discrete):
            d = torch.zeros(*errors.shape, self.actions.n).scatter_(-1, a[..., None], errors[..., None])
        else:
            d = errors[..., None]
        return self.network.gradient(w, inputs, d)


@dataclass(frozen=True)
class LearnedCritic:
    """V_w and Q_w regressed on lambda-returns: w <- w - lr grad (1/2) mean (V_w(s_t) - G^lambda_t)^2.

    ``td_lambda`` is lambda: 0 is TD(0), 1 is Monte Carlo, between them TD(lambda). Each iteration takes `updates` Adam
    steps on `batch_size` steps of the batch, drawn with replacement, or on "all" of them; the targets are those of the
    critic at the start of the iteration (semi-gradient). Termination stops the bootstrap, truncation does not.

    ``clock`` shows the critic the time, which a horizon that belongs to the problem asks for: "append" adds t / H to
    the observation, "product" gives every t its own weights (the table V_t(s) on one-hot states). ``initializer``: of
    the weights, `Network.initial`.

    Source: Sutton & Barto (2018), ch. 9 and 12.
    """

    wanted: frozenset[str]  # of V, Q
    observation_size: int
    actions: Discrete | Continuous
    horizon: int
    td_lambda: float
    lr: float
    updates: int
    batch_size: int | Literal["all"]
    hidden: Sequence[int]
    clock: Literal["none", "append", "product"] = "none"
    initializer: Initializer = "uniform"
    optimizer: Adam = field(init=False)
    approximators: dict[str, Approximator] = field(init=False)

    def __post_init__(self) -> None:
        size = {
            "none": self.observation_size,
            "append": self.observation_size + 1,
            "product": self.observation_size * (self.horizon + 1),
        }[self.clock]
        takes = {"V": None, "Q": self.actions}
        built = {
            name: Approximator.build(size, self.hidden, takes[name], self.initializer)
            for name in ("V", "Q")
            if name in self.wanted
        }
        object.__setattr__(self, "approximators", built)
        object.__setattr__(self, "optimizer", Adam(self.lr))

    def initial(self, seeds: Sequence[int]) -> State:
        state: State = {}
        for name, approximator in self.approximators.items():
            w = approximator.network.initial(streams(seeds, f"critic {name} weights"))
            state |= _named(name, w, self.optimizer.initial(w))
        return state

    def evaluate(
        self, state: State, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals
    ) -> Signals:
        judged = {name: self._judge(name, state[name], episodes) for name in self.approximators}
        if "V" in judged:
            signals = replace(signals, values=judged["V"][0], next_values=judged["V"][1])
        if "Q" in judged:
            signals = replace(signals, action_values=judged["Q"][0], next_action_values=judged["Q"][1])
        return signals

    def fit(
        self, state: State, episodes: Trajectories, signals: Signals, seeds: Sequence[int], iteration: int
    ) -> tuple[State, dict[str, Floats]]:
        rows = episodes.rows
        steps = [torch.from_numpy(x) for x in episodes.steps]
        said = {
            "V": (signals.values, signals.next_values),
            "Q": (signals.action_values, signals.next_action_values),
        }
        record: dict[str, Floats] = {}
        for name, approximator in self.approximators.items():
            values, following = said[name]
            assert values is not None
            assert following is not None
            targets = lambda_returns(signals.rewards, values, following, signals.gamma, self.td_lambda)
            record = record or quality(rows.pack(values), rows.pack(targets), rows.counts)
            y = torch.from_numpy(rows.pack(targets).astype(np.float32))
            w = state[name]
            moments = {k: state[f"{name}.{k}"] for k in self.optimizer.initial(w[:0])}
            first = (iteration - 1) * self.updates + 1
            for update, parts in enumerate(self._batches(name, (*steps, y), rows, seeds, iteration), start=first):
                gradient = torch.zeros_like(w)
                for part in parts:
                    gradient[part.seeds] += self._gradient(approximator, w[part.seeds], part)
                w, moments = self.optimizer.ascend(w, gradient, moments, update)
            state = state | _named(name, w, moments)
        return state, record

    def _batches(
        self, name: str, steps: Sequence[Tensor], rows: Rows, seeds: Sequence[int], iteration: int
    ) -> Iterator[list["_Part"]]:
        """The steps of every update, in one or more parts."""
        if self.batch_size == "all":
            each = torch.from_numpy(np.where(rows.valid, rows.counts[:, None], np.inf).astype(np.float32))
            blocks = [(torch.from_numpy(active), block) for block, active in rows.blocks()]
            parts = [_Part(s, [x[s, block] for x in steps], each[s, block]) for s, block in blocks]
            yield from repeat(parts, self.updates)
            return
        shape = self.updates, self.batch_size
        drawn = streams(seeds, f"critic {name}", iteration)
        draws = np.stack([d.integers(0, n, shape) for d, n in zip(drawn, rows.counts, strict=True)], axis=1)
        taken = torch.from_numpy(draws + rows.size * np.arange(len(seeds))[:, None])  # all seeds' rows as one list
        for batch in zip(*(_at(x.flatten(0, 1), taken) for x in steps), strict=True):
            yield [_Part(slice(None), batch, self.batch_size)]

    def _gradient(self, approximator: Approximator, w: Tensor, part: "_Part") -> Tensor:
        """-grad (1/2) mean (V_w(s_t) - y_t)^2, what the part adds to it; w of the part's seeds."""
        observations, times, actions, targets = part.steps
        predicted, inputs = approximator.predict(w, self._features(observations, times), actions)
        return approximator.gradient(w, inputs, actions, (targets - predicted) / part.divisor)

    def _judge(self, name: str, w: Tensor, episodes: Trajectories) -> tuple[Floats, Floats]:
        """V_w (Q_w) of each step, and of the step after it: 0 where the episode terminated. [S,N,T] both."""
        rows, final = episodes.rows, episodes.final_rows
        values = rows.unpack(self._predicted(name, w, rows, episodes.steps))
        bootstrap = final.unpack(self._predicted(name, w, final, episodes.final_steps))[..., 0]
        following = np.zeros_like(values)
        following[..., :-1] = values[..., 1:]
        last = episodes.lengths[..., None] - 1
        np.put_along_axis(following, last, np.where(episodes.terminated, 0.0, bootstrap)[..., None], axis=-1)
        return values, following

    def _predicted(self, name: str, w: Tensor, rows: Rows, steps: Sequence[NDArray]) -> Floats:
        """V_w (Q_w) at observations, times and actions that lie as rows, [S,R]."""
        approximator, (observations, times, actions) = self.approximators[name], map(torch.from_numpy, steps)
        found = torch.zeros(rows.valid.shape)
        for block, active in rows.blocks():
            s, taken = torch.from_numpy(active), rows.worked(block, active, approximator.network)
            x = self._features(observations[s, taken], times[s, taken])
            found[s, taken] = approximator.predict(w[s], x, actions[s, taken])[0]
        return found.numpy().astype(np.float64) * rows.valid

    def _features(self, observations: Tensor, times: Tensor) -> Tensor:
        match self.clock:
            case "none":
                return observations
            case "append":
                return torch.cat([observations, (times / self.horizon).float()[..., None]], -1)
            case "product":
                features = observations.new_zeros(*times.shape, self.horizon + 1, observations.shape[-1])
                at = times[..., None, None].expand(*times.shape, 1, observations.shape[-1])
                return features.scatter_(-2, at, observations[..., None, :]).flatten(-2)


class _Part(NamedTuple):
    """Some steps of an update."""

    seeds: slice | Tensor
    steps: Sequence[Tensor]  # observations, times, actions, targets, [S, R, ...] each
    divisor: Tensor | int  # of each step in the mean: how many there are, infinity where there is none


@dataclass(frozen=True)
class ExactCritic:
    """V and Q of the policy that a run is at, from a known model: nothing is learnt, and no Phi is biased by it."""

    model: Model

    def initial(self, seeds: Sequence[int]) -> State:
        return {}

    def evaluate(
        self, state: State, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals
    ) -> Signals:
        return self.model.evaluate(theta, episodes, signals)

    def fit(
        self, state: State, episodes: Trajectories, signals: Signals, seeds: Sequence[int], iteration: int
    ) -> tuple[State, dict[str, Floats]]:
        return {}, {}


def exact(wanted: frozenset[str], env: Environment, policy: Policy, **shape: Any) -> ExactCritic:
    """The critic that knows the model, and has no use for the ``shape`` that an environment advises its critics.

    Raises UserError where there is no model.
    """
    model = known(env, policy)
    if model is None:
        raise UserError("critic=exact has no model of this environment and policy; write critic=lambda")
    return ExactCritic(model)


@dataclass(frozen=True)
class RunningMean:
    """V(s) = b, the mean return of the batches before: b = sum_k d^k m_k / sum_k d^k, m_k that of the k-th last batch
    and d the ``decay``, of 1 the mean of all; 0 before the first. The baseline of Williams (1992), known before the
    episodes it judges."""

    decay: float

    def initial(self, seeds: Sequence[int]) -> State:
        zero = torch.zeros(len(seeds), dtype=torch.float64)
        return {"sum": zero, "weight": zero.clone()}

    def evaluate(
        self, state: State, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals
    ) -> Signals:
        total, weight = state["sum"].numpy(), state["weight"].numpy()
        b = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        return self._constant(b[:, None], episodes, signals)

    def _constant(self, b: Floats, episodes: Trajectories, signals: Signals) -> Signals:
        """V = b in every state of an episode, [S, N] or [S, 1], and 0 once it has terminated."""
        values = b[..., None] * signals.mask
        last = np.arange(signals.mask.shape[2]) == episodes.lengths[..., None] - 1
        following = np.where(last & episodes.terminated[..., None], 0.0, values)
        return replace(signals, values=values, next_values=following)

    def fit(
        self, state: State, episodes: Trajectories, signals: Signals, seeds: Sequence[int], iteration: int
    ) -> tuple[State, dict[str, Floats]]:
        mean = torch.from_numpy(first_plus_mean(signals.returns, signals.played))
        return {"sum": self.decay * state["sum"] + mean, "weight": self.decay * state["weight"] + 1}, {}


@dataclass(frozen=True)
class RunningMeanInclusive(RunningMean):
    """V = b_i = (d S + R_i) / (d W + 1) in every state of episode i: the `running_mean` S / W of the batches before,
    with the return R_i of the episode that it judges as one more.

    R_i - b_i = d W / (d W + 1) (R_i - S / W): what Phi = R_i estimates is that of `RunningMean` on a smaller scale, and
    0 in the first iteration. With one episode a batch and d = 1 that scale is 1 - 1/n in iteration n.

    Source: Sutton & Barto (2018), section 2.8: what their figures were made with.
    """

    def evaluate(
        self, state: State, policy: Policy, theta: Tensor, episodes: Trajectories, signals: Signals
    ) -> Signals:
        total, weight = (self.decay * state[name].numpy()[:, None] for name in ("sum", "weight"))
        return self._constant((total + signals.returns) / (weight + 1), episodes, signals)


def running_mean(wanted: frozenset[str], env: Environment, policy: Policy, decay: float, **shape: Any) -> RunningMean:
    """Raises UserError where Q is wanted."""
    return RunningMean(_decay_of_V(wanted, "running_mean", decay))


def running_mean_inclusive(
    wanted: frozenset[str], env: Environment, policy: Policy, decay: float, **shape: Any
) -> RunningMeanInclusive:
    """Raises UserError where Q is wanted."""
    return RunningMeanInclusive(_decay_of_V(wanted, "running_mean_inclusive", decay))


def _decay_of_V(wanted: frozenset[str], name: str, decay: float) -> float:
    if "Q" in wanted:
        raise UserError(f"critic={name} knows no Q; write critic=lambda")
    return decay


def learned(wanted: frozenset[str], env: Environment, policy: Policy, **settings: Any) -> LearnedCritic:
    """The critic of V, Q or both (``wanted``) for an environment."""
    return LearnedCritic(wanted, env.observation_size, env.actions, env.horizon, **settings)


def _at(x: Tensor, places: Tensor) -> Tensor:
    """x [R, ...] at places [...], [..., ...]: index_select takes a fraction of the time of x[places]."""
    return x.index_select(0, places.flatten()).unflatten(0, places.shape)


def _named(name: str, w: Tensor, moments: State) -> State:
    return {name: w} | {f"{name}.{k}": x for k, x in moments.items()}


def quality(values: Floats, targets: Floats, counts: NDArray[np.int64]) -> dict[str, Floats]:
    """Mean squared error, and the share of the targets' variance that the values explain. Rows [S, R] -> [S]."""

    def mean(x: Floats) -> Floats:
        return ordered_sum(x, axis=1) / counts

    def variance(x: Floats) -> Floats:
        shifted = np.where(taken, x - x[:, :1], 0.0)  # a common offset would drown the variance in rounding
        return mean(shifted**2) - mean(shifted) ** 2

    taken = np.arange(targets.shape[1]) < counts[:, None]
    errors = targets - values
    error, spread = variance(errors), variance(targets)
    explained = 1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 1e-12)
    return {"critic_loss": mean(errors**2), "critic_explained_variance": explained}
