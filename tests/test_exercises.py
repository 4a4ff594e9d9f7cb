"""The exercises: right functions are told so with exact numbers, planted mistakes are named in plain words."""

import numpy as np
import pytest

from ablate import exact, exercises
from ablate.exercises.episodes import KnownEpisodes, known_mdp
from ablate.exercises.mistakes import GAE, LEAVE_ONE_OUT, REWARD_TO_GO

EXERCISES = {
    exercises.reward_to_go: REWARD_TO_GO,
    exercises.leave_one_out: LEAVE_ONE_OUT,
    exercises.gae: GAE,
}


def truth(horizon: int) -> exact.GroundTruth:
    mdp = known_mdp().with_horizon(horizon)
    pi = exact.softmax(mdp.logits)
    return exact.GroundTruth(mdp, pi, exact.scores(pi, mdp.features))


def shown(x: float) -> str:
    return f"{x:.4g}"


# ------------------------------------------------------------------------------------------------ right functions


def to_go(rewards, gamma):
    return [sum(gamma ** (k - t) * rewards[k] for k in range(t, len(rewards))) for t in range(len(rewards))]


def others(returns):
    return [np.mean([returns[j] for j in range(len(returns)) if j != i]) for i in range(len(returns))]


def gae(rewards, values, gamma, lam):
    deltas = [rewards[t] + gamma * values[t + 1] - values[t] for t in range(len(rewards))]
    return [sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(rewards))) for t in range(len(rewards))]


@pytest.mark.parametrize(("check", "mine"), [*zip(EXERCISES, (to_go, others, gae), strict=True)])
def test_a_right_function_is_told_so_and_is_unbiased(check, mine) -> None:
    found = check(mine)
    assert found.right
    assert repr(found).startswith("Right. The estimate has squared bias 0 and variance ")


def test_the_numbers_told_are_the_exact_ones() -> None:
    known, short = truth(3), truth(2)
    said = exercises.reward_to_go(to_go).words
    assert f"variance {shown(known.moments('rtg').trace_variance)}." in said
    whole = shown(known.moments("return").trace_variance)
    assert f"With the whole return in its place it has squared bias 0 and variance {whole}." in said
    said = exercises.leave_one_out(others).words
    assert f"variance {shown(short.moments('return', 'loo', episodes=3).trace_variance)}." in said
    without = shown(short.moments("return").trace_variance)
    assert f"Without a baseline it has squared bias 0 and variance {without}." in said
    mean = short.moments("return", "mean", episodes=3)
    said = exercises.leave_one_out(lambda returns: np.mean(returns)).words
    assert f"squared bias {shown(mean.bias_squared)} and variance {shown(mean.trace_variance)}." in said


def test_with_exact_values_the_advantage_is_the_gradients_at_every_lambda() -> None:
    """Of whole episodes, where lambda = 0 is the TD error; of cut ones the mean is the part of the first steps."""
    known, episodes = truth(3), KnownEpisodes.of(known_mdp(), 3)
    listed = zip(episodes.rewards, episodes.values, episodes.lengths, strict=True)
    bias, variance = episodes.moments([np.array(gae(r[:n], v[: n + 1], 0.9, 0.0)) for r, v, n in listed])
    assert bias == pytest.approx(0, abs=1e-20)
    assert variance == pytest.approx(known.moments("td", "none", "exact").trace_variance)
    np.testing.assert_allclose(episodes.gradient, known.gradient, atol=1e-12)
    assert exercises.gae(gae).words.count("squared bias 0") == 3


# ------------------------------------------------------------------------------------------------ planted mistakes

WRONG_REWARD_TO_GO = {
    "included rewards before t": lambda r, gamma: [sum(gamma**k * x for k, x in enumerate(r))] * len(r),
    "sum the rewards up to t": lambda r, gamma: [sum(r[: t + 1]) for t in range(len(r))],
    "discount is missing": lambda r, gamma: [sum(r[t:]) for t in range(len(r))],
    "discount from step 0": lambda r, gamma: [sum(gamma**k * r[k] for k in range(t, len(r))) for t in range(len(r))],
    "begins at t + 1": lambda r, gamma: [
        sum(gamma ** (k - t) * r[k] for k in range(t + 1, len(r))) for t in range(len(r))
    ],
    "last reward is left out": lambda r, gamma: [
        sum(gamma ** (k - t) * r[k] for k in range(t, len(r) - 1)) for t in range(len(r))
    ],
    "One discount too many": lambda r, gamma: [
        sum(gamma ** (k - t + 1) * r[k] for k in range(t, len(r))) for t in range(len(r))
    ],
}
WRONG_LEAVE_ONE_OUT = {
    "uses the episode's own return": lambda returns: sum(returns) / len(returns),
    "divide the sum of the others by N": lambda returns: [
        sum(x for j, x in enumerate(returns) if j != i) / len(returns) for i in range(len(returns))
    ],
    "sum of the others, not their mean": lambda returns: [sum(returns) - x for x in returns],
    "leave out another episode": lambda returns: [
        np.mean(np.delete(returns, (i + 1) % len(returns))) for i in range(len(returns))
    ],
    "return the baseline alone": lambda returns: [x - b for x, b in zip(returns, others(returns), strict=True)],
}


def backwards(rewards, values, gamma, lam, last=None):
    """The usual loop, which forgets V after the last step where `last` is 0."""
    after, ahead, found = values[-1] if last is None else last, 0.0, []
    for r, v in zip(rewards[::-1], values[:-1][::-1], strict=True):
        ahead = r + gamma * after - v + gamma * lam * ahead
        after, found = v, [ahead, *found]
    return found


WRONG_GAE = {
    "Lambda and gamma are swapped": lambda r, v, gamma, lam: gae(r, v, lam, gamma),
    "values[T], V of the state after it": lambda r, v, gamma, lam: backwards(r, v, gamma, lam, 0.0),
    "discount is missing in the TD error": lambda r, v, gamma, lam: gae(r + (1 - gamma) * v[1:], v, gamma, lam),
    "discount is missing in the sum": lambda r, v, gamma, lam: gae(r + (gamma - 1) * v[1:], v, 1.0, lam),
    "Lambda is missing": lambda r, v, gamma, lam: gae(r, v, gamma, 1.0),
    "TD error alone": lambda r, v, gamma, lam: r + gamma * v[1:] - v[:-1],
    "lambda-returns": lambda r, v, gamma, lam: np.array(gae(r, v, gamma, lam)) + v[:-1],
}
PLANTED = [
    (check, words, wrong)
    for check, wrongs in zip(EXERCISES, (WRONG_REWARD_TO_GO, WRONG_LEAVE_ONE_OUT, WRONG_GAE), strict=True)
    for words, wrong in wrongs.items()
]


@pytest.mark.parametrize(("check", "words", "wrong"), PLANTED, ids=[f"{c.__name__}: {w}" for c, w, _ in PLANTED])
def test_a_planted_mistake_is_named(check, words, wrong) -> None:
    found = check(wrong)
    assert not found.right
    assert words in found.words
    assert "it gives [" in found.words
    assert "The right one has squared bias 0 and variance " in found.words


@pytest.mark.parametrize("check", EXERCISES)
def test_no_two_mistakes_are_told_of_one_function(check) -> None:
    """Each known mistake gets its own words, and none is right."""
    for words, wrongs in EXERCISES[check].items():
        for wrong in wrongs:
            assert check(wrong).words.startswith(words)


def test_what_is_wrong_in_no_known_way_is_shown_with_what_is_right() -> None:
    found = exercises.reward_to_go(lambda rewards, gamma: [7.0 * x for x in to_go(rewards, gamma)])
    assert found.words.startswith("This is not right, and none of the mistakes known here. For rewards = [1, 4]")
    assert "it gives [32.2, 28]; right is [4.6, 4]." in found.words  # 1 + 0.9 * 4 and 4, seven times


def changed(rewards, gamma):
    answer = np.array(to_go(rewards, gamma))
    rewards[:] = answer
    return answer


def not_written(rewards, gamma):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (not_written, "Not written yet"),
        (lambda rewards, gamma: None, "needs a `return`"),
        (lambda rewards, gamma: "G", "a str, which is no array of numbers"),
        (lambda rewards, gamma: [1.0], "returns shape (1,); it must be (3,)"),
        (lambda rewards, gamma: rewards / 0.0, "which is not finite"),
        (lambda rewards: rewards, "stops with TypeError"),
        (changed, "changes the arrays"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_answer_is_told_in_one_line(function, words: str) -> None:
    found = exercises.reward_to_go(function)
    assert not found.right
    assert words in found.words
    assert "\n" not in found.words
