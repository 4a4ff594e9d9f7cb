"""Groups of episodes that share a context, held against the exact moments of ablate.exact.groups."""

import numpy as np
import pytest
import torch
from conftest import compose, estimator_of, parameters

from ablate import build
from ablate.configuration import IncompatibleSettings
from ablate.envs.tabular import Grouped, contextual_bandit, random_mdp
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.exact.groups import ADVANTAGES, Bandit, group_moments
from ablate.gradients import per_trajectory_gradients
from ablate.phi import Signals
from ablate.randomness import streams
from ablate.runs import train

SUCCESS = [[0.9, 0.2, 0.5], [0.1, 0.6, 0.0]]
GROUP, GROUPS = 4, 12_000


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("none", ("baseline=none",)),
        ("mean", ("baseline=mean",)),
        ("loo", ("baseline=loo",)),
        ("whitened", ("baseline=mean", "whiten=true")),
    ],
)
def test_the_engine_has_the_exact_mean_and_variance_of_group_estimators(name: str, settings: tuple[str, ...]) -> None:
    """|z| < 4.5 in 6 + 1 numbers for each of 4 estimators: a right program fails with probability below 2e-4."""
    episodes = f"episodes={GROUP * GROUPS}"
    job = compose(
        "env=contextual_bandit", f"env.success={SUCCESS}", f"env.group={GROUP}", "phi=rtg", episodes, *settings
    )
    env = build.environment(job.config)
    policy = build.policy(job.config, env)
    theta = parameters(policy.network, (5,))
    sources = (streams((5,), purpose) for purpose in ("a test's contexts", "a test's actions"))
    sampled = rollout(policy, theta, env, GROUP * GROUPS, *sources)
    weights = estimator_of(job).weights(Signals(sampled.rewards, sampled.mask, 1.0), lambda u, v: u[..., 0])
    single = per_trajectory_gradients(policy, theta, sampled, weights[None])[0, 0].double().numpy()
    g = single.reshape(GROUPS, GROUP, -1).mean(1)

    logits = theta.double().numpy().reshape(3, 3)[:2]
    wanted = group_moments(Bandit.bernoulli(SUCCESS, logits), GROUP, ADVANTAGES[name])
    mean = np.append(wanted.mean.ravel(), np.zeros(3))  # nothing is done after the answer
    errors = g - mean
    z = errors[:, :6].mean(0) / (errors[:, :6].std(0) / np.sqrt(GROUPS))
    assert np.abs(z).max() < 4.5, z
    assert np.abs(g[:, 6:]).max() == 0
    squares = np.square(errors).sum(1)
    assert abs(squares.mean() - wanted.variance) < 4.5 * squares.std() / np.sqrt(GROUPS)


def test_a_group_shares_its_context_and_groups_differ() -> None:
    env = Grouped(contextual_bandit(SUCCESS), False, group=3)
    env.reset(streams((0, 1), "environment"), 60)
    contexts = env.states.reshape(2, 20, 3)
    assert (contexts == contexts[..., :1]).all()
    assert (contexts[0, :, 0] != contexts[1, :, 0]).any()
    assert set(contexts.ravel()) == {0, 1}


def test_without_a_size_the_batch_is_the_group() -> None:
    job = compose("env=contextual_bandit", "episodes=6")
    assert job.config["env"]["group"] == 6
    assert estimator_of(job).group == 6
    env = Grouped(contextual_bandit(SUCCESS), False)
    env.reset(streams((0,), "environment"), 50)
    assert len(set(env.states.ravel())) == 1


def test_the_probe_measures_batches_that_share_a_context() -> None:
    """Episodes of a group are not independent, whatever the baseline: N times the variance of the batch's estimate."""
    settings = ("env=contextual_bandit", f"env.success={SUCCESS}", "episodes=4", "probe=matched", "probe.episodes=8192")
    job = compose(*settings)
    theta = torch.zeros(1, 9)
    rows = train.probe(job.config).measure(theta, {}, (0,), 1)[0]
    names = {("rtg", "none"): "none", ("rtg", "mean"): "mean", ("rtg", "loo"): "loo"}
    for row in rows:
        if name := names.get((row["phi"], row["baseline"])):
            exact = group_moments(Bandit.bernoulli(SUCCESS, np.zeros((2, 3))), 4, ADVANTAGES[name]).variance
            width = (row["trace_variance_high"] - row["trace_variance_low"]) / 2 / 1.96
            assert abs(row["trace_variance"] / 4 - exact) < 4.5 * width / 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("episodes=32", "env.group=5"), "write episodes=35"),
        (("episodes=32", "env.group=1", "baseline=loo"), "write env.group=2"),
        (("env.group=0",), "env.group=0"),
        (("env.success=[[0.5],[0.5,0.5]]",), "env.success"),
        (("env.success=[[2.0]]",), "env.success"),
        (("env.success=3",), "env.success"),
    ],
)
def test_bad_groups_and_contexts_are_refused(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("[", r"\[")):
        compose("env=contextual_bandit", *overrides)
    assert issubclass(IncompatibleSettings, UserError)


def test_a_random_mdp_is_its_index() -> None:
    one, same, other = random_mdp(7), random_mdp(7, offset=3.0), random_mdp(8)
    assert (one.successors == same.successors).all()
    assert (one.probabilities == same.probabilities).all()
    np.testing.assert_allclose(same.rewards, one.rewards + 3.0)
    assert (one.rewards != other.rewards).any()
    for s, a in np.ndindex(10, 4):
        assert len(set(one.successors[s, a])) == 3
    np.testing.assert_allclose(one.probabilities.sum(-1), 1)
    assert (one.probabilities >= 0).all()
    with pytest.raises(UserError, match="successors=3"):
        random_mdp(states=2, successors=3)
    with pytest.raises(UserError, match="at most 2236 with"):
        random_mdp(states=1_000_000)
    with pytest.raises(UserError, match="actions=100000000"):
        random_mdp(actions=100_000_000)
    with pytest.raises(UserError, match="at most 2 with"):
        random_mdp(states=3, actions=5_000_000)
    with pytest.raises(UserError, match="index=-1"):
        random_mdp(-1)
