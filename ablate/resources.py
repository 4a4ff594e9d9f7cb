"""How many cores and how much memory there is for this process: what the machine has, and what containers leave."""

import math
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")


def cores(root: Path = ROOT) -> int:
    """The cores that this process may use: those of its affinity mask, or fewer where a cgroup gives it less time."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([mask, *(math.ceil(quota) for quota in quotas)]))


def memory(root: Path = ROOT) -> int | None:
    """Bytes that this process and those that it starts can still take: the least of what the machine has left, its
    cgroups leave, and `ulimit -v` allows; None where nothing is known."""
    left = [_left(folder) for folder in _cgroups(root, "memory")]
    found = [each for each in (_machine(root), _address_space(root), *left) if each is not None]
    return max(0, min(found)) if found else None


def _machine(root: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _address_space(root: Path) -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    with suppress(OSError, ValueError, IndexError):
        return limit - int((root / "proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return limit


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those around it, of version 2 and of version 1."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            mounts = [root / "sys/fs/cgroup" / part for part in ((names, controller) if names else ("", "unified"))]
            for mount in dict.fromkeys(mounts):
                inside = Path(path.lstrip("/"))
                for folder in (inside, *inside.parents):
                    if (mount / folder).is_dir():
                        yield mount / folder


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _left(folder: Path) -> int | None:
    """What a cgroup's memory limit leaves, counting caches of files as free; None where there is no limit."""
    for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        allowed, used = _number(folder / limit), _number(folder / usage) or 0
        if allowed is not None:
            caches = 0
            with suppress(OSError, ValueError):
                rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                caches = int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))
            return allowed - max(0, used - caches)
    return None


def _quota(folder: Path) -> float | None:
    """Cores' worth of time in a period; None where there is no limit."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None
