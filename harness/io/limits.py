"""Limits that a process gives itself, for good."""

from __future__ import annotations

import sys
from pathlib import Path


def bound(memory: int, seconds: int, file_size: int) -> str:
    """Limits of this process: bytes of memory beyond what it has, CPU seconds, bytes of a file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    status = Path("/proc/self/statm")
    if sys.platform != "linux" or not status.is_file():
        return "memory not bounded on this system"
    now = int(status.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    return f"{memory / 2**30:.1f} GiB of memory"
