"""Chooses the results of a board that may be published.

They are complete, measured under the protocol, and not those of demo tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.analysis.entries import TRACKS, Entry
from harness.analysis.gather import RESULTS, Board
from harness.analysis.results import Result
from harness.errors import NotFoundError, UsageError
from harness.results.outcomes import read_meta


def choose(board: Board, names: Sequence[str]) -> list[Entry]:
    """Choose the checkpoints to publish: those that are named, or else all that can be.

    ``names``: ids, ``id@revision``, or slugs.

    Raises:
        NotFoundError: a name is not on the board.
        UsageError: a checkpoint that is named has no result that may be published.
    """
    if not names:
        return [entry for entry in board.entries if published(entry)]
    chosen: dict[str, Entry] = {}
    for name in names:
        found = [entry for entry in board.entries if name in _names(entry)]
        if not found:
            raise NotFoundError(
                f"{name} is not on the board: see the checkpoints in leaderboard/README.md"
            )
        for entry in found:
            if not published(entry):
                raise UsageError(f"{name} cannot be published: {_why_not(entry)}")
            chosen[entry.slug] = entry
    return list(chosen.values())


def published(entry: Entry) -> list[Result]:
    """Return the results of a checkpoint that are published, each seed by itself."""
    return [one for _, result in headlines(entry) for one in (result.seeds or (result,))]


def headlines(entry: Entry) -> Iterator[tuple[str, Result]]:
    """Yield (track, result) of every task that counts, with its seeds together; no demo tasks."""
    for track in TRACKS:
        for result in entry.tasks(track).values():
            if not result.card.source.package:
                yield track, result


def is_local(entry: Entry) -> bool:
    """Return whether it was measured from a folder, and so belongs to no repository."""
    return (entry.revision or "").startswith("local:")


def finished(root: Path, result: Result) -> str:
    """Return when the last row was measured, in ISO 8601 and UTC."""
    seconds = max(
        timing["finished"]
        for one in result.seeds or (result,)
        for timing in read_meta(root / RESULTS / one.path)["timing"].values()
    )
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _names(entry: Entry) -> tuple[str, ...]:
    revision = entry.revision or ""
    return (
        entry.slug, entry.model, f"{entry.model}@{revision}", f"{entry.model}@{revision[:12]}"
    )  # fmt: skip


def _why_not(entry: Entry) -> str:
    if not entry.results:
        return "it is not measured: run `xharness refresh`"
    if all(result.card.source.package for result in entry.results):
        return "demo tasks are invented, only real ones are published"
    missing = next((one for one in entry.results if one.missing), None)
    if missing is not None:
        return f"{missing.task} lacks {' '.join(missing.missing)}: measure it whole"
    return f"{entry.results[0].task} is not ranked ({'; '.join(entry.results[0].notes)})"
