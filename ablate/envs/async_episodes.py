"""Episodes of a costly simulator in processes of their own, through Gymnasium's AsyncVectorEnv."""

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import _async_worker
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ablate import global_generators
from ablate.child_processes import end_with_parent
from ablate.envs.base import Bools
from ablate.errors import UserError, message_of
from ablate.resources import cores

Make = Callable[[], gymnasium.Env]
Step = tuple[NDArray, NDArray[np.float64], Bools, Bools, dict[str, Any]]


class AsyncEpisodes:
    """What `SyncVectorEnv` is to `ablate.envs.gym`, with the same bits: episode i is played by process i mod W.

    AsyncVectorEnv has a process an environment, and S x N are many: here each of its W environments, one a core, is an
    `EpisodeShare`. The processes stay from batch to batch, and are started anew for a larger one. They are gone after
    `close`, after an error, and when this process ends, however it does.

    Raises UserError in a process that may start none; what an environment raises, with its stack trace as a note; and
    RuntimeError where one ended its process.
    """

    def __init__(self, make: Make, id: str) -> None:
        self._make, self._id, self._size = make, id, 0
        self._vector: AsyncVectorEnv | None = None

    def reset(self, seed: Sequence[int]) -> tuple[NDArray, dict[str, Any]]:
        wanted = min(cores(), len(seed))
        if self._vector is None or self._vector.num_envs < wanted or len(seed) > self._vector.num_envs * self._size:
            self.close()
            self._size = -(-len(seed) // wanted)
            self._vector = self._call(self._start, wanted)
        W = self._vector.num_envs
        self._episodes = len(seed)
        found, infos = self._call(self._vector.reset, seed=[list(seed[w::W]) for w in range(W)])
        self._raise(infos)
        return self._rows(found), {}

    def step(self, actions: NDArray) -> Step:
        assert self._vector is not None
        W = self._vector.num_envs
        shares = np.zeros((self._size * W, *actions.shape[1:]), actions.dtype)
        shares[: len(actions)] = actions
        shares = shares.reshape(self._size, W, *actions.shape[1:]).swapaxes(0, 1)
        *found, infos = self._call(self._vector.step, shares)
        self._raise(infos)
        observations, rewards, terminated, truncated = map(self._rows, found)
        return observations, rewards, terminated, truncated, {}

    def close(self) -> None:
        """End the processes after the environments' own `close`."""
        vector, self._vector = self._vector, None
        if vector is not None:
            vector.close()

    def _start(self, processes: int) -> AsyncVectorEnv:
        if multiprocessing.current_process().daemon:
            raise UserError(
                "env.vectorization_mode=async starts processes, which this one, daemonic as those of Dask, may not; "
                "write env.vectorization_mode=sync"
            )
        make, size = self._make, self._size
        return AsyncVectorEnv(
            [lambda: EpisodeShare(make, size)] * processes,
            copy=False,
            context="fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn",
            worker=_serve,
            autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
        )

    def _rows(self, found: NDArray) -> NDArray:
        """Of [W, size, ...], the episodes in order."""
        return found.swapaxes(0, 1).reshape(-1, *found.shape[2:])[: self._episodes]

    def _call(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        try:
            return function(*arguments, **more)
        except (EOFError, ConnectionError) as error:
            processes = self._vector.processes if self._vector else []
            ended = connection.wait([process.sentinel for process in processes], 1)
            for process in processes:
                process.join(1 if process.sentinel in ended else 0)
            codes = [process.exitcode for process in processes if process.exitcode is not None]
            self._kill()
            how = f" (exit code {codes[0]})" if codes else ""
            raise RuntimeError(f"env.id={self._id} ended the process that it ran in{how}") from error
        except BaseException:
            self._kill()
            raise

    def _raise(self, infos: dict[str, Any]) -> None:
        errors = [error for error in infos.get("error", ()) if error is not None]
        if errors:
            self._kill()
            raise errors[0]

    def _kill(self) -> None:
        """End the processes at once: Gymnasium's own close would wait for answers of theirs."""
        vector, self._vector = self._vector, None
        if vector is not None:
            vector.closed = True
            for process in vector.processes:
                process.kill()
                process.join()

    def __del__(self) -> None:
        with suppress(Exception):
            self._kill()


class EpisodeShare(gymnasium.Env):
    """Some environments as one, stepped one after another: observations [size, D], rewards and ends [size].

    It is reset with a list of seeds, one for each episode, at most `size`; rows without one are 0 and ended. An error
    comes as the `error` of its info, for Gymnasium's way back loses stack traces and waits for ever for some.
    """

    def __init__(self, make: Make, size: int) -> None:
        self._make, self._envs = make, [make()]
        self.observation_space = batch_space(self._envs[0].observation_space, size)
        self.action_space = batch_space(self._envs[0].action_space, size)
        self._observations = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[NDArray, dict[str, Any]]:
        def start() -> None:
            self._envs += [self._make() for _ in range(len(seed) - len(self._envs))]
            self._playing, self._before = self._envs[: len(seed)], global_generators.states()
            for i, env in enumerate(self._playing):
                self._observations[i] = env.reset(seed=seed[i])[0]

        return self._observations, _told(start)

    def step(self, action: NDArray) -> tuple[NDArray, Any, Any, Any, dict[str, Any]]:
        rewards = np.zeros(len(self._observations))
        terminated, truncated = np.ones(rewards.shape, bool), np.zeros(rewards.shape, bool)

        def advance() -> None:
            for i, env in enumerate(self._playing):
                self._observations[i], rewards[i], terminated[i], truncated[i], _ = env.step(action[i])
            if (terminated | truncated).all() and global_generators.states() != self._before:
                raise UserError(
                    "env.vectorization_mode=async cannot be: the environment draws from random generators that all of "
                    "its kind share; write env.vectorization_mode=sync"
                )

        return self._observations, rewards, terminated, truncated, _told(advance)

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _told(call: Callable[[], None]) -> dict[str, Any]:
    """Call it; the info of it: empty, or its error, or that in words where it does not go through a pipe."""
    try:
        call()
    except BaseException as error:  # of anybody's code
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {message_of(error)}")
        return {"error": error}
    return {}


def _serve(*arguments: Any) -> None:
    """Gymnasium's worker. Ctrl-C is for the process that started it, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    try:
        _async_worker(*arguments)
    finally:
        os._exit(0)  # without waiting for threads of user code
