"""Settings that are not there: refused at every depth, with or without `+`, with what was probably meant."""

import re
from contextlib import suppress
from typing import Any

import pytest
from conftest import choices, composed
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ablate.configuration import CONF, Job, resolve
from ablate.configuration.allowed_settings import check_shape
from ablate.configuration.arguments import arranged
from ablate.configuration.hydra_errors import is_bad_input, message_of
from ablate.configuration.overrides import GROUPS
from ablate.configuration.settings import meant
from ablate.configuration.settings import settings as known_settings
from ablate.errors import UserError


def job(*typed: str) -> Job:
    """What `python -m ablate TYPED` runs. Every refusal of its words is a UserError."""
    words = arranged(typed)
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return resolve(hydra_compose("config", words), words)
    except UserError:
        raise
    except Exception as problem:
        if not is_bad_input(problem, words):
            raise
        raise UserError(message_of(problem, words)) from problem


def refusal(*typed: str) -> str:
    with pytest.raises(UserError) as refused:
        job(*typed)
    line = str(refused.value)
    assert len(line) <= 280
    assert "\n" not in line
    return line


@pytest.mark.parametrize("group", GROUPS)
def test_any_misspelling_of_any_setting_is_refused(group: str) -> None:
    """A letter of each is doubled, another left out, in the configuration as `+` or a yaml of the user's makes it."""
    for name, has in known_settings().items():
        if not name.startswith(f"{group}."):
            continue
        config: Any = OmegaConf.to_container(composed(f"{group}={has[0]}" if has else "seed=0"), resolve=False)
        leaf = name.partition(".")[2]
        for slip in (f"{leaf}{leaf[-1]}", f"{leaf[:-2]}{leaf[-1]}x"):
            misspelt = config | {group: config[group] | {slip: 1}}
            with pytest.raises(UserError, match=re.escape(f"{group}.{slip} is not a setting here")):
                check_shape(misspelt, [f"+{group}.{slip}=1"])


@pytest.mark.parametrize(
    "word",
    [
        "+evaluate.evry=5",
        "+evaluate={evry: 5}",
        "+study.nam=pilot",
        "+phi.about.needed=[V]",
        "+baseline.about.unbiassed=always",
        "+critic.abot.x=1",
        "+probe.variants.mine.phi=3",
        "+env.mdp.slipp=0.1",
        "+policy.observation_size=3",
        "+optimizer.beta1=0.9",
        "+nothing=1",
        "+nothing.at.all=1",
        "++optimizer.lrr=0.1",
    ],
)
def test_added_settings_that_nothing_reads(word: str) -> None:
    assert refusal("env=chain", word)


@pytest.mark.parametrize(
    "words",
    [
        "env=gym env.id=CartPole-v1 +env.kwargs.render_mode=rgb_array",
        "env=gym env.id=FrozenLake-v1 +env.kwargs={is_slippery: false}",
        "env=chain +env.mdp.slip=0.1",
        "env=chain ++optimizer.lr=0.1",
        "env=chain ~env.slip",
        "env=chain +env.gamma=0.5",
        "env=chain phi=td critic=exact +critic.hidden=[]",
        "env=bandit probe=online +phi.about.description=mine",
    ],
)
def test_additions_that_are_read_stay_possible(words: str) -> None:
    typed = words.split(" ") if "{" not in words else [*words.split(" ")[:2], words.split(" ", 2)[2]]
    assert job(*typed).config


@pytest.mark.parametrize(
    ("word", "missing"),
    [
        ("~env.mdp", "env.mdp has no value"),
        ("~env.time_limit", "env.time_limit has no value"),
        ("~gamma", "gamma has no value; add gamma="),
        ("~probe.every", "probe.every has no value"),
        ("~phi._target_", "phi=rtg has no _target_"),
        ("phi.name=5", "phi.name=5 is not a text"),
        ("phi.about=5", ""),
        ("phi.about.needs=5", "phi.about.needs=5 is not a list, some of V, Q"),
        ("phi.about.measured_from=end", "not step or start"),
        ("baseline.about.couples=maybe", "not true or false"),
        ("algorithm.about.env=mars", "not any or markov or states"),
        ("study.name=[a]", "not a text"),
        ("study.name=null", "study has no choice"),
        ("outputs=[a]", "outputs=[a] is not a folder; write for example outputs=outputs"),
        ("outputs=null", "outputs=null is not a folder"),
    ],
)
def test_what_a_part_cannot_do_without(word: str, missing: str) -> None:
    assert missing in refusal("env=chain", word)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lr=0.1", "did you mean optimizer.lr=0.1 or critic.lr=0.1 or algorithm.lr=0.1?"),
        ("env.id=CartPole-v1", "did you mean env=gym env.id=CartPole-v1?"),
        ("policy.sigma=0.5", "did you mean policy=gaussian policy.sigma=0.5?"),
        ("phi.gae_lambda=0.9", "did you mean phi=advantage phi.gae_lambda=0.9?"),
        ("horizon=50", "env.horizon=50?"),
        ("iteration=5", "did you mean iterations=5?"),
        ("bseline=loo", "did you mean baseline=loo?"),
        ("environment=chain", "did you mean env=chain?"),
        ("probe.epsodes=64", "did you mean probe.episodes=64?"),
        ("phi=rgt", "did you mean phi=rtg?"),
        ("phi=loo", "did you mean baseline=loo?"),
        ("env=Acrobot-v1", "did you mean env=gym env.id=Acrobot-v1?"),
        ("study=pilot", "study.name=pilot"),
        ("study=2024", "study.name=2024"),
        ("study=été", "study.name="),
        ("study=true", "study=true is not a choice"),
        ("study=null", "study=null is not a choice"),
        ("study=[a]", "study=[a] is not a choice"),
        ("phi={a: 1}", "is not a choice; write phi= one of"),
        ("rtg", "did you mean phi=rtg?"),
        ("phi", "phi is not KEY=VALUE"),
        ("outputs=${x}", "outputs=${x} cannot be resolved"),
        ("outputs=${outputs}", "cannot be resolved"),
        ("outputs=${", "cannot be read"),
        ("outputs=${nope:1}", "cannot be resolved"),
        ("outputs=${oc.env:ABLATE_NOT_SET}", "cannot be resolved"),
        ("phi=${x}", "cannot be resolved"),
        ("iterations=${threshold}", "cannot be resolved"),
        ("iterations=)", "iterations=) cannot be read"),
        ("phi=rtg,td", "is several values: add -m"),
        ("iterations=1.5", "write for example iterations=100"),
        ("overwrite=maybe", "write true or false"),
        ("seed=" + "9" * 5000, "is not below 2^63"),
        ("seed=[" + "9" * 5000 + "]", "is not a seed"),
        ("seed=" + ",".join(map(str, range(2000))), "is several values"),
        ("iterations=" + "9" * 5000, "cannot be read"),
        ("phi=" + "x" * 5000, "too long"),
        ("y" * 5000 + "=1", "too long"),
        ("seed=0–9", "is not a seed or a range"),
    ],
)
def test_told_in_one_line_with_the_remedy(word: str, said: str) -> None:
    assert said in refusal(word)


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.sampled_from(["seed", "outputs", "env", "x"]))
@settings(max_examples=15)
def test_any_word_is_taken_or_refused(text: str, name: str) -> None:
    with suppress(UserError):
        job(f"{name}={text}")


def test_every_setting_is_found_where_it_lives() -> None:
    for name, has in known_settings().items():
        if has:
            assert name in meant(name, "1")
            assert all(choice in choices(name.partition(".")[0]) for choice in has)
