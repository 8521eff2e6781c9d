"""Chooses the results of a board that may be published.

They are complete, measured under the protocol, and not those of demo tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.analysis.entries import TRACKS, Entry
from harness.analysis.gather import RESULTS, Board
from harness.analysis.results import Result
from harness.errors import NotFoundError, UsageError
from harness.results.outcomes import read_meta


def choose(board: Board, names: Sequence[str]) -> list[Entry]:
    """Choose the checkpoints to publish: those that are named, or else all that can be.

    ``names``: ids, ``id@revision``, or slugs. An id stands for the revision that is submitted.

    Raises:
        NotFoundError: a name is not on the board.
        UsageError: a checkpoint that is named has no result that may be published, or a model
            would be published at several revisions.
    """
    if not names:
        return _one_each(entry for entry in _pinned(board.entries) if published(entry))
    chosen: dict[str, Entry] = {}
    for name in names:
        found = [entry for entry in board.entries if name in _names(entry)]
        if not found:
            raise NotFoundError(
                f"{name} is not on the board: see the checkpoints in leaderboard/README.md"
            )
        for entry in _pinned(found):
            if not published(entry):
                raise UsageError(f"{name} cannot be published: {_why_not(entry)}")
            chosen[entry.slug] = entry
    return _one_each(chosen.values())


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


def _pinned(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, but of a model with a submitted revision only that one."""
    pinned = {
        entry.slug: entry.model
        for entry in entries
        if entry.submission is not None and not entry.submission.pending and not is_local(entry)
    }
    models = set(pinned.values())
    return [entry for entry in entries if entry.slug in pinned or entry.model not in models]


def _one_each(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries; raise UsageError where two of them belong to one model repository.

    Its scores and its card's block say one revision: the second would overwrite the first.
    """
    found = list(entries)
    counts = Counter(entry.model for entry in found if not is_local(entry))
    for model, count in counts.items():
        if count > 1:
            known = ", ".join((one.revision or "")[:12] for one in found if one.model == model)
            raise UsageError(
                f"{model} would be published at {count} revisions ({known}): name one, as"
                f" {model}@revision"
            )
    return found


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
