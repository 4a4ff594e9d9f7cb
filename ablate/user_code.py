"""What is asked of a Phi, baseline or critic of the user's own: it is handed copies, and what it gives is checked.

The numbers that are recorded are thereby made of data that no user code can reach.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.baselines import ScoreProducts
from ablate.episodes.trajectories import Trajectories
from ablate.errors import UserError
from ablate.phi import Signals

Floats = NDArray[np.float64]
Place = tuple[slice, slice, slice]  # of a seed, its episodes and their steps in [S,N,T]
OWN = "ablate."  # in front of every target that is not user code
GYMNASIUM = "ablate.envs.gym.Gymnasium"  # whose environments may be anybody's
MODULE = "ablate.module_policies.policy"  # whose networks are


def is_users(node: Any) -> bool:
    """Whether the target of a node is user code."""
    return isinstance(node, Mapping) and not str(node.get("_target_", OWN)).startswith(OWN)


def runs_users(node: Any) -> bool:
    """Whether anything in a configuration may run user code."""
    if isinstance(node, Mapping):
        return is_users(node) or node.get("_target_") in (GYMNASIUM, MODULE) or any(map(runs_users, node.values()))
    return isinstance(node, list | tuple) and any(map(runs_users, node))


def read_only(x: NDArray) -> NDArray:
    """A copy that cannot be written."""
    copy = x.copy()
    copy.flags.writeable = False
    return copy


def of_read_only(record: Any) -> Any:
    """A data class whose arrays are copies that cannot be written."""
    arrays = {f.name: getattr(record, f.name) for f in fields(record)}
    return replace(record, **{name: read_only(x) for name, x in arrays.items() if isinstance(x, np.ndarray)})


@dataclass(frozen=True)
class UserPhi:
    """Signals -> Phi [S,N,T] of a ``function`` of the user's, which ``name`` names in an error line.

    It is called for one seed at a time, S = 1, with N the seed's own number of episodes and T the longest of them, so
    that a mean over all that it is handed is no mean over other seeds. Raises UserError where it writes into the
    signals, or gives what is no array of that shape.
    """

    function: Callable[[Signals], Any]
    name: str

    def __call__(self, signals: Signals) -> Floats:
        found = np.zeros(signals.mask.shape)
        for place, own in _rows(signals):
            found[place] = _array(_call(self.name, self.function, own), own.mask.shape, self.name)
        return found


@dataclass(frozen=True)
class UserBaseline:
    """Phi, Signals, score products -> b, broadcastable to [S,N,T], of a user's ``function``; else as `UserPhi`."""

    function: Callable[[Floats, Signals, ScoreProducts], Any]
    name: str

    def __call__(self, phi: Floats, signals: Signals, score_products: ScoreProducts) -> Floats:
        found = np.zeros(signals.mask.shape)
        for place, own in _rows(signals):

            def products(u: Floats, v: Floats, place: Place = place) -> Floats:
                whole = np.zeros((2, *signals.mask.shape))
                whole[0][place], whole[1][place] = u, v
                return score_products(*whole)[place[:2]]

            b = _call(self.name, self.function, read_only(phi[place]), own, products)
            found[place] = _array(b, own.mask.shape, self.name)
        return found


@dataclass(frozen=True)
class UserCritic:
    """A critic of the user's: it judges and learns from copies, and of the signals that it gives only its own values
    are taken."""

    critic: Any
    name: str

    def initial(self, seeds: Sequence[int]) -> dict[str, Any]:
        return self.critic.initial(seeds)

    def evaluate(
        self, state: dict[str, Any], policy: Any, theta: Any, episodes: Trajectories, signals: Signals
    ) -> Signals:
        own = {name: x.clone() for name, x in state.items()}, policy, theta.clone()
        found = _call(self.name, self.critic.evaluate, *own, of_read_only(episodes), of_read_only(signals))
        judged: dict[str, Any] = {}
        for name in ("values", "next_values", "action_values", "next_action_values"):
            value = getattr(found, name, None)
            judged[name] = None if value is None else _array(value, signals.mask.shape, f"{name} of {self.name}")
        return replace(signals, **judged)

    def fit(
        self, state: dict[str, Any], episodes: Trajectories, signals: Signals, seeds: Sequence[int], iteration: int
    ) -> tuple[dict[str, Any], dict[str, Floats]]:
        own = {name: x.clone() for name, x in state.items()}, of_read_only(episodes), of_read_only(signals)
        return _call(self.name, self.critic.fit, *own, list(seeds), iteration)


def _rows(signals: Signals) -> Iterator[tuple[Place, Signals]]:
    """For each row of the seed axis: where its episodes are, up to the end of the longest of them, and its signals."""
    for s, (episodes, steps) in enumerate(zip(signals.played.sum(1), signals.mask.sum(2).max(1), strict=True)):
        place = slice(s, s + 1), slice(int(episodes)), slice(int(steps))
        arrays = {f.name: getattr(signals, f.name) for f in fields(signals)}
        cut: dict[str, Any] = {name: read_only(x[place]) for name, x in arrays.items() if isinstance(x, np.ndarray)}
        yield place, replace(signals, **cut, log_prob=partial(_log_probs, signals, place))


def _log_probs(signals: Signals, place: Place) -> Floats:
    return read_only(signals.log_probs[place])


def _call(name: str, function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise UserError(
            f"{name} writes into what it was handed, which is read-only; let it work on a copy, as "
            "signals.rewards.copy()"
        ) from error


def _array(found: Any, shape: tuple[int, ...], name: str) -> Floats:
    """A copy of what user code gave, as float64 of the shape that it must have."""
    wanted = f"an array of numbers of shape {shape} (seeds, episodes, steps)"
    try:
        array = np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} gave a {type(found).__name__}, not {wanted}") from error
    if array.dtype.kind not in "fiub":
        kind = type(found).__name__ + (f" of {array.dtype}" if isinstance(found, np.ndarray) else "")
        raise UserError(f"{name} gave a {kind}, not {wanted}")
    try:
        return np.broadcast_to(array.astype(np.float64), shape).copy()
    except ValueError as error:
        raise UserError(f"{name} gave an array of shape {array.shape}, not {wanted}") from error
