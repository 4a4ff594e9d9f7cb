"""Q actor-critic, Algorithm 1 of the slides, worked by hand; and it learns."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from bits import assert_bits, trained
from conftest import compose, plain_log_prob, plain_network
from torch import Tensor
from two_states import two_states

from ablate import build
from ablate.critics import Approximator
from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular
from ablate.episodes.rollout import rollout
from ablate.exact import J, softmax
from ablate.learners.q_actor_critic import QActorCritic
from ablate.learners.q_actor_critic import learner as q_actor_critic
from ablate.policies import Categorical, Greedy
from ablate.randomness import streams

GAMMA, LR, CRITIC_LR = 0.5, 0.1, 0.2


def learner(env: Tabular, steps: int = 1, lr: float = LR) -> QActorCritic:
    critic = Approximator.build(3, [], env.actions)
    return QActorCritic(env, Categorical(3, 2), critic, GAMMA, lr, CRITIC_LR, steps)


def started(learner: QActorCritic, seed: int, action: int) -> dict[str, Tensor]:
    """At s = 0 about to take `action`, theta = 0 (pi uniform), and the table Q_w(0,.) = (2, 1), Q_w(1,.) = (2, 6)."""
    w = torch.tensor([[2.0, 1, 2, 6, 0, 0]])
    return learner.initial([seed]) | {"w": w, "action": torch.tensor([[action]])}


def seed_drawing(*actions: int) -> int:
    """A seed for which a uniform policy draws these a' in iterations 1, 2, ... of one step: 0 where u < 1/2."""

    def drawn(seed: int) -> tuple[int, ...]:
        firsts = [streams([seed], "actions", k + 1)[0].random((1, 2))[0, 0] for k in range(len(actions))]
        return tuple(int(u >= 0.5) for u in firsts)

    return next(seed for seed in range(1000) if drawn(seed) == actions)


def rows(x: Tensor) -> list[list[float]]:
    return x.reshape(3, 2).double().tolist()


@pytest.mark.parametrize(
    ("following", "w00"),
    [
        (0, 2.4),  # delta = 3 + 0.5 * Q(1,0) - Q(0,0) = 3 + 0.5 * 2 - 2 = 2;  w = 2 + 0.2 * 2 = 2.4
        (1, 2.8),  # delta = 3 + 0.5 * Q(1,1) - Q(0,0) = 3 + 0.5 * 6 - 2 = 4;  w = 2 + 0.2 * 4 = 2.8
    ],
)
def test_one_step_is_as_worked_by_hand(following: int, w00: float) -> None:
    """s = 0, a = 0: r = 3, s' = 1. grad log pi(0|0) = (1, 0) - (1/2, 1/2) = (1/2, -1/2) in row 0 of theta, so
    theta(0,.) = 0.1 * Q(0,0) * (1/2, -1/2) = 0.1 * 2 * (1/2, -1/2) = (0.1, -0.1).
    grad_norm: |2 * (1/2, -1/2)| = sqrt 2."""
    seed, algorithm = seed_drawing(following), learner(two_states())
    state, record = algorithm.iterate(started(algorithm, seed, action=0), [seed], 1)
    np.testing.assert_allclose(rows(state["theta"]), [[0.1, -0.1], [0, 0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(rows(state["w"]), [[w00, 1], [2, 6], [0, 0]], rtol=1e-6)
    assert state["action"].tolist() == [[following]]
    assert record["grad_norm"] == pytest.approx([np.sqrt(2)], rel=1e-6)
    assert record["critic_loss"] == pytest.approx([((w00 - 2) / 0.2) ** 2], rel=1e-5)
    assert record["episodes"].tolist() == [0]
    assert np.isnan(record["return_mean"]).all()


def test_the_second_step_takes_the_action_that_the_first_bootstrapped_from() -> None:
    """a' = 1 is carried over to s = 1: r = 4, the end, no bootstrap.

    theta(1,.) = 0.1 * Q(1,1) * ((0, 1) - (1/2, 1/2)) = 0.1 * 6 * (-1/2, 1/2) = (-0.3, 0.3);
    delta = 4 - Q(1,1) = 4 - 6 = -2, and w(1,1) = 6 + 0.2 * (-2) = 5.6. The episode's return is 3 + 4."""
    seed, algorithm = seed_drawing(1), learner(two_states())
    state, _ = algorithm.iterate(started(algorithm, seed, action=0), [seed], 1)
    state, record = algorithm.iterate(state, [seed], 2)
    np.testing.assert_allclose(rows(state["theta"]), [[0.1, -0.1], [-0.3, 0.3], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(rows(state["w"]), [[2.8, 1], [2, 5.6], [0, 0]], rtol=1e-6)
    assert record["return_mean"].tolist() == [7.0]
    assert state["online.state"].tolist() == [[[0]]]


@pytest.mark.parametrize(
    ("time_limit", "w00"),
    [
        (True, 2.8),  # a limit cuts the episode: delta = 3 + 0.5 * 6 - 2 = 4, as if nothing had happened
        (False, 2.2),  # the problem ends: delta = 3 - 2 = 1
    ],
)
def test_a_truncation_bootstraps_from_the_true_last_state_and_a_termination_does_not(
    time_limit: bool, w00: float
) -> None:
    seed, algorithm = seed_drawing(1), learner(two_states(time_limit, horizon=1))
    state, record = algorithm.iterate(started(algorithm, seed, action=0), [seed], 1)
    np.testing.assert_allclose(rows(state["w"]), [[w00, 1], [2, 6], [0, 0]], rtol=1e-6)
    assert record["episodes"].tolist() == [1]


def test_the_next_episode_begins_with_an_action_of_its_own() -> None:
    """pi takes 0 in s = 0 and 1 in s = 1 for sure, and a limit cuts the episode in s' = 1: its bootstrap is of a' = 1,
    delta = 3 + 0.5 * 6 - 2 = 4 and w(0,0) = 2.8, but in the first state of the next, s = 0, the action is 0."""
    algorithm = learner(two_states(horizon=1))
    state = started(algorithm, 0, action=0) | {"theta": torch.tensor([[50.0, -50, -50, 50, 0, 0]])}
    state, _ = algorithm.iterate(state, [0], 1)
    np.testing.assert_allclose(rows(state["w"])[0], [2.8, 1], rtol=1e-6)
    assert state["action"].tolist() == [[0]]


def test_the_next_action_is_drawn_before_the_policy_moves() -> None:
    """A step of size 1000 from s = 0 to itself (a = 1, Q = 1) makes pi(1|0) = 1; a' is still that of the uniform pi."""
    algorithm, seeds = learner(two_states(), lr=1000.0), [*range(20)]
    drawn = [int(source.random((1, 2))[0, 0] >= 0.5) for source in streams(seeds, "actions", 1)]
    assert set(drawn) == {0, 1}
    for seed, action in zip(seeds, drawn, strict=True):
        state, _ = algorithm.iterate(started(algorithm, seed, action=1), [seed], 1)
        assert state["theta"][0, 1] > 100
        assert state["action"].item() == action


def test_a_long_iteration_is_many_short_ones() -> None:
    """But for the random numbers: with one action nothing is drawn, and rewards and transitions are sure."""
    sure = Tabular(from_outcomes(lambda s, a: [(1.0, (s + 1) % 3, float(s), s == 1)], 3, 1, start=0, horizon=50), True)
    state = {}
    for steps in (1, 12):
        algorithm = QActorCritic(
            sure, Categorical(3, 1), Approximator.build(3, [], sure.actions), GAMMA, LR, CRITIC_LR, steps
        )
        state[steps] = algorithm.initial([0])
        for iteration in range(12 // steps):
            state[steps], _ = algorithm.iterate(state[steps], [0], iteration + 1)
    for name, x in state[1].items():
        assert torch.equal(x, state[12][name]), name


SMALL_STEPS = "algorithm.lr=0.0001", "algorithm.critic_lr=0.001"  # rewards of -100 a step ask for them


@pytest.mark.parametrize(
    "overrides",
    [
        ("env=gridworld", "env.horizon=20"),
        ("env=frozenlake", "policy.hidden=[7]", "algorithm.critic_hidden=[5]"),
        ("env=cartpole", "env.horizon=15", "algorithm.critic_hidden=[16]", *SMALL_STEPS),
        ("env=lqg", "env.horizon=4", "algorithm.critic_hidden=[16]", *SMALL_STEPS),
        ("env=pendulum", "env.horizon=30", "policy.spread=state", *SMALL_STEPS),
    ],
    ids=lambda words: words[0],
)
def test_a_seed_has_the_same_bits_alone_among_others_and_after_a_stop(overrides: tuple[str, ...]) -> None:
    assert_bits(compose("algorithm=q_actor_critic", *overrides, "algorithm.steps=25").config)


def plain(algorithm: QActorCritic, theta: Tensor, w: Tensor, s: Tensor, a: Tensor, r: float) -> list[Tensor]:
    """theta and w after a step that ends the episode, by autograd on the slide's lines: [P] each, double precision."""
    theta, w = theta.double().requires_grad_(), w.double().requires_grad_()
    log_prob = plain_log_prob(algorithm.policy, theta, s.numpy(), a.numpy())
    q = plain_network(algorithm.critic.network, w, torch.cat([s, a], -1).double())
    (z,) = torch.autograd.grad(log_prob.sum(), theta)
    (grad_q,) = torch.autograd.grad(q.sum(), w)
    return [(theta + LR * q.item() * z).detach(), (w + CRITIC_LR * (r - q.item()) * grad_q).detach()]


def test_with_perceptrons_one_step_is_autograds() -> None:
    """LQG of horizon 1 ends at once, so that the target is the reward: theta and w move as autograd says."""
    config: Any = compose(
        "algorithm=q_actor_critic",
        *("env=lqg", "env.horizon=1", "policy.hidden=[4]", "policy.spread=state", "algorithm.critic_hidden=[6,3]"),
        *("algorithm.steps=1", f"algorithm.lr={LR}", f"algorithm.critic_lr={CRITIC_LR}"),
    ).config
    algorithm = q_actor_critic(config)
    state = algorithm.initial([3])
    s = torch.from_numpy(algorithm.env.observe(state["online.state"].numpy()))
    after, record = algorithm.iterate(state, [3], 1)
    r = record["return_mean"].item()
    theta, w = plain(algorithm, state["theta"][0], state["w"][0], s[0], state["action"][0], r)
    torch.testing.assert_close(after["theta"][0].double(), theta, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(after["w"][0].double(), w, rtol=1e-4, atol=1e-6)
    assert not torch.equal(after["theta"], state["theta"])
    assert not torch.equal(after["w"], state["w"])


def test_it_learns_the_gridworld() -> None:
    """Exactly evaluated, each of 5 seeds: from -2.29 at the uniform policy to above 0.4 (the best policy: 0.608)."""
    steps = "algorithm.lr=0.3", "algorithm.critic_lr=0.2"
    config = compose("algorithm=q_actor_critic", "env=gridworld", *steps).config
    state, _ = trained(config, [*range(5)], 50)
    mdp = replace(build.environment(config).mdp, gamma=1.0)
    values = [J(mdp, softmax(theta.double().numpy().reshape(25, 4))) for theta in state["theta"]]
    assert J(mdp, softmax(mdp.logits)) < -2
    assert min(values) > 0.4


def test_the_deterministic_policy_is_the_mode_of_the_one_that_learns() -> None:
    config = compose("algorithm=q_actor_critic", "env=gridworld", "env.horizon=20").config
    state, _ = trained(config, [0, 1], 3)
    env, policy, theta = build.learner(config).deterministic(state)
    assert isinstance(policy, Greedy)
    episodes = rollout(policy, theta, env, 4, streams([0, 1], "environment"), streams([0, 1], "actions"))
    best = theta.reshape(2, 25, 4).argmax(-1).numpy()
    for s in range(2):
        taken = episodes.mask[s]
        np.testing.assert_array_equal(episodes.actions[s][taken], best[s][episodes.observations[s].argmax(-1)[taken]])
