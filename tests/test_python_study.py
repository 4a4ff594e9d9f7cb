"""`ablate.run`, `ablate.load` and `ablate.exact`: the command line's runs and numbers, from Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ablate as command
from hypothesis import given
from hypothesis import strategies as st

import ablate
from ablate.configuration.overrides import parsed
from ablate.exact import GroundTruth, scores, softmax
from ablate.mdp import MDP
from ablate.study import _words

SMALL = {"env": "chain", "iterations": 3, "episodes": 4, "probe": {"episodes": 64}, "workers": 1}


def test_the_same_bits_the_same_store_and_the_same_resumption_as_on_the_command_line(tmp_path: Path) -> None:
    study = ablate.run(phi=["return", "rtg"], seed="0-1", outputs=str(tmp_path / "python"), **SMALL)
    words = "phi=return,rtg", "seed=0-1", "env=chain", "iterations=3", "episodes=4", "probe.episodes=64", "workers=1"
    command("-m", *words, "outputs=typed", cwd=tmp_path)
    typed = ablate.load(tmp_path / "typed", "main")
    for name in ("curves", "probe"):
        ours, theirs = (getattr(x.frames, name).drop(columns="wall_time", errors="ignore") for x in (study, typed))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert study.table()["label"].tolist() == ["return", "reward-to-go"]
    assert "∞" in study._repr_html_()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "python").rglob("curves.parquet")}
    wider = ablate.run("phi=rtg", seed=range(3), outputs=str(tmp_path / "python"), **SMALL)
    assert len(wider.frames.runs) == 5
    assert all(path.stat().st_mtime_ns == made for path, made in before.items())
    assert wider.plot("learning")._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert wider.report(tmp_path / "page.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    with pytest.raises(ablate.Refusal, match="none of"):
        wider.table("typo")


def test_what_the_command_line_refuses_is_an_exception_with_the_same_line(tmp_path: Path) -> None:
    said = command("-m", "phi=retrun", cwd=tmp_path, exit_code=2).stderr
    with pytest.raises(ablate.Refusal) as refused:
        ablate.run(phi="retrun", outputs=str(tmp_path))
    assert f"ablate: {refused.value}" in said
    with pytest.raises(ablate.Refusal, match="cannot be imported"):
        ablate.run(phi=lambda signals: signals.rewards)
    with pytest.raises(ablate.Refusal, match="an object, which policy cannot take"):
        ablate.run(policy=np.zeros)


def test_a_function_of_a_module_stands_for_a_phi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_phis.py").write_text("def late(signals):\n    return signals.rewards\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_phis  # type: ignore[import-not-found]

    study = ablate.run(phi=[my_phis.late, "rtg"], seed=[0, 2], outputs=str(tmp_path / "outputs"), **SMALL)
    assert sorted(study.table()["label"]) == ["late", "reward-to-go"]
    assert set(study.frames.runs["seed"]) == {0, 2}


@given(
    st.dictionaries(
        st.sampled_from(["outputs", "env.path", "study.name", "env.id"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
        min_size=1,
    )
)
def test_any_text_arrives_as_it_is(settings: dict[str, str]) -> None:
    for word, (name, value) in zip(_words(settings, Path("nowhere")), settings.items(), strict=True):
        read = parsed(word)
        assert read is not None
        assert (read.key_or_group, str(read.value()).replace("\\${", "${")) == (name, value)


def test_words_of_settings() -> None:
    settings = {
        "seed": [0, 1, 2, 7],
        "phi": ["rtg", "td"],
        "policy": {"hidden": (8, 8)},
        "whiten": True,
        "threshold": None,
    }
    assert [*_words(settings, Path("nowhere"))] == [
        "seed=[0,1,2,7]", "phi=rtg,td", "policy.hidden=[8,8]", "whiten=true", "threshold=null",
    ]  # fmt: skip
    assert [*_words({"seed": range(10), "optimizer": {"lr": 0.1}}, Path("nowhere"))] == ["seed=0-9", "optimizer.lr=0.1"]


def test_exact_moments_by_one_call() -> None:
    rng = np.random.default_rng(0)
    P, R, logits = rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    table = ablate.exact(P, R, [1, 0, 0], 4, logits=logits, gamma=0.9)
    mdp = MDP.from_dense(P, R, [1, 0, 0], 4, 0.9, logits=logits)
    pi = softmax(mdp.logits)
    found = GroundTruth(mdp, pi, scores(pi, mdp.features)).moments("rtg", "none", "none")
    (row,) = table[(table["phi"] == "rtg") & (table["baseline"] == "none")].to_dict("records")
    assert row["v_action"] + row["v_s0"] + row["v_transition"] == pytest.approx(row["trace_variance"])
    assert row["mean_bias_squared"] == pytest.approx(found.bias_squared, abs=1e-15)


def test_importing_ablate_loads_nothing_heavy() -> None:
    heavy = "torch", "numpy", "pandas", "hydra"
    code = f"import sys, ablate; dir(ablate); print([x for x in {heavy} if x in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
