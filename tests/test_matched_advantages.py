"""All advantages on the same answers: what each is by itself, its name in tables, and what is refused."""

import pytest
import torch
from conftest import compose

from ablate import build
from ablate.analysis.frames import _variants
from ablate.errors import IncompatibleSettings
from ablate.probes.sampled import probe

WORDS = "env=tokens", "env.group=4", "episodes=8", "phi=return"
MATCHED = "probe=matched", "probe/variants=advantages"


def rows(*words: str) -> list[dict]:
    config = compose(*WORDS, *words).config
    policy = build.policy(config, build.environment(config))
    theta = torch.randn(1, policy.network.num_parameters, generator=torch.Generator().manual_seed(0))
    return probe(config).measure(theta, {}, [3], 0)[0]


def test_every_advantage_is_judged_as_by_itself_on_the_same_answers() -> None:
    """The row of an advantage is the online row of a run that has it, at the same policy and probe stream."""
    every = {row["baseline"]: row for row in rows(*MATCHED)}
    assert len(every) == 14
    for name, words in {
        "none": (),
        "leave_one_out": ("advantage=leave_one_out",),
        "leave_one_out_optimal": ("advantage=leave_one_out_optimal",),
        "group_standardised token_mean": ("advantage=group_standardised", "aggregation=token_mean"),
        "token_standardised": ("advantage=token_standardised",),
    }.items():
        (alone,) = rows(*words, "probe=online", "probe.episodes=256")
        for column in ("episodes", "trace_variance", "trace_variance_low", "nsr", "pairwise_cosine"):
            assert every[name][column] == pytest.approx(alone[column], rel=1e-6)
    assert every["none"]["log_ratio"] == 0


def test_the_group_mean_and_leaving_one_out_differ_by_their_factor_alone() -> None:
    every = {row["baseline"]: row for row in rows(*MATCHED)}
    ratio = every["group_mean"]["trace_variance"] / every["leave_one_out"]["trace_variance"]
    assert ratio == pytest.approx((1 - 1 / 4) ** 2, rel=1e-5)
    assert every["group_mean"]["nsr"] == pytest.approx(every["leave_one_out"]["nsr"], rel=1e-4)


def test_tables_name_each_and_know_the_runs_own() -> None:
    config = compose(*WORDS, *MATCHED, "advantage=group_standardised", "aggregation=token_mean").config
    facts = {fact["baseline"]: fact for fact in _variants("cell", config)}
    assert len(facts) == 14
    assert [name for name, fact in facts.items() if fact["own"]] == ["group_standardised token_mean"]
    assert facts["leave_one_out"]["label"] == "RLOO"
    assert facts["group_standardised token_mean"]["label"] == "GRPO, token mean"
    another = compose(*WORDS, *MATCHED, "advantage=leave_one_out", "aggregation=token_mean").config
    own = [fact["baseline"] for fact in _variants("cell", another) if fact["own"]]
    assert own == ["leave_one_out token_mean"]


def test_a_group_too_small_for_one_of_them_is_refused() -> None:
    with pytest.raises(IncompatibleSettings, match=r"write env.group=3 or more"):
        compose("env=tokens", "env.group=2", "episodes=4", "phi=return", *MATCHED)
