"""How fast is the main command? Against its peers and torch's products alone, in one interleaved run.

    pip install -c constraints.txt -e ".[bench]" && python -m benchmarks.sweep
    python -m venv JAX && JAX/bin/pip install "rejax>=0.1.3,<0.2" "gymnax<1"
    python -m benchmarks.sweep --jax-python JAX/bin/python

Everything is CartPole-v1 with a policy 4-64-64-2 (tanh). A rate is valid environment steps (those of the curves, no
padding) per second of wall time. ablate is the whole main command as one process, cold: starting Python, importing
torch, composing, training 30 runs with one worker a core, writing the results. Stable-Baselines3's A2C and the loop of
the slide are timed without start-up or imports, one thread each, after a warm-up.

Like for like with rejax's PPO (one epoch, 30 seeds under one vmap, all cores; `rejax_ppo.py`): `phi=advantage`, whose
critic is fitted to each step once as well, 30 seeds, `probe=off`; whole processes and training alone.

And beside the products alone that a step of reward-to-go takes, with torch's own batched products and nothing around
them, one process a core.

Every repeat runs all of it, so that a busy machine slows all alike. Rates are given for a second of wall time and for
a second of processor time of all processes together, which other work on the machine changes less.
"""

import argparse
import ctypes
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from ablate.resources import cores
from ablate.store import Cell

ROOT = Path(__file__).resolve().parents[1]
SIZES = (4, 64, 64, 2)
SEEDS = 30
PEER, SLIDE, PPO, LIMIT = "Stable-Baselines3 A2C, 16 envs", "the slide's loop", "rejax PPO", "torch's products alone"
MAIN, CRITIC, RTG = "the main command", "phi=advantage", "phi=rtg"
WHOLE, ALONE = ", whole process", ", training alone"
TARGETS = ((MAIN + WHOLE, PEER, 25.0), (CRITIC + ALONE, PPO + ", warm", 1.5), (RTG + ALONE, LIMIT, 0.6))
Runs = dict[str, tuple[float, float, float]]  # env steps, seconds, and seconds of processor time
PR_SET_CHILD_SUBREAPER = 36  # Linux: this process is told of the end of all that those started whom it started


def finished(command: Sequence[str], folder: str, **environment: str) -> tuple[str, float, float]:
    """What a command printed, its seconds, and those of processor time that it and all that it started took."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    own = _children()  # multiprocessing's resource tracker among them, which lives as long as this process
    began, before = time.perf_counter(), _processor_time()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | environment)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    while adopted := _children() - own:
        for child in adopted:
            os.waitpid(child, 0)
    return done.stdout, seconds, _processor_time() - before


def _children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ablate(name: str, *words: str) -> Runs:
    """A sweep in a fresh folder: the whole process; of one job also its training alone, from the first policy to the
    last: the longest that a seed took, by its manifest, and the processor time that a run of one iteration does not."""
    with tempfile.TemporaryDirectory() as folder:
        command, path = [sys.executable, "-m", "ablate", "-m", *words], os.environ.get("PYTHONPATH", "")
        _, seconds, processor = finished(command, folder, PYTHONPATH=os.pathsep.join((str(ROOT), path)))
        outputs = Path(folder) / "outputs"
        cells = [Cell(path.parent) for path in sorted(outputs.glob("main/*/config.yaml"))]
        runs = [(cell, seed) for cell in cells for seed in cell.seeds()]
        steps = sum(float(cell.curves(seed)["env_steps"].iloc[-1]) for cell, seed in runs)
        longest = max(float(cell.manifest(seed)["wall_time_s"]) for cell, seed in runs)
    found = {name + WHOLE: (steps, seconds, processor)}
    if len(cells) == 1 and "iterations=1" not in words:
        _, _, start = ablate(name, *(word for word in words if "iterations" not in word), "iterations=1")[name + WHOLE]
        found[name + ALONE] = steps, longest, processor - start
    return found


def rejax(python: str, seeds: int, steps: int) -> Runs:
    """One epoch a batch, about so many steps a seed: the whole process with one training, compilation included, that
    training alone, and the same once more, when it is compiled."""
    command = [python, str(ROOT / "benchmarks" / "rejax_ppo.py"), str(seeds), str(steps), str(time.time())]
    said, _, _ = finished(command, str(ROOT), JAX_PLATFORMS="cpu")
    found = json.loads(said)
    names = {"whole": PPO + WHOLE, "cold": PPO + ", cold", "warm": PPO + ", warm"}
    return {name: (found["steps"], *found[key]) for key, name in names.items()}


def products(steps: int) -> Runs:
    """What the machine's cores reach together where a step of the environment costs the products of reward-to-go alone:
    forward in the rollout, forward once more, and backward."""
    processes = cores()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        spent = pool.map(_products, [(SEEDS // processes, steps // processes)] * processes, chunksize=1)
    return {LIMIT: (steps, max(wall for wall, _ in spent), sum(processor for _, processor in spent))}


def _products(sizes: tuple[int, int]) -> tuple[float, float]:
    """Seconds that the products of so many steps take, for so many seeds side by side, 512 rows each: of wall and of
    processor time."""
    import torch

    (seeds, steps), rows = sizes, 512
    torch.set_num_threads(1)
    layers = [(torch.randn(seeds, rows, i), torch.randn(seeds, i, o)) for i, o in pairwise(SIZES)]
    scores = [torch.randn(seeds, rows, o) for o in SIZES[1:]]

    def once() -> None:
        for _ in range(2):
            for x, weight in layers:
                torch.bmm(x, weight)
        for k, ((x, weight), score) in enumerate(zip(layers, scores, strict=True)):
            torch.bmm(x.transpose(1, 2), score)
            if k:
                torch.bmm(score, weight.transpose(1, 2))

    once()
    began = time.perf_counter(), time.process_time()
    for _ in range(repeats := max(1, round(steps / (seeds * rows)))):
        once()
    share = steps / (repeats * seeds * rows)
    return (time.perf_counter() - began[0]) * share, (time.process_time() - began[1]) * share


def stable_baselines3(steps: int) -> Runs:
    """A2C with 16 environments and 128 steps a rollout, else its defaults."""
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs=16, seed=0), n_steps=128, seed=0, device="cpu")
    model.learn(4_096)
    began, before = (time.perf_counter(), time.process_time()), model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    return {PEER: (model.num_timesteps - before, time.perf_counter() - began[0], time.process_time() - began[1])}


def slide(steps: int) -> Runs:
    """The slide's pseudocode: act step by step, then after each episode -sum log pi(a|s) G and backward()."""
    import gymnasium
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    env = gymnasium.make("CartPole-v1")
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def episode(seed: int | None = None) -> int:
        observation, over = env.reset(seed=seed)[0], False
        log_probs, rewards = [], []
        while not over:
            policy = torch.distributions.Categorical(logits=net(torch.as_tensor(observation)))
            action = policy.sample()
            log_probs.append(policy.log_prob(action))
            observation, reward, terminated, truncated, _ = env.step(action.item())
            rewards.append(float(reward))
            over = terminated or truncated
        to_go, total = [], 0.0
        for reward in reversed(rewards):
            total = reward + 0.99 * total
            to_go.append(total)
        optimizer.zero_grad()
        (-torch.stack(log_probs) * torch.tensor(to_go[::-1])).sum().backward()
        optimizer.step()
        return len(rewards)

    episode(seed=0)
    began, taken = (time.perf_counter(), time.process_time()), 0
    while taken < steps:
        taken += episode()
    return {SLIDE: (taken, time.perf_counter() - began[0], time.process_time() - began[1])}


def repeat(options: argparse.Namespace) -> Runs:
    """All that is compared, once."""
    iterations = f"iterations={options.iterations}"
    found = ablate(MAIN, "phi=return,rtg,advantage", "seed=0-9", iterations)
    found |= stable_baselines3(options.peer_steps) | slide(options.peer_steps // 10)
    alike = (f"seed=0-{SEEDS - 1}", iterations, "probe=off")
    found |= ablate(CRITIC, CRITIC, *alike) | ablate(RTG, RTG, *alike)
    if options.jax_python:
        found |= rejax(options.jax_python, SEEDS, round(found[CRITIC + WHOLE][0] / SEEDS))
    return found | products(2_000_000)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    found = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def show(rates: dict[str, list[tuple[float, float]]]) -> None:
    """Of every repeat, the rates a second of wall and of processor time; as two tables."""
    print(
        "\n| env steps | a second: median | least | most | a second of processor: median |\n|---|---:|---:|---:|---:|"
    )
    for name, each in rates.items():
        wall, processor = zip(*each, strict=True)
        print(f"| {name} | {median(wall):,.0f} | {min(wall):,.0f} | {max(wall):,.0f} | {median(processor):,.0f} |")
    print("\n| ratio of | to | | target | of processor time |\n|---|---|---:|---:|---:|")
    wanted = {(ours, theirs): f"{target:g}" for ours, theirs, target in TARGETS}
    more = ((MAIN + WHOLE, SLIDE), (CRITIC + WHOLE, PPO + WHOLE), (CRITIC + ALONE, PPO + ", cold"))
    for ours, theirs in (*wanted, *more):
        if theirs in rates:
            wall, processor = (ratio([x[k] for x in rates[ours]], [x[k] for x in rates[theirs]]) for k in (0, 1))
            print(f"| {ours} | {theirs} | {wall} | {wanted.get((ours, theirs), '')} | {processor} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps per second of the main command, its peers, and the limit.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=100, help="of ablate (default: 100)")
    parser.add_argument("--peer-steps", type=int, default=200_000, help="of Stable-Baselines3; the slide gets a tenth")
    parser.add_argument("--jax-python", help="a Python that has the extra bench-jax; without it rejax is left out")
    options = parser.parse_args()
    print(f"{cores()} cores, load {os.getloadavg()[0]:.2f} before the start")
    rates: dict[str, list[tuple[float, float]]] = {}
    for number in range(1, options.repeats + 1):
        for name, (steps, *spent) in repeat(options).items():
            rates.setdefault(name, []).append((steps / spent[0], steps / spent[1]))
            wall, processor = (f"{seconds:>7.2f} s" for seconds in spent)
            print(f"repeat {number}: {name:<34} {steps:>12,.0f} steps {wall}, {processor} processor", flush=True)
    print(f"load {os.getloadavg()[0]:.2f} at the end; medians over {options.repeats} repeats, and their range")
    show(rates)


if __name__ == "__main__":
    main()
