"""What every learner is held to: a seed's numbers are the same bits alone, among others, and after a stop; and an
iteration leaves a state from which it can be repeated."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ablate import build
from ablate.learners.base import Record, State

SEEDS = [*range(10)]
SEED = 7


def trained(config: Mapping[str, Any], seeds: Sequence[int], iterations: int) -> tuple[State, list[Record]]:
    learner = build.learner(config)
    return _continued(learner, learner.initial(seeds), seeds, range(1, iterations + 1))


def _continued(learner: Any, state: State, seeds: Sequence[int], iterations: range) -> tuple[State, list[Record]]:
    records = []
    for iteration in iterations:
        state, record = learner.iterate(state, seeds, iteration)
        records.append(record)
    return state, records


def assert_bits(config: Mapping[str, Any], iterations: int = 4) -> None:
    """Seed 7 alone, among 0-9, and taken out of a checkpoint of 0-9 after half of the iterations by a new learner,
    which leaves that state as it was, but for the places of a replay buffer that its next iteration writes over."""
    alone, its = trained(config, [SEED], iterations)
    _assert_equal(alone, its, *trained(config, SEEDS, iterations))

    half, _ = trained(config, SEEDS, iterations // 2)
    saved = {name: x[SEED].numpy() for name, x in half.items()}
    loaded = {name: torch.from_numpy(np.stack([x])) for name, x in saved.items()}
    learner, following = build.learner(config), iterations // 2 + 1
    once = {name: x.clone() for name, x in learner.iterate(loaded, [SEED], following)[0].items()}
    for name, x in learner.iterate(loaded, [SEED], following)[0].items():
        assert torch.equal(x, once[name]), name
    resumed, later = _continued(learner, loaded, [SEED], range(following, iterations + 1))
    for name, x in alone.items():
        assert torch.equal(x, resumed[name]), name
        if not name.startswith("replay."):
            np.testing.assert_array_equal(loaded[name][0].numpy(), saved[name], err_msg=name)
    for one, again in zip(its[iterations // 2 :], later, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)


def _assert_equal(alone: State, its: list[Record], together: State, records: list[Record]) -> None:
    at = SEEDS.index(SEED)
    assert alone.keys() == together.keys()
    for name, x in alone.items():
        assert x.shape[0] == 1
        assert x.dtype == together[name].dtype
        assert torch.equal(x[0], together[name][at]), name
    for one, every in zip(its, records, strict=True):
        assert one.keys() == every.keys() == its[0].keys()
        assert {"env_steps", "episodes", "return_mean", "grad_norm"} <= one.keys()
        for name, value in one.items():
            assert value.shape == (1,)
            assert every[name].shape == (len(SEEDS),)
            np.testing.assert_array_equal(value[0], every[name][at], err_msg=name)
