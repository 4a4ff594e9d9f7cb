"""Rollouts: what is recorded is what happened, and a seed's episodes are its own."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from conftest import parameters
from numpy.typing import NDArray

from ablate.envs import tabular
from ablate.envs.base import Continuous, Discrete, Environment
from ablate.envs.cartpole import CartPole
from ablate.envs.lqg import build as lqg
from ablate.envs.pendulum import Pendulum
from ablate.envs.tabular import Tabular
from ablate.episodes import rollout as rollouts
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.policies import Categorical, Gaussian, Greedy, Policy
from ablate.randomness import stream, streams


class Ragged:
    """Dense random observations for a random while, whatever is done: continuous actions show a policy's every bit,
    which discrete ones hide, and episodes of all lengths have rows dropped at every chance."""

    observation_size, actions, horizon = 3, Continuous(5), 40

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> NDArray:
        seen = [stream.normal(size=(episodes, self.horizon + 1, 3)) for stream in streams]
        self.seen = np.stack(seen).astype(np.float32).reshape(-1, self.horizon + 1, 3)
        lengths = [stream.integers(1, self.horizon + 1, episodes) for stream in streams]
        self.lengths = np.concatenate(lengths)
        self.rows, self.time = np.arange(len(self.lengths)).reshape(-1, episodes), 0
        return self.seen[self.rows, 0]

    def step(self, actions: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        self.time += 1
        over = self.time >= self.lengths[self.rows]
        ends = self.lengths[self.rows] % 2 == 0
        return self.seen[self.rows, self.time], actions.sum(-1).astype(np.float64), over & ends, over & ~ends

    def keep(self, rows: NDArray) -> None:
        self.rows = self.rows.take(rows)


DOUBLE = dict(A=[[1.0, 1.0], [0.0, 1.0]], B=[[0.0], [1.0]], Q=[[1.0, 0.0], [0.0, 0.0]], R=[[1.0]])
NOISE = dict(W=[[0.01, 0.0], [0.0, 0.01]], s0_mean=[-1.0, 0.0], s0_cov=[[0.1, 0.0], [0.0, 0.1]])
CASES = {
    "ragged": lambda: (Ragged(), Gaussian(3, 5, [16])),
    "ragged, linear": lambda: (Ragged(), Gaussian(3, 5, [], 1.0, "state")),
    "cartpole": lambda: (CartPole(), Categorical(4, 2, [64, 64])),
    "cartpole, hidden 5": lambda: (CartPole(), Categorical(4, 2, [5])),
    "chain": lambda: (Tabular(tabular.chain(), time_limit=False), Categorical(5, 2)),
    "gridworld": lambda: (Tabular(tabular.gridworld(horizon=40), time_limit=True), Categorical(25, 4)),
    "corridor": lambda: (Tabular(tabular.corridor(horizon=60), time_limit=True), Categorical(1, 2)),
    "bandit of 6": lambda: (
        Tabular(tabular.bandit([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), time_limit=False),
        Categorical(1, 6),
    ),
    "lqg": lambda: (lqg(**DOUBLE, **NOISE, horizon=10), Gaussian(2, 1)),
    "pendulum": lambda: (Pendulum(horizon=30), Gaussian(3, 1, [64, 64], 1.0, "state")),
}
each = pytest.mark.parametrize("case", CASES)


def played(env: Environment, policy: Policy, seeds: Sequence[int], N: int) -> Trajectories:
    theta = parameters(policy.network, seeds)
    return rollout(policy, theta, env, N, streams(seeds, "environment", 1), streams(seeds, "actions", 1))


@each
@pytest.mark.parametrize("N", [1, 3, 16, 50])
def test_a_seeds_episodes_are_the_same_bits_alone_and_among_others(case: str, N: int) -> None:
    """Which episodes are still stepped together, and when ended ones are dropped, depends on all seeds' lengths."""
    env, policy = CASES[case]()
    alone = played(env, policy, [7], N)
    for seeds in ([7, 8], [3, 7], [0, 1, 2, 3, 7, 4], list(range(12))):
        i = seeds.index(7)
        together = played(env, policy, seeds, N).of(slice(i, i + 1))
        assert_same(together, alone)


@each
def test_an_episode_is_what_the_environment_and_the_policy_say_step_by_step(case: str) -> None:
    """Stepped once more without dropping anything, with the recorded actions; and the actions from the recorded
    observations and the action stream."""
    env, policy = CASES[case]()
    seeds, N = [3, 1, 4], 6
    episodes, theta = played(env, policy, seeds, N), parameters(policy.network, seeds)
    noise = np.stack([policy.draws(stream(seed, "actions", 1), (N, env.horizon + 1)) for seed in seeds])
    observation = env.reset(streams(seeds, "environment", 1), N)
    for t in range(episodes.rewards.shape[2]):
        taken, last = episodes.mask[:, :, t], episodes.lengths == t + 1
        assert np.array_equal(episodes.observations[:, :, t][taken], observation[taken])
        outputs, _ = policy.network.forward(theta, torch.from_numpy(observation))
        action = policy.sample(outputs, noise[:, :, t])
        assert_actions(episodes.actions[:, :, t][taken], action[taken])
        observation, reward, terminated, truncated = env.step(episodes.actions[:, :, t])
        assert np.array_equal(episodes.rewards[:, :, t][taken], reward[taken])
        assert ((terminated | truncated) & taken).tolist() == last.tolist()
        assert np.array_equal(episodes.terminated[last], terminated[last])
        assert np.array_equal(episodes.final_observations[last], observation[last])
    outputs, _ = policy.network.forward(theta, torch.from_numpy(episodes.final_observations))
    assert_actions(episodes.final_actions, policy.sample(outputs, noise[:, :, env.horizon]))


def assert_actions(found: NDArray, wanted: NDArray) -> None:
    """Equal, or as good as equal: fewer rows are stepped together here than in the rollout, or more."""
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@each
def test_shapes_and_padding(case: str) -> None:
    env, policy = CASES[case]()
    episodes = played(env, policy, [0, 1], 5)
    T = episodes.lengths.max()
    assert episodes.rewards.shape == (2, 5, T)
    assert episodes.observations.shape == (2, 5, T, env.observation_size)
    match env.actions:
        case Discrete(n):
            assert episodes.actions.shape == (2, 5, T)
            assert episodes.actions.max() < n
        case Continuous(size):
            assert episodes.actions.shape == (2, 5, T, size)
    assert (episodes.lengths >= 1).all()
    assert (episodes.lengths <= env.horizon).all()
    for x in (episodes.rewards, episodes.observations, episodes.actions):
        assert not x[~episodes.mask].any()


def test_a_time_limit_truncates_and_the_problems_own_end_terminates() -> None:
    always_up = Categorical(4, 2)
    theta = torch.zeros(1, 8)
    sources = streams([0], "environment"), streams([0], "actions")
    cut = rollout(always_up, theta, CartPole(horizon=5), 4, *sources)
    assert not cut.terminated.any()
    assert (cut.lengths == 5).all()
    sources = streams([0], "environment"), streams([0], "actions")
    fallen = rollout(always_up, theta, CartPole(horizon=500), 4, *sources)
    assert fallen.terminated.all()
    assert len(np.unique(fallen.lengths)) > 1


@pytest.mark.parametrize("case", ["cartpole", "chain", "ragged"])
def test_a_greedy_policy_that_draws_nothing_acts_all_the_same(case: str) -> None:
    env, policy = CASES[case]()
    theta = parameters(policy.network, [0, 1])
    episodes = rollout(Greedy(policy), theta, env, 3, streams([0, 1], "environment"), streams([0, 1], "actions"))
    for s, n in np.ndindex(2, 3):
        seen = torch.from_numpy(episodes.observations[s, n, : episodes.lengths[s, n]])
        outputs, _ = policy.network.forward(theta[s : s + 1], seen[None])
        np.testing.assert_allclose(episodes.actions[s, n, : len(seen)], policy.mode(outputs)[0], rtol=1e-5, atol=1e-6)


def assert_same(found: Trajectories, wanted: Trajectories) -> None:
    for name in Trajectories.__dataclass_fields__:
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


IN_ORDER = [case for case in CASES if "ragged" not in case]  # Ragged draws all observations before any length


@pytest.mark.parametrize("case", IN_ORDER)
@pytest.mark.parametrize("N", [200, 203])
def test_episodes_in_blocks_are_those_played_at_once(case: str, N: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, as each block has as many rows as keep them."""
    env, policy = CASES[case]()
    at_once = played(env, policy, [7, 3], N)
    monkeypatch.setattr(rollouts, "STEPS_AT_ONCE", 8 * env.horizon)
    sizes = rollouts._blocks(N, env, policy)
    assert sum(sizes) == N
    assert len(sizes) > 1 or 2 * policy.network.fewest_rows(N) >= N
    assert_same(played(env, policy, [7, 3], N), at_once)


def test_a_block_has_no_more_steps_than_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """But where bits ask for more rows."""
    env, policy = CASES["corridor"]()
    drawn: list[tuple[int, ...]] = []

    class Watched(Categorical):
        def draws(self, stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray:
            drawn.append(shape)
            return super().draws(stream, shape)

    monkeypatch.setattr(rollouts, "STEPS_AT_ONCE", 32 * env.horizon)
    assert played(env, Watched(1, 2), [0], 100).lengths.shape == (1, 100)
    assert sum(episodes for episodes, _ in drawn) == 100
    assert max(episodes for episodes, _ in drawn) <= max(32, 2 * policy.network.fewest_rows(100))


@pytest.mark.parametrize("seeds", [[7], [1, 7, 2]])
def test_blocks_of_ragged_episodes_are_the_seeds_own(seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    env, policy = CASES["ragged"]()
    monkeypatch.setattr(rollouts, "STEPS_AT_ONCE", 16 * env.horizon)
    i = seeds.index(7)
    alone, together = played(env, policy, [7], 120), played(env, policy, seeds, 120).of(slice(i, i + 1))
    assert_same(together, alone)


def test_episodes_in_groups_are_not_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first state is drawn once a group, of all that one reset begins."""
    monkeypatch.setattr(rollouts, "STEPS_AT_ONCE", 2)
    env = tabular.Grouped(tabular.gridworld(horizon=5), time_limit=True, group=4)
    assert rollouts._blocks(64, env, Categorical(25, 4)) == [64]
