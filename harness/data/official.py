"""Downloads the official files, single ones and members of archives, and keeps them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from harness.data.formats import Key, LocalFile
from harness.data.layout import DataFile, DataLocation, Fetched, Sourced, data_files
from harness.io.download import Unavailable, Unreachable, download, extract
from harness.io.files import digest, verified

CONNECTIONS = 4


def cached(card: Sourced, split: str, units: Sequence[str], location: DataLocation) -> Fetched:
    """Return what is in the cache already.

    A file that no longer has its checksum counts as absent.
    """
    files: dict[Key, LocalFile] = {}
    digests: dict[str, str] = {}
    failures: dict[Key, str] = {}
    for piece in data_files(card, split, units):
        path = _place(location, piece.path)
        if piece.path not in digests and path.is_file():
            found = digest(path)
            if found == (piece.sha256 or found):
                digests[piece.path] = found
        if piece.path in digests:
            files[piece.key] = LocalFile(path, piece.path)
        else:
            failures[piece.key] = f"not in the cache: run xharness prefetch --task {card.name}"
    return Fetched("official", files, digests, failures)


def absent(
    card: Sourced, split: str, units: Sequence[str], location: DataLocation
) -> list[DataFile]:
    """Return the files that a download would be for, each path once."""
    failures = cached(card, split, units, location).failures
    found = {piece.path: piece for piece in data_files(card, split, units) if piece.key in failures}
    return list(found.values())


def fetch(card: Sourced, split: str, units: Sequence[str], location: DataLocation) -> Fetched:
    """Download what is not in the cache.

    Raises DataError for a file that is not the official one.
    """
    wanted = absent(card, split, units, location)
    singles = [piece for piece in wanted if piece.member is None]
    hosts: dict[str, str] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        failed = pool.map(lambda piece: _single(piece, location, hosts), singles)
        why = dict(zip((piece.path for piece in singles), failed, strict=True))
    archives: dict[str, list[DataFile]] = defaultdict(list)
    for piece in wanted:
        if piece.member is not None and piece.url is not None:
            archives[piece.url].append(piece)
    for url, members in archives.items():
        failure = _members(url, members, location)
        why |= {piece.path: failure for piece in members}
    found = cached(card, split, units, location)
    paths = {piece.key: piece.path for piece in data_files(card, split, units)}
    failures = {key: why.get(paths[key]) or text for key, text in found.failures.items()}
    return Fetched("official", found.files, found.digests, failures)


def archive_place(location: DataLocation, url: str) -> Path:
    """Return where an archive lies once it is downloaded."""
    return location.cache / "data" / "archives" / url.rsplit("/", 1)[-1]


def _single(piece: DataFile, location: DataLocation, unreachable: dict[str, str]) -> str:
    """Download one file; return why it failed, or nothing.

    ``unreachable``: hosts that gave no answer → why; they are not asked for another file, since a
    host that is out of reach is waited for at every attempt.
    """
    if piece.url is None:
        return "no official download can be used as it is"
    host = urlsplit(piece.url).netloc
    if host not in unreachable:
        try:
            download(piece.url, _place(location, piece.path), piece.sha256)
        except Unreachable as error:
            unreachable.setdefault(host, str(error))
        except Unavailable as error:
            return str(error)
        else:
            return ""
    return unreachable[host]


def _members(url: str, members: Sequence[DataFile], location: DataLocation) -> str:
    """Download an archive if it is not there, and unpack it; return why it failed, or nothing."""
    archive = archive_place(location, url)
    if not archive.is_file():
        try:
            download(url, archive)
        except Unavailable as error:
            return str(error)
    extract(archive, {str(piece.member): _place(location, piece.path) for piece in members})
    for piece in members:
        remedy = f"remove {archive} and run again, or use --data"
        verified(_place(location, piece.path), f"{url}: {piece.member}", piece.sha256, remedy)
    return ""


def _place(location: DataLocation, path: str) -> Path:
    return location.cache / "data" / path
