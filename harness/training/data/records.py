"""Reads the records of any kind of table (tsv, csv, jsonl, json, Parquet), by a card's columns.

The `datasets` library reads the same rows from intact files, which a test compares. It is not used
here because of damaged and unexpected files. It fills a row that is too short, moves the columns
of a row that is too long, reads NaN, and turns texts such as 2024-01-01 into dates. Where it does
not stream, it returns the rows of an earlier file that had the same path, size and time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.data.formats import LocalFile
from harness.data.formats.files import read_csv, read_json, read_rows, read_text
from harness.errors import DataError, one_line


def read_records(
    file: LocalFile, *, header: bool = True, quoted: bool = True, strict: bool = True
) -> Iterator[tuple[str, Any]]:
    """Yield (place, record) of a file, which is read according to its ending.

    A row of a table with another number of columns than the first is an error where ``strict``;
    else its record is None.

    Raises:
        DataError: the file does not have the form that its ending says.
    """
    name = file.name.removesuffix(".gz")
    if name.endswith((".tsv", ".csv", ".txt")):
        yield from _table(file, "," if name.endswith(".csv") else "\t", header, quoted, strict)
    elif name.endswith(".json"):
        records = read_json(file)
        if not isinstance(records, list):
            raise DataError(f"{file.name}: not a list of records: not the official schema")
        for number, record in enumerate(records):
            yield f"{file.name}[{number}]", record
    else:
        yield from read_rows(file)


def _table(
    file: LocalFile, delimiter: str, header: bool, quoted: bool, strict: bool
) -> Iterator[tuple[str, Any]]:
    """Yield the rows as column → text. A quoted field may hold line ends."""
    names: Sequence[str] | None = None
    for line, row in read_csv(file, read_text(file), delimiter, quoted=quoted):
        place = f"{file.name}:{line}"
        if not row:
            continue
        if names is None:
            names = row if header else [str(number) for number in range(len(row))]
            if header:
                continue
        if len(row) == len(names):
            yield place, dict(zip(names, row, strict=True))
        elif strict:
            raise DataError(f"{place}: {len(row)} columns, not {len(names)}: not the official file")
        else:
            yield place, None


def column(record: Any, path: str, place: str) -> Any:
    """Return the value under a path: ``a.b`` is an entry of ``a``, ``a.*.b`` one of every item."""
    head, _, rest = path.partition(".")
    if head == "*":
        if not isinstance(record, list):
            raise DataError(f"{place}: {path!r} asks for a list, not {type(record).__name__}")
        return [column(item, rest, place) if rest else item for item in record]
    if not isinstance(record, Mapping) or head not in record:
        there = ", ".join(map(str, record)) if isinstance(record, Mapping) else "none"
        raise DataError(f"{place}: no column {head!r}: the file has {one_line(there, 120)}")
    return column(record[head], rest, place) if rest else record[head]


def texts(record: Any, paths: str | Sequence[str], place: str) -> list[str]:
    """Return the texts under one path or several, in order. DataError for another type."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        value = column(record, path, place)
        values = value if isinstance(value, list) else [value]
        for one in values:
            if not isinstance(one, str):
                raise DataError(f"{place}: column {path!r} holds {type(one).__name__}, not text")
            found.append(one.strip())
    return found
