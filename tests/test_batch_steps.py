"""Batches by env steps: `batch_steps=`. Every seed has as many episodes as its steps ask for."""

from functools import cache
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import compose, plain_log_prob

from ablate import build
from ablate.configuration import Job
from ablate.envs.tabular import Tabular
from ablate.episodes.by_steps import rollout_steps
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.errors import UserError
from ablate.estimator import Estimator
from ablate.gradients import policy_gradient, score_products, signals_of
from ablate.learners.policy_gradient import summary
from ablate.mdp import MDP, one_hot
from ablate.policies import Categorical
from ablate.probes import sampled
from ablate.randomness import stream, streams

SEEDS = [3, 7, 8, 11]
GRID = ("env=gridworld", "env.rows=3", "env.columns=2", "env.horizon=25", "batch_steps=60")


def batch(job: Job, seeds: list[int] = SEEDS) -> tuple[Any, torch.Tensor, Trajectories]:
    learner = build.learner(job.config)
    theta = learner.initial(seeds)["theta"]
    theta = theta + 0.3 * torch.randn(theta.shape[1], generator=torch.Generator().manual_seed(0))
    return learner, theta, learner._collect(theta, seeds, 1)


def of_seed(episodes: Trajectories, s: int) -> list[SimpleNamespace]:
    """The episodes of one seed, each by itself."""
    return [
        SimpleNamespace(
            observations=episodes.observations[s, i, :steps],
            actions=episodes.actions[s, i, :steps],
            rewards=episodes.rewards[s, i, :steps],
        )
        for i, steps in enumerate(episodes.lengths[s])
        if steps
    ]


@pytest.mark.parametrize("overrides", [("batch_steps=600",), GRID], ids=["cartpole", "grid"])
def test_a_batch_is_the_first_episodes_whose_steps_reach_the_number(overrides: tuple[str, ...]) -> None:
    """The same episodes as with `episodes=`, as many as it takes and no more: seeds differ in how many."""
    job = compose(*overrides, "probe=off")
    learner, theta, found = batch(job)
    sources = streams(SEEDS, "environment", 1), streams(SEEDS, "actions", 1)
    many = rollout(learner.policy, theta, learner.env, 64, *sources)
    wanted = job.config["batch_steps"]
    counts = [1 + sum(total < wanted for total in accumulate(map(int, lengths))) for lengths in many.lengths]
    assert len(set(counts)) > 1
    assert found.played.sum(1).tolist() == counts
    for s, n in enumerate(counts):
        assert found.lengths[s].sum() >= wanted > found.lengths[s, : n - 1].sum()
        assert found.lengths[s, :n].tolist() == many.lengths[s, :n].tolist()
        assert not found.lengths[s, n:].any()
        assert found.terminated[s, n:].all()
        np.testing.assert_array_equal(found.terminated[s, :n], many.terminated[s, :n])
        for name in ("observations", "actions", "rewards"):
            whole, own = getattr(many, name)[s, :n], getattr(found, name)[s]
            np.testing.assert_allclose(own[:n], whole[:, : own.shape[1]], rtol=1e-5, atol=1e-6)
            assert not own[n:].any()


@pytest.mark.parametrize(
    "words", [("env.horizon=20", "batch_steps=20"), ("env.horizon=25", "batch_steps=60", "critic.hidden=[8,8]")]
)
@pytest.mark.parametrize("phi", ["advantage", "td"])
def test_the_critic_of_a_seed_does_not_depend_on_how_many_episodes_the_others_have(
    words: tuple[str, ...], phi: str
) -> None:
    """It judges the last state of every episode, of which a batch by steps has the seed's own number."""
    learner = build.learner(compose(*words, f"phi={phi}", "probe=off").config)
    seeds = range(8)
    together = learner.initial(seeds)
    alone = [learner.initial([seed]) for seed in seeds]
    numbers = set()
    for iteration in range(1, 7):
        together, record = learner.iterate(together, seeds, iteration)
        numbers |= {len(set(record["episodes"]))}
        alone = [learner.iterate(state, [seed], iteration)[0] for seed, state in zip(seeds, alone, strict=True)]
    assert max(numbers) > 1
    for seed, state in zip(seeds, alone, strict=True):
        for name, x in state.items():
            assert torch.equal(x[0], together[name][seed]), (seed, name)


def plain_baseline(name: str, returns: list[float], phis: list[list[float]], i: int, t: int) -> float:
    others = [j for j in range(len(returns)) if j != i]
    if name == "mean":
        return float(np.mean(returns))
    if name == "loo":
        return float(np.mean([returns[j] for j in others]))
    if name == "time":
        there = [phis[j][t] for j in others if len(phis[j]) > t]
        return float(np.mean(there)) if there else 0.0
    return 0.0


@pytest.mark.parametrize(
    ("phi", "baseline", "whiten"),
    [
        ("return", "none", False),
        ("rtg", "none", True),
        ("return", "mean", False),
        ("return", "loo", False),
        ("rtg", "time", False),
    ],
)
def test_the_gradient_is_the_mean_over_a_seeds_own_episodes(phi: str, baseline: str, whiten: bool) -> None:
    """Against loops over episodes and steps, one seed at a time, and autograd in double precision."""
    job = compose(*GRID, f"phi={phi}", f"baseline={baseline}", f"whiten={whiten}", "gamma=0.9", "probe=off")
    learner, theta, episodes = batch(job)
    signals = signals_of(learner.policy, theta, episodes, 0.9)
    weights = learner.estimator.weights(signals, score_products(learner.policy, theta, episodes))
    found = policy_gradient(learner.policy, theta, episodes, weights).gradient
    for s in range(len(SEEDS)):
        own = of_seed(episodes, s)
        to_go = [
            [sum(0.9 ** (k - t) * e.rewards[k] for k in range(t, len(e.rewards))) for t in range(len(e.rewards))]
            for e in own
        ]
        returns = [each[0] for each in to_go]
        phis = to_go if phi == "rtg" else [[r] * len(each) for r, each in zip(returns, to_go, strict=True)]
        plain = [
            [x - plain_baseline(baseline, returns, phis, i, t) for t, x in enumerate(each)]
            for i, each in enumerate(phis)
        ]
        if whiten:
            everything = [x for each in plain for x in each]
            plain = [[(x - np.mean(everything)) / (np.std(everything) + 1e-8) for x in each] for each in plain]
        parameters = theta[s].double().requires_grad_()
        loss = sum(
            (plain_log_prob(learner.policy, parameters, e.observations, e.actions) * torch.tensor(w)).sum()
            for e, w in zip(own, plain, strict=True)
        )
        (wanted,) = torch.autograd.grad(loss / len(own), parameters)
        np.testing.assert_allclose(found[s].double(), wanted, rtol=2e-4, atol=2e-6)


def test_the_optimal_baseline_is_that_of_the_seeds_own_episodes() -> None:
    learner, theta, episodes = batch(compose(*GRID, "phi=return", "baseline=optimal", "probe=off"))
    signals = signals_of(learner.policy, theta, episodes, 1.0)
    weights = learner.estimator.weights(signals, score_products(learner.policy, theta, episodes))
    for s, n in enumerate(episodes.played.sum(1)):
        one = episodes.of(slice(s, s + 1)).between(slice(n))
        alone = signals_of(learner.policy, theta[s : s + 1], one, 1.0)
        own = learner.estimator.weights(alone, score_products(learner.policy, theta[s : s + 1], one))
        np.testing.assert_allclose(weights[s, :n, : own.shape[2]], own[0], rtol=1e-6)
        assert not weights[s, n:].any()


def test_a_record_is_of_the_seeds_own_episodes() -> None:
    _, _, episodes = batch(compose(*GRID, "probe=off"))
    record = summary(episodes)
    for s in range(len(SEEDS)):
        own = of_seed(episodes, s)
        returns = [e.rewards.sum() for e in own]
        assert record["episodes"][s] == len(own)
        assert record["env_steps"][s] == sum(len(e.rewards) for e in own)
        assert record["return_mean"][s] == pytest.approx(np.mean(returns))
        assert record["return_std"][s] == pytest.approx(np.std(returns, ddof=1))
        assert record["episode_length_mean"][s] == pytest.approx(record["env_steps"][s] / len(own))


@pytest.mark.parametrize("critic", ["lambda", "running_mean", "running_mean_inclusive"])
def test_a_critic_judges_and_learns_from_the_seeds_own_episodes(critic: str) -> None:
    """As from these episodes alone, without what stands behind them."""
    learner, theta, episodes = batch(compose(*GRID, "baseline=value", f"critic={critic}", "probe=off"))
    signals = signals_of(learner.policy, theta, episodes, 1.0)
    state = {name: x + 1 for name, x in learner.critic.initial(SEEDS).items()}
    judged = learner.critic.evaluate(state, learner.policy, theta, episodes, signals)
    after, _ = learner.critic.fit(state, episodes, judged, SEEDS, 1)
    for s, n in enumerate(episodes.played.sum(1)):
        one, here = episodes.of(slice(s, s + 1)).between(slice(n)), theta[s : s + 1]
        own = {name: x[s : s + 1] for name, x in state.items()}
        alone = learner.critic.evaluate(own, learner.policy, here, one, signals_of(learner.policy, here, one, 1.0))
        T = alone.values.shape[2]
        np.testing.assert_array_equal(judged.values[s, :n, :T], alone.values[0])
        np.testing.assert_array_equal(judged.next_values[s, :n, :T], alone.next_values[0])
        assert not judged.values[s, n:].any()
        assert not judged.next_values[s, n:].any()
        fitted, _ = learner.critic.fit(own, one, alone, [SEEDS[s]], 1)
        for name, x in fitted.items():
            assert torch.equal(after[name][s], x[0]), name


@pytest.mark.parametrize(
    "overrides",
    [
        ("batch_steps=501", "baseline=loo", "whiten=true"),
        (*GRID, "phi=advantage"),
        (*GRID, "phi=rtg", "baseline=time"),
        ("env=pendulum", "env.horizon=30", "batch_steps=100", "baseline=value"),
    ],
    ids=" ".join,
)
def test_a_seed_has_the_same_bits_alone_among_others_and_resumed(overrides: tuple[str, ...]) -> None:
    assert_bits(compose(*overrides, "probe=off").config, iterations=2)


def fork(long_return: float) -> MDP:
    """One choice: 0 ends at once and earns 1, 1 ends a step later and earns `long_return`."""
    successors = np.array([[[2], [1]], [[2], [2]], [[2], [2]]])
    rewards = np.array([[[1.0], [0.0]], [[long_return], [long_return]], [[0.0], [0.0]]])
    return MDP(
        successors=successors,
        probabilities=np.ones(successors.shape),
        rewards=rewards,
        rho0=np.array([1.0, 0.0, 0.0]),
        horizon=2,
        gamma=1.0,
        terminal=np.array([False, False, True]),
        features=one_hot(3),
        logits=np.zeros((3, 2)),
    )


@cache
def batch_mean(steps: int, long_return: float, n: int = 0, total: float = 0.0, taken: int = 0) -> float:
    """E of a batch's mean return in the `fork` under a fair coin, by enumeration of all batches."""
    if taken >= steps:
        return total / n
    short, long = (1, 1.0), (2, long_return)
    return float(
        np.mean([batch_mean(steps, long_return, n + 1, total + r, taken + length) for length, r in (short, long)])
    )


def test_stopping_by_steps_favours_long_episodes_in_o_of_one_over_n() -> None:
    """E[batch mean] - J -> Cov(R, T) / batch_steps: 2.25 in place of 2 at 2 steps where long episodes earn 3."""
    assert batch_mean(2, 3.0) == 0.5 * 3 + 0.5 * (0.5 * 1 + 0.5 * 2)
    bias = [batch_mean(steps, 3.0) - 2 for steps in (32, 64)]
    assert bias == pytest.approx([0.5 / 32, 0.5 / 64], rel=0.05)  # (R, T) is (1, 1) or (3, 2): their covariance is 0.5
    assert batch_mean(16, 1.0) == 1.0  # no bias where the return does not go with the length
    policy, S = Categorical(3, 2), 4000
    sources = streams(range(S), "environment", 1), streams(range(S), "actions", 1)
    found = rollout_steps(policy, torch.zeros(S, policy.network.num_parameters), Tabular(fork(3.0), False), 4, *sources)
    means = summary(found)["return_mean"]
    assert abs(means.mean() - batch_mean(4, 3.0)) < 3 * means.std() / S**0.5 < abs(means.mean() - 2)


def test_the_probe_measures_the_noise_of_whole_batches() -> None:
    """N tr Cov(estimate) over batches, each collected and judged by itself as training does."""
    job = compose(*GRID, "phi=return", "baseline=loo", "whiten=true")
    config, theta = job.config, batch(job)[1][:1]
    probe: Any = sampled.probe(config)
    ((row,),) = probe.measure(theta, {}, [3], 5)
    estimator: Estimator = build.estimator(config, config)
    gradients, counts, steps = [], [], []
    for b in range(sampled.BATCHES):
        sources = ([stream(3, f"probe {name} {b}", 5)] for name in ("environment", "actions"))
        episodes = rollout_steps(probe.policy, theta, probe.env, config["batch_steps"], *sources)
        signals = signals_of(probe.policy, theta, episodes, 1.0)
        weights = estimator.weights(signals, score_products(probe.policy, theta, episodes))
        gradients.append(policy_gradient(probe.policy, theta, episodes, weights).gradient[0].double().numpy())
        counts.append(episodes.lengths.shape[1])
        steps.append(episodes.lengths.sum())
    N = np.mean(counts)
    assert row["batch"] == pytest.approx(N)
    assert row["episodes"] == sum(counts)
    assert row["trace_variance"] == pytest.approx(N * np.var(gradients, axis=0, ddof=1).sum(), rel=1e-5)
    signal = np.square(np.mean(gradients, 0)).sum() - row["trace_variance"] / N / len(counts)
    assert row["squared_signal"] == pytest.approx(signal, rel=1e-4)
    assert row["work_variance"] == pytest.approx(row["trace_variance"] * np.mean(steps) / N, rel=0.2)  # steps vary
    assert sampled.probe(compose(*GRID, "baseline=value", "probe.critic=fitted").config) is not None


def test_a_phi_of_the_users_own_sees_the_seeds_own_episodes() -> None:
    from ablate.user_code import UserPhi

    learner, theta, episodes = batch(compose(*GRID, "probe=off"))
    seen: list[tuple[int, ...]] = []

    def phi(signals: Any) -> Any:
        seen.append(signals.mask.shape)
        return np.full(signals.mask.shape, signals.returns.mean())

    found = UserPhi(phi, "phi=mine")(signals_of(learner.policy, theta, episodes, 1.0))
    counts = episodes.played.sum(1)
    assert [shape[1] for shape in seen] == counts.tolist()
    for s, n in enumerate(counts):
        assert found[s, 0, 0] == pytest.approx(episodes.rewards[s, :n].sum() / n)


def test_without_it_a_configuration_is_as_it_was() -> None:
    assert "batch_steps" not in compose().config
    assert compose("batch_steps=null").config == compose().config
    assert "batch_steps" not in compose("algorithm=a2c").config
    assert compose("batch_steps=1000").config["episodes"] is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("episodes=8",), "episodes=8 is another size of a batch"),
        (("probe.episodes=64",), "probe.episodes=64 has no use"),
        (("algorithm=a2c",), "algorithm=a2c learns as it goes"),
        (("algorithm=q_learning", "env=chain"), "algorithm=q_learning learns as it goes"),
        (("env=tokens",), "env=tokens plays episodes in groups"),
        (("advantage=leave_one_out", "phi=return"), "advantage=leave_one_out is of groups"),
        (("aggregation=token_mean",), "aggregation=token_mean is of groups"),
        (("env=chain", "probe=exact"), "probe=exact has values of a fixed number"),
        (("env=testbed",), "env=testbed has a step an episode; write episodes=400"),
        (("baseline=loo",), "write batch_steps=501 or more"),
        (("probe=matched",), "write batch_steps=501 or more"),
    ],
)
def test_what_cannot_have_it_is_refused_in_a_line(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as error:
        compose("batch_steps=400", *overrides)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
