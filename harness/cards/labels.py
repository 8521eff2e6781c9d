"""Says when two names stand for one label."""

from __future__ import annotations

from collections.abc import Sequence


def folded(label: str) -> str:
    """Return a label as the names of a head's outputs are matched: without case and outer space."""
    return label.strip().casefold()


def repeated(labels: Sequence[str]) -> tuple[int, str] | None:
    """Return the place of the first label that repeats an earlier one, and what is wrong in words.

    It is None where every label can be told from the others.
    """
    names = [folded(label) for label in labels]
    for place, name in enumerate(names):
        first = names.index(name)
        if first < place:
            problem = f"{labels[place]} repeats {labels[first]}: labels differ in more than case"
            return place, problem
    return None
