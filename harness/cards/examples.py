"""What the examples of a task are, pinned: of every unit their number and a digest over them.

`tasks/target/examples.tsv` has a line per task, split and unit whose data is known, with the number
of candidates in the unit's language where all languages share one pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from harness.cards.languages import task_root
from harness.errors import DataError

HEADER = ("task", "split", "unit", "examples", "candidates", "sha256")


class Pin(NamedTuple):
    """``examples``: their number. ``digest``: see `digest`. ``candidates``: None without a pool."""

    examples: int
    candidates: int | None
    digest: str


def digest(examples: Iterable[str]) -> str:
    """First 32 hex digits of a sha256 over what every run has of a unit's examples, in any order.

    ``examples``: a line each: its id and what the data decides of it (the number of relevant
    candidates, the cluster), with tabs between them.
    """
    return sha256("\n".join(sorted(examples)).encode()).hexdigest()[:32]


@cache
def read_pins() -> dict[tuple[str, str, str], Pin]:
    """(task, split, unit) → its pin. DataError for a file that is damaged."""
    name = "tasks/target/examples.tsv"
    text = (task_root() / "target" / "examples.tsv").read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines()]
    if not lines or tuple(lines[0]) != HEADER or any(len(line) != len(HEADER) for line in lines):
        raise DataError(f"{name}: not {len(HEADER)} fields between tabs: install xharness again")
    return {
        (task, split, unit): Pin(int(count), int(pool) if pool else None, own)
        for task, split, unit, count, pool, own in lines[1:]
    }
