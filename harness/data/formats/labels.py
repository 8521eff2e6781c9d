"""Finds the names of classes from what a file has in their place."""

from __future__ import annotations

from typing import Any

from harness.cards.task import TaskCard
from harness.data.formats.files import LocalFile, class_names
from harness.errors import DataError


def label_of(card: TaskCard, value: str, place: str) -> str:
    """Return the card's label for a value. Raises DataError for one that the card does not know."""
    label = card.label_names.get(value, value)
    if label not in card.labels:
        known = ", ".join((*card.label_names, *card.labels))
        shown = value[:40]
        raise DataError(
            f"{place}: label {shown!r} is not one of {known}: put the official file there"
        )
    return label


def names_of(card: TaskCard, split: str, file: LocalFile, column: str) -> list[str]:
    """Return what whole numbers in a Hub file stand for: as the file says it, else the card."""
    hub = card.source.splits[split].hub
    return class_names(file, column) or (hub.labels if hub else [])


def label_text(value: Any, names: list[str], place: str) -> str:
    """Return a value of a Hub row as text.

    Raises DataError for a number that stands for nothing.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{place}: label {value!r} is {type(value).__name__}, not a label")
    if not 0 <= value < len(names):
        raise DataError(f"{place}: label {value} stands for nothing: the file names {len(names)}")
    return names[value]
