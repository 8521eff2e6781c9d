"""What the cache folder holds, and what of it can go: vectors can always be computed again."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import IncompleteError

DAY = 86_400.0


@dataclass(frozen=True)
class Entry:
    """One thing in the cache, of a kind (vectors, data, demo, hub); ``days`` since its last use."""

    kind: str
    name: str
    path: Path
    size: int
    days: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"path": str(self.path)}


def entries(cache: Path) -> list[Entry]:
    """Every vector store, and the other folders of the cache as one entry each."""
    found = [_entry("vectors", _store_name(folder), folder) for folder in _stores(cache)]
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        if folder.is_dir() and folder.name != "vectors":
            found.append(_entry(folder.name, folder.name, folder))
    return found


def prune(cache: Path, *, days: float) -> tuple[int, int]:
    """Remove the vector stores unused for ``days``: (bytes freed, stores removed).

    Raises:
        IncompleteError: a store cannot be removed.
    """
    freed = removed = 0
    for folder in _stores(cache):
        entry = _entry("vectors", "", folder)
        if entry.days < days:
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise IncompleteError(
                f"cannot remove {folder}: {error.strerror or error}; {removed} stores were removed"
            ) from error
        freed += entry.size
        removed += 1
    return freed, removed


def _stores(cache: Path) -> list[Path]:
    root = cache / "vectors"
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _store_name(folder: Path) -> str:
    try:
        parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
        revision = parts["checkpoint"].rpartition("@")[2].removeprefix("local:")[:12]
        name = parts["checkpoint"].rpartition("@")[0] or "folder"
        return (
            f"{name}@{revision} layer {parts['layer']} {parts['pooling']} {parts['dtype']}"
            f" {parts['length']} tokens"
        )
    except (OSError, ValueError, KeyError):
        return folder.name


def _entry(kind: str, name: str, folder: Path) -> Entry:
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    used = max((max(stat.st_atime, stat.st_mtime) for stat in files), default=time.time())
    return Entry(kind, name, folder, sum(s.st_size for s in files), (time.time() - used) / DAY)
