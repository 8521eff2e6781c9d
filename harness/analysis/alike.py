"""Finds checkpoints that score alike in everything, which are probably one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.entries import Entry


@dataclass(frozen=True)
class Alike:
    """Checkpoints with the same score in every language, direction and metric of a task."""

    task: str
    entries: tuple[Entry, ...]


def alike(entries: Sequence[Entry]) -> tuple[Alike, ...]:
    """Return the checkpoints that score alike with frozen vectors, by task.

    Two encoders do not agree in every metric over hundreds of queries. So one may be a copy of the
    other under another name, or a base whose adapters were never merged into it, or they differ
    only above the layer that is read. They count as they are submitted, and the board names them.
    """
    found: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        for task, result in entry.tasks("frozen").items():
            table = result.folded.table
            values = table.column("value").to_pylist()
            if len(set(values)) > 1:  # else it finds everything, or nothing
                named = (table.column(name).to_pylist() for name in ("lang", "group", "metric"))
                found.setdefault((task, *zip(*named, values, strict=True)), []).append(entry)
    return tuple(Alike(str(task), tuple(own)) for (task, *_), own in found.items() if len(own) > 1)
