"""Submissions that nothing was measured of yet."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.entries import Entry
from harness.board.markdown import Raw, code, table
from harness.board.pages import name
from harness.submissions.submission import Submission


def waiting_table(entries: Sequence[Entry]) -> Raw | None:
    """What is still to be measured, by base and kind; a base comes before what started from it."""
    waiting = [entry for entry in entries if not entry.results]
    waiting.sort(key=lambda e: (_origin(e.submission).lower(), e.kind != "none", e.kind))
    rows = [
        (_origin(entry.submission), entry.kind, name(entry),
         ", ".join(entry.submission.datasets if entry.submission else ()) or "—",
         ", ".join(sorted(entry.contaminated)) or "—", code((entry.revision or "pending")[:18]),
         entry.why or "not tried yet")
        for entry in waiting
    ]  # fmt: skip
    headers = (
        "base", "kind", "checkpoint", "data sets", "trained on targets", "revision", "why not"
    )  # fmt: skip
    return table(headers, rows, left=len(headers)) if rows else None


def _origin(submission: Submission | None) -> str:
    """The base that a submission names; a base is listed under itself."""
    if submission is None:  # its file cannot be read
        return "—"
    if submission.base is not None:
        return submission.base
    return submission.model if submission.objective == "none" else "—"
