"""The files that readers are handed, and how their lines, JSON and rows are taken apart."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.data.examples import Examples
from harness.errors import DataError, one_line

MAX_TEXT = 2 * 1024**3  # the largest official file has 535 MB
Value = TypeVar("Value")


class Key(NamedTuple):
    """Which file of a task: ``unit`` is empty for a file that all units share."""

    unit: str
    split: str
    role: str


@dataclass(frozen=True)
class LocalFile:
    """A file on disk under the name that errors give it. ``mixed``: it holds several units."""

    path: Path
    name: str
    mixed: bool = False


Files = Mapping[Key, LocalFile]


@dataclass(frozen=True)
class Parsed:
    """What a reader made of the files. ``counts``: split → unit → number, like a card's."""

    examples: Examples
    counts: Mapping[str, Mapping[str, int]]
    candidates: int | None = None
    notes: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def read_text(file: LocalFile) -> str:
    """The whole file. DataError where it is empty or not UTF-8."""
    if file.path.stat().st_size > MAX_TEXT:
        raise DataError(f"{file.name}: larger than {MAX_TEXT >> 30} GiB: not a file of this task")
    data = file.path.read_bytes()
    if file.name.endswith(".gz"):
        data = _unzipped(file, data)
    if not data.strip():
        raise DataError(f"{file.name}: empty: download it again")
    try:
        return data.decode("utf-8-sig")  # some editors put a mark in front, which is no text
    except UnicodeDecodeError as error:
        where = f"{file.name}: not UTF-8 at byte {error.start}"
        raise DataError(f"{where}: download it again") from None


def read_lines(file: LocalFile) -> list[str]:
    """The lines, without white space at their ends. DataError for an empty line.

    Only a line feed ends a line: sentences hold other separators (U+2028, U+0085).
    """
    lines = [line.strip() for line in read_text(file).removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"{file.name}:{number}: empty line: the sides would not be parallel")
    return lines


def read_table(file: LocalFile, columns: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of tab-separated lines. DataError for another number of fields."""
    for number, line in enumerate(read_text(file).removesuffix("\n").split("\n"), start=1):
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != columns or not all(fields):
            raise DataError(
                f"{file.name}:{number}: not {columns} fields between tabs: download it again"
            )
        yield number, fields


def read_json(file: LocalFile) -> Any:
    """The parsed file. DataError where it is truncated or not JSON."""
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name}: not JSON, maybe truncated: {error}") from None


def read_json_lines(file: LocalFile) -> Iterator[tuple[str, Any]]:
    """(place, object) line by line; the file is never held in whole."""
    if file.path.stat().st_size == 0:
        raise DataError(f"{file.name}: empty: download it again")
    opened = gzip.open if file.name.endswith(".gz") else open
    with opened(file.path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield f"{file.name}:{number}", json.loads(line)
            except ValueError as error:
                raise DataError(f"{file.name}:{number}: not JSON: {error}") from None


def read_rows(file: LocalFile) -> Iterator[tuple[str, Any]]:
    """(place, row) of a Parquet or JSON-lines file of a Hub data set."""
    if not file.name.endswith(".parquet"):
        yield from read_json_lines(file)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file.path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: not Parquet: {one_line(error)}") from None
    for number, row in enumerate(table.to_pylist()):
        yield f"{file.name}: row {number}", row


def take(record: Any, key: str, kind: type[Value], place: str) -> Value:
    """The value under a key. DataError with the place where it is absent or of another type."""
    if not isinstance(record, dict) or key not in record:
        raise DataError(f"{place}: no {key!r}: not the official schema")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{place}: {key!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def _unzipped(file: LocalFile, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise DataError(f"{file.name}: not gzip, maybe truncated: {one_line(error)}") from None
