"""What the C library does with the memory that a model frees between two layers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# glibc's <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
MAPPED = 1 << 16  # glibc's default for MMAP_MAX
KEPT = 1 << 30  # bytes that may stay with the process
LARGEST = 32 << 20  # bytes; the most that glibc takes
CHOSEN = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "GLIBC_TUNABLES",
)


def keep_freed() -> bool:
    """Keep freed memory for the next batch; says whether the C library does so.

    A forward pass frees tens of MiB with every layer. glibc gives them back to the system, which
    must clear and map each page again for the next one: some 5 % of a small encoder's time, see
    benchmarks/. Up to 1 GiB stays with the process now; blocks of 32 MiB and more, such as weights,
    go back at once as before. Nothing happens with another C library, or where the environment has
    chosen.
    """
    mallopt = _mallopt()
    return bool(mallopt and mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))


@contextmanager
def keep_all_freed() -> Iterator[bool]:
    """Within it, freed memory of any size is kept; says whether the C library does so.

    A training step takes and frees the same gibibytes as the one before it, much of it in blocks
    of more than 32 MiB. Mapping their pages again is a quarter of a step's time on a virtual
    machine. What was kept goes back at the end.
    """
    mallopt = _mallopt()
    kept = bool(mallopt and mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
    try:
        yield kept
    finally:
        if mallopt and kept:
            mallopt(MMAP_MAX, MAPPED)
            mallopt(TRIM_THRESHOLD, KEPT)
            ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> Callable[[int, int], int] | None:
    """glibc's mallopt; None with another C library, or where the environment has chosen."""
    if any(name in os.environ for name in CHOSEN):
        return None
    try:
        found: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None
    return found
