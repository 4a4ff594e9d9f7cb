"""Words of a command line: what is typed is what is meant, in any order, and what is shown can be pasted."""

from itertools import permutations
from pathlib import Path

import pytest
import yaml
from commands import ablate
from hydra._internal.utils import get_args_parser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ablate.configuration.arguments import arranged
from ablate.configuration.overrides import as_text, override, parsed, ranges
from ablate.errors import UserError, one_line, shown

TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1)


def meant(word: str) -> object:
    """What Hydra and OmegaConf make of an override's value."""
    read = parsed(word)
    assert read is not None
    assert not read.is_sweep_override()
    return OmegaConf.create({"value": read.value()}).value


@given(TEXT)
def test_any_text_can_be_written_as_an_override(text: str) -> None:
    assert meant(override("outputs", text)) == text


@given(st.sampled_from("é ß日🙂()'&#=[]{}:;!?\"\\ ,").flatmap(lambda sign: TEXT.map(lambda text: f"a{sign}{text}z")))
def test_a_folder_is_taken_as_it_is_typed(text: str) -> None:
    word = as_text(f"outputs={text}")
    read = parsed(f"outputs={text}")
    if read is None and "${" not in text:
        assert meant(word) == text
    else:  # Hydra's own grammar has a meaning for it: a list, quotes, several values
        assert word == f"outputs={text}"


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("outputs=2024", "2024"),
        ("outputs=007", "007"),
        ("outputs=1e3", "1e3"),
        ("outputs=true", "true"),
        ("outputs=-1", "-1"),
        ("outputs=naïve", "naïve"),
        ("outputs=it's", "it's"),
        ("outputs=a=b", "a=b"),
        ("study.name=12", "12"),
        ("study.name=été 2", "été 2"),
        ("study=123", "123"),
        ("study=null", "null"),
        ("env=[chain]", "[chain]"),
        ("+env.path=日本.json", "日本.json"),
        ('outputs="already quoted"', "already quoted"),
    ],
)
def test_text_that_looks_like_something_else(typed: str, value: str) -> None:
    assert meant(as_text(typed)) == value


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/é")
    assert meant(as_text("outputs=~/runs")) == "/home/é/runs"
    assert meant(as_text('outputs="~/runs"')) == "/home/é/runs"
    assert meant(as_text("env.path=~")) == "/home/é"
    assert as_text("~env.path") == "~env.path", "which deletes a setting"


def test_each_value_of_a_sweep_is_text_by_itself() -> None:
    assert as_text("study.name=é,2,a", sweeping=True) == 'study.name="é","2",a'
    assert as_text("phi=rtg,td", sweeping=True) == "phi=rtg,td"
    assert as_text("phi=choice(rtg,td)", sweeping=True) == "phi=choice(rtg,td)"
    assert as_text("seed=0,1", sweeping=True) == "seed=0,1"
    assert as_text("optimizer.lr=0.1,1e-3", sweeping=True) == "optimizer.lr=0.1,1e-3"


BLOCKS = ["phi=rtg"], ["--config-dir", "D"], ["seed=0-9"], ["--cfg", "job"], ["--resolve"], ["+env.x=1"]


def test_options_and_overrides_in_any_order() -> None:
    for blocks in permutations(BLOCKS):
        options = get_args_parser().parse_args(arranged([word for block in blocks for word in block]))
        assert (options.config_dir, options.cfg, options.resolve) == ("D", "job", True)
        assert sorted(options.overrides) == ["+env.x=1", "phi=rtg", "seed=0-9"]
        told = [word for block in blocks if "=" in block[0] for word in block]
        assert options.overrides == told, "what is typed later counts"


@pytest.mark.parametrize("typed", [["phi=rtg,td", "-m"], ["-m", "phi=rtg,td"], ["--multi", "phi=rtg,td"]])
def test_multirun_anywhere(typed: list[str]) -> None:
    options = get_args_parser().parse_args(arranged(typed))
    assert (options.multirun, options.overrides) == (True, ["phi=rtg,td"])


def test_info_with_and_without_what_it_is_about() -> None:
    for typed in (["--info", "phi=td"], ["phi=td", "--info"], ["--info", "all", "phi=td"]):
        options = get_args_parser().parse_args(arranged(typed))
        assert (options.info, options.overrides) == ("all", ["phi=td"])


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        (["--config-dri", "D"], "did you mean --config-dir?"),
        (["phi=rtg", "--cfg"], "write --cfg job or hydra or all"),
        (["--cfg", "jobs"], "--cfg jobs cannot be shown; write --cfg job or hydra or all"),
        (["-x"], "-x is not an option"),
        (["--config"], "--config is not an option; did you mean"),  # which of three?
    ],
)
def test_options_that_are_none(typed: list[str], remedy: str) -> None:
    with pytest.raises(UserError) as refused:
        arranged(typed)
    assert remedy in str(refused.value)


def test_ranges() -> None:
    assert ranges([3]) == "3"
    assert ranges([10, 0, 1, 2, 3, 4, 7, 9]) == "0-4,7,9-10"
    assert ranges([]) == ""


@given(st.text(max_size=2000))
def test_a_refusal_is_one_line_that_a_terminal_can_show(text: str) -> None:
    line = str(UserError(f"seed={text} is wrong; write seed=3"))
    assert len(line) <= 280
    assert line.isprintable()
    assert line.endswith("wrong; write seed=3") or len(line) == 280
    assert len(shown(text)) <= 60


def test_what_is_cut_is_the_middle() -> None:
    assert one_line("abcdefghij", 7) == "ab...ij"
    assert one_line("abcdefghij", 10) == "abcdefghij"
    assert one_line("a\x1b[31m\u202eb\n c\0") == "a [31m b c"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-m algorithm=td,sarsa algorithm.steps=9", "algorithm=td,sarsa algorithm.steps=choice(9)"),
        ("-m env=chain,lqg env.horizon=8,9", "env=chain,lqg env.horizon=8,9"),
        ("-m env=chain env.slip=0.1 seed=0-9", "env=chain env.slip=0.1 seed=0-9"),
        ("-m env=chain,lqg +env.x=[1,2] gamma=0.5", "env=chain,lqg +env.x=[1,2] gamma=0.5"),
        ("algorithm=td algorithm.steps=9", "algorithm=td algorithm.steps=9"),
    ],
)
def test_a_setting_of_a_swept_choice_is_swept_with_it(typed: str, words: str) -> None:
    assert [word for word in arranged(typed.split()) if word[0] != "-"] == words.split()


def test_choices_are_swept_with_a_setting_that_the_default_choice_has_not(tmp_path: Path) -> None:
    """Hydra composes once without what is swept: algorithm=policy_gradient has no step_size."""
    ablate("-m", "algorithm=sarsa,q_learning", "algorithm.step_size=0.25", "env=chain", "iterations=1", cwd=tmp_path)
    cells = [yaml.safe_load(path.read_text())["config"] for path in tmp_path.glob("outputs/main/*/config.yaml")]
    assert sorted((cell["algorithm"]["name"], cell["algorithm"]["step_size"]) for cell in cells) == [
        ("q_learning", 0.25),
        ("sarsa", 0.25),
    ]
