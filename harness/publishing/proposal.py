"""Compares the content of a pull request with a repository, and shows the difference."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import unified_diff
from hashlib import sha256
from pathlib import Path
from typing import Literal

from harness.io.files import digest
from harness.io.hub import git_blob_id, hub_errors

Kind = Literal["model", "dataset"]
Content = bytes | Path
BINARY = (".parquet",)  # A difference in these files is shown by their size and digest.


@dataclass(frozen=True)
class RepositoryState:
    """A repository at one commit.

    ``files``: path → sha256 of a file that is stored by LFS, else Git's id of its content.
    """

    kind: Kind
    repo: str
    commit: str
    files: Mapping[str, str]
    _texts: dict[str, bytes] = field(default_factory=dict, repr=False)

    def holds(self, path: str, content: Content) -> bool:
        """Return whether the file at ``path`` has this content, by its digest."""
        held = self.files.get(path)
        if held is None:
            return False
        return held == (digest_of(content) if len(held) == 64 else git_blob_id(read(content)))

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, or None where it is not there."""
        if path not in self.files:
            return None
        if path not in self._texts:
            from huggingface_hub import hf_hub_download

            with hub_errors(self.repo):
                found = hf_hub_download(
                    self.repo, path, repo_type=self.kind, revision=self.commit
                )  # fmt: skip
            self._texts[path] = Path(found).read_bytes()
        return self._texts[path]


@dataclass(frozen=True)
class Proposal:
    """One pull request. Its ``title`` identifies it and never changes.

    ``wanted``: a function that takes the repository as it is and returns path → content that it
    should have, because a block inside a file of others can only be made from that file.
    """

    kind: Kind
    repo: str
    title: str
    description: str
    wanted: Callable[[RepositoryState], Mapping[str, Content]]


@dataclass(frozen=True)
class Change:
    """One file that is new or different. ``before``: None where it is new, or is not text."""

    path: str
    before: bytes | None
    after: Content
    new: bool


def changes(proposal: Proposal, there: RepositoryState) -> list[Change]:
    """Return what the proposal would change in a repository, sorted by path."""
    found = []
    for path, content in sorted(proposal.wanted(there).items()):
        if there.holds(path, content):
            continue
        binary = path.endswith(BINARY)
        new = path not in there.files
        if binary and not new and isinstance(content, bytes) and _same_rows(there, path, content):
            continue
        found.append(Change(path, None if binary or new else there.read(path), content, new))
    return found


def diff(found: list[Change]) -> Iterator[str]:
    """Yield the changes line by line: a unified diff of text; size and digest of other files."""
    for change in found:
        old, new = ("/dev/null" if change.new else f"a/{change.path}"), f"b/{change.path}"
        if change.path.endswith(BINARY):
            yield f"--- {old}"
            yield f"+++ {new}"
            after = change.after
            size = len(after) if isinstance(after, bytes) else after.stat().st_size
            yield f"binary: {size:,} bytes, sha256 {digest_of(after)}"
            continue
        before, wanted = _lines(change.before or b""), _lines(read(change.after))
        yield from unified_diff(before, wanted, old, new, lineterm="")


def digest_of(content: Content) -> str:
    """Return the sha256 of the content, in hex."""
    return sha256(content).hexdigest() if isinstance(content, bytes) else digest(content)


def read(content: Content) -> bytes:
    """Return the bytes of the content."""
    return content if isinstance(content, bytes) else content.read_bytes()


def _lines(text: bytes) -> list[str]:
    """Return the lines with control characters escaped.

    A card is the text of others, and a terminal would obey the control characters in it.
    """
    lines = text.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return [
        "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)
        for line in (lines[:-1] if lines[-1] == "" else lines)
    ]


def _same_rows(there: RepositoryState, path: str, content: bytes) -> bool:
    """Return whether a table has the same rows, and another library version wrote its file."""
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
