"""Small environments of the kinds that users bring: `env=gym env.id=odd_environments:Global-v0`. Five steps each."""

import builtins
import os
import random
import signal
import sys
import threading
import time
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces


class Five(gymnasium.Env):
    """Five steps, two actions, observation (1, t), reward 1."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space: spaces.Space = spaces.Discrete(2)
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.observe(), self.reward(action), self.t >= 5, False, {}

    def observe(self) -> Any:
        return np.array([1.0, self.t])

    def reward(self, action: Any) -> Any:
        return 1.0


class NumPys(Five):
    def reward(self, action: Any) -> float:
        return float(np.random.rand())  # noqa: NPY002


class Normal(Five):
    """Every second number comes out of what the generator keeps beside its state."""

    def reward(self, action: Any) -> float:
        return float(np.random.randn())  # noqa: NPY002


class Pythons(Five):
    def reward(self, action: Any) -> float:
        return random.gauss(0, 1)


class Torchs(Five):
    def reward(self, action: Any) -> float:
        return float(torch.rand(()))


MODULES, OLD, PYTHONS = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)


class Modules(Five):
    def reward(self, action: Any) -> float:
        return float(MODULES.random())


class Old(Five):
    def reward(self, action: Any) -> float:
        return float(OLD.randn()) + PYTHONS.gauss(0, 1)


class Classs(Five):
    generator = torch.Generator()

    def reward(self, action: Any) -> float:
        return float(torch.rand((), generator=self.generator))


class Fixed(Five):
    """Each has a generator of its own, and all of these have the same seed."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    def reward(self, action: Any) -> float:
        return float(self.generator.random())


class System(Fixed):
    """Each has a generator of its own, whose seed is the operating system's."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng()


class AtReset(Five):
    def reset(self, **more: Any) -> tuple[Any, dict[str, Any]]:
        self.prize = random.random()
        return super().reset(**more)

    def reward(self, action: Any) -> float:
        return self.prize


class AtBirth(Five):
    def __init__(self) -> None:
        super().__init__()
        self.prize = float(np.random.rand())  # noqa: NPY002

    def reward(self, action: Any) -> float:
        return self.prize


class Unseeded(Five):
    """Its reset leaves the generator that it draws from as it is."""

    def reset(self, **more: Any) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return self.observe(), {}

    def reward(self, action: Any) -> float:
        return float(self.np_random.random())


class Samples(Five):
    """Draws from a space that all of its kind share."""

    shared: ClassVar = spaces.Box(-1, 1, (2,), np.float64)

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = self.shared

    def reward(self, action: Any) -> float:
        return float(self.observation_space.sample()[0])


class Rarely(Five):
    """Draws in some episodes only, by a generator of its own."""

    def reward(self, action: Any) -> float:
        return random.random() if self.np_random.random() < 0.01 else 0.5


class OneBuffer(Five):
    """All objects observe into the same array, and write into what they are handed."""

    buffer: ClassVar = np.zeros(2)

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.earned = np.zeros(())

    def observe(self) -> Any:
        self.buffer[:] = 1.0, self.t
        return self.buffer

    def reward(self, action: Any) -> Any:
        action[:] = 77.0
        self.earned[...] = self.t
        return self.earned


class NanReward(Five):
    def reward(self, action: Any) -> float:
        return float("nan") if self.t == 3 else 1.0


class HugeReward(Five):
    def reward(self, action: Any) -> float:
        return 1e300 if self.t == 3 else 1.0


class InfiniteObservation(Five):
    def observe(self) -> Any:
        return np.array([1.0, np.inf if self.t == 2 else self.t])


class NanFromTheStart(Five):
    def observe(self) -> Any:
        return np.array([np.nan, self.t])


def _ends(kind: str) -> None:
    match kind:
        case "exit":
            sys.exit()
        case "interrupt":
            raise KeyboardInterrupt
        case "os._exit":
            os._exit(0)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "silent":
            raise Silent
        case "abort":
            os.abort()
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hangs":
            time.sleep(3600)
        case "thread":
            threading.Thread(target=time.sleep, args=(3600,)).start()


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing to say")


class Ends(Five):
    """Ends the process in one way or another, in the episodes of one environment seed out of so many."""

    def __init__(self, kind: str = "exit", one_in: int = 1) -> None:
        super().__init__()
        self.kind, self.one_in = kind, one_in
        if kind == "thread at birth":
            _ends("thread")
        if kind == "deaf":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def reset(self, **more: Any) -> tuple[Any, dict[str, Any]]:
        found = super().reset(**more)
        self.guilty = self.np_random.integers(self.one_in) == 0
        return found

    def reward(self, action: Any) -> float:
        if self.guilty and self.t == 3:
            _ends(self.kind)
        return 1.0


class Unmakeable(Five):
    def __init__(self, how: str) -> None:
        raise getattr(builtins, how)("no display")


KINDS = (
    Unmakeable, Unseeded, Samples, Modules, Old, Classs, Fixed, System,
    NumPys, Normal, Pythons, Torchs, AtReset, AtBirth, Rarely, OneBuffer,
    NanReward, HugeReward, InfiniteObservation, NanFromTheStart, Ends,
)  # fmt: skip
for _kind in KINDS:
    gymnasium.register(id=f"{_kind.__name__}-v0", entry_point=f"{__name__}:{_kind.__name__}", max_episode_steps=20)
