"""Hydra's own sweeper, which composes no job twice."""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_plugins = Plugins.instance()  # as it is made it loads the modules of plugins anew, so classes are taken from here
_Basic: Any = _plugins.class_name_to_class[BASIC]


class Sweeper(_Basic):
    """Hydra composes all jobs to see that it can, throws them away, and lets the launcher compose them again. The basic
    launcher only has them taken down: all are composed before any runs. Other launchers may compose elsewhere, long
    after, so for them the jobs are still tried first."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        if type(self.launcher).__name__ != "BasicLauncher":
            super().validate_batch_is_legal(batch)


def compose_once() -> None:
    """Let Hydra take it wherever its basic sweeper is asked for."""
    _plugins.class_name_to_class[BASIC] = Sweeper
