"""The causal network policy: torch's GRU in a plain loop, autograd over listed answers, and bits of a seed."""

from itertools import product

import numpy as np
import pytest
import torch
from bits import assert_bits
from conftest import compose
from torch import Tensor, nn

from ablate import build
from ablate.envs.tokens import mdp_of
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.gradients import policy_gradient
from ablate.models import TabularModel
from ablate.phi import Signals
from ablate.probes import sequences
from ablate.randomness import streams
from ablate.recurrent import CausalGRU, PrefixGRU
from ablate.sequences import advantages, aggregations, exact
from ablate.sequences.problem import TokenProblem

SIZES = [(2, 1, 1), (2, 4, 1), (3, 3, 2), (4, 3, 1), (5, 2, 3)]  # vocabulary, horizon, prompts


def network_of(vocabulary: int, horizon: int, prompts: int, units: int = 5) -> tuple[TokenProblem, PrefixGRU]:
    rng = np.random.default_rng(vocabulary)
    problem = TokenProblem.of(vocabulary, horizon, prompts, lambda x, y: float(rng.integers(0, 2)))
    policy = CausalGRU(mdp_of(problem).num_states, vocabulary, horizon=horizon, units=units, embedding=3)
    return problem, policy.network


def thetas(network: PrefixGRU, seeds: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(seeds, network.num_parameters, generator=generator) * 0.7


def plain_log_probs(network: PrefixGRU, theta: Tensor, problem: TokenProblem) -> Tensor:
    """log pi(y|x) of every answer [P, Y], a token at a time by `torch.nn.GRUCell`; theta [P]."""
    w = {name: m[0] for name, m in network.matrices(theta[None]).items()}
    cell = nn.GRUCell(network.embedding, network.sizes[1], dtype=theta.dtype)
    values = {"weight_ih": w["into"].T, "bias_ih": w["into_bias"][0], "weight_hh": w["state"].T}
    values |= {"bias_hh": w["state_bias"][0]}
    rows = []
    for x in range(problem.prompts):
        for answer in problem.answers:
            h, total = w["prompts"][x : x + 1], torch.zeros((), dtype=theta.dtype)
            for token in answer:
                total = total + torch.log_softmax(h @ w["out"] + w["out_bias"], -1)[0, token]
                if token:
                    h = torch.func.functional_call(cell, values, (w["tokens"][token - 1 : token], h))
            rows.append(total)
    return torch.stack(rows).reshape(problem.prompts, -1)


@pytest.mark.parametrize("size", SIZES)
def test_it_is_torchs_unit_in_a_plain_loop(size: tuple[int, int, int]) -> None:
    problem, network = network_of(*size)
    for theta in thetas(network):
        own = theta.double().requires_grad_()
        wanted = plain_log_probs(network, own, problem)
        table = network.table(theta.double()[None])[0]
        found = problem.log_probs(table[:-1].reshape(problem.prompts, -1, problem.vocabulary).numpy())
        np.testing.assert_allclose(found, wanted.detach().numpy(), atol=1e-12)
        # grad J over all answers, and the gradient that the policy-gradient code takes of the table's
        J = (wanted.exp() * torch.from_numpy(problem.rewards)).sum() / problem.prompts
        (gradient,) = torch.autograd.grad(J, own)
        logits = table[:-1].reshape(problem.prompts, -1, problem.vocabulary).numpy()
        of_table = torch.zeros_like(table)
        of_table[:-1] = torch.from_numpy(problem.gradient(logits).reshape(-1, problem.vocabulary))
        states = torch.eye(len(table), dtype=torch.float64)[None]
        pulled = network.gradient(theta.double()[None], [states], of_table[None])[0]
        np.testing.assert_allclose(pulled.numpy(), gradient.numpy(), atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_weighted_gradients_are_gradients_of_weighted_scores(size: tuple[int, int, int]) -> None:
    _, network = network_of(*size)
    theta, generator = thetas(network), torch.Generator().manual_seed(1)
    x = torch.eye(network.sizes[0])[torch.randint(0, network.sizes[0], (3, 7), generator=generator)]
    d, weights = torch.randn(3, 7, size[0], generator=generator), torch.randn(3, 7, 2, generator=generator)
    outputs, inputs = network.forward(theta, x)
    torch.testing.assert_close(outputs, x @ network.table(theta))
    found = network.weighted_gradients(theta, inputs, d, weights)
    for k in range(2):
        torch.testing.assert_close(found[:, k], network.gradient(theta, inputs, d * weights[..., k : k + 1]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("units", [1, 5, 16])
def test_a_seeds_bits_are_the_same_alone_and_among_others(size: tuple[int, int, int], units: int) -> None:
    _, network = network_of(*size, units)
    theta, generator = thetas(network, 5), torch.Generator().manual_seed(1)
    x = torch.eye(network.sizes[0])[torch.randint(0, network.sizes[0], (5, 9), generator=generator)]
    d, weights = torch.randn(5, 9, size[0], generator=generator), torch.randn(5, 9, 3, generator=generator)

    def everything(own: list[int]) -> list[Tensor]:
        outputs, inputs = network.forward(theta[own], x[own])
        few, _ = network.forward(theta[own], x[own][:, :2])
        assert torch.equal(few, outputs[:, :2])
        return [
            outputs,
            network.gradient(theta[own], inputs, d[own]),
            network.weighted_gradients(theta[own], inputs, d[own], weights[own]),
        ]

    together = everything([0, 1, 2, 3, 4])
    for own in ([0], [3], [4, 1], [2, 0, 3], [1, 1, 4, 2]):
        for k, s in enumerate(own):
            assert all(torch.equal(a[k], b[s]) for a, b in zip(everything(own), together, strict=True))


def test_a_trained_seed_has_the_same_bits_in_any_company() -> None:
    words = "env=tokens", "policy=gru", "phi=return", "advantage=group_standardised", "aggregation=token_mean"
    assert_bits(compose(*words, "env.group=4", "episodes=8", "iterations=3", "probe=off", "policy.units=6").config)


def test_it_begins_close_to_uniform_and_differs_by_seed() -> None:
    policy = build.policy(config := compose("env=tokens", "policy=gru").config, build.environment(config))
    theta = policy.network.initial(streams(range(3), "policy weights"))
    table = policy.network.table(theta)
    assert 0 < table.abs().max() < 0.2
    assert len(np.unique(theta[:, 0].numpy())) == 3
    assert torch.equal(policy.network.initial(streams([2], "policy weights"))[0], theta[2])
    ends = [part.stop for part in policy.network.parts().values()]
    assert ends[-1] == policy.network.num_parameters


def test_it_learns() -> None:
    learner = build.learner(
        compose("env=tokens", "policy=gru", "phi=return", "optimizer=adam", "optimizer.lr=0.03", "episodes=64").config
    )
    state = learner.initial([0])
    for iteration in range(1, 121):
        state, record = learner.iterate(state, [0], iteration)
    assert record["return_mean"][0] > 0.9


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("env=tokens", "policy=gru", "policy.hidden=[8]"), "write policy.units=8"),
        (("env=cartpole", "policy=gru"), "reads prompts and tokens"),
        (("env=gym", "env.id=CartPole-v1", "policy=gru"), "horizon|reads prompts and tokens"),
        (("env=chain", "policy=gru"), "reads prompts and tokens"),
        (("env=tokens", "policy=gru", "policy.units=0"), "policy.units"),
    ],
)
def test_what_it_cannot_be_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        compose(*words)


# Exact values of a network that all prompts share


def per_answer(policy, theta: Tensor, problem: TokenProblem) -> tuple[np.ndarray, np.ndarray]:
    """log pi(y|x) [P, Y] and its gradient by theta [P, Y, D], by autograd of the plain loop."""
    own = theta.double().requires_grad_()
    log_probs = plain_log_probs(policy.network, own, problem)
    scores = [torch.autograd.grad(value, own, retain_graph=True)[0] for value in log_probs.flatten()]
    return log_probs.detach().numpy(), torch.stack(scores).reshape(*log_probs.shape, -1).numpy()


@pytest.mark.parametrize(
    ("advantage", "aggregation"),
    [
        ("none", "sequence_sum"),
        ("leave_one_out", "sequence_mean"),
        ("group_standardised", "token_mean"),
        ("batch_standardised", "sequence_sum"),
        ("leave_one_out_optimal", "sequence_sum"),
    ],
)
def test_exact_moments_of_shared_parameters_are_those_of_all_batches(advantage: str, aggregation: str) -> None:
    A, w = getattr(advantages, advantage), getattr(aggregations, aggregation)
    problem = TokenProblem.of(2, 2, 2, lambda x, y: float(len(y) == 1 + x))
    policy = CausalGRU(mdp_of(problem).num_states, 2, horizon=2, units=4, embedding=2)
    theta = thetas(policy.network)[0]
    model = TabularModel(mdp_of(problem), policy)
    log_probs, S = per_answer(policy, theta, problem)
    J = model.jacobians(theta[None])[0, :-1].reshape(2, -1, 2, policy.network.num_parameters)
    logits = np.log(model.policies(theta[None])[0, :-1]).reshape(2, -1, 2)
    found = exact.moments(problem, logits, 2, A, w, jacobian=J)
    batches = np.array(list(product(range(len(problem.answers)), repeat=4))).reshape(-1, 2, 2)
    row = np.arange(2)[:, None]
    chances = np.exp(log_probs[row, batches].sum((1, 2)))
    L = problem.lengths[batches]
    norms = np.square(w(L)) * np.square(S).sum(-1)[row, batches]
    weights = w(L) * advantages.of_batch(A, problem.rewards[row, batches], lengths=L, norms=norms)
    g = np.einsum("cbn,cbnd->cd", weights, S[row, batches])
    mean = chances @ g
    np.testing.assert_allclose(found.mean[0], mean, atol=1e-6)
    assert found.variance == pytest.approx(float(chances @ np.square(g - mean).sum(1)), rel=1e-4)
    gradient = np.einsum("xy,xyd->d", np.exp(log_probs) * problem.rewards, S) / 2
    np.testing.assert_allclose(found.gradient[0], gradient, atol=1e-6)


@pytest.mark.parametrize("words", [("policy=gru", "policy.units=5"), ("policy.hidden=[6]",)])
def test_the_exact_probe_of_a_network_is_what_trains(words: tuple[str, ...]) -> None:
    """Mean and variance of an update, of 3,000 batches, each with a prompt at random for each of two groups."""
    axes = "phi=return", "advantage=leave_one_out", "aggregation=sequence_mean", "env.group=2", "episodes=4"
    job = compose("env=tokens", "env.right=[[1,0],[0]]", "env.horizon=2", "probe=exact", *axes, *words).config
    env = build.environment(job)
    policy, estimator = build.policy(job, env), build.estimator(job, job)
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(1, policy.network.num_parameters, generator=generator) * 0.5
    row = sequences.probe(job).measure(theta, None, [0], 0)[0][0]
    seeds, every = range(3000), theta.expand(3000, -1).contiguous()
    sources = (streams(seeds, f"test {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, every, env, 4, *sources)
    weights = estimator.weights(Signals(episodes.rewards, episodes.mask, 1.0), None)
    g = policy_gradient(policy, every, episodes, weights)[0].double().numpy()
    deviations = np.square(g - g.mean(0)).sum(1)
    z = (deviations.mean() - row["trace_variance"] / 4) / (deviations.std() / np.sqrt(len(g)))
    assert abs(z) < 4
    signal = np.square(g.mean(0)).sum() - deviations.mean() / len(g)
    assert row["squared_signal"] == pytest.approx(signal, rel=0.15)
