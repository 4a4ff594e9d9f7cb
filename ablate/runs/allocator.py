"""How the process gets its memory. An iteration takes and frees the same megabytes again and again."""

import ctypes
import sys
from contextlib import suppress

M_MXFAST, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = 1, -1, -3  # of glibc's malloc.h
KEPT = 2**28  # bytes that are freed at the top of the heap and not given back to the system
MAPPED = 2**25  # bytes from which on an array is given back at once; glibc takes no larger number


def keep_freed_memory() -> None:
    """Reuse what is freed instead of giving it back: the system clears each page that it hands out, which cost
    training with a critic a sixth of its time. Small pieces that are freed are joined at once (M_MXFAST 0): else all of
    them are whenever a large one is taken or freed, as in every product of oneDNN. Where the C library is not glibc,
    nothing changes."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MXFAST, 0)
            mallopt(M_TRIM_THRESHOLD, KEPT)
            mallopt(M_MMAP_THRESHOLD, MAPPED)
