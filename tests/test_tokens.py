"""env=tokens, and the axes advantage and aggregation in training: against the exact values of `ablate.sequences`."""

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import compose

from ablate import build
from ablate.envs.tokens import tokens
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.errors import IncompatibleSettings, UserError
from ablate.gradients import policy_gradient, score_products
from ablate.phi import Signals
from ablate.randomness import streams
from ablate.sequences import advantages, aggregations
from ablate.sequences.exact import moments
from ablate.sequences.problem import TokenProblem

QUICK = "env=tokens", "phi=return", "probe=off", "iterations=4"
RIGHT = ((1, 0),)


def test_the_mdp_is_the_token_problem() -> None:
    """The chance of a right answer, its gradient and the number of states, prompt by prompt."""
    mdp = tokens(3, 2, [[1, 0], [2, 2]])
    problem = TokenProblem.exact_match(3, 2, [(1, 0), (2, 2)])
    assert mdp.num_states == 2 * len(problem.prefixes) + 1
    assert mdp.rho0.tolist() == [0.5, 0, 0, 0.5, 0, 0, 0]
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(3), (2, 3))
    value = np.zeros(mdp.num_states)
    for _ in range(mdp.horizon):
        pi = np.concatenate([chances.reshape(-1, 3), np.full((1, 3), 1 / 3)])
        ahead = (mdp.probabilities * (mdp.rewards + value[mdp.successors])).sum(-1)
        value = (pi * ahead).sum(1)
    np.testing.assert_allclose(value[[0, 3]], problem.success(np.log(chances)), atol=1e-12)


@pytest.mark.parametrize(
    ("words", "advantage", "aggregation"),
    [
        (("advantage=leave_one_out",), advantages.leave_one_out, aggregations.sequence_sum),
        (
            ("advantage=group_standardised", "aggregation=token_mean"),
            advantages.group_standardised,
            aggregations.token_mean,
        ),
        (("advantage=group_mean", "aggregation=sequence_mean"), advantages.group_mean, aggregations.sequence_mean),
        (("advantage=leave_one_out_optimal",), advantages.leave_one_out_optimal, aggregations.sequence_sum),
        (("advantage=length_weighted_mean",), advantages.length_weighted_mean, aggregations.sequence_sum),
        (("advantage=leave_one_out_max",), advantages.leave_one_out_max, aggregations.sequence_sum),
    ],
)
def test_what_trains_has_the_exact_mean_and_variance(words: tuple, advantage, aggregation) -> None:
    """4,000 batches of one prompt and 4 answers: means within 5 standard errors, the variance within 10%."""
    config = compose("env=tokens", "env.right=[[1,0]]", "env.horizon=2", "episodes=4", "phi=return", *words).config
    env = build.environment(config)
    policy, estimator = build.policy(config, env), build.estimator(config, config)
    seeds = range(4000)
    logits = np.random.default_rng(1).normal(scale=0.5, size=(1, 3, 3))
    theta = torch.zeros(len(seeds), policy.network.num_parameters)
    theta[:, :9] = torch.from_numpy(logits.reshape(-1)).float()
    sources = (streams(seeds, f"test {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, theta, env, 4, *sources)
    weights = estimator.weights(Signals(episodes.rewards, episodes.mask, 1.0), score_products(policy, theta, episodes))
    g = policy_gradient(policy, theta, episodes, weights)[0][:, :9].double().numpy()
    exact = moments(TokenProblem.exact_match(3, 2, RIGHT), logits, 4, advantage, aggregation)
    error = g.std(0) / np.sqrt(len(g)) + 1e-9
    assert (np.abs(g.mean(0) - exact.mean[0]) < 5 * error).all()
    assert g.var(0).sum() == pytest.approx(exact.variance, rel=0.1)


def test_a_leave_one_out_advantage_is_the_return_less_the_leave_one_out_baseline() -> None:
    signals = Signals(np.random.default_rng(0).normal(size=(2, 8, 3)), np.ones((2, 8, 3), bool), 1.0)
    words = "env=tokens", "env.group=4", "episodes=8", "phi=return"
    one, other = (compose(*words, axis).config for axis in ("advantage=leave_one_out", "baseline=loo"))
    found, wanted = (build.estimator(config, config).weights(signals, None) for config in (one, other))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_the_estimated_optimum_takes_the_norms_of_the_scores() -> None:
    """Of the weighted scores, and within a group."""
    words = "env=tokens", "env.group=2", "episodes=4", "phi=return", "aggregation=sequence_mean"
    config = compose(*words, "advantage=leave_one_out_optimal").config
    rewards = np.array([[[0.0, 1.0], [0.5, 0.0], [2.0, 0.0], [1.0, 4.0]]])
    mask = np.array([[[True, True], [True, False], [True, False], [True, True]]])

    def products(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Each step's score is a unit vector of its own."""
        return (u * v).sum(2)

    A = advantages.leave_one_out_optimal([[1.0, 0.5], [2.0, 5.0]], [[0.5, 1.0], [1.0, 0.5]]).reshape(4)
    expected = A[:, None] * mask[0] / np.array([[2], [1], [1], [2]])
    found = build.estimator(config, config).weights(Signals(rewards, mask, 1.0), products)
    np.testing.assert_allclose(found[0], expected)


def test_the_running_mean_is_that_of_earlier_batches() -> None:
    """b = 0 before the first batch, its mean after it, and a moving average then; the gradient is less by it."""
    config = compose(*QUICK, "advantage=running_mean", "critic.decay=0.5").config
    learner = build.learner(config)
    state, means = learner.initial([3, 4]), []
    for iteration in (1, 2, 3):
        b = learner.critic.evaluate(
            {"sum": state["critic.sum"], "weight": state["critic.weight"]}, None, None, *a_batch(2)
        ).values[:, 0, 0]
        weights = 0.5 ** np.arange(len(means))[::-1]
        np.testing.assert_allclose(b, weights @ np.array(means) / weights.sum() if means else np.zeros(2))
        state, record = learner.iterate(state, [3, 4], iteration)
        means.append(record["return_mean"])
    ones = np.ones((1, 16, 1))
    signals = Signals(ones, ones > 0, 1.0, values=0.25 * ones)
    np.testing.assert_allclose(build.estimator(config, config).weights(signals, None), 0.75 * ones)


def a_batch(seeds: int) -> tuple[Trajectories, Signals]:
    config = compose(*QUICK).config
    env = build.environment(config)
    policy = build.policy(config, env)
    sources = (streams(range(seeds), f"test {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, torch.zeros(seeds, policy.network.num_parameters), env, 4, *sources)
    return episodes, Signals(episodes.rewards, episodes.mask, 1.0)


def test_a_running_mean_is_a_baseline_of_any_environment_too() -> None:
    config = compose("env=chain", "phi=rtg", "baseline=value", "critic=running_mean", "probe=off").config
    assert build.learner(config).critic.decay == 0.9
    with pytest.raises(UserError, match="critic=running_mean knows no Q"):
        build.learner(compose("env=chain", "phi=q", "critic=running_mean", "probe=off").config)


@pytest.mark.parametrize(
    "advantage",
    [
        *("group_standardised", "leave_one_out_standardised", "batch_standardised"),
        *("leave_one_out_optimal", "length_weighted_mean", "leave_one_out_max", "running_mean"),
    ],
)
def test_a_seed_has_the_same_bits_in_any_company(advantage: str) -> None:
    words = f"advantage={advantage}", "aggregation=token_mean", "env.group=4", "episodes=8"
    assert_bits(compose(*QUICK, *words).config)


def test_left_at_their_defaults_they_are_no_part_of_a_configuration() -> None:
    plain = compose("env=chain").config
    assert plain == compose("env=chain", "advantage=none", "aggregation=sequence_sum").config
    assert not {"advantage", "aggregation"} & plain.keys()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("advantage=leave_one_out", "phi=rtg"), "write phi=return baseline=none"),
        (("advantage=leave_one_out", "phi=return", "baseline=mean"), "write phi=return baseline=none"),
        (("advantage=group_mean", "phi=return", "whiten=true"), "leave out whiten=true"),
        (("advantage=leave_one_out", "phi=return", "episodes=1"), "takes groups of 2 episodes or more"),
        (("aggregation=token_mean", "probe=exact", "env=chain"), "write probe=online"),
        (("algorithm=a2c", "advantage=leave_one_out"), "algorithm=a2c uses no advantage"),
    ],
)
def test_what_cannot_be_together_is_refused(words: tuple, told: str) -> None:
    with pytest.raises(IncompatibleSettings, match=told):
        compose(*words)


@pytest.mark.parametrize(
    "words",
    [
        "env.right=[]",
        "env.right=[[5]]",
        "env.right=[[1,0,1]]",
        "env.horizon=0",
        "env.vocabulary=1",
        "env.horizon=1000000",
        "env.vocabulary=1000000",
        "env.vocabulary=2 env.horizon=20000",
    ],
)
def test_a_problem_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(UserError, match=r"env\."):
        compose("env=tokens", *words.split())
