"""Ranks the checkpoints of a track, and says which cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.contrasts import Contrast
from harness.analysis.entries import Entry
from harness.analysis.gains import Gain, from_draws
from harness.analysis.replicates import mean_score, over_seeds, runs_of
from harness.analysis.results import SUITES, Result, Value, mean_interval, mean_value
from harness.analysis.runs import Replicated
from harness.analysis.variants import recipe_of, training_seed
from harness.cards.catalogue import read_suites
from harness.statistics.outliers import Outlier, outliers
from harness.statistics.ranks import KnownTests, Place, tie_groups
from harness.statistics.resampling import RESAMPLES

SEED = 20_200_526  # of the sign flips: fixed, so that a board is the same every time
# A track that has retrieval and QA is ranked by this metric; the rest is shown beside.
HEADLINES: Mapping[str, str] = {"tuned": "f1"}
MANY = 64  # checkpoints beyond which fewer sign flips decide about ties


@dataclass(frozen=True, eq=False)
class Row:
    """A checkpoint in a track. ``rank`` is None where it is not ranked; ``why`` says so then.

    ``mean``: over the tasks of the standing, None unless all of them are there and clean; ``gain``:
    its difference to its base over these tasks, where the board has both.
    """

    entry: Entry
    tasks: Mapping[str, Result]
    mean: Value | None
    rank: int | None
    why: str
    gain: Gain | None = None


@dataclass(frozen=True, eq=False)
class Standing:
    """The ranking of one track: ``tasks`` are those that its mean is over, all of one metric.

    ``beside``: tasks that are shown but not averaged. Rows of equal rank cannot be separated from
    the first of them.
    """

    track: str
    metric: str
    tasks: tuple[str, ...]
    beside: tuple[str, ...]
    rows: tuple[Row, ...]


def standing(
    track: str,
    entries: Sequence[Entry],
    contrasts: Sequence[Contrast] = (),
    gains: Sequence[Gain] = (),
) -> Standing | None:
    """Return the ranking of a track; None where nothing was measured in it whole.

    The mean is over every task of the suite that some checkpoint has whole; a checkpoint without
    one of them is not ranked, and its row says what is missing. Two checkpoints whose difference
    has a verdict (a named contrast, a checkpoint against its base) are told apart by its p alone.
    """
    found = {
        entry.slug: entry.tasks(track)
        for entry in entries
        if any(one.tasks(track) for one in (entry, *entry.members))
    }
    metrics = {task: r.metric for tasks in found.values() for task, r in tasks.items()}
    if not metrics:
        return None
    order = [task for task in _suite_order() if task in metrics]
    order += sorted(set(metrics) - set(order))
    # recall@10 or F1 of answers: mining's F1 is another quantity and is shown beside.
    basis, metric = _basis(metrics, HEADLINES.get(track))
    against_base = {
        gain.entry.slug: gain
        for gain in gains
        if gain.track == track and set(gain.tasks) == set(basis)
    }
    members = [entry for entry in entries if entry.slug in found]
    reasons = {entry.slug: _why(entry, track, basis) for entry in members}
    ranked = [entry for entry in members if not reasons[entry.slug]]
    tests = _tests((track, metric, tuple(basis)), ranked, contrasts, against_base)
    by_slug = {entry.slug: entry for entry in ranked}
    rows = [
        Row(
            by_slug[place.name],
            found[place.name],
            _mean([found[place.name][task] for task in basis]),
            place.rank,
            "",
            against_base.get(place.name),
        )
        for place in _places([(entry, found[entry.slug]) for entry in ranked], basis, tests)
    ]
    rows += [
        Row(entry, found[entry.slug], None, None, reasons[entry.slug])
        for entry in members
        if reasons[entry.slug]
    ]
    beside = tuple(task for task in order if task not in basis)
    return Standing(track, metric, tuple(basis), beside, tuple(rows))


def _mean(results: Sequence[Result]) -> Value:
    """Return the mean over tasks, each of which has a mean over its languages."""
    draws = sum((one.macro_draws for one in results[1:]), results[0].macro_draws) / len(results)
    values = [result.macro for result in results if result.macro is not None]
    return mean_value(values, mean_interval(draws, results))


@dataclass(frozen=True, eq=False)
class _Tests:
    """What is known of the differences between the checkpoints of a track, over some tasks.

    ``verdicts``: pairs of slugs → the p-value that decides the verdict on them.
    """

    track: str
    tasks: tuple[str, ...]
    entries: Mapping[str, Entry]
    verdicts: Mapping[frozenset[str], float | None]

    def _results(self, entry: Entry) -> Mapping[str, Result]:
        return entry.tasks(self.track)

    def verdict(self, one: str, other: str) -> float | None:
        return self.verdicts.get(frozenset((one, other)))

    def p(self, one: str, other: str) -> float | None:
        """Return p of the verdict, else over seeds and items where one is a recipe with enough."""
        if (pair := frozenset((one, other))) in self.verdicts:
            return self.verdicts[pair]
        entries = [self.entries[slug] for slug in (one, other)]
        if not any(entry.members for entry in entries):
            return None
        a, b = (
            Replicated(
                tuple(runs_of(entry, entry.base or entry.slug, self.tasks, self._results)),
                # A checkpoint with frozen vectors is fixed, unless it is one seed of a recipe.
                self.track == "frozen" and not entry.members and recipe_of(entry) is None,
            )
            for entry in entries
        )
        mine, theirs = map(self._results, entries)
        columns = [(task, lang) for task in self.tasks for lang in mine[task].values]
        _, test = over_seeds(from_draws(mine, theirs, self.tasks), mean_score(columns), a, b)
        return None if test is None else test.p


def _tests(
    standing: tuple[str, str, tuple[str, ...]],
    entries: Sequence[Entry],
    contrasts: Sequence[Contrast],
    gains: Mapping[str, Gain],
) -> _Tests:
    """Collect the tests.

    ``standing``: track, metric and tasks; ``gains``: by slug, over these tasks.
    """
    track, metric, tasks = standing
    verdicts = {
        frozenset((slug, gain.base.slug)): gain.verdict.decisive_p for slug, gain in gains.items()
    }
    slugs = {frozenset(m.slug for m in entry.members or (entry,)): entry.slug for entry in entries}
    for one in contrasts:
        a, b = (slugs.get(frozenset(side)) for side in (one.a, one.b))
        same = (one.track, one.metric) == (track, metric) and one.tasks == set(tasks)
        if one.confirmatory and same and a is not None and b is not None:
            verdicts[frozenset((a, b))] = one.verdict.decisive_p
    return _Tests(track, tasks, {entry.slug: entry for entry in entries}, verdicts)


def _places(
    ranked: Sequence[tuple[Entry, Mapping[str, Result]]], basis: Sequence[str], tests: _Tests
) -> list[Place]:
    """Return the ranks by the tests that there are, else by sign flips of whole clusters, each
    against the leader of the group above.
    """
    if not ranked:
        return []
    every = [tasks[t].parts.values() for _, tasks in ranked for t in basis]
    # Checkpoints that were measured on the same examples share their clusters.
    distinct = {clusters.tobytes(): clusters for parts in every for clusters, _ in parts}
    keys = np.unique(np.concatenate(list(distinct.values())))
    places = {raw: np.searchsorted(keys, clusters) for raw, clusters in distinct.items()}
    profiles = np.zeros((len(ranked), len(keys)))
    for profile, (_, tasks) in zip(profiles, ranked, strict=True):
        for task in basis:
            share = 1 / (len(tasks[task].parts) * len(basis))
            for clusters, parts in tasks[task].parts.values():
                profile[places[clusters.tobytes()]] += parts * share
    profiles = np.ascontiguousarray(profiles.T)
    resamples = RESAMPLES if len(ranked) <= MANY else RESAMPLES // 5
    names = [entry.slug for entry, _ in ranked]
    known = KnownTests(tests.verdict, tests.p)
    return tie_groups(names, profiles, np.random.default_rng(SEED), resamples, known=known)


def gate(standing: Standing) -> dict[str, list[Outlier]]:
    """Return task → scores far below what the other languages and checkpoints predict."""
    found: dict[str, list[Outlier]] = {}
    for task in (*standing.tasks, *standing.beside):
        rows = [row for row in standing.rows if task in row.tasks]
        langs = list(rows[0].tasks[task].values)
        scores = np.array([[row.tasks[task].values[lang].value for lang in langs] for row in rows])
        if flagged := outliers([row.entry.slug for row in rows], langs, scores):
            found[task] = flagged
    return found


def _suite_order() -> list[str]:
    suites = read_suites()
    return list(dict.fromkeys(e.task for suite in SUITES for e in suites.get(suite, ())))


def _basis(metrics: dict[str, str], headline: str | None) -> tuple[list[str], str]:
    """Return the tasks that are averaged: those of the first suite that was measured, of one
    metric.

    It is ``headline`` where there is one and some task has it, else that of the suite's first task.
    """
    suites = read_suites()
    for suite in SUITES:
        inside = [entry.task for entry in suites.get(suite, ()) if entry.task in metrics]
        if inside:
            there = [metrics[task] for task in inside]
            metric = headline if headline in there else there[0]
            return [task for task in inside if metrics[task] == metric], metric
    first = min(metrics)  # a task in none of these suites
    return [first], metrics[first]


def _why(entry: Entry, track: str, basis: Sequence[str]) -> str:
    tasks = entry.tasks(track)
    missing = [_missing(entry, track, task) for task in basis if task not in tasks]
    seen = [task for task in basis if task in tasks and tasks[task].contaminated]
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    if seen:
        parts.append(f"contaminated: {', '.join(seen)}")
    return "; ".join(parts)


def _missing(entry: Entry, track: str, task: str) -> str:
    """Return a missing task, with the seeds that it is missing of where others have it."""
    lacking = [one for one in entry.members if task not in one.tasks(track)]
    if len(lacking) == len(entry.members):
        return task
    seeds = [one.slug if (seed := training_seed(one)) is None else str(seed) for one in lacking]
    return f"{task} of seed{'s' * (len(seeds) > 1)} {' '.join(seeds)}"
