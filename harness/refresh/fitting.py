"""Whether a checkpoint fits this machine, said before it is downloaded or loaded."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BYTES = 4  # a value in float32, which is what ranked results are measured in
# Peak memory on a CPU was 1.75 GB for 1.16 GB of weights (304 M parameters, demo sentence pairs)
# and 0.9 GB for 0.09 GB (MiniLM, LAReQA's whole pool): weights once, and some 0.8 GB. The rest is
# room for wider vectors, larger batches and pools.
SPARE = 2 << 30
COPIES = 1.25


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
