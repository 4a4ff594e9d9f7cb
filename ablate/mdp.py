"""Finite Markov decision processes: what the tabular environments sample and `exact` computes with."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.errors import UserError, one_line

Floats = NDArray[np.float64]
LARGEST_FILE = 64 * 2**20  # bytes; a dense table of that size is no longer a small known MDP
LONGEST = 1_000_000  # steps
REQUIRED, OPTIONAL = ("P", "R", "rho0", "horizon"), ("gamma", "logits", "terminal", "features", "R_std")
KEYS = f"the keys are {', '.join(REQUIRED)} and optionally {', '.join(OPTIONAL)}"


@dataclass(frozen=True)
class MDP:
    """A finite-horizon MDP with sparse transitions: s_0 ~ rho0, s_{t+1} ~ P(.|s_t, a_t), r_t = R(s_t, a_t, s_{t+1}),
    and where there is a `reward_std` r_t ~ N(R, reward_std^2).

    J = E[sum_{t < horizon} gamma^t r_t]; an episode ends on entering a terminal state or after `horizon` steps.

    | field         | shape   | meaning                                                                   |
    |---------------|---------|---------------------------------------------------------------------------|
    | successors    | [S,A,K] | the K states that (s, a) may lead to; unused places have probability 0    |
    | probabilities | [S,A,K] | P(s'|s,a), summing to 1 over K                                            |
    | rewards       | [S,A,K] | R(s,a,s')                                                                 |
    | rho0          | [S]     | initial distribution; no mass on terminal states                          |
    | terminal      | [S]     | true where the episode is over (nothing is done or earned there)          |
    | features      | [S,D]   | what the agent observes of a state: one-hot, or fewer columns (aliasing)  |
    | logits        | [S,A]   | the softmax policy that a file comes with (default: uniform)              |
    | reward_std    | [S,A,K] | standard deviation of Gaussian rewards; None: rewards are R               |
    """

    successors: NDArray[np.int64]
    probabilities: Floats
    rewards: Floats
    rho0: Floats
    horizon: int
    gamma: float
    terminal: NDArray[np.bool_]
    features: Floats
    logits: Floats
    reward_std: Floats | None = None

    @property
    def num_states(self) -> int:
        return self.successors.shape[0]

    @property
    def num_actions(self) -> int:
        return self.successors.shape[1]

    @property
    def states_are_seen(self) -> bool:
        """Whether no two states look the same where something is still to be done."""
        acting = self.features[~self.terminal]
        return len(np.unique(acting, axis=0)) == len(acting)

    @classmethod
    def from_dense(
        cls,
        P: ArrayLike,
        R: ArrayLike,
        rho0: ArrayLike,
        horizon: int,
        gamma: float = 1.0,
        *,
        terminal: ArrayLike | None = None,
        features: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        reward_std: ArrayLike | None = None,
    ) -> "MDP":
        """From dense tables: P [S,A,S], R and reward_std [S,A] or [S,A,S], rho0 [S]. Successors of probability 0 are
        dropped."""
        dense = np.asarray(P, dtype=np.float64)
        num_states, num_actions, _ = dense.shape
        width = max(1, int((dense > 0).sum(-1).max()))
        successors = np.argsort(dense == 0, axis=-1, kind="stable")[..., :width]  # the possible ones first, in order

        def of_successors(table: ArrayLike) -> Floats:
            x = np.asarray(table, dtype=np.float64)
            return np.take_along_axis(np.broadcast_to(x[..., None] if x.ndim == 2 else x, dense.shape), successors, -1)

        ends = np.zeros(num_states, bool) if terminal is None else np.asarray(terminal, dtype=bool)
        return cls(
            successors=successors,
            probabilities=of_successors(dense),
            rewards=of_successors(R),
            rho0=np.asarray(rho0, dtype=np.float64),
            horizon=int(horizon),
            gamma=float(gamma),
            terminal=ends,
            features=one_hot(num_states) if features is None else np.asarray(features, dtype=np.float64),
            logits=np.zeros((num_states, num_actions)) if logits is None else np.asarray(logits, dtype=np.float64),
            reward_std=None if reward_std is None else of_successors(reward_std),
        )

    @classmethod
    def from_rows(
        cls,
        rows: ArrayLike,
        rho0: ArrayLike,
        horizon: int,
        gamma: float = 1.0,
        *,
        num_actions: int,
        terminal: ArrayLike | None = None,
        features: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        reward_std: ArrayLike | None = None,
    ) -> "MDP":
        """From rows (s, a, s', p, r), [M,5], in any order, and reward_std [S,A]: memory O(S A K) for K successors at
        most."""
        start, table = np.asarray(rho0, dtype=np.float64), np.asarray(rows, dtype=np.float64)
        table = table[table[:, 3] > 0]
        pair = table[:, 0].astype(np.int64) * num_actions + table[:, 1].astype(np.int64)
        order = np.argsort(pair, kind="stable")
        table, pair = table[order], pair[order]
        counts = np.bincount(pair, minlength=len(start) * num_actions)
        place = np.arange(len(pair)) - (np.cumsum(counts) - counts)[pair]  # of a row among those of its (s, a)
        shape = len(start), num_actions, max(1, int(counts.max()))
        columns = np.zeros((3, len(counts), shape[2]))
        columns[:, pair, place] = table[:, 2:].T
        successors, probabilities, rewards = columns.reshape(3, *shape)
        return cls(
            successors=successors.astype(np.int64),
            probabilities=probabilities,
            rewards=rewards,
            rho0=start,
            horizon=int(horizon),
            gamma=float(gamma),
            terminal=np.zeros(len(start), bool) if terminal is None else np.asarray(terminal, dtype=bool),
            features=one_hot(len(start)) if features is None else np.asarray(features, dtype=np.float64),
            logits=np.zeros(shape[:2]) if logits is None else np.asarray(logits, dtype=np.float64),
            reward_std=None if reward_std is None else np.broadcast_to(np.asarray(reward_std)[..., None], shape),
        )

    def reachable(self) -> NDArray[np.int64]:
        """The states that an episode can come to, in order."""
        seen, last = self.rho0 > 0, self.rho0 > 0
        for _ in range(self.horizon):
            going = last & ~self.terminal
            ahead = self.successors[going][self.probabilities[going] > 0]
            last = np.zeros_like(seen)
            last[ahead] = True
            last &= ~seen
            if not last.any():
                break
            seen |= last
        return np.flatnonzero(seen)

    def restricted(self, states: NDArray[np.int64]) -> "MDP":
        """The same with these states alone, which must hold all that follows them; features that are 0 for all go."""
        index = np.zeros(self.num_states, np.int64)
        index[states] = np.arange(len(states))
        features = self.features[states]
        return replace(
            self,
            successors=index[self.successors[states]],
            probabilities=self.probabilities[states],
            rewards=self.rewards[states],
            rho0=self.rho0[states],
            terminal=self.terminal[states],
            features=features[:, features.any(0)],
            logits=self.logits[states],
            reward_std=None if self.reward_std is None else self.reward_std[states],
        )

    def with_horizon(self, horizon: int) -> "MDP":
        return replace(self, horizon=horizon)


def one_hot(num_states: int) -> Floats:
    """The identity matrix as a view of 2 S - 1 numbers, read-only."""
    line = np.zeros(2 * num_states - 1)
    line[num_states - 1] = 1.0
    return np.lib.stride_tricks.sliding_window_view(line, num_states)[::-1]


def load(path: str | Path) -> MDP:
    """The MDP of a JSON file with keys P [S][A][S], R [S][A] or [S][A][S], rho0 [S], horizon, and optionally
    gamma (default 1), logits [S][A] (default 0), terminal [S] (default none), features [S][D] (default one-hot): what
    is observed of a state, so that states with equal features look alike; and R_std, like R: the standard deviation of
    Gaussian rewards (default 0).

    With many states P may be a list of its entries instead, [s, a, s', p] each, or [s, a, s', p, r] without R.

    Raises UserError, naming the file and the remedy, for whatever such a file can get wrong.
    """
    path = Path(str(path))

    def refuse(problem: str, remedy: str) -> UserError:
        return UserError(f"{path}: {problem}; {remedy}")

    return of_mapping(_read(path, refuse), refuse)


def of_mapping(raw: dict[str, Any], refuse: Callable[[str, str], UserError]) -> MDP:
    """The MDP of the keys of such a file; ``refuse`` makes a UserError of a problem and its remedy."""
    file = _File(raw, refuse)
    sparse = isinstance(raw.get("P"), list) and bool(raw["P"]) and not _nested(raw["P"])
    keyed = sparse and isinstance(raw["P"][0], list) and len(raw["P"][0]) == 5
    required = tuple(key for key in REQUIRED if not (keyed and key == "R"))
    if missing := [key for key in required if key not in raw]:
        raise refuse(f"missing {', '.join(missing)}", KEYS)
    if unknown := [str(key)[:40] for key in raw if key not in (*REQUIRED, *OPTIONAL)]:
        raise refuse(f"unknown key {unknown[0]!r}", KEYS)
    if keyed and "R" in raw:
        raise refuse("rewards stand both in P and in R", "give rows [s, a, s', p] with R, or [s, a, s', p, r] without")
    horizon, gamma = raw["horizon"], raw.get("gamma", 1.0)
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= LONGEST:
        raise refuse(f"horizon is {one_line(repr(horizon), 60)}", f"give a whole number of steps, 1 to {LONGEST}")
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma <= 1:
        raise refuse(f"gamma is {one_line(repr(gamma), 60)}", "give a discount in (0, 1]")
    return _of_rows(file, horizon, gamma, keyed) if sparse else _of_tables(file, horizon, gamma)


Refuse = Callable[[str, str], UserError]


@dataclass(frozen=True)
class _File:
    """The keys of a file, read as arrays; `refuse` names the file."""

    raw: dict[str, Any]
    refuse: Refuse

    def array(self, key: str, *shapes: tuple[int, ...]) -> Floats:
        wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
        try:
            cells = np.array(self.raw[key], dtype=object)
            if not {type(cell) for cell in cells.ravel()} <= {int, float}:  # NumPy would take true for 1 and "1" for 1
                raise TypeError
            values = cells.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self.refuse(
                f"{key} is not a regular array of numbers", f"give {wanted or '[S][A][S]'} numbers"
            ) from None
        if shapes and values.shape not in shapes:
            got = "x".join(map(str, values.shape)) or "a single number"
            raise self.refuse(f"{key} has shape {got}", f"the other keys ask for {wanted}")
        if not np.isfinite(values).all():
            raise self.refuse(f"{key} has a NaN or infinite entry", "give finite numbers")
        return values

    def distributions(self, key: str, table: Floats) -> None:
        """Refuse rows of `table` [..., n] that are no distributions."""
        if (table < 0).any():
            raise self.refuse(f"{key} has a negative probability", "give numbers in [0, 1]")
        self.sums(key, table.sum(-1))

    def sums(self, key: str, total: NDArray) -> None:
        off = np.abs(total - 1)
        if off.max() > 1e-6:
            worst = int(off.argmax())
            where = "".join(f"[{i}]" for i in np.unravel_index(worst, off.shape)) if off.ndim else ""
            raise self.refuse(f"{key}{where} sums to {float(total.flat[worst]):.6g}", "make each distribution sum to 1")

    def rho0(self, *shapes: tuple[int, ...]) -> tuple[Floats, NDArray[np.bool_]]:
        """rho0 [S], summing to 1, and which states are terminal [S]."""
        rho0 = self.array("rho0", *shapes)
        if rho0.ndim != 1 or not len(rho0):
            raise self.refuse("rho0 is not a list of numbers", "give one a state")
        self.distributions("rho0", rho0)
        flags = self.raw.get("terminal", [False] * len(rho0))
        regular = isinstance(flags, list) and len(flags) == len(rho0) and all(isinstance(flag, bool) for flag in flags)
        if not regular:
            raise self.refuse("terminal is not a list of true and false, one a state", f"give {len(rho0)} of them")
        terminal = np.asarray(flags, dtype=bool)
        if (rho0[terminal] > 0).any():
            raise self.refuse("rho0 starts in a terminal state", "put its mass on states that are not terminal")
        return rho0 / rho0.sum(), terminal

    def reward_std(self, *shapes: tuple[int, ...]) -> Floats | None:
        """R_std, of one of these shapes."""
        if "R_std" not in self.raw:
            return None
        found = self.array("R_std", *shapes)
        if (found < 0).any():
            raise self.refuse("R_std has a negative entry", "give standard deviations of at least 0")
        return found

    def policy(self, terminal: NDArray[np.bool_], num_actions: int) -> dict[str, Floats | None]:
        """What is observed of the states, `features` [S,D], and the `logits` [S,A] of a policy that sees it."""
        S = len(terminal)
        features = self.array("features") if "features" in self.raw else None
        logits = self.array("logits", (S, num_actions)) if "logits" in self.raw else None
        if features is not None:
            if features.ndim != 2 or len(features) != S or not features.shape[1]:
                shape = "x".join(map(str, features.shape))
                raise self.refuse(f"features have shape {shape}", f"give a list of {S} lists, one a state, of numbers")
            if logits is not None:
                centred, seen = logits[~terminal] - logits[~terminal].mean(1, keepdims=True), features[~terminal]
                found = seen @ np.linalg.lstsq(seen, centred, rcond=None)[0]
                if np.abs(found - centred).max(initial=0.0) > 1e-6 * max(1.0, np.abs(centred).max(initial=0.0)):
                    raise self.refuse(
                        "no weights of the features make these logits", "give states that look alike one row"
                    )
        return {"features": features, "logits": logits}


def _of_tables(file: _File, horizon: int, gamma: float) -> MDP:
    """P [S][A][S] and R [S][A] or [S][A][S]."""
    P = file.array("P")
    if P.ndim != 3 or P.shape[0] != P.shape[2] or 0 in P.shape:
        raise file.refuse(
            f"P has shape {'x'.join(map(str, P.shape)) or 'of a single number'}",
            "give P as [S][A][S]: P[s][a][s'] = P(s'|s,a)",
        )
    S, A, _ = P.shape
    R = file.array("R", (S, A), (S, A, S))
    file.distributions("P", P)
    rho0, terminal = file.rho0((S,))
    total, reward_std = P.sum(-1, keepdims=True), file.reward_std((S, A), (S, A, S))
    policy = file.policy(terminal, A)
    return MDP.from_dense(P / total, R, rho0, horizon, gamma, terminal=terminal, reward_std=reward_std, **policy)


def _of_rows(file: _File, horizon: int, gamma: float, keyed: bool) -> MDP:
    """P as rows [s, a, s', p] with R [S][A], or as [s, a, s', p, r]."""
    rho0, terminal = file.rho0()
    S, width = len(rho0), 5 if keyed else 4
    rows = file.array("P")
    if rows.ndim != 2 or rows.shape[1] != width:
        shape = "x".join(map(str, rows.shape))
        raise file.refuse(f"P has shape {shape}", "give P as [S][A][S], or as rows [s, a, s', p] or [s, a, s', p, r]")
    if keyed:
        A = int(np.clip(rows[:, 1].max(), 0, LARGEST_FILE)) + 1
    else:
        R = file.array("R")
        if R.ndim != 2 or len(R) != S or not R.shape[1]:
            raise file.refuse(f"R has shape {'x'.join(map(str, R.shape))}", f"rho0 asks for {S} rows of [s][a]")
        A = R.shape[1]
    cells = S * A
    if cells > LARGEST_FILE:
        raise file.refuse(f"{S} states x {A} actions are too many", f"give {LARGEST_FILE} pairs or fewer")
    for column, name, size in ((0, "state", S), (1, "action", A), (2, "state", S)):
        index = rows[:, column]
        if (bad := (index != np.floor(index)) | (index < 0) | (index >= size)).any():
            first = int(bad.argmax())
            raise file.refuse(f"P row {first} has {name} {index[first]:g}", f"{name}s are 0 to {size - 1}")
    if (rows[:, 3] < 0).any():
        raise file.refuse("P has a negative probability", "give numbers in [0, 1]")
    pair = rows[:, 0].astype(np.int64) * A + rows[:, 1].astype(np.int64)
    if len(np.unique(np.column_stack([pair, rows[:, 2], *rows[:, 4:].T]), axis=0)) < len(rows):
        raise file.refuse("P has one entry twice", "give each [s, a, s'] once")
    total = np.bincount(pair, rows[:, 3], cells)
    file.sums("P", total.reshape(S, A))
    if (widest := int(np.bincount(pair).max())) * cells > LARGEST_FILE:
        raise file.refuse(
            f"{S} states x {A} actions x {widest} successors do not fit", f"give at most {LARGEST_FILE // cells} a pair"
        )
    rewards = rows[:, 4] if keyed else R.reshape(-1)[pair]
    whole = np.column_stack([rows[:, :3], rows[:, 3] / total[pair], rewards])
    more = file.policy(terminal, A) | {"reward_std": file.reward_std((S, A))}
    return MDP.from_rows(whole, rho0, horizon, gamma, num_actions=A, terminal=terminal, **more)


def _read(path: Path, refuse: Refuse) -> dict[str, Any]:
    """The JSON object of a file."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise refuse(f"the key {key[:40]!r} is given twice", "keep one of them")
            found[key] = value
        return found

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            remedy = "give a smaller MDP, or P as rows [s, a, s', p] of what is possible"
            raise refuse(f"the file is larger than {LARGEST_FILE // 2**20} MiB", remedy)
        raw = json.loads(content, object_pairs_hook=once)
    except OSError as error:
        raise refuse(error.strerror or "cannot be read", "give the path of a readable JSON file") from None
    except (ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0] if str(error) else "too deep"
        raise refuse(f"not JSON ({detail})", "see docs/exact.md for the format") from None
    if not isinstance(raw, dict):
        raise refuse("not a JSON object", 'write {"P": ..., "R": ..., "rho0": ..., "horizon": ...}')
    return raw


def _nested(P: list[Any]) -> bool:
    """Whether P is a table [S][A][S], or nothing that could be rows."""
    return not all(isinstance(row, list) and row and not isinstance(row[0], list) for row in P)
