"""Freed memory is kept for the next batch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from harness.checkpoint.memory import CHOSEN

# Pages that the system must give anew while four blocks are taken and given back ten times.
CYCLES = """
import contextlib, resource, sys
import numpy as np
from harness.checkpoint.memory import keep_all_freed, keep_freed
how, size = sys.argv[1], int(sys.argv[2])
def cycle():
    blocks = [np.empty(size << 20, np.uint8) for _ in range(4)]
    for block in blocks:
        block.fill(1)
def faults():
    cycle()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        cycle()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if how == "keep all":
    with keep_all_freed() as kept:
        print(kept, faults(), end=" ")
else:
    print(keep_freed() if how == "keep" else False, faults(), end=" ")
print(faults())
"""


def faults(how: str, size: int = 24, **chosen: str) -> tuple[bool, int, int]:
    """Is memory kept, page faults of ten cycles, and of ten more when nothing is kept any longer.

    ``size``: of a block, in MiB.
    """
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, how, str(size)],
        env=clean | chosen, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, count, after = done.stdout.split()
    return kept == "True", int(count), int(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_not_given_anew() -> None:
    kept, few, _ = faults("keep")
    assert kept
    _, many, _ = faults("leave")
    assert few * 10 < many


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_of_blocks_of_any_size_are_kept_for_a_while() -> None:
    kept, few, after = faults("keep all", size=48)
    assert kept
    _, many, _ = faults("keep", size=48)
    assert few * 10 < many
    assert few * 10 < after


def test_the_environment_has_the_last_word() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
    assert faults("keep all", MALLOC_MMAP_MAX_="65536")[0] is False
