"""Who measured the rows of a board: `leaderboard/provenance.json`, beside the results.

A file of rows cannot say it of itself: who sends rows along writes their metadata too. So a
refresh keeps this list, `xharness eval` and `verify --replay` add to it where it is, and no pull
request may change it. Without a list, as in a folder of one's own, its owner measured all rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from harness.errors import DataError
from harness.io import files
from harness.io.strict_yaml import Strict
from harness.results.outcomes import OutcomeFile, find

FILE = "provenance.json"
Provenance = Literal["measured", "replicated", "unreplicated"]


class Origin(Strict):
    """Where the rows of one outcome file come from.

    ``digest``: over the file and its parts, see ``digest_of``. ``languages``: those that were
    measured again. ``reason``: how they differed then, empty where nothing differed.
    """

    digest: str = ""
    provenance: Provenance = "measured"
    languages: list[str] = Field(default_factory=list)
    reason: str = ""

    @property
    def doubtful(self) -> str:
        """Why the rows are not ranked, in words; empty for rows that are."""
        if self.provenance != "unreplicated":
            return ""
        return f"unreplicated: {self.reason or 'no sample of these rows was measured again'}"

    def __str__(self) -> str:
        """In words: `measured`, `replicated (de, sw measured again)`, or why not."""
        again = f" ({', '.join(self.languages)} measured again)" if self.languages else ""
        return self.doubtful or self.provenance + again


Origins = Mapping[str, Origin]  # by path under the results
_ORIGINS = TypeAdapter(dict[str, Origin])


def read_origins(results: Path) -> Origins | None:
    """What is known of the files under ``results``; None where no list is kept.

    Raises:
        DataError: the list does not fit.
    """
    path = results.parent / FILE
    try:
        return _ORIGINS.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(f"{path}: {where}: {first['msg']}: restore it from the history") from None


def origin_of(file: OutcomeFile, results: Path, origins: Origins | None) -> Origin:
    """Where the rows of a file come from, as ``origins`` has it of exactly these rows."""
    if origins is None:
        return Origin()
    digest = digest_of(file)
    known = origins.get(name_of(file, results))
    if known is not None and known.digest == digest:
        return known
    return Origin(digest=digest, provenance="unreplicated")


def note(results: Path, found: Origins) -> None:
    """Put these into the list, which is made where there is none; files that are gone leave it."""
    path = results.parent / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(results.parent / f".{FILE}.lock"):
        there = {name_of(file, results) for file in find(results)} if results.is_dir() else set()
        origins = {**(read_origins(results) or {}), **found}
        plain = {
            name: one.model_dump(exclude_defaults=True) | {"provenance": one.provenance}
            for name, one in sorted(origins.items())
            if name in there
        }
        files.write_whole(path, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def measuring(results: Path, *, begin: bool = False) -> Iterator[set[Path]]:
    """Note as measured what the block writes into the files whose paths it adds to the set.

    Other files may arrive meanwhile, as with `git pull`: they are left alone. A file that the block
    adds languages to stays what it was, because others may have sent its rows. ``begin``: do it
    also where no list is kept yet.
    """
    written: set[Path] = set()
    origins = read_origins(results)
    if origins is None and not begin:
        yield written
        return
    before = _all(results, origins or {})
    try:
        yield written
    finally:
        found = {}
        for file in map(OutcomeFile, sorted(written)):
            name, digest = name_of(file, results), digest_of(file)
            was = before.get(name, Origin())
            if digest != was.digest:
                found[name] = was.model_copy(update={"digest": digest, "reason": ""})
        if found:
            note(results, found)


def name_of(file: OutcomeFile, results: Path) -> str:
    """What the list calls a file."""
    return file.path.relative_to(results).as_posix()


def digest_of(file: OutcomeFile) -> str:
    """sha256 of the merged file, as 64 hex digits; with parts, over the digests of all of them."""
    paths = [path for path in (file.path, *sorted(file.parts.glob("*.parquet"))) if path.is_file()]
    digests = [files.digest(path) for path in paths]
    return digests[0] if paths == [file.path] else sha256("".join(digests).encode()).hexdigest()


def _all(results: Path, origins: Origins) -> dict[str, Origin]:
    found = find(results) if results.is_dir() else []
    return {name_of(file, results): origin_of(file, results, origins) for file in found}
