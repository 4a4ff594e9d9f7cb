"""The exact critic and the exact gradient of a run's policy, against dynamic programming and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import compose, cut_short, parameters

from ablate import build, exact, lqg
from ablate.configuration import IncompatibleSettings
from ablate.envs.tabular import Tabular
from ablate.episodes.rollout import rollout
from ablate.models import known
from ablate.phi import Signals
from ablate.randomness import streams

SEEDS = [3, 8]


def episodes_of(config, theta_scale=0.5):
    env = build.environment(config)
    policy = build.policy(config, env)
    generator = torch.Generator().manual_seed(1)
    theta = theta_scale * torch.randn(len(SEEDS), policy.network.num_parameters, generator=generator)
    episodes = rollout(policy, theta, env, 6, streams(SEEDS, "environment"), streams(SEEDS, "actions"))
    return env, policy, theta, episodes


@pytest.mark.parametrize("env_name", ["chain", "gridworld", "frozenlake"])
def test_exact_critic_reads_the_values_of_each_state_and_time(env_name):
    env, policy, theta, episodes = episodes_of(compose(f"env={env_name}").config)
    model = known(env, policy)
    signals = model.evaluate(theta, episodes, Signals(episodes.rewards, episodes.mask, 0.9))
    mdp = replace(env.mdp, gamma=0.9)
    for s in range(len(SEEDS)):
        V, Q = exact.values(mdp, exact.softmax(theta[s].numpy().astype(float).reshape(mdp.num_states, -1)))
        for n in range(6):
            length = episodes.lengths[s, n]
            states = [*episodes.observations[s, n, :length].argmax(-1), episodes.final_observations[s, n].argmax()]
            for t in range(length):
                a = episodes.actions[s, n, t]
                assert signals.values[s, n, t] == pytest.approx(V[t, states[t]], rel=1e-5, abs=1e-6)
                assert signals.next_values[s, n, t] == pytest.approx(V[t + 1, states[t + 1]], rel=1e-5, abs=1e-6)
                assert signals.action_values[s, n, t] == pytest.approx(Q[t, states[t], a], rel=1e-5, abs=1e-6)
            assert not signals.values[s, n, length:].any()


def test_a_state_is_known_by_its_features_whatever_they_are():
    """The last state is terminal and looks like the first: where one acts, all look different."""
    env = Tabular(replace(cut_short(), features=np.array([[1.0, 2.0], [-1.0, 3.0], [1.0, 2.0]])), time_limit=False)
    policy = build.policy(compose("env=chain", "policy.hidden=[]").config, env)
    theta = parameters(policy.network, SEEDS)
    episodes = rollout(policy, theta, env, 30, streams(SEEDS, "environment"), streams(SEEDS, "actions"))
    signals = known(env, policy).evaluate(theta, episodes, Signals(episodes.rewards, episodes.mask, 0.9))
    assert set(episodes.lengths.ravel()) == {1, 2}
    for s in range(len(SEEDS)):
        weights = theta[s].numpy().astype(float).reshape(2, 2)
        V, Q = exact.values(env.mdp, exact.softmax(env.mdp.features @ weights))
        for n, t in np.argwhere(episodes.mask[s]):
            state = 0 if episodes.observations[s, n, t, 0] == 1 else 1
            assert signals.values[s, n, t] == pytest.approx(V[t, state], rel=1e-5)
            assert signals.action_values[s, n, t] == pytest.approx(Q[t, state, episodes.actions[s, n, t]], rel=1e-5)
            ends = t == episodes.lengths[s, n] - 1
            assert signals.next_values[s, n, t] == (0 if ends else signals.values[s, n, t + 1])


def test_the_one_state_of_a_bandit_is_seen():
    config = compose("env=bandit", "env.arms=[0.25,0.75]", "baseline=value", "critic=exact").config
    env, policy, theta, episodes = episodes_of(config, 0)
    signals = known(env, policy).evaluate(theta, episodes, Signals(episodes.rewards, episodes.mask, 1.0))
    np.testing.assert_array_equal(signals.values, 0.5)
    np.testing.assert_array_equal(signals.next_values, 0)
    np.testing.assert_array_equal(signals.action_values, 0.25 + 0.5 * episodes.actions)


@pytest.mark.parametrize("hidden", ["[]", "[7]"])
def test_exact_gradient_is_the_derivative_of_exact_J(hidden):
    """A linear and a network policy: central differences of J along random directions."""
    env, policy, theta, _ = episodes_of(compose("env=chain", f"policy.hidden={hidden}").config)
    model = known(env, policy)
    gradient = model.gradient(theta, 0.95)
    rng = np.random.default_rng(0)

    def J(at):
        features = torch.from_numpy(env.mdp.features.astype(np.float32))[None]
        logits = policy.network.forward(at[None], features)[0][0]
        return exact.J(replace(env.mdp, gamma=0.95), exact.softmax(logits.numpy().astype(float)))

    for s in range(len(SEEDS)):
        for _ in range(3):
            direction = torch.from_numpy(rng.standard_normal(theta.shape[1]).astype(np.float32))
            direction /= direction.norm()
            h = 0.02  # float32 policies: a step well above their rounding
            slope = (J(theta[s] + h * direction) - J(theta[s] - h * direction)) / (2 * h)
            assert gradient[s] @ direction.numpy() == pytest.approx(slope, rel=0.02, abs=0.02)


@pytest.mark.parametrize("env", ["chain", "gridworld", "frozenlake", "random_mdp", "bandit"])
def test_the_exact_gradient_of_a_seed_does_not_depend_on_its_neighbours(env):
    environment, policy, theta, _ = episodes_of(compose(f"env={env}").config)
    model = known(environment, policy)
    together = model.gradient(theta, 0.95)
    for s in range(len(SEEDS)):
        np.testing.assert_array_equal(model.gradient(theta[s : s + 1], 0.95)[0], together[s])


def test_linear_quadratic_values_and_gradient():
    env, policy, theta, episodes = episodes_of(
        compose("env=lqg", "policy.spread=constant", "policy.sigma=0.3").config, 0.2
    )
    model = known(env, policy)
    signals = model.evaluate(theta, episodes, Signals(episodes.rewards, episodes.mask, 1.0))
    for s in range(len(SEEDS)):
        K = theta[s].numpy().astype(float).reshape(2, 1).T
        truth = lqg.evaluate(env.lqg, K, 0.09 * np.eye(1))
        values = truth.V(episodes.observations[s].astype(float))
        np.testing.assert_allclose(signals.values[s], values, rtol=1e-6)
        np.testing.assert_allclose(signals.next_values[s, :, :-1], values[:, 1:], rtol=1e-6)
        assert not signals.next_values[s, :, -1].any()
        np.testing.assert_allclose(model.gradient(theta, 1.0)[s], truth.gradient.T.ravel(), rtol=1e-6)


def test_sigma_that_is_learned_leaves_the_gradient_unknown():
    env, policy, theta, _ = episodes_of(compose("env=lqg").config)
    assert known(env, policy).gradient(theta, 1.0) is None


@pytest.mark.parametrize("overrides", [("env=cartpole",), ("env=pendulum",), ("env=corridor",)])
def test_no_exact_critic_without_a_model_or_a_state_to_see(overrides):
    with pytest.raises(IncompatibleSettings, match="critic=exact"):
        compose(*overrides, "phi=td", "critic=exact")
