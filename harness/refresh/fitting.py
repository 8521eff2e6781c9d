"""Says whether a checkpoint fits this machine, before it is downloaded or loaded."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

BYTES = 4  # the size of a value in float32, in which ranked results are measured
# Peak memory on a CPU was 1.75 GB for 1.16 GB of weights (304 M parameters, demo sentence pairs)
# and 0.9 GB for 0.09 GB (MiniLM, LAReQA's whole pool). So the weights are in memory once, and some
# 0.8 GB are used besides. These two leave room for wider vectors, larger batches and pools.
SPARE = 2 << 30
COPIES = 1.25


def memory_needed(parameters: int) -> int:
    """Estimate the bytes that an evaluation takes; too many rather than too few."""
    return int(parameters * BYTES * COPIES) + SPARE


def memory() -> int | None:
    """Return the bytes of this machine, or of its container; None where they are not known."""
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


@dataclass(frozen=True)
class Limits:
    """The limits of a refresh on this machine.

    ``parameters``: the most that a checkpoint may have. ``minutes``: the time for the whole
    refresh. ``memory``: the machine's, in bytes. None means that there is no such limit.
    """

    parameters: int | None = None
    minutes: float | None = None
    memory: int | None = field(default_factory=memory)

    def misfit(self, parameters: int, *, about: bool = False) -> str:
        """Return why a checkpoint does not fit, or nothing. ``about``: the count is an estimate."""
        count = f"{'about ' * about}{parameters / 1e6:,.0f} M parameters"
        if self.parameters is not None and parameters > self.parameters:
            return f"does not fit: {count}, more than --max-parameters {self.parameters:,}"
        needed = memory_needed(parameters)
        if self.memory is not None and needed > self.memory:
            return (
                f"does not fit: {count} need about {needed / 1e9:.0f} GB of memory, this machine"
                f" has {self.memory / 1e9:.0f} GB"
            )
        return ""
