"""The policy gradient, defined once: training, the noise probe and the exact checks all call this module."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ablate.baselines import ScoreProducts
from ablate.episodes.trajectories import TOGETHER, Trajectories
from ablate.phi import Signals
from ablate.policies import Policy

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class GradientEstimate(NamedTuple):
    gradient: Float[Tensor, "S P"]
    entropy: Float[np.ndarray, " S"]  # mean over the steps taken


def policy_gradient(
    policy: Policy, theta: Float[Tensor, "S P"], episodes: Trajectories, weights: Float[np.ndarray, "S N T"]
) -> GradientEstimate:
    """g = (1/N) sum_i sum_t grad log pi(a_it|s_it) W_it: sum over time, mean over the seed's episodes.

    theta [S, P], weights W_it = w_t (Phi_it - b_it) [S, N, T] -> gradient [S, P]. One forward and backward pass over
    the steps that were taken, in blocks that stay in cache. Equal to autograd's gradient of the slide's loss
    -sum log pi(a|s) W with the sign of ascent (slide "PyTorch pseudocode").
    """
    rows = episodes.rows
    observations, _, actions = (torch.from_numpy(x) for x in episodes.steps)
    counts = episodes.played.sum(1, keepdims=True).astype(np.float32)
    shares = torch.from_numpy(rows.pack(weights).astype(np.float32) / counts)
    valid = torch.from_numpy(rows.valid.astype(np.float32))
    gradient = torch.zeros_like(theta)
    entropy = torch.zeros(len(theta))
    for block, active in rows.blocks():
        seeds = slice(None) if len(active) == len(theta) else torch.from_numpy(active)
        here, taken = theta[seeds], rows.worked(block, active, policy.network)
        outputs, inputs = policy.network.forward(here, observations[seeds, taken].contiguous())
        scores = policy.score(outputs, actions[seeds, taken]).mul_(shares[seeds, taken, None])
        gradient[seeds] += policy.network.gradient(here, [_whole(x, block) for x in inputs], _whole(scores, block))
        entropy[seeds] += _whole(policy.entropy(outputs) * valid[seeds, taken], block).sum(1)
    return GradientEstimate(gradient, entropy.numpy().astype(np.float64) / np.maximum(rows.counts, 1))


def _whole(x: Tensor, block: slice) -> Tensor:
    """[S, R, ...] with zeros up to the length of a block: how a sum over rows is added may depend on their number."""
    missing = block.stop - block.start - x.shape[1]
    return torch.constant_pad_nd(x, (0, 0) * (x.dim() - 2) + (0, missing)) if missing else x


def signals_of(policy: Policy, theta: Tensor, episodes: Trajectories, gamma: float) -> Signals:
    """What a Phi and a baseline may look at of episodes that the policy of theta [S, P] has played; no critic yet."""

    def log_prob() -> Floats:
        rows = episodes.rows
        observations, _, actions = (torch.from_numpy(x) for x in episodes.steps)
        found = np.zeros(rows.valid.shape)
        for block, active in rows.blocks():
            taken = rows.worked(block, active, policy.network)
            outputs, _ = policy.network.forward(theta[torch.from_numpy(active)], observations[active, taken])
            found[active, taken] = policy.log_prob(outputs, actions[active, taken]).numpy()
        return rows.unpack(found)

    mask, seen = episodes.mask, episodes.observations
    return Signals(episodes.rewards, mask, gamma, observations=seen, actions=episodes.actions, log_prob=log_prob)


def per_trajectory_gradients(
    policy: Policy, theta: Float[Tensor, "S P"], episodes: Trajectories, weights: Float[np.ndarray, "K S N T"]
) -> Float[Tensor, "K S N P"]:
    """g_i = sum_t grad log pi(a_it|s_it) W_it of each episode i, under each of K variants.

    theta [S, P], weights [K, S, N, T] -> [K, S, N, P], float32. Many episodes are better taken from `gradient_chunks`.
    """
    return torch.cat(list(gradient_chunks(policy, theta, episodes, weights))).permute(2, 1, 0, 3)


def gradient_chunks(
    policy: Policy, theta: Float[Tensor, "S P"], episodes: Trajectories, weights: Float[np.ndarray, "K S N T"]
) -> Iterator[Float[Tensor, "_ S K P"]]:
    """The same in chunks [n, S, K, P] of consecutive episodes, about 8 MB each, as `noise.Accumulator` takes them.

    The score is the same for every variant: one forward and backward pass gives each layer's input h_t and output score
    d_t, and a variant adds only the products sum_t W_t h_t d_t'. Every episode is a matrix of its own, padded with
    zeros to the next multiple of `STEPS`: how its numbers are computed depends on its own length alone.
    """
    K, S, N, _ = weights.shape
    P = theta.shape[1]
    size = max(1, CHUNK // (S * K * P))
    for start in range(0, N, size):
        chunk = range(start, min(start + size, N))
        gradients = torch.empty(len(chunk), S, K, P)
        for i, s, steps in _batches(episodes.lengths[:, chunk]):
            gradients.numpy()[i, s] = _gradients_of(policy, theta, episodes, weights, s, start + i, steps).numpy()
        yield gradients


def score_products(policy: Policy, theta: Tensor, episodes: Trajectories) -> ScoreProducts:
    """(u, v) -> <sum_t u_t z_t, sum_t v_t z_t> per trajectory [S, N], for baselines that weigh scores."""

    def products(u: Floats, v: Floats) -> Floats:
        chunks = gradient_chunks(policy, theta, episodes, np.stack([u, v]))
        return torch.cat([(chunk[:, :, 0] * chunk[:, :, 1]).sum(-1) for chunk in chunks]).T.numpy().astype(np.float64)

    return products


CHUNK = 2**21  # numbers in a chunk of gradients
STEPS = 16  # episodes are padded to a multiple of this many steps


def _batches(lengths: NDArray[np.int64]) -> Iterator[tuple[Indices, Indices, int]]:
    """(i, s, steps): episodes i of seeds s that are padded to the same number of steps. lengths [S, n]."""
    padded = np.maximum(-(-lengths // STEPS), 1) * STEPS
    for steps in np.unique(padded).tolist():
        i, s = np.nonzero(steps == padded.T)
        for start in range(0, len(i), width := max(1, TOGETHER // steps)):
            yield i[start : start + width], s[start : start + width], steps


def _gradients_of(
    policy: Policy, theta: Tensor, episodes: Trajectories, weights: Floats, s: Indices, i: Indices, steps: int
) -> Tensor:
    """[E, K, P] for the episodes i [E] of seeds s [E], all taken as `steps` long."""

    def padded(x: NDArray) -> Tensor:  # [E, T, ...] -> [E, steps, ...], row-major: strides steer products
        y = np.zeros((len(x), steps, *x.shape[2:]), x.dtype)
        y[:, : x.shape[1]] = x
        return torch.from_numpy(y)

    taken = np.where(episodes.mask[s, i, :steps], weights[:, s, i, :steps], 0).transpose(1, 2, 0).astype(np.float32)
    here = theta[torch.from_numpy(s)]
    outputs, inputs = policy.network.forward(here, padded(episodes.observations[s, i, :steps]))
    scores = policy.score(outputs, padded(episodes.actions[s, i, :steps]))
    return policy.network.weighted_gradients(here, inputs, scores, padded(taken))
