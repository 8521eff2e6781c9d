"""Reads pairs of texts with a label (XNLI, PAWS-X): tab-separated files, or rows of the Hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
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
    read_csv,
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
    return _read(card, split, units, files, columns, lambda number: str(number // 3))


def read_pawsx(card: TaskCard, split: str, units: tuple[str, ...], files: Files) -> Parsed:
    """Read pairs; the cluster is the row, which has the same number in every language."""
    return _read(card, split, units, files, ("sentence1", "sentence2"), str)


def _read(
    card: TaskCard,
    split: str,
    units: tuple[str, ...],
    files: Files,
    columns: tuple[str, str],
    cluster: Callable[[int], str],
) -> Parsed:
    """Read pairs. ``columns``: what rows of the Hub call the two texts; ``cluster``: of a row.

    A pair is named by the number of its row: some files have ids and others of the same rows have
    none, and a name has to be the same in all.
    """
    part = card.source.splits[split]
    examples = {}
    counts = {}
    ids: dict[str, list[str]] = {}  # file → those of its rows, where it has them
    for unit in units:
        file = file_of(files, unit, split, "rows")
        rows = _rows(card, split, file, columns) if holds_rows(file) else _table(file)
        if not (found := list(rows)):
            raise DataError(f"{file.name}: no pairs: download it again")
        pairs = [
            Pair(
                f"{split}:{number}",
                row.first,
                row.second,
                label_of(card, row.label, row.place),
                f"{card.name}:{split}:{cluster(number)}",
            )
            for number, row in enumerate(found)
            if unit not in part.half or in_second_half(str(number))
        ]
        if any(row.id for row in found):
            ids[file.name] = [row.id for row in found]
        if (repeated := first_repeated(ids.get(file.name, []))) is not None:
            raise DataError(f"{file.name}: id {repeated} given twice")
        examples[unit] = ItemSet(unit, tuple(pairs))
        counts[unit] = len(pairs)
    _check_parallel(ids)
    return Parsed(examples, {split: counts})


def _check_parallel(ids: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError where the rows of two files have not the same ids in the same order."""
    names = list(ids)
    for one, other in pairwise(names):
        for number, (mine, theirs) in enumerate(zip(ids[one], ids[other], strict=False)):
            if mine != theirs:
                raise DataError(
                    f"{other}: pair {number + 1} has id {theirs}, and {mine} in {one}: rows of one "
                    "number are to be translations, download both again"
                )


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
        for number, row in read_csv(file, text, "\t"):
            yield number, [part.strip() for part in row]
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
