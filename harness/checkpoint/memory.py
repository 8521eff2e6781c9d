"""Decides what the C library does with the memory that a model frees between two layers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# glibc's <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
MAPPED = 1 << 16  # glibc's default for MMAP_MAX
KEPT = 1 << 30  # the most bytes of freed memory that stay with the process
LARGEST = 32 << 20  # bytes, the largest value that glibc accepts
CHOSEN = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "GLIBC_TUNABLES",
)


def keep_freed() -> bool:
    """Keep freed memory for the next batch; return whether the C library does so.

    A forward pass frees tens of MiB with every layer. glibc gives them back to the system, which
    must clear and map every page again for the next layer. That takes some 5 % of the time of a
    small encoder (see benchmarks/). With this call up to 1 GiB stays with the process. Blocks of
    32 MiB and more, such as weights, are still given back at once. The call does nothing with
    another C library, and where a variable of the environment sets one of these options.
    """
    mallopt = _mallopt()
    return bool(mallopt and mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))


@contextmanager
def keep_all_freed() -> Iterator[bool]:
    """Keep freed memory of any size within the block; yield whether the C library does so.

    A training step takes and frees the same gibibytes as the step before, many of them in blocks of
    more than 32 MiB. Mapping their pages again takes a quarter of the time of a step on a virtual
    machine. At the end of the block the memory is given back.
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
    """Return glibc's mallopt, or None where it is not there or the environment sets an option."""
    if any(name in os.environ for name in CHOSEN):
        return None
    try:
        found: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None
    return found
