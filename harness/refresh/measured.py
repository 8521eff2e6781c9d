"""Finds what of a submission has been measured, and what is left to measure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.cards.task import TaskCard
from harness.errors import DataError
from harness.inference.protocol import PROTOCOL_VERSION
from harness.io.strict_yaml import scan_file
from harness.kinds import KINDS
from harness.results.outcomes import OutcomeFile, find, read_meta
from harness.submissions.attempts import Attempt
from harness.submissions.submission import Submission
from harness.version import __version__

Wanted = Sequence[tuple[TaskCard, tuple[str, ...]]]  # cards and their units, as in a suite


@dataclass(frozen=True)
class PendingUnits:
    """What is left to measure of a submission.

    ``units``: task → the units that are left. ``stale``: tasks that were measured under another
    card or protocol. ``replaced``: task → old files, finished or not, whose places the new files
    will take. ``done``: task → the files that count.
    """

    units: Mapping[str, frozenset[str]]
    stale: tuple[str, ...]
    replaced: Mapping[str, Sequence[OutcomeFile]]
    done: Mapping[str, Sequence[OutcomeFile]]


def claimed_model(path: Path) -> str | None:
    """Return the model that a submission names, whatever else is wrong with it; None where that
    cannot be read.
    """
    try:
        value = scan_file(path).value
    except DataError:
        return None
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else None


def pending_units(submission: Submission, wanted: Wanted, results: Path) -> PendingUnits:
    """Find the units of the wanted tasks that have no outcomes of this revision and protocol."""
    done: dict[str, frozenset[str]] = {}
    counted: dict[str, list[OutcomeFile]] = {}
    old: set[str] = set()
    replaced: dict[str, list[OutcomeFile]] = {}
    cards = {card.name: card for card, _ in wanted}
    for file in _files(submission, results):
        merged = file.path.exists()
        meta = read_meta(file.path) if merged else file.meta()
        card = cards.get(meta["task"])
        if card is None or meta["revision"] != submission.revision:
            continue
        plain = not meta["custom"] and meta["limit"] is None and not meta["seed"]
        if not plain or meta["split"] != card.split or meta["track"] != track(card, submission):
            continue
        if meta["card_hash"] != card.hash:
            if merged:
                old.add(card.name)
        elif meta.get("protocol_version", 1) != PROTOCOL_VERSION:
            replaced.setdefault(card.name, []).append(file)
        elif merged:
            done[card.name] = frozenset(meta["languages"])
            counted.setdefault(card.name, []).append(file)
    units = {
        card.name: frozenset(units) - done.get(card.name, frozenset()) for card, units in wanted
    }
    return PendingUnits(
        {task: left for task, left in units.items() if left},
        tuple(task for task in cards if task in {*old, *replaced} and task not in done),
        {task: tuple(files) for task, files in replaced.items()},
        {task: tuple(files) for task, files in counted.items()},
    )


def track(card: TaskCard, submission: Submission) -> str:
    """Return the track of a task's outcomes under the protocol of the submission."""
    if KINDS[card.kind].needs != "encoder":
        return "own-head"
    return "frozen" if submission.protocol == "standard" else "native"


def tried_with(submission: Submission, wanted: Wanted) -> str:
    """Return a digest of everything besides the checkpoint that decides how an attempt ends."""
    parts = {
        "version": [__version__, PROTOCOL_VERSION],
        "protocol": submission.protocol,
        "cards": {card.name: card.hash for card, _ in wanted},
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def still_holds(attempt: Attempt | None, submission: Submission, tried: str) -> bool:
    """Return whether an attempt was at this submission, with the same harness and cards."""
    return (
        attempt is not None
        and attempt.model == submission.model
        and attempt.tried == tried
        and submission.revision in (None, attempt.revision)
    )


def _files(submission: Submission, results: Path) -> Iterable[OutcomeFile]:
    if submission.revision is None:
        return
    local = submission.revision.startswith("local:")
    name = "local__*" if local else submission.model.replace("/", "__")
    revision = submission.revision.removeprefix("local:")[:12]
    for folder in sorted(results.glob(f"{name}/{revision}")):
        yield from find(folder)
