"""The learner: a run is a pure function of its seed, for every variant, and it learns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import choices, compose, variants

from ablate import build
from ablate.configuration import Job
from ablate.episodes.trajectories import Trajectories
from ablate.exact import J, softmax
from ablate.learners.base import Record, State
from ablate.learners.policy_gradient import summary

SMALL = ("env.rows=3", "env.columns=2", "env.horizon=25", "episodes=5")  # ragged: some get there, some are cut
AMONG = (2, 7, 9, 4)


def trained(job: Job, seeds: Sequence[int], iterations: int) -> tuple[State, list[Record]]:
    learner = build.learner(job.config)
    state, records = learner.initial(seeds), []
    for iteration in range(1, iterations + 1):
        state, record = learner.iterate(state, seeds, iteration)
        records.append(record)
    return state, records


def assert_same_bits(job: Job, iterations: int, among: Sequence[int] = AMONG, seed: int = 7) -> None:
    """Seed 7's parameters, moments, critic and records, alone and among others, to the last bit."""
    at = among.index(seed)
    alone, its = trained(job, [seed], iterations)
    together, all_of = trained(job, among, iterations)
    assert alone.keys() == together.keys()
    for name, x in alone.items():
        assert torch.equal(x[0], together[name][at]), name
    for one, every in zip(its, all_of, strict=True):
        assert one.keys() == every.keys()
        for name, value in one.items():
            assert value.shape == (1,)
            assert every[name].shape == (len(among),)
            np.testing.assert_array_equal(value[0], every[name][at], err_msg=name)


@pytest.mark.parametrize(("phi", "baseline"), variants())
def test_a_seed_trains_the_same_bits_alone_and_among_others_on_a_table(phi: str, baseline: str) -> None:
    assert_same_bits(compose("env=gridworld", *SMALL, f"phi={phi}", f"baseline={baseline}"), iterations=2)


@pytest.mark.parametrize(
    ("phi", "baseline"),
    [*((phi, "none") for phi in choices("phi")), ("rtg", "optimal"), ("return", "time"), ("q", "value")],
)
def test_a_seed_trains_the_same_bits_alone_and_among_others_on_cartpole(phi: str, baseline: str) -> None:
    """At the default sizes, with three neighbours and with nine."""
    job = compose(f"phi={phi}", f"baseline={baseline}")
    assert_same_bits(job, iterations=2)
    if phi == "advantage":
        assert_same_bits(job, iterations=2, among=[*range(10)])


@pytest.mark.parametrize(
    "overrides",
    [
        ("env=chain", "phi=advantage"),
        ("env=bandit", "phi=rtg", "baseline=loo"),
        ("env=lqg", "phi=q", "baseline=value"),
        ("env=lqg", "phi=td", "policy.spread=state", "policy.hidden=[5]"),
        ("env=pendulum", "phi=rtg", "baseline=value", "policy.spread=constant", "env.horizon=30"),
        ("env=chain", "phi=q", "baseline=value", "critic=exact"),
        ("phi=advantage", "episodes=1", "whiten=true"),
        ("phi=advantage", "episodes=3", "policy.hidden=[7,5]", "critic.hidden=[9]"),
        ("phi=rtg", "baseline=value", "policy.hidden=[]", "critic.hidden=[]", "critic.clock=product", "env.horizon=50"),
        ("phi=rtg", "discount_scores=true", "optimizer=sgd", "optimizer.max_grad_norm=0.5", "episodes=7"),
    ],
    ids=" ".join,
)
def test_a_seed_trains_the_same_bits_alone_and_among_others_elsewhere(overrides: tuple[str, ...]) -> None:
    assert_same_bits(compose(*overrides), iterations=3)


def test_a_run_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    """What is not in the state is in no generator either: a checkpoint needs nothing else."""
    job = compose("env=gridworld", *SMALL, "phi=advantage")
    whole, records = trained(job, [3, 4], 4)
    state, _ = trained(job, [3, 4], 2)
    learner = build.learner(job.config)  # in another process
    for iteration in (3, 4):
        state, record = learner.iterate({name: x.clone() for name, x in state.items()}, [3, 4], iteration)
    assert all(torch.equal(whole[name], state[name]) for name in whole)
    assert all(np.array_equal(records[-1][name], record[name], equal_nan=True) for name in record)


@pytest.mark.parametrize("phi", ["rtg", "advantage"])
def test_a_seed_has_the_same_bits_after_a_stop(phi: str) -> None:
    assert_bits(compose("env=gridworld", *SMALL, f"phi={phi}").config)


def test_a_critic_learns_from_episodes_after_it_has_judged_them() -> None:
    """A linear Q starts at 0: the first gradient is nothing at all, and the second something."""
    job = compose("env=gridworld", *SMALL, "phi=q", "critic.hidden=[]")
    _, (first, second) = trained(job, [0, 1], 2)
    assert not first["grad_norm"].any()
    assert second["grad_norm"].all()


def test_seeds_differ_and_so_do_iterations() -> None:
    _, records = trained(compose("episodes=4"), [0, 1, 2], 2)
    norms = np.array([record["grad_norm"] for record in records])
    assert len(np.unique(norms)) == norms.size


def test_all_seeds_of_a_linear_policy_start_alike_and_see_different_episodes() -> None:
    job = compose("env=chain")
    learner = build.learner(job.config)
    assert not learner.initial([0, 1])["theta"].any()
    _, records = trained(job, [0, 1], 1)
    assert records[0]["return_mean"][0] != records[0]["return_mean"][1]


@pytest.mark.parametrize("phi", choices("phi"))
def test_ascent_raises_the_exact_value_of_the_policy(phi: str) -> None:
    """Chain, uniform at first (J = 39): after 30 iterations each of 4 seeds is better off, and by 5 on average."""
    job = compose("env=chain", f"phi={phi}")
    learner = build.learner(job.config)
    state, _ = trained(job, [0, 1, 2, 3], 30)
    mdp = learner.env.mdp
    values = [J(mdp, softmax(theta.double().numpy().reshape(mdp.num_states, -1))) for theta in state["theta"]]
    uniform = J(mdp, softmax(mdp.logits))
    assert min(values) > uniform
    assert np.mean(values) > uniform + 5


def test_a_record_says_what_happened() -> None:
    """Two episodes a seed, by hand: of returns 6 and 2, and of 4 and 4."""
    rewards = np.array([[[1.0, 2.0, 3.0], [2.0, 0.0, 0.0]], [[4.0, 0.0, 0.0], [1.0, 3.0, 0.0]]])
    nothing: Any = np.zeros(0)
    lengths = np.array([[3, 1], [1, 2]])
    record = summary(Trajectories(nothing, nothing, rewards, lengths, nothing, nothing, nothing))
    assert {name: value.tolist() for name, value in record.items()} == {
        "env_steps": [4, 3],
        "episodes": [2, 2],
        "return_mean": [4.0, 4.0],
        "return_std": [np.sqrt(8.0), 0.0],
        "episode_length_mean": [2.0, 1.5],
    }


def test_a_record_of_training_has_the_critics_signals_where_there_is_one() -> None:
    plain = {"env_steps", "episodes", "return_mean", "return_std", "episode_length_mean", "entropy", "grad_norm"}
    for overrides, more in ((["phi=rtg"], set()), (["phi=td"], {"critic_loss", "critic_explained_variance"})):
        _, (record,) = trained(compose("env=gridworld", *SMALL, *overrides), [0], 1)
        assert set(record) == plain | more
        assert all(np.isfinite(value).all() for value in record.values())
    assert record["entropy"][0] == pytest.approx(np.log(4), abs=1e-6)  # of four actions, uniform at first
