"""Compares every variant with its base, by the test of `compare` and the named contrasts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.analysis.chance import columns_at_chance
from harness.analysis.contrasts import Contrast, family_contrast
from harness.analysis.differences import Difference, TwoSides, differ_each
from harness.analysis.draws import one_interval
from harness.analysis.entries import TRACKS, Entry
from harness.analysis.replicates import (
    evidence_of,
    mean_score,
    over_replicates,
    over_seeds,
    runs_of,
)
from harness.analysis.results import Result
from harness.analysis.runs import Replicated
from harness.statistics.contrast import Estimate
from harness.statistics.multiplicity import benjamini_hochberg
from harness.statistics.verdict import DELTAS, Adjusted, Verdict, judge

# With more variants than this the differences come from the draws that all checkpoints share.
RESAMPLED = 32


@dataclass(frozen=True, eq=False)
class Gain:
    """A variant's difference to its base over the tasks that both have whole and clean.

    ``verdict``: Holm's where the difference is one of the named contrasts, else exploratory, by
    Benjamini and Hochberg over the other variants of the same track and tasks. ``difference``: with
    its languages; None on a board of more than `RESAMPLED` variants.
    """

    entry: Entry
    base: Entry
    track: str
    metric: str
    tasks: tuple[str, ...]
    verdict: Verdict
    difference: Difference | None = None

    @property
    def label(self) -> str:
        """What the difference is of, in words."""
        return f"{self.metric} of {', '.join(self.tasks)}"


def widest(found: Iterable[Gain], track: str, tasks: Collection[str]) -> dict[str, Gain]:
    """Return slug → a checkpoint's difference to its base over as many of some tasks as there
    are.
    """
    best: dict[str, Gain] = {}
    for gain in found:
        before = best.get(gain.entry.slug)
        fits = gain.track == track and set(gain.tasks) <= set(tasks)
        if fits and (before is None or len(gain.tasks) > len(before.tasks)):
            best[gain.entry.slug] = gain
    return best


@dataclass(frozen=True, eq=False)
class Source:
    """Where differences come from: named contrasts, outcomes and kept differences.

    ``results`` is None where there are too many variants to resample each of them.
    """

    contrasts: Sequence[Contrast]
    results: Path | None
    kept: Path | None


def gains(
    shown: Sequence[Entry],
    entries: Sequence[Entry],
    contrasts: Sequence[Contrast],
    results: Path,
    kept: Path | None = None,
) -> list[Gain]:
    """Return the gains of every variant ``shown`` whose base is on the board, largest first by
    track.

    A line for each task, and for their mean where there are several. ``results``, ``kept``: as for
    `differ`.
    """
    by_slug = {entry.slug: entry for entry in entries}
    variants = [entry for entry in shown if entry.base is not None and entry.results]
    source = Source(contrasts, results if len(variants) <= RESAMPLED else None, kept)
    found: list[Gain] = []
    for track in TRACKS:
        asked = [
            one for entry in variants for one in _asked(entry, by_slug[str(entry.base)], track)
        ]
        named = [_named(one, track, contrasts) for one in asked]
        own = iter(
            against_base([one for one, c in zip(asked, named, strict=True) if not c], source)
        )
        of_track = [
            Gain(
                one.entry,
                one.base,
                track,
                one.metric,
                tuple(one.tasks),
                *((contrast.verdict, contrast.difference) if contrast else next(own)),
            )
            for one, contrast in zip(asked, named, strict=True)
        ]
        found += sorted(
            of_track,
            key=lambda g: (-len(g.tasks), g.tasks, -(g.verdict.estimate or 0.0), g.entry.slug),
        )
    return adjusted(found)


class AgainstBase(NamedTuple):
    """A checkpoint to compare with its base over some tasks, all of one metric.

    ``results_of``: the results of a checkpoint by task.
    """

    entry: Entry
    base: Entry
    tasks: Sequence[str]
    results_of: Callable[[Entry], Mapping[str, Result]]

    @property
    def metric(self) -> str:
        """The metric of the tasks."""
        return self.results_of(self.entry)[self.tasks[0]].metric


def _asked(entry: Entry, base: Entry, track: str) -> list[AgainstBase]:
    mine, theirs = _clean(entry, track), _clean(base, track)
    metrics = dict.fromkeys(r.metric for task, r in mine.items() if task in theirs)
    found: list[AgainstBase] = []
    for metric in metrics:
        tasks = [t for t, r in mine.items() if t in theirs and r.metric == metric]
        groups = [tasks, *([task] for task in tasks if len(tasks) > 1)]
        found += [AgainstBase(entry, base, group, lambda one: one.tasks(track)) for group in groups]
    return found


def _named(one: AgainstBase, track: str, contrasts: Sequence[Contrast]) -> Contrast | None:
    """Return the named contrast that a checkpoint less its base is, if it is one."""
    slugs = [member.slug for member in one.entry.members] or [one.entry.slug]
    return family_contrast(contrasts, (track, one.metric), slugs, [one.base.slug], one.tasks)


def against_base(
    asked: Sequence[AgainstBase], source: Source
) -> list[tuple[Verdict, Difference | None]]:
    """Return the unadjusted verdicts on checkpoints less their bases, and the differences with
    their languages.
    """
    every = [sides(*one) for one in asked]
    results = source.results
    paired = [results is not None and of.can_be_paired for of in every]
    differences: Iterator[Difference] = iter(())
    if results is not None:
        chosen = [of for of, yes in zip(every, paired, strict=True) if yes]
        differences = iter(differ_each(chosen, results, source.kept))
    found: list[tuple[Verdict, Difference | None]] = []
    for one, of, resampled in zip(asked, every, paired, strict=True):
        if resampled:
            difference, _ = over_replicates(next(differences), of.a, of.b)
            found.append((difference.verdict(), difference))
        else:
            mine, theirs = one.results_of(one.entry), one.results_of(one.base)
            found.append((mean_verdict(mine, theirs, one.tasks, of), None))
    return found


def sides(
    entry: Entry,
    base: Entry,
    tasks: Sequence[str],
    results_of: Callable[[Entry], Mapping[str, Result]],
) -> TwoSides:
    """Return the runs of a checkpoint and of its base."""
    a = Replicated(tuple(runs_of(entry, base.slug, tasks, results_of)))
    of_base = tuple(runs_of(base, base.slug, tasks, results_of))
    # With frozen vectors nothing is drawn at random for the base.
    frozen = all(results_of(base)[task].track == "frozen" for task in tasks)
    return TwoSides(a, Replicated(of_base, fixed=frozen))


def mean_verdict(
    mine: Mapping[str, Result],
    theirs: Mapping[str, Result],
    tasks: Sequence[str],
    of: TwoSides,
) -> Verdict:
    """Return the unadjusted verdict on a mean difference over tasks, from the draws that all
    share.
    """
    columns = [(task, lang) for task in tasks for lang in mine[task].values]
    estimate, test = over_seeds(from_draws(mine, theirs, tasks), mean_score(columns), of.a, of.b)
    metrics = {mine[task].metric for task in tasks}
    return judge(
        estimate,
        evidence_of(of.a, of.b, test),
        delta=DELTAS.get(metrics.pop()) if len(metrics) == 1 else None,
        columns=len(columns),
        at_chance=len(columns_at_chance([run.results for run in of.runs])),
    )


def adjusted(found: Sequence[Gain]) -> list[Gain]:
    """Return the verdicts by Benjamini and Hochberg within a track and its tasks, but for those of
    Holm.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for place, gain in enumerate(found):
        if gain.verdict.adjusted.method == "none" and gain.verdict.p is not None:
            groups.setdefault((gain.track, gain.tasks), []).append(place)
    q: dict[int, Adjusted] = {}
    for places in groups.values():
        values = benjamini_hochberg([found[place].verdict.p or 0.0 for place in places])
        q |= {
            place: Adjusted("Benjamini–Hochberg", value, len(places))
            for place, value in zip(places, values, strict=True)
        }
    return [
        replace(gain, verdict=gain.verdict.within(q[place])) if place in q else gain
        for place, gain in enumerate(found)
    ]


def from_draws(
    mine: Mapping[str, Result], theirs: Mapping[str, Result], tasks: Sequence[str]
) -> Estimate:
    """Return the difference over items by the draws that all checkpoints share (`analysis.draws`).

    p is by the normal approximation; there is no simultaneous interval. Of a single parallel item
    there is no interval either, and p is 1.
    """
    drawn = np.mean([mine[t].macro_draws - theirs[t].macro_draws for t in tasks], axis=0)
    value = _mean(mine, tasks) - _mean(theirs, tasks)
    low, high = one_interval(drawn)
    spread = None if low is None else float(drawn.std(ddof=1))
    keys = [keys for task in tasks for keys, _ in theirs[task].parts.values()]
    return Estimate(
        difference=value,
        low=low,
        high=high,
        p=_normal_p(value, spread),
        resamples=len(drawn),
        variance=None if spread is None else spread**2,
        clusters=len(np.unique(np.concatenate(keys))),
        se=spread,
    )


def _normal_p(value: float, spread: float | None) -> float:
    """Return the two-sided p of a difference; 1 where its spread is not known."""
    if spread is None:
        return 1.0
    return erfc(abs(value) / spread / sqrt(2)) if spread > 0 else float(value == 0)


def _mean(results: Mapping[str, Result], tasks: Sequence[str]) -> float:
    values = [macro.value for task in tasks if (macro := results[task].macro) is not None]
    return sum(values) / len(values)


def _clean(entry: Entry, track: str) -> dict[str, Result]:
    return {task: r for task, r in entry.tasks(track).items() if r.rankable}
