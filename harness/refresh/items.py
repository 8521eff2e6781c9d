"""What is to be done about each submission: nothing has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.refresh.fitting import memory, misfit
from harness.refresh.handover import HOURS
from harness.refresh.measured import PendingUnits, Wanted, pending_units, still_holds, tried_with
from harness.refresh.replays import can_replay, doubtful
from harness.results.outcomes import OutcomeFile
from harness.submissions.attempts import Attempt, overdue
from harness.submissions.submission import Submission


@dataclass(frozen=True)
class Limits:
    """What this machine takes on. ``minutes``: of the whole refresh. ``memory``: bytes."""

    parameters: int | None = None
    minutes: float | None = None
    memory: int | None = field(default_factory=memory)

    def misfit(self, parameters: int, *, about: bool = False) -> str:
        """Why so many parameters are too many here, or nothing."""
        return misfit(parameters, most=self.parameters, memory=self.memory, about=about)


@dataclass(frozen=True)
class Terms:
    """What holds for every submission of a refresh.

    ``results``: the folder of the rows; ``anyway``: each is tried, whatever became of it before.
    """

    wanted: Wanted
    results: Path
    limits: Limits
    anyway: bool


@dataclass(frozen=True)
class Item:
    """A submission and what is to be done about it.

    ``state``: ``measured``, ``to measure``, ``stale`` (to measure again), ``to replicate`` (rows
    that others sent), ``failed`` (and not to be tried again) or ``pending`` (and not to be tried
    here); ``reason`` says why. ``replays``: the files of which a sample is to be measured again,
    with their task.
    """

    slug: str
    submission: Submission
    state: str
    reason: str
    pending: PendingUnits
    tried: str
    before: Attempt | None  # None also where another harness, card or revision was tried
    replays: Mapping[OutcomeFile, str]

    @property
    def due(self) -> bool:
        """Whether it is to be evaluated now."""
        return self.state in ("to measure", "stale", "to replicate")


def decide(slug: str, submission: Submission, before: Attempt | None, terms: Terms) -> Item:
    """What is to be done about a submission, after what became of it before."""
    tried = tried_with(submission, terms.wanted)
    if not still_holds(before, submission, tried):
        before = None
    pending = pending_units(submission, terms.wanted, terms.results)
    if before is not None:
        kept = {task: units for task, units in pending.units.items() if task not in before.without}
        pending = replace(pending, units=kept)
    local = not can_replay(submission.model, submission.revision or "")
    # What languages are added to is not ranked yet, and has its turn when it is whole.
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
        # Where only data was missing, looking for it again takes no machine and no job.
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
