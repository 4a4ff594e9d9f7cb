"""MDP files: what is right is read as it stands, whatever is wrong is refused in one line that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ablate import exact, mdp
from ablate.errors import UserError
from ablate.mdp import MDP, load

GOOD: dict[str, Any] = {
    "P": [[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]],
    "R": [[1.0, 2.0], [0.0, -1.0]],
    "rho0": [0.5, 0.5],
    "horizon": 3,
}


def written(folder: Path, content: object) -> Path:
    path = folder / "my_mdp.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def dense(of: MDP) -> tuple[np.ndarray, np.ndarray]:
    """P and P * R as [S, A, S]."""
    P = np.zeros((of.num_states, of.num_actions, of.num_states))
    PR = np.zeros_like(P)
    s, a, _ = np.indices(of.successors.shape)
    np.add.at(P, (s, a, of.successors), of.probabilities)
    np.add.at(PR, (s, a, of.successors), of.probabilities * of.rewards)
    return P, PR


def test_a_good_file_is_read_as_it_stands(tmp_path: Path) -> None:
    got = load(written(tmp_path, GOOD | {"gamma": 0.9, "logits": [[0, 1], [2, 3]]}))
    P, PR = dense(got)
    np.testing.assert_array_equal(P, GOOD["P"])
    np.testing.assert_array_equal(PR, np.array(GOOD["P"]) * np.array(GOOD["R"])[..., None])
    np.testing.assert_array_equal(got.logits, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(got.features, np.eye(2))
    assert (got.horizon, got.gamma) == (3, 0.9)
    assert not got.terminal.any()


def test_defaults_of_the_optional_keys(tmp_path: Path) -> None:
    got = load(written(tmp_path, GOOD))
    assert got.gamma == 1.0
    assert (got.logits == 0).all()


def test_rewards_of_successors_and_terminal_states(tmp_path: Path) -> None:
    R = [[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]
    got = load(written(tmp_path, GOOD | {"R": R, "rho0": [1, 0], "terminal": [False, True]}))
    np.testing.assert_array_equal(dense(got)[1], np.array(GOOD["P"]) * np.array(R))
    assert got.terminal.tolist() == [False, True]


@settings(deadline=None)
@given(arrays(np.float64, (4, 3, 4), elements=st.sampled_from([0.0, 0.0, 0.2, 1.0, 3.0])), st.integers(0, 2**32 - 1))
def test_sparse_successors_hold_the_dense_table(weights: np.ndarray, seed: int) -> None:
    weights[..., 1] += 0.1
    P = weights / weights.sum(-1, keepdims=True)
    R = np.random.default_rng(seed).standard_normal(P.shape)
    got = MDP.from_dense(P, R, np.ones(4) / 4, 2)
    np.testing.assert_array_equal(dense(got)[0], P)
    np.testing.assert_array_equal(dense(got)[1], P * R)
    assert got.successors.shape[-1] == (P > 0).sum(-1).max()
    for row in got.successors.reshape(-1, got.successors.shape[-1]):
        assert len(set(row)) == len(row)


def test_rounded_rows_are_normalised(tmp_path: Path) -> None:
    third = [0.3333333, 0.3333333, 0.3333333]
    got = load(written(tmp_path, {"P": [[third]] * 3, "R": [[0]] * 3, "rho0": third, "horizon": 1}))
    np.testing.assert_allclose(got.probabilities.sum(-1), 1, rtol=0, atol=1e-15)
    assert got.rho0.sum() == pytest.approx(1, rel=0, abs=1e-15)


WRONG_NUMBERS: list[tuple[dict[str, Any], str]] = [
    ({"P": [[[0.5, 0.4], [1, 0]], [[0, 1], [0.25, 0.75]]]}, "P[0][0] sums to 0.9"),
    ({"P": [[[1.5, -0.5], [1, 0]], [[0, 1], [0.25, 0.75]]]}, "P has a negative probability"),
    ({"P": [[[0.5, 0.5], [1, 0]], [[0, 1]]]}, "P is not a regular array"),
    ({"P": [[0.5, 0.5], [1, 0]]}, "P has shape 2x2"),
    ({"P": [[[0.5, 0.5]]]}, "P has shape 1x1x2"),
    ({"P": []}, "P has shape 0"),
    ({"P": [[[]]]}, "P has shape 1x1x0"),
    ({"P": 3}, "P has shape"),
    ({"P": None}, "P"),
    ({"P": "none"}, "P is not a regular array"),
    ({"P": {"a": 1}}, "P is not a regular array"),
    ({"P": [[["a", 0.5], [1, 0]], [[0, 1], [0.25, 0.75]]]}, "P is not a regular array"),
    ({"P": [[[float("nan"), 1], [1, 0]], [[0, 1], [0.25, 0.75]]]}, "P has a NaN"),
    ({"P": [[[None, 1], [1, 0]], [[0, 1], [0.25, 0.75]]]}, "P"),
    ({"R": [[1, 2]]}, "R has shape 1x2"),
    ({"R": [[1, 2, 3], [1, 2, 3]]}, "R has shape 2x3"),
    ({"R": [[1, float("inf")], [0, 0]]}, "R has a NaN or infinite"),
    ({"R": [[1, float("-inf")], [0, 0]]}, "R has a NaN or infinite"),
    ({"R": [[1, 10**400], [0, 0]]}, "R"),
    ({"rho0": [1]}, "rho0 has shape 1"),
    ({"rho0": [0.5, 0.6]}, "rho0 sums to 1.1"),
    ({"rho0": [-0.5, 1.5]}, "rho0 has a negative"),
    ({"rho0": [[0.5, 0.5]]}, "rho0 has shape 1x2"),
    ({"rho0": [0, 0]}, "rho0 sums to 0"),
    ({"horizon": 0}, "horizon is 0"),
    ({"horizon": -3}, "horizon is -3"),
    ({"horizon": 2.5}, "horizon is 2.5"),
    ({"horizon": "3"}, "horizon is '3'"),
    ({"horizon": True}, "horizon is True"),
    ({"horizon": None}, "horizon is None"),
    ({"horizon": 10**9}, "horizon is 1000000000"),
    ({"gamma": 0}, "gamma is 0"),
    ({"gamma": 1.01}, "gamma is 1.01"),
    ({"gamma": float("nan")}, "gamma is nan"),
    ({"gamma": "high"}, "gamma is 'high'"),
    ({"gamma": True}, "gamma is True"),
    ({"logits": [[0, 0]]}, "logits has shape 1x2"),
    ({"logits": [[0, float("nan")], [0, 0]]}, "logits has a NaN"),
    ({"terminal": [True]}, "terminal is not"),
    ({"terminal": [0, 1]}, "terminal is not"),
    ({"terminal": "no"}, "terminal is not"),
    ({"terminal": [True, False]}, "rho0 starts in a terminal state"),
    ({"rewards": [1]}, "unknown key 'rewards'"),
    ({"horizon\n": 1}, "unknown key"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG_NUMBERS, ids=[f"{k}-{v}" for k, (_, v) in enumerate(WRONG_NUMBERS)])
def test_wrong_numbers_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, GOOD | changes))


@pytest.mark.parametrize("key", ["P", "R", "rho0", "logits"])
@pytest.mark.parametrize("stranger", [True, "0.5", None])
def test_only_numbers_are_numbers(tmp_path: Path, key: str, stranger: object) -> None:
    """true is not 1 and "0.5" is not 0.5, though NumPy would read them so."""
    content = json.loads(json.dumps(GOOD | {"logits": [[0.0, 0.0], [0.0, 0.0]]}))
    place = content[key]
    while isinstance(place[0], list):
        place = place[0]
    place[0] = stranger
    assert refusal(written(tmp_path, content)).startswith(f"{key} ")


@settings(max_examples=30)
@given(arrays(np.float64, (4, 3, 4), elements=st.sampled_from([0.0, 0.0, 0.2, 1.0, 3.0])), st.integers(0, 2**32 - 1))
def test_rows_of_what_is_possible_are_the_dense_table(tmp_path_factory: Any, weights: np.ndarray, seed: int) -> None:
    weights[..., 1] += 0.1
    P, rng = weights / weights.sum(-1, keepdims=True), np.random.default_rng(seed)
    R = rng.standard_normal(P.shape)
    others = {"rho0": [0.25] * 4, "horizon": 2, "logits": rng.standard_normal((4, 3)).tolist()}
    possible = rng.permutation(np.argwhere(P > 0)).tolist()
    folder = tmp_path_factory.mktemp("rows")
    keyed = load(written(folder, others | {"P": [[s, a, k, P[s, a, k], R[s, a, k]] for s, a, k in possible]}))
    np.testing.assert_allclose(dense(keyed)[0], P, rtol=1e-15)
    np.testing.assert_allclose(dense(keyed)[1], P * R, rtol=1e-14)
    plain = load(
        written(folder, others | {"P": [[s, a, k, P[s, a, k]] for s, a, k in possible], "R": R[..., 0].tolist()})
    )
    np.testing.assert_allclose(dense(plain)[1], P * R[..., :1], rtol=1e-14)
    np.testing.assert_array_equal(plain.logits, others["logits"])
    np.testing.assert_array_equal(plain.features, np.eye(4))
    assert plain.successors.shape[-1] == (P > 0).sum(-1).max()


def test_one_successor_may_come_with_two_rewards(tmp_path: Path) -> None:
    rows = [[0, 0, 1, 0.5, 2], [0, 0, 1, 0.5, -3], [1, 0, 0, 1, 0]]
    got = load(written(tmp_path, {"P": rows, "rho0": [1, 0], "horizon": 2}))
    assert sorted(got.rewards[0, 0].tolist()) == [-3, 2]
    assert dense(got)[0][0, 0].tolist() == [0, 1]


ROWS: dict[str, Any] = {"P": [[0, 0, 1, 1.0], [1, 0, 0, 1.0]], "R": [[1], [2]], "rho0": [1, 0], "horizon": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"P": [[0, 0, 1, 1.0], [1, 0, 0, 0.9]]}, "P[1][0] sums to 0.9"),
        ({"P": [[0, 0, 1, 1.0]]}, "P[1][0] sums to 0"),
        ({"P": [[0, 0, 1, 1.5], [0, 0, 0, -0.5], [1, 0, 0, 1]]}, "P has a negative probability"),
        ({"P": [[0, 0, 2, 1.0], [1, 0, 0, 1.0]]}, "P row 0 has state 2; states are 0 to 1"),
        ({"P": [[0, 0, 1, 1.0], [-1, 0, 0, 1.0]]}, "P row 1 has state -1"),
        ({"P": [[0, 0.5, 1, 1.0], [1, 0, 0, 1.0]]}, "P row 0 has action 0.5; actions are 0 to 0"),
        ({"P": [[0, 1, 1, 1.0], [1, 0, 0, 1.0]]}, "P row 0 has action 1"),
        ({"P": [[0, 0, 1, 0.5], [0, 0, 1, 0.5], [1, 0, 0, 1.0]]}, "P has one entry twice"),
        ({"P": [[0, 0, 1], [1, 0, 0]]}, "P has shape 2x3"),
        ({"P": [[0, 0, 1, 1.0], [1, 0, 0]]}, "P is not a regular array"),
        ({"P": [[0, 0, 1, 1.0, 2.0], [1, 0, 0, 1.0, 0.0]]}, "rewards stand both in P and in R"),
        ({"P": [[0, 0, 1, True], [1, 0, 0, 1.0]]}, "P is not a regular array"),
        ({"P": [[0, 0, 1, float("nan")], [1, 0, 0, 1.0]]}, "P has a NaN"),
        ({"P": [[0, 0, 1, 1e999], [1, 0, 0, 1.0]]}, "P has a NaN or infinite"),
        ({"P": [[10**30, 0, 1, 1.0], [1, 0, 0, 1.0]]}, "P row 0 has state 1e+30"),
        ({"R": [[1, 2]]}, "R has shape 1x2"),
        ({"R": [[], []]}, "R has shape 2x0"),
        ({"R": [1, 2]}, "R has shape 2"),
        ({"rho0": []}, "rho0 is not a list of numbers"),
        ({"rho0": 1}, "rho0 is not a list of numbers"),
        ({"horizon": 10**12}, "horizon is 1000000000000; give a whole number of steps, 1 to 1000000"),
        ({"horizon": 10**300}, "horizon is 1000000000"),
        ({"horizon": float("inf")}, "horizon is inf"),
        ({"gamma": 10**400}, "gamma is "),
        ({"gamma": float("-inf")}, "gamma is -inf"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, ROWS | changes))


def test_five_columns_with_an_action_that_does_not_fit_are_refused(tmp_path: Path) -> None:
    rows = [[0, 10**9, 1, 1.0, 0.0], [1, 0, 0, 1.0, 0.0]]
    assert "are too many" in refusal(written(tmp_path, {"P": rows, "rho0": [1, 0], "horizon": 2}))


@pytest.mark.parametrize(
    "text",
    [
        '{"P": [[[1]]], "R": [[1]], "rho0": [1], "horizon": 1, "horizon": 2}',
        '{"P": [[[1]]], "R": [[1]], "R": [[1]], "rho0": [1], "horizon": 1}',
        '{"P": [[{"x": 1, "x": 2}]], "R": [[1]], "rho0": [1], "horizon": 1}',
    ],
)
def test_a_key_that_is_given_twice_is_refused(tmp_path: Path, text: str) -> None:
    assert "is given twice; keep one of them" in refusal(written(tmp_path, text))


def test_ten_thousand_states_are_read_without_a_dense_table(tmp_path: Path) -> None:
    S = 10_000
    rows = [[s, a, to, p, float(a)] for s in range(S) for a in (0, 1) for to, p in ((min(s + 1, S - 1), 0.8), (0, 0.2))]
    start = {"rho0": [1] + [0] * (S - 1), "horizon": 50}
    got = load(written(tmp_path, start | {"P": rows}))
    assert got.successors.shape == (S, 2, 2)
    assert got.features.shape == (S, S)
    assert got.features.base is not None  # a view of 2 S - 1 numbers
    assert got.reachable().tolist() == list(range(51))
    small = got.restricted(got.reachable())
    np.testing.assert_array_equal(small.features, np.eye(51))
    assert small.successors.max() == 50


@pytest.mark.parametrize("key", ["P", "R", "rho0", "horizon"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f"missing {key};" in refusal(written(tmp_path, {k: v for k, v in GOOD.items() if k != key}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"P: [1, 2]", "not JSON"),
        (b'{"P": [[[1.0', "not JSON"),
        (b"\xff\xfe\x00binary\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"P":' + b"[" * 900 + b"]" * 900 + b', "R": 1, "rho0": 1, "horizon": 1}', "P "),
        (b'{"horizon": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"P"', "not a JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(written(tmp_path, content))


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "my_mdp.json"
    with path.open("wb") as file:
        file.truncate(mdp.LARGEST_FILE + 1)
    assert "larger than 64 MiB" in refusal(path)


def a_folder(at: Path) -> None:
    at.mkdir()


def a_broken_link(at: Path) -> None:
    at.symlink_to("nowhere")


@pytest.mark.parametrize("make", [lambda at: None, a_folder, a_broken_link], ids=["none", "folder", "link"])
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "my_mdp.json"
    make(path)
    assert "give the path of a readable JSON file" in refusal(path)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="File name too long; give the path of a readable JSON file"):
        load(tmp_path / ("my_mdp.json" + "x" * 5000))


def refusal(path: Path) -> str:
    """What `load` says about the file after its name: one line, a problem and a remedy."""
    with pytest.raises(UserError) as refused:
        load(path)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert "; " in message
    return message.removeprefix(f"{path}: ")


def test_states_may_look_alike(tmp_path: Path) -> None:
    """The gradient is then of the weights that they share: d J / d w = sum_s d J / d logits(s) x(s)."""
    content = GOOD | {"features": [[1.0], [1.0]], "logits": [[0.3, 0.0], [0.3, 0.0]]}
    shared, apart = load(written(tmp_path, content)), load(written(tmp_path, content | {"features": [[1, 0], [0, 1]]}))
    np.testing.assert_array_equal(shared.features, [[1.0], [1.0]])
    pi = exact.softmax(shared.logits)

    def gradient(of: MDP) -> np.ndarray:
        return exact.gradient(of, pi, exact.scores(pi, of.features))

    np.testing.assert_allclose(gradient(shared), gradient(apart).reshape(2, 2).sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([[1.0]], "a list of 2 lists"),
        ([1.0, 2.0], "a list of 2 lists"),
        ([[], []], "a list of 2 lists"),
        ([["a"], ["b"]], "not a regular array of numbers"),
        ([[1.0], [float("nan")]], "NaN or infinite"),
        ([[1.0], [1.0]], "no weights of the features make these logits"),
        ([[1.0], [3.0]], "no weights of the features make these logits"),
    ],
)
def test_features_that_are_none(features: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load(written(tmp_path, GOOD | {"features": features, "logits": [[0.0, 1.0], [0.0, 2.0]]}))
    assert len(str(refused.value)) < 300


def test_logits_that_the_features_make_up_to_a_constant(tmp_path: Path) -> None:
    content = GOOD | {"features": [[1.0], [2.0]], "logits": [[0.0, 1.0], [5.0, 7.0]]}
    assert load(written(tmp_path, content)).logits.tolist() == [[0.0, 1.0], [5.0, 7.0]]
