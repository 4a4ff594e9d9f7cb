"""Learning curves of group and sequence estimators on a token problem: each at its best step size, paired over seeds.

    python -m benchmarks.rlhf_learning > docs/rlhf.csv

The measure is the mean reward over all of training, in percent of the best. Step sizes are tuned on seeds that are not
reported. `python -m benchmarks.rlhf` reads the file. One to three minutes of one core.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir

from ablate import build
from ablate.configuration import CONF, resolve
from ablate.statistics.paired_tests import holm, mean_difference, paired_p_value

CURVES = Path(__file__).parents[1] / "docs" / "rlhf.csv"
ESTIMATORS = {
    "RLOO": "advantage=leave_one_out",
    "REINFORCE": "advantage=none",
    "running mean": "advantage=running_mean",
    "optimal, of the others": "advantage=leave_one_out_optimal",
    "Dr. GRPO": "advantage=group_mean aggregation=constant_divisor aggregation.divisor=4",
    "GRPO": "advantage=group_standardised aggregation=sequence_mean",
    "GRPO, token mean": "advantage=group_standardised aggregation=token_mean",
    "REINFORCE++ (tokens)": "advantage=token_standardised aggregation=token_mean",
    "best of N": "advantage=leave_one_out_max",
}
REFERENCE = "RLOO"
GROUPS = 4, 16
STEP_SIZES = 0.03, 0.1, 0.3, 1.0, 3.0
TUNING, REPORTED = range(100, 110), range(20)
ITERATIONS, ANSWERS = 100, 64
WORTH = 2.0  # percent: a smaller difference is not worth caring about
STUDY = ["study=rlhf", f"iterations={ITERATIONS}", f"episodes={ANSWERS}"]


class Run(NamedTuple):
    """The mean reward of a seed, in percent of the best: over training, and over its last tenth."""

    estimator: str
    group: int
    step_size: float
    seed: int
    training: float
    end: float


def runs(estimator: str, group: int, step_size: float, seeds: Sequence[int]) -> list[Run]:
    words = [*STUDY, *ESTIMATORS[estimator].split(), f"env.group={group}", f"optimizer.lr={step_size}", "probe=off"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = resolve(compose("config", words), words).config
    learner = build.learner(config)
    state, found = learner.initial(list(seeds)), []
    for iteration in range(1, ITERATIONS + 1):
        state, record = learner.iterate(state, list(seeds), iteration)
        found.append(100 * record["return_mean"])
    right = np.array(found)
    last = right[-ITERATIONS // 10 :]
    rows = zip(seeds, right.mean(0), last.mean(0), strict=True)
    return [Run(estimator, group, step_size, seed, float(a), float(b)) for seed, a, b in rows]


def all_runs() -> Iterable[Run]:
    for group in GROUPS:
        for estimator in ESTIMATORS:
            tuned = {lr: runs(estimator, group, lr, TUNING) for lr in STEP_SIZES}
            for found in tuned.values():
                yield from found
            best = max(tuned, key=lambda lr: np.mean([run.training for run in tuned[lr]]))
            yield from runs(estimator, group, best, REPORTED)


def table(path: Path = CURVES) -> str:
    """A Markdown table, a row an estimator and group size; p of no difference to RLOO in the same seeds, after Holm."""
    every = pd.read_csv(path)
    reported = every[every["seed"].isin(REPORTED)]
    keys = [(group, name) for group in GROUPS for name in ESTIMATORS]
    values = {
        key: own.sort_values("seed")["training"].to_numpy() for key, own in reported.groupby(["group", "estimator"])
    }
    ends = reported.groupby(["group", "estimator"])["end"].mean()
    sizes = reported.groupby(["group", "estimator"])["step_size"].first()
    compared = [key for key in keys if key[1] != REFERENCE]
    differences = {(group, name): values[group, name] - values[group, REFERENCE] for group, name in compared}
    p = dict(zip(compared, holm([paired_p_value(differences[key]) for key in compared]), strict=True))
    lines = ["| N | estimator | step size | reward in training | at the end | less RLOO | p | |", "|---" * 8 + "|"]
    for group, name in keys:
        own = values[group, name].mean()
        start = f"| {group} | {name} | {sizes[group, name]:g} | {own:.1f}% | {ends[group, name]:.1f}%"
        if (group, name) not in differences:
            lines.append(f"{start} | | | |")
            continue
        value, low, high = (float(x) for x in mean_difference(differences[group, name]))
        if np.ptp(differences[group, name]) == 0:  # every seed the same: no spread to tell an error from
            low = high = value
        told = f"{value:+.1f} ({low:+.1f}, {high:+.1f})"
        lines.append(f"{start} | {told} | {p[group, name]:.2g} | {verdict(low, high, p[group, name])} |")
    return "\n".join(lines)


def verdict(low: float, high: float, p: float) -> str:
    """Decided by the paired test and the effect size that was declared."""
    if max(-low, high) < WORTH:
        return "negligible"
    if p < 0.05:
        return "worse" if high < 0 else "better"
    return "undecided"


def main() -> None:
    torch.set_num_threads(1)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Run._fields)
    for run in all_runs():
        writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in run])


if __name__ == "__main__":
    main()
