"""The software and the processor that a number was measured with."""

from __future__ import annotations

import platform
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.version import __version__

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow")


@cache
def libraries() -> dict[str, str]:
    """The versions of the libraries that a number may depend on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def harness_version() -> dict[str, str]:
    """The version of xharness, and the commit where it runs from a checkout."""
    root = Path(__file__).parents[2]
    commit = ""
    if (root / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        commit = done.stdout.strip()
    return {"version": __version__, "commit": commit}


def processor() -> dict[str, Any]:
    """What decides in which order sums are made, and so the last bits of trained weights: whose
    processor it is, the instructions that torch uses there, and the threads.
    """
    import torch

    info = Path("/proc/cpuinfo")
    said = info.read_text("utf-8") if info.exists() else ""
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)", said, re.MULTILINE)
    return {
        "vendor": vendor[1] if vendor else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
