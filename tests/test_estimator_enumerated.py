"""The estimator against exact gradients, by enumerating every batch of episodes of a small MDP."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from conftest import cut_short, estimator_of, three_steps, variant, variants
from numpy.typing import NDArray
from test_estimator import estimate

from ablate import exact
from ablate.configuration import Job
from ablate.episodes.trajectories import Trajectories
from ablate.gradients import score_products
from ablate.mdp import MDP
from ablate.phi import Signals
from ablate.policies import Categorical


@dataclass
class Path:
    probability: float
    states: list[int]  # one more than the actions
    actions: list[int]
    rewards: list[float]


def paths(mdp: MDP, pi: NDArray) -> Iterator[Path]:
    """Every trajectory and how likely it is."""

    def after(path: Path) -> Iterator[Path]:
        s = path.states[-1]
        if len(path.actions) == mdp.horizon or mdp.terminal[s]:
            yield path
            return
        for a, k in product(range(mdp.num_actions), range(mdp.successors.shape[2])):
            if (p := pi[s, a] * mdp.probabilities[s, a, k]) > 0:
                states = [*path.states, int(mdp.successors[s, a, k])]
                rewards = [*path.rewards, float(mdp.rewards[s, a, k])]
                yield from after(Path(path.probability * p, states, [*path.actions, a], rewards))

    for s in np.flatnonzero(mdp.rho0):
        yield from after(Path(float(mdp.rho0[s]), [int(s)], [], []))


class Batches:
    """Every N-tuple of trajectories, as N episodes of so many "seeds", and how likely each tuple is."""

    def __init__(self, mdp: MDP, N: int) -> None:
        self.mdp = mdp
        self.pi = exact.softmax(mdp.logits)
        every = list(paths(mdp, self.pi))
        assert sum(path.probability for path in every) == pytest.approx(1, abs=1e-12)
        tuples = np.array(list(product(range(len(every)), repeat=N)))
        self.probabilities = np.array([path.probability for path in every])[tuples].prod(1)

        def padded(xs: list[Any]) -> NDArray:
            out = np.zeros((len(xs), mdp.horizon), type(xs[0][0]))
            for row, x in zip(out, xs, strict=True):
                row[: len(x)] = x
            return out[tuples]

        self.states = padded([path.states[:-1] for path in every])
        self.following = padded([path.states[1:] for path in every])
        actions, rewards = padded([path.actions for path in every]), padded([path.rewards for path in every])
        lengths = np.array([len(path.actions) for path in every])[tuples]
        seen = np.eye(mdp.num_states, dtype=np.float32)
        last = np.array([path.states[-1] for path in every])[tuples]
        mask = np.arange(mdp.horizon) < lengths[..., None]
        observations = seen[self.states] * mask[..., None]
        self.episodes = Trajectories(
            observations, actions, rewards, lengths, np.ones(lengths.shape, bool), seen[last], np.zeros_like(lengths)
        )
        self.policy = Categorical(mdp.num_states, mdp.num_actions)
        self.theta = torch.from_numpy(mdp.logits.astype(np.float32)).reshape(1, -1).repeat(len(tuples), 1)

    def signals(self, V: NDArray, Q: NDArray) -> Signals:
        """What a critic says that is the table V [H+1,S], Q [H,S,A]."""
        episodes, t = self.episodes, np.arange(self.mdp.horizon)
        return Signals(
            episodes.rewards,
            episodes.mask,
            self.mdp.gamma,
            values=V[t, self.states] * episodes.mask,
            next_values=V[t + 1, self.following] * episodes.mask,
            action_values=Q[t, self.states, episodes.actions] * episodes.mask,
        )

    def mean(self, job: Job, signals: Signals) -> NDArray:
        """E[estimate], [P]."""
        estimates = estimate(job, self.policy, self.theta, self.episodes, signals)
        return np.asarray(self.probabilities @ estimates.double().numpy())


@cache
def batches(name: str) -> Batches:
    return {
        "pairs of ragged episodes": lambda: Batches(cut_short(), 2),
        "pairs, undiscounted": lambda: Batches(cut_short(gamma=1.0), 2),
        "triples": lambda: Batches(three_steps(), 3),
    }[name]()


BATCHES = ["pairs of ragged episodes", "pairs, undiscounted", "triples"]


def truth(of: Batches, discount_scores: bool = True) -> exact.GroundTruth:
    z = exact.scores(of.pi, np.eye(of.mdp.num_states))
    return exact.GroundTruth(of.mdp, of.pi, z, discount_scores=discount_scores)


def claim(job: Job) -> str:
    """When a variant says of itself that it is unbiased: the weaker of what its Phi and its baseline say."""
    said = {job.config[group]["about"]["unbiased"] for group in ("phi", "baseline")}
    return next(x for x in ("never", "exact critic", "always") if x in said)


def wrong(V: NDArray) -> NDArray:
    """A critic that is wrong everywhere but where the episode is over."""
    table = np.random.default_rng(0).normal(size=V.shape)
    return np.where(V == 0, 0, table)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize(("phi", "baseline"), variants())
def test_who_calls_itself_unbiased_is_by_enumeration(phi: str, baseline: str, name: str) -> None:
    of, job = batches(name), variant(phi, baseline, discount_scores=True)
    V, Q = exact.values(of.mdp, of.pi)
    gradient = truth(of).gradient
    with_exact = of.mean(job, of.signals(V, Q))
    if claim(job) == "never":
        assert np.linalg.norm(with_exact - gradient) > 0.05 * np.linalg.norm(gradient)
        return
    np.testing.assert_allclose(with_exact, gradient, atol=2e-6)
    with_wrong = of.mean(job, of.signals(wrong(V), wrong(Q)))
    if claim(job) == "always":
        np.testing.assert_allclose(with_wrong, gradient, atol=2e-6)
    else:
        assert np.linalg.norm(with_wrong - gradient) > 0.005 * np.linalg.norm(gradient)


@pytest.mark.parametrize("name", ["pairs of ragged episodes", "triples"])
@pytest.mark.parametrize(("phi", "baseline"), variants())
def test_dropping_the_discount_of_the_scores_costs_the_bias_that_ground_truth_says(
    phi: str, baseline: str, name: str
) -> None:
    of, job = batches(name), variant(phi, baseline, discount_scores=False)
    V, Q = exact.values(of.mdp, of.pi)
    found = of.mean(job, of.signals(V, Q))
    known = truth(of, discount_scores=False)
    critic = "exact" if job.config["phi"]["about"]["needs"] else "none"
    expected = known.moments(phi, critic=critic).mean  # in which a baseline has no part,
    if baseline == "mean":  # but this one: E[sum_t z_t R] / N
        expected = expected - known.gradient / of.episodes.lengths.shape[1]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if phi != "return":
        assert np.linalg.norm(found - known.gradient) > 0.02 * np.linalg.norm(known.gradient)


@pytest.mark.parametrize(
    ("phi", "name"),
    [("return", name) for name in BATCHES] + [("rtg", "pairs, undiscounted"), ("q", "pairs, undiscounted")],
)
def test_the_batch_mean_scales_the_gradient_by_one_minus_one_over_N(phi: str, name: str) -> None:
    of = batches(name)
    N = of.episodes.lengths.shape[1]
    found = of.mean(variant(phi, "mean", discount_scores=True), of.signals(*exact.values(of.mdp, of.pi)))
    np.testing.assert_allclose(found, (1 - 1 / N) * truth(of).gradient, atol=2e-6)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("phi", ["return", "rtg"])
def test_the_mean_under_a_batch_mean_is_what_ground_truth_says(phi: str, name: str) -> None:
    of = batches(name)
    N = of.episodes.lengths.shape[1]
    found = of.mean(variant(phi, "mean", discount_scores=True), of.signals(*exact.values(of.mdp, of.pi)))
    np.testing.assert_allclose(found, truth(of).moments(phi, "mean", episodes=N).mean, atol=2e-6)


def test_the_optimal_baseline_of_many_episodes_is_the_constant_of_least_variance() -> None:
    """With all trajectories as one batch, each as often as it is likely, b is E<F, X> / E|F|^2 up to the one left out.

    Uniform actions and sure transitions make all trajectories equally likely.
    """
    mdp = replace(three_steps(), logits=np.zeros((2, 2)))
    single = Batches(mdp, 1)
    copies = 200

    def many(x: NDArray) -> NDArray:
        return np.repeat(x[:, 0], copies, axis=0)[None]

    e = single.episodes
    episodes = Trajectories(*(many(getattr(e, name)) for name in Trajectories.__dataclass_fields__))
    signals, theta = Signals(episodes.rewards, episodes.mask, mdp.gamma), single.theta[:1]
    of_phi = estimator_of(variant("rtg", "none", discount_scores=True))
    with_b = estimator_of(variant("rtg", "optimal", discount_scores=True))
    products = score_products(single.policy, theta, episodes)
    w = of_phi.time_weights(signals)
    found = (of_phi.weights(signals, products) - with_b.weights(signals, products)) / w
    known = truth(single).baseline("rtg", "optimal constant")[0, 0]
    np.testing.assert_allclose(found, known, rtol=2e-3)  # one episode of 1600 left out
