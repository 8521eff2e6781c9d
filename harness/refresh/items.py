"""Decides what a refresh does about each submission; nothing is run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.refresh.fitting import Limits
from harness.refresh.handover import HOURS
from harness.refresh.measured import PendingUnits, Wanted, pending_units, still_holds, tried_with
from harness.refresh.replays import can_replay, doubtful
from harness.results.outcomes import OutcomeFile
from harness.submissions.attempts import Attempt, overdue
from harness.submissions.submission import Submission


@dataclass(frozen=True)
class Terms:
    """The settings that all submissions of a refresh share.

    ``wanted``: the tasks to measure. ``results``: the folder of the rows. ``anyway``: a submission
    is tried even where an earlier attempt failed for good.
    """

    wanted: Wanted
    results: Path
    limits: Limits
    anyway: bool


@dataclass(frozen=True)
class Item:
    """A submission and what is to be done about it.

    ``state``: ``measured``, ``to measure``, ``stale`` (to measure again), ``to replicate`` (others
    sent the rows), ``failed`` (it is not tried again) or ``pending`` (it is not tried here).
    ``reason``: why. ``pending``: what is left to measure. ``tried``: a digest of what an attempt
    depends on. ``before``: the last attempt, or None where that was under another harness, card or
    revision. ``replays``: file → task, of which a sample is to be measured again.
    """

    slug: str
    submission: Submission
    state: str
    reason: str
    pending: PendingUnits
    tried: str
    before: Attempt | None
    replays: Mapping[OutcomeFile, str]

    @property
    def due(self) -> bool:
        """Whether it is evaluated now."""
        return self.state in ("to measure", "stale", "to replicate")


def decide(slug: str, submission: Submission, before: Attempt | None, terms: Terms) -> Item:
    """Decide what is to be done about a submission; ``before``: the last attempt at it."""
    tried = tried_with(submission, terms.wanted)
    if not still_holds(before, submission, tried):
        before = None
    pending = pending_units(submission, terms.wanted, terms.results)
    if before is not None:
        kept = {task: units for task, units in pending.units.items() if task not in before.without}
        pending = replace(pending, units=kept)
    local = not can_replay(submission.model, submission.revision or "")
    # Rows of a task that lacks languages are not ranked yet. They are measured again once it is
    # complete.
    whole = {task: files for task, files in pending.done.items() if task not in pending.units}
    known = {} if local else doubtful(whole, terms.results)
    replays = {file: task for file, (task, one) in known.items() if terms.anyway or not one.reason}
    state, reason = _state(submission, pending, before, terms)
    if state == "measured" and known:
        if replays:
            state = "to replicate"
        else:
            differing = [f"{task}: {origin.reason}" for task, origin in known.values()]
            state, reason = "failed", "; ".join(differing)
    return Item(slug, submission, state, reason, pending, tried, before, replays)


def _state(
    submission: Submission, pending: PendingUnits, before: Attempt | None, terms: Terms
) -> tuple[str, str]:
    if not pending.units:
        return "measured", ""
    if not can_replay(submission.model, submission.revision or ""):
        why = "a local checkpoint: measure it with `xharness eval FOLDER` where it lies"
        return "pending", why
    if before is not None and not terms.anyway:
        if before.final and submission.revision is not None:
            return "failed", before.reason
        # Where only data was missing, this machine looks for it again, which costs little.
        elsewhere = not before.missing.keys() >= pending.units.keys()
        if elsewhere and before.job is not None:
            if overdue(before, HOURS):
                return "failed", f"no results within {HOURS} hours of its job: {before.job}"
            return "pending", before.reason
        if (
            elsewhere
            and before.parameters is not None
            and (why := terms.limits.misfit(before.parameters))
        ):
            return "pending", why
    if pending.stale:
        return "stale", f"card or protocol of {', '.join(pending.stale)} changed since"
    return "to measure", ""
