"""The gradient noise of a foreign torch Module, against plain loops of backward() and our own probe."""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import compose, plain_log_prob
from torch import nn

from ablate import build
from ablate.episodes.rollout import rollout
from ablate.errors import UserError
from ablate.gradients import per_trajectory_gradients
from ablate.phi import Signals
from ablate.probes.module import GradientNoise, probe
from ablate.probes.per_sample import per_sample_gradients
from ablate.randomness import streams
from ablate.statistics import noise
from ablate.statistics.block_sums import blocks_of

N = 24


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, 3, generator=generator), torch.randn(N, generator=generator)


def each(model: nn.Module, batch) -> torch.Tensor:
    x, y = batch
    return (model(x).squeeze(-1) - y) ** 2


def mean(model: nn.Module, batch) -> torch.Tensor:
    return each(model, batch).mean()


def by_backward(model: nn.Module, batch) -> np.ndarray:
    """[N, P], one backward() a sample."""
    rows = []
    for i in range(N):
        copy = deepcopy(model)
        each(copy, (batch[0][i : i + 1], batch[1][i : i + 1])).sum().backward()
        rows.append(np.concatenate([p.grad.numpy().ravel() for p in copy.parameters()]))
    return np.stack(rows)


class NoBatching(torch.autograd.Function):
    """Squares; has no rule for several vectors at once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * 2 * torch.from_numpy(x.detach().numpy().copy())


def without_batching(model: nn.Module, batch) -> torch.Tensor:
    return NoBatching.apply(model(batch[0]).squeeze(-1) - batch[1])


def as_a_column(model: nn.Module, batch) -> torch.Tensor:
    return each(model, batch)[:, None]


@pytest.mark.parametrize("loss", [each, mean, without_batching, as_a_column])
def test_gradients_are_those_of_backward_sample_by_sample(model, batch, loss) -> None:
    found = per_sample_gradients(model, loss, batch, dict(model.named_parameters()))
    rows = np.stack([np.concatenate([g.ravel() for g in gradient]) for gradient in found])
    np.testing.assert_allclose(rows, by_backward(model, batch), rtol=1e-5, atol=1e-6)


def test_a_column_of_losses_is_their_vector_also_where_samples_hang_together(model, batch) -> None:
    """Called with one sample at a time it would be another loss."""

    def standardised(model: nn.Module, batch) -> torch.Tensor:
        losses = each(model, batch)
        return losses / losses.detach().mean()

    found = probe(model, {"vector": standardised, "column": lambda m, b: standardised(m, b)[:, None]}, batch).table
    assert found["trace_variance"]["column"] == pytest.approx(found["trace_variance"]["vector"], rel=1e-6)


def test_measures_are_those_of_the_gradients(model, batch) -> None:
    rows = by_backward(model, batch).astype(np.float64)
    found = probe(model, each, batch)
    row = found.table.loc["each"]
    trace = rows.var(0, ddof=1).sum()
    signal = np.square(rows.mean(0)).sum() - trace / N
    assert row["trace_variance"] == pytest.approx(trace, rel=1e-5)
    assert row["snr"] == pytest.approx(signal / trace, rel=1e-4)
    assert found.critical_batch_size["each"] == row["nsr"]
    np.testing.assert_allclose(found.gram, rows @ rows.T, rtol=1e-4, atol=1e-5)
    by_layer = [rows[:, :12], rows[:, 12:16], rows[:, 16:20], rows[:, 20:]]
    expected = [part.var(0, ddof=1).sum() / trace for part in by_layer]
    assert found.layers["share"].tolist() == pytest.approx(expected, rel=1e-4)
    assert found.layers["parameter"].tolist() == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_several_losses_are_compared_on_the_same_samples(model, batch) -> None:
    found = probe(model, {"one": each, "double": lambda m, b: 2 * each(m, b)}, batch)
    assert found.table.loc["double", "log_ratio"] == pytest.approx(np.log(4), rel=1e-5)
    assert found.table.loc["double", "log_ratio_high"] - np.log(4) == pytest.approx(0, abs=1e-4)
    assert found.table.loc["one", "nsr"] == pytest.approx(found.table.loc["double", "nsr"], rel=1e-4)


def test_nothing_of_the_model_changes(model, batch) -> None:
    before = deepcopy(model.state_dict())
    probe(model, mean, batch)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def rows_of(model: nn.Module, loss, batch) -> np.ndarray:
    found = per_sample_gradients(model, loss, batch, dict(model.named_parameters()))
    return np.stack([np.concatenate([g.ravel() for g in gradient]) for gradient in found])


class Counting(nn.Module):
    """A buffer that changes, shared weights, a part that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(3, 3, bias=False)
        self.out = nn.Linear(3, 3, bias=False)
        self.out.weight = self.into.weight
        self.idle = nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.out(torch.tanh(self.into(x)))[:, :1]


def test_buffers_and_torchs_generator_are_put_back() -> None:
    x, y = torch.randn(N, 3), torch.randn(N)
    for model in (Counting(), nn.Sequential(nn.Linear(3, 8), nn.Dropout(), nn.Linear(8, 1))):
        before, state = deepcopy(model.state_dict()), torch.get_rng_state()
        found = probe(model, {"vector": each, "number": mean, "again": each}, (x, y)).table
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
        vector, again = found.loc[["vector", "again"], "trace_variance"]
        assert vector == pytest.approx(again, rel=1e-9)  # the same dropout


def test_shared_and_idle_parameters_are_counted_once() -> None:
    model, x, y = Counting(), torch.randn(N, 3), torch.randn(N)
    for loss in (each, mean):
        rows = rows_of(model, loss, (x, y))
        assert rows.shape == (N, 9 + 6)
        assert not rows[:, 9:].any()
        np.testing.assert_allclose(rows, by_backward_of(model, (x, y)), rtol=1e-4, atol=1e-6)


def by_backward_of(model: nn.Module, batch) -> np.ndarray:
    rows = []
    for i in range(N):
        loss = each(model, (batch[0][i : i + 1], batch[1][i : i + 1])).sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        pairs = zip(gradients, model.parameters(), strict=True)
        rows.append(np.concatenate([np.zeros(p.numel()) if g is None else g.numpy().ravel() for g, p in pairs]))
    return np.stack(rows)


def test_frozen_parameters_are_left_out(model, batch) -> None:
    whole = by_backward(model, batch)
    model[0].requires_grad_(False)
    np.testing.assert_allclose(probe(model, each, batch).gram, whole[:, 16:] @ whole[:, 16:].T, rtol=1e-4, atol=1e-5)


def test_batch_normalisation_is_judged_at_its_running_statistics_alone(batch) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(UserError, match=r"mixes samples; call model.eval\(\) first"):
        probe(model, each, batch)
    model.eval()
    np.testing.assert_allclose(rows_of(model, each, batch), by_backward_of(model, batch), rtol=1e-4, atol=1e-6)


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def test_batches_of_many_forms(model, batch) -> None:
    rows = by_backward(model, batch)
    x, y = batch

    def of_fields(model: nn.Module, pair: Pair) -> torch.Tensor:
        return each(model, (pair.x, pair.y)).mean()

    def of_keys(model: nn.Module, batch: dict) -> torch.Tensor:
        return each(model, (batch["of"]["x"], batch["y"]))

    forms = [
        (of_fields, Pair(x, y)),
        (of_keys, {"of": {"x": x}, "y": y}),
        (mean, [(x[i : i + 1], y[i : i + 1]) for i in range(N)]),
    ]
    for loss, form in forms:
        np.testing.assert_allclose(rows_of(model, loss, form), rows, rtol=1e-4, atol=1e-6)


def test_sparse_gradients_are_gradients() -> None:
    model, x = nn.Embedding(10, 3, sparse=True), torch.arange(N) % 10
    found = rows_of(model, lambda m, b: m(b).square().sum(-1), x)
    expected = np.zeros((N, 10, 3))
    expected[np.arange(N), x] = 2 * model.weight.detach()[x]
    np.testing.assert_allclose(found, expected.reshape(N, -1), rtol=1e-5)


def test_in_adams_metric_each_parameter_is_divided_by_its_root_mean_square(model, batch) -> None:
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        mean(model, batch).backward()
        optimizer.step()
    optimizer.zero_grad()
    rows = by_backward(model, batch).astype(np.float64)
    v = torch.cat([optimizer.state[p]["exp_avg_sq"].ravel() for p in model.parameters()]).double().numpy()
    scaled = rows / (np.sqrt(v / (1 - 0.999**3)) + 1e-3)
    found = probe(model, each, batch, optimizer).table.loc["each"]
    assert found["adam_trace_variance"] == pytest.approx(scaled.var(0, ddof=1).sum(), rel=1e-4)
    assert found["trace_variance"] == pytest.approx(rows.var(0, ddof=1).sum(), rel=1e-4)


def test_it_finds_what_our_own_probe_finds_of_the_same_policy_and_episodes() -> None:
    """REINFORCE with reward-to-go on the chain: a policy of ours, and the same weights as a Module."""
    job = compose("env=chain", "phi=rtg", "policy.hidden=[5]")
    env = build.environment(job.config)
    policy = build.policy(job.config, env)
    theta = policy.network.initial(streams([3], "policy weights"))
    sources = (streams([3], f"test {what}", 0) for what in ("environment", "actions"))
    episodes = rollout(policy, theta, env, N, *sources)
    weights = build.estimator(job.config, job.config).weights(Signals(episodes.rewards, episodes.mask, 1.0), None)
    own = per_trajectory_gradients(policy, theta, episodes, weights[None]).numpy()[0, 0]  # [N, P]

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(theta.double())

    def reinforce(module: Module, i: int) -> torch.Tensor:
        """-sum_t log pi(a_t|s_t) G_t of episode i: the slide's loss."""
        log_prob = plain_log_prob(policy, module.theta[0], episodes.observations[0, i], episodes.actions[0, i])
        return -(log_prob * torch.from_numpy(weights[0, i])).sum()

    found = probe(Module(), reinforce, list(range(N))).table.loc["reinforce"]
    blocks = blocks_of(own[:, None])
    for name, interval in {"trace_variance": noise.trace_variance(blocks), "snr": noise.snr(blocks)}.items():
        for end, value in zip(("", "_low", "_high"), interval, strict=True):
            assert found[f"{name}{end}"] == pytest.approx(value.item(), rel=1e-5, abs=1e-8)


def test_it_is_shown_as_a_table_and_a_picture(model, batch) -> None:
    found = probe(model, {"one": each, "double": lambda m, b: 2 * each(m, b)}, batch)
    assert isinstance(found, GradientNoise)
    assert "trace_variance" in found._repr_html_()
    left, right = found.plot().axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["one", "double"]
    assert right.get_xlabel() == "share of the trace variance"


def test_what_cannot_be_measured_is_refused(model, batch) -> None:
    x, y = batch
    with pytest.raises(UserError, match="3 samples: too few to tell noise from"):
        probe(model, each, (x[:3], y[:3]))
    with pytest.raises(UserError, match=r"the parts of the batch have \[23, 24\] rows"):
        probe(model, each, (x, y[:23]))
    with pytest.raises(UserError, match="each is not finite at sample 5"):
        probe(model, each, (x, torch.where(torch.arange(N) == 5, torch.nan, y)))
    with pytest.raises(UserError, match="does not depend on the parameters"):
        probe(model, lambda m, b: each(m, b).detach(), batch)
    with pytest.raises(UserError, match=r"returned shape \(1, 2\)"):
        probe(model, lambda m, b: m(b[0]).repeat(1, 2), batch)
    with pytest.raises(UserError, match="has no second moment"):
        probe(model, each, batch, torch.optim.Adam(model.parameters()))
    for loss, told in {
        (lambda batch: batch): r"is called as loss\(model, batch\)",
        (lambda m, b: 3.0): "returned float",
        (lambda m, b: torch.sqrt(0 * each(m, b))): "gradient of loss is not finite at sample 0",
        (lambda m, b: each(m, b).detach().mean()): "does not depend on the parameters",
    }.items():
        with pytest.raises(UserError, match=told):
            probe(model, loss, batch)
    for loss, told in {
        nn.MSELoss(): r"loss\(model, batch\) fails with AttributeError: .*lambda m, b: loss\(m\(b\[0\]\), b\[1\]\)",
        (lambda m, b: b["x"]): "fails with TypeError",
        (lambda m, b: each(m, b) * 1j): "returned complex numbers",
    }.items():
        for given in (batch, list(zip(x, y, strict=True))):
            with pytest.raises(UserError, match=told):
                probe(model, loss, given)
    with pytest.raises(UserError, match="a float is no torch optimizer"):
        probe(model, each, batch, 0.1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="there is no loss"):
        probe(model, {}, batch)
    with pytest.raises(UserError, match=r"is no torch.nn.Module"):
        probe(each, model, batch)
    with pytest.raises(UserError, match="tensors of all samples go in a tuple"):
        probe(model, each, [x, y])
    with pytest.raises(UserError, match=r"it has ndarray; write torch\.from_numpy"):
        probe(model, each, (x.numpy(), y))
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(UserError, match="no parameter of the model requires a gradient"):
        probe(model, each, batch)
