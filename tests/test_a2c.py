"""A2C: one update worked by hand, its gradient against a plain loop and autograd, its bits; and it learns."""

from typing import Any

import numpy as np
import pytest
import torch
from bits import assert_bits, trained
from conftest import compose, plain_distribution, plain_network, relative_error
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ablate import build
from ablate.discounted_sums import lambda_returns
from ablate.envs.base import Markov
from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular
from ablate.learners.a2c import A2C, Steps, n_step_returns
from ablate.learners.base import part
from ablate.lqg import evaluate, optimum
from ablate.optimizers import RMSProp
from ablate.policies import Categorical, Gaussian, Greedy, Policy
from ablate.randomness import streams

SHAPE: dict[str, Any] = dict(environments=1, n_steps=1, updates=1, critic_hidden=(), clock="none")
COEFFICIENTS = dict(value_coefficient=0.5, entropy_coefficient=0.0)


def two_states(end: bool = False, horizon: int = 100, time_limit: bool = True) -> Tabular:
    """From state 0 both actions lead to 1 with reward 2 (which may be the end); from there back, with reward 0."""
    outcome = {0: (1.0, 1, 2.0, end), 1: (1.0, 0, 0.0, False)}
    return Tabular(from_outcomes(lambda s, a: [outcome[s]], 2, 2, start=0, horizon=horizon), time_limit)


def seed_drawing_action_1() -> int:
    """A seed whose first u is not below pi(0|s) = 1/4."""
    return next(seed for seed in range(100) if streams([seed], "actions", 1)[0].random() >= 0.25)


@pytest.mark.parametrize(
    ("env", "delta"),
    [
        (two_states(), 2.4),  # r + gamma V(1) - V(0) = 2 + 0.9 * 1 - 0.5
        (two_states(end=True), 1.5),  # terminated: 2 - 0.5
        (two_states(horizon=1), 2.4),  # truncated: V(1) counts
        (two_states(horizon=1, time_limit=False), 1.5),  # the horizon is the problem's own: terminated
    ],
    ids=["goes on", "terminated", "truncated", "horizon"],
)
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_one_update_is_as_worked_by_hand(env: Tabular, delta: float, max_norm: float | None) -> None:
    """n = 1, gamma = 0.9; theta(0,.) = (0, ln 3), so pi(.|0) = (1/4, 3/4); V = (0.5, 1). s = 0, a = 1, r = 2, s' = 1.

    grad log pi(1|0) = (0, 1) - (1/4, 3/4) = (-1/4, 1/4) in row 0 of theta; so, with delta for A,
        g_theta(0,.) = (-delta/4, delta/4),   g_w(0) = 0.5 * 2 * delta = delta,   all else 0,
        |g| = delta sqrt(1/16 + 1/16 + 1) = 1.0607 delta, clipped to 0.5 where that is asked for.
    First RMSProp step: v = 0.01 g^2, so each entry moves by lr g / (0.1 |g| + 1e-5).
    """
    seed = seed_drawing_action_1()
    learner = A2C(env, Categorical(2, 2), RMSProp(0.01, max_grad_norm=max_norm), gamma=0.9, **SHAPE, **COEFFICIENTS)
    before = torch.tensor([[0, np.log(3), 0, 0, 0.5, 1]])
    state, record = learner.iterate(learner.initial([seed]) | {"weights": before.float()}, [seed], 1)

    length = delta * np.sqrt(2 / 16 + 1)
    g = np.array([-delta / 4, delta / 4, 0, 0, delta, 0]) * (min(1, max_norm / length) if max_norm else 1)
    step = 0.01 * g / (0.1 * np.abs(g) + 1e-5)
    np.testing.assert_allclose((state["weights"] - before).numpy()[0], step, rtol=1e-4, atol=1e-7)
    assert record["grad_norm"] == pytest.approx([length], rel=1e-5)
    assert record["critic_loss"] == pytest.approx([delta**2], rel=1e-5)
    assert record["entropy"] == pytest.approx([np.log(4) - 0.75 * np.log(3)], rel=1e-5)
    assert record["env_steps"].tolist() == [1]


def test_three_returns_by_hand() -> None:
    """gamma = 1/2, V(s') = 8 everywhere, rewards 1, 2, 4: backwards G_2 = 4 + 8/2 = 8, G_1 = 2 + 8/2 = 6, G_0 = 4;
    terminated after the second: G_1 = 2, G_0 = 1 + 2/2 = 2; truncated there: G_1 = 2 + 8/2 = 6, G_0 = 4 (as before,
    though the third reward is another episode's); truncated after the first, G_0 = 1 + 8/2 = 5."""
    r, V, none = np.array([1.0, 2, 4]), np.full(3, 8.0), np.zeros(3, bool)
    second, first = np.array([False, True, False]), np.array([True, False, False])
    assert n_step_returns(r, V, none, none, 0.5).tolist() == [4, 6, 8]
    assert n_step_returns(r, V, second, none, 0.5).tolist() == [2, 2, 8]
    assert n_step_returns(r, V, none, second, 0.5).tolist() == [4, 6, 8]
    assert n_step_returns(r, V, none, first, 0.5).tolist() == [5, 6, 8]
    assert n_step_returns(10 * r, V, none, second, 0.5).tolist() == [10 + 12, 24, 44]


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_without_ends_they_are_the_lambda_returns_of_lambda_1_and_n_1_is_the_td_target(
    seed: int, n: int, gamma: float
) -> None:
    rng = np.random.default_rng(seed)
    rewards, values, none = rng.normal(size=(2, 3, n)), rng.normal(size=(2, 3, n + 1)), np.zeros((2, 3, n), bool)
    found = n_step_returns(rewards, values[..., 1:], none, none, gamma)
    wanted = lambda_returns(rewards, values[..., :-1], values[..., 1:], gamma, 1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    one = n_step_returns(rewards[..., :1], values[..., 1:2], none[..., :1], none[..., :1], gamma)
    np.testing.assert_allclose(one, rewards[..., :1] + gamma * values[..., 1:2])


def ragged() -> Tabular:
    """A corridor of 3 states and its end: 0 goes back, 1 on, with a time limit of 4 steps."""

    def outcomes(s: int, a: int) -> list:
        return [(1.0, min(s + 1, 3), 1.5 - s, s == 2) if a else (1.0, max(s - 1, 0), -0.3, False)]

    return Tabular(from_outcomes(outcomes, 4, 2, start=0, horizon=4), time_limit=True)


def loss(learner: A2C, weights: Tensor, steps: Steps, s: int) -> Tensor:
    """What seed s descends, from plain loops over its environments and steps, in double precision; weights [P]."""
    size = learner.policy.network.num_parameters
    theta, w = weights[:size], weights[size:]
    N, n = steps.rewards.shape[1:]

    def V(observations: np.ndarray, time: int) -> Tensor:
        clock = [time / learner.env.horizon] if learner.clock == "append" else []
        x = torch.tensor([[*observations.tolist(), *clock]], dtype=torch.float32).double()
        return plain_network(learner.critic, w, x)[0, 0]

    terms = []
    for i in range(N):
        for t in range(n):
            G: Any = 0.0
            for k in range(t, n):
                G += learner.gamma ** (k - t) * steps.rewards[s, i, k]
                if steps.terminated[s, i, k]:
                    break
                if steps.truncated[s, i, k] or k == n - 1:
                    following = V(steps.next_observations[s, i, k], int(steps.times[s, i, k]) + 1)
                    G += learner.gamma ** (k - t + 1) * following.detach()
                    break
            x = torch.from_numpy(steps.observations[s, i, t : t + 1]).double()
            pi = plain_distribution(learner.policy, plain_network(learner.policy.network, theta, x))
            value = V(steps.observations[s, i, t], int(steps.times[s, i, t]))
            log_prob = pi.log_prob(torch.from_numpy(np.asarray(steps.actions[s, i, t])[None]))[0]
            terms.append(
                -log_prob * (G - value).detach()
                - learner.entropy_coefficient * pi.entropy()[0]
                + learner.value_coefficient * (G - value) ** 2
            )
    return torch.stack(terms).mean()


CASES: dict[str, tuple[Markov, Policy, str]] = {
    "categorical": (ragged(), Categorical(4, 2, (5,)), "none"),
    "linear": (ragged(), Categorical(4, 2), "append"),
    "gaussian": (build.environment(compose("env=pendulum", "env.horizon=3").config), Gaussian(3, 1, (5,)), "append"),
    "state": (build.environment(compose("env=lqg").config), Gaussian(2, 1, (4,), 0.7, "state"), "none"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_a_plain_loop_with_backward(case: str) -> None:
    """With episodes that terminate and that are truncated inside the n steps."""
    env, policy, clock = CASES[case]
    shape = SHAPE | dict(environments=5, n_steps=9, critic_hidden=() if case == "linear" else (6,), clock=clock)
    learner = A2C(env, policy, RMSProp(0.01), 0.9, **shape, value_coefficient=0.7, entropy_coefficient=0.3)
    seeds = [1, 2]
    state = learner.initial(seeds)
    noise = np.stack([learner.policy.draws(source, (9, 5)) for source in streams(seeds, "actions", 1)], axis=1)
    generator = torch.Generator().manual_seed(0)
    weights = 0.5 * torch.randn(state["weights"].shape, generator=generator)
    steps = learner.collect(weights, learner.online.walk(part("online", state), seeds, 1, 9), noise)
    if env.time_limit:
        assert steps.truncated[..., :-1].any()
    if isinstance(env, Tabular):
        assert steps.terminated[..., :-1].any()

    own = weights.double().requires_grad_()
    sum(loss(learner, own[s], steps, s) for s in range(2)).backward()
    assert own.grad is not None
    assert relative_error(learner.estimate(weights, steps).gradient, -own.grad) < 1e-5


@pytest.mark.parametrize(
    "policy",
    [Categorical(2, 5), Gaussian(2, 3), Gaussian(2, 3, spread="state"), Gaussian(2, 3, spread="constant")],
    ids=["categorical", "learned", "state", "constant"],
)
def test_the_score_of_the_entropy_is_autograds(policy: Policy) -> None:
    width = policy.network.sizes[-1] + policy.network.free
    outputs = torch.randn(2, 7, width, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    entropy = plain_distribution(policy, outputs).entropy().sum()
    wanted = torch.autograd.grad(entropy + 0 * outputs.sum(), outputs)[0]  # a constant sigma's has no outputs in it
    torch.testing.assert_close(policy.entropy_score(outputs.detach()), wanted)


def test_what_a_walk_is_collected_as_is_what_happened() -> None:
    """One action leads on from s: s + 1 is what is next observed, and what is observed next but where it ended."""
    learner = A2C(ragged(), Categorical(4, 2), RMSProp(0.01), 0.9, **SHAPE | {"environments": 3}, **COEFFICIENTS)
    state = learner.initial([5])
    noise = np.stack([learner.policy.draws(source, (8, 3)) for source in streams([5], "actions", 1)], axis=1)
    steps = learner.collect(state["weights"], learner.online.walk(part("online", state), [5], 1, 8), noise)
    s, following = steps.observations.argmax(-1), steps.next_observations.argmax(-1)
    assert np.array_equal(following, np.where(steps.actions == 1, s + 1, np.maximum(s - 1, 0)))
    ended = steps.terminated | steps.truncated
    assert np.array_equal(s[..., 1:], np.where(ended, 0, following)[..., :-1])
    assert np.array_equal(steps.times[..., 1:], np.where(ended, 0, steps.times + 1)[..., :-1])
    assert np.array_equal(steps.terminated, following == 3)
    assert np.array_equal(steps.truncated, (steps.times == 3) & (following < 3))


def test_every_step_has_a_random_number_of_its_own() -> None:
    """A uniform policy (a linear one starts at 0, and next to no step is taken) goes on where u >= 1/2: where the walk
    is after 2 updates of 3 steps follows from the numbers drawn."""
    shape = SHAPE | dict(environments=5, n_steps=3, updates=2)
    learner = A2C(ragged(), Categorical(4, 2), RMSProp(1e-12), 0.9, **shape, **COEFFICIENTS)
    state, _ = learner.iterate(learner.initial([5]), [5], 1)
    u = streams([5], "actions", 1)[0].random((6, 5))
    places, times = [0] * 5, [0] * 5
    for i in range(5):
        for t in range(6):
            places[i] = places[i] + 1 if u[t, i] >= 0.5 else max(places[i] - 1, 0)
            times[i] += 1
            if places[i] == 3 or times[i] == 4:
                places[i] = times[i] = 0
    carried = part("online", state)
    assert carried["state"].flatten().tolist() == places
    assert carried["time"].flatten().tolist() == times


SMALL = "algorithm=a2c", "algorithm.updates=3"


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("algorithm.entropy_coefficient=0.01", "algorithm.environments=3", "algorithm.n_steps=1", "policy.hidden=[9]"),
        ("env=pendulum", "env.horizon=11", "algorithm.clock=append"),
        ("env=lqg", "algorithm.critic_hidden=[]", "algorithm.environments=5"),
        ("env=gridworld", "policy.hidden=[]", "algorithm.critic_hidden=[]", "algorithm.max_grad_norm=null"),
    ],
    ids=" ".join,
)
def test_a_seeds_bits_are_its_own(overrides: tuple[str, ...]) -> None:
    assert_bits(compose(*SMALL, *overrides).config)


def test_it_learns_to_hold_the_pole_up() -> None:
    """20,000 steps at the default settings; a policy that does not learn stays at about 22. Fixed seeds: of 30 others,
    three drawn at random have a mean below 96 in 1 case of 1,000, and the three worst have 60.4."""
    _, records = trained(compose("algorithm=a2c").config, [0, 1, 2], 20)
    assert np.nanmean([r["return_mean"] for r in records[:1]]) < 35
    assert np.nanmean([r["return_mean"] for r in records[-4:]]) > 60


def test_it_comes_within_5_percent_of_the_riccati_optimum() -> None:
    """By the exact J of the mean actions; no policy with one gain for all steps comes nearer than 1.3%. Fixed seeds; of
    ten others none was further off than 1.9% and of another ten none than 1.6%."""
    overrides = "env=lqg", "algorithm.lr=0.003", "algorithm.n_steps=10", "algorithm.clock=append"
    job = compose("algorithm=a2c", *overrides)
    state, _ = trained(job.config, [0, 1, 2], 50)
    env, _, theta = build.learner(job.config).deterministic(state)
    gains = theta[:, None, :2].double().numpy()  # two weights, then log sigma
    best = optimum(env.lqg)[1]
    regret = (best - evaluate(env.lqg, gains, np.zeros((1, 1))).J) / abs(best)
    assert (regret > 0).all()
    assert (regret < 0.05).all()


def test_the_deterministic_policy_is_the_mode_of_the_actors() -> None:
    learner = build.learner(compose(*SMALL).config)
    state = learner.initial([0, 3])
    env, policy, theta = learner.deterministic(state)
    assert env is learner.env
    assert policy == Greedy(learner.policy)
    assert torch.equal(theta, learner.policy.network.initial(streams([0, 3], "policy weights")))
