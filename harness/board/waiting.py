"""Submissions that nothing was measured of yet."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.entries import Entry
from harness.board.markdown import Raw, code, table
from harness.board.pages import name
from harness.submission import Submission


def waiting_table(entries: Sequence[Entry]) -> Raw | None:
    """What is still to be measured, by base and kind; a base comes before what started from it."""
    waiting = [(e, e.submission) for e in entries if e.submission is not None and not e.results]
    waiting.sort(key=lambda one: (_origin(one[1]).lower(), one[0].kind != "none", one[0].kind))
    rows = [
        (_origin(submission), entry.kind, name(entry), ", ".join(submission.datasets) or "—",
         ", ".join(sorted(entry.contaminated)) or "—", code((entry.revision or "pending")[:18]))
        for entry, submission in waiting
    ]  # fmt: skip
    headers = ("base", "kind", "checkpoint", "data sets", "trained on targets", "revision")
    return table(headers, rows, left=len(headers)) if rows else None


def _origin(submission: Submission) -> str:
    """The base that a submission names; a base is listed under itself."""
    if submission.base is not None:
        return submission.base
    return submission.model if submission.objective == "none" else "—"
