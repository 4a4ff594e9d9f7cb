"""The natural gradient: by hand, against every trajectory, and against advantages that dynamic programming finds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import compose
from torch import Tensor

from ablate import build, exact
from ablate.envs.tabular import bandit, chain, corridor, gridworld
from ablate.errors import IncompatibleSettings, UserError
from ablate.mdp import MDP
from ablate.models import TabularModel
from ablate.optimizers import MOST_PARAMETERS, Natural, natural
from ablate.policies import Categorical
from ablate.runs import train


def model_of(mdp: MDP, *hidden: int) -> TabularModel:
    return TabularModel(mdp, Categorical(mdp.features.shape[1], mdp.num_actions, hidden))


def some(model: TabularModel, seeds: int) -> Tensor:
    size = model.policy.network.num_parameters
    return torch.randn(seeds, size, generator=torch.Generator().manual_seed(0))


def test_two_arms_by_hand() -> None:
    """pi = (1/4, 3/4): F = 3/16 [[1, -1], [-1, 1]] and F^+ = 4/3 [[1, -1], [-1, 1]]. The score of arm 0, (3/4, -3/4),
    becomes (2, -2), that of arm 1, (-1/4, 1/4), becomes (-2/3, 2/3): 1 / (2 pi(a)) for the arm, and less for the other.
    What is common to both logits moves nothing."""
    model = model_of(bandit([0.5, 0.5]))
    theta = torch.log(torch.tensor([[0.25, 0.75]])).repeat(3, 1)
    np.testing.assert_allclose(model.fisher(theta, 1.0)[0], np.array([[3, -3], [-3, 3]]) / 16, atol=1e-7)
    scores = torch.tensor([[0.75, -0.75], [-0.25, 0.25], [5.0, 5.0]])
    moved, moments = Natural(model, 1.0, lr=0.5).ascend(theta, scores, {}, 1)
    torch.testing.assert_close(
        moved - theta, torch.tensor([[1.0, -1.0], [-1 / 3, 1 / 3], [0.0, 0.0]]), rtol=1e-5, atol=1e-6
    )
    assert moments == {}


def test_rounding_of_rare_actions_decides_nothing() -> None:
    """Scores are float32: 1 - pi(a) is off by up to 6e-8, which 1 / 1e-9 would make 60. The exact step of an arm that
    is drawn has no number longer than 1 / pi(a)."""
    model, seeds = model_of(bandit([1.0, 1.0, 1.0])), 100
    rare = torch.linspace(-22, -12, seeds)
    theta = torch.stack([torch.full((seeds,), -7.0), torch.zeros(seeds), rare], 1)
    drawn = torch.ones(seeds, 1, dtype=torch.int64)
    scores = model.policy.score(theta[:, None], drawn)[:, 0]
    moved = (Natural(model, 1.0, lr=1.0).ascend(theta, scores, {}, 1)[0] - theta).abs().amax(1).numpy()
    assert (moved <= 1.01 / model.policies(theta)[:, 0, 1]).all()
    assert (moved > 0.3).all()


@pytest.mark.parametrize("discount", [1.0, 0.7])
@pytest.mark.parametrize("mdp", [corridor(horizon=4), chain(length=3, horizon=4)], ids=["states alike", "a table"])
def test_the_fisher_matrix_is_that_of_every_trajectory(mdp: MDP, discount: float) -> None:
    """F = sum_tau P(tau) sum_t w^t z_t z_t'."""
    model = model_of(mdp)
    theta = some(model, 1)
    pi = model.policies(theta)[0]
    z = exact.scores(pi, mdp.features)
    every = exact.enumerate_trajectories(mdp)
    steps = z[every.states[:, :-1], every.actions] * every.alive[..., None]  # [M,H,P]
    weights = np.exp(every.log_prob(pi))[:, None] * discount ** np.arange(mdp.horizon)
    wanted = np.einsum("mt,mti,mtj->ij", weights, steps, steps)
    np.testing.assert_allclose(model.fisher(theta, discount)[0], wanted, atol=1e-12)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_of_a_table_it_is_the_advantage(discount: float) -> None:
    """F^+ grad J = A(s,a) less its mean over actions, A(s,a) = sum_t w^t P(s_t = s) A_t(s,a) / sum_t w^t P(s_t = s); 0
    in a state that no episode enters."""
    mdp = replace(gridworld(horizon=6), gamma=discount)
    model = model_of(mdp)
    theta = some(model, 2)
    g = torch.from_numpy(model.gradient(theta, discount))
    found = Natural(model, discount, 1.0).ascend(theta, g, {}, 1)[0] - theta
    for s, pi in enumerate(model.policies(theta)):
        visits = discount ** np.arange(mdp.horizon)[:, None] * exact.occupancy(mdp, pi)
        summed = np.einsum("ts,tsa->sa", visits, exact.exact_critic(mdp, pi).advantage)
        total = visits.sum(0)[:, None]
        A = np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)
        assert (total == 0).any()
        np.testing.assert_allclose(found[s].reshape(A.shape), A - A.mean(1, keepdims=True), atol=2e-6)


def test_a_seeds_steps_are_the_same_bits_alone_and_among_others() -> None:
    config = compose("env=corridor", "optimizer=natural", "phi=rtg", "episodes=3", "probe=off").config
    learner, seeds = build.learner(config), range(4)
    together = learner.initial(seeds)
    alone = [learner.initial([seed]) for seed in seeds]
    for iteration in (1, 2, 3):
        together, _ = learner.iterate(together, seeds, iteration)
        alone = [learner.iterate(state, [seed], iteration)[0] for seed, state in zip(seeds, alone, strict=True)]
    assert together["theta"].std(0).min() > 0
    assert torch.equal(together["theta"], torch.cat([state["theta"] for state in alone]))


@pytest.mark.parametrize(("words", "discount"), [([], 1.0), (["discount_scores=true"], 0.9)])
def test_states_are_weighted_as_scores_are(words: list[str], discount: float) -> None:
    learner = build.learner(compose("env=chain", "optimizer=natural", "gamma=0.9", "probe=off", *words).config)
    assert learner.optimizer.discount == discount


def test_without_a_finite_mdp_or_with_too_many_parameters_it_is_refused() -> None:
    with pytest.raises(
        IncompatibleSettings, match="optimizer=natural needs a known finite MDP, which env=cartpole does not have"
    ):
        compose("env=cartpole", "optimizer=natural")
    with pytest.raises(UserError, match="has no finite MDP of this environment; write optimizer=sgd"):
        natural(None, 1.0, 0.1)
    wide = model_of(chain(), 200)
    with pytest.raises(UserError, match=f"1602 x 1602 numbers .* at most {MOST_PARAMETERS} parameters"):
        natural(wide, 1.0, 0.1)


def test_a_probe_beside_it_has_no_noise_elementwise() -> None:
    config = compose("env=chain", "optimizer=natural", "phi=rtg", "probe.episodes=64").config
    learner, probe = build.learner(config), train.probe(config)
    theta, critic, moments = learner.probed(learner.initial([0]))
    ((row,),) = probe.measure(theta, critic, [0], 0, moments)
    assert np.isnan(row["optimizer_trace_variance"])
    assert row["fisher_trace_variance"] > 0
