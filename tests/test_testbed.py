"""The testbed of bandits, a seed a bandit, and the gradient bandit on it as the book writes it down."""

import numpy as np
import pytest
from conftest import compose

from ablate import build
from ablate.envs.testbed import BanditTestbed
from ablate.errors import UserError
from ablate.randomness import stream, streams

GRADIENT_BANDIT = ["env=testbed", "env.mean=4", "phi=return", "episodes=1", "probe=off", "optimizer.lr=0.4"]


def played(env: BanditTestbed, seeds: list[int], iteration: int, episodes: int) -> np.ndarray:
    """Rewards of arm i % arms in episode i, [S, N]."""
    env.reset(streams(seeds, "environment", iteration), episodes)
    actions = np.broadcast_to(np.arange(episodes) % env.arms, (len(seeds), episodes))
    return env.step(actions)[1]


def test_an_arm_is_worth_the_same_in_every_iteration_and_in_any_company() -> None:
    env = BanditTestbed(arms=10, mean=4.0, spread=1.0, reward_std=1.0)
    played(env, [3, 7], 1, 1)
    first = env.values
    played(env, [7], 2, 1)
    assert np.array_equal(env.values[0], first[1])
    assert not np.array_equal(*first)


def test_arms_and_rewards_are_normal() -> None:
    """400 bandits of 10 arms, each pulled 4 times: means and deviations within five standard errors."""
    env = BanditTestbed(arms=10, mean=4.0, spread=2.0, reward_std=0.5)
    rewards = played(env, [*range(400)], 1, 40)
    noise = rewards - np.tile(env.values, 4)
    for x, mean, deviation in ((env.values, 4.0, 2.0), (noise, 0.0, 0.5)):
        assert abs(x.mean() - mean) < 5 * deviation / x.size**0.5
        assert abs(x.std() / deviation - 1) < 5 / (2 * x.size) ** 0.5


def test_how_often_the_best_arm_is_pulled_is_counted() -> None:
    env = BanditTestbed(arms=2, mean=0.0, spread=1.0, reward_std=0.0)
    env.reset(streams([0, 1], "environment", 1), 4)
    best = env.values.argmax(1)
    actions = np.stack([[best[0]] * 3 + [1 - best[0]], [1 - best[1]] * 4])[..., None]
    assert env.record(actions)["optimal_action_share"].tolist() == [0.75, 0.0]


@pytest.mark.parametrize(("name", "value"), [("arms", 0), ("mean", "4"), ("spread", -1.0), ("reward_std", None)])
def test_what_is_no_testbed_is_refused(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"env.{name}="):
        BanditTestbed(**{"arms": 2, "mean": 0.0, "spread": 1.0, "reward_std": 1.0} | {name: value})


@pytest.mark.parametrize("baseline", [True, False])
def test_the_gradient_bandit_is_the_books(baseline: bool) -> None:
    """H(a) <- H(a) + alpha (R - mean) (1{a} - pi(a)), the mean that of all rewards so far, this one among them."""
    words = ["baseline=value", "critic=running_mean_inclusive"] if baseline else ["baseline=none"]
    learner, seed, iterations = build.learner(compose(*GRADIENT_BANDIT, *words).config), 5, 60
    state, H, rewards = learner.initial([seed]), np.zeros(10), []
    for n in range(1, iterations + 1):
        state, record = learner.iterate(state, [seed], n)
        pi = np.exp(H) / np.exp(H).sum()
        u = stream(seed, "actions", n).random((1, 2))[0, 0]
        a = int(np.searchsorted(np.cumsum(pi), u, side="right"))
        env = learner.env
        r = env.values[0, a] + stream(seed, "environment", n).standard_normal(1)[0]
        rewards.append(r)
        H += 0.4 * (r - baseline * np.mean(rewards)) * ((np.arange(10) == a) - pi)
        assert record["return_mean"][0] == pytest.approx(r)
        assert record["optimal_action_share"][0] == (a == env.values[0].argmax())
    np.testing.assert_allclose(state["theta"][0].numpy(), H, atol=1e-4)


def test_a_mean_that_contains_the_reward_makes_the_estimate_biased_and_says_so() -> None:
    config = compose(*GRADIENT_BANDIT, "baseline=value", "critic=running_mean_inclusive").config
    assert config["critic"]["about"]["unbiased"] == "never"
    with pytest.raises(UserError, match="critic=running_mean_inclusive knows no Q"):
        build.learner(compose("env=chain", "phi=q", "critic=running_mean_inclusive", "probe=off").config)
