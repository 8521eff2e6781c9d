"""Fetches a data set on the Hub: one pinned snapshot of the files that are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from harness.cards.source_files import HubData
from harness.data.formats import Key, LocalFile
from harness.data.layout import DataLocation, Fetched, Sourced
from harness.io.download import Unavailable, reason
from harness.io.files import digest
from harness.io.hub import quiet


def templates(card: Sourced, hub: HubData, split: str, units: Sequence[str]) -> dict[Key, str]:
    """Return the glob of every file needed; a shared one (unit empty) once."""
    found: dict[Key, str] = {}
    for role, template in hub.files.items():
        for unit in units if "{" in template else [""]:
            found[Key(unit, split, role)] = card.fill(template, unit)
    return found


def fetch(
    card: Sourced, hub: HubData, split: str, units: Sequence[str], location: DataLocation
) -> Fetched:
    """Return one snapshot at the card's commit."""
    wanted = templates(card, hub, split, units)
    try:
        revision = commit(hub, location)
        folder = _snapshot(hub, revision, sorted(set(wanted.values())), location)
    except Unavailable as error:
        return Fetched("hub", {}, {}, dict.fromkeys(wanted, str(error)))
    return _matched(f"{hub.id}@{revision[:12]}", wanted, folder)


def commit(hub: HubData, location: DataLocation) -> str:
    """Return the card's commit, else that of the newest version: from the cache when offline.

    Raises:
        Unavailable: it names none, or cannot be asked.
    """
    if hub.revision is not None:
        return hub.revision
    kept = location.cache / "hub" / f"datasets--{hub.id.replace('/', '--')}" / "refs" / "main"
    if location.offline:
        known = kept.read_text().strip() if kept.is_file() else ""
        if not known:
            raise Unavailable(f"{hub.id}: not in the cache")
        return known
    from huggingface_hub import HfApi

    try:
        newest = HfApi().dataset_info(hub.id).sha
    except Exception as error:  # whatever its HTTP library raises: the route does not lead there
        raise Unavailable(f"{hub.id}: {reason(error)}") from None
    if newest is None:
        raise Unavailable(f"{hub.id}: it names no commit")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(newest)  # as the Hub's own client does, for a later run offline
    return newest


def _snapshot(hub: HubData, revision: str, patterns: list[str], location: DataLocation) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:  # the library itself retries, and waits as long as an overloaded Hub asks
        with quiet():
            found = snapshot_download(
                hub.id,
                repo_type="dataset",
                revision=revision,
                allow_patterns=patterns,
                cache_dir=location.cache / "hub",
                local_files_only=location.offline,
            )
        return Path(found)
    except LocalEntryNotFoundError as error:
        why = "not in the cache" if location.offline else reason(error.__cause__ or error)
        raise Unavailable(f"{hub.id}: {why}") from None
    except Exception as error:  # whatever its HTTP library raises: the route does not lead there
        raise Unavailable(f"{hub.id}: {reason(error)}") from None


def _matched(source: str, wanted: Mapping[Key, str], folder: Path) -> Fetched:
    """Return the one file that each glob stands for."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    files: dict[Key, LocalFile] = {}
    digests: dict[str, str] = {}
    failures: dict[Key, str] = {}
    for key, pattern in wanted.items():
        matches = [name for name in names if fnmatchcase(name, pattern)]
        if len(matches) != 1:
            failures[key] = f"{source}: {len(matches)} files match {pattern}"
            continue
        name = f"{source}/{matches[0]}"
        files[key] = LocalFile(folder / matches[0], name, mixed=not key.unit)
        if name not in digests:
            digests[name] = digest(folder / matches[0])
    return Fetched("hub", files, digests, failures)
