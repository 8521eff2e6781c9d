"""Finds data in a folder: the user's `--data` in the official layout, or the package's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.formats import Key, LocalFile
from harness.data.layout import Fetched, Sourced, data_files
from harness.errors import DataError
from harness.io.files import verified

LEVELS = 3  # of folders above the one that was given: no path of a layout is deeper


def _right_level(folder: Path, path: str) -> Path | None:
    """Return the folder above or just below the one that was given in which ``path`` is, if one
    is.
    """
    given = folder.absolute()
    below = sorted(child for child in given.iterdir() if child.is_dir())
    near = [*given.parents[:LEVELS], *below]
    return next((one for one in near if (one / path).is_file()), None)


def find(card: Sourced, split: str, units: Sequence[str], folder: Path, route: str) -> Fetched:
    """Return the files under ``folder``; ``broken`` has those that differ from a known checksum."""
    files: dict[Key, LocalFile] = {}
    digests: dict[str, str] = {}
    failures: dict[Key, str] = {}
    broken: dict[Key, str] = {}
    for piece in data_files(card, split, units):
        names = [name for name in (piece.path, piece.alternative) if name]
        name = next((name for name in names if (folder / name).is_file()), None)
        if name is not None:
            remedy = "put the official file there, or take it away"
            expected = piece.sha256 if name == piece.path else None
            if name not in digests:
                try:
                    digests[name] = verified(folder / name, name, expected, remedy)
                except DataError as error:
                    broken[piece.key] = str(error)
                    continue
            files[piece.key] = LocalFile(folder / name, name, mixed=name == piece.alternative)
        elif not piece.optional:
            failures[piece.key] = f"no {' or '.join(names)} under {folder}"
    remedy = "put it there"
    if failures and not files:
        first = next(piece for piece in data_files(card, split, units) if piece.key in failures)
        if (right := _right_level(folder, first.path)) is not None:
            remedy = f"{right} has it, give --data {right}"
    failures = {key: f"{why}: {remedy}" for key, why in failures.items()}
    return Fetched(route, files, digests, failures, broken)
