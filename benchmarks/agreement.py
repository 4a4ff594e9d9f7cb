"""Do DQN and A2C learn as Stable-Baselines3's do, with RL-Zoo's tuned settings for CartPole-v1, and how much sooner?

    pip install -c constraints.txt -e ".[bench]" && python benchmarks/agreement.py
    python benchmarks/agreement.py --algorithms a2c --share 0.06 --seeds 50

Both get the same settings (conf/algorithm/dqn.yaml and a2c.yaml have them), the same budget and seeds 0, 1, ... (the
random numbers are of course not the same). A2C is trained with both initializers of ours.

Whole curves are compared, not ends alone: the mean return of the training episodes that end in each quarter of the run,
its difference to Stable-Baselines3's with 95% limits (Welch), z = difference / standard error, and one test of all four
quarters, by permutation of the largest |z|. The picture has fiftieths. The final return is that of the last tenth. Over
seeds: interquartile means with 95% bootstrap intervals, the worst quarter of the seeds beside them, and a permutation
test of equal means.

ablate trains all seeds with one command, timed cold and as a whole: starting Python, importing torch, one worker a
core, writing results. Stable-Baselines3 trains a seed after the other in one process with one thread, timed without
start-up or imports, half of the seeds before ablate and half after it, so that a busy machine slows both alike. The
comparison is of wall times per seed; since ablate uses every core of the machine for that, the last line gives it by
core too.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ablate.resources import cores
from ablate.statistics.seeds import over_seeds, worst_quarter
from ablate.store import Cell

Floats = NDArray[np.float64]

WINDOWS, QUARTERS = 50, 4  # of a curve as it is drawn, and as it is compared
FINAL = 0.1  # of the run
PERMUTATIONS = 10_000
TARGET = 5.0  # times the speed of Stable-Baselines3, by wall time per seed


@dataclass(frozen=True)
class Task:
    """One algorithm: RL-Zoo's budget, Stable-Baselines3's settings, and how ours is told, under one name or more."""

    env_steps: int
    environments: int
    settings: dict[str, Any]
    ours: dict[str, tuple[str, ...]]


ROWS = ("algorithm.updates=5",)  # rows of 200 steps, so that those of a quarter are told from those of the next
TASKS = {
    "dqn": Task(
        50_000,
        1,
        {
            "learning_rate": 2.3e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1_000,
            "gamma": 0.99,
            "target_update_interval": 10,
            "train_freq": 256,
            "gradient_steps": 128,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
        {"ablate": ()},
    ),
    "a2c": Task(
        500_000,
        8,
        {"ent_coef": 0.0},
        {
            "ablate": ROWS,
            "ablate, orthogonal": (
                *ROWS,
                "policy.initializer=orthogonal",
                "algorithm.critic_initializer=orthogonal",
            ),
        },
    ),
}
PEER = "Stable-Baselines3"


@dataclass(frozen=True)
class Training:
    """One seed: the env steps at which episodes ended, their returns, and how many episodes each number is the mean
    of (ours come a row of the curves at a time)."""

    at: Floats
    returns: Floats
    episodes: Floats

    def curve(self, budget: int, windows: int) -> Floats:
        """The mean return in each window of the run; where no episode ends in one, that of the window before."""
        window = np.minimum((self.at - 1) * windows // budget, windows - 1).astype(int)
        counts = np.bincount(window, self.episodes, windows)
        sums = np.bincount(window, self.episodes * self.returns, windows)
        some = np.where(counts > 0, np.arange(windows), 0)
        last = np.maximum(np.maximum.accumulate(some), np.flatnonzero(counts)[0])
        return sums[last] / counts[last]

    def final(self, budget: int) -> float:
        late = self.at > budget * (1 - FINAL)
        return float(np.average(self.returns[late], weights=self.episodes[late]))


def ablate(name: str, more: Sequence[str], budget: int, seeds: int) -> tuple[list[Training], float]:
    """All seeds by one command in a fresh folder, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = f"algorithm={name}", "env=cartpole", "gamma=0.99", f"seed=0-{seeds - 1}", f"env_steps={budget}"
        began = time.perf_counter()
        command = [sys.executable, "-m", "ablate", *settings, *more, "study=main", f"outputs={folder}"]
        finished = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if finished.returncode:
            sys.exit(finished.stderr)
        (cell,) = (Cell(path.parent) for path in Path(folder).glob("main/*/config.yaml"))
        trainings = []
        for seed in range(seeds):
            curves = cell.curves(seed)
            episodes = np.diff(curves["episodes"].to_numpy(), prepend=0)
            some = episodes > 0
            columns = curves["env_steps"].to_numpy(), curves["return_mean"].to_numpy(), episodes
            trainings.append(Training(*(x[some].astype(np.float64) for x in columns)))
    return trainings, seconds


def stable_baselines3(name: str, task: Task, budget: int, seed: int) -> tuple[Training, float]:
    """One seed, and its seconds."""
    import torch
    from stable_baselines3 import A2C, DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    ended: list[tuple[int, float]] = []

    class Note(BaseCallback):
        """The return of every episode, as SB3's Monitor has it, and when it ended."""

        def _on_step(self) -> bool:
            ended.extend(
                (self.num_timesteps, info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info
            )
            return True

    env = make_vec_env("CartPole-v1", n_envs=task.environments, seed=seed)
    model = {"a2c": A2C, "dqn": DQN}[name]("MlpPolicy", env, seed=seed, device="cpu", **task.settings)
    began = time.perf_counter()
    model.learn(budget, callback=Note())
    seconds = time.perf_counter() - began
    at, returns = np.array(ended, dtype=np.float64).T
    return Training(at, returns, np.ones_like(at)), seconds


def z_scores(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Differences of the means [K] of x [N, K] and y [M, K], and their standard errors (Welch)."""
    errors = np.sqrt(x.var(0, ddof=1) / len(x) + y.var(0, ddof=1) / len(y))
    return x.mean(0) - y.mean(0), errors


def whole_curve(x: Floats, y: Floats) -> float:
    """p of the hypothesis that curves x [N, K] and y [M, K] have one distribution: how often the largest |z| of seeds
    dealt out anew is as large as that found, at all K places together."""
    pooled, rng = np.concatenate([x, y]), np.random.default_rng(0)

    def largest(one: Floats, other: Floats) -> float:
        differences, errors = z_scores(one, other)
        with np.errstate(divide="ignore", invalid="ignore"):  # where all seeds of both are at the ceiling
            return float(np.max(np.where(differences == 0, 0.0, np.abs(differences / errors))))

    found = largest(x, y)
    shuffled = (rng.permutation(pooled) for _ in range(PERMUTATIONS))
    return (1 + sum(largest(z[: len(x)], z[len(x) :]) >= found for z in shuffled)) / (1 + PERMUTATIONS)


def by_quarters(runs: dict[str, list[Training]], budget: int) -> None:
    """Print the curves of ours by quarters against those of the peer."""
    curves = {who: np.array([x.curve(budget, QUARTERS) for x in each]) for who, each in runs.items()}
    print("mean return by quarters of the run")
    for who, x in curves.items():
        half = 1.96 * x.std(0, ddof=1) / len(x) ** 0.5
        print(f"{who:<20}" + "  ".join(f"{m:6.1f} +- {h:4.1f}" for m, h in zip(x.mean(0), half, strict=True)))
    for who, x in curves.items():
        if who == PEER:
            continue
        differences, errors = z_scores(x, curves[PEER])
        told = (
            f"{d:.1f} [{d - 1.96 * e:.1f}, {d + 1.96 * e:.1f}]" + (f" z {d / e:.1f}" if e else "")
            for d, e in zip(differences, errors, strict=True)
        )
        print(f"{who} less {PEER}: {'; '.join(told)}; whole curve p = {whole_curve(x, curves[PEER]):.2g}")


def compared(name: str, share: float, seeds: int) -> dict[str, list[Training]]:
    """Train ours and the peer's, print what came of it, and return the trainings of each."""
    task = TASKS[name]
    budget, half = round(share * task.env_steps), seeds // 2
    print(f"\n{name}: {budget:,} env steps, {seeds} seeds; load {os.getloadavg()[0]:.2f} before the start", flush=True)
    peer = [stable_baselines3(name, task, budget, seed) for seed in range(half)]
    ours = {who: ablate(name, more, budget, seeds) for who, more in task.ours.items()}
    peer += [stable_baselines3(name, task, budget, seed) for seed in range(half, seeds)]
    runs = {who: trainings for who, (trainings, _) in ours.items()} | {PEER: [training for training, _ in peer]}
    by_quarters(runs, budget)
    finals = {who: np.array([x.final(budget) for x in each]) for who, each in runs.items()}
    for who, final in finals.items():
        value, low, high = over_seeds(final)
        each = " ".join(f"{x:.0f}" for x in np.sort(final))
        print(
            f"{who:<20} final return {value:6.1f} [{low:.1f}, {high:.1f}], worst quarter of seeds "
            f"{worst_quarter(final).value:.1f}   each {each}"
        )
    theirs = float(np.mean([s for _, s in peer]))
    print(f"seconds of wall time per seed: {PEER} {theirs:.1f}")
    for who, (_, seconds) in ours.items():
        test = stats.permutation_test(
            [finals[who], finals[PEER]], lambda x, y: x.mean() - y.mean(), n_resamples=20_000, rng=0
        )
        print(f"{who}: difference of the final means {test.statistic:.1f}, permutation test p = {test.pvalue:.2g}")
        ratio = theirs / seconds * seeds
        reached = "reached" if ratio >= TARGET else "missed"
        print(f"{who}: {seconds / seeds:.1f} s a seed (all {seconds:.1f}), 1/{ratio:.1f} of {PEER}'s; ", end="")
        print(f"target 1/{TARGET:g} {reached}; by core ({cores()} and 1): 1/{ratio / cores():.1f}", flush=True)
    return runs


def draw(results: dict[str, dict[str, list[Training]]], share: float, path: str) -> None:
    """The learning curves of each algorithm, interquartile means and 95% intervals over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(5.2 * len(results), 3.8), squeeze=False, layout="constrained")
    for axis, (name, of) in zip(axes[0], results.items(), strict=True):
        budget = round(share * TASKS[name].env_steps)
        x = (np.arange(WINDOWS) + 1) / WINDOWS * budget
        for who, trainings in of.items():
            curves = np.array([training.curve(budget, WINDOWS) for training in trainings])
            points = [over_seeds(column) for column in curves.T]
            middle, low, high = np.array(points).T
            (line,) = axis.plot(x, middle, label=who)
            axis.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.set(title=f"{name.upper()} on CartPole-v1", xlabel="environment steps", ylabel="return", ylim=(0, 510))
        axis.legend(frameon=False, title=f"IQM of {len(curves)} seeds, 95% interval")
    figure.savefig(path, dpi=150)
    print(f"\ncurves: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves and wall time of DQN and A2C, and of SB3's.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--share", type=float, default=1.0, help="of the budget, for a quick look")
    parser.add_argument("--algorithms", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--picture", default="agreement.png")
    options = parser.parse_args()
    print(f"{cores()} cores")
    results = {name: compared(name, options.share, options.seeds) for name in options.algorithms}
    draw(results, options.share, options.picture)


if __name__ == "__main__":
    main()
