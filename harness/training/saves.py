"""Keeps steps of a training on disk, so that a run that was killed goes on where it was.

The tables that a run adds a line to after a step are read here too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from harness.errors import DataError, IncompleteError, one_line

Row = TypeVar("Row")

DONE = "complete"  # This file is written last into a saved step, and says that the step is whole.
SAVES = 20  # A run saves about this many times, at equal distances in steps.
SAVE_SECONDS = 900.0  # A run whose steps are slow also saves when this time has passed.
SAVE_SHARE = 0.05  # Saving takes at most this share of the time of a run.
CHEAP_SECONDS = 0.5  # A save that takes no longer than this is made whatever its share is.


def last_saved(folder: Path) -> Path | None:
    """Return the folder of the newest saved step that is whole, or None where there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{DONE}")]
    return max(whole, key=step_of, default=None)


def step_of(saved: Path | None) -> int:
    """Return the number of a saved step, which its folder is named by; 0 for None."""
    return 0 if saved is None else int(saved.name.rpartition("-")[2])


def remove_partial(folder: Path) -> None:
    """Remove the steps that a killed process had begun to save."""
    for path in folder.glob("checkpoint-*"):
        if not (path / DONE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def logged(path: Path, parse: Callable[[Sequence[str]], Row]) -> list[Row]:
    """Return the rows of a table that a run adds to, below its header; none without the file.

    A last line without its end was torn when the run ended: it counts as not written.

    Raises:
        DataError: ``parse`` cannot read another line (ValueError).
    """
    whole = path.read_bytes().rpartition(b"\n")[0] if path.is_file() else b""
    rows = []
    for number, line in enumerate(whole.decode("utf-8", "replace").split("\n")[1:], start=2):
        try:
            rows.append(parse(line.split("\t")))
        except ValueError:
            raise DataError(
                f"{path}:{number}: {one_line(line, 60)!r} is damaged: remove {path.parent}, and "
                "the training starts again"
            ) from None
    return rows


def save_now(planned: bool, since: float, cost: float) -> bool:
    """Say whether a step is to be saved.

    ``planned``: whether the step is one of the SAVES steps at equal distances. ``since``: seconds
    since the last save. ``cost``: seconds that the last save took, 0 before the first one. A
    process that is killed loses SAVE_SECONDS of work at most, or ``cost`` / SAVE_SHARE seconds
    where that is more.
    """
    affordable = cost <= CHEAP_SECONDS or cost <= SAVE_SHARE * since
    return affordable and (planned or since > SAVE_SECONDS)


def save_whole(save: Callable[[], None], place: Path, number: int) -> None:
    """Save step ``number`` into the folder ``place``; a step that cannot be saved is removed."""
    try:
        save()
        (place / DONE).touch()
    except Exception as error:  # safetensors and torch have errors of their own for a full disk.
        shutil.rmtree(place, ignore_errors=True)
        kept = step_of(last_saved(place.parent))
        state = f"step {kept} is kept" if kept else "no step is saved yet"
        raise IncompleteError(
            f"step {number} cannot be saved to {place.parent} ({one_line(error, 160)}); {state}: "
            "free space and run the same command again"
        ) from error
