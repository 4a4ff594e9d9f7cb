"""`ablate exact`: the table, the picture, and bad input in one line."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exact_oracle import ground_truth
from matplotlib.figure import Figure

from ablate import commands, files
from ablate.envs import tabular
from ablate.exact import (
    VARIANTS,
    GroundTruth,
    Variant,
    contrasts,
    scores,
    softmax,
)
from ablate.mdp import MDP


def main(words: list[str]) -> int:
    return commands.run("exact", words)


TWO_STATES = {"P": [[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.1, 0.9]]], "R": [[1, 0], [0, 2]], "rho0": [0.5, 0.5]}


@pytest.fixture
def problem_file(tmp_path: Path) -> Path:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps({**TWO_STATES, "horizon": 3, "gamma": 0.9, "logits": [[0, 1], [1, 0]]}))
    return path


@pytest.mark.parametrize(("kind", "has", "lacks"), [("pdf", b"/CIDFontType2", b"/Type3"), ("svg", b"<text", b"<use")])
def test_a_journal_takes_the_picture(kind: str, has: bytes, lacks: bytes) -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "trace variance")
    made = files.picture(figure, kind)
    assert has in made
    assert lacks not in made


def test_the_table_and_the_picture(problem_file, tmp_path, capsys):
    out, picture = tmp_path / "out.csv", tmp_path / "out.png"
    assert main([str(problem_file), "--csv", str(out), "--plot", str(picture)]) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == [
        *("phi", "baseline", "critic", "mean_bias_squared", "trace_variance", "snr", "v_s0", "v_action", "v_transition")
    ]
    assert {(row["phi"], row["baseline"], row["critic"]) for row in rows} == set(VARIANTS)
    noise = [float(row["trace_variance"]) for row in rows]
    assert noise == pytest.approx(sorted(noise, reverse=True))
    logits = np.array([[0.0, 1.0], [1.0, 0.0]])
    mdp = MDP.from_dense(TWO_STATES["P"], TWO_STATES["R"], TWO_STATES["rho0"], 3, 0.9)
    truth = ground_truth(mdp, logits)
    for row in rows:
        expected = truth.moments(row["phi"], row["baseline"], row["critic"])
        assert float(row["trace_variance"]) == pytest.approx(expected.trace_variance, rel=1e-12)
        assert float(row["v_action"]) == pytest.approx(expected.v_action, rel=1e-12)
        assert f"{Variant(row['phi'], row['baseline'], row['critic']).label} " in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"problem.json", "out.csv", "out.png"}


def test_a_configured_environment_and_its_settings(capsys):
    assert main(["--env", "chain", "env.length=3", "--horizon", "4"]) == 0
    printed = capsys.readouterr().out
    truth = ground_truth(tabular.chain(length=3, horizon=4))
    assert f"horizon 4, gamma 1, J = {truth.J:.6g}" in printed
    assert f"{truth.moments('rtg').trace_variance:.4g}" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one MDP"),
        (["missing.json"], "missing.json"),
        (["FILE", "FILE"], "name one MDP"),
        (["FILE", "--horizon", "0"], "--horizon"),
        (["FILE", "--horizon", "1000000000"], "give a horizon of"),
        (["FILE", "--nonsense"], "--nonsense"),
        (["FILE", "--csv", "no/such/place.csv"], "no/such"),
        (["FILE", "--plot", "out.txt"], ".png"),
        (["--env", "pendulum"], "chain"),
        (["--env", "nonsense"], "chain"),
        (["--env", "chain", "env.nonsense=3"], "nonsense"),
        (["--env", "chain", "env.slip=2"], "slip"),
        (["--env", "chain", "slip=0.1"], "env.KEY=VALUE"),
        (["--env", "mdp"], "env.path"),
        (["HUGE"], "overflow"),
        (["FILE", "--horizon", "1000000000000"], "give a horizon of 29"),
        (["--env", "random_mdp", "env.states=2000", "env.actions=2", "--horizon", "999"], "give a horizon of 187 or"),
        (["--env", "random_mdp", "env.states=2236", "env.actions=4"], "give at most 1443 states"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, said, problem_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    huge = tmp_path / "huge.json"
    huge.write_text(json.dumps({**TWO_STATES, "horizon": 3, "R": [[1e200, 0], [0, -1e200]]}))
    before = set(tmp_path.iterdir())
    paths = {"FILE": str(problem_file), "HUGE": str(huge)}
    arguments = [paths.get(word, word) for word in arguments]
    outputs = [] if "--csv" in arguments else ["--csv", "table.csv"]
    assert main([*arguments, *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not captured.out
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("actions", [1, 2, 3, 5])
def test_contrasts_are_all_that_scores_of_a_softmax_policy_are_made_of(actions):
    basis = contrasts(actions)
    if actions > 1:
        np.testing.assert_allclose(basis.T @ basis, np.eye(actions - 1), atol=1e-15)
        np.testing.assert_allclose(basis.sum(0), 0, atol=1e-15)
    mdp = tabular.random_mdp(3, states=4, actions=actions, horizon=3, gamma=0.9)
    pi = softmax(np.random.default_rng(actions).normal(size=(4, actions)))
    z, fewer = scores(pi, mdp.features), scores(pi, mdp.features, basis)
    np.testing.assert_allclose(fewer, (z.reshape(4, actions, 4, actions) @ basis).reshape(4, actions, -1), atol=1e-15)
    whole, reduced = GroundTruth(mdp, pi, z), GroundTruth(mdp, pi, fewer)
    for variant in VARIANTS:
        scale = whole.moments("rtg").trace_variance + 1e-9
        for name in ("bias_squared", "trace_variance", "v_s0", "v_action", "v_transition"):
            expected = getattr(whole.moments(*variant), name)
            assert getattr(reduced.moments(*variant), name) == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale)


def test_states_that_cannot_be_reached_cost_and_change_nothing(tmp_path, capsys):
    """A chain of 10,000 states, 50 steps from its first: the numbers of the chain of 51 that can be reached."""
    out = {}
    for S in (51, 10_000):
        rows = [
            [s, a, to, p, 1.0 * a + s % 3]
            for s in range(S)
            for a, p0 in ((0, 0.2), (1, 0.7))
            for to, p in (((s + 1, 1 - p0), (0, p0)) if s + 1 < S else ((0, 1.0),))
        ]
        path = tmp_path / f"{S}.json"
        path.write_text(json.dumps({"P": rows, "rho0": [1] + [0] * (S - 1), "horizon": 50}))
        assert main([str(path), "--csv", str(tmp_path / "out.csv")]) == 0
        out[S] = list(csv.DictReader((tmp_path / "out.csv").open()))
    for few, many in zip(out[51], out[10_000], strict=True):
        assert few["phi"] == many["phi"]
        assert float(few["trace_variance"]) == pytest.approx(float(many["trace_variance"]), rel=1e-9, abs=1e-12)


def test_the_exit_code_of_the_real_command(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    done = subprocess.run([sys.executable, "-m", "ablate.exact", broken], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
