"""What a container allows counts, and a job that cannot fit is refused with what would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE, ablate
from conftest import compose

from ablate import build, resources
from ablate.errors import UserError
from ablate.runs import memory

GIB = 2**30


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   33554432 kB\n"}  # 32 GiB
V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 32 * GIB),
        (V2 | {"sys/fs/cgroup/a/b/memory.max": "max", "sys/fs/cgroup/a/b/memory.current": "1"}, 32 * GIB),
        (V2 | {"sys/fs/cgroup/a/b/memory.max": str(4 * GIB), "sys/fs/cgroup/a/b/memory.current": str(GIB)}, 3 * GIB),
        (V2 | {"sys/fs/cgroup/a/memory.max": str(2 * GIB), "sys/fs/cgroup/a/b/memory.max": str(4 * GIB)}, 2 * GIB),
        (V2 | {"sys/fs/cgroup/memory.max": str(GIB)}, GIB),  # as a container sees its own
        (
            V2
            | {
                "sys/fs/cgroup/memory.max": str(4 * GIB),
                "sys/fs/cgroup/memory.current": str(3 * GIB),
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {2 * GIB}\n",
            },
            3 * GIB,
        ),
        (
            V1
            | {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(8 * GIB),
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes": str(GIB),
            },
            7 * GIB,
        ),
        (V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 32 * GIB),
        (V2 | {"sys/fs/cgroup/memory.max": "nonsense"}, 32 * GIB),
    ],
)
def test_memory_is_the_least_that_machine_and_cgroups_leave(files: dict[str, str], left: int, tmp_path: Path) -> None:
    assert resources.memory(tree(tmp_path, MEMINFO | files)) == left


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "100000 100000"}, 1),
        (V2 | {"sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),
        (V1 | {"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1"}, None),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "90000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        (V2 | {"sys/fs/cgroup/cpu.max": "12800000 100000"}, None),
    ],
)
def test_a_quota_of_time_is_a_number_of_cores(files: dict[str, str], cores: int | None, tmp_path: Path) -> None:
    assert resources.cores(tree(tmp_path, files)) == min(cores or 10**6, len(os.sched_getaffinity(0)))


def test_the_limit_of_address_space_counts() -> None:
    code = "from ablate import resources; print(resources.memory())"
    shell = ["bash", "-c", f'ulimit -v {2 * 1024**2}; "$0" -c "$1"', sys.executable, code]
    assert 0 < int(subprocess.check_output(shell, timeout=PATIENCE)) < 2 * GIB


LARGE = {
    "env.horizon": ("env.horizon=100000000",),
    "episodes": ("episodes=10000000",),
    "iterations": (f"iterations={10**30}",),
    "env_steps": (f"env_steps={10**30}",),
    "probe.episodes": ("probe.episodes=100000000",),
    "evaluate.episodes": ("evaluate.every=1", "evaluate.episodes=1000000000"),
    "algorithm.buffer_size": ("env=pendulum", "algorithm=dqn", "algorithm.buffer_size=10000000000"),
    "algorithm.steps": ("env=chain", "algorithm=q_actor_critic", "algorithm.steps=10000000000"),
    "algorithm.environments": ("env=pendulum", "algorithm=a2c", "algorithm.environments=100000000"),
    "policy.hidden": ("policy.hidden=[1000000,1000000]",),
    "critic.hidden": ("phi=td", "critic.hidden=[1000000,1000000]"),
}


@pytest.mark.parametrize("setting", LARGE)
def test_what_cannot_fit_is_refused_with_the_number_that_would(setting: str) -> None:
    """And with that number it is taken."""

    def check(*words: str) -> None:
        config = compose(*words).config
        memory.check(config, build.environment(config), 2, 2, 8 * GIB)

    with pytest.raises(UserError) as refused:
        check(*LARGE[setting])
    said = str(refused.value)
    assert len(said) <= 300
    assert said.startswith(f"{setting}=")
    assert "8.0 GiB are at hand" in said
    if not setting.endswith("hidden"):
        fitting = said.partition(f"write {setting}=")[2].split()[0]
        check(*(word for word in LARGE[setting] if not word.startswith(f"{setting}=")), f"{setting}={fitting}")


def test_what_cannot_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    done = ablate("-m", "env=chain", "episodes=100000000", "seed=0", cwd=tmp_path, exit_code=2)
    assert "episodes=100000000 needs about" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("words", [(), ("env=pendulum", "algorithm=dqn"), ("probe=matched",), ("env=chain", "phi=td")])
def test_the_usual_fits_in_little(words: tuple[str, ...]) -> None:
    config = compose(*words).config
    memory.check(config, build.environment(config), 10, 2, 4 * GIB)
