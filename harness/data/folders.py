"""Finds the folders that commands and functions name: of data, the cache and Hub files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.data.load import DataLocation


def data_folder(data: str | Path | None) -> Path | None:
    """Return ``--data``, else ``XHARNESS_DATA``, else None: official files are downloaded.

    Raises:
        UsageError: the folder is not there.
    """
    folder = data if data is not None else os.environ.get("XHARNESS_DATA") or None
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise UsageError(f"no data folder {folder}: give one in the official layout, or none")
    return Path(folder)


def data_location(
    data: str | Path | None, cache_dir: str | Path | None, *, offline: bool
) -> DataLocation:
    """Return where task data may come from."""
    from harness.data.load import DataLocation

    return DataLocation(data=data_folder(data), cache=cache_folder(cache_dir), offline=offline)


def cache_folder(cache_dir: str | Path | None) -> Path:
    """Return ``--cache-dir``, else ``XHARNESS_CACHE``, else ``~/.cache/xharness`` (XDG
    honoured).
    """
    if cache_dir is not None:
        return Path(cache_dir).absolute()
    if own := os.environ.get("XHARNESS_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xharness"


def hub_cache(cache: Path) -> Path | None:
    """Return where Hub files are kept: in a cache that is named, else None for the Hub client's."""
    return None if cache == cache_folder(None) else cache / "hub"
