"""The target folder of a training: whose it is, what is in it before the end, and who is at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.checkpoint.resolve import resolve
from harness.errors import HarnessError, UsageError
from harness.training.output import RECORD, remove, said
from harness.training.trainer import last_saved

WORK = ".training"
SETTINGS = "settings.json"
LOCK = "lock"


def check_target(out: Path) -> None:
    """UsageError where the target holds what is no training of ours."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give --out a folder")
    ours = (out / RECORD).is_file() or (out / WORK).is_dir()
    if out.is_dir() and not ours and any(out.iterdir()):
        raise UsageError(f"{out} holds other files: give --out a new folder")


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """One process at a time for one target. UsageError where another one is at it."""
    from filelock import FileLock, Timeout

    (out / WORK).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / WORK / LOCK, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another process trains into {out}: wait for it") from None


def finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the target is this training's, done.

    Another one that has saved no step yet is none.

    Raises:
        UsageError: the target is another training's, or no longer what was trained.
    """
    if (out / RECORD).is_file():
        record = said(out / RECORD)
        _check_same(out, record.get("settings") or {}, settings)
        if _revision(out) != record.get("revision"):
            raise UsageError(
                f"{out} is no longer what was trained: give another --out, or --fresh to start over"
            )
        return True
    if last_saved(out / WORK) is not None:
        _check_same(out, said(out / WORK / SETTINGS), settings)
    return False


def _check_same(out: Path, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if before == settings:
        return
    name = next((n for n in settings if before.get(n) != settings[n]), "settings")
    was, now = (str(one.get(name))[:60] for one in (before, settings))
    what = f"{name} was {was}, is {now}" if name != "tasks" else "data or recipe differ"
    raise UsageError(
        f"{out} holds another training ({what}): give another --out, or --fresh to start over"
    )


def _revision(out: Path) -> str | None:
    try:
        return resolve(str(out), offline=True).revision
    except HarnessError:
        return None


def begin(out: Path, settings: Mapping[str, Any], *, fresh: bool) -> Path:
    """The work folder, with the settings; with ``fresh`` nothing of an earlier training stays."""
    work = out / WORK
    if fresh:
        remove(out, work, keep=LOCK)
    work.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, ensure_ascii=False, indent=2)
    (work / f"{SETTINGS}.new").write_text(text, encoding="utf-8")
    (work / f"{SETTINGS}.new").replace(work / SETTINGS)
    return work
