"""Deep Q-learning with replay and a target network, what the slide "Learn Q-values" compares with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate import build
from ablate.envs.base import Continuous, Environment, Markov
from ablate.envs.discretised import DiscreteActions
from ablate.episodes.online import Online, Walk
from ablate.errors import UserError
from ablate.learners.base import Record, State, mean_of_updates, part, prefixed
from ablate.learners.schedules import linear
from ablate.networks import Network
from ablate.optimizers import Adam
from ablate.policies import Actor, GreedyValues
from ablate.randomness import streams

Floats = NDArray[np.float64]


def learner(config: Mapping[str, Any]) -> "DQN":
    """The learner of a resolved configuration. Raises UserError where the buffer cannot hold an iteration's steps, or
    learning would not start."""
    env: Any = build.environment(config)
    settings = config["algorithm"]
    if isinstance(env.actions, Continuous):
        env = DiscreteActions(env, settings["action_bins"], *settings["action_range"])
    new = settings["steps"] * settings["environments"]
    if settings["buffer_size"] < new:
        raise UserError(
            f"algorithm.buffer_size={settings['buffer_size']} cannot hold the {new} steps of an iteration; "
            f"write algorithm.buffer_size={new} or more"
        )
    total = config["iterations"] * new
    if settings["learning_starts"] >= total:
        raise UserError(
            f"algorithm.learning_starts={settings['learning_starts']} is past the run's {total} steps, so nothing "
            f"would be learnt; write iterations={settings['learning_starts'] // new + 2} or more"
        )
    return DQN(
        env=env,
        network=Network(
            (env.observation_size, *settings["hidden"], env.actions.n),
            bias=bool(settings["hidden"]),
            activation=settings["activation"],
        ),
        optimizer=Adam(settings["lr"], max_grad_norm=settings["max_grad_norm"]),
        gamma=config["gamma"],
        capacity=min(settings["buffer_size"], total),
        exploration_steps=settings["exploration_fraction"] * total,
        **{name: settings[name] for name in SETTINGS},
    )


SETTINGS = (
    "environments", "steps", "updates", "batch_size", "learning_starts", "target_every", "final_epsilon", "double_q"
)  # fmt: skip


@dataclass(frozen=True)
class DQN:
    """w descends mean huber(y - Q_w(s, a)),  y = r + gamma max_a' Q_w-(s', a')  (y = r where s' is terminal),

    over batches of steps (s, a, r, s') drawn from a replay buffer with replacement. w- is w as it stood when it was
    last copied; double Q takes a' = argmax Q_w(s', .) in place of the maximum. huber(e) = e^2 / 2 up to |e| = 1, then
    |e| - 1/2. Steps are epsilon-greedy: epsilon falls from 1 to `final_epsilon` over the first `exploration_steps`
    of a run, and is 1 before `learning_starts`. A truncation bootstraps, a termination does not.

    | field             | meaning                                                                         |
    |-------------------|---------------------------------------------------------------------------------|
    | environments      | of a seed, each with an episode under way                                       |
    | steps, updates    | an iteration: `steps` of each environment, then `updates` of w by `batch_size`  |
    | capacity          | steps that the buffer of a seed holds; the newest overwrite the oldest          |
    | learning_starts   | steps to take before w is updated                                               |
    | target_every      | iterations between copies of w to w-                                            |

    Of a record, critic_loss is the mean squared TD error y - Q_w(s, a) and grad_norm the mean norm of the gradient,
    before clipping, over the iteration's updates; NaN and 0 where there were none.

    Source: Mnih et al. (2015); van Hasselt et al. (2016); the settings are those of Stable-Baselines3's DQN.
    """

    env: Markov
    network: Network
    optimizer: Adam
    gamma: float
    environments: int
    steps: int
    updates: int
    batch_size: int
    capacity: int
    learning_starts: int
    target_every: int
    exploration_steps: float
    final_epsilon: float
    double_q: bool
    online: Online = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "online", Online(self.env, self.environments))

    @property
    def new(self) -> int:
        """Steps of an iteration."""
        return self.steps * self.environments

    def initial(self, seeds: Sequence[int]) -> State:
        w = self.network.initial(streams(seeds, "critic Q weights"))
        shape, size = (len(seeds), self.capacity), self.env.observation_size
        replay = {
            "observations": torch.zeros(*shape, size),
            "actions": torch.zeros(shape, dtype=torch.int64),
            "rewards": torch.zeros(shape),
            "next_observations": torch.zeros(*shape, size),
            "terminated": torch.zeros(shape, dtype=torch.bool),
        }
        return (
            {"w": w, "target": w.clone()}
            | prefixed("optimizer", self.optimizer.initial(w))
            | prefixed("replay", replay)
            | prefixed("online", self.online.initial(seeds))
        )

    def iterate(self, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
        w, target = state["w"], state["target"]
        replay, moments = part("replay", state), part("optimizer", state)

        # Act.
        walk = self.online.walk(part("online", state), seeds, iteration, self.steps)
        first = (iteration - 1) * self.new
        epsilon = np.array([self.epsilon(first + self.environments * t) for t in range(self.steps)])
        new = self.act(w, walk, seeds, iteration, epsilon)
        store_(replay, new, first)
        if (iteration - 1) % self.target_every == 0:
            target = w

        # Learn.
        record = walk.summary() | {"epsilon": np.full(len(seeds), epsilon[-1])}
        before = self.learning_starts // self.new  # iterations that only fill the buffer
        if iteration > before:
            w, moments = w.clone(), {name: x.clone() for name, x in moments.items()}
            filled, shape = min(first + self.new, self.capacity), (self.updates, self.batch_size)
            drawn = [source.integers(0, filled, shape) for source in streams(seeds, "replay", iteration)]
            batches = sampled(replay, torch.from_numpy(np.stack(drawn)))
            batches["bootstrap"] = self.bootstrap(target, batches)
            errors, norms = [], []
            estimate = self.estimator(w, gradient := torch.empty_like(w))
            first_step = (iteration - 1 - before) * self.updates + 1
            for step, batch in enumerate(by_update(batches), first_step):
                errors.append(estimate(batch))
                norms.append(self.optimizer.ascend_(w, gradient, moments, step))
            record |= {"critic_loss": mean_of_updates(errors), "grad_norm": mean_of_updates(norms)}
        else:
            record |= {"critic_loss": np.full(len(seeds), nan), "grad_norm": np.zeros(len(seeds))}
        parts = prefixed("optimizer", moments) | prefixed("replay", replay) | prefixed("online", walk.state())
        return {"w": w, "target": target} | parts, record

    def epsilon(self, taken: int) -> float:
        """The chance of a random action, after so many steps."""
        if taken < self.learning_starts:
            return 1.0
        return linear(1.0, self.final_epsilon, taken / self.exploration_steps)

    def act(self, w: Tensor, walk: Walk, seeds: Sequence[int], iteration: int, epsilon: Floats) -> State:
        """Epsilon-greedy steps of every environment, as the buffer holds them: [S, new, ...]."""
        Q, shape, A = self.network.at(w), (self.steps, self.environments), self.network.sizes[-1]
        drawn = [(s.random(shape), s.integers(0, A, shape)) for s in streams(seeds, "exploration", iteration)]
        chance, random = (np.stack(x, axis=1) for x in zip(*drawn, strict=True))  # [steps, S, N]
        rows = []
        for explore, other in zip(chance < epsilon[:, None, None], random, strict=True):
            observations = walk.observations
            greedy = Q(torch.from_numpy(observations))[0].numpy().argmax(-1)
            actions = np.where(explore, other, greedy)
            step = walk.step(actions)
            rewards = step.rewards.astype(np.float32)
            rows.append((observations, actions, rewards, step.next_observations, step.terminated))
        columns = zip(*rows, strict=True)
        return {name: torch.from_numpy(np.concatenate(x, 1)) for name, x in zip(FIELDS, columns, strict=True)}

    def bootstrap(self, target: Tensor, batches: State) -> Tensor:
        """gamma Q_w-(s', .), 0 where s' is terminal, of all batches [S, U, B, ...] of an iteration at once: w- is the
        same for them all."""
        Q, rows = self.network.at(target), batches["next_observations"].flatten(1, 2)
        next_Q = torch.cat([Q(block)[0] for block in rows.split(BLOCK, 1)], 1).unflatten(1, (-1, self.batch_size))
        return self.gamma * next_Q.masked_fill_(batches["terminated"][..., None], 0.0)

    def estimator(self, w: Tensor, out: Tensor) -> Callable[[State], Tensor]:
        """What puts -grad_w of the loss of a batch of steps [S, B, ...] in `out` [S, P], and gives the mean squared TD
        error y - Q_w(s, a), [S]; w may change in between.

        `out` because memory that is new to every update costs as much time as a layer's product.
        """
        Q, gradient = self.network.at(w), self.network.gradient_at(w, out)

        def estimate(batch: State) -> Tensor:
            values, inputs = Q(batch["observations"])
            if self.double_q:
                best = Q(batch["next_observations"])[0].argmax(-1, keepdim=True)
                bootstrap = batch["bootstrap"].gather(-1, best)[..., 0]
            else:
                bootstrap = batch["bootstrap"].amax(-1)
            a = batch["actions"][..., None]
            error = batch["rewards"] + bootstrap - values.gather(-1, a)[..., 0]
            slope = error.clamp(-1, 1)  # huber'(e)
            gradient(inputs, torch.zeros_like(values).scatter_(-1, a, slope[..., None] / self.batch_size))
            return error.square().mean(1)

        return estimate

    def deterministic(self, state: State) -> tuple[Environment, Actor, Tensor]:
        return self.env, GreedyValues(self.network), state["w"]


BLOCK = 512  # steps that are worked through together, which stay in cache
FIELDS = "observations", "actions", "rewards", "next_observations", "terminated"


def store_(replay: State, new: State, first: int) -> None:
    """Put steps number first, first + 1, ... [S, K, ...] in the buffer [S, C, ...], number i in place i mod C.

    In place: a copy of the buffer would take longer than learning from it. The state before the iteration shares it and
    stays what it was: what is written over here is written over before anything is drawn, whenever it goes on.
    """
    capacity, steps = replay["actions"].shape[1], new["actions"].shape[1]
    places = torch.arange(first, first + steps) % capacity
    for name, x in replay.items():
        x.index_copy_(1, places, new[name])


def sampled(replay: State, places: Tensor) -> State:
    """The steps at places [S, ...] of each seed's buffer, [S, ..., ...]."""
    S, capacity = replay["actions"].shape
    rows = (places.flatten(1) + capacity * torch.arange(S)[:, None]).flatten()
    return {name: x.flatten(0, 1).index_select(0, rows).unflatten(0, places.shape) for name, x in replay.items()}


def by_update(batches: State) -> Iterator[State]:
    """The batches [S, B, ...] of each update, of those of an iteration [S, U, B, ...]."""
    for each in zip(*(x.unbind(1) for x in batches.values()), strict=True):
        yield dict(zip(batches, each, strict=True))
