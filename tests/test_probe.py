"""The probe: what the real engine measures against exact values, and that training does not notice it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import compose
from scipy import stats

from ablate import build, exact
from ablate.configuration import IncompatibleSettings
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.gradients import gradient_chunks
from ablate.learners.base import part
from ablate.models import known
from ablate.phi import Signals
from ablate.probes import sampled
from ablate.randomness import streams
from ablate.runs import train
from ablate.statistics import bias, noise
from ablate.statistics.block_sums import blocks_of

QUICK = "critic.updates=1", "critic.batch_size=16"  # where it does not matter how good the fitted critic is
SETTINGS = "gamma=0.9", "discount_scores=true", "episodes=5"


@pytest.fixture(scope="module")
def mdp_file(tmp_path_factory):
    """Three states, two actions, four steps, rewards that depend on s' too, a policy that is not uniform."""
    rng = np.random.default_rng(5)
    P = rng.dirichlet(np.ones(3), size=(3, 2))
    R = rng.normal(1, 1, size=(3, 2, 3))
    path = tmp_path_factory.mktemp("mdp") / "mdp.json"
    path.write_text(json.dumps({"P": P.tolist(), "R": R.tolist(), "rho0": [0.5, 0.3, 0.2], "horizon": 4}))
    return path


THETA = torch.tensor([[0.3, -0.2, 0.5, 0.1, -0.4, 0.2]])
EPISODES, BATCH = 5_000, 5
# (phi, baseline, critic): those whose exact law is known at the engine's own definition. `time` and `optimal` are
# estimated from the other episodes here, and only tend to the baselines that `exact` has.
ROWS = [
    ("return", "none", "none"),
    ("return", "mean", "none"),
    ("return", "loo", "none"),
    ("rtg", "none", "none"),
    ("rtg", "mean", "none"),
    ("rtg", "loo", "none"),
    ("rtg", "value", "exact"),
    ("q", "none", "exact"),
    ("q", "value", "exact"),
    ("td", "none", "exact"),
    ("advantage", "none", "exact"),
]
# Two z scores a row, each beyond 4 with probability 6.3e-5 if all is right (the squared distance is skewed: 3e-4):
# a false alarm in this family at most once in 100 seeds. The seed is fixed.
LIMIT = 4.0


def test_engine_agrees_with_ground_truth(mdp_file):
    """Mean and trace variance of 5,000 sampled gradients, through rollout, Phi, baselines and gradients as trained."""
    config = compose("env=mdp", f"env.path={mdp_file}", *SETTINGS, "phi=td").config
    env = build.environment(config)
    policy = build.policy(config, env)
    episodes = rollout(policy, THETA, env, EPISODES, streams([0], "environment"), streams([0], "actions"))
    signals = Signals(episodes.rewards, episodes.mask, 0.9)
    signals = known(env, policy).evaluate(THETA, episodes, signals)
    mdp = replace(env.mdp, gamma=0.9)
    pi = exact.softmax(THETA.numpy().astype(float).reshape(3, 2))
    truth = exact.GroundTruth(mdp, pi, exact.scores(pi, mdp.features))
    worst = 0.0
    for phi, baseline, critic in ROWS:
        variant = compose("env=mdp", f"env.path={mdp_file}", *SETTINGS, f"phi={phi}", f"baseline={baseline}").config
        batched = replace(
            signals,
            **{
                name: getattr(signals, name).reshape(-1, BATCH, 4)
                for name in ("rewards", "mask", "values", "next_values", "action_values")
            },
        )
        weights = build.estimator(variant, variant).weights(batched, None).reshape(1, 1, EPISODES, 4)
        gradients = torch.cat(list(gradient_chunks(policy, THETA, episodes, weights)))[:, 0].numpy().astype(float)
        coupled = baseline in ("mean", "loo")
        units = gradients.reshape(-1, BATCH, 1, 6).mean(1) if coupled else gradients
        law = truth.moments(phi, baseline, critic, **({"episodes": BATCH} if coupled else {}), covariance=True)
        expected = law.trace_variance / (BATCH if coupled else 1)
        blocks = blocks_of(units)
        T = noise.trace_variance(blocks)
        error = (np.log(T.high) - np.log(T.low)) / (2 * stats.norm.ppf(0.975))
        z_variance = (np.log(T.value) - np.log(expected)) / error
        C = np.cov(units[:, 0].T)
        distance = bias.bias_squared(blocks, law.mean).value
        z_mean = distance / (np.sqrt(2 * (C * C).sum()) / len(units))
        worst = max(worst, abs(float(z_variance[0])), abs(float(z_mean[0])))
        assert abs(z_variance) < LIMIT, (phi, baseline, float(T.value[0]), expected)
        assert abs(z_mean) < LIMIT, (phi, baseline)
    assert worst > 0.3  # 22 scores that are all this small would mean that the errors are not errors


@pytest.mark.parametrize("env", ["cartpole", "chain"])
@pytest.mark.parametrize("probe", ["online", "matched"])
def test_training_does_not_notice_the_probe(env, probe):
    overrides = (f"env={env}", "phi=advantage", "episodes=4", "iterations=3", "policy.hidden=[8]", "critic.hidden=[8]")
    small = ("probe.episodes=16", "probe.every=1", *QUICK)

    def curves(*more):
        config = compose(*overrides, *more).config
        learner, measuring = build.learner(config), train.probe(config)
        state = learner.initial([4, 7])
        for iteration in range(1, 4):
            if measuring:
                measuring.measure(state["theta"], part("critic", state), [4, 7], iteration - 1)
            state, record = learner.iterate(state, [4, 7], iteration)
        return state, record

    (state, record), (probed, probed_record) = curves("probe=off", *QUICK), curves(f"probe={probe}", *small)
    assert all(torch.equal(state[name], probed[name]) for name in state)
    assert all(np.array_equal(record[name], probed_record[name], equal_nan=True) for name in record)


@pytest.mark.parametrize("env", ["cartpole", "chain", "lqg"])
def test_rows_of_a_seed_do_not_depend_on_its_neighbours(env, monkeypatch):
    config = compose(
        f"env={env}", "probe=matched", "probe.episodes=64", "episodes=4", "policy.hidden=[8]", *QUICK
    ).config
    probe = train.probe(config)
    theta = build.learner(config).initial([4, 7, 11])["theta"]
    among = probe.measure(theta, {}, [4, 7, 11], 0)
    (alone,) = probe.measure(theta[1:2], {}, [7], 0)
    np.testing.assert_equal(alone, among[1])  # to the last bit; nan equals nan
    monkeypatch.setattr(sampled, "NUMBERS_AT_ONCE", 1)
    np.testing.assert_equal(probe.measure(theta, {}, [4, 7, 11], 0), among)


def test_matched_variants_differ_in_the_estimator_alone():
    """Where two estimators are the same function, their rows are equal: on a bandit, return is reward-to-go."""
    config = compose("env=bandit", "probe=matched", "probe.episodes=160", "episodes=8", *QUICK).config
    (rows,) = train.probe(config).measure(build.learner(config).initial([3])["theta"], {}, [3], 0)
    by_name = {(row["phi"], row["baseline"]): row for row in rows}
    for baseline in ("none", "mean", "loo"):
        a, b = by_name["return", baseline], by_name["rtg", baseline]
        np.testing.assert_equal({**a, "phi": ""}, {**b, "phi": ""})
    assert by_name["rtg", "none"]["log_ratio"] == 0
    assert len(rows) == len(config["probe"]["variants"])


def test_batch_baselines_are_measured_from_replicate_batches():
    """trace_variance of `mean` is N times the variance of the N-episode estimate: (1 - 1/N)^2 that of leave-one-out."""
    config = compose("env=bandit", "probe=matched", "probe.episodes=400", "episodes=4", *QUICK).config
    (rows,) = train.probe(config).measure(build.learner(config).initial([3])["theta"], {}, [3], 0)
    by_name = {row["baseline"]: row for row in rows if row["phi"] == "rtg"}
    assert by_name["mean"]["trace_variance"] == pytest.approx(0.75**2 * by_name["loo"]["trace_variance"], rel=1e-5)


def test_schedule():
    probe = train.probe(compose("iterations=70", "probe.every=30").config)
    assert [k for k in range(71) if probe.due(k)] == [0, 30, 60]


def test_episodes_come_in_whole_batches_and_enough_of_them():
    assert compose("probe.episodes=70", "episodes=16").config["probe"]["episodes"] == 80
    assert compose("probe.episodes=1", "episodes=16", "baseline=mean").config["probe"]["episodes"] == 256
    assert compose("probe=matched", "probe.episodes=1", "episodes=3").config["probe"]["episodes"] == 48


def test_seeds_are_cut_at_their_own_horizon():
    """`of` cuts at the longest episode of the seeds that are taken."""
    rewards = np.ones((2, 1, 5))
    episodes = Trajectories(
        np.zeros((2, 1, 5, 1), np.float32),
        np.zeros((2, 1, 5), int),
        rewards,
        np.array([[2], [5]]),
        np.ones((2, 1), bool),
        np.zeros((2, 1, 1), np.float32),
        np.zeros((2, 1), int),
    )
    assert episodes.of(slice(0, 1)).rewards.shape == (1, 1, 2)
    assert episodes.of(slice(1, 2)).rewards.shape == (1, 1, 5)
    assert episodes.of(slice(0, 2)).rewards.shape == (2, 1, 5)


def test_whitening_couples_a_batch_whatever_the_baseline():
    config = compose("env=bandit", "whiten=true").config
    (rows,) = train.probe(config).measure(build.learner(config).initial([3])["theta"], {}, [3], 0)
    assert config["probe"]["episodes"] == 256
    assert np.isfinite(rows[0]["trace_variance"])


def test_an_exact_critic_is_called_exact():
    assert compose("env=chain", "phi=td", "critic=exact", "probe=matched").config["probe"]["critic"] == "exact"


def test_matched_variants_take_the_settings_of_the_run():
    config = compose("phi=advantage", "phi.gae_lambda=0.5", "probe=matched").config
    assert config["probe"]["variants"]["advantage_none"]["phi"]["gae_lambda"] == 0.5


def test_no_baseline_of_the_others_is_judged_without_others():
    with pytest.raises(IncompatibleSettings, match="other episodes"):
        compose("probe=matched", "episodes=1")


def test_linear_quadratic_values_ask_for_a_linear_policy():
    with pytest.raises(IncompatibleSettings, match="linear"):
        compose("env=lqg", "policy.hidden=[8]", "phi=td", "critic=exact")


@pytest.mark.parametrize("own", [("return", "time"), ("td", "none"), ("rtg", "value")])
def test_matched_judges_the_runs_own_estimator_whether_or_not_it_is_listed(own: tuple[str, str]) -> None:
    words = f"phi={own[0]}", f"baseline={own[1]}", "probe=matched", "episodes=4", "probe.episodes=64"
    job = compose("env=chain", *words)
    state = build.learner(job.config).initial([0])
    (rows,) = train.probe(job.config).measure(state["theta"], part("critic", state), [0], 0)
    judged = [(row["phi"], row["baseline"]) for row in rows]
    assert judged.count(own) == 1
    assert len(set(judged)) == len(judged)


def test_no_p_value_where_few_episodes_reach_the_goal():
    """FrozenLake's first policy is rewarded in 1.4% of episodes: few of 33 directions of the scores have moved."""
    config = compose("env=frozenlake", "phi=rtg", "probe.episodes=256").config
    for rows in train.probe(config).measure(build.learner(config).initial([0, 1])["theta"], {}, [0, 1], 0):
        assert np.isnan(rows[0]["wald_p"])


def test_false_alarms_of_the_wald_test_on_the_chain():
    """100 probes of an unbiased estimator by the engine: 11 rejections at 5% or more come once in 60 such tests."""
    config = compose("env=chain", "phi=rtg", "probe.episodes=64").config
    seeds = list(range(100))
    rows = train.probe(config).measure(build.learner(config).initial(seeds)["theta"], {}, seeds, 0)
    p = np.array([row["wald_p"] for (row,) in rows])
    assert np.isfinite(p).mean() > 0.9
    assert (p < 0.05).sum() <= 10


def test_noise_in_the_metric_of_the_optimizer_and_by_layer():
    """From the optimizer's own state after two steps: the noise of what Adam steps along."""
    config = compose("env=chain", "phi=rtg", "optimizer=adam", "policy.hidden=[8]", "probe.episodes=64").config
    learner, probe = build.learner(config), train.probe(config)
    state = learner.initial([3])
    for iteration in (1, 2):
        state, _ = learner.iterate(state, [3], iteration)
    moments = part("optimizer", state)
    ((row,),) = probe.measure(state["theta"], {}, [3], 2, moments)
    v = moments["v"][0].double().numpy() / (1 - 0.999**2)
    episodes = probe._collect("probe", state["theta"], [3], 2)
    weights = probe._weights(state["theta"], episodes, Signals(episodes.rewards, episodes.mask, probe.gamma))
    g = torch.cat(list(gradient_chunks(probe.policy, state["theta"], episodes, weights)))[:, 0, 0].double().numpy()
    scaled = g / (np.sqrt(v) + 1e-8)
    assert row["optimizer_trace_variance"] == pytest.approx(scaled.var(0, ddof=1).sum(), rel=1e-4)
    layers = probe.policy.network.parts()
    shares = {name: g[:, where].var(0, ddof=1).sum() / g.var(0, ddof=1).sum() for name, where in layers.items()}
    for name, share in shares.items():
        assert row[f"share_{name}"] == pytest.approx(share, rel=1e-4)
    assert sum(shares.values()) == pytest.approx(1)
    assert row["work_variance"] == pytest.approx(row["trace_variance"] * episodes.lengths.mean(), rel=1e-9)
    ((start,),) = probe.measure(state["theta"], {}, [3], 0, moments)
    assert np.isnan(start["optimizer_trace_variance"])


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_the_scale_of_an_optimizer_is_that_of_its_next_step(optimizer):
    """With betas and decay such that the last gradient is all that v knows: the step along it is lr x scale x g."""
    from ablate.optimizers import SGD, Adam, RMSProp

    made = {"adam": Adam(0.1, beta1=0.0, beta2=0.0), "rmsprop": RMSProp(0.1, decay=0.0), "sgd": SGD(0.1)}[optimizer]
    theta, g = torch.zeros(1, 3), torch.tensor([[0.5, -2.0, 3.0]])
    after, moments = made.ascend(theta, g, made.initial(theta), 1)
    torch.testing.assert_close(after, 0.1 * made.scale(after, moments, 1) * g)
