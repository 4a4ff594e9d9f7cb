"""Code of the user's own: its random numbers belong to one seed, and it cannot change what is recorded."""

import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Numbers, numbers
from conftest import compose

from ablate import build, global_generators
from ablate.baselines import leave_one_out
from ablate.configuration import Job
from ablate.envs.gym import Gymnasium
from ablate.errors import UserError
from ablate.phi import Signals, reward_to_go
from ablate.runs.train import train
from ablate.store import Cell
from ablate.user_code import UserBaseline, UserCritic, UserPhi, runs_users

SMALL = "iterations=3", "episodes=4", "probe=off", "policy.hidden=[]"


def cell_of(job: Job, outputs: Path) -> Cell:
    cell = Cell.at(outputs, "main", job.overrides, job.config)
    cell.prepare()
    return cell


def trained(outputs: Path, *blocks: Sequence[int], job: Job, stop_after: int | None = None) -> Numbers:
    """What blocks of seeds record, one after another; each interrupted after so many iterations, then gone on with."""
    cell = cell_of(job, outputs)
    for block in blocks:
        if stop_after:
            asked = iter([False] * stop_after + [True])
            train(cell, block, 1e9, lambda *_: None, lambda: next(asked))  # noqa: B023
        train(cell, block, 1e9, lambda *_: None, lambda: False)
    return numbers(outputs)


# Global generators


@pytest.mark.parametrize(
    "kind",
    [
        "NumPys",
        "Normal",
        "Pythons",
        "Torchs",
        "AtReset",
        "AtBirth",
        "Rarely",
        "Unseeded",
        "Samples",
        "Modules",
        "Old",
        "Classs",
        "Fixed",
        "System",
    ],
)
def test_global_generators_are_each_seeds_own(kind: str, tmp_path: Path) -> None:
    """Independent seeds; the same numbers in one block, in several, in another order, and interrupted in the middle."""
    job = compose("env=gym", f"env.id=odd_environments:{kind}-v0", *SMALL, "evaluate.every=2", "evaluate.episodes=3")
    before = global_generators.states()
    whole = trained(tmp_path / "whole", [0, 1, 2], job=job)
    assert global_generators.states() == before or kind == "AtBirth"  # which draws while it is built, outside of a run
    random.random(), np.random.rand(3), torch.rand(5)  # noqa: NPY002  # another process stands elsewhere
    assert trained(tmp_path / "apart", [2], [1], [0], job=job) == whole
    assert trained(tmp_path / "in the middle", [2, 0], [1], job=job, stop_after=2) == whole
    for column in ("curves return_mean", "curves evaluation_return_mean"):
        recorded = [np.frombuffer(run[column])[-1] for run in whole.values()]
        assert len(set(recorded)) == 3 or kind == "Rarely", "seeds are to differ"


def test_seeds_that_draw_nothing_stay_together(tmp_path: Path) -> None:
    """The price of seeds apart is paid by those alone that draw."""
    job = compose("env=gym", "env.id=CartPole-v1", *SMALL)
    assert runs_users(job.config)
    calls: list[int] = []
    from ablate.runs.isolated import IsolatedLearner

    learner = build.learner(job.config)

    class Counting:
        initial = learner.initial

        def iterate(self, state: Any, seeds: Sequence[int], iteration: int) -> Any:
            calls.append(len(seeds))
            return learner.iterate(state, seeds, iteration)

    counting: Any = Counting()
    apart = IsolatedLearner(counting)
    state, _ = apart.iterate(apart.initial([0, 1]), [0, 1], 1)
    assert calls == [2]
    assert not apart.drawn
    assert {len(x) for x in state.values()} == {2}


def noisy_phi(signals: Signals) -> Any:
    return reward_to_go(signals) + torch.randn(signals.mask.shape).numpy()


def noisy_baseline(phi: Any, signals: Signals, products: Any) -> Any:
    return np.random.randn(*phi.shape)  # noqa: NPY002


@pytest.mark.parametrize(
    "axis",
    [("phi._target_=test_user_code.noisy_phi",), ("baseline=loo", "baseline._target_=test_user_code.noisy_baseline")],
)
@pytest.mark.parametrize("probe", ["off", "online"])
def test_a_phi_and_a_baseline_draw_for_each_seed_too(axis: tuple[str, ...], probe: str, tmp_path: Path) -> None:
    job = compose("env=chain", *SMALL[:2], f"probe={probe}", *axis)
    whole = trained(tmp_path / "whole", [0, 1, 2], job=job)
    assert trained(tmp_path / "apart", [1], [0, 2], job=job) == whole
    assert len({run["curves grad_norm"] for run in whole.values()}) == 3


# What user code does before it runs


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('needs a licence')", "importing MODULE ends in RuntimeError: needs a licence"),
        ("import nothing_like_that", "No module named 'nothing_like_that'; install the package MODULE"),
        ("1 / 0", "importing MODULE ends in ZeroDivisionError: division by zero"),
    ],
)
def test_a_package_that_cannot_be_imported_is_refused_in_one_line(
    code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"package_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    with pytest.raises(UserError) as refused:
        compose("env=gym", f"env.id={name}:Some-v0")
    assert told.replace("MODULE", name) in str(refused.value)


@pytest.mark.parametrize("how", ["RuntimeError", "AssertionError", "KeyError"])
def test_an_environment_that_cannot_be_made_is_refused_in_one_line(how: str) -> None:
    with pytest.raises(UserError, match=f"env.id=Unmakeable-v0 cannot be made with env.kwargs=.*: {how}: "):
        compose("env=gym", "env.id=odd_environments:Unmakeable-v0", f"+env.kwargs.how={how}")


# What user code is handed


def mixing_seeds(signals: Signals) -> Any:
    return reward_to_go(signals) - signals.rewards.mean()


def mixing_seeds_too(phi: Any, signals: Signals, products: Any) -> Any:
    return np.full(phi.shape, phi.mean() + products(phi, phi).mean())


@pytest.mark.parametrize(
    "axis",
    [
        ("phi._target_=test_user_code.mixing_seeds",),
        ("baseline=mean", "baseline._target_=test_user_code.mixing_seeds_too"),
    ],
)
def test_a_mean_over_all_that_is_handed_is_not_over_other_seeds(axis: tuple[str, ...], tmp_path: Path) -> None:
    job = compose("env=cartpole", *SMALL, *axis)
    assert trained(tmp_path / "whole", [0, 1, 2], job=job) == trained(tmp_path / "apart", [0], [1, 2], job=job)


def signals() -> Signals:
    mask = np.arange(4) < np.array([[4, 2], [1, 3]])[..., None]
    return Signals(mask * 2.0, mask, 0.9, values=mask * 1.0)


def test_a_users_phi_is_lent_log_probabilities_of_its_own_seed() -> None:
    """Called for a seed at a time, up to the end of its longest episode, and not able to write into them."""
    mask = signals().mask
    found = np.random.default_rng(0).normal(size=mask.shape) * mask
    lent = replace(signals(), log_prob=lambda: found)
    ratio = UserPhi(lambda s: np.exp(s.log_probs) * s.mask, "phi=ratio")
    np.testing.assert_array_equal(ratio(lent), np.exp(found) * mask)
    with pytest.raises(UserError, match="read-only"):
        UserPhi(lambda s: np.negative(s.log_probs, out=s.log_probs), "phi=ratio")(lent)


def centres(s: Signals) -> Any:
    rewards = s.rewards
    rewards -= 1.0
    return rewards


def unmasks(s: Signals) -> Any:
    s.mask[:] = True
    return s.rewards


def sorts(s: Signals) -> Any:
    s.rewards.sort(axis=-1)
    return s.rewards


def adds_out(s: Signals) -> Any:
    assert s.values is not None
    return np.add(s.rewards, 1.0, out=s.values)


@pytest.mark.parametrize("write", [centres, unmasks, sorts, adds_out])
def test_writing_into_the_signals_is_refused_in_one_line(write: Callable) -> None:
    with pytest.raises(UserError, match="phi=mine writes into what it was handed, which is read-only; let it work on"):
        UserPhi(write, "phi=mine")(signals())


def test_a_baseline_cannot_write_into_phi() -> None:
    def subtracts(phi: Any, s: Signals, products: Any) -> Any:
        phi -= 1
        return phi

    with pytest.raises(UserError, match="baseline=mine writes into"):
        UserBaseline(subtracts, "baseline=mine")(np.ones((2, 2, 4)), signals(), lambda u, v: u[..., 0])


def through_the_base(s: Signals) -> Any:
    base = s.rewards if s.rewards.base is None else s.rewards.base
    base.setflags(write=True)
    base[:] = 1e9
    s.mask.setflags(write=True)
    s.mask[:] = False
    return base


def through_torch(s: Signals) -> Any:
    return torch.from_numpy(s.rewards).mul_(0)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("force", [through_the_base, through_torch])
def test_force_reaches_a_copy_only(force: Callable) -> None:
    mine = signals()
    before = mine.rewards.copy(), mine.mask.copy()
    UserPhi(force, "phi=mine")(mine)
    assert all((x == y).all() for x, y in zip((mine.rewards, mine.mask), before, strict=True))


def test_of_a_critic_its_values_alone_are_taken() -> None:
    class Thief:
        def evaluate(self, state: Any, policy: Any, theta: Any, episodes: Any, signals: Signals) -> Signals:
            state["w"].zero_()
            theta.zero_()
            return replace(signals, rewards=signals.rewards * 100, values=signals.mask * 3.0)

    state, theta, mine = {"w": torch.ones(2)}, torch.ones(2), signals()
    episodes: Any = signals()  # a data class of arrays, as any
    judged = UserCritic(Thief(), "critic=mine").evaluate(state, None, theta, episodes, mine)
    assert judged.rewards is mine.rewards
    assert judged.values is not None
    assert (judged.values == mine.mask * 3.0).all()
    assert state["w"].all()
    assert theta.all()


def test_an_environment_may_use_one_buffer_and_write_into_its_action(tmp_path: Path) -> None:
    from ablate.episodes.rollout import rollout
    from ablate.randomness import streams

    job = compose("env=gym", "env.id=odd_environments:OneBuffer-v0", "policy=gaussian", *SMALL)
    env = build.environment(job.config)
    policy = build.policy(job.config, env)
    theta = policy.network.initial(streams([0, 1], "policy weights"))
    episodes = rollout(policy, theta, env, 3, streams([0, 1], "environment"), streams([0, 1], "actions"))
    assert (episodes.observations == np.array([[1, t] for t in range(5)])).all()
    assert (episodes.rewards == [1, 2, 3, 4, 5]).all()
    assert (np.abs(episodes.actions) < 77).all()


# What user code gives


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((3, 7)), r"shape \(3, 7\), not an array of numbers of shape \(1, 2, 4\) \(seeds, episodes, steps\)"),
        (None, "gave a NoneType, not an array of numbers"),
        (np.zeros((1, 2, 4), complex), "gave a ndarray of complex128, not"),
        (np.full((1, 2, 4), "x"), "gave a ndarray of <U1, not"),
        ([[1.0], [1.0, 2.0]], "gave a list, not"),
        (torch.zeros((1, 2, 4), requires_grad=True), "gave a Tensor, not"),
    ],
)
def test_what_is_no_array_of_the_shape_is_refused_in_one_line(given: Any, told: str) -> None:
    with pytest.raises(UserError, match=f"phi=mine gave an? .*{told.removeprefix('gave a ')}") as phi:
        UserPhi(lambda s: given, "phi=mine")(signals())
    with pytest.raises(UserError, match="baseline=mine gave a"):
        UserBaseline(lambda phi, s, p: given, "baseline=mine")(np.ones((2, 2, 4)), signals(), lambda u, v: u[..., 0])
    assert len(str(phi.value)) <= 300


def test_a_baseline_may_be_one_number_and_its_products_are_its_own_rows() -> None:
    assert (
        UserBaseline(lambda phi, s, p: 2, "b")(np.ones((2, 2, 4)), signals(), lambda u, v: u[..., 0])
        == np.where(np.arange(4) < np.array([4, 3])[:, None, None], 2, 0)
    ).all()

    def products(u: Any, v: Any) -> Any:
        return (u * v).sum(-1)

    mine = signals()
    phi = np.random.default_rng(0).normal(size=mine.mask.shape) * mine.mask
    asked = UserBaseline(lambda phi, s, p: p(phi, phi)[..., None], "b")(phi, mine, products)
    np.testing.assert_array_equal(asked * mine.mask, products(phi, phi)[..., None] * mine.mask)
    own = UserBaseline(leave_one_out, "b")(phi, mine, products)
    np.testing.assert_allclose(own * mine.mask, leave_one_out(phi, mine, products) * mine.mask, rtol=1e-14)


# What was not finite


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("NanReward", "the reward is nan (step 2, episode 0)"),
        ("HugeReward", "the reward is 1e+300, too large a number (step 2, episode 0)"),
        ("InfiniteObservation", "the next observation is inf (step 1, episode 0, component 1)"),
        ("NanFromTheStart", "the first observation is nan (episode 0, component 0)"),
    ],
)
def test_what_was_not_finite_is_named_with_its_place(kind: str, told: str, tmp_path: Path) -> None:
    job = compose("env=gym", f"env.id=odd_environments:{kind}-v0", *SMALL)
    cell = cell_of(job, tmp_path)
    assert train(cell, [0, 1], 1e9, lambda *_: None, lambda: False) == {0: "diverged", 1: "diverged"}
    assert cell.manifest(1)["reason"] == told
    assert cell.manifest(1)["iteration"] == 1


def nan_baseline(phi: Any, signals: Signals, products: Any) -> Any:
    b = np.zeros(phi.shape)
    b[0, 1, 2] = np.nan
    return b


@pytest.mark.parametrize("probe", ["off", "matched"])
def test_a_baseline_that_gives_nan_is_named(probe: str, tmp_path: Path) -> None:
    own = "baseline=mean", "baseline._target_=test_user_code.nan_baseline"
    job = compose("env=chain", "env.horizon=4", *SMALL[:2], f"probe={probe}", *own)
    cell = cell_of(job, tmp_path)
    told = "what baseline=mean gives is nan (episode 1, step 2)"
    if probe == "off":
        assert train(cell, [0], 1e9, lambda *_: None, lambda: False) == {0: "diverged"}
        assert cell.manifest(0)["reason"] == told
    else:
        with pytest.raises(ArithmeticError) as error:
            train(cell, [0], 1e9, lambda *_: None, lambda: False)
        assert str(error.value) == f"probe after iteration 0: {told}"


def test_an_environment_that_takes_the_interrupts_leaves_them_to_the_command() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        Gymnasium("odd_environments:Ends-v0", {"kind": "deaf"})
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
