"""Finite Markov decision processes: what the tabular environments sample and `exact` computes with."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.refusal import Refusal

Floats = NDArray[np.float64]
LARGEST_FILE = 64 * 2**20  # bytes; a dense table of that size is no longer a small known MDP


@dataclass(frozen=True)
class MDP:
    """A finite-horizon MDP with sparse transitions: s_0 ~ rho0, s_{t+1} ~ P(.|s_t, a_t), r_t = R(s_t, a_t, s_{t+1}).

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
    ) -> "MDP":
        """From dense tables: P [S,A,S], R [S,A] or [S,A,S], rho0 [S]. Successors of probability 0 are dropped."""
        dense = np.asarray(P, dtype=np.float64)
        num_states, num_actions, _ = dense.shape
        reward = np.asarray(R, dtype=np.float64)
        if reward.ndim == 2:
            reward = np.broadcast_to(reward[..., None], dense.shape)
        width = max(1, int((dense > 0).sum(-1).max()))
        successors = np.argsort(dense == 0, axis=-1, kind="stable")[..., :width]  # the possible ones first, in order
        ends = np.zeros(num_states, bool) if terminal is None else np.asarray(terminal, dtype=bool)
        return cls(
            successors=successors,
            probabilities=np.take_along_axis(dense, successors, -1),
            rewards=np.take_along_axis(reward, successors, -1),
            rho0=np.asarray(rho0, dtype=np.float64),
            horizon=int(horizon),
            gamma=float(gamma),
            terminal=ends,
            features=np.eye(num_states) if features is None else np.asarray(features, dtype=np.float64),
            logits=np.zeros((num_states, num_actions)) if logits is None else np.asarray(logits, dtype=np.float64),
        )

    def with_horizon(self, horizon: int) -> "MDP":
        return replace(self, horizon=horizon)


def load(path: str | Path) -> MDP:
    """The MDP of a JSON file with keys P [S][A][S], R [S][A] or [S][A][S], rho0 [S], horizon, and optionally
    gamma (default 1), logits [S][A] (default 0), terminal [S] (default none).

    Raises Refusal, naming the file and the remedy, for whatever such a file can get wrong.
    """
    path = Path(str(path))

    def refuse(problem: str, remedy: str) -> Refusal:
        return Refusal(f"{path}: {problem}; {remedy}")

    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise refuse(f"the file is larger than {LARGEST_FILE // 2**20} MiB", "give a smaller MDP")
        raw = json.loads(content)
    except OSError as error:
        raise refuse(error.strerror or "cannot be read", "give the path of a readable JSON file") from None
    except (ValueError, RecursionError) as error:
        detail = str(error).splitlines()[0] if str(error) else "too deep"
        raise refuse(f"not JSON ({detail})", "see `MDP files` in the README for the format") from None
    if not isinstance(raw, dict):
        raise refuse("not a JSON object", 'write {"P": ..., "R": ..., "rho0": ..., "horizon": ...}')
    required, optional = ("P", "R", "rho0", "horizon"), ("gamma", "logits", "terminal")
    if missing := [key for key in required if key not in raw]:
        raise refuse(
            f"missing {', '.join(missing)}",
            f"the keys are {', '.join(required)} and optionally {', '.join(optional)}",
        )
    if unknown := [str(key)[:40] for key in raw if key not in (*required, *optional)]:
        raise refuse(
            f"unknown key {unknown[0]!r}",
            f"the keys are {', '.join(required)} and optionally {', '.join(optional)}",
        )

    def array(key: str, *shapes: tuple[int, ...]) -> Floats:
        wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
        try:
            cells = np.array(raw[key], dtype=object)
            if not {type(cell) for cell in cells.ravel()} <= {int, float}:  # NumPy would take true for 1 and "1" for 1
                raise TypeError
            values = cells.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise refuse(f"{key} is not a regular array of numbers", f"give {wanted or '[S][A][S]'} numbers") from None
        if shapes and values.shape not in shapes:
            got = "x".join(map(str, values.shape)) or "a single number"
            raise refuse(f"{key} has shape {got}", f"the other keys ask for {wanted}")
        if not np.isfinite(values).all():
            raise refuse(f"{key} has a NaN or infinite entry", "give finite numbers")
        return values

    P = array("P")
    if P.ndim != 3 or P.shape[0] != P.shape[2] or 0 in P.shape:
        raise refuse(
            f"P has shape {'x'.join(map(str, P.shape)) or 'of a single number'}",
            "give P as [S][A][S]: P[s][a][s'] = P(s'|s,a)",
        )
    S, A, _ = P.shape
    R = array("R", (S, A), (S, A, S))
    rho0 = array("rho0", (S,))
    horizon, gamma = raw["horizon"], raw.get("gamma", 1.0)
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= 1_000_000:
        raise refuse(f"horizon is {horizon!r:.40}", "give a whole number of steps, 1 to 1000000")
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma <= 1:
        raise refuse(f"gamma is {gamma!r:.40}", "give a discount in (0, 1]")
    for key, table in (("P", P), ("rho0", rho0)):
        if (table < 0).any():
            raise refuse(f"{key} has a negative probability", "give numbers in [0, 1]")
        off = np.abs(table.sum(-1) - 1)
        if off.max() > 1e-6:
            where = "".join(f"[{i}]" for i in np.unravel_index(int(off.argmax()), off.shape)) if off.ndim else ""
            raise refuse(
                f"{key}{where} sums to {float(table.sum(-1).flat[int(off.argmax())]):.6g}",
                "make each distribution sum to 1",
            )
    terminal = _terminal(raw, S, refuse)
    if (rho0[terminal] > 0).any():
        raise refuse("rho0 starts in a terminal state", "put its mass on states that are not terminal")
    return MDP.from_dense(
        P / P.sum(-1, keepdims=True),
        R,
        rho0 / rho0.sum(),
        horizon,
        gamma,
        terminal=terminal,
        logits=array("logits", (S, A)) if "logits" in raw else None,
    )


def _terminal(raw: dict[str, Any], num_states: int, refuse: Any) -> NDArray[np.bool_]:
    flags = raw.get("terminal", [False] * num_states)
    if not (isinstance(flags, list) and len(flags) == num_states and all(isinstance(flag, bool) for flag in flags)):
        raise refuse("terminal is not a list of true and false, one a state", f"give {num_states} of them")
    return np.asarray(flags, dtype=bool)
