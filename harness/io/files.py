"""Files: the one way to write them whole or not at all, and their digests."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from hashlib import file_digest
from pathlib import Path
from uuid import uuid4

from harness.errors import DataError, UsageError

ABANDONED = 86_400  # seconds: what nobody wrote to for so long is of no run that is alive
BLOCK = 1 << 20  # bytes that are read or written at a time
# How the text begins that Git keeps in place of a large file, and how long it may be:
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_LONGEST = 1024  # bytes


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """The path of a new file beside ``target``, which takes its place when the block ends.

    The new file is on the disk before it gets its name, so that a machine that loses power leaves
    the old file or the new one. After an error, or where the block wrote nothing or removed the
    new file, ``target`` stays as it was. The folder is made where it is missing. What killed runs
    left in it a day ago or longer is removed, whatever they wrote.
    """
    partial = _beside(target)
    try:
        yield partial
        if partial.exists():
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, gone when the block ends: rename what is whole.

    What killed runs left is removed as `replacing` does.
    """
    partial = _beside(target)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, older_than=ABANDONED)
    return target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")


def sweep(folder: Path, name: str | None = None, *, older_than: float = 0) -> None:
    """Remove what killed runs left of `replacing` and `building` in a folder.

    ``name``: only of this target. ``older_than``: seconds since it was written last; 0 where
    nobody else may be writing.
    """
    of = "*" if name is None else escape(name)
    for partial in folder.glob(f".{of}.{'[0-9a-f]' * 8}.tmp"):
        with suppress(OSError):  # another run was faster, or it is not ours to remove
            if time.time() - partial.stat().st_mtime < older_than:
                continue
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()


def write_whole(target: Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text is written as UTF-8 with its line ends as they are."""
    with replacing(target) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def digest(path: Path) -> str:
    """sha256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is Git LFS's stand-in for one that was not downloaded.

    A pipe or device is none, and opening it could wait for ever.
    """
    if not path.is_file() or path.stat().st_size > LFS_LONGEST:
        return False
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def pointer_words(name: str, folder: Path) -> str:
    """What to say of a Git LFS pointer named ``name`` in ``folder``."""
    return (
        f"{name} is a Git LFS pointer, not the file that it stands for: run `git lfs pull` in "
        f"{folder}"
    )


def verified(path: Path, name: str, expected: str | None, remedy: str) -> str:
    """The sha256 of a file, as 64 hex digits.

    Raises:
        DataError: it is not the one that is expected, or a Git LFS pointer.
    """
    if is_lfs_pointer(path):
        raise DataError(pointer_words(name, path.parent))
    found = digest(path)
    if expected is not None and found != expected:
        raise DataError(
            f"{name}: sha256 is {found[:12]}…, the official file's is {expected[:12]}…: {remedy}"
        )
    return found


def existing(folder: Path) -> Path:
    """Return the folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def check_folder(option: str, folder: Path) -> None:
    """Refuse a folder that cannot be made since something else has its name, or that of one above.

    Raises:
        UsageError: so it is.
    """
    above = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not above.is_dir():
        what = "a file" if above.exists() else "a link that leads nowhere"
        raise UsageError(f"{option} {folder}: {above} is {what}, give a folder")
