"""Every variant against its base, from the shared draws: cheap enough for any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np

from harness.analysis.draws import interval
from harness.analysis.entries import TRACKS, Entry, Floats, Result
from harness.analysis.variants import training_seed
from harness.statistics.hierarchy import Hierarchical, Replicate, Side, hierarchical
from harness.statistics.multiplicity import benjamini_hochberg


@dataclass(frozen=True, eq=False)
class Gain:
    """A variant's difference to its base over the tasks that both have whole and clean.

    ``q``: p adjusted by Benjamini and Hochberg over all gains of the board. With enough seeds the
    interval and p are of a t test over seeds and items (`hierarchy`); else they are of the draws
    alone (p by the normal approximation), about this one checkpoint. Exploratory: the named
    contrasts have tests of their own.
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


def gains(shown: Sequence[Entry], entries: Sequence[Entry]) -> list[Gain]:
    """The gains of every variant ``shown`` whose base is on the board, largest first by track.

    A line for each task, and for their mean where there are several.
    """
    by_slug = {entry.slug: entry for entry in entries}
    found: list[Gain] = []
    for track in TRACKS:
        of_track = [
            gain
            for entry in shown
            if entry.base is not None
            for gain in _gains(entry, by_slug[entry.base], track)
        ]
        found += sorted(
            of_track, key=lambda g: (-len(g.tasks), g.tasks, -g.difference, g.entry.slug)
        )
    adjusted = benjamini_hochberg([gain.q for gain in found])
    return [replace(gain, q=q) for gain, q in zip(found, adjusted, strict=True)]


def _gains(entry: Entry, base: Entry, track: str) -> list[Gain]:
    mine, theirs = _clean(entry, track), _clean(base, track)
    metrics = dict.fromkeys(r.metric for task, r in mine.items() if task in theirs)
    found = []
    for metric in metrics:
        tasks = [t for t, r in mine.items() if t in theirs and r.metric == metric]
        groups = [tasks, *([task] for task in tasks if len(tasks) > 1)]
        found += [_gain(entry, base, track, metric, group) for group in groups]
    return found


def _gain(entry: Entry, base: Entry, track: str, metric: str, tasks: Sequence[str]) -> Gain:
    mine, theirs = _clean(entry, track), _clean(base, track)
    drawn = np.mean([mine[t].macro_draws - theirs[t].macro_draws for t in tasks], axis=0)
    value = _mean(mine, tasks) - _mean(theirs, tasks)
    over = _over_seeds(entry, base, track, tasks, drawn)
    if over is not None and over.p is not None:
        assert over.low is not None  # with p there is an interval
        assert over.high is not None
        low, high, p = over.low, over.high, over.p
    else:
        ends = interval(drawn)
        low, high = float(ends[0]), float(ends[1])
        spread = float(drawn.std(ddof=1))
        p = erfc(abs(value) / spread / sqrt(2)) if spread > 0 else float(value == 0)
    return Gain(entry, base, track, metric, tuple(tasks), value, low, high, p)


def _over_seeds(
    entry: Entry, base: Entry, track: str, tasks: Sequence[str], drawn: Floats
) -> Hierarchical | None:
    if not entry.members:
        return None
    runs = tuple(
        Replicate(entry.slug, base.slug, training_seed(member) or 0, _mean(found, tasks))
        for member in entry.members
        for found in [_clean(member, track)]
    )
    theirs = _clean(base, track)
    # With frozen vectors nothing is drawn at random for the base.
    fixed = Side((Replicate(base.slug, base.slug, 0, _mean(theirs, tasks)),), track == "frozen")
    keys = [keys for task in tasks for keys, _ in theirs[task].parts.values()]
    clusters = len(np.unique(np.concatenate(keys)))
    return hierarchical(Side(runs), fixed, float(drawn.var(ddof=1)), clusters)


def _mean(results: Mapping[str, Result], tasks: Sequence[str]) -> float:
    values = [macro.value for task in tasks if (macro := results[task].macro) is not None]
    return sum(values) / len(values)


def _clean(entry: Entry, track: str) -> dict[str, Result]:
    return {task: r for task, r in entry.tasks(track).items() if r.rankable}
