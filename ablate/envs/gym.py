"""Any Gymnasium environment with Discrete or Box actions over [S, N], through Gymnasium's vector API."""

import copy
import difflib
import importlib
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

from ablate import global_generators
from ablate.envs.async_episodes import AsyncEpisodes
from ablate.envs.base import Bools, Continuous, Discrete, Float32, need, need_count
from ablate.envs.env_checker import ValidatedEnv, fitting
from ablate.errors import UserError, message_of
from ablate.randomness import stream

SPACES = "action_space", "observation_space"
IDS = 'python -c "import gymnasium; print(*gymnasium.registry)"'


class Gymnasium:
    """`gymnasium.make(id, **kwargs)` S x N times, every episode started from an environment seed of its own.

    At reset each stream draws N environment seeds, so episode i of a seed is the same whatever else runs.
    Observations are flattened (`gymnasium.spaces.flatten`: Discrete becomes one-hot) to float32; Box actions are
    clipped to their bounds, and those of an integer Box are rounded to the nearest integer. `horizon`
    replaces Gymnasium's time limit, and must be given where there is none. `vectorization_mode` "async" steps the
    episodes in processes, one a core, with the same bits: `AsyncEpisodes`.

    Raises UserError for an id that does not exist or cannot be made, for spaces that do not fit, for a missing horizon,
    and in processes for an environment that draws from random generators which all of its kind share.
    """

    def __init__(
        self,
        id: str,
        kwargs: Mapping[str, Any] | None = None,
        horizon: int | None = None,
        vectorization_mode: str = "sync",
    ) -> None:
        need(vectorization_mode in ("sync", "async"), "vectorization_mode", vectorization_mode, "sync or async")
        need(kwargs is None or isinstance(kwargs, Mapping), "kwargs", kwargs, "a mapping, as {map_name: 8x8}")
        self._spec, self._kwargs = find(str(id)), dict(kwargs or {})
        limit = self._spec.max_episode_steps if horizon is None else horizon
        if limit is None:
            raise UserError(f"env.id={id} has no time limit of its own; give one, as env.horizon=1000")
        need_count("horizon", limit)
        self.horizon = limit
        self._vector: SyncVectorEnv | AsyncEpisodes
        self._made: list[gymnasium.Env] = []
        self._vector = one = self._vectorise(1)
        if global_generators.keep(one.envs[0].unwrapped):
            self._made = []
            self._vector = one = self._vectorise(1)  # to see whether it draws from these as it is made
        self._action_space: Any = one.single_action_space
        self.observation_size = spaces.flatdim(one.single_observation_space)
        if vectorization_mode == "async":
            if self._made_by_chance:
                raise UserError(
                    f"env.id={id} is made by chance, anew for every batch; write env.vectorization_mode=sync"
                )
            self._vector = AsyncEpisodes(self._make, self._spec.id)
        if isinstance(self._action_space, spaces.Discrete):
            self.actions: Discrete | Continuous = Discrete(int(self._action_space.n))
        else:
            self.actions = Continuous(spaces.flatdim(self._action_space))

    def reset(self, streams: Sequence[np.random.Generator], episodes: int) -> Float32:
        seeds = [seed for stream in streams for seed in stream.integers(2**31, size=episodes).tolist()]
        if self._made_by_chance:
            self._vector.close()
            self._made = []
        if isinstance(self._vector, SyncVectorEnv) and (self._made_by_chance or len(seeds) != self._vector.num_envs):
            self._vector.closed = True  # which leaves its environments open: the next takes them over
            self._vector = self._vectorise(len(seeds))
        self._started = len(seeds)
        self._rows = np.arange(len(seeds)).reshape(-1, episodes)  # which sub-environment plays each row
        return self._observe(self._vector.reset(seed=seeds)[0])

    def step(self, actions: NDArray) -> tuple[Float32, NDArray[np.float64], Bools, Bools]:
        played = np.zeros((self._started, *self._action_space.shape), self._action_space.dtype)
        if isinstance(self._action_space, spaces.Discrete):
            actions = actions + self._action_space.start
            played += self._action_space.start
        else:
            actions = actions.reshape(*self._rows.shape, *self._action_space.shape)
            actions = fitting(actions, self._action_space)
        first_wins = self._rows.ravel()[::-1]  # of several assignments to one place NumPy keeps the last
        played[first_wins] = actions.reshape(-1, *self._action_space.shape)[::-1]
        observations, rewards, terminated, truncated, _ = self._vector.step(played)
        rows = self._rows
        return self._observe(observations), rewards[rows], terminated[rows], (truncated & ~terminated)[rows]

    def keep(self, rows: NDArray[np.int64]) -> None:
        self._rows = self._rows.take(rows)

    def _observe(self, observations: NDArray) -> Float32:
        return observations[self._rows].astype(np.float32)

    def _vectorise(self, number: int) -> SyncVectorEnv:
        """So many of the environments that were made, with new ones where they are too few: making one may take as long
        as an episode, and rounds of `batch_steps` are of many sizes."""
        if number > len(self._made):
            before = global_generators.states()
            self._made += [self._make() for _ in range(number - len(self._made))]
            self._made_by_chance = global_generators.states() != before  # they are then made anew for every batch
        return SyncVectorEnv([partial(_itself, env) for env in self._made[:number]], copy=False)

    def _make(self) -> gymnasium.Env:
        id, limit = self._spec.id, self.horizon
        try:
            with same_handlers():
                env = gymnasium.make(self._spec, max_episode_steps=limit, disable_env_checker=True, **self._kwargs)
        except Exception as error:  # of anybody's code
            if isinstance(error, gymnasium.error.DependencyNotInstalled) and (extra := extra_of(self._spec)):
                wanted = f'type pip install -c constraints.txt -e ".[{extra}]"'
                raise UserError(f"env.id={id} needs {extra}; {wanted}") from error
            given = f" with env.kwargs={self._kwargs!s:.100}" if self._kwargs else ""
            kind = "" if isinstance(error, gymnasium.error.Error | ImportError) else f"{type(error).__name__}: "
            raise UserError(f"env.id={id} cannot be made{given}: {kind}{_line(error):.150}") from error
        if not isinstance(env.action_space, spaces.Discrete | spaces.Box):
            kind = type(env.action_space).__name__
            raise UserError(f"env.id={id} has {kind} actions; choose an environment with Discrete or Box actions")
        if kind := unflattenable(env.observation_space):
            raise UserError(
                f"env.id={id} has {kind} observations, of no fixed size; choose one with Box, Discrete, MultiBinary, "
                "MultiDiscrete, or Tuple and Dict of these"
            )
        return OneEpisode(FlattenObservation(ValidatedEnv(env, id)))


def _itself(env: gymnasium.Env) -> gymnasium.Env:
    return env


def extra_of(spec: EnvSpec) -> str:
    """The extra of this package with which an environment of Gymnasium's comes, "" where there is none."""
    found = re.match(r"gymnasium\.envs\.(box2d|mujoco)\b", str(spec.entry_point))
    return found[1] if found else ""


@contextmanager
def same_handlers() -> Iterator[None]:
    """Keep what SIGINT and SIGTERM do, whatever user code makes of them as it is set up: interrupts are ours."""
    ours = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if ours else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def unflattenable(space: spaces.Space) -> str:
    """The kind of the space, or of the first of its parts, that has no fixed size as numbers, "" where all have.

    A space of a package's own has none either, unless the package has registered how it is flattened.
    """
    parts = space.spaces if isinstance(space, spaces.Dict | spaces.Tuple) else ()
    for part in parts.values() if isinstance(parts, Mapping) else parts:
        if kind := unflattenable(part):
            return kind
    try:
        return "" if space.is_np_flattenable and spaces.flatdim(space) >= 0 else type(space).__name__
    except Exception:
        return type(space).__name__


class OneEpisode(gymnasium.Wrapper):
    """Plays one episode a seed, which seeds the environment's generator and spaces whatever its reset does. Once it has
    ended, every step and every reset without a seed changes nothing and returns the last observation, so what a vector
    environment does with ended episodes costs and disturbs nothing."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        for name in SPACES:  # one that all environments of a kind share would draw for them in turn
            with suppress(Exception):
                setattr(env.unwrapped, name, copy.deepcopy(getattr(env.unwrapped, name)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._seed(seed)
            self._last, self._ended = super().reset(seed=seed, options=options)[0], False
        return self._last, {}

    def _seed(self, seed: int) -> None:
        """Seed what a reset may leave as it is, which would be drawn from the operating system."""
        with suppress(Exception):  # of anybody's code
            self.unwrapped.np_random = np.random.default_rng(seed)
        for name in SPACES:
            with suppress(Exception):
                getattr(self.unwrapped, name).seed(seed)
        with suppress(Exception):
            for name, own in vars(self.unwrapped).items():
                if name != "_np_random":
                    global_generators.seed(own, int(stream(seed, f"generator {name}").integers(2**63)))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._ended:
            return self._last, 0.0, True, False, {}
        self._last, reward, terminated, truncated, _ = super().step(action)
        self._ended = terminated or truncated
        return self._last, float(reward), terminated, truncated, {}


def find(id: str) -> EnvSpec:
    """Gymnasium's entry for `id`, after importing the package in front of a colon, or one for the class or function of
    that name in it; a UserError with close matches."""
    package, _, name = id.rpartition(":")
    try:
        if package:
            with same_handlers():
                importlib.import_module(package)
        return gymnasium.spec(name)
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"env.id={id}: {_line(error)}; install the package {package}, or correct its name") from error
    except gymnasium.error.Error as error:
        if package and callable(getattr(importlib.import_module(package), name, None)):
            return EnvSpec(name, entry_point=f"{package}:{name}")
        known = {known.lower(): known for known in gymnasium.registry}
        close = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3)]
        guess = f"did you mean {' or '.join(close)}? All: `{IDS}`" if close else f"the ids: `{IDS}`"
        hint = "" if package else "; ids of another package take its name in front, env.id=package:Name-v0"
        raise UserError(f"env.id={id} is not a Gymnasium id; {guess}{hint}") from error
    except Exception as error:  # of anybody's code
        raise UserError(
            f"env.id={id}: importing {package} ends in {type(error).__name__}: {_line(error):.150}"
        ) from error


def _line(error: Exception) -> str:
    return message_of(error) or type(error).__name__
