"""Measures stale rows again without losing them: the new ones lie elsewhere until they are whole.

Rows of another version of the protocols have the name that the new rows will have. A measurement
that fails, or that runs out of time, leaves them where they are, and goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from harness.inference.protocol import PROTOCOL_VERSION
from harness.results.outcomes import OutcomeFile
from harness.results.provenance import Origin, digest_of, name_of, note

Files = Mapping[str, Sequence[OutcomeFile]]  # by task


def waiting_room(results: Path, cache: Path) -> Path:
    """Return the folder where rows of these versions of the protocols wait until they are whole.

    It is in the cache, and not in the repository of the board, where others could send rows to it.
    """
    name = sha256(f"{results.resolve()} {PROTOCOL_VERSION}".encode()).hexdigest()[:12]
    return cache / "refresh" / name


def replace_rows(old: Files, new: Files, waiting: Path, results: Path) -> None:
    """Put the new files, which are whole, in the place of the old ones, as measured by us.

    ``old``: under ``results``. ``new``: under ``waiting``. An old file of a task that has no new
    one stays.

    Raises:
        IncompleteError: the disk is full, or the folder cannot be written.
    """
    for task in old.keys() & new.keys():
        places = [OutcomeFile(results / name_of(file, waiting)) for file in new[task]]
        for place, file in zip(places, new[task], strict=True):
            place.take(file.path)
            note(results, {name_of(place, results): Origin(digest=digest_of(place))})
            file.remove()
        for file in old[task]:
            if file not in places:
                file.remove()
