"""Reads the rows of tables, and of parallel files, as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cards.training import Columns, IntermediateCard
from harness.data.formats.files import read_lines
from harness.errors import DataError
from harness.training.data.examples import Choice, Classified, Example, Found, Matched, Text
from harness.training.data.records import column, read_records, texts
from harness.training.data.sources import Files

# So large a share of the rows may be torn at a line end or tab that is not quoted, as a few are in
# old files. More of them show that the file has another format.
MOST_TORN = 0.01


def read_table(card: IntermediateCard, files: Files, labels: list[str], notes: list[str]) -> Found:
    """Read the rows of tables. The item is the number of the row, the same in every language.

    A few torn rows are left out, but not where fields are quoted or items are dealt to languages.
    """
    found: Found = {}
    skipped = 0
    sizes: dict[str, int] = {}
    for lang in card.languages:
        examples: list[Example] = []
        for role in [role for role in files.columns if role in files.roles]:
            rows = _rows(card, files, lang, role)
            if card.deal is not None and sizes.setdefault(role, len(rows)) != len(rows):
                raise DataError(
                    f"{card.name}: {len(rows)} rows in {lang}, {sizes[role]} in "
                    f"{card.languages[0]}: the files are not parallel"
                )
            _check_torn(card, lang, rows, notes)
            columns = files.columns[role]
            for number, (place, record) in enumerate(rows):
                if record is None:
                    continue
                value = ""
                if card.kind != "mlm":
                    value = str(column(record, str(columns["label"]), place)).strip()
                if value and value in card.skip_labels:
                    skipped += 1
                    continue
                item = f"{role}:{number}"
                row = _Row(record, columns, place)
                examples.append(_example(card, item, lang, row, value, labels))
        found[lang] = examples
    if skipped:
        notes.append(f"{skipped} without a label left out")
    return found


@dataclass(frozen=True)
class _Row:
    record: Any
    columns: Columns
    place: str  # file and line, for messages

    def texts(self, name: str) -> list[str]:
        return texts(self.record, self.columns[name], self.place)

    def text(self, name: str) -> str:
        return " ".join(self.texts(name))


def _example(
    card: IntermediateCard, item: str, lang: str, row: _Row, value: str, labels: Sequence[str]
) -> Example:
    if card.kind == "mlm":
        return Text(item, lang, row.text("text"))
    if card.kind == "classification":
        second = row.text("second") if "second" in row.columns else None
        label = _label(card, value, labels, row.place)
        return Classified(item, lang, row.text("first"), second, label)
    choices = tuple(row.texts("choices"))
    position = _position(card, value, choices, row.place)
    return Choice(item, lang, row.text("prompt"), choices, position)


def _rows(card: IntermediateCard, files: Files, lang: str, role: str) -> list[tuple[str, Any]]:
    """Read (place, record) of a file; the record of a torn row is None, where some may be."""
    file = card.source.splits[card.split].files.get(role)
    header, quoted = (file.header, file.quoted) if file is not None else (True, True)
    strict = quoted or card.deal is not None
    opened = files.of(lang, role)
    return list(read_records(opened, header=header, quoted=quoted, strict=strict))


def _check_torn(
    card: IntermediateCard, lang: str, rows: Sequence[tuple[str, Any]], notes: list[str]
) -> None:
    torn = [place for place, record in rows if record is None]
    if len(torn) > MOST_TORN * len(rows):
        raise DataError(
            f"{card.name} {lang}: {len(torn)} of {len(rows)} rows have another number of columns "
            f"than the first, such as {torn[0]}: not the official file"
        )
    if torn:
        notes.append(f"{len(torn)} of {len(rows)} rows in {lang} left out: torn")


def _label(card: IntermediateCard, value: str, labels: Sequence[str], place: str) -> int:
    name = card.label_names.get(value, value)
    if name not in labels:
        known = ", ".join((*card.label_names, *labels))
        raise DataError(f"{place}: label {value[:40]!r} is not one of {known}")
    return labels.index(name)


def _position(card: IntermediateCard, value: str, choices: Sequence[str], place: str) -> int:
    text = card.label_names.get(value, value)
    numbers = [str(number) for number in range(len(choices))]
    if text not in numbers:
        raise DataError(f"{place}: label {value[:40]!r} is none of its {len(choices)} choices")
    return numbers.index(text)


def read_parallel_records(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """Read parallel tables: the same row in the files of all languages is the same item.

    The query is the text in the language of ``deal.items``, and its match is the translation. A
    text that occurs several times is taken once.
    """
    del labels, notes
    (role,) = files.roles
    paths = files.columns[role]["texts"]
    return _pairs(
        card,
        {
            lang: [texts(record, paths, place) for place, record in _rows(card, files, lang, role)]
            for lang in card.languages
        },
    )


def read_parallel_lines(
    card: IntermediateCard, files: Files, labels: list[str], notes: list[str]
) -> Found:
    """Read one sentence per line; the same line in the files of all languages is the same item."""
    del labels, notes
    (role,) = files.roles
    return _pairs(
        card,
        {lang: [[line] for line in read_lines(files.of(lang, role))] for lang in card.languages},
    )


def _pairs(card: IntermediateCard, rows: Mapping[str, list[list[str]]]) -> Found:
    if card.deal is None:
        raise DataError(f"{card.name}: parallel files need `deal` in the card")
    anchor = card.deal.items
    for lang, own in rows.items():
        if len(own) != len(rows[anchor]):
            raise DataError(
                f"{card.name}: {len(own)} rows in {lang}, {len(rows[anchor])} in {anchor}: the "
                "files are not parallel"
            )
    wanted: dict[str, tuple[int, int]] = {}
    for row, fields in enumerate(rows[anchor]):
        for place, text in enumerate(fields):
            wanted.setdefault(text, (row, place))
    return {
        lang: [
            Matched(f"{row}.{place}", lang, text, rows[lang][row][place], anchor)
            for text, (row, place) in wanted.items()
        ]
        for lang in rows
    }
