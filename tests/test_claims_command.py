"""`python -m ablate claims`: what is run, what is kept, what is written; and the columns that C1 and C2 read."""

import json
import re
import shlex
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import compose
from rich.console import Console
from scipy import stats

from ablate.analysis.html_page import render
from ablate.analysis.verdicts import command
from ablate.analysis.verdicts.claim import chosen, claims
from ablate.analysis.verdicts.estimates import Mean
from ablate.analysis.verdicts.page import claims_page
from ablate.analysis.verdicts.study import ClaimStudy, _parts, asked_for, forget
from ablate.analysis.verdicts.verdict import ClaimFinding, Condition, Verdict, evaluate
from ablate.commands import run_of_analysis as main
from ablate.errors import UserError
from ablate.runs.train import train
from ablate.statistics.bias import projection
from ablate.statistics.block_sums import blocks_of
from ablate.store import Cell


def test_what_is_missing_is_run_once_and_again_where_it_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """C14 runs Bellman iteration. The second call runs nothing; the same JSON to the byte; a lost cell is run anew."""
    outputs, paths = tmp_path / "out", [tmp_path / f"{name}.json" for name in "abc"]

    def said(*words: str) -> tuple[str, str]:
        assert main(["claims", "--only", "C14", "--outputs", str(outputs), *words]) == 0
        return capsys.readouterr()

    table, progress = said("--json", str(paths[0]))
    assert re.search(r"C14 .*SUPPORTED", table)
    assert progress.count("python -m ablate") == 1
    _, progress = said("--json", str(paths[1]))
    assert "ablate" not in progress
    lost = next((outputs / "lecture_quick").glob("*gridworld*"))
    shutil.rmtree(lost)
    more = "--page", "page.html", "--markdown", "table.md", "--pictures", "pictures"
    _, progress = said(
        "--json", str(paths[2]), *(str(tmp_path / x) if "." in x or x == "pictures" else x for x in more)
    )
    assert progress.count("python -m ablate") == 1
    assert lost.is_dir()
    assert len({path.read_bytes() for path in paths}) == 1
    (record,) = json.loads(paths[0].read_text())["claims"]
    assert record["verdict"] == "SUPPORTED"
    assert all(place["p_value"] is None for place in record["places"])
    assert all(place["effect"] <= 1 + 1e-9 for place in record["places"])
    assert "SUPPORTED" in (tmp_path / "page.html").read_text()
    header, rule, row = (tmp_path / "table.md").read_text().splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in (header, rule, row)}) == 1
    assert "SUPPORTED" in row
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"C14.csv", "C14.png", "C14.svg"}


def test_a_claim_whose_runs_cannot_be_made_is_inconclusive_and_says_why(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    (claim,) = chosen("C14")
    trouble = {claim.commands("quick")[0]: "ablate: no space is left"}
    verdict, evidence = command._evaluated(claim, str(tmp_path), "quick", trouble, quiet)
    assert evidence is None
    assert verdict.word == "INCONCLUSIVE"
    assert "no space is left" in verdict.sentence
    untold, _ = command._evaluated(claim, str(tmp_path), "quick", {}, quiet)
    assert "in study lecture_quick" in untold.sentence
    assert str(tmp_path) not in command.to_json([claim], [untold], "quick")


def test_the_page_shows_every_claim_with_a_picture_where_there_is_evidence(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    drawn = {claim.id: command._evaluated(claim, str(tmp_path), "quick", {}, quiet) for claim in chosen("C5b,C15")}
    nothing = [(claim, Verdict(claim.id, remark="no data: <b>nothing</b>"), None) for claim in claims()]
    answers = [(claim, *drawn.get(claim.id, (verdict, evidence))) for claim, verdict, evidence in nothing]
    html = render(claims_page(answers, "outputs", "quick"))
    for claim in claims():
        assert f'id="{claim.id.lower()}"' in html
        assert f"--only {claim.id}" in html
    graphs = sum(bool(claim.explorable) for claim in claims())
    assert html.count('role="img"') == len(claims()) + len(drawn) + graphs  # an equation each, and the pictures
    assert "<b>nothing" not in html
    assert "batch mean, N = 2" in html


def test_one_claim_is_one_claim(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["claims", "--only", "c5", "--outputs", str(tmp_path)]) == 0
    assert "\n1 claim. A number" in capsys.readouterr().out


def test_the_json_has_no_times_and_no_infinities(tmp_path: Path) -> None:
    (claim,) = chosen("C21")
    nothing = ClaimFinding([Condition("here", {"tau": Mean.of([float("nan")])})])
    text = command.to_json([claim], [evaluate("C21", claim.questions, nothing)], "quick")
    (record,) = json.loads(text)["claims"]
    assert record["effect"] is record["low"] is record["high"] is None
    assert record["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize("words", [["--only", "C99"], ["--quick", "--full"], ["--nonsense"]])
def test_bad_options_get_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["claims", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


TUNED = {"optimizer.lr", "algorithm.lr", "algorithm.step_size", "algorithm.action_bins", "algorithm.state_bins"}


@pytest.mark.parametrize("name", ["C17", "C19", "C21"])  # C20 and C21b read the runs of C19 and C21
def test_every_configuration_of_a_full_grid_is_possible_and_its_best_value_can_lie_inside(name: str) -> None:
    """Three values or more of what is tuned; all combinations of the rest resolve, at both ends of it in turn."""
    (claim,) = chosen(name)
    for line in claim.commands("full"):
        words = (word.partition("=") for word in shlex.split(line) if not word.startswith("seed="))
        values = {key: _parts(value) for key, _, value in words}
        tuned = {key: found for key, found in values.items() if key in TUNED and len(found) > 1}
        assert all(len(found) >= 3 and len({*found}) == len(found) for found in tuned.values()), line
        cells = list(product(*(found for key, found in values.items() if key not in tuned)))
        for place, cell in enumerate(cells if len(cells) > 1 else cells * 2):
            rest = dict(zip([key for key in values if key not in tuned], cell, strict=True))
            own = rest | {key: found[-(place % 2)] for key, found in tuned.items()}
            config = compose(*(f"{key}={value}" for key, value in own.items())).config
            assert config["iterations"] or config["env_steps"]


def test_runs_are_chosen_by_their_configuration(tmp_path: Path) -> None:
    for slip in (0.1, 0.3):
        job = compose("env=chain", f"env.slip={slip}", "iterations=2", "probe=off", "study=main")
        cell = Cell.at(tmp_path, "lecture_quick", job.overrides, job.config)
        cell.prepare()
        train(cell, (0, 1), 1e9, lambda *_: None, lambda: False)
    forget()
    commands = ("env=chain env.slip=0.1,0.3 iterations=2 'seed=\"0-1,5\"'", "env=chain iterations=3")
    study = ClaimStudy(str(tmp_path), "lecture_quick", {}, commands)
    found = study.curves({"env.name": "chain", "env.slip": 0.3}, ["env.horizon"])
    assert len(found) == 4
    assert set(found["seed"]) == {0, 1}
    assert set(found["env.horizon"]) == {20}
    assert len(study.curves({"env.slip": [0.1, 0.3]})) == 8
    with pytest.raises(UserError, match=re.escape("env.slip=0.5")):
        study.curves({"env.slip": 0.5})
    for other in (
        "env=chain iterations=3",
        "env=chain env.slip=0.2 seed=0-1",
        "env=lqg seed=0-1",
        "env=chain seed=2-9",
    ):
        assert not list(ClaimStudy(str(tmp_path), "lecture_quick", {}, (other,)).runs())


def test_what_a_command_asks_for() -> None:
    command = """algorithm=dqn algorithm.lr=7e-4,2.3e-3 env.A=[[1.0,2.0]] probe=off,online whiten=true 'seed="0-2,7"'"""
    settings, seeds = asked_for(command)
    assert seeds == {0, 1, 2, 7}
    assert settings == {
        "algorithm": ["dqn"],
        "algorithm.lr": [0.0007, 0.0023],
        "env.A": [[[1.0, 2.0]]],
        "probe": ["off", "online"],
        "whiten": [True],
    }
    assert asked_for("env=chain") == ({"env": ["chain"]}, {0})


# What the probe measures for C1 and C2


def gradients(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` vectors of 6 numbers in a subspace of 3, and their true mean: as softmax scores, singular."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(3, 6))
    mean = np.array([1.0, -2.0, 0.5]) @ basis
    return mean + rng.normal(size=(count, 3)) @ basis, mean


def test_the_projection_is_a_students_interval() -> None:
    x, mean = gradients(0, 40)
    found = projection(blocks_of(x[:, None]), mean)
    y = x @ mean / (mean @ mean)
    squares = np.square(y - y.mean())
    low, high = stats.t.interval(0.95, squares.sum() ** 2 / (squares**2).sum() - 1, y.mean(), stats.sem(y))
    assert found.value[0] == pytest.approx(y.mean())
    assert (found.low[0], found.high[0]) == (pytest.approx(low), pytest.approx(high))
    assert np.isnan(projection(blocks_of(x[:, None]), np.zeros(6)).value[0])


def test_the_probe_records_both_where_the_gradient_is_known(tmp_path: Path) -> None:
    """An unbiased estimator: its limits hold 1 unless the sample is one of 1 in 1000 (the reach is made 99.9%)."""
    job = compose("env=bandit", "phi=rtg", "iterations=1", "probe.episodes=512", "study=main")
    cell = Cell.at(tmp_path, "main", job.overrides, job.config)
    cell.prepare()
    train(cell, (0,), 1e9, lambda *_: None, lambda: False)
    rows: pd.DataFrame = cell.probe(0)
    reach = (rows["projection_high"] - rows["projection"]) * stats.norm.ppf(0.9995) / stats.norm.ppf(0.975)
    assert (abs(rows["projection"] - 1) <= reach).all()
    assert ((rows["wald_p"] > 0.0005) & (rows["wald_p"] <= 1)).all()
