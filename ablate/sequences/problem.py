"""Token problems small enough to list every answer: autoregressive generation with a reward at the end.

An answer to prompt x is a sequence of tokens 0 .. V-1 that ends with the end token or at H tokens. A prefix is what has
been written so far; the tabular policy has a row of logits for every (prompt, prefix). Of V tokens there are
sum_{t<H} (V-1)^t prefixes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Answer = tuple[int, ...]
END = 0  # the end token


@dataclass(frozen=True)
class TokenProblem:
    """P prompts, all of them in every batch, with rewards [P, Y] of the Y possible answers.

    J = (1/P) sum_x E[r | x].
    """

    vocabulary: int
    horizon: int
    rewards: Floats

    @classmethod
    def of(cls, vocabulary: int, horizon: int, prompts: int, reward: Callable[[int, Answer], float]) -> "TokenProblem":
        """From a checker `reward(prompt, answer)`, the answer with its end token where it has one.

        Raises ValueError where vocabulary < 2, horizon < 1 or prompts < 1, and where a reward is not finite.
        """
        if vocabulary < 2 or horizon < 1 or prompts < 1:
            raise ValueError("a token problem has at least 2 tokens, a horizon of 1 and 1 prompt")
        listed = answers(vocabulary, horizon)
        table = np.array([[reward(x, y) for y in listed] for x in range(prompts)], np.float64)
        if not np.isfinite(table).all():
            raise ValueError("a reward is not a finite number")
        return cls(vocabulary, horizon, table)

    @classmethod
    def exact_match(cls, vocabulary: int, horizon: int, right: Sequence[Answer]) -> "TokenProblem":
        """Reward 1 for the one right answer of each prompt, else 0."""
        known = set(answers(vocabulary, horizon))
        if strange := [y for y in right if tuple(y) not in known]:
            raise ValueError(f"{strange[0]} cannot be written in {horizon} tokens of {vocabulary}, {END} the last one")
        return cls.of(vocabulary, horizon, len(right), lambda x, y: float(y == tuple(right[x])))

    @property
    def prompts(self) -> int:
        return len(self.rewards)

    @cached_property
    def answers(self) -> list[Answer]:
        """All Y of them."""
        return answers(self.vocabulary, self.horizon)

    @cached_property
    def lengths(self) -> Floats:
        """Tokens of each answer, the end token counted, [Y]."""
        return np.array([len(y) for y in self.answers], np.float64)

    @cached_property
    def prefixes(self) -> dict[Answer, int]:
        """The row of each prefix after which a token is chosen."""
        rows = [p for t in range(self.horizon) for p in product(range(1, self.vocabulary), repeat=t)]
        return {prefix: row for row, prefix in enumerate(rows)}

    def log_probs(self, logits: ArrayLike) -> Floats:
        """log pi(y|x) of every answer, [P, Y]; logits [P, prefixes, V]."""
        log_pi = _log_softmax(logits)
        return np.stack([self._token_log_probs(log_pi)[..., t] for t in range(self.horizon)]).sum(0)

    def token_log_probs(self, logits: ArrayLike) -> Floats:
        """log pi(token_t | x, prefix_t), [..., P, Y, H] of logits [..., P, prefixes, V]; 0 after the end."""
        return self._token_log_probs(_log_softmax(logits))

    def token_scores(self, logits: ArrayLike) -> Floats:
        """z_t = grad log pi(token_t | x, prefix_t) for the logits of the prompt, [P, Y, H, prefixes * V]; 0 after the
        end. The gradient for another prompt's logits is 0."""
        pi = np.exp(_log_softmax(logits))
        V, Y = self.vocabulary, len(self.answers)
        z = np.zeros((self.prompts, Y, self.horizon, len(self.prefixes), V))
        for y, t, row, token in self._choices:
            z[:, y, t, row] = -pi[:, row]
            z[:, y, t, row, token] += 1
        return z.reshape(self.prompts, Y, self.horizon, -1)

    def weighted_scores(self, logits: ArrayLike, weights: Floats) -> Floats:
        """sum_yt weights_yt z_yt, [..., P, prefixes, V], of weights [..., P, Y, H], without a list of the z."""
        pi = np.exp(_log_softmax(logits))
        taken = np.zeros(np.broadcast_shapes(pi.shape, (*weights.shape[:-2], 1, 1)))
        for y, t, row, token in self._choices:
            taken[..., row, token] += weights[..., y, t]
        return taken - pi * taken.sum(-1, keepdims=True)

    def success(self, logits: ArrayLike) -> Floats:
        """E[r | x], [P]."""
        return (np.exp(self.log_probs(logits)) * self.rewards).sum(1)

    def gradient(self, logits: ArrayLike) -> Floats:
        """grad J, [P, prefixes * V]: (1/P) sum_y pi(y|x) r(x, y) sum_t z_t.

        Raises MemoryError where the scores would not fit.
        """
        chances = np.exp(self.log_probs(logits))
        centred = self.rewards - (chances * self.rewards).sum(1, keepdims=True)
        return np.einsum("xy,xyhd->xd", chances * centred, self.token_scores(logits)) / self.prompts

    def ascended(self, logits: ArrayLike, lr: float, steps: int) -> Floats:
        """The logits after `steps` exact gradient steps of size `lr` on P J, each prompt's own success rate."""
        theta = np.array(logits, np.float64)
        for _ in range(steps):
            theta = theta + lr * self.prompts * self.gradient(theta).reshape(theta.shape)
        return theta

    def _token_log_probs(self, log_pi: Floats) -> Floats:
        found = np.zeros((*log_pi.shape[:-2], len(self.answers), self.horizon))
        for y, t, row, token in self._choices:
            found[..., y, t] = log_pi[..., row, token]
        return found

    @cached_property
    def _choices(self) -> list[tuple[int, int, int, int]]:
        """Answer, position, prefix row and token of every choice that an answer is made of."""
        return [
            (y, t, self.prefixes[answer[:t]], token)
            for y, answer in enumerate(self.answers)
            for t, token in enumerate(answer)
        ]


def answers(vocabulary: int, horizon: int) -> list[Answer]:
    """All that end with the end token within the horizon, and those of full length that do not, by length."""
    ended = [(*p, END) for t in range(horizon) for p in product(range(1, vocabulary), repeat=t)]
    return ended + list(product(range(1, vocabulary), repeat=horizon))


def _log_softmax(logits: ArrayLike) -> Floats:
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
