"""Defines the targets of the paper's table, and finds what a checkpoint has there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.analysis.entries import Entry
from harness.analysis.results import Result, seed_mean, seed_means

# Rows with these notes are whole and not ranked, and comparable with rows of the same notes.
COMPARABLE = ("split ", "target recipe ", "target data ", "dtype ")


class Target(NamedTuple):
    """A column: a task in a track; ``apart``: why its rows are not ranked, or nothing."""

    task: str
    track: str
    apart: str = ""

    @property
    def label(self) -> str:
        """The column's name, which no other one has."""
        return ", ".join([self.task, self.track, *([self.apart] if self.apart else [])])


def targets_of(entry: Entry) -> tuple[Target, ...]:
    """Return what a checkpoint was measured on, in the order of its results; of a variant, what
    every member was.
    """
    if entry.members:
        first, *others = (targets_of(one) for one in entry.members)
        return tuple(target for target in first if all(target in one for one in others))
    return tuple(dict.fromkeys(target for target, _ in _comparable(entry)))


def result_at(entry: Entry, target: Target) -> Result:
    """Return a checkpoint's result on one of its targets, the mean over seeds; of a variant, over
    its members.
    """
    if entry.members:
        return seed_mean([result_at(one, target) for one in entry.members])
    found = (result for own, result in _comparable(entry) if own == target)
    return seed_means(found, lambda _: target)[target]


def _comparable(entry: Entry) -> Iterator[tuple[Target, Result]]:
    for one in entry.results:
        if not one.missing and all(note.startswith(COMPARABLE) for note in one.notes):
            yield Target(one.task, one.track, "; ".join(one.notes)), one


def having(entry: Entry, targets: Collection[Target]) -> Entry | None:
    """Return a checkpoint that has all the targets: of a variant, its members that have them.

    None where it does not have them, or no member does.
    """
    if not entry.members:
        return entry if set(targets) <= set(targets_of(entry)) else None
    members = tuple(one for one in entry.members if having(one, targets) is not None)
    return replace(entry, members=members) if members else None


def results_at(targets: Sequence[Target]) -> Callable[[Entry], Mapping[str, Result]]:
    """Return a function from a checkpoint to its results on some targets, by their labels."""
    return lambda entry: {target.label: result_at(entry, target) for target in targets}
