"""Seed ranges, and what a composed configuration is refused for."""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import compose, composed
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ablate.configuration import CONF, RANGES, IncompatibleSettings, Job, parse_seeds, resolve
from ablate.configuration.checks import check
from ablate.configuration.defaults import complete
from ablate.configuration.overrides import ranges
from ablate.configuration.ranges import KINDS
from ablate.configuration.seeds import MOST
from ablate.errors import UserError

SEEDS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20, unique=True)


def job(*overrides: str) -> Job:
    """Not cached as `compose` is, so that files may change."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(hydra_compose("config", list(overrides)), overrides)


# Seeds


@given(SEEDS)
def test_seeds_in_any_notation(seeds: list[int]) -> None:
    assert parse_seeds(seeds) == tuple(seeds)
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)
    assert parse_seeds([str(seed) for seed in seeds]) == tuple(seeds)
    assert parse_seeds(ranges(sorted(seeds))) == tuple(sorted(seeds))


@given(st.integers(0, 10**9), st.integers(0, 500))
def test_a_range_has_both_ends(first: int, more: int) -> None:
    assert parse_seeds(f"{first}-{first + more}") == tuple(range(first, first + more + 1))
    assert parse_seeds([f"{first}-{first + more}", first + more + 1])[-1] == first + more + 1
    if more:
        with pytest.raises(UserError, match=f"write seed={first}-{first + more}"):
            parse_seeds(f"{first + more}-{first}")


@given(SEEDS, st.integers(0, 30))
def test_a_seed_named_twice_is_refused(seeds: list[int], which: int) -> None:
    twice = seeds[which % len(seeds)]
    with pytest.raises(UserError, match=f"names seed {twice} twice"):
        parse_seeds([*seeds, twice])


@given(st.text(max_size=6) | st.text("0123456789-, ", max_size=8))
def test_any_text_is_seeds_or_refused(text: str) -> None:
    with suppress(UserError):
        seeds = parse_seeds(text)
        assert seeds
        assert all(0 <= seed < 2**63 for seed in seeds)
        assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("seed", [True, None, 1.5, -1, "٣", "0x3", "1_0", "3-", "-", [[0]], [], "", 2**63, "1-2-3"])
def test_no_seeds(seed: object) -> None:
    with pytest.raises(UserError):
        parse_seeds(seed)


def test_as_many_seeds_as_a_job_takes() -> None:
    assert len(parse_seeds(f"1-{MOST}")) == MOST
    for too_many in (f"0-{MOST}", f"0-9,10-{MOST}", "0-9999999999999"):
        with pytest.raises(UserError, match="name fewer"):
            parse_seeds(too_many)


# Settings


@pytest.mark.parametrize("name", RANGES | KINDS)
def test_every_range_names_an_example_that_it_allows(name: str) -> None:
    allowed, what, example = (RANGES | KINDS)[name]
    assert what
    assert allowed(OverridesParser.create().parse_override(f"x={example}").value())


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("episodes=0", "write for example episodes=16"),
        ("iterations=-1", "write for example iterations=100"),
        ("gamma=0", r"gamma=0.0 is not in \(0, 1\]"),
        ("gamma=1.01", "gamma=0.99"),
        ("gamma=nan", "gamma=0.99"),
        ("threshold=inf", "threshold=null"),
        ("checkpoint_seconds=0", "checkpoint_seconds=10"),
        ("checkpoint_seconds=inf", "checkpoint_seconds=10"),
        ("workers=0", "workers=auto, dask, or 1 or more"),
        ("workers=2.5", "workers=auto"),
        ("optimizer.lr=0", "optimizer.lr=0.003"),
        ("optimizer.max_grad_norm=-1", "optimizer.max_grad_norm=0.5"),
        ("optimizer=adam optimizer.beta1=2", r"beta1=2 is not in \[0, 1\); write for example optimizer.beta1=0.9"),
        ("optimizer=adam optimizer.beta1=abc", "write for example optimizer.beta1=0.9"),
        ("optimizer=adam optimizer.beta1=false", "write for example optimizer.beta1=0.9"),
        ("optimizer=adam optimizer.beta2=-0.1", "write for example optimizer.beta2=0.999"),
        ("optimizer=adam optimizer.eps=-1", "eps=-1 is not above 0; write for example optimizer.eps=1e-8"),
        ("optimizer=rmsprop optimizer.decay=5", "write for example optimizer.decay=0.99"),
        ("optimizer=rmsprop optimizer.eps=0", "write for example optimizer.eps=1e-8"),
        (
            "probe.reference=typo",
            "typo is no variant that probe=online judges; write probe.reference= one of own, null$",
        ),
        ("probe=matched probe.reference=typo", "one of return_none, .*, advantage_none, null$"),
        ("env=chain probe=exact probe.reference=typo", "one of return_none, .*, all_action$"),
        ("env=chain probe=exact probe.reference=null", "reference=null is no variant that probe=exact judges"),
        ("policy.hidden=[8,0]", r"policy.hidden=\[64,64\]"),
        ("policy.hidden=8", r"policy.hidden=\[64,64\]"),
        ("phi=td critic.updates=0", "critic.updates=16"),
        ("phi=td critic.td_lambda=1.5", "critic.td_lambda=0.95"),
        ("phi=advantage phi.gae_lambda=-0.1", "phi.gae_lambda=0.95"),
        ("env.horizon=0", "env.horizon=200"),
        ("env=pendulum policy.spread=wide", "policy.spread=learned"),
        ("env=mdp", "add env.path="),
        ("env=gym", "add env.id="),
        ("+episode=3", "episode is not a setting here"),
        ("~phi", "phi has no choice; write phi="),
        ("phi.name=null", "phi has no choice"),
        ("~phi.about.measured_from", "phi=rtg does not say about.measured_from; add it"),
        ("phi._target_=mine.phi.fancy", "phi=rtg is in mine.phi, which is not found"),
        ("env._target_=nowhere.Thing", "env=cartpole is in nowhere, which is not found"),
    ],
)
def test_refused(words: str, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy) as refused:
        job(*words.split())
    assert not isinstance(refused.value, IncompatibleSettings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("phi=td baseline=value", "write baseline=none"),
        ("phi=advantage baseline=mean", "write baseline=none"),
        ("baseline=loo episodes=1", "write episodes=2 or more"),
        ("critic=td", "uses no critic; leave out critic=td"),
        ("critic.lr=0.1", "leave out critic.lr=0.1"),
        ("policy=gaussian", "write policy=categorical"),
        ("env=pendulum policy=categorical", "write policy=gaussian"),
        ("env=gym env.id=Pendulum-v1", "write policy=gaussian"),
        ("phi=td critic=exact", "needs a known model"),
        ("phi=rtg critic=exact probe=matched", "critic=exact needs a known model"),
        ("env=chain phi=rtg critic=exact", "uses no critic; leave out critic=exact"),
        ("env=chain phi=rtg critic=exact probe.critic=exact", "uses no critic; leave out critic=exact"),
        ("env=chain phi=td critic=exact probe.critic=fitted", "write probe.critic=exact"),
    ],
)
def test_impossible(words: str, remedy: str) -> None:
    with pytest.raises(IncompatibleSettings, match=remedy):
        job(*words.split())


@pytest.mark.parametrize("name", ["optimizer.beta1", "optimizer.beta2", "optimizer.decay"])
def test_a_running_mean_may_forget_everything_but_not_nothing(name: str) -> None:
    allowed, *_ = RANGES[name]
    assert allowed(0)
    assert not allowed(1)


@pytest.mark.parametrize("reference", ["q_value", None])
def test_variants_are_held_against_one_of_themselves_or_none(reference: str | None) -> None:
    override = f"probe.reference={'null' if reference is None else reference}"
    assert compose("probe=matched", override).config["probe"]["reference"] == reference


def test_an_exact_critic_that_only_the_probe_has_a_use_for_is_exact_there() -> None:
    config = compose("env=chain", "phi=rtg", "critic=exact", "probe=matched").config
    assert config == compose("env=chain", "phi=rtg", "probe=matched", "probe.critic=exact").config
    assert (config["probe"]["critic"], config["probe"]["fitted"]) == ("exact", None)


def test_what_a_variant_does_not_use_is_no_part_of_its_configuration() -> None:
    assert compose("phi=rtg").config["critic"] is None
    assert compose("phi=rtg", "baseline=value").config["critic"]["name"] == "lambda"


def test_the_digest_of_an_environments_file_is_part_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "mdp.json"
    path.write_text('{"P": [[[1.0]]], "R": [[1.0]], "rho0": [1.0], "horizon": 2}')
    one = job("env=mdp", f"env.path={path}").config
    path.write_text('{"P": [[[1.0]]], "R": [[2.0]], "rho0": [1.0], "horizon": 2}')
    assert job("env=mdp", f"env.path={path}").config["files"] != one["files"]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "phi=td probe=matched",
        "env=chain probe=exact phi=rtg baseline=value",
        "env=chain phi=rtg critic=exact probe=matched",
        "env=contextual_bandit probe=matched baseline=mean",
        "env=chain algorithm=td",
    ],
)
def test_completing_and_checking_change_nothing_of_what_they_are_given(words: str) -> None:
    asked = OmegaConf.to_container(composed(*words.split()), resolve=True)
    assert isinstance(asked, dict)
    for setting in ("seed", "workers", "outputs", "overwrite", "checkpoint_seconds", "study"):
        asked.pop(setting)
    before = deepcopy(asked)
    config = complete(asked)
    assert asked == before
    completed = deepcopy(config)
    check(asked, config, words.split())
    assert (asked, config) == (before, completed)
