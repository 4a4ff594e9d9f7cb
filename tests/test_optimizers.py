"""Optimisers against torch's own on the same gradients, and seed by seed."""

from collections.abc import Callable

import pytest
import torch
from conftest import choices, compose
from torch import Tensor

from ablate import build
from ablate.optimizers import SGD, Adam, Optimizer, RMSProp, clipped, norm

S, P, STEPS = 3, 11, 20


def gradients(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(STEPS, S, P, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def ascend(optimizer: Optimizer, start: Tensor, along: Tensor) -> Tensor:
    theta, moments = start.clone(), optimizer.initial(start)
    for step, gradient in enumerate(along, start=1):
        theta, moments = optimizer.ascend(theta, gradient, moments, step)
    return theta


def ascend_torch(make: Callable, start: Tensor, along: Tensor, max_norm: float | None = None) -> Tensor:
    """Each seed by itself, with torch.optim."""
    rows = []
    for s in range(len(start)):
        theta = start[s].clone().requires_grad_()
        optimizer = make([theta], maximize=True)
        for gradient in along[:, s]:
            theta.grad = gradient.clone()
            if max_norm:
                torch.nn.utils.clip_grad_norm_([theta], max_norm)
            optimizer.step()
        rows.append(theta.detach())
    return torch.stack(rows)


@pytest.mark.parametrize("max_norm", [None, 2.0])
def test_adam_is_torchs(max_norm: float | None) -> None:
    start, along = torch.zeros(S, P, dtype=torch.float64), gradients()
    found = ascend(Adam(0.03, 0.8, 0.95, 1e-6, max_norm), start, along)
    wanted = ascend_torch(lambda p, **kw: torch.optim.Adam(p, 0.03, (0.8, 0.95), 1e-6, **kw), start, along, max_norm)
    torch.testing.assert_close(found, wanted, rtol=1e-5 if max_norm else 1e-10, atol=1e-10)  # torch adds 1e-6 to |g|


@pytest.mark.parametrize("max_norm", [None, 2.0])
def test_sgd_is_torchs(max_norm: float | None) -> None:
    start, along = torch.ones(S, P, dtype=torch.float64), gradients()
    found = ascend(SGD(0.1, max_norm), start, along)
    wanted = ascend_torch(lambda p, **kw: torch.optim.SGD(p, 0.1, **kw), start, along, max_norm)
    torch.testing.assert_close(found, wanted, rtol=1e-5 if max_norm else 1e-12, atol=1e-12)


@pytest.mark.parametrize("max_norm", [None, 2.0])
def test_rmsprop_is_torchs(max_norm: float | None) -> None:
    start, along = torch.ones(S, P, dtype=torch.float64), gradients()
    found = ascend(RMSProp(0.02, 0.9, 1e-3, max_norm), start, along)
    wanted = ascend_torch(lambda p, **kw: torch.optim.RMSprop(p, 0.02, 0.9, 1e-3, **kw), start, along, max_norm)
    torch.testing.assert_close(found, wanted, rtol=1e-5 if max_norm else 1e-12, atol=1e-12)


def test_two_steps_of_rmsprop_by_hand() -> None:
    """g = 2, then 1, with lr 0.1, decay 0.75, eps 0.5: v = 0.25 * 4 = 1, theta = 0.1 * 2 / (1 + 0.5);
    v = 0.75 + 0.25 = 1, and theta grows by 0.1 * 1 / 1.5."""
    theta = ascend(RMSProp(0.1, 0.75, 0.5), torch.zeros(1, 1), torch.tensor([[[2.0]], [[1.0]]]))
    assert theta.item() == pytest.approx(0.2 / 1.5 + 0.1 / 1.5, rel=1e-6)


def test_adam_in_place_is_adam() -> None:
    start, along = gradients()[0], gradients()[1:]
    for max_norm in (None, 2.0):
        optimizer = Adam(0.03, max_grad_norm=max_norm)
        theta, moments = start.clone(), optimizer.initial(start)
        for step, gradient in enumerate(along.clone(), start=1):
            length = optimizer.ascend_(theta, gradient, moments, step)
            assert torch.equal(length, norm(along[step - 1]))
        assert torch.equal(theta, ascend(optimizer, start, along))
    assert torch.equal(along, gradients()[1:])


def test_a_mean_that_decays_without_end_is_never_a_float_of_fewer_digits() -> None:
    """m is 2e-37, then 1.8e-37, ...; from 1.2e-38 on down floats have fewer digits, and other arithmetic keeps them."""
    optimizer, smallest = Adam(0.1), torch.finfo(torch.float32).smallest_normal
    theta, moments = torch.ones(2, 1000), {"m": torch.full((2, 1000), 2e-37), "v": torch.ones(2, 1000)}
    for step in range(1, 100):
        optimizer.ascend_(theta, torch.zeros(2, 1000), moments, step)
        assert ((moments["m"] == 0) | (moments["m"] >= smallest)).all()
    assert (moments["m"] < 1.2e-37).all()
    assert torch.tensor(smallest).mul(0.5) > 0


def test_all_ascend() -> None:
    """Towards the maximum of -|theta - 3|^2 / 2, whose gradient is 3 - theta."""
    for optimizer in (SGD(0.1), Adam(0.1), RMSProp(0.005)):
        theta = torch.zeros(S, P)
        moments = optimizer.initial(theta)
        for step in range(1, 1001):
            theta, moments = optimizer.ascend(theta, 3 - theta, moments, step)
        torch.testing.assert_close(theta, torch.full_like(theta, 3.0), rtol=0, atol=0.01)


def test_clipping_shortens_long_gradients_only_and_never_turns_them() -> None:
    g = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-30.0, 40.0]])
    torch.testing.assert_close(clipped(g, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0], [-0.6, 0.8]]))
    assert torch.equal(clipped(g, None), g)
    assert torch.equal(clipped(g, 100.0), g)


def test_a_norm_is_of_a_seed() -> None:
    assert norm(torch.tensor([[3.0, 4.0], [0.0, -2.0]])).tolist() == [5, 2]


@pytest.mark.parametrize("name", sorted({*choices("optimizer")} - {"natural"}))
@pytest.mark.parametrize("size", [1, 2, 5, 17, 64, 1001])
def test_a_seeds_steps_are_the_same_bits_alone_and_among_others(name: str, size: int) -> None:
    """A NaN of a neighbour is its own affair, too."""
    optimizer = build.part(compose(f"optimizer={name}", "optimizer.max_grad_norm=0.5").config["optimizer"])
    generator = torch.Generator().manual_seed(1)
    start, along = torch.randn(5, size, generator=generator), torch.randn(4, 5, size, generator=generator)
    along[2, 4] = torch.nan
    together = ascend(optimizer, start, along)
    for s in range(4):
        assert torch.equal(ascend(optimizer, start[s : s + 1], along[:, s : s + 1])[0], together[s])
    assert together[:4].isfinite().all()


def test_what_goes_in_is_left_as_it_was() -> None:
    theta, gradient = torch.ones(S, P), torch.ones(S, P)
    for optimizer in (SGD(0.1, 0.5), Adam(0.1, max_grad_norm=0.5), RMSProp(0.1, max_grad_norm=0.5)):
        moments = optimizer.initial(theta)
        before = {name: x.clone() for name, x in moments.items()}
        optimizer.ascend(theta, gradient, moments, 1)
        assert torch.equal(theta, torch.ones(S, P))
        assert torch.equal(gradient, torch.ones(S, P))
        assert all(torch.equal(moments[name], x) for name, x in before.items())
