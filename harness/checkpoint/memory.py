"""What the C library does with the memory that a model frees between two layers."""

from __future__ import annotations

import ctypes
import os

# glibc's <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30  # bytes that may stay with the process
LARGEST = 32 << 20  # bytes; the most that glibc takes
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed() -> bool:
    """Keep freed memory for the next batch; says whether the C library does so.

    A forward pass frees tens of MiB with every layer. glibc gives them back to the system, which
    must clear and map each page again for the next one: some 5 % of a small encoder's time, see
    benchmarks/. Up to 1 GiB stays with the process now; blocks of 32 MiB and more, such as weights,
    go back at once as before. Nothing happens with another C library, or where the environment has
    chosen.
    """
    if any(name in os.environ for name in CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
