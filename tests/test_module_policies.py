"""A torch Module as policy: a seed's bits are its own, the gradient is the policy gradient, and what is no policy is
refused."""

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import compose

from ablate import build
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.gradients import per_trajectory_gradients, policy_gradient, signals_of
from ablate.module_policies import ModuleNetwork
from ablate.networks import Network
from ablate.policies import Categorical
from ablate.probes import sampled
from ablate.randomness import streams

CHAIN = ("env=chain", "policy=module", "policy.module=torch_modules:Net", "episodes=5")
PENDULUM = ("env=pendulum", "env.horizon=20", "policy=module", "episodes=3")


@pytest.mark.parametrize(
    "words",
    [
        CHAIN,
        ("env=cartpole", "policy=module", "policy.module=torch_modules:Lazy", "episodes=5", "baseline=optimal"),
        (*PENDULUM, "policy.module=torch_modules:Net"),
        (*PENDULUM, "policy.module=torch_modules:both"),
        ("algorithm=a2c", "env=cartpole", "policy=module", "policy.module=torch_modules:Net"),
    ],
)
def test_the_bits_of_a_seed_are_its_own(words: tuple[str, ...]) -> None:
    assert_bits(compose(*words).config)


def test_a_probe_gives_a_seed_the_same_bits_in_any_company() -> None:
    config = compose(*CHAIN, "probe=matched", "probe.episodes=80", "critic=exact").config
    learner, probe = build.learner(config), sampled.probe(config)
    assert probe is not None
    theta, critic, moments = learner.probed(learner.initial([3, 7]))
    together = probe.measure(theta, critic, [3, 7], 0, moments)[1]
    alone = probe.measure(theta[1:].clone(), critic, [7], 0, {name: x[1:] for name, x in moments.items()})[0]
    assert len(together) == len(alone) == 13
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_equal(one, other)


def test_it_is_the_policy_gradient_that_the_same_network_has() -> None:
    """Of one set of weights, as a Module and as ours."""
    config = compose(*CHAIN).config
    env = build.environment(config)
    foreign, own = build.policy(config, env), Categorical(env.observation_size, 2, hidden=[13])
    theta = foreign.network.initial(streams([0, 1], "policy weights"))
    assert not torch.equal(theta[0], theta[1])
    ours, D = torch.zeros(2, own.network.num_parameters), env.observation_size
    for s in range(2):
        w1, b1, w2, b2 = theta[s].split([13 * D, 13, 26, 2])
        ours[s] = torch.cat([w1.view(13, D).T.flatten(), b1, w2.view(2, 13).T.flatten(), b2])
    sources = streams([0, 1], "environment", 1), streams([0, 1], "actions", 1)
    episodes = rollout(foreign, theta, env, 6, *sources)
    weights = signals_of(foreign, theta, episodes, 1.0).rewards
    mine = policy_gradient(own, ours, episodes, weights)
    its = policy_gradient(foreign, theta, episodes, weights)
    np.testing.assert_allclose(its.entropy, mine.entropy, rtol=1e-5)
    two = np.stack([weights, 2 * weights])
    each = per_trajectory_gradients(foreign, theta, episodes, two), per_trajectory_gradients(own, ours, episodes, two)
    for a, b in ((its.gradient, mine.gradient), each):
        assert b.abs().max() > 0.01
        parts = a[..., : 13 * D].unflatten(-1, (13, D)).transpose(-1, -2).flatten(-2), a[..., 13 * D : 13 * D + 13]
        last = a[..., 13 * D + 13 : -2].unflatten(-1, (2, 13)).transpose(-1, -2).flatten(-2), a[..., -2:]
        torch.testing.assert_close(torch.cat([*parts, *last], -1), b, rtol=1e-4, atol=1e-5)


def test_layers_and_free_outputs_have_their_places() -> None:
    config = compose(*PENDULUM, "policy.module=torch_modules:Net").config
    policy = build.policy(config, build.environment(config))
    assert isinstance(policy.network, ModuleNetwork)
    assert policy.network.parts() == {
        "layer_1": slice(0, 52), "layer_2": slice(52, 66), "free": slice(66, 67),
    }  # fmt: skip
    assert policy.network.num_parameters == 67
    assert not isinstance(policy.network, Network)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("Dropping", "draws random numbers"),
        ("Normalising", "changes norm.running_mean"),
        ("Centring", "beside other rows"),
        ("Counting", "called again"),
        ("Random", "not trained"),
        ("Wide", r"gave shape \[8, 7\]"),
        ("Detached", "does not depend on its parameters"),
        ("Two", "gave a tuple"),
        ("Frozen", "nothing to train"),
        ("Broken", "ValueError: not today"),
        ("Nothing", "has no class or function Nothing"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(module: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        compose("env=chain", "policy=module", f"policy.module=torch_modules:{module}")


def test_what_else_cannot_be() -> None:
    with pytest.raises(UserError, match="names no class"):
        compose("env=chain", "policy=module", "policy.module=torch_modules")
    with pytest.raises(UserError, match="cannot be imported"):
        compose("env=chain", "policy=module", "policy.module=no_such_module:Net")
    with pytest.raises(UserError, match="whose layers are its own"):
        compose(*CHAIN, "policy.hidden=[8]")
    with pytest.raises(UserError, match="linear softmax policy, not policy=module"):
        compose(*CHAIN, "probe=exact")
    with pytest.raises(UserError, match="needs a linear policy"):
        compose("env=lqg", "policy=module", "policy.module=torch_modules:Net", "critic=exact", "phi=q")
