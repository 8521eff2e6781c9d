"""Whether a checkpoint fits this machine, said before it is downloaded or loaded."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BYTES = 4  # a value in float32, which is what ranked results are measured in
# Measured with `xharness eval --suite retrieval`: libraries, data, vectors and batches.
SPARE = 2 << 30
# Weights are read beside the modules that they go into, a file at a time.
COPIES = 1.5


def memory_needed(parameters: int) -> int:
    """Bytes that an evaluation takes: an estimate, rather too much than too little."""
    return int(parameters * BYTES * COPIES) + SPARE


def memory() -> int | None:
    """Bytes of this machine, or of the container it runs in; None where it cannot be told."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (Path("/sys/fs/cgroup") / limit).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            found.append(int(text))
    return min(found, default=None)


def misfit(parameters: int, *, most: int | None, memory: int | None, about: bool = False) -> str:
    """Why a checkpoint is left out here, or nothing. ``about``: the count is an estimate."""
    count = f"{'about ' * about}{parameters / 1e6:,.0f} M parameters"
    if most is not None and parameters > most:
        return f"does not fit: {count}, more than --max-parameters {most:,}"
    needed = memory_needed(parameters)
    if memory is not None and needed > memory:
        return (
            f"does not fit: {count} need about {needed / 1e9:.0f} GB of memory, this machine has"
            f" {memory / 1e9:.0f} GB"
        )
    return ""
