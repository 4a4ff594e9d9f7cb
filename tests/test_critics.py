"""Critics: what they say against plain networks, a fit against autograd, where learning ends against the truth."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from conftest import compose, critic_of, episodes_of, parameters, plain_network, space, variant
from numpy.typing import NDArray
from torch import Tensor

from ablate import exact
from ablate.configuration import Job
from ablate.critics import Critic, LearnedCritic
from ablate.discounted_sums import lambda_returns
from ablate.envs import tabular
from ablate.envs.tabular import Tabular
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.mdp import MDP
from ablate.networks import Network
from ablate.phi import Signals
from ablate.policies import Categorical, Gaussian, Policy
from ablate.randomness import stream, streams

SEEDS = (3, 1, 4)
LENGTHS = [[5, 1, 9, 4], [2, 2, 1, 3], [12, 7, 1, 40]]
POLICIES: dict[str, Policy] = {"discrete": Categorical(3, 4), "continuous": Gaussian(3, 2)}
GAMMA = 0.9


def both(**settings: Any) -> Job:
    """phi=q baseline=value: V and Q are asked for."""
    job = variant("q", "value")
    return replace(job, config=job.config | {"critic": job.config["critic"] | settings})


def critic_and_state(job: Job, env: Any, policy: Policy) -> tuple[LearnedCritic, dict[str, Tensor]]:
    """A critic with weights away from 0, where a linear one starts."""
    critic = critic_of(job, env, policy)
    assert isinstance(critic, LearnedCritic)
    state = critic.initial(SEEDS)
    return critic, state | {name: state[name] + parameters(network_of(critic, name), SEEDS) for name in ("V", "Q")}


def network_of(critic: LearnedCritic, name: str) -> Network:
    return critic.approximators[name].network


def signals_of(episodes: Trajectories) -> Signals:
    return Signals(episodes.rewards, episodes.mask, GAMMA)


def plain_features(clock: str, observations: NDArray, times: NDArray, horizon: int) -> NDArray:
    if clock == "append":
        return np.concatenate([observations, (times / horizon)[:, None]], 1)
    if clock == "product":
        out = np.zeros((len(times), horizon + 1, observations.shape[1]))
        out[np.arange(len(times)), times] = observations
        return out.reshape(len(times), -1)
    return observations


def plain_value(critic: LearnedCritic, name: str, w: Tensor, x: NDArray, actions: NDArray) -> Tensor:
    """V_w or Q_w of rows, differentiable in w [P]."""
    rows = torch.from_numpy(x).double()
    if name == "V":
        return plain_network(network_of(critic, "V"), w, rows)[:, 0]
    if actions.ndim == 2:
        return plain_network(network_of(critic, "Q"), w, torch.cat([rows, torch.from_numpy(actions).double()], 1))[:, 0]
    return plain_network(network_of(critic, "Q"), w, rows)[torch.arange(len(rows)), torch.from_numpy(actions)]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(("clock", "hidden"), list(product(["none", "append", "product"], [[], [8, 5]])))
def test_a_critic_says_its_networks_output_and_bootstraps_where_an_episode_was_cut(
    clock: str, hidden: list[int], policy: Policy
) -> None:
    env = space(policy)
    critic, state = critic_and_state(both(clock=clock, hidden=hidden), env, policy)
    theta = parameters(policy.network, SEEDS)
    episodes = episodes_of(policy, theta, LENGTHS)
    assert episodes.terminated.any()
    assert not episodes.terminated.all()
    said = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
    fields = {"V": (said.values, said.next_values), "Q": (said.action_values, said.next_action_values)}
    for name, (values, following) in fields.items():
        assert values is not None
        assert following is not None
        assert not values[~episodes.mask].any()
        assert not following[~episodes.mask].any()
        for s, i in np.ndindex(3, 4):
            length = LENGTHS[s][i]
            observations = np.concatenate(
                [episodes.observations[s, i, :length], episodes.final_observations[s, i, None]]
            )
            actions = np.concatenate([episodes.actions[s, i, :length], episodes.final_actions[s, i, None]])
            x = plain_features(clock, observations, np.arange(length + 1), env.horizon)
            wanted = plain_value(critic, name, state[name][s].double(), x, actions).numpy()
            wanted[-1] *= not episodes.terminated[s, i]
            np.testing.assert_allclose(values[s, i, :length], wanted[:-1], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(following[s, i, :length], wanted[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(
    ("clock", "hidden", "td_lambda", "size"),
    [("none", [8, 5], 0.0, 32), ("product", [], 0.7, 32), ("append", [6], 1.0, 32), ("none", [6], 0.7, "all")],
)
def test_fitting_is_adam_on_half_the_mean_squared_error(
    clock: str, hidden: list[int], td_lambda: float, size: int | str, policy: Policy
) -> None:
    """Two iterations of three updates each by autograd and torch.optim, on the draws of the critic's own streams or on
    all steps; the targets stay those of an iteration's start."""
    env, updates = space(policy), 3
    job = both(clock=clock, hidden=hidden, td_lambda=td_lambda, updates=updates, batch_size=size, lr=0.02)
    critic, state = critic_and_state(job, env, policy)
    theta = parameters(policy.network, SEEDS)
    start, at = dict(state), {}
    optimizers = {}
    for s, name in product(range(3), ("V", "Q")):
        at[s, name] = start[name][s].double().requires_grad_()
        optimizers[s, name] = torch.optim.Adam([at[s, name]], lr=0.02)
    for iteration in (1, 2):
        episodes = episodes_of(policy, theta, LENGTHS, seed=iteration)
        said = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
        state, _ = critic.fit(state, episodes, said, SEEDS, iteration)
        fields = {"V": (said.values, said.next_values), "Q": (said.action_values, said.next_action_values)}
        for s, name in product(range(3), ("V", "Q")):
            values, following = fields[name]
            assert values is not None
            assert following is not None
            mask = episodes.mask[s]
            y = lambda_returns(episodes.rewards[s], values[s], following[s], GAMMA, td_lambda)[mask]
            observations, times = episodes.observations[s][mask], np.nonzero(mask)[1]
            x, actions = plain_features(clock, observations, times, env.horizon), episodes.actions[s][mask]
            n = int(mask.sum())
            drawn = stream(SEEDS[s], f"critic {name}", iteration)
            draws = drawn.integers(0, n, (updates, size)) if isinstance(size, int) else [np.arange(n)] * updates
            for draw in draws:
                optimizers[s, name].zero_grad()
                errors = torch.from_numpy(y[draw]) - plain_value(critic, name, at[s, name], x[draw], actions[draw])
                (0.5 * (errors**2).mean()).backward()
                optimizers[s, name].step()
    for (s, name), w in at.items():
        moved = (w.detach() - start[name][s].double()).norm()
        assert (state[name][s].double() - w.detach()).norm() < 1e-3 * moved


def test_one_step_by_hand() -> None:
    """One state, one step that earns 5 and ends: V = w, and Adam's first step is its learning rate, upwards."""
    env = Tabular(tabular.bandit([1.0], [5.0]), time_limit=False)
    policy = Categorical(1, 1)
    job = variant("rtg", "value")
    settings = {"updates": 1, "batch_size": 4, "lr": 0.25, "hidden": [], "clock": "none", "td_lambda": 0.0}
    critic = critic_of(replace(job, config=job.config | {"critic": job.config["critic"] | settings}), env, policy)
    assert critic is not None
    theta, state = torch.zeros(1, 1), critic.initial([0])
    episodes = rollout(policy, theta, env, 2, streams([0], "environment"), streams([0], "actions"))
    assert episodes.rewards.ravel().tolist() == [5, 5]
    said = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
    state, record = critic.fit(state, episodes, said, [0], 1)
    assert state["V"].item() == pytest.approx(0.25, rel=1e-6)
    assert record["critic_loss"] == [25.0]


def test_a_perfect_and_a_constant_critic_explain_all_and_nothing() -> None:
    policy = POLICIES["discrete"]
    critic, state = critic_and_state(both(td_lambda=1.0, hidden=[]), space(policy), policy)
    theta = parameters(policy.network, SEEDS)
    episodes = replace(episodes_of(policy, theta, LENGTHS), terminated=np.ones((3, 4), bool))
    nothing = np.zeros_like(episodes.rewards)
    G = lambda_returns(episodes.rewards, nothing, nothing, GAMMA, 1.0)
    following = np.concatenate([G[..., 1:], G[..., :1] * 0], -1)
    for values, loss, explained in ((G, 0.0, 1.0), (2.0 * episodes.mask, None, 0.0)):
        after = following if values is G else nothing + np.concatenate([values[..., 1:], values[..., :1] * 0], -1)
        said = Signals(episodes.rewards, episodes.mask, GAMMA, values, after, values, after)
        record = critic.fit(state, episodes, said, SEEDS, 1)[1]
        np.testing.assert_allclose(record["critic_explained_variance"], explained, atol=1e-9)
        wanted = [((values - G)[s][episodes.mask[s]] ** 2).mean() for s in range(3)]
        np.testing.assert_allclose(record["critic_loss"], wanted if loss is None else loss, atol=1e-9)


def test_what_an_episode_is_bootstrapped_from_is_the_difference_of_truncation_and_termination() -> None:
    """The same steps in the same MDP, once as its whole horizon and once as a time limit on it."""
    policy, mdp = Categorical(5, 2), tabular.chain(horizon=6)
    theta = parameters(policy.network, SEEDS)
    said = {}
    for time_limit in (False, True):
        env = Tabular(mdp, time_limit)
        episodes = rollout(policy, theta, env, 4, streams(SEEDS, "environment"), streams(SEEDS, "actions"))
        assert episodes.terminated.all() == (not time_limit)
        critic, state = critic_and_state(both(hidden=[], clock="none"), env, policy)
        said[time_limit] = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
        final = state["V"][:, episodes.final_observations.argmax(-1)][np.arange(3), np.arange(3)]
    assert np.array_equal(said[True].values, said[False].values)  # type: ignore[arg-type]
    for field in ("next_values", "next_action_values"):
        ended, cut = getattr(said[False], field), getattr(said[True], field)
        assert np.array_equal(cut[..., :-1], ended[..., :-1])
        assert not ended[..., -1].any()
        assert cut[..., -1].all()
    np.testing.assert_allclose(said[True].next_values[..., -1], final.numpy(), rtol=1e-6)  # type: ignore[index]


def every_sequence(mdp: MDP) -> Trajectories:
    """All action sequences of an MDP of sure transitions, each once: the very distribution of uniform actions."""
    sequences = np.array(list(product(range(mdp.num_actions), repeat=mdp.horizon)))
    states = np.full((len(sequences), mdp.horizon + 1), mdp.rho0.argmax())
    rewards = np.zeros(sequences.shape)
    for t in range(mdp.horizon):
        pair = states[:, t], sequences[:, t]
        states[:, t + 1], rewards[:, t] = mdp.successors[..., 0][pair], mdp.rewards[..., 0][pair]
    seen = mdp.features[states].astype(np.float32)[None]
    lengths = np.full((1, len(sequences)), mdp.horizon)
    return Trajectories(
        seen[:, :, :-1],
        sequences[None],
        rewards[None],
        lengths,
        np.ones(lengths.shape, bool),
        seen[:, :, -1],
        np.zeros(lengths.shape, np.int64),
    )


@pytest.mark.parametrize("td_lambda", [0.0, 0.9, 1.0])
def test_a_table_of_state_and_time_learns_the_exact_values(td_lambda: float) -> None:
    """On all trajectories of a chain, each as often as it happens, so that the truth is all there is to learn."""
    mdp = replace(tabular.chain(length=3, slip=0.0, horizon=4), gamma=GAMMA)
    mdp = replace(mdp, rewards=mdp.rewards / 10)
    policy, env, episodes = Categorical(3, 2), Tabular(mdp, time_limit=False), every_sequence(mdp)
    theta = torch.zeros(1, policy.network.num_parameters)
    V, Q = exact.values(mdp, exact.softmax(mdp.logits))
    settings = {"hidden": [], "clock": "product", "td_lambda": td_lambda, "updates": 10, "batch_size": 256}
    state: dict[str, Tensor] = {}
    states, t = episodes.observations.argmax(-1), np.arange(4)
    for lr, iterations in ((0.05, 100), (0.005, 60)):  # coarsely, then finely
        critic = critic_of(both(**settings, lr=lr), env, policy)
        assert critic is not None
        state = state or critic.initial([0])
        for iteration in range(1, iterations + 1):
            said = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
            state, _ = critic.fit(state, episodes, said, [0], iteration)
        assert said.values is not None
        assert said.action_values is not None
        of_V, of_Q = said.values - V[t, states], said.action_values - Q[t, states, episodes.actions]
    assert np.ptp(V) > 1  # that is what they are to be told apart by
    assert np.abs(of_V).max() < 0.02
    assert np.abs(of_Q).max() < 0.02


@pytest.mark.parametrize(
    ("case", "size", "longer"),
    [("discrete", 64, 1), ("continuous", 64, 1), ("discrete", "all", 1), ("continuous", "all", 12)],
)
def test_a_seeds_critic_is_the_same_bits_alone_and_among_others(case: str, size: int | str, longer: int) -> None:
    """Also where one seed has a block of rows more than the others: 60 x 12 steps."""
    policy = POLICIES[case]
    critic, state = critic_and_state(both(hidden=[8, 5], updates=2, batch_size=size), space(policy), policy)
    theta = parameters(policy.network, SEEDS)
    lengths = [*LENGTHS[:2], [longer * length for length in LENGTHS[2]]]
    episodes = episodes_of(policy, theta, lengths)

    def judged_and_fitted(
        critic: Critic, state: dict[str, Tensor], theta: Tensor, episodes: Trajectories, seeds: tuple[int, ...]
    ) -> tuple[Signals, dict[str, Tensor], dict[str, NDArray]]:
        said = critic.evaluate(state, policy, theta, episodes, signals_of(episodes))
        return said, *critic.fit(state, episodes, said, seeds, 1)

    said, after, record = judged_and_fitted(critic, state, theta, episodes, SEEDS)
    for s, seed in enumerate(SEEDS):
        own, T = slice(s, s + 1), max(lengths[s])
        alone = {name: x[own] for name, x in state.items()}
        its = judged_and_fitted(critic, alone, theta[own], episodes.of(slice(s, s + 1)), (seed,))
        for field in ("values", "next_values", "action_values", "next_action_values"):
            assert np.array_equal(getattr(its[0], field)[0], getattr(said, field)[s, :, :T])
        assert all(torch.equal(its[1][name][0], after[name][s]) for name in after)
        assert all(its[2][name][0] == record[name][s] for name in record)


def test_critics_of_one_seed_draw_apart() -> None:
    """V and Q start from weights of their own, and so does the policy."""
    policy = POLICIES["discrete"]
    critic = critic_of(both(hidden=[8]), space(policy), policy)
    assert critic is not None
    state, again = critic.initial([0, 1]), critic.initial([1])
    assert not torch.equal(state["V"][0], state["V"][1])
    assert not torch.equal(state["V"][0, :4], state["Q"][0, :4])
    assert torch.equal(again["V"][0], state["V"][1])


@pytest.mark.parametrize(
    ("phi", "baseline", "wanted"), [("rtg", "value", "V"), ("q", "none", "Q"), ("td", "none", "V")]
)
def test_only_what_is_asked_for_is_learnt(phi: str, baseline: str, wanted: str) -> None:
    policy = POLICIES["discrete"]
    critic = critic_of(variant(phi, baseline), space(policy), policy)
    assert critic is not None
    assert {"V", "Q"} & set(critic.initial([0])) == {wanted}


def test_a_variant_that_asks_for_nothing_has_no_critic() -> None:
    policy = POLICIES["discrete"]
    assert critic_of(compose("phi=rtg", "baseline=loo"), space(policy), policy) is None
