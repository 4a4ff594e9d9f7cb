"""Rewards of answers by a table and by a function of one's own, and the exact probe of answers to prompts."""

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import compose

from ablate import build
from ablate.envs import tokens as envs
from ablate.episodes.rollout import rollout
from ablate.errors import IncompatibleSettings, UserError
from ablate.gradients import policy_gradient, score_products
from ablate.phi import Signals
from ablate.probes import sequences
from ablate.randomness import streams
from ablate.runs.train import probe
from ablate.sequences.problem import TokenProblem
from ablate.sequences.random_prompts import drawn

GROUPS = "env=tokens", "env.vocabulary=2", "env.horizon=2", "env.right=[[0],[1,0]]", "env.group=2", "episodes=4"


def own_reward(prompt: int, answer: tuple[int, ...]) -> float:
    return prompt + len(answer) / 10


def test_a_table_and_a_function_are_the_token_problem() -> None:
    table = envs.problem_of(envs.rewarded_tokens(3, 2, [[[[1, 0], 1], [[0], 0.5]], [[[2, 2], -1]]]))
    by_answer = dict(zip(table.answers, table.rewards.T.tolist(), strict=True))
    assert by_answer == {(0,): [0.5, 0], (1, 0): [1, 0], (2, 0): [0, 0], (1, 1): [0, 0], (1, 2): [0, 0]} | {
        (2, 1): [0, 0],
        (2, 2): [0, -1],
    }
    checked = envs.problem_of(envs.checked_tokens(3, 2, 2, own_reward))
    assert checked.rewards[:, 0].tolist() == [0.1, 1.1]
    sums = envs.problem_of(envs.checked_tokens(3, 3, 3, envs.sum_is))
    right = [[y for y, r in zip(sums.answers, row, strict=True) if r] for row in sums.rewards]
    assert right == [[(0,)], [(1, 0)], [(2, 0), (1, 1, 0)]]


def test_the_problem_of_a_model_is_none_where_it_is_another_mdp() -> None:
    for words in ("env=contextual_bandit", "env=chain", "env=gridworld", "env=random_mdp"):
        env = build.environment(compose(words, "probe=off").config)
        assert envs.problem_of(env.mdp) is None, words


def test_a_function_of_ones_own_is_named_on_the_command_line() -> None:
    words = "env=checked_tokens", "env.checker._target_=test_token_rewards.own_reward", "env.prompts=2", "probe=off"
    env = build.environment(compose(*words).config)
    assert envs.problem_of(env.mdp).rewards.max() == pytest.approx(1.3)


@pytest.mark.parametrize(
    "words",
    [
        "env=rewarded_tokens env.rewards=[]",
        "env=rewarded_tokens env.rewards=[[[[5],1]]]",
        "env=rewarded_tokens env.rewards=[[[[0],x]]]",
        "env=rewarded_tokens env.rewards=[[[0,1]]]",
        "env=rewarded_tokens env.rewards=[[[[0]]]]",
        "env=rewarded_tokens env.horizon=0",
        "env=checked_tokens env.prompts=0",
        "env=checked_tokens env.vocabulary=1",
        "env=checked_tokens env.horizon=1000000",
        "env=checked_tokens env.checker._target_=math.hypot env.checker._partial_=true env.horizon=1.5",
    ],
)
def test_a_problem_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(UserError, match=r"env\."):
        compose(*words.split())


# The exact probe


def test_a_seed_has_the_same_bits_in_any_company_with_the_exact_probe() -> None:
    words = "phi=return", "advantage=leave_one_out", "probe=exact", "probe.every=2", "iterations=4"
    assert_bits(compose(*GROUPS, *words).config)


@pytest.mark.parametrize(
    "words",
    [
        ("advantage=leave_one_out",),
        ("advantage=group_standardised", "aggregation=sequence_mean"),
        ("advantage=batch_standardised", "aggregation=token_mean"),
        (),
    ],
)
def test_what_it_says_is_what_batches_of_training_have(words: tuple) -> None:
    """5,000 updates of a policy: |E g|^2 and the variance of a batch of 2 groups within 10%."""
    config = compose(*GROUPS, "phi=return", "probe=exact", *words).config
    measuring = probe(config)
    assert isinstance(measuring, sequences.SequenceProbe)
    env = build.environment(config)
    policy, estimator = build.policy(config, env), build.estimator(config, config)
    seeds = range(5000)
    theta = torch.from_numpy(np.random.default_rng(1).normal(scale=0.4, size=(1, policy.network.num_parameters)))
    theta = theta.float().expand(len(seeds), -1).contiguous()
    sources = (streams(seeds, f"test {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, theta, env, 4, *sources)
    weights = estimator.weights(Signals(episodes.rewards, episodes.mask, 1.0), score_products(policy, theta, episodes))
    g = policy_gradient(policy, theta, episodes, weights)[0].double().numpy()
    ((row,),) = measuring.measure(theta[:1], None, [0], 0)
    assert row["trace_variance"] / 4 == pytest.approx(g.var(0).sum(), rel=0.1)
    assert row["squared_signal"] == pytest.approx(np.square(g.mean(0)).sum() - g.var(0).sum() / 5000, rel=0.1)
    assert row["J"] == pytest.approx(episodes.rewards.sum((1, 2)).mean() / 4, rel=0.05)
    assert row["nsr"] == pytest.approx(1 / row["snr"]) == row["trace_variance"] / row["squared_signal"]
    assert row["mse"] == pytest.approx(row["bias_squared"] + row["trace_variance"] / 4)


def test_plain_reinforce_has_no_bias_and_is_its_own_reference() -> None:
    measuring = probe(compose(*GROUPS, "phi=return", "probe=exact").config)
    ((row,),) = measuring.measure(torch.zeros(1, measuring.model.policy.network.num_parameters), None, [0], 3)
    assert row["log_ratio"] == 0
    assert row["bias_squared"] < 1e-25
    assert (row["iteration"], row["batch"]) == (3, 4)
    problem = TokenProblem.exact_match(2, 2, [(0,), (1, 0)])
    found = drawn(problem, np.zeros((2, 2, 2)), 2, 2, lambda r: r)
    assert row["trace_variance"] == pytest.approx(4 * found.variance)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("env=tokens phi=rtg", "write phi=return baseline=none"),
        ("env=tokens phi=return baseline=mean", "write phi=return baseline=none"),
        ("env=tokens phi=return advantage=running_mean", "which has a past"),
        ("env=tokens phi=return advantage=batch_standardised env.group=4 episodes=64", "or write probe=online"),
        ("env=contextual_bandit", "write probe=matched"),
    ],
)
def test_what_has_no_exact_values_is_refused(words: str, told: str) -> None:
    with pytest.raises(IncompatibleSettings, match=told):
        compose(*words.split(), "probe=exact")


def test_a_small_network_trains_on_tokens_with_the_seed_axis() -> None:
    """A multilayer perceptron of prompt and prefix, one-hot: rewards rise, and a seed has its bits in any company."""
    words = "env=tokens", "env.group=8", "episodes=32", "phi=return", "advantage=leave_one_out", "policy.hidden=[16]"
    config = compose(*words, "optimizer=adam", "optimizer.lr=0.05", "probe=off", "iterations=4").config
    assert_bits(config)
    learner, state, returns = build.learner(config), None, []
    state = learner.initial([0, 1, 2])
    for iteration in range(1, 61):
        state, record = learner.iterate(state, [0, 1, 2], iteration)
        returns.append(record["return_mean"].mean())
    assert np.mean(returns[-5:]) > np.mean(returns[:5]) + 0.3
