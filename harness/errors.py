"""One error tree; each class owns the exit code that the command ends with.

A message is one line: what is wrong, the value, and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from textwrap import shorten
from typing import Any


class HarnessError(Exception):
    """Base of every error that a user is meant to read.

    ``scores``: what could be measured all the same, where something was. ``also``: further errors
    of the same command, each a line of its own.
    """

    exit_code: int = 1
    scores: Any = None
    also: tuple[HarnessError, ...] = ()


class CheckFailed(HarnessError):
    """A check found differences."""

    exit_code = 1


class UsageError(HarnessError):
    """What was asked for does not make sense: an unknown name, an impossible option."""

    exit_code = 2


class NotFoundError(HarnessError):
    """The model, revision, run or file does not exist, or is gated."""

    exit_code = 3


class RefusedError(HarnessError):
    """The checkpoint is unsafe or broken."""

    exit_code = 4


class IncompleteError(HarnessError):
    """A planned task failed or its data is missing; what ran is kept."""

    exit_code = 5


class DataError(HarnessError):
    """Data does not match its checksum, schema or count."""

    exit_code = 6


KINDS: Mapping[int, type[HarnessError]] = {
    kind.exit_code: kind
    for kind in (CheckFailed, UsageError, NotFoundError, RefusedError, IncompleteError, DataError)
}  # what an error of another process is made of: its exit code and its message


def together(errors: Iterable[HarnessError], scores: Any = None) -> HarnessError:
    """The first error, with the others beside it and what there is in spite of them."""
    first, *others = (one for error in errors for one in (error, *error.also))
    first.also, first.scores = tuple(others), scores
    return first


def one_line(text: object, most: int = 500) -> str:
    """Text of others, to stand in a message: one line, and only what can be printed.

    Terminals and build logs obey what they are shown.
    """
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(printable.split())[:most]


def unknown_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not known, with the nearest known names."""
    names = list(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    matches = get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
    near = [lowered[match] for match in matches]
    some = shorten(", ".join(names), 160, placeholder=" …")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {some}"
    return UsageError(f"unknown {what} {one_line(name, 80)!r}: {hint}")


# What torch, its libraries and the system say, in errors that have no class of their own. "memory"
# alone would not do: an illegal memory access is no want of it.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or the device's."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in OUT_OF_MEMORY)
    )
