"""Networks with a leading seed axis: equal to autograd, and the same bits whoever else is there."""

from collections.abc import Callable
from math import nan

import numpy as np
import pytest
import torch
from conftest import parameters, plain_network
from torch import Tensor

from ablate.critics import Approximator
from ablate.networks import Network, orthogonal, product, store_product, tanh_
from ablate.policies import Categorical
from ablate.randomness import streams

# Sizes with a 1 in every place, odd ones, and the ones that conf/ trains.
SIZES = [
    (1, 1),
    (1, 2),
    (3, 1),
    (5, 2),
    (16, 4),
    (105, 1),
    (1, 1, 1),
    (2, 1, 3),
    (1, 7, 1),
    (7, 3, 5),
    (4, 64, 64, 2),
    (4, 64, 64, 1),
    (3, 64, 64, 1),
    (9, 33, 17, 6),
]
NETWORKS = [Network(sizes, bias=len(sizes) > 2, free=free) for sizes in SIZES for free in (0, 2)]
NETWORKS += [Network((16, columns)) for columns in (3, 5, 6, 7, 8, 9, 10, 11, 13)]
NETWORKS += [Network(sizes, activation="relu") for sizes in ((3, 5, 1), (7, 3, 6, 5), (4, 64, 64, 2))]
NETWORKS += [
    Network((4, 256, 256, 2), activation="relu"),
    Network((3, 130, 128, 9)),
    Network((200, 1)),
]  # large layers: see `product`
NETWORKS += [Network((5, 2)), Network((3, 1)), Network((4, 8, 2), bias=False)]
ROWS = [1, 2, 3, 4, 5, 6, 7, 16, 512]
SEEDS = range(5)
AMONG = 300


def name(network: Network) -> str:
    return f"{'-'.join(map(str, network.sizes))}{'b' * network.bias}{'f' * network.free}{network.activation[0]}"


def each(networks: list[Network]) -> Callable:
    return pytest.mark.parametrize("network", networks, ids=name)


def inputs_of(network: Network, rows: int) -> tuple[Tensor, Tensor]:
    """x [S, R, in] and output scores d [S, R, O], a thing that comes with padding rows of zeros."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(len(SEEDS), rows, network.sizes[0], generator=generator)
    d = torch.randn(len(SEEDS), rows, network.sizes[-1] + network.free, generator=generator)
    d[2, rows // 2 :] = 0
    return x, d


def everything(network: Network, theta: Tensor, x: Tensor, d: Tensor) -> list[Tensor]:
    """Outputs, layer inputs, output scores, and gradients summed over the rows, with K = 3 weights too."""
    outputs, inputs = network.forward(theta, x)
    gradient = network.gradient(theta, inputs, d)
    weights = torch.stack([x[..., 0], d[..., 0], torch.ones_like(x[..., 0])], -1)
    weighted = network.weighted_gradients(theta, inputs, d, weights)
    return [outputs, *inputs, *network.output_scores(theta, inputs, d), gradient, weighted]


@each(NETWORKS)
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_forward_and_gradient_are_autograds(network: Network, rows: int) -> None:
    theta = parameters(network, SEEDS)
    x, d = inputs_of(network, rows)
    outputs, inputs = network.forward(theta, x)
    gradient = network.gradient(theta, inputs, d)
    assert torch.equal(network.gradient_at(theta, torch.full_like(theta, nan))(inputs, d), gradient)
    weights = torch.randn(len(SEEDS), rows, 2, generator=torch.Generator().manual_seed(0))
    weighted = network.weighted_gradients(theta, inputs, d, weights)
    for s in range(len(SEEDS)):
        own = theta[s].double().requires_grad_()
        wanted = plain_network(network, own, x[s].double())
        torch.testing.assert_close(outputs[s].double(), wanted.detach(), rtol=1e-5, atol=1e-5)
        (slope,) = torch.autograd.grad((wanted * d[s]).sum(), own, retain_graph=True)
        torch.testing.assert_close(gradient[s].double(), slope, rtol=1e-5, atol=2e-5)
        for k in range(2):
            (slope,) = torch.autograd.grad((wanted * d[s] * weights[s, :, k : k + 1]).sum(), own, retain_graph=True)
            torch.testing.assert_close(weighted[s, k].double(), slope, rtol=1e-5, atol=2e-5)


@each(NETWORKS)
def test_the_scores_of_layers_are_autograds(network: Network) -> None:
    """d_l is the derivative by what layer l adds up to: by its bias, were it one of each row's own."""
    theta = parameters(network, SEEDS)
    x, d = inputs_of(network, 6)
    _, inputs = network.forward(theta, x)
    scores = network.output_scores(theta, inputs, d)
    for s in range(len(SEEDS)):
        offsets = [torch.zeros_like(score[s]).double().requires_grad_() for score in scores]
        y = x[s].double()
        for k, (weight, bias) in enumerate(network.layers(theta[s : s + 1].double())):
            y = (
                (getattr(torch, network.activation)(y) if k else y) @ weight[0]
                + (0 if bias is None else bias[0])
                + offsets[k]
            )
        slopes = torch.autograd.grad((y * d[s, :, : network.sizes[-1]]).sum(), offsets)
        for score, slope in zip(scores, slopes, strict=True):
            torch.testing.assert_close(score[s].double(), slope, rtol=1e-5, atol=1e-5)


@each(NETWORKS)
@pytest.mark.parametrize("rows", ROWS)
def test_a_seeds_bits_are_the_same_alone_and_among_others(network: Network, rows: int) -> None:
    """At any place among them, so at any place in memory; and where its parameters are a copy or a view."""
    theta = parameters(network, SEEDS)
    x, d = inputs_of(network, rows)
    together = everything(network, theta, x, d)
    for s in SEEDS:
        for own in (slice(s, s + 1), [s], [s, (s + 1) % 5], [(s + 2) % 5, (s + 4) % 5, s]):
            at = 0 if isinstance(own, slice) else own.index(s)
            few = everything(network, theta[own], x[own], d[own])
            assert all(torch.equal(a[at], b[s]) for a, b in zip(few, together, strict=True))


@each(NETWORKS)
def test_a_rows_bits_are_the_same_among_any_rows_from_the_fewest_on(network: Network) -> None:
    """What lets a rollout drop episodes that have ended."""
    theta, fewest = parameters(network, SEEDS), network.fewest_rows(AMONG)
    x, _ = inputs_of(network, AMONG)
    outputs, _ = network.forward(theta, x)
    for rows in range(fewest, AMONG + 1, 1 if fewest < 64 else 7):
        some, _ = network.forward(theta, x[:, :rows].contiguous())
        assert torch.equal(some, outputs[:, :rows])
        others = torch.arange(x.shape[1]).flip(0)[:rows]
        some, _ = network.forward(theta[1:2], x[1:2, others])
        assert torch.equal(some[0], outputs[1, others])


@each(NETWORKS)
def test_zero_rows_behind_a_seeds_last_change_no_bit_of_its_gradient(network: Network) -> None:
    """A seed with few steps fills as many blocks of rows as the one with most: with zeros."""
    theta = parameters(network, SEEDS)
    x, d = inputs_of(network, 512)
    x[:, 300:], d[:, 300:] = 0, 0
    _, inputs = network.forward(theta, x)
    gradient = network.gradient(theta, inputs, d)
    _, nothing = network.forward(theta, torch.zeros_like(x))
    assert torch.equal(gradient + network.gradient(theta, nothing, torch.zeros_like(d)), gradient)


@pytest.mark.parametrize("over_rows", [False, True])
@pytest.mark.parametrize("inner", [1, 2, 3, 64, 512])
@pytest.mark.parametrize("columns", [1, 2, 5, 8, 9, 64, 256])
@pytest.mark.parametrize("rows", [1, 2, 5, 16, 33])
def test_products_are_products_and_batch_invariant(rows: int, columns: int, inner: int, over_rows: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(7, rows, inner, generator=generator)
    a = a.transpose(1, 2).contiguous().transpose(1, 2) if over_rows else a
    apart = torch.empty(a.numel() + 1).as_strided(a.shape, a.stride(), 1).copy_(a)  # at another place in memory
    b = torch.randn(7, inner, columns, generator=generator)
    bias = torch.randn(7, 1, columns, generator=generator)
    for extra in (None, bias):
        found = product(a, b, extra)
        wanted = a.double() @ b.double() + (0 if extra is None else extra.double())
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-4)
        for s in range(7):
            own = None if extra is None else extra[s : s + 1]
            assert torch.equal(product(a[s : s + 1], b[s : s + 1], own)[0], found[s])
            assert torch.equal(product(a[s : s + 1].clone(), b[s : s + 1].clone(), own)[0], found[s])
            turned = b[s : s + 1].transpose(1, 2).contiguous().transpose(1, 2)
            assert torch.equal(product(apart[s : s + 1], turned, own), product(a[s : s + 1], turned, own))
    stored = torch.full((7, columns, rows), nan).transpose(1, 2)
    store_product(stored, a, b)
    assert torch.equal(stored, product(a, b))


def test_tanh_is_tanh_in_place() -> None:
    x = torch.linspace(-20, 20, 1001)
    wanted = torch.tanh(x.double())
    y = tanh_(x)
    assert y is x
    torch.testing.assert_close(x.double(), wanted, rtol=1e-6, atol=1e-7)


@each(NETWORKS)
def test_parameters_are_counted_and_laid_out_once(network: Network) -> None:
    theta = torch.zeros(2, network.num_parameters)
    for weight, bias in network.layers(theta):
        weight += 1
        if bias is not None:
            bias += 1
    theta[:, network.num_parameters - network.free :] += 1
    assert (theta == 1).all()


def test_relu_is_relu_in_place_and_its_slope_is_0_at_0() -> None:
    network = Network((2, 2, 1), bias=False, activation="relu")
    theta = torch.tensor([[1.0, 0, 0, 1, 2, 3]])  # y = 2 relu(x_1) + 3 relu(x_2)
    x = torch.tensor([[[-1.0, 4.0], [0.0, -5.0], [2.0, 1.0], [0.5, 0.0]]])
    outputs, inputs = network.forward(theta, x)
    assert outputs.flatten().tolist() == [12, 0, 7, 1]
    scores = network.output_scores(theta, inputs, torch.ones(1, 4, 1))
    assert scores[0].tolist() == [[[0, 3], [0, 0], [2, 3], [2, 0]]]


def test_initial_weights_are_uniform_with_the_last_layer_small() -> None:
    network = Network((4, 64, 64, 2), free=2, last_scale=0.01)
    theta = network.initial(streams(range(20), "policy weights"))
    for k, (weight, bias) in enumerate(network.layers(theta)):
        bound = (0.01 if k == 2 else 1) * (3 / network.sizes[k]) ** 0.5
        assert bias is not None
        assert not bias.any()
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.98 * bound
        assert abs(float(weight.mean())) < 6 * bound / (3 * weight.numel()) ** 0.5  # 6 standard errors, fixed seeds
    assert not theta[:, -2:].any()
    assert len(np.unique(theta[:, 0].numpy())) == 20
    assert torch.equal(network.initial(streams([7], "policy weights"))[0], theta[7])


def test_initial_weights_and_biases_of_relu_are_distributed_as_torchs() -> None:
    """Compared by their largest size and their spread, within 6 standard errors; fixed seeds."""
    network = Network((9, 50, 40, 30), activation="relu")
    theta = network.initial(streams(range(20), "critic Q weights"))
    for (weight, bias), i, o in zip(network.layers(theta), network.sizes, network.sizes[1:], strict=False):
        torch_layer = torch.nn.Linear(i, o)
        assert bias is not None
        for ours, theirs in ((weight, torch_layer.weight), (bias, torch_layer.bias)):
            assert ours.abs().max() <= i**-0.5
            assert theirs.abs().max() <= i**-0.5
            assert float(ours.square().mean()) == pytest.approx(1 / (3 * i), rel=6 * (0.8 / ours.numel()) ** 0.5)
    assert torch.equal(network.initial(streams([7], "critic Q weights"))[0], theta[7])


def test_a_linear_network_starts_at_zero() -> None:
    assert not Network((4, 2), bias=False).initial(streams([0, 1], "policy weights")).any()


@pytest.mark.parametrize("sizes", [(4, 64, 64, 2), (17, 64, 32, 6), (9, 5), (3, 1)])
def test_orthogonal_initial_weights_have_orthogonal_rows_or_columns_of_their_gain(sizes: tuple[int, ...]) -> None:
    """W'W = gain^2 where inputs are at least as many as outputs, W W' = gain^2 elsewhere; biases are 0."""
    network = Network(sizes, free=2, last_scale=0.01, initializer="orthogonal")
    theta = network.initial(streams(range(10), "policy weights"))
    for k, (weight, bias) in enumerate(network.layers(theta.double())):
        gain = 0.01 if k == len(sizes) - 2 else 2**0.5
        gram = weight.mT @ weight if sizes[k] >= sizes[k + 1] else weight @ weight.mT
        wanted = gain**2 * torch.eye(gram.shape[1], dtype=torch.float64).expand_as(gram)
        torch.testing.assert_close(gram, wanted, rtol=0, atol=2e-6 * gain**2)
        assert bias is not None
        assert not bias.any()
    assert not theta[:, -2:].any()
    assert len(np.unique(theta[:, 0].numpy())) == 10
    for seed in (0, 7):
        assert torch.equal(network.initial(streams([seed], "policy weights"))[0], theta[seed])


def test_orthogonal_initial_weights_favour_no_direction() -> None:
    """Uniform over orthogonal matrices: E[w_ij] = 0 and E[w_ij^2] = 1 / max(in, out), at every place; 5 standard
    errors. Without the signs of R's diagonal, that of Q has a mean far from 0."""
    draws = np.stack([orthogonal(stream, 2, 3) for stream in streams(range(4000), "policy weights")])
    assert np.abs(draws.mean(0)).max() < 5 * (1 / 3 / 4000) ** 0.5
    np.testing.assert_allclose((draws**2).mean(0), 1 / 3, atol=5 * (4 / 45 / 4000) ** 0.5)


def test_orthogonal_weights_at_init_are_stable_baselines3s() -> None:
    """Its scheme on its own policy of the same layers: equal singular values of every weight, actor and critic."""
    a2c = pytest.importorskip("stable_baselines3").A2C("MlpPolicy", "CartPole-v1", device="cpu", seed=0).policy
    theirs = [x for x in (*a2c.mlp_extractor.policy_net, a2c.action_net) if isinstance(x, torch.nn.Linear)]
    theirs += [x for x in (*a2c.mlp_extractor.value_net, a2c.value_net) if isinstance(x, torch.nn.Linear)]
    actor = Categorical(4, 2, (64, 64), initializer="orthogonal").network
    critic = Approximator.build(4, (64, 64), None, "orthogonal").network
    ours = [layer for net in (actor, critic) for layer in net.layers(net.initial(streams([0], "policy weights")))]
    for (weight, _), layer in zip(ours, theirs, strict=True):
        values = (torch.linalg.svdvals(x) for x in (weight[0].T, layer.weight.detach()))
        torch.testing.assert_close(*values, rtol=1e-5, atol=0)
        assert not layer.bias.any()
