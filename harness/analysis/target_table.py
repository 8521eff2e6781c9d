"""Tabulates what each intermediate task did to each target task, and the best of them.

The table of Phang et al. 2020 (arXiv 2005.13013). Their figure for the best intermediate task of
each target is chosen and measured on the same data; here it stands beside one that is chosen on one
half of the items and measured on the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.best import Best, best_per_target
from harness.analysis.entries import Entry
from harness.analysis.gains import (
    RESAMPLED,
    AgainstBase,
    Gain,
    Source,
    adjusted,
    against_base,
    mean_verdict,
    sides,
)
from harness.analysis.results import Result
from harness.analysis.targets import Target, having, result_at, results_at, targets_of
from harness.cards.catalogue import PAPER, read_card, read_suites
from harness.cards.task import RETRIEVAL
from harness.statistics.verdict import Verdict

# Objective → the kinds of target, or the targets, that train the same thing.
SAME_KIND: Mapping[str, frozenset[str]] = {
    "extractive-qa": frozenset({"span_qa"}),
    "tagging": frozenset({"tagging"}),
    "commonsense": frozenset({"multiple_choice"}),
    "nli": frozenset({"xnli"}),
    "paraphrase": frozenset({"pawsx"}),
    "qa-dual-encoder": frozenset({"passages"}),
}


@dataclass(frozen=True, eq=False)
class Cell:
    """A variant less its base on one target.

    ``gain``: of the members that have the target. ``contaminated``: the variant or its base was
    trained on the target's data, so that the figure is shown and used nowhere; ``same``: it was
    trained for the target's own kind of task.
    """

    gain: Gain
    contaminated: bool
    same: bool


@dataclass(frozen=True, eq=False)
class Mean:
    """A variant less its base in the mean over a group of targets.

    ``entry``: the variant, of the members that have all of them. ``verdict`` is None where ``why``
    says why there is no mean.
    """

    entry: Entry
    verdict: Verdict | None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """An intermediate task, with a mean for each group of targets."""

    entry: Entry
    cells: Mapping[Target, Cell]
    means: tuple[Mean, ...]


@dataclass(frozen=True, eq=False)
class Group:
    """Targets whose rows the board ranks, or targets whose rows it never ranks.

    ``targets``: the columns, those that nobody measured too; ``basis``: those that the mean is
    over, one for each task of the paper's with a pair that is not contaminated; ``best``: the best
    intermediate task of each of these.
    """

    targets: tuple[Target, ...]
    basis: tuple[Target, ...]
    best: Best


@dataclass(frozen=True, eq=False)
class TargetTable:
    """The variants of one base by target tasks. ``level``: what the base scores."""

    base: Entry
    level: Mapping[Target, Result]
    groups: tuple[Group, ...]
    lines: tuple[Line, ...]


def target_tables(
    shown: Sequence[Entry],
    entries: Sequence[Entry],
    gains: Sequence[Gain],
    results: Path,
    kept: Path | None = None,
) -> tuple[TargetTable, ...]:
    """Return a table for every base with a measured variant. ``results``, ``kept``: as for
    `differ`.
    """
    by_slug = {entry.slug: entry for entry in entries}
    variants: dict[str, list[Entry]] = {}
    for entry in shown:
        if entry.base is None or not targets_of(by_slug[entry.base]):
            continue
        if any(targets_of(one) for one in entry.members or (entry,)):
            variants.setdefault(entry.base, []).append(entry)
    many = sum(map(len, variants.values())) > RESAMPLED
    source = Source((), None if many else results, kept)
    return tuple(
        _table(by_slug[slug], sorted(members, key=lambda one: one.title), gains, source)
        for slug, members in variants.items()
    )


def _table(
    base: Entry, variants: Sequence[Entry], gains: Sequence[Gain], source: Source
) -> TargetTable:
    level = {target: result_at(base, target) for target in targets_of(base)}
    cells: dict[str, dict[Target, Cell]] = {entry.slug: {} for entry in variants}
    for target in level:
        for cell in _column(base, variants, target, gains, source):
            cells[cell.gain.entry.slug][target] = cell
    found = {target for of_variant in cells.values() for target in of_variant}
    columns = _columns(found)
    ranked = tuple(target for target in columns if not target.apart)
    never_ranked = tuple(target for target in columns if target.apart)
    groups = tuple(
        _group(base, targets, cells, source)
        for targets in (ranked, never_ranked)
        if found.intersection(targets)
    )
    means = [_means(base, variants, cells, group.basis, gains) for group in groups]
    lines = tuple(
        Line(entry, cells[entry.slug], tuple(of_group[entry.slug] for of_group in means))
        for entry in variants
    )
    return TargetTable(base, level, groups, lines)


def _group(
    base: Entry,
    targets: tuple[Target, ...],
    cells: Mapping[str, Mapping[Target, Cell]],
    source: Source,
) -> Group:
    measured = [target for target in targets if any(target in own for own in cells.values())]
    clean: dict[Target, dict[str, Gain]] = {}
    for target in averaged(measured):
        usable = {
            slug: own[target].gain
            for slug, own in cells.items()
            if target in own and not own[target].contaminated
        }
        if usable:
            clean[target] = usable
    basis = _one_per_task(clean)
    best = best_per_target(base, {target: clean[target] for target in basis}, source)
    return Group(targets, basis, best)


def _one_per_task(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the first target of each task."""
    first: dict[str, Target] = {}
    for target in targets:
        first.setdefault(target.task, target)
    return tuple(first.values())


def _columns(found: Collection[Target]) -> tuple[Target, ...]:
    """Return the paper's targets in their order, where one of them was measured; then what else
    was.
    """
    paper, there = _paper_tasks(), {target.task for target in found}
    usual = [
        Target(task, "frozen" if read_card(task).kind in RETRIEVAL else "tuned")
        for task in (paper if there & paper.keys() else ())
    ]
    return tuple(dict.fromkeys([*usual, *sorted(found)]))


def averaged(columns: Sequence[Target]) -> Sequence[Target]:
    """Return the targets that a mean may be over: the paper's, where there are some.

    Other versions of their data (`xcopa_corrected`, `udpos_hub`) would count a target twice.
    """
    paper = _paper_tasks()
    return [target for target in columns if target.task in paper] or columns


def _paper_tasks() -> dict[str, None]:
    """Return the tasks of the paper's suites, in order."""
    suites = read_suites()
    return dict.fromkeys(one.task for name in PAPER for one in suites.get(name, ()))


def _column(
    base: Entry, variants: Sequence[Entry], target: Target, gains: Sequence[Gain], source: Source
) -> list[Cell]:
    """Return the variants that were measured on a target, with the board's own verdict where it has
    one.

    The other differences are adjusted over the column; those of contaminated pairs are not.
    """
    known = {
        gain.entry.slug: gain
        for gain in gains
        if not target.apart and (gain.track, gain.tasks) == (target.track, (target.task,))
    }
    parts = {entry.slug: part for entry in variants if (part := having(entry, [target]))}
    asked = [
        AgainstBase(part, base, [target.label], results_at([target]))
        for slug, part in parts.items()
        if slug not in known
    ]
    found: list[Gain] = []
    new: list[Gain] = []
    for one, (verdict, difference) in zip(asked, against_base(asked, source), strict=True):
        gain = Gain(one.entry, base, target.track, one.metric, (target.task,), verdict, difference)
        seen = _contaminated(base, result_at(one.entry, target), target)
        (found if seen else new).append(gain)
    gains_of = {gain.entry.slug: gain for gain in [*found, *adjusted(new)]} | known
    cells = []
    for slug, part in parts.items():
        mine = result_at(part, target)
        contaminated = _contaminated(base, mine, target)
        cells.append(Cell(gains_of[slug], contaminated, _same_kind(part, mine)))
    return cells


def _contaminated(base: Entry, mine: Result, target: Target) -> bool:
    return mine.contaminated or result_at(base, target).contaminated


def _same_kind(entry: Entry, mine: Result) -> bool:
    objective = entry.submission.objective if entry.submission is not None else "none"
    return bool(SAME_KIND.get(objective, frozenset()) & {mine.card.kind, mine.card.name})


def _means(
    base: Entry,
    variants: Sequence[Entry],
    cells: Mapping[str, Mapping[Target, Cell]],
    basis: Sequence[Target],
    gains: Sequence[Gain],
) -> dict[str, Mean]:
    """Return the mean of every variant over some targets, with the board's own verdict where it
    has one. The others are adjusted among themselves.
    """
    found = {entry.slug: _mean(base, entry, cells[entry.slug], basis, gains) for entry in variants}
    new = [
        Gain(mean.entry, base, basis[0].track, "mean", tuple(one.label for one in basis), verdict)
        for mean in found.values()
        if (verdict := mean.verdict) is not None
    ]
    return found | {
        gain.entry.slug: replace(found[gain.entry.slug], verdict=gain.verdict)
        for gain in adjusted(new)
    }


def _mean(
    base: Entry,
    entry: Entry,
    cells: Mapping[Target, Cell],
    basis: Sequence[Target],
    gains: Sequence[Gain],
) -> Mean:
    missing = [target.task for target in basis if target not in cells]
    seen = [target.task for target in basis if target in cells and cells[target].contaminated]
    parts = [f"{what}: {', '.join(tasks)}" for what, tasks in
             (("missing", missing), ("contaminated", seen)) if tasks]  # fmt: skip
    if parts or not basis:
        return Mean(entry, None, "; ".join(parts) or "no target without contamination")
    part = having(entry, basis)
    if part is None:
        return Mean(entry, None, "no seed has all of them")
    if len(basis) == 1:
        return Mean(part, cells[basis[0]].gain.verdict)
    for gain in gains:
        same = {Target(task, gain.track) for task in gain.tasks} == set(basis)
        if gain.entry.slug == entry.slug and same:
            return Mean(entry, gain.verdict)
    labels, results_of = [target.label for target in basis], results_at(basis)
    of = sides(part, base, labels, results_of)
    return Mean(part, mean_verdict(results_of(part), results_of(base), labels, of))
