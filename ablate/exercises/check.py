"""A student's function, called on every case of an exercise, and what to tell of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arguments = dict[str, Any]
Function = Callable[..., Any]

CLOSE = 1e-8  # of the largest number asked for: what counts as equal


@dataclass(frozen=True)
class Feedback:
    """Whether the function is right, and what to tell its author: a notebook shows the words."""

    right: bool
    words: str

    def __repr__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Exercise:
    """What is asked for, and how it goes wrong.

    | field    | meaning                                                                                          |
    |----------|--------------------------------------------------------------------------------------------------|
    | solution | the right function                                                                               |
    | cases    | the arguments of each call                                                                       |
    | moments  | the answers of all calls -> squared bias and trace variance of the gradient estimate, one episode |
    | mistakes | by what to tell of them: functions that are wrong                                                |
    | beside   | what a right one is compared with, in words and as a function                                    |
    """

    solution: Function
    cases: Sequence[Arguments]
    moments: Callable[[Sequence[Floats]], tuple[float, float]]
    mistakes: Mapping[str, Sequence[Function]]
    beside: Mapping[str, Function]

    def answers(self, function: Function) -> list[Floats]:
        return [np.asarray(function(*case.values()), np.float64) for case in self.cases]

    def check(self, function: Function) -> Feedback:
        """Call it on every case; tell what is wrong with the first that is no answer at all, else with all of them."""
        wanted, given = self.answers(self.solution), []
        for case, right in zip(self.cases, wanted, strict=True):
            answer = _called(function, case, right.shape)
            if isinstance(answer, str):
                return Feedback(False, answer)
            given.append(answer)
        if _equal(given, wanted):
            return Feedback(True, f"Right. {self._told('The estimate', given)}{self._compared()}")
        words = [words for words, wrong in self.mistakes.items() if any(self._is(f, given) for f in wrong)]
        told = words[0] if words else "This is not right, and none of the mistakes known here."
        compared = f"{self._told('With yours the estimate', given)} {self._told('The right one', wanted)}"
        return Feedback(False, f"{told} {self._example(given, wanted)} {compared}")

    def _is(self, mistake: Function, given: Sequence[Floats]) -> bool:
        """Whether it gives the same everywhere; most do not at the first case."""
        cases = zip(given, self.cases, strict=True)
        return all(_equal([answer], [np.asarray(mistake(*case.values()), np.float64)]) for answer, case in cases)

    def _example(self, given: Sequence[Floats], wanted: Sequence[Floats]) -> str:
        """The shortest case that is answered wrongly."""
        wrong = [k for k, (a, b) in enumerate(zip(given, wanted, strict=True)) if not _equal([a], [b])]
        first = min(wrong, key=lambda k: wanted[k].size)
        return f"For {_listed(self.cases[first])} it gives {_short(given[first])}; right is {_short(wanted[first])}."

    def _told(self, what: str, answers: Sequence[Floats]) -> str:
        bias, variance = self.moments(answers)
        return f"{what} has squared bias {_digits(bias)} and variance {_digits(variance)}."

    def _compared(self) -> str:
        return "".join(f" {self._told(words, self.answers(f))}" for words, f in self.beside.items())


def _called(function: Function, case: Arguments, shape: tuple[int, ...]) -> Floats | str:
    """The answer as numbers of this shape, or what is wrong with it."""
    mine = {name: np.array(x) if isinstance(x, np.ndarray) else x for name, x in case.items()}
    try:
        answer = function(*mine.values())
    except NotImplementedError:
        return "Not written yet: put your lines in the place of `raise NotImplementedError`."
    except Exception as error:
        return f"For {_listed(case)} your function stops with {type(error).__name__}: {error}."
    if answer is None:
        return "Your function returns nothing: it needs a `return`."
    try:
        numbers = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        return f"Your function returns a {type(answer).__name__}, which is no array of numbers."
    numbers = np.broadcast_to(numbers, shape) if numbers.ndim == 0 else numbers
    if numbers.shape != shape:
        return f"For {_listed(case)} your function returns shape {numbers.shape}; it must be {shape}."
    if not np.isfinite(numbers).all():
        return f"For {_listed(case)} your function returns {_short(numbers)}, which is not finite."
    if any(not np.array_equal(mine[name], x) for name, x in case.items()):
        return "Your function changes the arrays that it is given: work on a copy."
    return numbers.copy()


def _equal(given: Sequence[Floats], wanted: Sequence[Floats]) -> bool:
    limit = CLOSE * max(1.0, *(float(np.abs(x).max()) for x in wanted))
    return all(float(np.abs(a - b).max()) <= limit for a, b in zip(given, wanted, strict=True))


def _digits(x: float) -> str:
    return "0" if abs(x) < 1e-12 else f"{x:.4g}"


def _short(x: Floats) -> str:
    return f"[{', '.join(f'{y:.4g}' for y in x)}]"


def _listed(case: Arguments) -> str:
    return ", ".join(f"{name} = {_short(x) if isinstance(x, np.ndarray) else f'{x:g}'}" for name, x in case.items())
