"""Takes the lines, JSON and rows apart of the files that readers are handed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness.data.examples import Examples
from harness.errors import DataError, one_line
from harness.io import strict_json
from harness.io.files import is_lfs_pointer, pointer_words

MAX_TEXT = 2 * 1024**3  # the largest official file has 535 MB
MAX_LINE = 64 * 1024**2  # of JSON lines: the longest official one has less than 1 MB
MAX_FIELD = 1 << 20  # of a table: the csv module reads no longer ones than 131,072 by itself
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


def file_of(files: Files, unit: str, split: str, role: str) -> LocalFile:
    """Return the unit's own file, or the one that all units share."""
    return files.get(Key(unit, split, role)) or files[Key("", split, role)]


@dataclass(frozen=True)
class Parsed:
    """What a reader made of the files. ``counts``: split → unit → number, like a card's."""

    examples: Examples
    counts: Mapping[str, Mapping[str, int]]
    candidates: int | None = None
    notes: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def read_text(file: LocalFile) -> str:
    """Return the whole file. Raises DataError where it is empty or not UTF-8."""
    if file.path.stat().st_size > MAX_TEXT:
        raise _too_large(file)
    if is_lfs_pointer(file.path):
        raise DataError(pointer_words(file.name, file.path.parent))
    data = _unzipped(file) if file.name.endswith(".gz") else file.path.read_bytes()
    if not data.strip():
        raise DataError(f"{file.name}: empty: download it again")
    try:
        return data.decode("utf-8-sig")  # some editors put a mark in front, which is no text
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"{file.name}:{line}: not UTF-8 at byte {error.start} of the file"
        raise DataError(f"{where}: download it again") from None


def read_csv(
    file: LocalFile, text: str, delimiter: str, *, quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each row and the line that it ends in.

    ``text``: of the file; ``quoted``: a field in quotation marks may hold line ends. Raises
    DataError for what the csv module cannot read.
    """
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        where = f"{file.name}:{reader.line_num}"
        raise DataError(f"{where}: not a table: {one_line(error, 150)}") from None


def read_lines(file: LocalFile) -> list[str]:
    """Return the lines, without white space at their ends. Raises DataError for an empty line.

    Only a line feed ends a line: sentences hold other separators (U+2028, U+0085).
    """
    lines = [line.strip() for line in read_text(file).removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"{file.name}:{number}: empty line: the sides would not be parallel")
    return lines


def read_table(file: LocalFile, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of tab-separated lines. Raises DataError for another number of
    fields.
    """
    for number, line in enumerate(read_text(file).removesuffix("\n").split("\n"), start=1):
        fields = [part.strip() for part in line.split("\t")]
        if len(fields) != columns or not all(fields):
            raise DataError(
                f"{file.name}:{number}: not {columns} fields between tabs: download it again"
            )
        yield number, fields


def read_json(file: LocalFile) -> Any:
    """Return the parsed file. Raises DataError where it is truncated, or not strict JSON.

    Text in it may hold half of a surrogate pair: ``load`` looks for that language by language.
    """
    try:
        return strict_json.parse(read_text(file), halves=True)
    except ValueError as error:
        why = one_line(error, 200)
        raise DataError(f"{file.name}: not JSON, maybe truncated: {why}") from None


def read_json_lines(file: LocalFile) -> Iterator[tuple[str, Any]]:
    """Yield (place, object) line by line; the file is never held in whole.

    Raises DataError where a line is not strict JSON or not UTF-8, or the file is not gzip. Half of
    a surrogate pair is left to ``load``, as in ``read_json``.
    """
    if file.path.stat().st_size == 0:
        raise DataError(f"{file.name}: empty: download it again")
    for number, line in enumerate(_byte_lines(file), start=1):
        place = f"{file.name}:{number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 at byte {error.start} of the line") from None
        try:
            yield place, strict_json.parse(text, halves=True)
        except ValueError as error:
            raise DataError(f"{place}: not JSON: {one_line(error, 200)}") from None


def _byte_lines(file: LocalFile) -> Iterator[bytes]:
    opened = gzip.open if file.name.endswith(".gz") else open
    with opened(file.path, "rb") as stream:
        while True:
            try:
                line = stream.readline(MAX_LINE + 1)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise _damaged_gzip(file, error) from None
            if not line:
                return
            if len(line) > MAX_LINE:
                raise DataError(f"{file.name}: a line is longer than {MAX_LINE >> 20} MiB")
            yield line


def holds_rows(file: LocalFile) -> bool:
    """Return whether it is Parquet or JSON lines, as data sets on the Hub are, and not plain
    text.
    """
    return not {".parquet", ".json", ".jsonl"}.isdisjoint(Path(file.name).suffixes)


def read_rows(file: LocalFile) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of a Parquet or JSON-lines file of a Hub data set."""
    if not file.name.endswith(".parquet"):
        yield from read_json_lines(file)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file.path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: not Parquet: {one_line(error, 200)}") from None
    try:
        rows = table.to_pylist()
    except UnicodeDecodeError:
        rows = _rows_one_by_one(table, file)
    yield from ((f"{file.name}: row {number}", row) for number, row in enumerate(rows))


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def class_names(file: LocalFile, column: str) -> list[str]:
    """Return what the whole numbers of a column stand for, as its Parquet file says it; or
    nothing.
    """
    if not file.name.endswith(".parquet"):
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        features = json.loads((pq.read_schema(file.path).metadata or {})[b"huggingface"])
        feature = features["info"]["features"][column]
        while "names" not in feature:  # of a list, what its items are
            feature = feature.get("feature") or feature["_item"]
        return [str(name) for name in feature["names"]]
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError):
        return []


def _rows_one_by_one(table: Any, file: LocalFile) -> list[Any]:
    """Return the rows. Raises DataError that names the first whose text is not UTF-8."""
    rows = []
    for number in range(table.num_rows):
        try:
            rows += table.slice(number, 1).to_pylist()
        except UnicodeDecodeError:
            raise DataError(
                f"{file.name}: row {number}: text that is not UTF-8: download it again"
            ) from None
    return rows


def named(value: object, most: int = 60) -> str:
    """Return a value of a file, to stand in a message: what can be printed of its first
    characters.
    """
    return one_line(value, most)


def take(record: Any, key: str, kind: type[Value], place: str) -> Value:
    """Return the value under a key. Raises DataError with the place where it is absent or of
    another type.
    """
    if not isinstance(record, dict) or key not in record:
        raise DataError(f"{place}: no {key!r}: not the official schema")
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{place}: {key!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def _unzipped(file: LocalFile) -> bytes:
    try:
        with gzip.open(file.path, "rb") as stream:
            data = stream.read(MAX_TEXT + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _damaged_gzip(file, error) from None
    if len(data) > MAX_TEXT:
        raise _too_large(file)
    return data


def _damaged_gzip(file: LocalFile, error: Exception) -> DataError:
    return DataError(f"{file.name}: not gzip, maybe truncated: {one_line(error, 200)}")


def _too_large(file: LocalFile) -> DataError:
    return DataError(f"{file.name}: larger than {MAX_TEXT >> 30} GiB: not a file of this task")
