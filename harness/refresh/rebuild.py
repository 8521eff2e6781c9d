"""After the evaluations: hand over what does not fit, rebuild the board, say what failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from harness import api
from harness.attempts import write_attempts
from harness.board.build import leaderboard
from harness.errors import HarnessError, IncompleteError, NotFoundError
from harness.publishing.hub import whoami
from harness.refresh.handover import BUCKET, hand_over, request
from harness.refresh.measured import read_each
from harness.refresh.refresh import Refresh

NOBODY = "NAMESPACE"  # stands for the account in a dry run without a token


def hand_over_pending(refresh: Refresh, *, send: bool) -> Iterator[str]:
    """The request for every pending submission, as JSON; with ``send`` they are sent.

    One that was handed over before, or whose commit is not known, is left out.

    Raises:
        NotFoundError: ``send`` without a token, or the Hub refuses.
    """
    failed = list(refresh.failed)
    namespace = whoami()
    if send and namespace is None:
        raise NotFoundError("not logged in to the Hub: `hf auth login`, or set HF_TOKEN")
    for item in refresh.items():
        attempt = refresh.attempts.get(item.slug)
        if attempt is None or attempt.status != "pending" or attempt.revision is None:
            continue
        if attempt.job is not None:
            yield f"{item.slug}: handed over already, {attempt.job}"
            continue
        if attempt.revision.startswith("local:") or item.submission.model == api.DEMO_MODEL:
            continue
        try:
            wanted = request(
                item.slug, attempt.model, attempt.revision, parameters=attempt.parameters,
                suite=refresh.request.suite or "xtreme-r", protocol=item.submission.protocol,
                tasks=list(item.left.units), namespace=namespace or NOBODY,
            )  # fmt: skip
        except HarnessError as error:
            yield f"{item.slug}: {error}"
            continue
        yield json.dumps(wanted, ensure_ascii=False, indent=1)
        if send:
            url = hand_over(wanted)
            reason = f"handed to Hugging Face Jobs: {url}"
            refresh.attempts[item.slug] = attempt.model_copy(update={"job": url, "reason": reason})
            write_attempts(refresh.root, refresh.attempts)
            yield f"{item.slug}: {reason}"
    refresh.failed = failed  # which looking again at the submissions forgets
    if not send:
        bucket = f"hf://buckets/{namespace or NOBODY}/{BUCKET}"
        yield f"nothing was sent: give --yes; results will be in {bucket}"


def rebuild(root: Path, *, cache: Path) -> list[Path]:
    """Rebuild the board over the submissions that can be read; the files that changed."""
    good, broken = read_each(root / "submissions")
    try:
        return leaderboard(root, cache=cache, submissions=good if broken else None)
    except NotFoundError:
        return []  # nothing submitted and nothing measured


def check_failures(refresh: Refresh) -> None:
    """Raise when an evaluation failed in this refresh: it is a row of the board by now.

    Raises:
        IncompleteError: names what failed, and why the first one did.
    """
    if refresh.failed:
        first = refresh.failed[0]
        raise IncompleteError(
            f"failed: {', '.join(refresh.failed)} ({first}: {refresh.attempts[first].reason});"
            " the board has each with its reason"
        )
