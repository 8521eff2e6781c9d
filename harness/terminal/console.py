"""Where commands print, and how numbers are written for people."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def percent(value: float | None) -> str:
    """A value in [0, 1] in percent with one decimal."""
    return "—" if value is None else f"{100 * value:.1f}"


def counted(number: int, what: str) -> str:
    """Such as ``1 language``, ``41 languages``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def megabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size else "size unknown"


def duration(seconds: float) -> str:
    """Of what is only known about: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def stdout() -> Console:
    """The console for data: wide enough for whole rows where it is not a terminal."""
    return _Output(highlight=False, width=None if sys.stdout.isatty() else 160)


class _Output(Console):
    """A console whose reader may leave: the command goes on and ends with its own exit code."""

    def on_broken_pipe(self) -> None:
        """Print into nothing from now on (rich would end the program with 1)."""
        discard_stdout()


def discard_stdout() -> None:
    """Send what is still printed nowhere: the reader of a pipe has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
