"""What one pull request would change, compared with what a repository holds, and its diff."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["model", "dataset"]
Content = bytes | Path
BINARY = (".parquet",)  # shown by size and digest


class RepositoryState(Protocol):
    """A repository at one commit."""

    @property
    def names(self) -> frozenset[str]:
        """The files that it has."""

    def holds(self, path: str, content: Content) -> bool:
        """Whether the file at ``path`` has this content, by its digest."""

    def read(self, path: str) -> bytes | None:
        """The file's content, None where it is not there."""


@dataclass(frozen=True)
class Proposal:
    """One pull request: the ``title`` names what it is about and never changes.

    ``wanted``: a repository as it is → path → content that it should have. A block inside a file
    of somebody else's can only be made from the file as it is.
    """

    kind: Kind
    repo: str
    title: str
    description: str
    wanted: Callable[[RepositoryState], Mapping[str, Content]]


@dataclass(frozen=True)
class Change:
    """One file that is new or different. ``before``: None where it is new or not text."""

    path: str
    before: bytes | None
    after: Content
    new: bool


def changes(proposal: Proposal, there: RepositoryState) -> list[Change]:
    """What the proposal would change in a repository, by path; nothing where it is all there."""
    found = []
    for path, content in sorted(proposal.wanted(there).items()):
        if there.holds(path, content):
            continue
        binary = path.endswith(BINARY)
        new = path not in there.names
        if binary and not new and isinstance(content, bytes) and _same_rows(there, path, content):
            continue
        found.append(Change(path, None if binary or new else there.read(path), content, new))
    return found


def diff(found: list[Change]) -> Iterator[str]:
    """The changes line by line: a unified diff of text, sizes and digests of what is not."""
    for change in found:
        old, new = ("/dev/null" if change.new else f"a/{change.path}"), f"b/{change.path}"
        if change.path.endswith(BINARY):
            yield f"--- {old}"
            yield f"+++ {new}"
            yield f"binary: {size_of(change.after):,} bytes, sha256 {digest_of(change.after)}"
            continue
        before, after = _lines(change.before or b""), _lines(read(change.after))
        yield from unified_diff(before, after, old, new, lineterm="")


def size_of(content: Content) -> int:
    """Bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def digest_of(content: Content) -> str:
    """sha256, in hex."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(content: Content) -> bytes:
    """The bytes."""
    return content if isinstance(content, bytes) else content.read_bytes()


def _lines(text: bytes) -> list[str]:
    """Lines as they may be shown: a card is somebody else's, and a terminal obeys what it reads."""
    lines = text.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return [
        "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)
        for line in (lines[:-1] if lines[-1] == "" else lines)
    ]


def _same_rows(there: RepositoryState, path: str, content: bytes) -> bool:
    """Whether a table differs in how it was written alone: by another version of the library."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = there.read(path)
    if kept is None:
        return False
    try:
        one, other = (pq.read_table(io.BytesIO(data)) for data in (kept, content))
    except (pa.ArrowException, OSError):
        return False
    return bool(one.equals(other))
