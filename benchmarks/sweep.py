"""How fast is the main command? Against Stable-Baselines3's A2C and the loop of the slide, in one interleaved run.

    pip install -c constraints.txt -e ".[bench]" && python benchmarks/sweep.py

Everything is CartPole-v1 with a policy 4-64-64-2 (tanh). A rate is valid environment steps (those of the curves, no
padding) per second of wall time. ablate is the whole main command as one process, cold: starting Python, importing
torch, composing, training 30 runs with one worker a core, writing the results. The peers are timed without start-up or
imports, one thread each, after a warm-up. Every repeat runs all three, so that a busy machine slows all alike.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from ablate.resources import cores
from ablate.store import Cell, read_jobs

SWEEP = ("-m", "phi=return,rtg,advantage", "seed=0-9", "iterations=100")
TARGET = 15.0  # times the rate of Stable-Baselines3


def ablate() -> dict[str, tuple[int, float]]:
    """The main command in a fresh folder: env steps and seconds of the whole, and of each cell's training alone."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "ablate", *SWEEP]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if finished.returncode:
            sys.exit(finished.stderr)
        outputs = Path(folder) / "outputs"
        cells = [Cell(path.parent) for path in sorted(outputs.glob("main/*/config.yaml"))]
        steps = sum(int(cell.curves(seed)["env_steps"].iloc[-1]) for cell in cells for seed in cell.seeds())
        jobs = read_jobs(next((outputs / ".sweeps").iterdir()))
        parts = {f"  {job['label']}, training alone": (job["env_steps"], job["seconds"]) for job in jobs}
    return {"ablate, the whole command": (steps, seconds)} | parts


def stable_baselines3(steps: int) -> dict[str, tuple[int, float]]:
    """A2C with 16 environments and 128 steps a rollout, else its defaults."""
    import torch
    from stable_baselines3 import A2C
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs=16, seed=0), n_steps=128, seed=0, device="cpu")
    model.learn(4_096)
    began, before = time.perf_counter(), model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    return {"Stable-Baselines3 A2C, 16 envs": (model.num_timesteps - before, time.perf_counter() - began)}


def slide(steps: int) -> dict[str, tuple[int, float]]:
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
    began, taken = time.perf_counter(), 0
    while taken < steps:
        taken += episode()
    return {"the slide's loop": (taken, time.perf_counter() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps per second of the main command and of two peers.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-steps", type=int, default=200_000, help="of Stable-Baselines3; the slide gets a tenth")
    options = parser.parse_args()
    print(f"{cores()} cores, load {os.getloadavg()[0]:.2f} before the start")
    rates: dict[str, list[float]] = {}
    for repeat in range(options.repeats):
        runs = ablate() | stable_baselines3(options.peer_steps) | slide(options.peer_steps // 10)
        for name, (steps, seconds) in runs.items():
            rates.setdefault(name, []).append(steps / seconds)
            print(f"repeat {repeat + 1}: {name:<34} {steps:>10,} steps {seconds:>7.2f} s", flush=True)
    print(f"\n{'env steps per second':<34} {'median':>10} {'least':>10} {'most':>10}")
    for name, each in rates.items():
        print(f"{name:<34} {median(each):>10,.0f} {min(each):>10,.0f} {max(each):>10,.0f}")
    whole, peer, loop = (rates[name] for name in rates if not name.startswith("  "))
    print()
    for name, other in (("Stable-Baselines3", peer), ("the slide's loop", loop)):
        ratios = [ours / theirs for ours, theirs in zip(whole, other, strict=True)]
        print(f"ablate is {median(ratios):.1f} times {name} ({min(ratios):.1f} to {max(ratios):.1f} over repeats)")
    reached = median(ours / theirs for ours, theirs in zip(whole, peer, strict=True)) >= TARGET
    print(f"target of {TARGET:g} times Stable-Baselines3: {'reached' if reached else 'missed'}")


if __name__ == "__main__":
    main()
