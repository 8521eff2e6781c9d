"""Freed memory is kept for the next batch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from harness.checkpoint.memory import CHOSEN

# Pages that the system must give anew while the same 96 MiB are taken and given back ten times.
CYCLES = """
import resource, sys
import numpy as np
from harness.checkpoint.memory import keep_freed
print(keep_freed() if sys.argv[1] == "keep" else False)
def cycle():
    blocks = [np.empty(24 << 20, np.uint8) for _ in range(4)]
    for block in blocks:
        block.fill(1)
cycle()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    cycle()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **chosen: str) -> tuple[bool, int]:
    """Is memory kept, and page faults of ten cycles."""
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, how],
        env=clean | chosen, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_not_given_anew() -> None:
    kept, few = faults("keep")
    assert kept
    _, many = faults("leave")
    assert few * 10 < many


def test_the_environment_has_the_last_word() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
