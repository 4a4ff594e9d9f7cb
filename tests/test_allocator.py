"""Memory: what an iteration frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

CODE = """
import ctypes, resource
import numpy as np
from ablate.runs.allocator import keep_freed_memory

ARRAY = 2**17  # a megabyte each

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        several = [np.ones(ARRAY) for _ in range(10)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults()
print(faults())
"""


def test_arrays_of_an_iteration_are_not_taken_from_the_system_anew() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    pages = 200 * 10 * 2**20 / 4096
    assert int(told.stdout) < pages / 10
