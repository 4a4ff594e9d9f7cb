"""Environments that never stop: the same steps as a plain loop over one environment, in any company, cut anywhere."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import choices, compose

from ablate import build
from ablate.envs.base import Continuous, Markov
from ablate.episodes.online import Online
from ablate.randomness import stream

MARKOV = sorted(set(choices("env")) - {"gym", "mdp"})
N, STEPS = 3, 30


def environment(name: str) -> Markov:
    horizon = [] if name in ("bandit", "contextual_bandit", "testbed") else ["env.horizon=7"]
    return build.environment(compose(f"env={name}", *horizon).config)


def some_actions(env: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if isinstance(env.actions, Continuous):
        return rng.standard_normal((*shape, env.actions.size)).astype(np.float32)
    return rng.integers(env.actions.n, size=shape)


def walked(env: Markov, seeds: list[int], cuts: tuple[int, ...]) -> tuple[list, dict]:
    """Everything that a walk shows, step by step, over iterations of `cuts` steps, and what it carries at the end."""
    online, seen = Online(env, N), []
    state = online.initial(seeds)
    actions = np.stack([some_actions(env, (sum(cuts), N), seed) for seed in seeds], axis=1)
    taken = 0
    for iteration, steps in enumerate(cuts, start=1):
        walk = online.walk(state, seeds, iteration, steps)
        for action in actions[taken : taken + steps]:
            before = walk.states.copy(), walk.times.copy(), walk.observations.copy()
            seen.append((before, action, walk.step(action)))
        taken += steps
        state = walk.state()
    return seen, state


@pytest.mark.parametrize("name", MARKOV)
def test_a_walk_is_a_plain_loop_of_transitions(name: str) -> None:
    """One environment of one seed, followed with nothing but the environment's own functions."""
    env = environment(name)
    seeds, chosen = [4, 9], 2
    seen, carried = walked(env, seeds, (STEPS,))
    for s, seed in enumerate(seeds):
        state = env.starts(stream(seed, "environment"), (N,))[chosen]
        source = stream(seed, "environment", 1)
        fresh = env.starts(source, (STEPS, N))[:, chosen]
        noise = env.draws(source, (STEPS, N))[:, chosen]
        time, earned = 0, 0.0
        for t, ((states, times, observations), action, step) in enumerate(seen):
            assert np.array_equal(states[s, chosen], state)
            assert times[s, chosen] == time
            assert np.array_equal(observations[s, chosen], env.observe(state[None])[0])
            following, reward, ends = env.transition(
                state[None, None], action[s, chosen][None, None], noise[t][None, None]
            )
            time, earned = time + 1, earned + reward.item()
            late = time == env.horizon
            assert step.rewards[s, chosen] == reward
            assert step.terminated[s, chosen] == (ends.item() or (late and not env.time_limit))
            assert step.truncated[s, chosen] == (late and env.time_limit and not ends.item())
            assert np.array_equal(step.next_observations[s, chosen], env.observe(following)[0, 0])
            if step.ended[s, chosen]:
                state, time, earned = fresh[t], 0, 0.0
            else:
                state = following[0, 0]
        assert np.array_equal(carried["state"][s, chosen].numpy(), state)
        assert carried["earned"][s, chosen] == earned


@pytest.mark.parametrize("name", MARKOV)
def test_a_seed_walks_alike_in_any_company(name: str) -> None:
    env = environment(name)
    alone, among = walked(env, [7], (10, 5)), walked(env, [3, 7, 11], (10, 5))
    assert all(torch.equal(alone[1][key][0], among[1][key][1]) for key in alone[1])
    for (own, _, step), (all_own, _, all_step) in zip(alone[0], among[0], strict=True):
        for x, y in zip(own, all_own, strict=True):
            assert np.array_equal(x[0], y[1])
        for x, y in zip(vars(step).values(), vars(all_step).values(), strict=True):
            assert np.array_equal(x[0], y[1])


@pytest.mark.parametrize("name", ["cartpole", "pendulum", "lqg", "chain", "frozenlake"])
def test_the_pure_functions_are_the_environment(name: str) -> None:
    """`transition` and `observe` give what `reset` and `step` of the same environment give, where they share states."""
    env = environment(name)
    env.reset([stream(1, "environment")], N)
    for t in range(5):
        held = env.states[..., None].copy() if hasattr(env, "states") else np.copy(env.state)
        state = np.moveaxis(held, 0, -1) if name in ("cartpole", "pendulum") else held
        actions = some_actions(env, (1, N), t)
        drawn = np.empty((1, N, 0))
        if name == "lqg":
            drawn = env._noise[env._time][env._episodes]
        elif hasattr(env, "mdp"):
            drawn = env._uniforms[env._time + 1][env._episodes][..., None]
        following, reward, ends = env.transition(state, actions, drawn)
        observation, rewards, terminated, truncated = env.step(actions)
        assert np.array_equal(env.observe(following), observation)
        assert np.array_equal(reward, rewards)
        assert np.array_equal(ends, terminated)
        assert not truncated.any()


def test_the_summary_is_of_the_episodes_that_ended() -> None:
    """Chain with 7 steps an episode: in 20 steps each of 3 environments ends 2 episodes, of 7 steps each."""
    env = environment("chain")
    walk = Online(env, N).walk(Online(env, N).initial([0, 1]), [0, 1], 1, 20)
    rewards = np.stack([walk.step(some_actions(env, (2, N), t)).rewards for t in range(20)], axis=-1)
    returns = rewards[..., :14].reshape(2, -1, 7).sum(-1)
    summary = walk.summary()
    assert (summary["env_steps"] == 60).all()
    assert (summary["episodes"] == 6).all()
    assert (summary["episode_length_mean"] == 7).all()
    np.testing.assert_allclose(summary["return_mean"], returns.mean(1), rtol=1e-14)
    np.testing.assert_allclose(summary["return_std"], returns.std(1, ddof=1), rtol=1e-14)


def test_where_no_episode_ended_there_is_no_mean() -> None:
    env = environment("chain")
    walk = Online(env, N).walk(Online(env, N).initial([0]), [0], 1, 6)
    for t in range(6):
        walk.step(some_actions(env, (1, N), t))
    assert walk.summary()["episodes"] == 0
    assert np.isnan(walk.summary()["return_mean"]).all()
