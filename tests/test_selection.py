"""--only, --drop and --rename: what is left of a study, under which names, in every command."""

import re

import pytest
import studies

from ablate.analysis import frames, plots, tables
from ablate.analysis.commands import COMMANDS
from ablate.analysis.plots import style
from ablate.analysis.selection import CellFilter, chosen, chosen_names
from ablate.commands import run_of_analysis as main
from ablate.errors import UserError


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Three variants, one of them at two step sizes, and another environment."""
    folder = tmp_path_factory.mktemp("chosen")
    for words in (["phi=return"], ["phi=rtg"], ["phi=rtg", "optimizer.lr=0.1"], ["phi=rtg", "baseline=value"]):
        made = studies.cell(folder, *words, "env=chain")
        for seed in range(3):
            phi, baseline = words[0].partition("=")[2], "value" if "baseline=value" in words else "none"
            studies.run(made, seed, [seed, 2.0, 3.0, 4.0], studies.online(4.0, 0.5, 4, phi, baseline))
    studies.run(studies.cell(folder, "phi=rtg", "env=corridor"), 0, [1.0, 2.0])
    return folder


def labels(study):
    return list(study.cells["label"][study.cells["env"] == "chain"])


@pytest.mark.parametrize(
    ("only", "left"),
    [
        ("Return", ["return"]),
        ("reward-to-go - V", ["reward-to-go − V"]),
        ("baseline=value", ["reward-to-go − V"]),
        ("return,reward-to-go - V", ["return", "reward-to-go − V"]),
        ("optimizer.lr=1e-1", ["reward-to-go (optimizer.lr=0.1)"]),
        ("reward-to-go", ["reward-to-go", "reward-to-go (optimizer.lr=0.1)"]),
        ("phi=r*", ["return", "reward-to-go", "reward-to-go (optimizer.lr=0.1)", "reward-to-go − V"]),
    ],
)
def test_a_text_names_cells_by_variant_label_or_setting(outputs, only, left):
    study = frames.load(outputs, "main")
    kept = chosen(study, CellFilter([only], ["env=corridor"]))
    assert labels(kept) == left
    for frame in (kept.runs, kept.curves, kept.probe):
        assert set(frame["cell"].astype(str)) == set(kept.cells.index)
    dropped = chosen(study, CellFilter(drop=[only, "env=corridor"])) if len(left) < 4 else None
    assert dropped is None or labels(dropped) == [label for label in labels(study) if label not in left]


def test_a_choice_changes_no_number_and_no_colour(outputs):
    study = frames.load(outputs, "main")
    kept = chosen(study, CellFilter(["optimizer.lr=0.1"], rename=["optimizer.lr=0.1=fast=er"]))
    (cell,) = kept.cells.index
    assert labels(kept) == ["fast=er"]
    whole, part = (tables.side_by_side(x).loc[cell].drop("label") for x in (study, kept))
    assert whole.equals(part)
    assert list(tables.noise(kept)["label"].unique()) == ["fast=er"]
    chain = study.cells[study.cells["env"] == "chain"]
    assert style.looks(kept.cells)[cell] == style.looks(chain)[cell]


def test_a_renamed_variant_keeps_the_settings_that_tell_its_cells_apart(outputs):
    study = chosen(frames.load(outputs, "main"), CellFilter(rename=["reward-to-go=G"]))
    assert labels(study) == ["return", "G", "G (optimizer.lr=0.1)", "reward-to-go − V"]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (CellFilter(["rewardtogo"]), "did you mean 'reward-to-go'"),
        (CellFilter(["phi=advantage"]), "names nothing"),
        (CellFilter(["return,nothing"]), "'nothing' names nothing"),
        (CellFilter(drop=["*"]), "leaves nothing"),
        (CellFilter(rename=["return"]), "OLD=NEW"),
        (CellFilter(rename=["nobody=X"]), "OLD=NEW"),
        (CellFilter(rename=["return=X", "reward-to-go - V=X"]), "two cells"),
    ],
)
def test_what_names_nothing_is_refused_in_a_line(outputs, choice, told):
    with pytest.raises(UserError, match="(?i)" + told) as error:
        chosen(frames.load(outputs, "main"), choice)
    assert len(str(error.value)) < 290


def test_every_command_takes_a_choice_and_writes_into_the_study(outputs, capsys):
    words = ["--outputs", str(outputs), "--only", "env=chain", "--drop", "optimizer.lr=0.1", "--rename", "return=R"]
    for command in (["tables"], ["report"], ["learning"], ["plan", "--effect", "2"]):
        assert main([*command, *words]) == 0, capsys.readouterr()
        capsys.readouterr()
    made = outputs / "main"
    assert (made / "tables" / "side_by_side.tex").exists()
    assert (made / "figures" / "learning.pdf").exists()
    assert "<td>R</td>" in (made / "report.html").read_text() or ">R<" in (made / "report.html").read_text()
    assert plots.figures(frames.load(outputs, "main")).keys() > {"learning"}


def test_names_are_chosen_as_cells_are():
    names = ["C4", "C5", "C5b"]
    assert list(chosen_names(names, CellFilter(only=["c5*"]), "claim")) == ["C5", "C5b"]
    assert list(chosen_names(names, CellFilter(only=["C4,C5"], drop=["C5"]), "claim")) == ["C4"]
    assert chosen_names(names, CellFilter(drop=["C5*"], rename=["C4=four"]), "claim") == {"C4": "four"}
    for choice, words in (
        (CellFilter(only=["C4,C9"]), "--only 'C9': no such claim; choose from C4, C5, C5b"),
        (CellFilter(drop=["*"]), "--drop leaves no claim of C4, C5, C5b"),
        (CellFilter(rename=["C4="]), "--rename 'C4=' is no OLD=NEW"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            chosen_names(names, choice, "claim")


@pytest.mark.parametrize("command", ["claims", "ledger"])
def test_what_has_fixed_names_says_where_names_are_given(command, tmp_path, capsys):
    assert main([command, "--rename", "C4=four", "--outputs", str(tmp_path)]) == 2
    assert "ablate report and ablate figures rename what a study shows" in capsys.readouterr().err
    assert main([command, "--drop", "*", "--outputs", str(tmp_path)]) == 2
    assert "--drop leaves no" in capsys.readouterr().err


def test_every_command_of_a_study_says_how_to_choose(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert {"--only", "--drop", "--rename"} <= set(re.findall(r"--\w+", text)), command
