"""Where numbers come from: versions of the packages, and the commit of the checkout."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path


@functools.cache
def versions() -> dict[str, str | None]:
    """What the numbers of a run may depend on, without importing any of it."""

    def version(package: str) -> str | None:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
        return None

    packages = ("ablate", "torch", "numpy", "gymnasium")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


@functools.cache
def processor() -> str:
    """The kind of processor, on which the last bits of a number may depend."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, str | None]:
    """All that the bits of a run may depend on beside its configuration and seed."""
    return {"processor": processor()} | versions()


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that ablate runs from, with -dirty where files differ; None elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as GIT_DIR
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, cwd=root, env=plain, capture_output=True, text=True, check=True, timeout=10)
        return told.stdout.strip()
    return None
