"""What of a board may be published: results that are whole, under the protocol, of real tasks."""

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
    """The checkpoints to publish: those named (id, id@revision or slug), else all that can be.

    Raises:
        NotFoundError: one that is named is not on the board.
        UsageError: one that is named has nothing that may be published, with the reason.
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
    """The results of a checkpoint that are published, by track and task; seeds are one by one."""
    return [
        one for _, result in headlines(entry) for one in (result.seeds or (result,))
    ]  # fmt: skip


def headlines(entry: Entry) -> Iterator[tuple[str, Result]]:
    """(track, result) of every task that counts, seeds together; demo tasks are none."""
    for track in TRACKS:
        for result in entry.tasks(track).values():
            if not result.card.source.package:
                yield track, result


def is_local(entry: Entry) -> bool:
    """Whether it was measured from a folder, so that there is no repository it belongs to."""
    return (entry.revision or "").startswith("local:")


def finished(root: Path, result: Result) -> str:
    """When the rows were measured, in ISO 8601 and UTC: the last language of the last seed."""
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
    return f"{entry.results[0].task} is listed apart ({'; '.join(entry.results[0].notes)})"
