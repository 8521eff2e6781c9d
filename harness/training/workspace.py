"""The output folder of a training: which training it belongs to, and which process uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.checkpoint.resolve import resolve
from harness.errors import HarnessError, UsageError
from harness.io.files import check_folder, write_whole
from harness.training.output import RECORD, read_record, remove
from harness.training.saves import last_saved

WORK = ".training"
SETTINGS = "settings.json"
LOCK = "lock"


def check_target(out: Path) -> None:
    """Raise UsageError where ``out`` can be no folder or holds files of something else."""
    check_folder("--out", out)
    ours = (out / RECORD).is_file() or (out / WORK).is_dir()
    if out.is_dir() and not ours and any(out.iterdir()):
        raise UsageError(f"{out} holds other files: give --out a new folder")


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Lock the folder for this process. UsageError where another process trains into it."""
    from filelock import FileLock, Timeout

    (out / WORK).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / WORK / LOCK, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another process trains into {out}: wait for it") from None


def finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Return whether the training with these settings has finished in ``out``.

    Another training that has saved no step yet does not count.

    Raises:
        UsageError: the folder holds another training, or no longer what was trained.
    """
    if (out / RECORD).is_file():
        record = read_record(out / RECORD)
        _check_same(out, record.get("settings") or {}, settings)
        if _revision(out) != record.get("revision"):
            raise UsageError(
                f"{out} is no longer what was trained: give another --out, or --fresh to start over"
            )
        return True
    if last_saved(out / WORK) is not None:
        _check_same(out, read_record(out / WORK / SETTINGS), settings)
    return False


def _check_same(out: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """UsageError, with the first difference, where two trainings differ in their settings."""
    if before == settings:
        return
    name = next((n for n in settings if before.get(n) != settings[n]), "settings")
    was, now = (str(one.get(name))[:60] for one in (before, settings))
    what = f"{name} was {was}, is {now}" if name != "tasks" else "data or recipe differ"
    raise UsageError(
        f"{out} holds another training ({what}): give another --out, or --fresh to start over"
    )


def _revision(out: Path) -> str | None:
    """The digest of the checkpoint in a folder; None where it is none any more."""
    try:
        return resolve(str(out), offline=True).revision
    except HarnessError:
        return None


def begin(out: Path, settings: Mapping[str, Any], *, fresh: bool) -> None:
    """Write the settings into the work folder; ``fresh`` removes an earlier training first."""
    work = out / WORK
    if fresh:
        remove(out, work, keep=LOCK)
    write_whole(work / SETTINGS, json.dumps(settings, ensure_ascii=False, indent=2))
