"""The console on which commands print, and how they write numbers and tables for people."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

NARROWEST = 80  # columns


def plain_table(*columns: str, right: Collection[str] = ()) -> Table:
    """Make a table without lines; the columns that ``right`` names are aligned right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def percent(value: float | None) -> str:
    """Write a value in [0, 1] in percent, with one decimal; None is a dash."""
    return "—" if value is None else f"{100 * value:.1f}"


def counted(number: int, what: str) -> str:
    """Write a number with its noun: ``1 language``, ``41 languages``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def megabytes(size: int) -> str:
    """Write a size in bytes as megabytes."""
    return f"{size / 1e6:,.1f} MB" if size else "size unknown"


def duration(seconds: float) -> str:
    """Write a duration that is an estimate: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def stdout() -> Console:
    """Return the console for data, which is wide enough for rows where it is not a terminal.

    On a terminal of fewer columns than `NARROWEST` the lines wrap: a table made to fit would lose
    digits and names.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.width = max(console.width, NARROWEST)
    return console
