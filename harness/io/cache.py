"""What the cache folder holds, and what of it can go: all that can be made again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import IncompleteError

DAY = 86_400.0
# What a file that is no record raises: not there, no JSON, or JSON of another shape.
NO_RECORD = (OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class Entry:
    """One thing in the cache, of a kind (vectors, tokens, tuned, data, demo, hub).

    ``days``: since its last use.
    """

    kind: str
    name: str
    path: Path
    size: int
    days: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"path": str(self.path)}


def entries(cache: Path) -> list[Entry]:
    """Every store, every tuned checkpoint, and the other folders as one entry each."""
    found = [
        _entry(kind, name(folder), folder)
        for kind, name in REMADE.items()
        for folder in _folders(cache, kind)
    ]
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        if folder.is_dir() and folder.name not in REMADE:
            found.append(_entry(folder.name, folder.name, folder))
    return found


def prune(cache: Path, *, days: float) -> list[Entry]:
    """Remove the stores and tuned checkpoints unused for ``days``; returns these.

    A checkpoint that is being trained stays.

    Raises:
        IncompleteError: one of them cannot be removed.
    """
    removed: list[Entry] = []
    for kind in REMADE:
        for folder in _folders(cache, kind):
            entry = _entry(kind, folder.name, folder)
            if entry.days < days:
                continue
            try:
                with FileLock(lock_of(folder), timeout=0) if kind == "tuned" else nullcontext():
                    shutil.rmtree(folder)
            except Timeout:
                continue
            except OSError as error:
                raise IncompleteError(
                    f"cannot remove {folder}: {error.strerror or error}; {len(removed)} others were"
                    " removed"
                ) from error
            removed.append(entry)
    return removed


def lock_of(folder: Path) -> Path:
    """The lock that is held while a tuned checkpoint is trained."""
    return folder.with_name(f".{folder.name}.lock")


def _folders(cache: Path, kind: str) -> list[Path]:
    root = cache / kind
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _store_name(folder: Path) -> str:
    """The name of a store of vectors, or of keys of token ids, which have no layer."""
    try:
        parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
        revision = parts["checkpoint"].rpartition("@")[2].removeprefix("local:")[:12]
        name = parts["checkpoint"].rpartition("@")[0] or "folder"
        how = ""
        if "layer" in parts:
            how = f" layer {parts['layer']} {parts['pooling']} {parts['dtype']}"
        return f"{name}@{revision}{how} {parts['length']} tokens"
    except NO_RECORD:
        return folder.name


def _tuned_name(folder: Path) -> str:
    try:
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        base, seed = record["base"], record["settings"]["seed"]
        revision = base["revision"].removeprefix("local:")[:12]
        return f"{base['id']}@{revision} on {', '.join(record['tasks'])} seed {seed}"
    except NO_RECORD:
        return f"{folder.name} (not finished)"


# Kind → what a folder of it is called: kinds that can be made again from the rest.
REMADE: Mapping[str, Callable[[Path], str]] = {
    "vectors": _store_name,
    "tokens": _store_name,
    "tuned": _tuned_name,
}


def _entry(kind: str, name: str, folder: Path) -> Entry:
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    used = max((max(stat.st_atime, stat.st_mtime) for stat in files), default=time.time())
    return Entry(kind, name, folder, sum(s.st_size for s in files), (time.time() - used) / DAY)
