"""The policy gradient, defined once: training, the noise probe and the exact checks all call this module."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.networks import product
from ablate.policies import Policy
from ablate.trajectories import ROWS, Trajectories

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    gradient: Tensor  # [S, P]
    entropy: Floats  # [S], mean over the steps taken


def policy_gradient(policy: Policy, theta: Tensor, episodes: Trajectories, phi: Floats) -> Estimate:
    """g = (1/N) sum_i sum_t grad log pi(a_it|s_it) Phi_it: sum over time, mean over episodes.

    theta [S, P], phi [S, N, T] -> gradient [S, P]. One forward and backward pass over the steps that were taken, in
    blocks that stay in cache. Equal to autograd's gradient of the slide's loss -sum log pi(a|s) Phi with the sign of
    ascent (slide "PyTorch pseudocode").
    """
    rows = episodes.rows
    observations = torch.from_numpy(rows.pack(episodes.observations))
    actions = torch.from_numpy(rows.pack(episodes.actions))
    weights = torch.from_numpy(rows.pack(phi).astype(np.float32) / np.float32(phi.shape[1]))
    valid = torch.from_numpy(rows.valid.astype(np.float32))
    gradient = torch.zeros_like(theta)
    entropy = torch.zeros(len(theta))
    for block, active in rows.blocks():
        seeds = slice(None) if len(active) == len(theta) else torch.from_numpy(active)
        part, here = gradient[seeds], theta[seeds]
        outputs, inputs = policy.network.forward(here, observations[seeds, block])
        scores = policy.score(outputs, actions[seeds, block]).mul_(weights[seeds, block, None])
        policy.network.add_gradient(part, here, inputs, scores)
        gradient[seeds] = part
        entropy[seeds] += (policy.entropy(outputs) * valid[seeds, block]).sum(1)
    return Estimate(gradient, entropy.numpy().astype(np.float64) / np.maximum(rows.counts, 1))


def per_trajectory_gradients(policy: Policy, theta: Tensor, episodes: Trajectories, phis: Floats) -> Tensor:
    """g_i = sum_t grad log pi(a_it|s_it) Phi_it for each episode i, under each of K variants.

    theta [S, P], phis [K, S, N, T] -> [K, S, N, P], float32. The score is the same for every Phi: one forward and
    backward pass gives each layer's input h_t and output score d_t, and variant k adds the products
    sum_t Phi_kt h_t d_t'.
    """
    K, S, N, T = phis.shape
    steps = int(-(-T // ROWS_OF_AN_EPISODE) * ROWS_OF_AN_EPISODE)

    def padded(x: NDArray) -> Tensor:
        out = np.zeros((*x.shape[:2], steps, *x.shape[3:]), x.dtype)
        out[:, :, :T] = x
        return torch.from_numpy(out)

    observations, actions = padded(episodes.observations), padded(episodes.actions)
    weights = torch.stack([padded(phi.astype(np.float32)) for phi in phis])
    gradients = torch.zeros(K, S, N, theta.shape[1])
    for start in range(0, steps, ROWS_OF_AN_EPISODE):
        block = slice(start, start + ROWS_OF_AN_EPISODE)
        outputs, inputs = policy.network.forward(theta, observations[:, :, block].flatten(1, 2))
        scores = policy.score(outputs, actions[:, :, block].flatten(1, 2))
        layer_scores = policy.network.output_scores(theta, inputs, scores)
        for k in range(K):
            weight = weights[k, :, :, block].reshape(S * N, -1, 1)
            _add_products(policy, gradients[k].view(S * N, -1), inputs, layer_scores, scores, weight)
    return gradients


ROWS_OF_AN_EPISODE = min(64, ROWS)


def _add_products(
    policy: Policy, gradient: Tensor, inputs: list[Tensor], layer_scores: list[Tensor], scores: Tensor, weight: Tensor
) -> None:
    """gradient [E, P] += sum_t weight_t h_t d_t' for every layer, with E = S * N episodes and weight [E, T, 1]."""
    episodes, steps, _ = weight.shape
    for (w, b), h, d in zip(policy.network.layers(gradient), inputs, layer_scores, strict=True):
        weighted = d.reshape(episodes, steps, -1) * weight
        w += product(h.reshape(episodes, steps, -1).transpose(1, 2), weighted)
        if b is not None:
            b += weighted.sum(1, keepdim=True)
    if policy.network.free:
        free = scores[..., -policy.network.free :].reshape(episodes, steps, -1)
        gradient[:, -policy.network.free :] += (free * weight).sum(1)
