"""Submissions without any measured task."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.entries import Entry
from harness.board.markdown import Raw, table
from harness.board.pages import name
from harness.submissions.submission import Submission


def waiting(entries: Sequence[Entry]) -> list[Entry]:
    """The pending submissions by base and kind; a base comes before its variants."""
    found = [entry for entry in entries if not entry.results]
    return sorted(found, key=lambda e: (_origin(e.submission).lower(), e.kind != "none", e.kind))


def waiting_table(entries: Sequence[Entry]) -> Raw | None:
    """The table of pending submissions, with the reason of each."""
    rows = [
        (_origin(entry.submission), entry.kind, name(entry),
         ", ".join(entry.submission.datasets if entry.submission else ()) or "—",
         ", ".join(sorted(entry.contaminated)) or "—",
         entry.why or "not tried yet", (entry.attempt.since[:10] if entry.attempt else "") or "—")
        for entry in waiting(entries)
    ]  # fmt: skip
    headers = (
        "base", "kind", "checkpoint", "data sets", "trained on targets", "why not", "since"
    )  # fmt: skip
    return table(headers, rows, left=len(headers)) if rows else None


def _origin(submission: Submission | None) -> str:
    """The base that a submission names; a base is listed under itself."""
    if submission is None:  # its file cannot be read
        return "—"
    if submission.base is not None:
        return submission.base
    return submission.model if submission.objective == "none" else "—"
