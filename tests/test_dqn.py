"""DQN: an update worked by hand, its gradient against autograd of the Huber loss, its buffer, its bits; it learns."""

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pytest
import torch
from bits import assert_bits, trained
from conftest import compose, parameters, plain_network, relative_error
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from ablate import build
from ablate.envs.outcomes import from_outcomes
from ablate.envs.tabular import Tabular
from ablate.errors import UserError
from ablate.learners.base import State, mean_of_updates, part
from ablate.learners.dqn import DQN, by_update, sampled, store_
from ablate.networks import Network
from ablate.optimizers import Adam, Moments
from ablate.policies import GreedyValues

SETTINGS: dict[str, Any] = dict(
    gamma=0.9,
    environments=1,
    steps=4,
    updates=1,
    batch_size=3,
    capacity=8,
    learning_starts=0,
    target_every=1,
    exploration_steps=100.0,
    final_epsilon=0.1,
    double_q=False,
)


def corridor(horizon: int = 100) -> Tabular:
    """States 0, 1 and the end, 2: action 0 stays with reward 0.1, action 1 goes on with reward 1."""

    def outcomes(s: int, a: int) -> list:
        return [(1.0, min(s + 1, 2), 1.0, s == 1) if a else (1.0, s, 0.1, False)]

    return Tabular(from_outcomes(outcomes, 3, 2, start=0, horizon=horizon), time_limit=True)


def dqn(network: Network, **more: Any) -> DQN:
    return DQN(corridor(), network, Adam(0.01), **SETTINGS | more)


TABLE = Network((3, 2), bias=False)


def batch(s: list[int], a: list[int], r: list[float], following: list[int]) -> State:
    one_hot = torch.eye(3)
    return {
        "observations": one_hot[s][None],
        "actions": torch.tensor([a]),
        "rewards": torch.tensor([r]),
        "next_observations": one_hot[following][None],
        "terminated": torch.tensor([following]) == 2,
    }


def estimated(learner: DQN, w: Tensor, target: Tensor, steps: State) -> tuple[Tensor, Tensor]:
    """The estimate of one batch."""
    gradient = torch.full_like(w, nan)
    bootstrap = learner.bootstrap(target, {name: x[:, None] for name, x in steps.items()})[:, 0]
    return gradient, learner.estimator(w, gradient)(steps | {"bootstrap": bootstrap})


@pytest.mark.parametrize(
    ("double_q", "g"),
    [
        # y = 0.1 + 0.9 max(1, 2) = 1.9, y - Q(0,1) = 1.4, beyond 1: slope 1
        (False, 1.0),
        # argmax Q_w(1,.) is a = 0, so y = 0.1 + 0.9 Q_w-(1,0) = 0.1 + 0.9 * 1 = 1.0, y - Q(0,1) = 0.5
        (True, 0.5),
    ],
)
def test_an_updates_gradient_is_as_worked_by_hand(double_q: bool, g: float) -> None:
    """gamma = 0.9, tables Q_w(0,.) = (0, 0.5), Q_w(1,.) = (4, 3) and Q_w-(1,.) = (1, 2). Of two steps, (s=0, a=1,
    r=0.1, s'=1) is as below; (s=1, a=1, r=1, the end) has y = 1, y - Q(1,1) = -2, slope -1. Each counts half."""
    w, target = torch.tensor([[0, 0.5, 4, 3, 0, 0]]), torch.tensor([[7.0, 7, 1, 2, 9, 9]])
    gradient, error = estimated(
        dqn(TABLE, batch_size=2, double_q=double_q), w, target, batch([0, 1], [1, 1], [0.1, 1.0], [1, 2])
    )
    np.testing.assert_allclose(gradient, [[0, g / 2, 0, -1 / 2, 0, 0]], rtol=1e-6)
    first = 0.5 if double_q else 1.4
    np.testing.assert_allclose(error, [(first**2 + 2**2) / 2], rtol=1e-6)


@pytest.mark.parametrize("double_q", [False, True], ids=["max", "double"])
@pytest.mark.parametrize("sizes", [(3, 9, 7, 4), (3, 128, 128, 2)])
def test_the_gradient_is_autograds_of_the_huber_loss(sizes: tuple[int, ...], double_q: bool) -> None:
    network, seeds, B, A = Network(sizes, activation="relu"), [1, 2, 3], 64, sizes[-1]
    learner = dqn(network, batch_size=B, double_q=double_q)
    w, target = parameters(network, seeds), parameters(network, [11, 12, 13])
    rng = np.random.default_rng(0)
    steps = {
        "observations": torch.from_numpy(rng.normal(size=(3, B, 3)).astype(np.float32)),
        "actions": torch.from_numpy(rng.integers(0, A, (3, B))),
        "rewards": torch.from_numpy(rng.normal(size=(3, B)).astype(np.float32)),
        "next_observations": torch.from_numpy(rng.normal(size=(3, B, 3)).astype(np.float32)),
        "terminated": torch.from_numpy(rng.random((3, B)) < 0.3),
    }
    gradient, error = estimated(learner, w, target, steps)
    wanted, errors = [], []
    for s in range(3):
        own = w[s].double().requires_grad_()
        x, following = steps["observations"][s].double(), steps["next_observations"][s].double()
        next_q = plain_network(network, target[s].double(), following)
        best = (plain_network(network, own, following) if double_q else next_q).argmax(1)
        bootstrap = 0.9 * next_q[torch.arange(B), best] * ~steps["terminated"][s]
        y = (steps["rewards"][s] + bootstrap).detach()
        q = plain_network(network, own, x)[torch.arange(B), steps["actions"][s]]
        smooth_l1_loss(q, y).backward()
        wanted.append(-own.grad if own.grad is not None else torch.zeros_like(own))
        errors.append((y - q).detach())
        assert (errors[-1].abs() > 1).any()
        assert (errors[-1].abs() < 1).any()
    assert relative_error(gradient, torch.stack(wanted)) < 1e-5
    torch.testing.assert_close(error.double(), torch.stack(errors).square().mean(1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("batch_size", [1, 64, 100])
def test_values_of_all_batches_at_once_are_those_of_each(batch_size: int) -> None:
    network, generator = Network((3, 128, 128, 2), activation="relu"), torch.Generator().manual_seed(0)
    w, x = parameters(network, [1, 2]), torch.randn(2, 7, batch_size, 3, generator=generator)
    terminated = torch.rand(2, 7, batch_size, generator=generator) < 0.3
    batches = {"next_observations": x, "terminated": terminated}
    found = dqn(network, batch_size=batch_size).bootstrap(w, batches)
    for update in range(7):
        wanted = 0.9 * network.forward(w, x[:, update])[0] * ~terminated[:, update, :, None]
        torch.testing.assert_close(found[:, update], wanted, rtol=1e-5, atol=1e-6)


def test_the_batches_of_updates_are_those_of_the_iteration_in_turn() -> None:
    batches = {"actions": torch.arange(12).view(2, 3, 2), "rewards": torch.arange(12.0).view(2, 3, 2)}
    for update, batch in enumerate(by_update(batches)):
        assert all(torch.equal(x, batches[name][:, update]) for name, x in batch.items())
        assert batch.keys() == batches.keys()
    assert update == 2


@given(st.integers(1, 9), st.lists(st.integers(1, 9), max_size=6))
def test_the_buffer_is_a_ring(capacity: int, batches: list[int]) -> None:
    """Against a list that is written to in turn, at its oldest place when it is full."""
    plain: list[int] = [0] * capacity
    replay = {"actions": torch.zeros(2, capacity, dtype=torch.int64), "rewards": torch.zeros(2, capacity)}
    first = 0
    for size in (min(size, capacity) for size in batches):
        numbers = torch.arange(first + 1, first + size + 1)
        new = {"actions": torch.stack([numbers, -numbers]), "rewards": torch.stack([numbers, -numbers]).float()}
        store_(replay, new, first)
        for number in numbers.tolist():
            plain[(number - 1) % capacity] = number
        first += size
        assert replay["actions"].tolist() == [plain, [-number for number in plain]]
        assert replay["rewards"].tolist() == replay["actions"].tolist()


def test_samples_are_of_the_seeds_own_buffer() -> None:
    x = torch.arange(2 * 5 * 3).view(2, 5, 3).float()
    replay = {"observations": x, "actions": torch.arange(10).view(2, 5)}
    places = torch.tensor([[[0, 4], [2, 2], [1, 0]], [[3, 3], [4, 0], [0, 1]]])
    found = sampled(replay, places)
    for s in range(2):
        assert torch.equal(found["observations"][s], x[s, places[s]])
        assert torch.equal(found["actions"][s], replay["actions"][s, places[s]])


def collected(learner: DQN, iterations: int) -> tuple[State, State]:
    """Seed 5's buffer and everything else, after some iterations."""
    state = learner.initial([5])
    for iteration in range(1, iterations + 1):
        state, _ = learner.iterate(state, [5], iteration)
    return part("replay", state), state


def test_the_buffer_holds_what_happened() -> None:
    """Also over an episode's end: the state that it ended in, not the first of the next. A time limit of 3 ends
    episodes that have not come to the end, and is not stored as a termination."""
    learner = DQN(corridor(horizon=3), TABLE, Adam(0.01), **SETTINGS | {"capacity": 40, "final_epsilon": 1.0})
    replay, _ = collected(learner, 10)
    s, a, following = (
        replay["observations"][0].argmax(-1),
        replay["actions"][0],
        replay["next_observations"][0].argmax(-1),
    )
    assert torch.equal(following, torch.where(a == 1, s + 1, s))
    assert torch.equal(replay["terminated"][0], following == 2)
    assert torch.equal(replay["rewards"][0], torch.where(a == 1, 1.0, 0.1))
    time, cut = 0, 0
    for i in range(39):
        time += 1
        over = following[i] == 2 or time == 3
        assert s[i + 1] == (0 if over else following[i])
        cut += int(over and following[i] != 2)
        time = 0 if over else time
    assert cut > 0


def test_a_full_buffer_keeps_the_newest_steps() -> None:
    whole, _ = collected(dqn(TABLE, capacity=40, learning_starts=99), 10)
    ring, _ = collected(dqn(TABLE, capacity=8, learning_starts=99), 10)
    for name, x in ring.items():
        assert torch.equal(x, whole[name][:, 32:])  # steps 32 .. 39 of 40, from place 32 mod 8 = 0 on


def test_an_iteration_repeated_from_the_state_before_it_is_the_same() -> None:
    """Though the buffer is written to in place: a run that is saved while an iteration is under way begins it anew."""
    learner = dqn(TABLE, capacity=8, learning_starts=8)
    _, state = collected(learner, 6)
    iteration = 7
    once = {name: x.clone() for name, x in learner.iterate(state, [5], iteration)[0].items()}
    again, _ = learner.iterate(state, [5], iteration)
    assert all(torch.equal(again[name], x) for name, x in once.items())
    assert not torch.equal(again["w"], state["w"])


def test_a_buffer_that_is_not_full_is_sampled_as_far_as_it_is_filled() -> None:
    """So its room does not matter: 3 iterations of 4 steps fit both."""
    (_, small), (_, large) = (collected(dqn(TABLE, capacity=room), 3) for room in (12, 1000))
    assert torch.equal(small["w"], large["w"])


@dataclass(frozen=True)
class Counting(Adam):
    """Adam that knows how many steps it took of each parameter."""

    def initial(self, theta: Tensor) -> Moments:
        return super().initial(theta) | {"steps": torch.zeros_like(theta)}

    def ascend_(self, theta: Tensor, gradient: Tensor, moments: Moments, step: int) -> Tensor:
        moments["steps"] += 1
        assert (moments["steps"] == step).all()
        return super().ascend_(theta, gradient, moments, step)


def test_the_mean_over_updates_is_of_a_seed() -> None:
    assert mean_of_updates([torch.tensor([1.0, 2.0]), torch.tensor([4.0, 3.0])]).tolist() == [2.5, 2.5]


def test_gradient_steps_are_counted_from_the_first_on() -> None:
    """4 steps an iteration and learning_starts=9: iterations 3, 4 and 5 learn, 2 gradient steps each."""
    learner = DQN(corridor(), TABLE, Counting(0.01), **SETTINGS | {"learning_starts": 9, "updates": 2})
    _, state = collected(learner, 5)
    assert (state["optimizer.steps"] == 6).all()


def test_exploration_falls_in_a_straight_line_after_the_first_steps() -> None:
    """From 1 to 0.1 over 100 steps, but 1 for the first 20."""
    learner = dqn(TABLE, learning_starts=20)
    assert [learner.epsilon(t) for t in (0, 19)] == [1, 1]
    found = [learner.epsilon(t) for t in (20, 50, 100, 1000)]
    assert found == pytest.approx([1 - 0.9 * 0.2, 1 - 0.9 * 0.5, 0.1, 0.1])


def test_actions_are_greedy_but_for_epsilon() -> None:
    """Q(s,1) > Q(s,0) everywhere: of 2,000 steps with epsilon = 0.2 a tenth take action 0.

    A binomial count of 2,000 with p = 0.1 is out of [146, 254] with probability 1e-4; the seed is fixed."""
    learner = dqn(TABLE, steps=2000, environments=1, capacity=2000, learning_starts=0)
    state = learner.initial([5])
    walk = learner.online.walk(part("online", state), [5], 1, 2000)
    steps = learner.act(torch.tensor([[0.0, 1, 0, 1, 0, 1]]), walk, [5], 1, np.full(2000, 0.2))
    assert 146 <= int((steps["actions"] == 0).sum()) <= 254


def test_the_target_is_a_copy_as_often_as_is_asked_and_learning_starts_when_it_should() -> None:
    """4 steps an iteration: 8 steps are more than learning_starts=7 from iteration 2 on. The target is the table at the
    start of iterations 1, 4, 7."""
    learner = dqn(TABLE, learning_starts=7, target_every=3)
    state, tables, targets = learner.initial([5]), [], []
    for iteration in range(1, 8):
        tables.append(state["w"])
        state, record = learner.iterate(state, [5], iteration)
        targets.append(state["target"])
        assert np.isnan(record["critic_loss"]).all() == (iteration == 1)
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[1], tables[2])
    for k, target in enumerate(targets):
        assert torch.equal(target, tables[k - k % 3])


SMALL = (
    "algorithm=dqn",
    "iterations=20",
    "algorithm.steps=20",
    "algorithm.updates=5",
    "algorithm.learning_starts=30",
    "algorithm.batch_size=7",
    "algorithm.hidden=[16]",
)


@pytest.mark.parametrize(
    "overrides",
    [
        (
            "algorithm.double_q=true",
            "algorithm.target_every=2",
            "algorithm.environments=3",
            "algorithm.activation=tanh",
        ),
        ("algorithm.activation=tanh", "algorithm.hidden=[9,5]"),
        ("algorithm.buffer_size=50",),  # written over in the third iteration
        ("env=pendulum", "env.horizon=11", "algorithm.action_bins=5"),
        ("env=gridworld", "algorithm.hidden=[]"),
    ],
    ids=" ".join,
)
def test_a_seeds_bits_are_its_own(overrides: tuple[str, ...]) -> None:
    assert_bits(compose(*SMALL, *overrides).config, iterations=6)


def test_a_seeds_bits_are_its_own_at_the_default_sizes() -> None:
    assert_bits(compose("algorithm=dqn", "algorithm.learning_starts=300", "algorithm.updates=3").config)


def test_a_buffer_is_no_larger_than_the_run_and_no_smaller_than_an_iteration() -> None:
    assert build.learner(compose(*SMALL).config).capacity == 20 * 20
    assert build.learner(compose(*SMALL, "algorithm.buffer_size=21").config).capacity == 21
    with pytest.raises(UserError, match=r"cannot hold the 20 steps of an iteration; write algorithm.buffer_size=20"):
        build.learner(compose(*SMALL).config | {"algorithm": _smaller()})


def _smaller() -> dict[str, Any]:
    return compose(*SMALL).config["algorithm"] | {"buffer_size": 19}


@pytest.mark.parametrize("double_q", ["false", "true"])
def test_it_learns_the_shortest_way(double_q: str) -> None:
    """In a grid of 3 x 2: the greedy policy of both seeds takes the 3 steps to the goal. Fixed seeds."""
    job = compose(
        "algorithm=dqn", "env=gridworld", "env.rows=3", "env.columns=2", "env.horizon=25", "iterations=40",
        "algorithm.steps=50", "algorithm.updates=25", "algorithm.learning_starts=200", "algorithm.hidden=[32]",
        "algorithm.exploration_fraction=0.5", f"algorithm.double_q={double_q}",
    )  # fmt: skip
    _, records = trained(job.config, [0, 1], 40)
    assert np.mean([r["episode_length_mean"] for r in records[:4]]) > 8
    assert np.mean([r["episode_length_mean"] for r in records[-4:]]) < 4


def test_the_deterministic_policy_is_greedy() -> None:
    learner = build.learner(compose(*SMALL).config)
    state = learner.initial([0, 3])
    env, policy, w = learner.deterministic(state)
    assert env is learner.env
    assert policy == GreedyValues(learner.network)
    assert torch.equal(w, state["w"])
