"""probe=exact: rows of ablate.exact at the run's own policy, nothing drawn; one line of error where there are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import compose, parameters

from ablate import build
from ablate.configuration import IncompatibleSettings
from ablate.exact import GroundTruth, scores, softmax
from ablate.probes.exact import CRITICS
from ablate.runs import train
from ablate.store import Cell

SMALL = ("env=random_mdp", "env.states=4", "env.actions=2", "env.successors=2", "env.horizon=4", "gamma=0.9")
SEEDS = (3, 0, 11)


def measured(*overrides: str, seeds=SEEDS, iteration: int = 1):
    """The rows of each seed, the policies that they are of [S, states, A], and the environment."""
    job = compose(*overrides)
    env = build.environment(job.config)
    theta = parameters(build.policy(job.config, env).network, SEEDS)[[SEEDS.index(seed) for seed in seeds]]
    pi = softmax(theta.double().numpy().reshape(len(seeds), env.observation_size, -1))
    rows = train.probe(job.config).measure(theta, {}, seeds, iteration)
    return rows, pi, env.mdp, job.config


@pytest.mark.parametrize("discount_scores", ["true", "false"])
def test_every_row_is_that_of_the_ground_truth(discount_scores: str) -> None:
    rows, pis, mdp, _ = measured(*SMALL, "probe=exact", "episodes=5", f"discount_scores={discount_scores}")
    for own, pi in zip(rows, pis, strict=True):
        truth = GroundTruth(
            replace(mdp, gamma=0.9), pi, scores(pi, mdp.features), discount_scores=discount_scores == "true"
        )
        base = truth.moments("rtg").trace_variance
        F = np.einsum("ts,sa,sad,sae->de", truth.occupancy, pi, truth.z, truth.z)
        for row in own:
            wanted = truth.moments(row["phi"], row["baseline"], row["critic"], episodes=5)
            assert row["mode"] == "exact"
            assert row["batch"] == 5
            for name in ("trace_variance", "snr", "bias_squared", "v_s0", "v_action", "v_transition", "v_coupling"):
                assert row[name] == pytest.approx(getattr(wanted, name), rel=1e-10, abs=1e-25), (row, name)
            parts = row["v_s0"] + row["v_action"] + row["v_transition"] + row["v_coupling"]
            assert row["trace_variance"] == pytest.approx(parts, rel=1e-10)
            assert row["squared_signal"] == pytest.approx(wanted.mean @ wanted.mean, rel=1e-10)
            assert row["nsr"] == pytest.approx(1 / wanted.snr, rel=1e-10)
            assert row["log_ratio"] == pytest.approx(np.log(wanted.trace_variance / base), abs=1e-10)
            assert row["mse"] == pytest.approx(wanted.bias_squared + wanted.trace_variance / 5, rel=1e-10)
            C = truth.moments(row["phi"], row["baseline"], row["critic"], episodes=5, covariance=True).covariance
            along = truth.gradient / np.linalg.norm(truth.gradient)
            assert row["directional_variance"] == pytest.approx(along @ C @ along, rel=1e-8, abs=1e-18)
            assert row["fisher_trace_variance"] == pytest.approx(
                np.trace(np.linalg.pinv(F, 1e-10) @ C), rel=1e-7, abs=1e-16
            )
            assert row["J"] == pytest.approx(truth.J, rel=1e-12)


def test_every_variant_is_there_once_and_with_both_critics_where_it_has_one() -> None:
    rows, _, _, config = measured(*SMALL, "probe=exact")
    found = [(row["phi"], row["baseline"], row["critic"]) for row in rows[0]]
    assert len(set(found)) == len(found)
    for node in config["probe"]["variants"].values():
        name = node["phi"]["name"], node["baseline"]["name"]
        critics = {critic for *variant, critic in found if tuple(variant) == name}
        assert critics == (set(CRITICS) if build.needs(node) else {"none"})


def test_the_matched_probe_estimates_the_same_columns() -> None:
    """|z| < 4.5 for two seeds x twelve variants: a right program fails with probability below 1.7e-4."""
    settings = (*SMALL, "env.offset=1", "episodes=4")
    exact, *_ = measured(*settings, "probe=exact")
    sampled, *_ = measured(*settings, "probe=matched", "probe.critic=exact", "probe.episodes=8192", seeds=SEEDS[:2])
    for truth, estimates in zip(exact, sampled, strict=False):
        wanted = {(row["phi"], row["baseline"]): row for row in truth if row["critic"] != "clockless"}
        for row in estimates:
            if row["baseline"] == "optimal":  # a batch's estimate of it has no exact value
                continue
            value, low, high = (np.log(row[f"trace_variance{end}"]) for end in ("", "_low", "_high"))
            z = (value - np.log(wanted[row["phi"], row["baseline"]]["trace_variance"])) / ((high - low) / 2 / 1.96)
            assert abs(z) < 4.5, (row["phi"], row["baseline"], z)


@pytest.mark.parametrize("baseline", ["time", "mean"])
def test_a_batch_of_two_in_a_task_of_one_step(baseline: str) -> None:
    """There `time` is `loo`, and with d = R_1 - R_2 the whole estimate is (z_1 - z_2) d / 2."""
    rows, pis, mdp, _ = measured("env=bandit", "episodes=2", "probe=exact", seeds=SEEDS[:1])
    row = {(row["phi"], row["baseline"]): row for row in rows[0]}
    pi, arms = pis[0][0], np.arange(mdp.num_actions)
    win = np.array([mdp.probabilities[0, a] @ mdp.rewards[0, a] for a in arms])  # rewards are 0 or 1
    assert set(mdp.rewards[0].ravel()) <= {0.0, 1.0}
    second = sum(  # E|g|^2 = E[|z_1 - z_2|^2 d^2] / 4 of two independent draws
        pi[a] * pi[b] * 2 * (a != b) * (win[a] * (1 - win[b]) + win[b] * (1 - win[a])) for a in arms for b in arms
    )
    scale = {"time": 1.0, "mean": 0.5}[baseline]  # the batch mean halves each difference
    mean = scale * pi * (win - pi @ win)
    expected = 2 * (scale**2 * second / 4 - mean @ mean)
    assert row["rtg", baseline]["trace_variance"] == pytest.approx(expected, rel=1e-10)
    assert row["rtg", "time"]["trace_variance"] == pytest.approx(row["rtg", "loo"]["trace_variance"], rel=1e-12)


def test_a_seed_alone_has_the_same_bits() -> None:
    together, *_ = measured(*SMALL, "probe=exact")
    for s, seed in enumerate(SEEDS):
        alone, *_ = measured(*SMALL, "probe=exact", seeds=(seed,))
        assert alone[0] == together[s]


def test_training_does_not_notice_and_the_schedule_is_kept(tmp_path: Path) -> None:
    curves = {}
    for probe in ("off", "exact"):
        every = () if probe == "off" else ("probe.every=2",)
        job = compose(*SMALL, f"probe={probe}", "iterations=5", *every)
        cell = Cell.at(tmp_path, "test", job.overrides, job.config)
        cell.prepare()
        train.train(cell, (0, 1), 1e9, lambda *_: None, lambda: False)
        curves[probe] = [cell.curves(seed).drop(columns="wall_time") for seed in (0, 1)]
    for off, exact in zip(curves["off"], curves["exact"], strict=True):
        assert off.equals(exact)
    assert list(cell.probe(1)["iteration"].unique()) == [0, 2, 4, 5]


def test_a_gradient_that_is_nothing_but_rounding_has_an_unbounded_ratio() -> None:
    """The goal of the grid is 8 steps away: with 4 steps all returns are alike, and grad J = 0."""
    rows, *_ = measured("env=gridworld", "env.horizon=4", "gamma=1", "probe=exact", seeds=SEEDS[:1])
    row = next(row for row in rows[0] if (row["phi"], row["baseline"]) == ("rtg", "none"))
    assert row["squared_signal"] == 0
    assert row["snr"] == 0
    assert row["nsr"] == np.inf


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("env=cartpole",), "env=cartpole does not have"),
        (("env=lqg",), "env=lqg does not have"),
        (("env=chain", "policy.hidden=[8]"), "policy.hidden=[8]"),
        (("env=chain", "whiten=true"), "whiten=false"),
        (("env=chain", "episodes=1"), "episodes=2"),
        (("env=contextual_bandit",), "independent"),
        (("env=chain", "env.horizon=1000000"), "give a horizon of"),
        (("env=random_mdp", "env.states=2000"), "do not fit into memory; give at most"),
    ],
)
def test_what_has_no_exact_values_is_refused_in_one_line(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(IncompatibleSettings) as error:
        compose(*overrides, "probe=exact")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "write" in str(error.value)


def test_no_random_number_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    job = compose(*SMALL, "probe=exact")
    probe = train.probe(job.config)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a random number was asked for")

    monkeypatch.setattr(np.random, "default_rng", refuse)
    monkeypatch.setattr("ablate.randomness.stream", refuse)
    state = torch.get_rng_state()
    probe.measure(torch.zeros(1, 8), {}, (0,), 0)
    assert torch.equal(state, torch.get_rng_state())
