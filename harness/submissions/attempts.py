"""The last attempt at every submission that is not measured completely, in `attempts.json`.

The file `leaderboard/attempts.json` lies beside the outcomes. By it a failure is a row of the board
with its reason, and a checkpoint that was refused is not downloaded again by every refresh.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from harness.errors import DataError, RefusedError, UsageError
from harness.io.files import write_whole
from harness.io.strict_yaml import Strict

FILE = "leaderboard/attempts.json"
# Another attempt ends in the same way, as long as checkpoint and harness are the same.
FINAL = (UsageError.exit_code, RefusedError.exit_code)
# The folders before a file's name in a message; no part of an address or of a Hub id.
FOLDERS = re.compile(r"(?<![\w:/.<])~?/(?:[^\s/:;,()'\"`<>]+/)+(?=[^\s/])")
# The board shows these texts to everybody.
Public = Annotated[str, AfterValidator(lambda text: FOLDERS.sub("", text))]


class Attempt(Strict):
    """The last attempt at one submission.

    ``model``: as it is submitted; empty where the file is so damaged that it cannot be read.
    ``revision``: the commit that was tried; None where none could be looked up. ``reason``: why it
    failed or is pending; empty where it is measured. ``exit_code``: that of the evaluation, or of
    the error that came before it; negative for a signal. ``since``: when this state began, in
    ISO 8601. ``tried``: digest of the protocol, cards and version that it was tried with.
    ``without``: task → why it does not apply to the checkpoint. ``missing``: task → why its data
    could not be had. ``stopped``: it ran out of time, and other submissions go first. ``job``: the
    address of the job that measures it. No text names a folder of the machine that tried.
    """

    model: str
    revision: str | None = None
    status: Literal["measured", "failed", "pending"]
    reason: Public = ""
    exit_code: int | None = None
    since: str = ""
    tried: str = ""
    parameters: int | None = None
    without: dict[str, Public] = Field(default_factory=dict)
    missing: dict[str, Public] = Field(default_factory=dict)
    stopped: bool = False
    job: str | None = None

    def __str__(self) -> str:
        """Write a line such as ``measured, without xquad (does not apply), mewsli_x (no data)``."""
        if self.reason:
            return f"{self.status}: {self.reason}"
        left_out = [f"{task} (does not apply)" for task in self.without]
        left_out += [f"{task} (no data)" for task in self.missing]
        return f"{self.status}, without {', '.join(left_out)}" if left_out else self.status

    @property
    def unread(self) -> bool:
        """Whether the file of the submission could not be read."""
        return self.status == "failed" and self.exit_code == DataError.exit_code

    @property
    def final(self) -> bool:
        """Whether another attempt would end in the same way."""
        return self.status == "failed" and self.exit_code in FINAL

    @property
    def tells(self) -> bool:
        """Whether the file must keep it: it says more than that everything is measured."""
        return self.status != "measured" or bool(self.without or self.missing)


_ATTEMPTS = TypeAdapter(dict[str, Attempt])


def read_attempts(root: Path) -> dict[str, Attempt]:
    """Read slug → attempt; empty where there is no file. DataError where its form is wrong."""
    try:
        text = (root / FILE).read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return _ATTEMPTS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(f"{FILE}: {where}: {first['msg']}: correct it, or delete it") from None


def write_attempts(root: Path, attempts: Mapping[str, Attempt]) -> None:
    """Write the file, or remove it where nothing is to be kept. Equal attempts give equal bytes."""
    path = root / FILE
    kept = {slug: one for slug, one in sorted(attempts.items()) if one.tells}
    if not kept:
        path.unlink(missing_ok=True)
        return
    plain = {slug: one.model_dump(exclude_defaults=True) for slug, one in kept.items()}
    text = json.dumps(plain, ensure_ascii=False, indent=1) + "\n"
    write_whole(path, text)


def overdue(attempt: Attempt, hours: float) -> bool:
    """Return whether its state is older than ``hours``, or has a date that cannot be read."""
    try:
        since = datetime.fromisoformat(attempt.since)
    except ValueError:
        return True
    return datetime.now(UTC) - since.replace(tzinfo=since.tzinfo or UTC) > timedelta(hours=hours)


def dated(new: Attempt, before: Attempt | None) -> Attempt:
    """Return the new attempt with today's date, or the old one where nothing else has changed."""
    if before is not None and new.model_copy(update={"since": before.since}) == before:
        return before
    return new.model_copy(update={"since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})
