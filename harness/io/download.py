"""Downloads: retried politely, checked, and never left half-written."""

from __future__ import annotations

import lzma
import os
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import IO, TypeVar

from harness.data.layout import BLOCK, digest
from harness.errors import DataError, one_line

ATTEMPTS = 5
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two packets
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is not waited for
MAX_MEMBER = 2 * 1024**3  # bytes of one file of an archive; the largest official one has 535 MB
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
Result = TypeVar("Result")


class Unavailable(Exception):
    """A file could not be had by this route; the message says why, in one line."""


def retried(action: Callable[[], Result]) -> Result:
    """The action's result, tried up to 5 times: after overload, cut connections and time-outs.

    Waits as long as `Retry-After` asks (seconds or a date), else 1, 2, 4, 8 s. The last error is
    raised as it came.
    """
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except Exception as error:
            wait = _wait(error, attempt)
            if wait is None or attempt == ATTEMPTS - 1:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


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
                retried(lambda partial=partial: fetch(url, str(partial), None))  # type: ignore[misc]
            except requests.exceptions.RequestException as error:
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


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new file beside ``target`` that takes its place at the end, unless removed or an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        if partial.exists():
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


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
    return f"{type(error).__name__}: {one_line(error, 160)}"


def _wait(error: Exception, attempt: int) -> float | None:
    """Seconds until the next attempt; None where another one is of no use."""
    response = getattr(error, "response", None)
    if response is None:
        return 2.0**attempt if _cut(error) else None
    if response.status_code not in RETRIED:
        return None
    asked = _retry_after(response.headers.get("Retry-After"))
    wait = 2.0**attempt if asked is None else asked
    return wait if wait <= LONGEST_WAIT else None


def _cut(error: Exception) -> bool:
    """Whether the connection failed, whichever library says so."""
    names = {kind.__name__ for kind in type(error).__mro__}
    lost = {"ConnectionError", "Timeout", "ChunkedEncodingError", "TransportError", "TimeoutError"}
    return isinstance(error, HTTPException) or bool(names & lost)


def _retry_after(header: str | None) -> float | None:
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
