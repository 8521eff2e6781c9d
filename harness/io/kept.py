"""Keeps what was computed, in a cache that may be damaged, read-only or full: only time is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from harness.io.files import replacing

Computed = TypeVar("Computed")


def read_kept(path: Path, read: Callable[[Path], Computed]) -> Computed | None:
    """Return what ``read`` makes of a file; None where there is none, or a damaged one, which is
    removed.
    """
    try:
        return read(path)
    except Exception:  # whatever is wrong with it, it can be computed again
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a new file for later, where that is possible."""
    with suppress(OSError), replacing(path) as partial:
        write(partial)


def keep_text(path: Path, text: str) -> None:
    """Write a new file of text for later, where that is possible."""
    keep(path, lambda partial: partial.write_text(text, encoding="utf-8"))
