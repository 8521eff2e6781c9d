"""The end of a refresh: large checkpoints are handed over, the board rebuilt, failures named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.board.build import leaderboard
from harness.errors import HarnessError, IncompleteError, NotFoundError
from harness.evaluation.models import DEMO_MODEL
from harness.refresh.handover import BUCKET, hand_over, request
from harness.refresh.refresh import Refresh
from harness.submissions.attempts import Attempt, dated, write_attempts

NOBODY = "NAMESPACE"  # takes the place of the account where nothing is sent and nobody logged in


def hand_over_pending(refresh: Refresh, namespace: str, *, send: bool) -> Iterator[str]:
    """Yield lines with the request, as JSON, for every submission that does not fit this machine.

    With ``send`` the requests are sent as the account ``namespace``. One that the Hub refuses has a
    line and an entry in ``refresh.unsent``; the others are still sent. Submissions that were handed
    over before, or whose commit is not known, are left out; so are tasks whose data is missing.
    """
    failed = list(refresh.failed)
    for item in refresh.items():
        attempt = refresh.attempts.get(item.slug)
        if attempt is None or attempt.status != "pending" or attempt.revision is None:
            continue
        if attempt.job is not None:
            yield f"{item.slug}: handed over already, {attempt.job}"
            continue
        if attempt.revision.startswith("local:") or item.submission.model == DEMO_MODEL:
            continue
        # A submission that lacks only time or data can be measured here later.
        tasks = [task for task in item.pending.units if task not in attempt.missing]
        if not tasks or not refresh.limits.misfit(attempt.parameters or 0):
            continue
        try:
            wanted = request(
                item.slug, attempt,
                suite=refresh.request.selection.suite or "xtreme-r",
                protocol=item.submission.protocol, tasks=tasks, namespace=namespace,
            )  # fmt: skip
        except HarnessError as error:
            yield f"{item.slug}: {error}"
            continue
        yield json.dumps(wanted, ensure_ascii=False, indent=1)
        if send:
            yield f"{item.slug}: {_sent(refresh, item.slug, attempt, wanted)}"
    refresh.failed = failed  # Listing the items has begun this list again.
    if not send:
        bucket = f"hf://buckets/{namespace}/{BUCKET}"
        yield f"nothing was sent: give --yes; results will be in {bucket}"


def _sent(refresh: Refresh, slug: str, attempt: Attempt, wanted: Mapping[str, Any]) -> str:
    """Start a job and write its address down at once; return the result in words."""
    try:
        url = hand_over(wanted)
    except HarnessError as error:
        refresh.unsent[slug] = str(error)
        return f"not handed over: {error}"
    reason = f"handed to Hugging Face Jobs: {url}"
    sent = attempt.model_copy(update={"job": url, "reason": reason})
    refresh.attempts[slug] = dated(sent, attempt)
    write_attempts(refresh.root, refresh.attempts)
    return reason


def rebuild(root: Path, *, cache: Path) -> list[Path]:
    """Rebuild the board over the submissions that can be read; return the files that changed."""
    try:
        return leaderboard(root, cache=cache)
    except NotFoundError:
        return []  # Nothing is submitted, and nothing is measured.


def check_failures(refresh: Refresh) -> None:
    """Raise where an evaluation failed in this refresh, or a job could not be started.

    Raises:
        IncompleteError: the message names what failed, and the first reason.
    """
    said = []
    if refresh.failed:
        first = refresh.failed[0]
        said.append(
            f"failed: {', '.join(refresh.failed)} ({first}: {refresh.attempts[first].reason});"
            " the board has each with its reason"
        )
    if refresh.unsent:
        first = next(iter(refresh.unsent))
        said.append(f"not handed over: {', '.join(refresh.unsent)} ({refresh.unsent[first]})")
    if said:
        raise IncompleteError("; ".join(said))
