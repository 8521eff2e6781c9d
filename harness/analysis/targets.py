"""Defines the targets of the paper's table, and finds what a checkpoint has there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def measured(entry: Entry) -> dict[Target, Result]:
    """Return target → a checkpoint's result on it, the mean over seeds; of a variant, over its
    members.
    """
    if entry.members:
        each = [measured(one) for one in entry.members]
        return {
            target: seed_mean([one[target] for one in each])
            for target in each[0]
            if all(target in one for one in each)
        }
    comparable = (
        result
        for result in entry.results
        if not result.missing and all(note.startswith(COMPARABLE) for note in result.notes)
    )
    return seed_means(comparable, lambda one: Target(one.task, one.track, "; ".join(one.notes)))


def having(entry: Entry, targets: Sequence[Target]) -> Entry | None:
    """Return a checkpoint that has all the targets: of a variant, its members that have them.

    None where it does not have them, or no member does.
    """
    if not entry.members:
        return entry if set(targets) <= measured(entry).keys() else None
    members = tuple(one for one in entry.members if having(one, targets) is not None)
    return replace(entry, members=members) if members else None


def results_at(targets: Sequence[Target]) -> Callable[[Entry], Mapping[str, Result]]:
    """Return a checkpoint's results on some targets, by their labels."""

    def results_of(entry: Entry) -> Mapping[str, Result]:
        found = measured(entry)
        return {target.label: found[target] for target in targets}

    return results_of
