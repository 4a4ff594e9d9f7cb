"""How fast are per-trajectory gradients, and what does the probe cost? Against torch, in one interleaved run.

    python benchmarks/probe.py

K = 8 variants on the same episodes, policy 4-64-64-2 (tanh), one thread. The peers work on the same data with the same
weights: one plain forward and backward of torch.nn over all steps at once (mean loss, one gradient in all);
vmap(grad) over episodes, once a variant; a loop of backward(), once an episode and variant. Best of several repeats,
each of which runs all of them, so that a busy machine slows all alike. Then the peak memory of 10,000 episodes of 500
steps streamed into `ablate.statistics`, and the main command with its default probe and without.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ablate.episodes.trajectories import Trajectories
from ablate.gradients import gradient_chunks
from ablate.policies import Categorical
from ablate.statistics.block_sums import Accumulator
from ablate.statistics.noise import trace_variance

K = 8
POLICY = Categorical(4, 2, (64, 64))
Work = Callable[[], object]


def made_up(N: int, T: int) -> tuple[Tensor, Trajectories, NDArray[np.float64]]:
    """theta [1, P], episodes that all last T steps, and weights [K, 1, N, T]."""
    rng = np.random.default_rng(0)
    episodes = Trajectories(
        observations=rng.standard_normal((1, N, T, 4), dtype=np.float32),
        actions=rng.integers(2, size=(1, N, T)),
        rewards=np.ones((1, N, T)),
        lengths=np.full((1, N), T),
        terminated=np.ones((1, N), bool),
        final_observations=np.zeros((1, N, 4), np.float32),
        final_actions=np.zeros((1, N), np.int64),
    )
    return POLICY.network.initial([rng]), episodes, rng.standard_normal((K, 1, N, T))


def contestants(N: int, T: int) -> dict[str, Work]:
    theta, episodes, phis = made_up(N, T)
    module = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    parameters = {name: x.detach() for name, x in module.named_parameters()}
    observations, actions = torch.from_numpy(episodes.observations[0]), torch.from_numpy(episodes.actions[0])
    weights = torch.from_numpy(phis[:, 0].astype(np.float32))

    def log_probs(logits: Tensor, actions: Tensor) -> Tensor:
        return torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]

    def loss(parameters: dict[str, Tensor], observations: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        return -(log_probs(functional_call(module, parameters, observations), actions) * weights).sum()

    def ours() -> None:
        for _ in gradient_chunks(POLICY, theta, episodes, phis):
            pass

    def plain() -> None:
        module.zero_grad()
        (-(log_probs(module(observations), actions) * weights[0]).mean()).backward()

    def per_variant() -> None:
        for k in range(K):
            vmap(grad(loss), (None, 0, 0, 0))(parameters, observations, actions, weights[k])

    def loop() -> None:
        for k in range(K):
            for i in range(N):
                module.zero_grad()
                (-(log_probs(module(observations[i]), actions[i]) * weights[k, i]).sum()).backward()

    return {
        "per-trajectory gradients": ours,
        "one plain forward + backward": plain,
        "vmap(grad) a variant": per_variant,
        "loop of backward()": loop,
    }


def race(works: dict[str, Work], repeats: int) -> dict[str, float]:
    """Seconds of each, the best of interleaved repeats after a warm-up."""
    best = dict.fromkeys(works, np.inf)
    for repeat in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if repeat:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def stream(N: int, T: int) -> None:
    """The noise of K variants over N episodes; prints seconds and peak memory in MB."""
    theta, episodes, phis = made_up(N, T)
    began = time.perf_counter()
    accumulator = Accumulator()
    for chunk in gradient_chunks(POLICY, theta, episodes, phis):
        accumulator.add(chunk.numpy())
    trace_variance(accumulator.blocks())
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def command(*overrides: str) -> Work:
    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            line = [sys.executable, "-m", "ablate", "-m", "phi=return,rtg,advantage", "seed=0-9", *overrides]
            subprocess.run(line, cwd=folder, check=True, capture_output=True)

    return work


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--iterations", type=int, default=100, help="of the main command (100)")
    arguments.add_argument("--stream", type=int, nargs=2, metavar=("N", "T"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.stream:
        return stream(*options.stream)

    for N, T in ((256, 200), (512, 25), (64, 500)):
        seconds = race(contestants(N, T), options.repeats)
        ours = seconds["per-trajectory gradients"]
        print(f"\n{K} variants on {N} episodes x {T} steps")
        for name, value in seconds.items():
            print(f"  {name:30} {1000 * value:8.1f} ms   {value / ours:6.2f} times ours")
        print(f"  ours is {ours / seconds['one plain forward + backward']:.2f} times a plain forward + backward")

    line = [sys.executable, __file__, "--stream", "10000", "500"]
    spent, memory = map(float, subprocess.run(line, check=True, capture_output=True, text=True).stdout.split())
    print(f"\n{K} variants on 10000 episodes x 500 steps, measured: {spent:.1f} s, peak memory {memory:.0f} MB")

    shared = f"iterations={options.iterations}"
    seconds = race({"off": command(shared, "probe=off"), "default": command(shared)}, min(options.repeats, 3))
    more = seconds["default"] / seconds["off"] - 1
    print(f"\nmain command: {seconds['off']:.1f} s without a probe, {more:+.1%} with the default one")


if __name__ == "__main__":
    main()
