"""Data that lies in a folder: the user's `--data` in the official layout, or the package's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.formats import Key, LocalFile
from harness.data.layout import Fetched, Sourced, data_files
from harness.errors import DataError
from harness.io.files import verified


def find(card: Sourced, split: str, units: Sequence[str], folder: Path, route: str) -> Fetched:
    """The files under ``folder``; ``broken`` has those that differ from a known checksum."""
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
    return Fetched(route, files, digests, failures, broken)
