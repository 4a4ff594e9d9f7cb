"""The probe of a foreign model, on what people bring: each has the numbers of a loop of backward, or one clear line."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ablate.errors import UserError
from ablate.probes.module import probe

N = 20


class LowRank(nn.Module):
    """A frozen linear map and a trained correction of rank 2."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(5, 3).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, 5)), nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


class Tied(nn.Module):
    """The embedding is the output layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(3, 4), nn.Linear(4, 3, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embedding((x[..., 0] > 0).long()).tanh())


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(5, 3), nn.Linear(5, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def plain(model: nn.Module, batch) -> Tensor:
    x, y = batch
    return cross_entropy(model(x), y, reduction="none")


def changes_its_loss_in_place(model: nn.Module, batch) -> Tensor:
    losses = plain(model, batch)
    return losses.mul_(2).add_(1.0)


def changes_its_batch_in_place(model: nn.Module, batch) -> Tensor:
    x, y = batch
    return cross_entropy(model(x.mul_(2.0)), y, reduction="none")


def in_half_precision(model: nn.Module, batch) -> Tensor:
    x, y = batch
    return cross_entropy(model(x.bfloat16()).float(), y, reduction="none")


def batch_of_tensors() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 5), torch.randint(0, 3, (N,))


def of_loop(model: nn.Module, loss, samples) -> np.ndarray:
    """<g_i, g_j> by one backward() a sample, [N, N]."""
    rows = []
    for sample in samples:
        model.zero_grad()
        loss(model, sample).sum().backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters() if p.requires_grad]
        rows.append(torch.cat([g.double().ravel() for g in grads]))
    model.zero_grad()
    return (torch.stack(rows) @ torch.stack(rows).T).numpy()


MODELS = {
    "frozen parameters": (LowRank, plain, 16),
    "tied weights": (Tied, plain, 12),
    "an unused parameter": (Idle, plain, 18 + 54),
    "batch norm, evaluated": (lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).eval(), plain, 24),
    "a loss changed in place": (lambda: nn.Linear(5, 3), changes_its_loss_in_place, 18),
    "a batch changed in place": (lambda: nn.Linear(5, 3), changes_its_batch_in_place, 18),
    "half precision": (lambda: nn.Linear(5, 3).bfloat16(), in_half_precision, 18),
    "double precision": (lambda: nn.Linear(5, 3).double(), lambda m, b: plain(m, (b[0].double(), b[1])), 18),
    "a parametrisation": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)),
        plain,
        21,
    ),
}


@pytest.mark.parametrize("what", MODELS)
def test_gradients_are_those_of_a_loop_of_backward_and_nothing_is_changed(what: str) -> None:
    torch.manual_seed(0)
    make, loss, parameters = MODELS[what]
    model, (x, y) = make(), batch_of_tensors()
    kept = x.clone(), [p.clone() for p in model.parameters()]
    found = probe(model, loss, (x, y))
    assert torch.equal(x, kept[0])
    assert all(p.grad is None and torch.equal(p, before) for p, before in zip(model.parameters(), kept[1], strict=True))
    wanted = of_loop(model, loss, [(x[i : i + 1].clone(), y[i : i + 1]) for i in range(N)])
    near = 5e-3 if what == "half precision" else 1e-5  # rounding of bfloat16
    np.testing.assert_allclose(found.gram, wanted, rtol=near, atol=near * np.abs(wanted).max())
    assert found.table["parameters"].item() == parameters


def test_a_list_of_dictionaries_is_taken_one_at_a_time() -> None:
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(5, 3), batch_of_tensors()
    listed = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]

    def of_one(model: nn.Module, sample: dict[str, Tensor]) -> Tensor:
        return cross_entropy(model(sample["x"])[None], sample["y"][None])

    np.testing.assert_allclose(probe(model, of_one, listed).gram, of_loop(model, of_one, listed), rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="with one sample of a list"):
        probe(model, lambda m, b: plain(m, (torch.stack([d["x"] for d in b]), y)), listed)


def test_dropout_in_training_mode_is_differentiated_at_the_masks_that_were_drawn() -> None:
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)), batch_of_tensors()
    torch.manual_seed(7)
    found = probe(model, plain, (x, y))
    torch.manual_seed(7)
    losses = plain(model, (x, y))
    rows = [
        torch.cat([g.ravel() for g in torch.autograd.grad(each, list(model.parameters()), retain_graph=True)])
        for each in losses
    ]
    np.testing.assert_allclose(found.gram, (torch.stack(rows) @ torch.stack(rows).T).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("listed", [False, True])
def test_all_samples_see_the_vectors_of_a_spectral_norm_as_they_were(norm, listed: bool) -> None:
    """In training mode each forward pass moves them on; here they are far from where they lead."""
    torch.manual_seed(0)
    model, x, y = nn.Sequential(norm(nn.Linear(40, 40)), nn.Tanh(), nn.Linear(40, 3)), torch.randn(N, 40), torch.ones(N)
    for vector in model.buffers():
        vector.copy_(nn.functional.normalize(torch.randn_like(vector), dim=0))
    before = [vector.clone() for vector in model.buffers()]
    samples = [(x[i : i + 1], y[i : i + 1].long()) for i in range(N)]
    found = probe(model, plain, samples if listed else (x, y.long()))
    assert all(torch.equal(*pair) for pair in zip(model.buffers(), before, strict=True))
    losses = plain(model, (x, y.long()))
    rows = [
        torch.cat([g.ravel() for g in torch.autograd.grad(each, list(model.parameters()), retain_graph=True)])
        for each in losses
    ]
    np.testing.assert_allclose(found.gram, (torch.stack(rows) @ torch.stack(rows).T).numpy(), rtol=1e-4, atol=1e-4)


def goes_back(model: nn.Module, batch) -> Tensor:
    losses = plain(model, batch)
    losses.sum().backward()
    return losses


def spoils(model: nn.Module, batch) -> Tensor:
    """exp needs its own value for its gradient."""
    grown = plain(model, batch).exp()
    return grown.mul_(2.0)


def test_what_has_no_gradient_of_a_sample_is_told_in_one_line() -> None:
    torch.manual_seed(0)
    (x, y), model = batch_of_tensors(), nn.Linear(5, 3)
    gap = x.clone()
    gap[7, 2] = torch.nan
    in_training = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    for judged, loss, batch, told in (
        (model, plain, (gap, y), "plain is not finite at sample 7 of its batch"),
        (model, lambda m, b: plain(m, b), (gap, y), "loss is not finite at sample 7"),
        (model, plain, (x[:1], y[:1]), "1 sample: too few to tell noise from; give at least 16"),
        (in_training, plain, (x, y), r"batch normalisation in training mode \(1\) mixes samples; call model.eval"),
        (model, goes_back, (x, y), "goes_back cannot be differentiated: .*call no backward"),
        (nn.Linear(5, 3, device="meta"), plain, (x, y), "the parameter weight lies on the meta device"),
        (nn.LazyLinear(3), plain, (x, y), "the parameter weight has no shape yet"),
        (model, spoils, (x, y), "spoils cannot be differentiated: .*change nothing in place"),
    ):
        with pytest.raises(UserError, match=told) as refused:
            probe(judged, loss, batch)
        assert "\n" not in str(refused.value)
