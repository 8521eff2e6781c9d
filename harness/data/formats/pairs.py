"""Reads pairs of texts with a label (XNLI, PAWS-X): tab-separated files, or rows of the Hub."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness.cards.task import TaskCard
from harness.data.examples import ItemSet, Pair
from harness.data.formats.files import (
    Files,
    LocalFile,
    Parsed,
    file_of,
    first_repeated,
    holds_rows,
    read_rows,
    read_text,
    take,
)
from harness.data.formats.labels import label_of, label_text, names_of
from harness.data.halves import in_second_half
from harness.errors import DataError

HEADER = ("id", "sentence1", "sentence2", "label")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Row(NamedTuple):
    """A pair as its file has it. ``id``: the file's own name of it, or nothing."""

    place: str
    id: str
    first: str
    second: str
    label: str


def read_xnli(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read pairs, of which three in a row share their premise, which is the cluster."""
    columns = ("premise", "hypothesis")
    return _read(card, split, units, files, columns, lambda number, row: str(number // 3))


def read_pawsx(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read pairs; the cluster is the row, by its id where the file has one."""
    columns = ("sentence1", "sentence2")
    return _read(card, split, units, files, columns, lambda number, row: row.id or str(number))


def _read(
    card: TaskCard,
    split: str,
    units: tuple[str, ...],
    files: Files,
    columns: tuple[str, str],
    cluster: Callable[[int, Row], str],
) -> Parsed:
    """Read pairs. ``columns``: what rows of the Hub call the two texts."""
    part = card.source.splits[split]
    examples = {}
    counts = {}
    for unit in units:
        file = file_of(files, unit, split, "rows")
        rows = _rows(card, split, file, columns) if holds_rows(file) else _table(file)
        if not (found := list(rows)):
            raise DataError(f"{file.name}: no pairs: download it again")
        pairs = [
            Pair(
                f"{split}:{row.id or number}",
                row.first,
                row.second,
                label_of(card, row.label, row.place),
                f"{card.name}:{split}:{cluster(number, row)}",
            )
            for number, row in enumerate(found)
            if unit not in part.half or in_second_half(str(number))
        ]
        if (repeated := first_repeated(pair.id for pair in pairs)) is not None:
            raise DataError(f"{file.name}: id {repeated.partition(':')[2]} given twice")
        examples[unit] = ItemSet(unit, tuple(pairs))
        counts[unit] = len(pairs)
    return Parsed(examples, {split: counts})


def _table(file: LocalFile) -> Iterator[Row]:
    """Yield the rows of two texts and a label, or of an id before them.

    What csv wrote has quotation marks around fields that hold one; in the raw files a mark is text.
    A file is of the first kind when every field with a mark is quoted as csv does it.
    """
    columns = 0
    for number, fields in _fields(file):
        place = f"{file.name}:{number}"
        if not columns:
            columns = len(fields)
            if tuple(fields) == HEADER:
                continue
        if len(fields) != columns or columns not in (3, 4) or not all(fields):
            raise DataError(
                f"{place}: not two texts and a label between tabs: put the official file with "
                "labels there"
            )
        first, second, label = fields[-3:]
        yield Row(place, fields[0] if columns == 4 else "", first, second, label)


def _fields(file: LocalFile) -> Iterator[tuple[int, list[str]]]:
    text = read_text(file)
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    marked = [part for line in lines for part in line.split("\t") if '"' in part]
    if marked and all(_QUOTED.fullmatch(part) for part in marked):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        yield from ((reader.line_num, [part.strip() for part in row]) for row in reader)
        return
    for number, line in enumerate(lines, start=1):
        yield number, [part.strip() for part in line.split("\t")]


def _rows(card: TaskCard, split: str, file: LocalFile, columns: tuple[str, str]) -> Iterator[Row]:
    names = names_of(card, split, file, "label")
    for place, row in read_rows(file):
        first, second = (take(row, column, str, place).strip() for column in columns)
        if not first or not second:
            raise DataError(f"{place}: an empty text: download it again")
        identifier = str(row.get("id", ""))
        yield Row(place, identifier, first, second, label_text(row.get("label"), names, place))
