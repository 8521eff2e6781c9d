"""Every variant against its base, from the shared draws: cheap enough for any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np

from harness.board.draws import interval
from harness.board.entries import TRACKS, Entry, Result
from harness.multiplicity import benjamini_hochberg


@dataclass(frozen=True, eq=False)
class Gain:
    """A checkpoint's difference to its base over the tasks that both have whole and clean.

    ``q``: p by the normal approximation on the draws, adjusted by Benjamini and Hochberg over all
    gains of the board. Exploratory: the named contrasts have tests of their own.
    """

    entry: Entry
    base: Entry
    track: str
    metric: str
    tasks: tuple[str, ...]
    difference: float
    low: float
    high: float
    q: float

    @property
    def label(self) -> str:
        """What it is a difference of."""
        return f"{self.metric} of {', '.join(self.tasks)}"


def gains(entries: Sequence[Entry]) -> list[Gain]:
    """The gains of every checkpoint that has its base on the board, largest first by track."""
    by_slug = {entry.slug: entry for entry in entries}
    found: list[Gain] = []
    for track in TRACKS:
        of_track = [
            gain
            for entry in entries
            if entry.base is not None
            for gain in _gain(entry, by_slug[entry.base], track)
        ]
        found += sorted(of_track, key=lambda gain: (-gain.difference, gain.entry.slug))
    adjusted = benjamini_hochberg([gain.q for gain in found])
    return [replace(gain, q=q) for gain, q in zip(found, adjusted, strict=True)]


def _gain(entry: Entry, base: Entry, track: str) -> list[Gain]:
    mine, theirs = _clean(entry, track), _clean(base, track)
    metrics = dict.fromkeys(r.metric for task, r in mine.items() if task in theirs)
    found = []
    for metric in metrics:
        tasks = [t for t, r in mine.items() if t in theirs and r.metric == metric]
        value, drawn = 0.0, np.zeros(1)
        for task in tasks:
            a, b = mine[task], theirs[task]
            assert a.macro is not None  # clean results are whole
            assert b.macro is not None
            value += (a.macro.value - b.macro.value) / len(tasks)
            drawn = drawn + (a.macro_draws - b.macro_draws) / len(tasks)
        low, high = interval(drawn)
        spread = float(drawn.std(ddof=1))
        p = erfc(abs(value) / spread / sqrt(2)) if spread > 0 else float(value == 0)
        found.append(
            Gain(entry, base, track, metric, tuple(tasks), value, float(low), float(high), p)
        )
    return found


def _clean(entry: Entry, track: str) -> dict[str, Result]:
    return {task: r for task, r in entry.tasks(track).items() if r.rankable}
