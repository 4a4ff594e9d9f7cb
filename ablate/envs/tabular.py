"""Every finite MDP as an environment over [S, N], and the small known MDPs themselves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ablate.envs.base import (
    Bools,
    Continuous,
    Discrete,
    Float32,
    need,
    need_count,
    need_flag,
    need_number,
    need_probability,
)
from ablate.envs.outcomes import MOST_STATES, Outcome, from_outcomes
from ablate.errors import UserError
from ablate.mdp import MDP, one_hot
from ablate.randomness import stream

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MOST_DRAWN = 20_000_000  # numbers that are sorted to draw the successors of a random MDP


class Tabular:
    """Sample an MDP: s_0 ~ rho0, s_{t+1} ~ P(.|s_t, a_t), r_t = R(s_t, a_t, s_{t+1}), by inverse CDF.

    Entering a terminal state terminates an episode. After `mdp.horizon` steps it is truncated where the horizon is a
    time limit on a task that would go on (`time_limit`), and terminated where the horizon belongs to the MDP.
    Step t of an episode uses one uniform number, drawn at reset: each seed draws a block [N, horizon + 1]; and for
    Gaussian rewards a normal one, of a block [N, horizon] drawn after it.

    `mdp` is the model (ground truth for others), `states` [S, N] the present states. Observation: mdp.features[s].
    """

    def __init__(self, mdp: MDP, time_limit: bool) -> None:
        need_flag("time_limit", time_limit)
        if mdp.features.size > MOST_STATES**2:
            raise UserError(
                f"{mdp.num_states} states that are seen as {mdp.features.shape[1]} numbers each do not fit "
                f"for training; give at most {MOST_STATES} states"
            )
        self.mdp = mdp
        self.time_limit = time_limit
        self.horizon = mdp.horizon
        self.observation_size = mdp.features.shape[1]
        self.actions: Discrete | Continuous = Discrete(mdp.num_actions)
        self._features = mdp.features.astype(np.float32)
        self._start = thresholds(mdp.rho0)
        width = mdp.successors.shape[2]
        self._thresholds = np.ascontiguousarray(thresholds(mdp.probabilities).reshape(-1, width).T)  # [K, S * A]
        self._successors, self._rewards = mdp.successors.ravel(), mdp.rewards.ravel()  # [S * A * K]
        self._deviations = None if mdp.reward_std is None else mdp.reward_std.ravel()

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        blocks = np.stack([stream.random((episodes, self.horizon + 1)) for stream in streams])
        self._uniforms = np.ascontiguousarray(blocks.reshape(-1, self.horizon + 1).T)  # [horizon + 1, S * N]
        if self._deviations is not None:
            noise = np.stack([stream.standard_normal((episodes, self.horizon)) for stream in streams])
            self._normals = np.ascontiguousarray(noise.reshape(-1, self.horizon).T)  # [horizon, S * N]
        self._episodes = np.arange(blocks.shape[0] * episodes).reshape(-1, episodes)  # which column each row reads
        self._time = 0
        self.states = np.searchsorted(self._start, self._uniforms[0][self._episodes], side="right")
        return self._features.take(self.states, axis=0)

    def step(self, actions: NDArray) -> tuple[Float32, Floats, Bools, Bools]:
        self._time += 1
        u = self._uniforms[self._time][self._episodes]
        noise = None if self._deviations is None else self._normals[self._time - 1][self._episodes]
        self.states, rewards, terminated = self._outcomes(self.states, actions, u, noise)
        truncated = np.zeros_like(terminated)
        if self._time >= self.horizon:
            if self.time_limit:
                truncated = ~terminated
            else:
                terminated = np.ones_like(terminated)
        return self._features.take(self.states, axis=0), rewards, terminated, truncated

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.states = self.states.take(rows)
        self._episodes = self._episodes.take(rows)

    def starts(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
        return np.searchsorted(self._start, stream.random((*shape, 1)), side="right")

    def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        uniforms = stream.random((*shape, 1))
        if self._deviations is None:
            return uniforms
        return np.concatenate([uniforms, stream.standard_normal((*shape, 1))], -1)

    def transition(self, states: NDArray, actions: NDArray, draws: Floats) -> tuple[NDArray, Floats, Bools]:
        noise = None if self._deviations is None else draws[..., 1]
        successors, rewards, terminated = self._outcomes(states[..., 0], actions, draws[..., 0], noise)
        return successors[..., None], rewards, terminated

    def observe(self, states: NDArray) -> Float32:
        return self._features.take(states[..., 0], axis=0)

    def _outcomes(
        self, states: Integers, actions: NDArray, u: Floats, noise: Floats | None
    ) -> tuple[Integers, Floats, Bools]:
        """s', r and whether s' is terminal, by the inverse CDF of uniform numbers u, and normal noise of Gaussian r."""
        pairs = states * self.mdp.num_actions + actions
        outcome = (u >= self._thresholds.take(pairs, axis=1)).sum(0)  # NumPy is slow along a short last axis
        outcome += pairs * len(self._thresholds)
        successors, rewards = self._successors.take(outcome), self._rewards.take(outcome)
        if self._deviations is not None:
            rewards = rewards + self._deviations.take(outcome) * noise
        return successors, rewards, self.mdp.terminal.take(successors)


class Grouped(Tabular):
    """Episodes in groups of `group` neighbours with the same s_0: N samples of one context, as an answerer is asked N
    times. Batch baselines are taken within a group (`build.estimator`). None: all episodes of a reset."""

    def __init__(self, mdp: MDP, time_limit: bool, group: int | None = None) -> None:
        if group is not None:
            need_count("group", group)
        super().__init__(mdp, time_limit)
        self.group = group

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        super().reset(streams, episodes)
        size = self.group or episodes
        self.states = self.states[:, np.arange(episodes) // size * size]  # that of each group's first
        return self._features.take(self.states, axis=0)

    def ungrouped(self) -> Tabular:
        """The same MDP with a first state for every episode."""
        return Tabular(self.mdp, self.time_limit)


def thresholds(probabilities: Floats) -> Floats:
    """c_k such that the outcome of a uniform u in [0, 1) is #{k : u >= c_k}: the cumulative sums over the last axis,
    with 1 from the last possible outcome on, so that rounding never picks an impossible one."""
    after = np.flip(np.flip(probabilities, -1).cumsum(-1), -1)[..., 1:]
    last = np.concatenate([after == 0, np.ones_like(probabilities[..., :1], bool)], -1)
    return np.where(last, 1.0, probabilities.cumsum(-1))


def build(mdp: Callable[..., MDP], time_limit: bool, **parameters: object) -> Tabular:
    """Tabular(mdp(**parameters), time_limit): so a yaml can list the MDP's parameters flat (env.horizon, env.slip)."""
    return Tabular(mdp(**parameters), time_limit)


def build_grouped(mdp: Callable[..., MDP], time_limit: bool, group: int | None = None, **parameters: object) -> Grouped:
    """Grouped(mdp(**parameters), time_limit, group)."""
    return Grouped(mdp(**parameters), time_limit, group)


def bandit(
    arms: Sequence[float],
    rewards: Sequence[float] | None = None,
    reward_std: Sequence[float] | None = None,
    gamma: float = 1.0,
) -> MDP:
    """One step: arm a pays rewards[a] (default 1) with probability arms[a], and nothing otherwise; with `reward_std`
    plus Gaussian noise of standard deviation reward_std[a].

    arms of 1 with `rewards` make a bandit of fixed rewards, with `reward_std` besides one of Gaussian rewards. Nothing
    is observed (a constant 1).
    """
    need(isinstance(arms, Sequence) and len(arms) > 0, "arms", arms, "a list, as [0.2, 0.8]")
    pays = [1.0] * len(arms) if rewards is None else rewards
    each = f"a list of {len(arms)}, one an arm"
    need(isinstance(pays, Sequence) and len(pays) == len(arms), "rewards", pays, each)
    for arm, pay in zip(arms, pays, strict=True):
        need_probability("arms", arm)
        need_number("rewards", pay)

    def outcomes(s: int, a: int) -> list[Outcome]:
        return [(arms[a], 1, pays[a], True), (1 - arms[a], 2, 0.0, True)]

    mdp = from_outcomes(outcomes, 3, len(arms), start=0, horizon=1, gamma=gamma, features=np.ones((3, 1)))
    if reward_std is None:
        return mdp
    need(isinstance(reward_std, Sequence) and len(reward_std) == len(arms), "reward_std", reward_std, each)
    for deviation in reward_std:
        need_number("reward_std", deviation)
        need(deviation >= 0, "reward_std", deviation, "standard deviations of at least 0")
    noise = np.zeros_like(mdp.rewards)
    noise[0] = np.asarray(reward_std)[:, None]
    return replace(mdp, reward_std=noise)


def chain(length: int = 5, slip: float = 0.2, horizon: int = 20, gamma: float = 1.0) -> MDP:
    """Action 0 moves one state on, earning 0, or 10 at the end of the chain, where it stays; action 1 returns to the
    first state, earning 2. With probability `slip` the other action happens.

    Always returning earns little at once; always moving on earns more, later. Source: Dearden, Friedman and Russell
    (1998), Bayesian Q-learning; Strens (2000), A Bayesian framework for reinforcement learning.
    """
    need_count("length", length)
    need_probability("slip", slip)

    def outcomes(s: int, a: int) -> list[Outcome]:
        end = s == length - 1
        on = 1 - slip if a == 0 else slip
        return [(on, s if end else s + 1, 10.0 if end else 0.0, False), (1 - on, 0, 2.0, False)]

    return from_outcomes(outcomes, length, 2, start=0, horizon=horizon, gamma=gamma)


def contextual_bandit(success: Sequence[Sequence[float]], gamma: float = 1.0) -> MDP:
    """One step: a context x, all equally likely, is seen; arm a earns 1 with probability success[x][a], else nothing.

    As in post-training of language models: contexts are prompts, arms answers, and the mean of a row is how likely
    the first policy is to be right. Exact values of group estimators: `ablate.exact.groups`.
    """
    rows = list(success) if isinstance(success, Sequence) else []
    regular = bool(rows) and all(isinstance(row, Sequence) and len(row) == len(rows[0]) > 0 for row in rows)
    need(regular, "success", success, "a list of contexts, each a list of as many chances: [[0.9, 0.1], [0.2, 0.4]]")
    for row in rows:
        for chance in row:
            need_probability("success", chance)
    over = len(rows)

    def outcomes(s: int, a: int) -> list[Outcome]:
        chance = 0.0 if s == over else rows[s][a]
        return [(chance, over, 1.0, True), (1 - chance, over, 0.0, True)]

    mdp = from_outcomes(outcomes, over + 1, len(rows[0]), start=0, horizon=1, gamma=gamma)
    return replace(mdp, rho0=np.append(np.full(over, 1 / over), 0.0))


def random_mdp(
    index: int = 0,
    states: int = 10,
    actions: int = 4,
    successors: int = 3,
    offset: float = 0.0,
    scale: float = 1.0,
    horizon: int = 20,
    gamma: float = 1.0,
) -> MDP:
    """The random MDP number `index`: (s, a) leads to `successors` states drawn without replacement, with probabilities
    that are the gaps between sorted uniform numbers; R(s, a, s') ~ N(offset, scale^2); s_0 is uniform.

    The same `index` has the same transitions, and the same rewards less `offset`, whatever the seed of the run.
    Source: Garnet problems, Archibald, McKinnon & Thomas (1995); Bhatnagar et al. (2009), section 6.
    """
    need(isinstance(index, int) and not isinstance(index, bool) and index >= 0, "index", index, "a whole number from 0")
    for name, count in (("states", states), ("actions", actions), ("successors", successors), ("horizon", horizon)):
        need_count(name, count)
    need(successors <= states, "successors", successors, f"at most env.states={states}")
    need_number("offset", offset)
    need_number("scale", scale)
    need(actions <= MOST_DRAWN, "actions", actions, f"at most {MOST_DRAWN}")
    most = math.isqrt(MOST_DRAWN // actions)
    need(states <= most, "states", states, f"at most {most} with env.actions={actions}")
    shape = states, actions, successors
    rng = stream(index, "random MDP")
    cuts = np.sort(rng.random((states, actions, successors - 1)), axis=-1)
    return MDP(
        successors=rng.random((states, actions, states)).argsort(-1)[..., :successors],
        probabilities=np.diff(cuts, prepend=0.0, append=1.0),
        rewards=offset + scale * rng.standard_normal(shape),
        rho0=np.full(states, 1 / states),
        horizon=horizon,
        gamma=gamma,
        terminal=np.zeros(states, bool),
        features=one_hot(states),
        logits=np.zeros((states, actions)),
    )


def corridor(horizon: int = 1000, gamma: float = 1.0) -> MDP:
    """Three states in a row and the goal to their right, -1 a step; actions left (0) and right (1), switched in the
    second state; all states look the same. So the best policy is stochastic:

        J(p) = -(4 - 2p) / (p (1 - p)), p = P(right);  p* = 2 - sqrt 2, J* = -(6 + 4 sqrt 2) = -11.657 (no horizon)

    Source: Sutton and Barto (2018), example 13.1.
    """

    def outcomes(s: int, a: int) -> list[Outcome]:
        step = 1 if (a == 1) != (s == 1) else -1
        successor = min(max(s + step, 0), 3)
        return [(1.0, successor, -1.0, successor == 3)]

    return from_outcomes(outcomes, 4, 2, start=0, horizon=horizon, gamma=gamma, features=np.ones((4, 1)))


def random_walk(length: int = 5, horizon: int = 1000, gamma: float = 1.0) -> MDP:
    """`length` states in a row between two ends, from the middle one; actions left (0) and right (1). Leaving on the
    right earns 1, all else nothing. States 1 .. length; 0 and length + 1 are the ends.

    Under the uniform policy V(s) = s / (length + 1): 1/6 to 5/6. Source: Sutton and Barto (2018), example 6.2.
    """
    need_count("length", length)
    need(length % 2 == 1, "length", length, "an odd number, which has a middle")
    right = length + 1

    def outcomes(s: int, a: int) -> list[Outcome]:
        to = min(max(s + 2 * a - 1, 0), right)
        return [(1.0, to, float(to == right), to in (0, right))]

    return from_outcomes(outcomes, length + 2, 2, start=right // 2, horizon=horizon, gamma=gamma)


def gridworld(
    rows: int = 5,
    columns: int = 5,
    goal: float = 1.0,
    step_cost: float = 0.04,
    slip: float = 0.2,
    horizon: int = 100,
    gamma: float = 1.0,
) -> MDP:
    """From the top left to the bottom right corner: each step costs `step_cost`, reaching the corner earns `goal`.

    Actions left, down, right, up (0-3, as in FrozenLake); with probability `slip` the move goes at a right angle, to
    either side alike; a move off the grid stays. Costs and slip as in Russell and Norvig, chapter "Making complex
    decisions".
    """
    need_count("rows", rows)
    need_count("columns", columns)
    need_number("goal", goal)
    need_number("step_cost", step_cost)
    need_probability("slip", slip)
    last = rows * columns - 1
    need(last > 0, "columns", columns, "at least two cells, or the start is the goal")
    moves = [(0, -1), (1, 0), (0, 1), (-1, 0)]

    def outcomes(s: int, a: int) -> list[Outcome]:
        row, column = divmod(s, columns)
        table = []
        for turn, probability in ((-1, slip / 2), (0, 1 - slip), (1, slip / 2)):
            down, right = moves[(a + turn) % 4]
            to = min(max(row + down, 0), rows - 1) * columns + min(max(column + right, 0), columns - 1)
            table.append((probability, to, -step_cost + goal * (to == last), to == last))
        return table

    return from_outcomes(outcomes, last + 1, 4, start=0, horizon=horizon, gamma=gamma)


def frozenlake(map_name: str = "4x4", is_slippery: bool = True, horizon: int | None = None, gamma: float = 1.0) -> MDP:
    """Cross the ice to the goal (+1) around the holes: Gymnasium's own table; goal and holes are terminal.

    `horizon` defaults to Gymnasium's time limit for the map: 100 steps on 4x4, 200 on 8x8.
    """
    ids = {"4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}
    need(map_name in ids, "map_name", map_name, " or ".join(ids))
    need_flag("is_slippery", is_slippery)
    limit = gymnasium.spec(ids[map_name]).max_episode_steps if horizon is None else horizon
    assert limit is not None
    return _from_gymnasium(gymnasium.make(ids[map_name], is_slippery=is_slippery), limit, gamma)


def cliffwalking(is_slippery: bool = False, horizon: int = 500, gamma: float = 1.0) -> MDP:
    """Walk along a cliff to the goal: -1 a step, -100 and back to the start for falling. Gymnasium's own table.

    Gymnasium sets no time limit here; 500 steps is this project's.

    Source: Sutton and Barto (2018), example 6.6.
    """
    need_flag("is_slippery", is_slippery)
    env = gymnasium.make("CliffWalking-v1", is_slippery=is_slippery)
    return _from_gymnasium(env, horizon, gamma)


def _from_gymnasium(env: gymnasium.Env, horizon: int, gamma: float) -> MDP:
    """The MDP of a toy-text environment's table `P`."""
    toy: Any = env.unwrapped
    return from_outcomes(
        lambda s, a: toy.P[s][a],
        int(toy.observation_space.n),
        int(toy.action_space.n),
        start=int(toy.initial_state_distrib.argmax()),
        horizon=horizon,
        gamma=gamma,
    )
