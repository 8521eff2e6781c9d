"""Downloads: retried politely, checked, and never left half-written."""

from __future__ import annotations

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from harness.errors import DataError, one_line
from harness.io.files import BLOCK, digest, replacing
from harness.io.retry import OVERLOADED, retried

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two packets
MAX_MEMBER = 2 * 1024**3  # bytes of one file of an archive; the largest official one has 535 MB


class Unavailable(Exception):
    """A file could not be had by this route; the message says why, in one line."""


class Unreachable(Unavailable):
    """The host gives no answer: it need not be asked for other files."""


def download(url: str, target: Path, sha256: str | None = None) -> None:
    """Fetch a file; it appears under ``target`` whole and checked, or not at all.

    Unavailable where the server does not give it; DataError where it gives another file than the
    one whose checksum is known (asked twice).
    """
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(timeout=TIMEOUT)
    for again in (True, False):
        with replacing(target) as partial:
            try:
                retried(lambda partial=partial: fetch(url, str(partial), None), _passing)  # type: ignore[misc]
            except requests.exceptions.RequestException as error:
                if isinstance(error, requests.exceptions.ConnectionError):
                    raise Unreachable(f"{urlsplit(url).netloc}: {reason(error)}") from None
                raise Unavailable(f"{url}: {reason(error)}") from None
            found = digest(partial) if sha256 else None
            if found == sha256:
                return
            partial.unlink()
        if not again:
            raise DataError(
                f"{url}: sha256 is {str(found)[:12]}…, the official file's is {str(sha256)[:12]}…:"
                " the server gave another file; nothing was kept, try later or use --data"
            )


SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([\w ,.'-]+\w)")
UNPACKING = (zlib.error, lzma.LZMAError)


def extract(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Write members of a zip or tar archive to the paths given; no other name is ever used.

    DataError for a broken archive (which is removed), an absent member or one above 2 GiB; OSError
    where the system does not write them.
    """
    try:
        missing = set(wanted) - (
            _unzip(archive, wanted) if zipfile.is_zipfile(archive) else _untar(archive, wanted)
        )
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, *UNPACKING) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, such as no space
            raise
        archive.unlink(missing_ok=True)
        raise DataError(
            f"{archive.name}: broken archive ({one_line(error)}): removed, run again"
        ) from None
    if missing:
        raise DataError(f"{archive.name}: has no {sorted(missing)[0]}: not the official archive")


def _unzip(archive: Path, wanted: Mapping[str, Path]) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist()) & set(wanted)
        for name in names:
            with opened.open(name) as member:
                _write(member, wanted[name], f"{archive.name}: {name}")
    return names


def _untar(archive: Path, wanted: Mapping[str, Path]) -> set[str]:
    names: set[str] = set()
    with tarfile.open(archive, mode="r:*") as opened:
        for info in opened:
            name = info.name.removeprefix("./")
            member = opened.extractfile(info) if name in wanted and info.isfile() else None
            if member is not None:
                _write(member, wanted[name], f"{archive.name}: {name}")
                names.add(name)
            if len(names) == len(wanted):
                break
    return names


def _write(member: IO[bytes], target: Path, name: str) -> None:
    size = 0
    with replacing(target) as partial, partial.open("wb") as file:
        while block := member.read(BLOCK):
            size += len(block)
            if size > MAX_MEMBER:
                partial.unlink()
                raise DataError(f"{name}: larger than {MAX_MEMBER >> 30} GiB: not unpacked")
            file.write(block)


def reason(error: BaseException) -> str:
    """Why a request failed, short and in one line."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    # Without the layers of libraries around it: what the system says of the connection.
    if _kinds(error) & {"ConnectionError", "ConnectError"}:  # of requests, of httpx
        said = SYSTEM_ERROR.search(str(error))
        return f"cannot be reached ({said[1] if said else type(error).__name__})"
    return f"{type(error).__name__}: {one_line(error, 160)}"


def _passing(error: Exception) -> bool:
    """Whether another attempt may succeed: the server was overloaded, or the connection failed."""
    response = getattr(error, "response", None)
    return _cut(error) if response is None else response.status_code in OVERLOADED


def _cut(error: Exception) -> bool:
    """Whether the connection failed, whichever library says so."""
    names = _kinds(error)
    lost = {"ConnectionError", "Timeout", "ChunkedEncodingError", "TransportError", "TimeoutError"}
    return isinstance(error, HTTPException) or bool(names & lost)


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
